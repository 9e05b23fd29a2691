"""Permission, all the way round: a person writes, is asked, taps, is written to, reacts, and is asked again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from otn.consent import pages, rulemaking
from otn.consent.rulemaking import RuleSpec
from otn.database import transaction
from otn.local.supervision import Supervisor, python_path
from tests.system.accounts import assert_honest, figures, seen
from tests.system.hits import in_mid_chunk
from tests.system.machinery import ENVIRONMENT, System, eventually
from tests.system.scenes import Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

CARD, WORD = "one_time_notif_req", "notify me"
PROFILE = {"first_name": "Ada", "locale": "en_US", "timezone": 1}
ANY_TIME = {"met", "delivered", "read"}  # when we stored the first webhook; when the platform likes
STORY = [
    ("wrote", None, None),
    ("asked", "permission", "sent"),
    ("tapped", "permission", "webhook"),
    ("token", "permission", "spent"),
    ("campaign", "permission", "sent"),
    ("reacted", None, "react"),
    ("asked", "permission", "sent"),
    ("tapped", "permission", "webhook"),
    ("token", "permission", "unspent"),
]


@dataclass
class Circle:
    """Somebody who went all the way round.

    Args:
        psid: who.
        runs: of otn_ask, otn_watch, and the two campaigns.
        heard_s: seconds from a stop word until it was stored.
        stopped: who wrote it.
    """

    psid: str
    runs: dict[str, str]
    heard_s: float = 0.0
    stopped: str = ""


@pytest.fixture(scope="module")
def circle(opted_in: System) -> Circle:
    """One person's circle; while the campaign runs, somebody of another page's campaign writes STOP."""
    system, scene = opted_in, opted_in.scenes["permission"]
    _add_rule(system, RuleSpec("again", "reaction", scene.name, topic=scene.name))
    psid = _come(system, scene)
    system.sandbox.say(scene.page_id, psid, "Hello")
    eventually(lambda: _window_is_open(system, psid), "the window of who wrote")
    runs = {"watch": system.airflow.trigger("otn_watch")}
    runs["ask"] = system.airflow.trigger("otn_ask", {"page": scene.connection, "topic": scene.name})
    _tap(system, scene, psid, cards=1)
    runs["permission"] = system.trigger(scene)
    found = Circle(psid, runs)
    _stop(system, found)
    mid = eventually(lambda: _message_of(system, scene, psid), "the campaign's message")
    eventually(lambda: system.people(scene)[psid]["state"] == "sent", "what is known of it")
    system.sandbox.react(scene.page_id, psid, mid)
    _tap(system, scene, psid, cards=2)
    return found


def test_it_is_one_timeline_of_one_person(opted_in: System, circle: Circle) -> None:
    scene = opted_in.scenes["permission"]
    assert opted_in.end_of(circle.runs["ask"], "otn_ask") == "success"
    assert opted_in.end_of(circle.runs["permission"]) == "success"
    opted_in.settle()
    person = _otn(opted_in, "subscribers", "show", "-", "--page", scene.connection, stdin=circle.psid)
    timeline = [one for one in person["timeline"] if one["what"] not in ANY_TIME]
    assert [(one["what"], one["about"], one["detail"]) for one in timeline] == STORY
    moments = [datetime.fromisoformat(one["at"]) for one in timeline]
    assert moments == sorted(moments)
    assert [one["state"] for one in person["consents"]] == ["spent", "unspent"]
    assert [one["cause"] for one in person["window_messages"]] == ["rule", "ask"]
    assert all(one["tapped_at"] for one in person["window_messages"])
    assert [(one["campaign"], one["state"]) for one in person["campaigns"]] == [(scene.name, "sent")]


def test_the_campaign_adds_up_and_the_platform_saw_the_same(opted_in: System, circle: Circle) -> None:
    scene = opted_in.scenes["permission"]
    assert opted_in.end_of(circle.runs["permission"]) == "success"
    opted_in.settle()
    assert_honest(opted_in, scene)
    assert dict(seen(opted_in, scene)) == dict.fromkeys(scene.reachable, 1)
    told = figures(opted_in, scene)
    assert told["audience"] == told["planned"] == scene.count + 1
    assert (told["sent"], told["refused"] + told["unknown"]) == (len(scene.reachable), len(scene.blocked))
    summary = opted_in.sandbox.summary(scene.page_id)
    assert summary["most_per_token"] == 1
    assert summary["kinds"][CARD] == len(_cards(opted_in, scene, circle.psid)) == 2, "nobody else was asked"


def test_a_stop_word_is_obeyed_while_the_campaign_runs(opted_in: System, circle: Circle) -> None:
    scene = opted_in.scenes["stopped"]
    assert opted_in.end_of(circle.runs["stopped"]) == "success"
    opted_in.settle()
    stored_s = opted_in.one(
        "SELECT extract(epoch FROM w.ingested_at - w.received_at)::float FROM otn.event e JOIN otn.subscriber s"
        " ON s.id = e.subscriber_id JOIN otn.webhook_event w ON (w.received_day, w.id) = (e.webhook_day, e.webhook_id)"
        " WHERE s.psid = %s AND e.detail = 'stop_word'",
        circle.stopped,
    )
    print(f"stop word: stored after {circle.heard_s:.2f} s, ingested {stored_s:.2f} s after the receiver had it")
    row = opted_in.people(scene)[circle.stopped]
    assert (row["state"], row["reason"]) == ("skipped", "suppressed")
    assert circle.stopped not in seen(opted_in, scene)
    assert_honest(opted_in, scene)
    told = figures(opted_in, scene)
    assert told["skipped"] == {"suppressed": 1}
    assert told["sent"] + told["refused"] + told["unknown"] == scene.count - 1


def test_the_watch_is_green_and_its_alarms_are_readable(opted_in: System, circle: Circle) -> None:
    assert opted_in.end_of(circle.runs["watch"], "otn_watch") == "success"
    assert set(opted_in.airflow.task_states("otn_watch", circle.runs["watch"]).values()) == {"success"}
    found = _otn(opted_in, "alarms", "list", "--all")
    assert {one["level"] for one in found} <= {"warn", "alarm"}
    assert all(one["sentence"] and one["advice"] for one in found if not one["ended_at"])
    told = opted_in.log(circle.runs["watch"], "look", "otn_watch")
    assert "things looked at" in told
    assert circle.psid not in told + json.dumps(found)


@pytest.mark.usefixtures("circle")
def test_a_responder_that_is_killed_comes_back_and_asks_once(opted_in: System) -> None:
    scene = opted_in.scenes["permission"]
    _add_rule(opted_in, RuleSpec("word", "word", WORD, topic=scene.name))
    psid = opted_in.sandbox.people(scene.page_id, 1, profiles=PROFILE)[0]
    killed = opted_in.program("responder")
    killed.kill()
    wrote_at = time.monotonic()
    opted_in.sandbox.say(scene.page_id, psid, WORD)
    eventually(lambda: _cards(opted_in, scene, psid), "the card")
    print(f"card: {time.monotonic() - wrote_at:.2f} s after the responder was killed")
    supervisor = Supervisor(opted_in.home)
    eventually(lambda: supervisor.programs()["responder"].pid not in {None, 0, killed.pid}, "the next responder")
    opted_in.settle()
    states = opted_in.rows(
        "SELECT w.state::text FROM otn.window_message w JOIN otn.subscriber s ON s.id = w.subscriber_id"
        " WHERE s.psid = %s",
        psid,
    )
    assert [row.state for row in states] == ["sent"]
    assert len(_cards(opted_in, scene, psid)) == 1


def _add_rule(system: System, spec: RuleSpec) -> None:
    with transaction(system.engine) as connection:
        page = pages.find(connection, system.scenes["permission"].connection)
        rulemaking.add(connection, page, spec, actor="system test")


def _come(system: System, scene: Scene) -> str:
    """Somebody who never wrote before, and belongs to the scene from now on."""
    psid = system.sandbox.people(scene.page_id, 1, profiles=PROFILE)[0]
    scene.people.append(psid)
    return psid


def _window_is_open(system: System, psid: str) -> bool:
    found = "SELECT 1 FROM otn.subscriber WHERE psid = %s AND last_interaction_at > now() - interval '24 hours'"
    return bool(system.rows(found, psid))


def _cards(system: System, scene: Scene, psid: str) -> list[dict[str, Any]]:
    """Request cards that lay before a person, by the platform's ledger."""
    return [card for card in system.sandbox.ledger(scene.page_id, kind=CARD) if card["psid"] == psid]


