"""Figures that tasks hand to Airflow's stats: true, without people, and never in a task's way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from otn.settings import ROOT
from otn.watch.metrics import METRICS, MINUTELY, QUARTERLY
from tests.campaign.stage import Stage
from tests.dags.airflow_runs import Airflow
from tests.dags.stats import configured, labelled, listening, mapped

SPRING: dict[str, Any] = {"campaign": "spring", "topic": "restock", "text": "It is back!", "approval": False}
FORMS = pytest.mark.parametrize("tags", [False, True], ids=["plain names", "influx tags"])


@FORMS
def test_every_figure_is_that_of_the_report_and_no_datagram_names_a_person(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch, tags: bool
) -> None:
    people = stage.opt_in(12)
    stage.sandbox.block(stage.settings.page_id, people[:3], family="551")
    stage.sql("UPDATE otn.subscriber SET first_name = 'Zebedee', last_name = 'Quill'")
    monkeypatch.setenv("OTN_RECEIVER_URL", "")
    with listening(monkeypatch, statsd_influxdb_enabled=str(tags)) as statsd:
        run = airflow.run("otn_broadcast", **SPRING, max_recipients=10)
        stage.sql(
            "UPDATE otn.token SET opted_in_at = now() - interval '350 days', expires_at = now() + interval '9 days'"
        )
        stage.planned("autumn")
        watch, ingest = airflow.run("otn_watch"), airflow.run("otn_ingest")
        datagrams = statsd.datagrams()
    assert {run.state, watch.state, ingest.state} == {"success"}
    sent = [one for one in datagrams if one.startswith("airflow.otn.")]
    assert len(sent) == watch.xcom("count") + ingest.xcom("measure")
    figures = mapped(
        {
            name.removeprefix("airflow."): float(value.split("|")[0])
            for name, value in (one.rsplit(":", 1) for one in sent)
        }
    )

    page = stage.settings.page_id
    report, rest = run.xcom("report"), stage.report(stage.sql("SELECT max(id) FROM otn.campaign")[0][0])
    outcomes = labelled(figures, "airflow_otn_recipients", "page", "topic", "outcome")
    for outcome in ("waiting", "sending", "sent", "refused", "unknown", "cancelled"):
        assert outcomes[page, "restock", outcome] == report[outcome] + rest[outcome]
    assert report["refused"] > 0
    assert rest["waiting"] == 2
    assert labelled(figures, "airflow_otn_planned", "page", "topic") == {(page, "restock"): 12}
    assert labelled(figures, "airflow_otn_refused", "page", "code") == {(page, "551"): report["refused"]}
    assert labelled(figures, "airflow_otn_quota_used", "page")[page] >= report["planned"]
    states = labelled(figures, "airflow_otn_campaigns", "page", "state")
    assert {state: n for (_, state), n in states.items() if n} == {"finished": 1, "sending": 1}
    open_alarms = labelled(figures, "airflow_otn_alarms", "page", "kind", "level")
    assert {key for key, n in open_alarms.items() if n} == {
        (stage.settings.page_id if page_row else "none", kind, level)
        for page_row, kind, level in stage.sql("SELECT page_id, kind, level FROM otn.alarm WHERE ended_at IS NULL")
    }

    secrets = [*people, "Zebedee", "Quill", "It is back!", stage.settings.access_token, str(stage.settings.app_secret)]
    tokens = [row["token"] for row in stage.sandbox.tokens(page)]
    assert len(tokens) == 12
    text = "\n".join(datagrams)
    assert not [one for one in [*secrets, *tokens] if one in text]
    assert "ti.start" in text  # Airflow's own are in it: nothing was listened past
    assert not [one for one in sent if "spring" in one or "autumn" in one]  # keys of campaigns have no end


def test_a_task_that_runs_again_says_the_same(airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.opt_in(5)
    stage.run(stage.planned())
    with listening(monkeypatch) as statsd:
        run = airflow.run("otn_watch")
        first = statsd.ours()
        airflow.clear(run, tasks=["count"])
        again = statsd.ours()
    changed = {"otn.counted_at"}
    assert {k: v for k, v in again.items() if k not in changed} == {k: v for k, v in first.items() if k not in changed}
    assert first[f"otn.recipients.{stage.settings.page_id}.restock.sent"] == 5


def test_names_from_outside_are_no_part_of_a_name(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [
        "a.b",
        "x:1|c\nairflow.otn.page.halted.1",
        "page=1,topic=2",
        "8123456789012345",
        "other",
        "é" * 200,
        "topic-1",
    ]
    for key in bad:
        stage.sql(
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at) VALUES (%s, %s, 'T', %s, now())",
            *(stage.page_row, key, key),
        )
    stage.sql("INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'for-anna', 'for-anna')", stage.page_row)
    stage.sql("INSERT INTO otn.page (page_id, connection_id) VALUES ('evil|c:1', 'evil.conn')")
    for tags in ("False", "True"):
        with listening(monkeypatch, statsd_influxdb_enabled=tags) as statsd:
            airflow.run("otn_watch")
            airflow.run("otn_ingest")
            figures = mapped(statsd.ours())
        rows = {f"topic-{row[0]}" for row in stage.sql("SELECT id FROM otn.topic WHERE key = ANY (%s)", bad)}
        page = stage.settings.page_id
        assert {topic for _, topic in labelled(figures, "airflow_otn_consents", "page", "topic")} == {"restock"} | rows
        pages = stage.sql("SELECT id FROM otn.page WHERE page_id = 'evil|c:1'")
        assert set(labelled(figures, "airflow_otn_page_halted", "page")) == {page, f"page-{pages[0][0]}"}


class Refusing:
    """Somebody's own client, and it is broken."""

    statsd = None

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            if name == "gauge":
                raise ConnectionError("nobody there")

        return fail


