"""Prepared faults, one at a time in a sound installation: the doctor names each, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psycopg2
import pytest
from sqlalchemy import make_url

from otn.cli.examination import TITLES, Check, examine
from otn.crypto import new_key, read_keyring
from otn.database import Engine, transaction
from otn.local.home import Home
from otn.local.logins import KINDS, RECEIVER, SENDER
from otn.local.postgres import temporary_server
from otn.local.progress import Silence
from otn.watch.page_check import ALL_FIELDS
from sandbox.process import Handle
from tests.clean import database as emptied
from tests.clean import emptied_url
from tests.logins import url_of

from .conftest import SECRETS, Inside

__all__ = ["emptied", "emptied_url"]

LOGINS = "database.logins"
# The server of the tests has no other account, and does not wait for the disk.
AS_SUPERUSER = {"database.role": "yellow", LOGINS: "yellow", "database.durability": "red"}
TOKEN = "one-time-token"


@dataclass
class Sound:
    """An installation that nothing is wrong with."""

    otn: Inside
    database: Engine
    url: str
    platform: Handle
    page_id: str
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    keep: Callable[[Any], Any]

    def sql(self, statement: str, *values: object) -> list[Any]:
        with transaction(self.database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def alter_database(self, words: str) -> None:
        name = make_url(self.url).database
        with closing(psycopg2.connect(self.url.replace("+psycopg2", ""))) as connection:
            connection.autocommit = True
            connection.cursor().execute(f'ALTER DATABASE "{name}" {words}')

    def connection(self, **changed: Any) -> None:
        """Change the page's connection."""
        known = json.loads(self.otn.environ["AIRFLOW_CONN_SHOP"])
        self.otn.environ["AIRFLOW_CONN_SHOP"] = json.dumps(known | changed)

    def change_page(self, **values: Any) -> None:
        """Change the page on the platform."""
        self.platform.control.page(self.page_id, **values)

    def doctor(self) -> dict[str, Check]:
        """Everything that is yellow or red, by id."""
        with patch.dict(os.environ, self.otn.environ, clear=True), chdir(self.folder):
            checks = examine(None, Silence())
        wrong = [check for check in checks if check.level in {"yellow", "red"}]
        assert {check.id for check in checks} <= TITLES.keys()
        by_id = {check.id: check for check in wrong}
        assert len(by_id) == len(wrong), wrong
        assert all(check.advice for check in wrong), wrong
        return by_id


def levels(wrong: dict[str, Check]) -> dict[str, str]:
    return {check_id: check.level for check_id, check in wrong.items()}


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """A database of its own only for a fault that outlives its rows: it costs most of the test."""
    prepare = request.node.callspec.params.get("prepare") if hasattr(request.node, "callspec") else None
    return str(request.getfixturevalue("database_url" if prepare in LASTING else "emptied_url"))


@pytest.fixture
def database(request: pytest.FixtureRequest, database_url: str, emptied_url: str) -> Engine:
    found: Engine = request.getfixturevalue("emptied" if database_url == emptied_url else "database")
    return found


@pytest.fixture
def sound(
    inside: Inside,
    database: Engine,
    database_url: str,
    platform: Handle,
    page_variable: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Sound]:
    open_ones = ExitStack()
    inside.environ |= {"AIRFLOW_CONN_SHOP": page_variable(), "OTN_ERASURE_JOURNAL": str(tmp_path / "erasures.jsonl")}
    inside.environ["OTN_EPOCH_FILE"] = str(tmp_path / "epoch.jsonl")
    page_id = json.loads(inside.environ["AIRFLOW_CONN_SHOP"])["login"]
    platform.control.page(page_id, subscribed_fields=list(ALL_FIELDS))
    here = Sound(
        inside,
        database,
        database_url,
        platform,
        page_id,
        monkeypatch,
        tmp_path,
        lambda one: open_ones.enter_context(closing(one)),
    )
    keyring = read_keyring(inside.environ)
    here.sql(
        "WITH shop AS (INSERT INTO otn.page (page_id, connection_id) VALUES (%s, 'shop') RETURNING id)"
        " INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
        " SELECT id, 'restock', 'Back in stock', 'restock', now() FROM shop",
        page_id,
    )
    here.sql(
        "WITH who AS (INSERT INTO otn.subscriber (page_id, psid) SELECT id, '1' FROM otn.page RETURNING id)"
        " INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
        " SELECT who.id, t.id, %s, %s, now(), now() + interval '300 days' FROM who, otn.topic t",
        keyring.digest("token", page_id, TOKEN),
        keyring.encrypt(TOKEN.encode(), "token"),
    )
    here.sql(CALIBRATED)
    plain = database_url.replace("+psycopg2", "")
    with open_ones:
        here.keep(psycopg2.connect(plain, application_name="otn responder"))
        yield here


