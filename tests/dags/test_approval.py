"""The question of a campaign, asked and answered in a real Airflow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.campaign.stage import Stage
from tests.campaign.test_yes import REPLACED
from tests.dags.airflow_runs import Airflow, Question, answer

SPRING: dict[str, Any] = {"campaign": "spring", "topic": "restock", "text": "It is back!"}
HOSTILE = "`x`\n\n# Approve at once [here](javascript:alert(1)) <img src=x> | {{ conn.otn_db.password }}"


TITLE_LIMIT = 65


def audit(stage: Stage, action: str) -> list[dict[str, Any]]:
    return [row.detail for row in stage.sql("SELECT detail FROM otn.audit WHERE action = %s ORDER BY id", action)]


def test_the_question_says_everything_and_the_yes_is_kept_with_its_hash(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/af/")
    stage.opt_in(3)
    stage.sql("UPDATE otn.subscriber SET labels = '{vip}' WHERE id = (SELECT min(id) FROM otn.subscriber)")
    asked: list[Question] = []
    run = airflow.run("otn_broadcast", lambda: asked.append(answer("Approve")), **SPRING, exclude_labels=["vip"])
    assert run.state == "success", run
    row = stage.sql("SELECT id, encode(content_hash, 'hex') AS hash FROM otn.campaign")[0]
    body = asked[0].body
    for part in (
        "The card that they tapped said `Back in stock`.",
        "```text\nIt is back!\n```",
        "Whoever says yes confirms that this is about what people said yes to",
        "| carry an excluded label | 1 |",
        "2 tokens are spent for ever.",
        "1 of the topic are left unspent.",
        f"`{row.hash[:12]}` for short",
        f"`{row.hash}`",
        f"(<https://airflow.example/af/otn/campaigns/{row.id}>)",
        f"(<https://airflow.example/af/otn/compose?from={row.id}>)",
    ):
        assert part in body
    assert "Who may say yes" not in body
    here = {"dag": run.dag_id, "run": run.run_id, "task": "approval"}
    assert audit(stage, "asked") == [{**here, "kind": "approval", "late": False, "hash": row.hash, "cap": 12}]
    assert audit(stage, "approved") == [{"cap": 12, "late": False, "hash": row.hash}]
    for again in (
        airflow.clear(run),
        airflow.clear(run, tasks=["approval"]),
        airflow.run("otn_broadcast", **SPRING, exclude_labels=["vip"]),
    ):
        assert again.state == "success"  # nobody answers: it was not asked
    assert len(audit(stage, "asked")) == 1
    assert sum(stage.seen().values()) == 2


def test_the_composers_yes_is_asked_again_and_another_persons_counts(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTN_APPROVAL", "another")
    people = stage.opt_in(2)
    asked: list[Question] = []

    def persons() -> None:
        asked.append(answer("Approve", "dag_test"))  # who triggered it
        asked.append(answer("Approve", "Bob"))

    run = airflow.run("otn_broadcast", persons, **SPRING)
    assert run.state == "success", run
    assert "Another person than its composer must say yes: a yes of `dag_test` is not taken." in asked[0].body
    assert asked[1].body == asked[0].body  # Airflow keeps the words of a question
    assert stage.sql("SELECT approved_by FROM otn.campaign")[0].approved_by == "Bob"
    assert audit(stage, "yes not taken") == [
        {"why": "dag_test composed or triggered it, and another person must say yes"}
    ]
    assert stage.seen() == dict.fromkeys(people, 1)


def test_content_replaced_while_somebody_reads_is_shown_anew(airflow: Airflow, stage: Stage) -> None:
    people = stage.opt_in(1)
    asked: list[Question] = []

    def person() -> None:
        asked.append(answer("Approve", meanwhile=lambda: stage.sql(REPLACED)))
        asked.append(answer("Approve"))

    run = airflow.run("otn_broadcast", person, **SPRING)
    assert run.state == "success", run
    assert "It is back!" in asked[0].body
    assert [question.task for question in asked] == ["approval", "start_check"]
    assert "Buy something else!" in asked[1].body
    assert "the content was changed after it was shown" in asked[1].body
    first, second = audit(stage, "asked")
    assert first["hash"] != second["hash"]
    assert audit(stage, "approved")[0]["hash"] == second["hash"]
    assert stage.seen() == dict.fromkeys(people, 1)


def test_hostile_text_is_shown_as_it_is_and_the_composers_no_counts(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTN_APPROVAL", "another")
    stage.opt_in(1)
    stage.sql("UPDATE otn.topic SET title = %s", HOSTILE[:TITLE_LIMIT])
    asked: list[Question] = []
    key = HOSTILE.replace("\n", "")  # a key has no line ends
    conf = {**SPRING, "campaign": key, "text": f"{{% raw %}}{HOSTILE}{{% endraw %}}"}
    run = airflow.run("otn_broadcast", lambda: asked.append(answer("Reject", "dag_test")), **conf)
    assert run.state == "success", run
    body, title = asked[0].body, HOSTILE[:TITLE_LIMIT].replace("\n\n", "↵")
    assert f"Campaign `` {key} ``" in body
    assert f"said `` {title} ``." in body
    assert f"```text\n{HOSTILE}\n```" in body
    assert body.count("\n# Approve") == 1  # within the fence
    assert key in asked[0].subject
    assert stage.sql("SELECT state::text FROM otn.campaign")[0].state == "cancelled"
    assert stage.seen() == {}
