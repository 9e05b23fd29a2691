"""What an operator writes, in every place that takes a text: Airflow renders none of it, and nothing leaks."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import make_url

from tests.airflow_home import HOME
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow, Question, answer

INJECTED = "{{ conn.otn_db.password }} {{ var.value.x }} {{ 7 * 6 }}"


def secrets_of(stage: Stage, database_url: str) -> list[str]:
    settings = stage.settings
    found = [make_url(database_url).password, settings.access_token, settings.app_secret]
    assert all(one and len(one) > 8 for one in found)
    return [str(one) for one in found]


def written() -> str:
    """All that Airflow keeps: every table, every log."""
    with closing(sqlite3.connect(HOME / "airflow.db")) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [repr(connection.execute(f'SELECT * FROM "{name}"').fetchall()) for name in names]
    logs = [path.read_text(errors="replace") for path in (HOME / "logs").rglob("*") if path.is_file()]
    return "\n".join(rows + logs)


def test_a_text_that_airflow_would_render_is_sent_and_shown_as_it_is(
    airflow: Airflow, stage: Stage, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    stage.opt_in(2)
    asked: list[Question] = []
    conf = {"campaign": "spring", "topic": "restock", "text": f"{{% raw %}}{INJECTED}{{% endraw %}}"}
    conf |= {"include_labels": [], "exclude_labels": [INJECTED], "result_labels": {}}
    run = airflow.run("otn_broadcast", lambda: asked.append(answer("Approve")), **conf)
    assert run.state == "success", run
    assert {row["text"] for row in stage.sandbox.ledger(stage.settings.page_id)} == {INJECTED}
    (question,) = asked
    assert INJECTED in question.body.replace("\\", "")
    kept = written() + json.dumps(question.body) + "".join(capfd.readouterr())
    assert not [secret for secret in secrets_of(stage, database_url) if secret in kept]


@pytest.mark.parametrize("param", ["campaign", "topic", "text"])
def test_what_is_refused_is_told_without_being_rendered(
    airflow: Airflow, stage: Stage, database_url: str, capfd: pytest.CaptureFixture[str], param: str
) -> None:
    people = stage.opt_in(1)
    conf = {"campaign": "spring", "topic": "restock", "text": "x", param: "{{ conn.otn_db.password }}"}
    run = airflow.run("otn_broadcast", **conf, approval=False)
    said = written() + "".join(capfd.readouterr())
    assert not [secret for secret in secrets_of(stage, database_url) if secret in said]
    if param == "campaign":  # a key is any text: it is taken for one
        assert run.state == "success"
        assert stage.sql("SELECT key FROM otn.campaign")[0].key == "{{ conn.otn_db.password }}"
        assert stage.seen() == dict.fromkeys(people, 1)
    else:
        assert run.state == "failed"
        assert stage.seen() == {}