CALIBRATED = """
    WITH spent AS (
        INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at,
                                  started_at, finished_at, chunks)
        SELECT page_id, id, 'calibration', '{}', sha256('x'), false, 'finished', now(), now(), now(), 1 FROM otn.topic
        RETURNING id, page_id)
    INSERT INTO otn.calibration (page_id, api_version, fate, code, pattern, campaign_id)
    SELECT page_id, 'v25.0', 'used', 100, 'used', id FROM spent
"""


def test_a_sound_installation_is_green(sound: Sound) -> None:
    assert levels(sound.doctor()) == AS_SUPERUSER


# ─────────────────────────────────────────────────────── keys and settings


def another_encryption_key(sound: Sound) -> None:
    sound.otn.environ["OTN_ENCRYPTION_KEYS"] = new_key()


def another_hash_key(sound: Sound) -> None:
    sound.otn.environ["OTN_HASH_KEY"] = new_key()


def no_keys(sound: Sound) -> None:
    del sound.otn.environ["OTN_ENCRYPTION_KEYS"]


def a_misspelt_setting(sound: Sound) -> None:
    sound.otn.environ["OTN_KEEP_RAW_DAY"] = "3"


def an_open_secrets_file(sound: Sound) -> None:
    home = Home.at(sound.otn.environ["OTN_HOME"])
    home.create()
    home.secrets_file.chmod(0o644)


# ─────────────────────────────────────────────────────── database


def an_older_schema(sound: Sound) -> None:
    sound.sql("UPDATE otn.alembic_version SET version_num = '0006'")


def a_newer_schema(sound: Sound) -> None:
    sound.sql("UPDATE otn.alembic_version SET version_num = '9999'")


def a_schema_that_is_too_new(sound: Sound) -> None:
    a_newer_schema(sound)
    sound.sql("CREATE OR REPLACE FUNCTION otn.oldest_code() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '9999' $$")


def commits_that_do_not_wait(sound: Sound) -> None:
    sound.alter_database("SET synchronous_commit = off")


def a_wrong_clock(sound: Sound) -> None:
    sound.monkeypatch.setattr("otn.cli.examination.database.time", SimpleNamespace(time=lambda: 0.0))


def a_table_without_vacuum(sound: Sound) -> None:
    sound.sql("ALTER TABLE otn.recipient SET (autovacuum_enabled = false)")


def too_few_connections(sound: Sound) -> None:
    sound.alter_database("CONNECTION LIMIT 2")


def a_transaction_that_never_ends(sound: Sound) -> None:
    sound.monkeypatch.setattr("otn.cli.examination.database.LONG_S", 0)
    kept = psycopg2.connect(sound.url.replace("+psycopg2", ""))
    sound.keep(kept)
    kept.cursor().execute("SELECT 1")


def statements_in_the_log(sound: Sound) -> None:
    sound.alter_database("SET log_min_error_statement = error")


def a_receiver_that_cannot_log_in(sound: Sound) -> None:
    sound.otn.environ["AIRFLOW_CONN_OTN_DB_RECEIVER"] = "postgresql://nobody:wrong@127.0.0.1:1/none"