def _message_of(system: System, scene: Scene, psid: str) -> str | None:
    found = [row for row in system.sandbox.ledger(scene.page_id, kind="text") if row["psid"] == psid]
    return next((str(row["mid"]) for row in found if row["text"].startswith(scene.mark)), None)


def _tap(system: System, scene: Scene, psid: str, *, cards: int) -> None:
    """Wait until so many cards are known to be there, tap the last, wait until every tap is stored as its answer."""
    person = "JOIN otn.subscriber s ON s.id = x.subscriber_id WHERE s.psid = %s"
    sent = f"SELECT 1 FROM otn.window_message x {person} AND x.card AND x.state = 'sent'"
    eventually(lambda: len(system.rows(sent, psid)) == cards, f"card {cards}")
    system.sandbox.tap(scene.page_id, psid)
    tokens = f"SELECT DISTINCT x.card_id FROM otn.token x {person} AND x.card_id IS NOT NULL"
    eventually(lambda: len(system.rows(tokens, psid)) == cards, f"the token of card {cards}")


def _stop(system: System, circle: Circle) -> None:
    """Somebody whose turn comes late in a running campaign writes STOP."""
    scene = system.scenes["stopped"]
    circle.runs["stopped"] = system.trigger(scene)
    in_mid_chunk(system, scene)
    rows = system.people(scene)
    waiting = [psid for psid in scene.reachable if rows[psid]["state"] == "waiting"]
    circle.stopped = max(waiting, key=lambda psid: rows[psid]["subscriber_id"])  # the order in which they are claimed
    wrote_at = time.monotonic()
    system.sandbox.say(scene.page_id, circle.stopped, "STOP")
    silenced = "SELECT 1 FROM otn.suppression x JOIN otn.subscriber s ON s.id = x.subscriber_id WHERE s.psid = %s"
    eventually(lambda: system.rows(silenced, circle.stopped), "the stop word stored", poll_s=0.01)
    circle.heard_s = time.monotonic() - wrote_at


def _otn(system: System, *words: str, stdin: str = "") -> Any:
    """What a command says with ``--json``."""
    command = [sys.executable, "-m", "otn", *words, "--home", str(system.home.path), "--json"]
    environment = ENVIRONMENT | {"PYTHONPATH": python_path()}
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)
