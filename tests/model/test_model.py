"""The promise under any order of things; and red, story by story, when one of the rules behind it is taken out.

Long, with other examples each time: ``./otn test tests/model --hypothesis-profile=long -n 0 --timeout 0``. A failure
prints its steps and a line that brings them back; the steps make a story.
"""

from __future__ import annotations

import shutil

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from otn.database import DatabaseError, queries
from otn.settings import sql_folder
from tests.model.conftest import LONG, SHORT
from tests.model.ground import Ground
from tests.model.machine import Senders
from tests.model.stories import RULES


@pytest.fixture
def machine(database, keyring, tmp_path) -> type[Senders]:
    class Machine(Senders):
        ground = Ground(database, keyring, tmp_path)

    return Machine


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Takes a rule out of the queries."""

    def take(name: str) -> None:
        rule, folder = RULES[name], tmp_path / "sql"
        shutil.copytree(sql_folder(), folder)
        path = folder / "queries" / f"{rule.file}.sql"
        text = path.read_text()
        assert rule.words in text, "the rule reads otherwise now"
        path.write_text(text.replace(rule.words, rule.instead))
        monkeypatch.setenv("OTN_SQL_DIR", str(folder))
        queries.cache_clear()

    yield take
    queries.cache_clear()


def tell(machine: type[Senders], name: str) -> None:
    told = machine()
    told.begin(tokens=[1, 1, 1])
    told.promise_holds()
    for step, values in RULES[name].story:
        getattr(told, step)(**values)
        told.promise_holds()


def test_whatever_happens_in_any_order_the_promise_holds(machine):
    long = settings.get_current_profile_name() == LONG
    run_state_machine_as_test(machine, settings=settings.get_profile(LONG) if long else SHORT)


@pytest.mark.parametrize("name", RULES)
def test_without_one_rule_its_story_ends_badly(machine, without, name):
    tell(machine, name)
    without(name)
    with pytest.raises((AssertionError, DatabaseError)):
        tell(machine, name)


def test_without_the_index_over_tokens_two_rows_would_hold_one(machine, without):
    name = "the token of another is left alone"
    machine.ground.sql("DROP INDEX otn.recipient_token_once")
    tell(machine, name)
    without(name)
    with pytest.raises(AssertionError, match="two rows hold one token"):
        tell(machine, name)