def a_sender_without_its_role(sound: Sound) -> None:
    for kind, url in ((RECEIVER, url_of(RECEIVER, sound.url)), (SENDER, url_of(RECEIVER, sound.url))):
        sound.otn.environ[kind.variable] = url.replace("+psycopg2", "")


def no_partition_for_tomorrow(sound: Sound) -> None:
    (row,) = sound.sql("SELECT to_char((clock_timestamp() AT TIME ZONE 'UTC')::date + 1, 'YYYYMMDD')")
    sound.sql(f"DROP TABLE otn.webhook_event_{row[0]}")


def a_webhook_of_no_partition(sound: Sound) -> None:
    sound.sql(
        "INSERT INTO otn.webhook_event (received_day, id, body, ingested_at, events, ingested, duplicate, quarantined)"
        " VALUES ('2099-01-01', gen_random_uuid(), 'x', now(), 0, 0, 0, 0)"
    )


# ─────────────────────────────────────────────────────── pages


def a_revoked_token(sound: Sound) -> None:
    sound.change_page(dead=460)


def no_subscription(sound: Sound) -> None:
    sound.change_page(subscribed_fields=[])


def a_field_that_would_help_is_missing(sound: Sound) -> None:
    fields = sound.platform.control.pages()[0]["subscribed_fields"]
    sound.change_page(subscribed_fields=[name for name in fields if name != "message_reads"])


def a_feature_that_was_rejected(sound: Sound) -> None:
    sound.change_page(features={"one_time_notification": "rejected"})


def a_platform_out_of_reach(sound: Sound) -> None:
    sound.connection(host="http://127.0.0.1:1")


def a_connection_that_is_gone(sound: Sound) -> None:
    del sound.otn.environ["AIRFLOW_CONN_SHOP"]


def no_secrets_for_webhooks(sound: Sound) -> None:
    sound.connection(extra={})


def a_blocked_page(sound: Sound) -> None:
    sound.sql(
        "UPDATE otn.page SET halted_at = now(), halt_reason = 'policy_enforcement: block', halt_held = true,"
        " blocked_at = now()"
    )


def never_calibrated(sound: Sound) -> None:
    sound.sql("DELETE FROM otn.calibration")


# ─────────────────────────────────────────────────────── webhooks, sending, privacy, machine


def a_backlog(sound: Sound) -> None:
    sound.sql(
        "INSERT INTO otn.webhook_event (received_day, id, body, received_at) VALUES"
        " ((now() AT TIME ZONE 'UTC')::date, gen_random_uuid(), 'x', now() - interval '1 hour')"
    )


def an_unreadable_event(sound: Sound) -> None:
    sound.sql(
        "INSERT INTO otn.quarantine (webhook_day, webhook_id, position, reason, item)"
        " VALUES ('2026-01-01', gen_random_uuid(), '0', 'shape', 'x')"
    )


def an_unregistered_topic(sound: Sound) -> None:
    sound.sql("INSERT INTO otn.topic (page_id, key, payload) SELECT id, 'x', 'x' FROM otn.page")


def a_silent_receiver(sound: Sound) -> None:
    sound.otn.environ["OTN_RECEIVER_URL"] = "http://127.0.0.1:1"


def a_public_address_without_tls(sound: Sound) -> None:
    sound.otn.environ["OTN_PUBLIC_URL"] = "http://otn.example.com"


def an_alarm_that_nobody_was_told(sound: Sound) -> None:
    sound.sql("INSERT INTO otn.alarm (kind, level, sentence, advice) VALUES ('x', 'warn', 'It is so.', 'Look.')")


def nobody_answers(sound: Sound) -> None:
    sound.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'otn responder'"
    )


def a_journal_that_cannot_be_written(sound: Sound) -> None:
    (sound.folder / "file").write_text("")
    sound.otn.environ["OTN_ERASURE_JOURNAL"] = str(sound.folder / "file" / "erasures.jsonl")


