"""Two accounts of one campaign, ours and the platform's, held against each other person by person."""

from __future__ import annotations

from collections import Counter
from typing import Any

from otn.campaign.report import report
from otn.local.demo.verify import verify
from tests.system.machinery import System
from tests.system.scenes import Scene


def seen(system: System, scene: Scene) -> Counter[str]:
    """How often each person of the scene saw its text: by the platform's ledger alone."""
    ledger = system.sandbox.ledger(scene.page_id)
    return Counter(row["psid"] for row in ledger if str(row["text"]).startswith(scene.mark))


def calls(system: System, scene: Scene) -> int:
    """Calls of the Send API that the platform has counted for the scene's page."""
    return sum(1 for _ in system.sandbox.calls(scene.page_id, every=True))


def figures(system: System, scene: Scene) -> dict[str, Any]:
    """The campaign's report."""
    return report(system.engine, system.campaign_id(scene))


def assert_honest(system: System, scene: Scene, *, over: bool = True) -> None:
    """Whatever befell the campaign, and wherever it stands: nobody twice, nobody forgotten, nothing made up.

    Args:
        system: the running system.
        scene: whose campaign.
        over: it came to its end; a campaign that was stopped may have doubts that it could settle.
    """
    told = seen(system, scene)
    assert [psid for psid, times in told.items() if times > 1] == []
    assert told.keys() <= scene.reachable
    checks = verify(system.engine, system.sandbox, scene.page_id, system.campaign_id(scene))
    assert [check for check in checks if not check.holds and (over or "unknown whom" not in check.claim)] == []
    rows = system.people(scene)
    assert rows.keys() == set(scene.people), "everyone stands in the plan"
    ours = {str(row[0]) for row in system.rows("SELECT attempt_id FROM otn.attempt WHERE step = 'intent'")}
    theirs = {call["metadata"] for call in system.sandbox.calls(scene.page_id)}
    assert theirs <= ours, "no call without a committed intent"


def assert_told_once(system: System, scene: Scene) -> None:
    """It is over: everyone reachable saw it exactly once, and every row says what became of the person.

    Of somebody who blocked the page, the refusal of a second call tells nothing about a first one without an answer:
    such a row stays unknown and says so.
    """
    assert_honest(system, scene)
    assert seen(system, scene) == Counter(scene.reachable)
    rows = system.people(scene)
    states = {psid: row["state"] for psid, row in rows.items()}
    assert {psid for psid, state in states.items() if state == "sent"} == scene.reachable
    assert {psid for psid, state in states.items() if state in {"refused", "unknown"}} == scene.blocked
    assert {row["reason"] for row in rows.values() if row["state"] == "unknown"} <= {"refused_in_doubt"}
    told = figures(system, scene)
    assert told["state"] == "finished"
    assert told["audience"] == told["planned"] == len(scene.people)
    assert (told["sent"], told["refused"] + told["unknown"]) == (len(scene.reachable), len(scene.blocked))
    assert (told["waiting"], told["sending"]) == (0, 0)
    summary = system.sandbox.summary(scene.page_id)
    assert summary["most_per_token"] == 1
    assert summary["messages"] == summary["tokens_spent"] == len(scene.reachable)
