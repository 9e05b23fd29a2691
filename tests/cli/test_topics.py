from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otn.cli.app import main
from otn.consent import pages
from otn.database import Engine, transaction
from otn.settings import PageSettings
from tests.clean import database, emptied_url

from .conftest import Shell

__all__ = ["database", "database_url", "emptied_url"]


@dataclass
class Said:
    stdout: str
    stderr: str


@dataclass
class Here:
    """The command line in this process: what ``main`` makes of some words."""

    run: Callable[[list[str]], tuple[int, Said]]

    def __call__(self, *words: str, code: int = 0) -> Said:
        ended, said = self.run(["./otn", *words])
        assert ended == code, said
        return said

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture
def database_url(emptied_url: str) -> str:
    return emptied_url


@pytest.fixture
def here(otn: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    for name, value in otn.environ.items():
        monkeypatch.setenv(name, value)

    def run(words: list[str]) -> tuple[int, Said]:
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), Said(out, err)

    return Here(run)


@pytest.fixture
def page(database: Engine) -> None:
    with transaction(database) as connection:
        pages.register(connection, PageSettings("shop", "http://127.0.0.1:1", "1001", "token"))


def test_a_topic_with_reply_and_labels_is_shown_and_marked(here: Here, page: None) -> None:
    said = here("topics", "add", "sale", "--title", "Free gifts daily", "--reply", "Thanks!", "--label", "vip")
    assert "Meta forbids rewards" in said.stderr
    assert "'daily'" in said.stderr
    assert "sale of page shop" in said.stdout
    shown = here.json("topics", "show", "sale")
    assert (shown["reply"], shown["labels"], shown["opt_ins"]) == ({"text": "Thanks!"}, ["vip"], 0)
    assert shown["words_in_title"] == ["free", "gifts", "daily"]
    listed = here("topics", "list", "--strict", code=1)
    assert "Free gifts daily (!)" in listed.stdout
    assert "one opt-in is good for one message" in listed.stderr
    here("topics", "add", "other", "--title", "Win", "--strict", code=1)
    assert [one["key"] for one in here.json("topics", "list")] == ["sale"]
    assert "template is broken" in here("topics", "add", "x", "--title", "X", "--reply", "{{", code=2).stderr


def test_a_misspelt_payload_is_pointed_out_adopted_and_released(here: Here, page: None, database: Engine) -> None:
    here("topics", "add", "sale", "--title", "Summer sale")
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otn.topic (page_id, key, payload) SELECT id, '$(x) SALE', ' SALE' FROM otn.page")
    said = here("topics", "list").stderr
    assert "./otn topics adopt ' SALE' sale --page shop" in said
    assert "Opt-ins moved from ' SALE' to 'sale': 0" in here("topics", "adopt", " SALE", "sale").stdout
    assert here.json("topics", "show", "sale")["adopts"] == [" SALE"]
    assert "(adopted by sale)" in here("topics", "list").stdout
    assert "kept apart" in here("topics", "release", " SALE").stdout
    assert "No opt-in has come" in here("topics", "adopt", "nothing", "sale", code=2).stderr


def test_topics_and_rules_travel_as_a_file(here: Here, page: None, tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text(
        "topics:\n  restock: {title: Back in stock}\nrules:\n  hi: {word: hi, topic: restock, message: You wait}\n"
    )
    planned = here.json("topics", "import", str(file), "--dry-run")
    assert (planned["dry_run"], planned["topics"]["created"], planned["rules"]["created"]) == (
        True,
        ["restock"],
        ["hi"],
    )
    assert here.json("topics", "list") == []
    assert "topics created: restock" in here("topics", "import", str(file)).stdout
    exported = here("topics", "export").stdout
    file.write_text(exported)
    again = here.json("topics", "import", str(file))
    assert (again["topics"]["unchanged"], again["rules"]["unchanged"]) == (["restock"], ["hi"])
    file.write_text("topics:\n  restock: {title: Win}\n")
    assert here.json("topics", "import", str(file), "--strict", code=1)["refused"] is True
    assert here("topics", "export").stdout == exported
    file.write_text("topics: {a: {title: 1}}\n")
    assert "Line 1, topics.a.title" in here("topics", "import", str(file), code=2).stderr
    assert "cannot be read" in here("topics", "import", str(tmp_path / "none"), code=2).stderr


def test_rules_are_added_tried_and_removed(here: Here, page: None) -> None:
    here("topics", "add", "restock", "--title", "Back in stock")
    said = here("rules", "add", "hi", "--word", "Hi!", "--topic", "restock", "--stock", "2", "--text", "You wait")
    assert "Rule hi of page shop was added." in said.stdout
    assert "the card of restock up to 2 tokens, or You wait" in here("rules", "test", "--text", "HI").stdout
    assert here.json("rules", "test", "--text", "nothing", code=1) == {"stop_word": False, "rule": None}
    assert "always means that" in here("rules", "test", "--text", "Stop").stdout
    (rule,) = here.json("rules", "list")
    assert (rule["page"], rule["trigger"], rule["pattern"], rule["stock"]) == ("shop", "word", "hi", 2)
    buttons = [{"type": "postback", "title": "More", "payload": "MORE"}]
    template = {"template_type": "button", "text": "?", "buttons": buttons}
    message = json.dumps({"attachment": {"type": "template", "payload": template}})
    warned = here("rules", "add", "any", "--any", "--message", message).stderr
    assert "'MORE'" in warned
    assert "exactly one of" in here("rules", "add", "x", "--word", "a", "--any", "--text", "b", code=2).stderr
    assert "stop or start word" in here("rules", "add", "x", "--word", "stop", "--text", "b", code=2).stderr
    assert "is removed" in here("rules", "remove", "hi").stdout
    assert "no rule 'hi'" in here("rules", "remove", "hi", code=2).stderr


def test_a_link_warns_until_a_rule_answers_it(here: Here, page: None) -> None:
    here("topics", "add", "restock", "--title", "Back in stock")
    dead = here("topics", "link", "restock", "--ref", "sku-1")
    assert dead.stdout == "https://m.me/1001?ref=restock:sku-1\n"
    assert "leads to silence" in dead.stderr
    here("rules", "add", "link restock", "--word", "link", "--text", "Which one?")
    assert "listens to something else" in here("topics", "link", "restock", "--rule", code=2).stderr
    here("rules", "remove", "link restock")
    assert here("topics", "link", "restock", "--rule").stderr.startswith("Rule 'link restock' was added")
    assert here("topics", "link", "restock", "--rule").stderr == ""
    live = here.json("topics", "link", "restock", "--ref", "sku-1")
    assert (live["answered_by"], live["leads_to_topic"]) == ("link restock", True)
    assert "about sku-1" in here("rules", "test", "--referral", "restock:sku-1").stdout