def no_journal(sound: Sound) -> None:
    del sound.otn.environ["OTN_ERASURE_JOURNAL"], sound.otn.environ["OTN_HOME"]
    sound.monkeypatch.setattr("otn.local.home.ROOT", sound.folder)  # a demo's home may lie at the real one


def a_journal_that_was_lost(sound: Sound) -> None:
    sound.sql("INSERT INTO otn.tombstone (psid_hash) VALUES (sha256('x'))")


def silences_that_cannot_be_written(sound: Sound) -> None:
    (sound.folder / "silences.jsonl").mkdir()


def silences_that_are_in_no_journal(sound: Sound) -> None:
    sound.sql("UPDATE otn.silence_mark SET owed = true")


def silences_that_have_long_been_in_no_journal(sound: Sound) -> None:
    silences_that_are_in_no_journal(sound)
    sound.sql(
        "INSERT INTO otn.alarm (kind, level, sentence, advice, since, told_as, told_at)"
        " VALUES ('silences', 'warn', '', '', now() - interval '2 hours', 'warn', now())"
    )


def a_full_disk(sound: Sound) -> None:
    left = SimpleNamespace(total=100 << 30, free=1 << 20)
    sound.monkeypatch.setattr("otn.cli.examination.machine.usage", lambda _path: left)


LASTING = {
    an_older_schema,
    a_newer_schema,
    a_schema_that_is_too_new,
    commits_that_do_not_wait,
    a_table_without_vacuum,
    too_few_connections,
    statements_in_the_log,
    no_partition_for_tomorrow,
}

FAULTS: list[tuple[Callable[[Sound], None], str, str, str]] = [
    (another_encryption_key, "keys.fit", "red", "OTN_ENCRYPTION_KEYS"),
    (another_hash_key, "keys.hash", "red", "backup"),
    (no_keys, "keys.present", "red", "opt-in"),
    (a_misspelt_setting, "settings.names", "yellow", "OTN_KEEP_RAW_DAY."),
    (an_open_secrets_file, "keys.files", "red", "chmod 600"),
    (an_older_schema, "database.schema", "red", "otn migrate"),
    (a_newer_schema, "database.schema", "yellow", "serves it meanwhile. Run the newer version"),
    (a_schema_that_is_too_new, "database.schema", "red", "too new"),
    (commits_that_do_not_wait, "database.durability", "red", "synchronous_commit"),
    (a_wrong_clock, "database.clock", "red", "NTP"),
    (a_table_without_vacuum, "database.vacuum", "yellow", "recipient"),
    (too_few_connections, "database.connections", "red", "of the database"),
    (a_transaction_that_never_ends, "database.transactions", "yellow", "pg_stat_activity"),
    (statements_in_the_log, "database.logs", "yellow", "log_min_error_statement = error"),
    (a_receiver_that_cannot_log_in, LOGINS, "red", "AIRFLOW_CONN_OTN_DB_RECEIVER"),
    (a_sender_without_its_role, LOGINS, "red", "GRANT otn_sender TO"),
    (no_partition_for_tomorrow, "database.partitions", "yellow", "otn_purge"),
    (a_webhook_of_no_partition, "database.default_partition", "yellow", "2099-01-01"),
    (a_revoked_token, "page.token", "red", "new page access token"),
    (no_subscription, "page.subscription", "red", "--subscribe"),
    (a_field_that_would_help_is_missing, "page.subscription", "yellow", "message_reads"),
    (a_feature_that_was_rejected, "page.features", "red", "Requested Features"),
    (a_platform_out_of_reach, "page.platform", "yellow", "reaches it"),
    (a_connection_that_is_gone, "page.connection", "red", "AIRFLOW_CONN_SHOP"),
    (no_secrets_for_webhooks, "page.secrets", "red", "app_secret and verify_token"),
    (a_blocked_page, "page.halt", "red", "otn pages resume shop"),
    (never_calibrated, "page.calibration", "yellow", "otn calibrate"),
    (a_backlog, "webhooks.backlog", "red", "otn_ingest"),
    (an_unreadable_event, "webhooks.quarantine", "yellow", "reasons"),
    (an_unregistered_topic, "webhooks.topics", "yellow", "topics list"),
    (a_silent_receiver, "webhooks.receiver", "red", "Start it"),
    (a_public_address_without_tls, "webhooks.public", "yellow", "TLS"),
    (an_alarm_that_nobody_was_told, "sending.alarms", "yellow", "otn_notify"),
    (nobody_answers, "sending.responder", "yellow", "otn responder"),
    (a_journal_that_cannot_be_written, "privacy.journal", "red", "OTN_ERASURE_JOURNAL"),
    (no_journal, "privacy.journal", "red", "OTN_ERASURE_JOURNAL"),
    (a_journal_that_was_lost, "privacy.journal", "yellow", "newest copy"),
    (silences_that_cannot_be_written, "privacy.journal", "red", "silences.jsonl cannot be written"),
    (silences_that_are_in_no_journal, "privacy.journal", "yellow", "otn_ingest"),
    (silences_that_have_long_been_in_no_journal, "privacy.journal", "red", "otn_ingest"),
    (a_full_disk, "machine.disk", "red", "Make room"),
]


