from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from otn.campaign import control
from otn.database import Engine, transaction

from .conftest import PSID, Shell

KEYS = {
    *("campaign", "page", "topic", "state", "audience", "excluded", "planned", "waiting", "sending", "sent"),
    *("sent_inferred", "refused", "unknown", "cancelled", "skipped", "delivered", "read", "errors", "tokens_spent"),
    *("started_at", "finished_at"),
}


def state(database: Engine) -> str:
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT state::text FROM otn.campaign")
        return str(cursor.fetchone()[0])


def test_the_report_as_json_has_the_promised_keys_and_adds_up(otn: Shell, campaign: str) -> None:
    figures = otn.json("report", campaign)
    assert figures.keys() >= KEYS
    assert (figures["campaign"], figures["page"], figures["topic"]) == ("spring", "shop", "restock")
    assert figures["audience"] == figures["planned"] + sum(figures["excluded"].values()) == 5
    assert figures["planned"] == sum(figures[name] for name in ("waiting", "sent", "refused", "unknown")) == 4
    assert figures["excluded"] == {"suppressed": 1}
    assert figures["errors"] == {"551/1545041": 1}


def test_the_report_for_people_says_what_to_do(otn: Shell, campaign: str, database: Engine) -> None:
    assert "trigger otn_broadcast with the same key" in otn("report", campaign).stdout
    control.end_run(database, control.find(database, "shop", campaign))
    said = otn("report", campaign).stdout
    assert "suppressed: 1" in said
    assert "551/1545041: 1" in said
    assert "otn_retry" in said
    assert "\x1b" not in said


def test_csv_cannot_be_taken_for_formulas(otn: Shell, campaign: str) -> None:
    rows = list(csv.DictReader(io.StringIO(otn("export", campaign).stdout)))
    assert [row["state"] for row in rows] == ["sent", "refused", "unknown", "waiting"]
    assert rows[1]["reason"] == '\'=HYPERLINK("http://x")'
    assert rows[1]["error_code"] == "551"
    assert "psid" not in rows[0]


def test_psids_are_exported_only_when_asked_for(otn: Shell, campaign: str) -> None:
    assert PSID not in otn("export", campaign).stdout
    assert PSID in otn("export", campaign, "--with-psid").stdout
    lines = otn("export", campaign, "--format", "jsonl", "--with-psid").stdout.splitlines()
    assert json.loads(lines[0])["psid"] == PSID
    assert json.loads(lines[1])["reason"] == '=HYPERLINK("http://x")'


def test_an_export_of_many_rows_ends_quietly_when_nobody_reads_on(otn: Shell, campaign: str, database: Engine) -> None:
    many = """
    INSERT INTO otn.subscriber (page_id, psid) SELECT 1, 'p' || n FROM generate_series(1, 12000) AS n;
    INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
        SELECT id, 1, sha256(psid::bytea), '\\x00', clock_timestamp(), clock_timestamp() + interval '300 days'
        FROM otn.subscriber WHERE psid LIKE 'p%';
    INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk)
        SELECT 1, t.subscriber_id, t.id, 1 FROM otn.token t
        WHERE NOT EXISTS (SELECT FROM otn.recipient r WHERE r.subscriber_id = t.subscriber_id) AND t.subscriber_id > 5;
    """
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(many)
    whole = otn("export", campaign).stdout
    assert len(whole.splitlines()) == 12_005
    command = f"{sys.executable} -m otn export {campaign} | head -n 3"
    ended = subprocess.run(
        ["bash", "-c", command], env=otn.environ, capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout == "".join(whole.splitlines(keepends=True)[:3])
    assert ended.stderr == ""


def test_pause_resume_and_cancel_are_audited(otn: Shell, campaign: str, database: Engine) -> None:
    otn("campaigns", "pause", campaign)
    otn("campaigns", "pause", campaign)
    assert state(database) == "paused"
    assert "otn_retry" in otn("campaigns", "resume", campaign).stdout
    assert state(database) == "sending"
    otn("campaigns", "cancel", campaign, "--yes")
    assert state(database) == "cancelled"
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT actor, action FROM otn.audit WHERE actor LIKE 'cli:%%' ORDER BY id")
        assert [row.action for row in cursor.fetchall()] == ["paused", "resumed", "cancelled"]


def test_nothing_is_cancelled_without_a_yes(otn: Shell, campaign: str, database: Engine) -> None:
    assert "Add --yes" in otn("campaigns", "cancel", campaign, code=2).stderr
    assert state(database) == "sending"


def test_what_cannot_be_resumed_is_refused_with_its_state(otn: Shell, campaign: str) -> None:
    otn("campaigns", "cancel", campaign, "--yes")
    assert "cancelled" in otn("campaigns", "resume", campaign, code=2).stderr


def test_the_list_of_campaigns(otn: Shell, campaign: str) -> None:
    assert [(row["key"], row["page"], row["state"]) for row in otn.json("campaigns", "list")] == [
        ("spring", "shop", "sending")
    ]
    assert "restock" in otn("campaigns", "list").stdout


@pytest.mark.parametrize("words", [("report", "none"), ("export", "none"), ("campaigns", "pause", "none")])
def test_an_unknown_campaign_is_a_sentence(otn: Shell, campaign: str, words: tuple[str, ...]) -> None:
    ended = otn(*words, code=2)
    assert "There is no campaign 'none' on the page 'shop'" in ended.stderr
    assert ended.stdout == ""


def test_an_unknown_page_names_the_known_ones(otn: Shell, campaign: str) -> None:
    assert "shop (1001)" in otn("report", campaign, "--page", "other", code=2).stderr


def test_an_empty_database_is_told_so(otn: Shell) -> None:
    assert "No campaign yet" in otn("campaigns", "list").stdout
    assert otn.json("campaigns", "list") == []
    assert "registered: none" in otn("report", "spring", code=2).stderr