@pytest.mark.parametrize("how", ["no such host", "nobody listens", "raises", "away"])
def test_stats_that_are_broken_turn_nothing_red(
    airflow: Airflow, stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from airflow.sdk.observability import stats

    there = {"statsd_on": "True", "statsd_port": "1", "statsd_host": "127.0.0.1"}
    if how == "no such host":
        there["statsd_host"] = "statsd.invalid"
    with configured(monkeypatch, **there):
        if how == "raises":
            stats.initialize(factory=Refusing, export_legacy_names=False)
        if how == "away":
            stage.sql("ALTER TABLE otn.call_count RENAME TO elsewhere")
        run = airflow.run("otn_ingest")
    assert run.tasks == {"ingest": "success", "measure": "success"}
    assert (run.xcom("measure") == 0) is (how in {"raises", "away"})


def test_without_stats_there_is_no_task(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "measure" not in airflow.dag("otn_ingest").task_dict
    assert "count" not in airflow.dag("otn_watch").task_dict
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    measure, count = airflow.dag("otn_ingest").task_dict["measure"], airflow.dag("otn_watch").task_dict["count"]
    # The next run waits for them: stop words with the one, alarms with the other.
    assert [(one.retries, bool(one.execution_timeout)) for one in (measure, count)] == [(0, True)] * 2
    assert (
        not measure.upstream_task_ids
        | measure.downstream_task_ids
        | count.upstream_task_ids
        | count.downstream_task_ids
    )


class Collector(BaseHTTPRequestHandler):
    """An OpenTelemetry Collector's door."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


TASK_PROCESS = """
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
from otn.orchestration.metrics import send
from otn.watch.metrics import METRICS, Figure
took = send([Figure(one.name, 7, {tag: "x" for tag in one.tags}) for one in METRICS.values()])
assert took == len(METRICS), took
"""


@pytest.mark.parametrize("there", [True, False], ids=["collector", "no collector"])
def test_open_telemetry_gets_them_with_tags_when_the_process_ends(there: bool) -> None:
    from tests.airflow_home import HOME

    door = type("Door", (Collector,), {"bodies": []})
    server = HTTPServer(("127.0.0.1", 0), door)
    if there:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    else:
        server.server_close()
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}:" + ":".join(sys.path),
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", TASK_PROCESS], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    if there:
        server.shutdown()
        server.server_close()
        assert _received(door.bodies) == {f"airflow.{one.name}": tuple(sorted(one.tags)) for one in METRICS.values()}


def _received(bodies: list[bytes]) -> dict[str, tuple[str, ...]]:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    found = {}
    for body in bodies:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                for one in scope.metrics:
                    (point,) = one.gauge.data_points
                    assert (point.as_int or point.as_double) == 7
                    found[one.name] = tuple(sorted(label.key for label in point.attributes))
    return found


def test_a_day_has_an_upper_bound_of_series(stage: Stage) -> None:
    from otn.watch import labels, measuring

    stage.sql(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
        " SELECT %s, 'k' || n, 'T', 'p' || n, now() FROM generate_series(1, 150) AS n",
        stage.page_row,
    )
    figures = [*measuring.count(stage.engine), *measuring.measure(stage.engine, lambda _: 30.0)]
    assert len({one.dotted for one in figures}) == len(figures)
    assert len({one.tags["topic"] for one in figures if "topic" in one.tags}) == labels.MOST_TOPICS + 1
    assert {one.metric for one in figures} <= {one.name for one in (*MINUTELY, *QUARTERLY)}
    assert all(set(one.tags) == set(METRICS[one.metric].tags) for one in figures)
    assert json.dumps([one.value for one in figures]).count("-") == 0