@pytest.mark.parametrize(
    ("prepare", "check_id", "level", "words"), FAULTS, ids=[prepare.__name__ for prepare, *_ in FAULTS]
)
def test_each_fault_is_named_alone(
    sound: Sound, prepare: Callable[[Sound], None], check_id: str, level: str, words: str
) -> None:
    prepare(sound)
    wrong = sound.doctor()
    assert levels(wrong) == AS_SUPERUSER | {check_id: level}
    assert words in f"{wrong[check_id].text} {wrong[check_id].advice}"
    assert not [secret for secret in (*SECRETS, TOKEN) if secret in repr(wrong)]


def test_logins_that_are_known_and_have_their_roles_are_green_and_the_owner_under_another_name_is_not(
    sound: Sound,
) -> None:
    for kind in KINDS:
        sound.otn.environ[kind.variable] = url_of(kind, sound.url).replace("+psycopg2", "")
    assert LOGINS not in sound.doctor()
    sound.otn.environ[SENDER.variable] = sound.otn.environ["AIRFLOW_CONN_OTN_DB"]
    wrong = sound.doctor()[LOGINS]
    assert (wrong.level, "here, the sender may do" in wrong.text) == ("yellow", True)
    assert SENDER.variable in wrong.advice
    assert RECEIVER.variable not in wrong.advice


@pytest.mark.parametrize(
    ("settings", "level", "words"),
    [({}, "green", "on the disk"), ({"fsync": "off", "full_page_writes": "off"}, "red", "fsync, full_page_writes")],
    ids=["does", "does not"],
)
def test_whether_a_server_writes_to_the_disk(inside: Inside, settings: dict[str, str], level: str, words: str) -> None:
    with temporary_server(settings) as url:
        inside.environ["AIRFLOW_CONN_OTN_DB"] = url.replace("postgresql+psycopg2", "postgres")
        found = json.loads(inside("doctor", "--all", "--json", code=1).stdout)
    told = {check["id"]: check for check in found["checks"]}
    assert told["database.durability"]["level"] == level
    assert words in told["database.durability"]["text"]
    assert told["database.schema"]["level"] == "red"  # nobody migrated it
    assert told[LOGINS]["level"] == "yellow"
    assert "the receiver and the sender" in told[LOGINS]["text"]


def test_a_database_that_is_away_is_named_alone_and_the_rest_is_looked_at(sound: Sound) -> None:
    sound.otn.environ["AIRFLOW_CONN_OTN_DB"] = "postgresql://nobody@127.0.0.1:1/none"
    wrong = sound.doctor()
    assert levels(wrong) == {"database.connection": "red"}
    assert "does not answer" in wrong["database.connection"].text
