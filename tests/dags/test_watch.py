from __future__ import annotations

import email
import json
import smtplib
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from otn.database import transaction
from otn.errors import ConfigurationError
from otn.orchestration import notifying
from otn.watch import alarms
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow


class Post:
    """A service that takes notifications by JSON, as Apprise's ``json://`` sends them."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        post = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if post.status == 200:
                    post.got.append(json.loads(body))
                self.send_response(post.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"json://me:the-secret-of-the-post@127.0.0.1:{self.server.server_port}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def post() -> Any:
    post = Post()
    yield post
    post.close()


def test_what_is_wrong_is_repaired_told_once_and_never_red(
    airflow: Airflow, stage: Stage, post: Post, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setenv("OTN_NOTIFY", post.url)
    page = stage.settings.page_id
    stage.sandbox.page(page, subscribed_fields=["messages"])
    campaign = _planned(stage)
    stage.sql("UPDATE otn.campaign SET started_at = now() - interval '1 hour'")
    stage.sql("SET session_replication_role = replica; UPDATE otn.audit SET at = now() - interval '1 hour'")
    run = airflow.run("otn_watch")
    assert run.state == "success", run
    assert stage.sql("SELECT state::text FROM otn.campaign WHERE id = %s", campaign) == [("interrupted",)]
    assert "messaging_optins" in stage.sandbox.pages()[0]["subscribed_fields"]
    (told,) = post.got
    assert "subscribed again" in told["message"]
    assert "The campaign spring is interrupted." in told["message"]

    post.status = 500
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    red = airflow.run("otn_watch")
    assert red.tasks == {"deletions": "success", "look": "success", "tell": "failed"}
    assert stage.sql("SELECT count(*) FROM otn.alarm WHERE kind = 'halt' AND told_as IS NULL")[0][0] == 1
    post.status = 200
    assert airflow.run("otn_watch").xcom("tell") == 2  # the halt, and the end of the lapsed subscription
    assert airflow.run("otn_watch").xcom("tell") == 0
    assert len(post.got) == 2
    assert "The campaign spring is interrupted." in caplog.text
    assert "the-secret-of-the-post" not in caplog.text
    assert stage.settings.access_token not in caplog.text


def _planned(stage: Stage) -> int:
    stage.opt_in(1)
    return stage.planned()


def test_without_a_notifier_it_says_so_and_keeps_the_news(
    airflow: Airflow, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    run = airflow.run("otn_watch")
    assert run.state == "success"
    assert "nobody is told: define the connection otn_notify" in caplog.text
    with transaction(stage.engine) as connection:
        assert "halt" in {one.kind for one in alarms.untold(connection)}


def test_a_watch_that_cannot_look_is_red(airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTN_RESUBSCRIBE", "perhaps")
    run = airflow.run("otn_watch")
    assert (run.state, run.tasks["look"], run.tasks["tell"]) == ("failed", "failed", "upstream_failed")


@pytest.mark.parametrize("name", ["OTN_EPOCH_FILE", "OTN_ERASURE_JOURNAL"])
def test_a_file_that_cannot_be_named_so_is_an_alarm_and_the_rest_is_looked_at(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "relative.json")
    stage.sql("UPDATE otn.page SET halted_at = now(), halt_reason = '190: token'")
    run = airflow.run("otn_watch")
    assert run.tasks["look"] == "success", run
    found = dict(stage.sql("SELECT kind, sentence FROM otn.alarm WHERE level = 'alarm'"))
    assert name in found["epoch"]
    assert "halt" in found


def test_a_campaign_whose_run_lives_is_left_alone(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = _planned(stage)
    stage.sql("UPDATE otn.campaign SET started_at = now() - interval '1 hour'")
    stage.sql("SET session_replication_role = replica; UPDATE otn.audit SET at = now() - interval '1 hour'")
    run_id = _run_of("otn_broadcast")
    stage.sql(
        "INSERT INTO otn.campaign_run VALUES (%s, 'otn_broadcast', %s, now() - interval '1 hour'),"
        " (%s, 'otn_retry', 'long ago', now() - interval '1 day')",
        *(campaign, run_id, campaign),
    )
    airflow.run("otn_watch")
    assert stage.sql("SELECT state::text FROM otn.campaign") == [("sending",)]
    _end(run_id)
    airflow.run("otn_watch")
    assert stage.sql("SELECT state::text FROM otn.campaign") == [("interrupted",)]


def test_a_campaign_whose_file_is_gone_has_no_run_that_lives(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    campaign = _planned(stage)
    stage.sql("UPDATE otn.campaign SET started_at = now() - interval '1 hour'")
    stage.sql("SET session_replication_role = replica; UPDATE otn.audit SET at = now() - interval '1 hour'")
    stage.sql(
        "INSERT INTO otn.campaign_run VALUES (%s, 'otn_campaign_spring', %s, now() - interval '1 hour')",
        *(campaign, _run_of("otn_campaign_spring")),
    )
    stage.sql(
        "INSERT INTO otn.audit (actor, action, campaign_id, detail, at)"
        " VALUES ('otn', 'read file', %s, '{\"file\": \"spring.yaml\"}', now() - interval '1 hour')",
        campaign,
    )
    monkeypatch.setenv("OTN_CAMPAIGNS_DIR", str(tmp_path / "away"))
    airflow.run("otn_watch")
    assert stage.sql("SELECT state::text FROM otn.campaign") == [("sending",)]  # it may only be away for a moment
    monkeypatch.setenv("OTN_CAMPAIGNS_DIR", str(tmp_path))
    airflow.run("otn_watch")
    assert stage.sql("SELECT state::text FROM otn.campaign") == [("interrupted",)]
    said = [row[0] for row in stage.sql("SELECT sentence FROM otn.alarm WHERE kind = 'campaign_file' ORDER BY id")]
    assert ["is not there" in said[0], "its file spring.yaml is gone" in said[1]] == [True, True]


def _run_of(dag_id: str) -> str:
    """A run that stands in Airflow's tables as running."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunType

    run_id = f"manual__{uuid.uuid4()}"
    with create_session() as session:
        session.add(DagRun(dag_id=dag_id, run_id=run_id, run_type=DagRunType.MANUAL, state="running"))
    return run_id


