"""The console's pages with a million recipients in the database: how long each takes to answer."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks.stage import Cluster, Program, postgres_variable
from otn.campaign import control
from otn.campaign import plan as planning
from otn.campaign.model import CampaignSpec
from otn.crypto import new_key
from otn.database import Engine, make_engine, migrate, transaction
from otn.local.ports import HOST, free_port
from otn.local.progress import Progress, Silence

DATABASE = "otn"
RECIPIENTS = 1_000_000
ROUNDS = 15
BOUND_MS = 300.0  # of the median; what people take for at once
ANSWER_S = 120.0
AGAIN_S = 0.25  # a page that still counts is asked again
SLICE = 100_000  # people made by one statement
PAGE = "1000000001"

SHOP = """
INSERT INTO otn.page (page_id, connection_id, name) VALUES (%(page)s, 'messenger_default', 'The Shop') RETURNING id
"""
TOPIC = """
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (%(page)s, %(key)s, %(key)s, %(key)s, clock_timestamp()) RETURNING id
"""
PEOPLE = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid, first_name, last_name, locale, labels, last_interaction_at)
    SELECT %(page)s, (7000000000000000 + n)::text, 'First' || n, 'Last' || n, 'en_GB',
           CASE WHEN mod(n, 10) = 0 THEN ARRAY['vip'] ELSE '{}' END, now() - interval '2 days'
    FROM generate_series(%(first)s, %(last)s) AS n
    RETURNING id, psid
)
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT id, %(topic)s, sha256(convert_to(psid || %(topic)s, 'UTF8')), '\\x00'::bytea,
       now() - interval '30 days', now() + make_interval(days => 1 + mod(id, 330)::integer)
FROM people
"""
AGAIN = """
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT id, %(topic)s, sha256(convert_to(psid || %(topic)s, 'UTF8')), '\\x00'::bytea,
       now() - interval '30 days', now() + make_interval(days => 1 + mod(id, 330)::integer)
FROM otn.subscriber
"""
SILENT = """
INSERT INTO otn.suppression (subscriber_id, reason) SELECT id, 'operator' FROM otn.subscriber WHERE mod(id, 100) = 13
"""
# As a campaign leaves them: most sent, some refused for several reasons, few of whom nobody knows, some still waiting.
RESULTS = """
UPDATE otn.recipient SET attempts = 1, attempt_id = gen_random_uuid(),
    state = (CASE WHEN kind = 0 THEN 'unknown' WHEN kind < 20 THEN 'refused' ELSE 'sent' END)::otn.recipient_state,
    unanswered = (kind = 0)::integer, reason = CASE WHEN kind = 0 THEN 'no_answer' END,
    error_code = CASE WHEN kind BETWEEN 1 AND 19 THEN (ARRAY[551, 10, 100])[1 + mod(kind, 3)] END,
    evidence = CASE WHEN kind >= 20 THEN 'answer'::otn.evidence END,
    message_id = CASE WHEN kind >= 20 THEN 'm_' || subscriber_id END,
    sent_at = CASE WHEN kind >= 20 THEN now() - make_interval(secs => mod(subscriber_id, 3600)) END,
    delivered_at = CASE WHEN kind >= 100 THEN now() END, read_at = CASE WHEN kind >= 500 THEN now() END
FROM (SELECT id, mod(id, 1000) AS kind FROM otn.subscriber) k
WHERE campaign_id = %(campaign)s AND subscriber_id = k.id AND mod(subscriber_id, 50) <> 7
"""
CALLS = """
INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender, outcome, http_status, error_code,
                         message_id, at)
SELECT campaign_id, subscriber_id, attempt_id, step, 'bench',
       CASE WHEN step = 'answer' THEN state::text END, CASE WHEN step = 'answer' THEN 200 END,
       CASE WHEN step = 'answer' THEN error_code END, CASE WHEN step = 'answer' THEN message_id END,
       clock_timestamp()
FROM otn.recipient, unnest(ARRAY['intent', 'answer']) AS step
WHERE campaign_id = %(campaign)s AND attempts > 0 AND NOT (step = 'answer' AND state = 'unknown')
"""


