"""Take one guard out, in a copy, and the checker must say so; leave it in, and the same play ends well."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import make_url

from sandbox.process import start
from tests.chaos.checker import Findings, check
from tests.chaos.holes import HOLES
from tests.chaos.lives import Lives
from tests.chaos.mutants import MUTANTS
from tests.chaos.scene import Place, Scene, new_keys

pytestmark = pytest.mark.xdist_group("mutants")  # one fixture plays for all
AT_ONCE = 5
PATIENT_S = 10.0  # no play is about a slow machine


def cloned(postgres: str, *statements: str) -> str:
    """URL of a fresh database with the schema, changed by statements."""
    name = f"chaos_{uuid.uuid4().hex}"
    urls = {database: make_url(postgres).set(database=database) for database in ("postgres", name)}
    plain = {
        database: url.set(drivername="postgresql").render_as_string(hide_password=False)
        for database, url in urls.items()
    }
    with closing(psycopg2.connect(plain["postgres"])) as connection:
        connection.autocommit = True
        connection.cursor().execute(f'CREATE DATABASE "{name}" TEMPLATE otn_template')
    with closing(psycopg2.connect(plain[name])) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    return urls[name].render_as_string(hide_password=False)


def play(place: Place, name: str, mutant: str) -> tuple[Findings, str]:
    act, people, tokens = HOLES[name]
    scene = Scene(place, people, (tokens, tokens), mutant, read_s=PATIENT_S)
    try:
        act(scene)
        scene.settle()
        return check(scene.history()), scene.story()
    finally:
        scene.close()


@pytest.fixture(scope="module")
def outcomes(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[tuple[Findings, str]]]]:
    """What the checker says of every play, with the guard and without; they wait most of the time, so all at once."""
    environ, keyring = new_keys()
    shared = cloned(postgres)
    unguarded = cloned(postgres)  # the guard against restored databases sees some of the holes, too
    file = tmp_path_factory.mktemp("epoch") / "epoch.json"
    sandbox = start(seed=11)
    try:
        with Lives(shared, environ) as lives, ThreadPoolExecutor(AT_ONCE) as plays:
            futures = {}
            for name, mutant in MUTANTS.items():
                whole = Place(shared, file, sandbox.control, lives, keyring)
                url = cloned(postgres, *mutant.schema) if mutant.schema or mutant.patch else unguarded
                broken = replace(whole, database=url, epoch_file=None)
                futures[name, ""] = plays.submit(play, whole, name, "")
                futures[name, name] = plays.submit(play, broken, name, name)
            yield futures
    finally:
        sandbox.stop()


@pytest.mark.parametrize("name", MUTANTS)
def test_with_the_guard_the_promise_holds(
    outcomes: dict[tuple[str, str], Future[tuple[Findings, str]]], name: str
) -> None:
    found, story = outcomes[name, ""].result()
    assert [str(one) for one in found.violations] == [], story
    assert found.figures["planned"]


@pytest.mark.parametrize("name", MUTANTS)
def test_without_the_guard_the_checker_says_so(
    outcomes: dict[tuple[str, str], Future[tuple[Findings, str]]], name: str
) -> None:
    found, story = outcomes[name, name].result()
    said = {violation.kind for violation in found.violations}
    assert said & MUTANTS[name].kinds, f"{MUTANTS[name].guard}: the checker said {sorted(said) or 'nothing'}\n{story}"