def _end(run_id: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(state="failed"))


# ── notifiers


class Mails:
    """In the place of smtplib: keeps what is handed over."""

    sent: list[str]

    def __init__(self, *_: Any, **__: Any) -> None:
        self.closed = False

    def sendmail(self, *, msg: str, **_: Any) -> None:
        Mails.sent.append(msg)

    def close(self) -> None:
        self.closed = True


def smtp(**extra: str) -> str:
    known = {"disable_ssl": "true", "disable_tls": "true", **extra}
    return json.dumps({"conn_type": "smtp", "host": "mail.example.org", "port": 25, "extra": known})


def test_a_mail_is_handed_over_and_its_text_is_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    Mails.sent = []
    monkeypatch.setattr(smtplib, "SMTP", Mails)
    monkeypatch.setenv("AIRFLOW_CONN_OTN_NOTIFY", smtp(to="ops@example.org", from_email="otn@example.org"))
    notify = notifying.read_notifier({})
    assert notify is not None
    notify("OTN: 1 alarm", "<b>{{ conn.otn_db.password }}</b>")
    (mail,) = map(email.message_from_string, Mails.sent)
    assert (mail["Subject"], mail["To"]) == ("OTN: 1 alarm", "ops@example.org")
    (text,) = [part for part in mail.walk() if part.get_content_type() == "text/html"]
    assert text.get_payload(decode=True).decode() == "<pre>&lt;b&gt;{{ conn.otn_db.password }}&lt;/b&gt;</pre>"


def test_a_mail_that_nobody_takes_is_an_error_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise smtplib.SMTPRecipientsRefused({"ops@example.org": (550, b"no such user")})

    monkeypatch.setattr(smtplib, "SMTP", refuse)
    monkeypatch.setenv("AIRFLOW_CONN_OTN_NOTIFY", smtp(to="ops@example.org", from_email="otn@example.org"))
    notify = notifying.read_notifier({})
    assert notify is not None
    with pytest.raises(notifying.NotToldError) as error:
        notify("title", "text")
    assert "example" not in str(error.value)


@pytest.mark.parametrize(
    ("connection", "variable", "says"),
    [
        (smtp(from_email="otn@example.org"), "", "no to"),
        (smtp(to="ops@example.org"), "", "no from_email"),
        ('{"conn_type": "apprise", "password": ""}', "", "0 of 0|addresses to notify"),
        ('{"conn_type": "apprise", "password": "nonsense://secret-part"}', "", "1 of 1"),
        ("", "nonsense://secret-part", "1 of 1"),
    ],
)
def test_a_notifier_that_cannot_work_is_told_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, connection: str, variable: str, says: str
) -> None:
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_OTN_NOTIFY", connection)
    monkeypatch.setenv("OTN_NOTIFY", variable)
    with pytest.raises(ConfigurationError, match=says) as error:
        notifying.read_notifier({})
    assert "secret-part" not in str(error.value)


def test_nobody_to_be_told_is_no_error() -> None:
    assert notifying.read_notifier({}) is None