@dataclass
class Measured:
    """One page.

    Args:
        name: what people call it.
        path: where it is.
        form: posted, with the number of the round for ``{round}``; None: a GET.
        says: stands in the answer, so that no page is quick because it shows nothing.
        until: the first time it is asked for again, as its script does, until it says this.
        first_ms: until the first one was there, with nothing counted yet.
        times_ms: of the others.
    """

    name: str
    path: str
    form: dict[str, str] | None = None
    says: str = "<"
    until: str = ""
    first_ms: float = 0.0
    times_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Of all but the first."""
        return round(median(self.times_ms), 1)


def run(recipients: int = RECIPIENTS, progress: Progress | None = None, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure every page.

    Args:
        recipients: of the large campaign; as many people have an unspent consent of a second topic.
        progress: told what happens.
        rounds: each page is asked for so often, all in turns.
    """
    progress = progress or Silence()
    with Cluster() as cluster:
        campaign = _fill(cluster, recipients, progress)
        pages = _pages(campaign, recipients)
        with _served(cluster) as port:
            _measure(port, pages, rounds, progress)
    return {
        "recipients": recipients,
        "rounds": rounds,
        "bound_ms": BOUND_MS,
        "pages": [
            {
                "name": one.name,
                "first_ms": one.first_ms,
                "median_ms": one.median_ms,
                "longest_ms": round(max(one.times_ms), 1),
                "within": one.median_ms <= BOUND_MS,
            }
            for one in pages
        ],
    }


def _pages(campaign: int, recipients: int) -> list[Measured]:
    one, middle = f"/campaigns/{campaign}", recipients // 2
    compose = {"page": "messenger_default", "topic": "sale", "campaign": "next", "text": "Hi", "do": "look"}
    compose |= {
        "zone": "UTC",
        "kind": "text",
        "when": "now",
        "if_late": "ask",
        "late_after": "1 h",
        "max_refused": "0.5",
    }
    reached = f"{recipients - recipients // 100:,} people"
    return [
        Measured("home", "/"),
        Measured("home, renewed", "/live"),
        Measured("topics", "/topics"),
        Measured("a topic", "/topics/1"),
        Measured("compose", "/compose"),
        Measured("compose, everybody counted", "/compose/count", compose, "people", until=reached),
        Measured("compose, counted by label", "/compose/count", compose | {"include_labels": "vip"}, "people"),
        Measured(
            "compose, each time another audience", "/compose/count", compose | {"max_recipients": "{round}"}, "people"
        ),
        Measured("campaigns", "/campaigns"),
        Measured("a campaign", one),
        Measured("a campaign, renewed", f"{one}/live"),
        Measured("recipients", f"{one}/recipients"),
        Measured("recipients, in the middle", f"{one}/recipients?after={middle}"),
        Measured("recipients, refused", f"{one}/recipients?state=refused"),
        Measured("recipients, waiting", f"{one}/recipients?state=waiting&after={middle}"),
        Measured("recipients, unconfirmed", f"{one}/recipients?state=unknown"),
        Measured("recipients, by a code that few have", f"{one}/recipients?state=refused&code=551"),
        Measured("recipients, by a code that nobody has", f"{one}/recipients?state=refused&code=613"),
        Measured("a recipient", f"{one}/recipients/{middle + 21}"),
        Measured("left out", f"{one}/left-out"),
        Measured("people, by number", "/people", {"text": f"#{middle}"}),
        Measured("people, by PSID", "/people", {"text": str(7_000_000_000_000_000 + middle)}),
        Measured("people, by name", "/people", {"text": f"Last{middle}"}),
        Measured("people, by a name that nobody has", "/people", {"text": "Nobody"}),
        Measured("a person", f"/people/{middle + 21}"),
    ]


