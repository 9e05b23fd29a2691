"""Erasure in tests: a journal, somebody who leaves, and what is left of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otn.campaign import control, plan
from otn.campaign.model import CampaignSpec
from otn.consent import pages
from otn.privacy.erasure import Erasure, apply_journal, erase
from otn.privacy.journal import Journal
from tests.consent.inbox import NOW, PAGE, Inbox

PSID = "28777805391819468"
OTHER = "28777805391819469"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "erasures.jsonl")


@pytest.fixture
def leave(inbox: Inbox, page: pages.Page, journal: Journal) -> Callable[..., Erasure]:
    def run(psid: str = PSID, **changes) -> Erasure:
        values = {"actor": "test", "reason": "asked for it", "journal": journal, **changes}
        return erase(inbox.database, inbox.keyring, page, psid, **values)

    return run


def apply(inbox: Inbox, journal: Journal, **options) -> int:
    return apply_journal(inbox.database, inbox.keyring, {"OTN_ERASURE_JOURNAL": str(journal.path)}, **options)


def campaign(inbox: Inbox, page: pages.Page, key: str = "spring") -> int:
    topic = inbox.value("SELECT id FROM otn.topic WHERE key = 'sale'")
    opened = control.open_campaign(
        inbox.database,
        CampaignSpec(key=key, message={"text": 'Hi {{ first_name | default("there") }}'}, approval=False),
        page_row_id=page.id,
        facebook_page_id=PAGE,
        topic_row_id=topic,
        topic_key="sale",
        actor="test",
    )
    plan.plan(inbox.database, opened.id, messages_per_second=None)
    return opened.id


def name(inbox: Inbox) -> None:
    inbox.rows(
        "UPDATE otn.subscriber SET first_name = 'Ada', last_name = 'L', locale = 'en_GB', utc_offset = 1,"
        """ labels = '{vip}', attributes = '{"city": "London"}' WHERE psid = %s""",
        PSID,
    )


def traces(inbox: Inbox, *secrets: str) -> list[str]:
    """Tables in which one of these texts still stands; sealed columns are opened."""
    found = []
    for table in ("subscriber", "token", "event", "recipient", "attempt", "window_message", "window_attempt", "audit"):
        text = "\n".join(str(row) for row in inbox.rows(f"SELECT to_jsonb(t)::text FROM otn.{table} t"))
        found += [table for secret in secrets if secret in text]
    sealed = [("webhook_event", "body", "webhook"), ("quarantine", "item", "quarantine")]
    for table, column, purpose in sealed:
        for row in inbox.rows(f"SELECT {column} AS sealed FROM otn.{table}"):
            opened = inbox.keyring.decrypt(row.sealed, purpose).decode("utf-8", "replace")
            found += [table for secret in secrets if secret in opened]
    return found


def settled(inbox: Inbox, psid: str, state: str, more: str = "") -> None:
    inbox.rows(
        f"UPDATE otn.recipient SET state = '{state}', attempts = 1, attempt_id = gen_random_uuid(){more}"
        " WHERE subscriber_id = (SELECT id FROM otn.subscriber WHERE psid = %s)",
        psid,
    )
    inbox.rows(
        "INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender, outcome, message_id)"
        " SELECT campaign_id, subscriber_id, attempt_id, 'answer', 'test', 'sent', message_id FROM otn.recipient"
        " WHERE message_id IS NOT NULL AND subscriber_id = (SELECT id FROM otn.subscriber WHERE psid = %s)",
        psid,
    )


def window(inbox: Inbox, psid: str, states: tuple[str, ...] = ("sent", "waiting")) -> None:
    """Messages inside the 24 h window, one in each state."""
    for number, state in enumerate(states):
        sent, calling = state == "sent", state == "sending"
        values = {
            "evidence": "answer" if sent else None,
            "message_id": "m_of_the_person" if sent else None,
            "sent_at": NOW if sent else None,
            "lease_until": NOW if calling else None,
        }
        inbox.rows(
            "INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, card, topic_id, message,"
            " not_after, state, attempts, attempt_id, called_at, evidence, message_id, sent_at, lease_until)"
            " SELECT s.page_id, s.id, 'rule', %s, false, t.id, '{\"text\": \"for you alone\"}',"
            " now() + interval '1 day', %s, 1, gen_random_uuid(), now(), %s, %s, %s, %s"
            " FROM otn.subscriber s, otn.topic t WHERE s.psid = %s AND t.key = 'sale'",
            10**9 + number,
            state,
            *values.values(),
            psid,
        )


def people(inbox: Inbox) -> set[str]:
    return {row.psid for row in inbox.rows("SELECT psid FROM otn.subscriber WHERE psid IS NOT NULL")}


def wait_for(inbox: Inbox, count: str) -> None:
    deadline = time.monotonic() + 20
    while not inbox.value(count):
        assert time.monotonic() < deadline, count


def crash(*_args, **_options):
    raise RuntimeError