def _fill(cluster: Cluster, recipients: int, progress: Progress) -> int:
    """People, two topics, and a campaign that reached most of them; answers its number."""
    with closing(cluster.server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    url = cluster.server.url(DATABASE)
    migrate(url)
    engine = make_engine(url)
    try:
        page, first, second = _shop(engine)
        for begin in range(0, recipients, SLICE):
            progress.stage(f"making people, {begin:,} of {recipients:,}")
            last = min(begin + SLICE, recipients)
            _do(engine, PEOPLE, page=page, topic=first, first=begin + 1, last=last)
        progress.stage("making their other consents")
        _do(engine, AGAIN, topic=second)
        _do(engine, SILENT)
        _vacuum(cluster)
        progress.stage("planning the campaign")
        campaign = _campaign(engine, page, first)
        progress.stage("writing down its results")
        _do(engine, RESULTS, campaign=campaign)
        progress.stage("writing down its calls")
        _do(engine, CALLS, campaign=campaign)
        _do(engine, "UPDATE otn.campaign SET state = 'paused' WHERE id = %(campaign)s", campaign=campaign)
        _vacuum(cluster)
    finally:
        engine.dispose()
    return campaign


def _shop(engine: Engine) -> tuple[int, int, int]:
    page = _do(engine, SHOP, page=PAGE)
    first, second = (_do(engine, TOPIC, page=page, key=key) for key in ("restock", "sale"))
    return page, first, second


def _campaign(engine: Engine, page: int, topic: int) -> int:
    campaign = control.open_campaign(
        engine,
        CampaignSpec(key="large", message={"text": "Hi {{ first_name }}"}, approval=False),
        page_row_id=page,
        facebook_page_id=PAGE,
        topic_row_id=topic,
        topic_key="restock",
        actor="bench",
    ).id
    planning.plan(engine, campaign, messages_per_second=30)
    return campaign


def _do(engine: Engine, statement: str, **values: Any) -> Any:
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def _vacuum(cluster: Cluster) -> None:
    """As autovacuum would after so many rows."""
    with closing(cluster.server.connect(DATABASE)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")


@contextmanager
def _served(cluster: Cluster) -> Iterator[int]:
    port, home = free_port(), cluster.folder / "airflow"
    root = Path(__file__).resolve().parents[1]
    environment = {
        "PORT": str(port),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_OTN_DB": postgres_variable(cluster.server, DATABASE),
        "AIRFLOW_CONN_MESSENGER_DEFAULT": '{"conn_type": "messenger", "login": "1000000001", "password": "none"}',
        "OTN_ENCRYPTION_KEYS": new_key(),
        "OTN_HASH_KEY": new_key(),
    }
    log = cluster.folder / "console.log"
    with Program(["-m", "benchmarks.console_server"], environment, port, "/static/console.css", log):
        yield port


def _measure(port: int, pages: list[Measured], rounds: int, progress: Progress) -> None:
    with closing(http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)) as connection:
        progress.stage("each page for the first time")
        for page in pages:
            page.first_ms = _ask_first(connection, page, rounds)
        for number in range(rounds):
            progress.stage(f"all pages, round {number + 1} of {rounds}")
            for page in pages:
                page.times_ms.append(_ask(connection, page, number)[0])


def _ask_first(connection: http.client.HTTPConnection, page: Measured, number: int) -> float:
    began = time.monotonic()
    while page.until.encode() not in _ask(connection, page, number)[1]:
        if time.monotonic() > began + ANSWER_S:
            raise RuntimeError(f"{page.name} ({page.path}) did not say {page.until!r} in {ANSWER_S:.0f} s")
        time.sleep(AGAIN_S)
    return round((time.monotonic() - began) * 1000, 1)


def _ask(connection: http.client.HTTPConnection, page: Measured, number: int) -> tuple[float, bytes]:
    """Milliseconds, and the page."""
    began = time.monotonic()
    headers = {"Origin": f"http://{HOST}:{connection.port}"}
    if page.form is None:
        connection.request("GET", page.path, headers=headers)
    else:
        form = {name: value.replace("{round}", str(1 + number)) for name, value in page.form.items()}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST", page.path, urlencode(form), headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != http.client.OK or page.says.encode() not in body:
        raise RuntimeError(f"{page.name} ({page.path}) answered {answer.status} without {page.says!r}: {body[:300]!r}")
    return round((time.monotonic() - began) * 1000, 1), body
