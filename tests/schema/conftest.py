"""A database with one row in every table, on which each test tries its luck and is rolled back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

GROUND = """
INSERT INTO otn.page (page_id, connection_id) VALUES ('100', 'first'), ('200', 'second');
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (1, 'restock', 'Back in stock', 'restock', now()), (2, 'restock', 'Back in stock', 'restock', now());
INSERT INTO otn.webhook_event (received_day, id, body) VALUES ('2000-01-01', gen_random_uuid(), 'sealed');
INSERT INTO otn.quarantine (webhook_day, webhook_id, position, reason, item)
VALUES ('2000-01-01', '11111111-1111-1111-1111-111111111111', '0/0', 'no_psid', 'sealed');
INSERT INTO otn.subscriber (page_id, psid) VALUES (1, '1001'), (1, '1002'), (1, '1003'), (2, '1001');
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT n, 1, sha256(n::text::bytea), 'sealed', now(), now() + interval '1 year' FROM generate_series(1, 3) AS n;
INSERT INTO otn.suppression (subscriber_id, reason) VALUES (3, 'stop_word');
INSERT INTO otn.tombstone (psid_hash) VALUES (sha256('gone'));
INSERT INTO otn.silence (psid_hash, payload, reason, since, lifted)
VALUES (sha256('away'), 'restock', 'stop_word', now(), false);
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, webhook_day, webhook_id)
VALUES (sha256('event'), 1, 1, 'optin', now(), '2000-01-01', gen_random_uuid());
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash, needs_approval, state, planned_at, chunks)
VALUES (1, 1, 'spring', '{"text": "hi"}', sha256('spring'), false, 'sending', now(), 1);
INSERT INTO otn.campaign (page_id, topic_id, key, message, content_hash)
VALUES (1, 1, 'draft', '{"text": "hi"}', sha256('draft'));
INSERT INTO otn.exclusion (campaign_id, subscriber_id, reason) VALUES (1, 3, 'suppressed');
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk) VALUES (1, 1, 1, 1);
INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, sender)
VALUES (1, 1, gen_random_uuid(), 'intent', 'me');
INSERT INTO otn.pace (page_id) VALUES (1);
INSERT INTO otn.call_count VALUES (1, '2000-01-01+00', 1);
INSERT INTO otn.topic (page_id, key, payload, adopted_by) VALUES (1, 'Restock!', 'Restock!', 1);
INSERT INTO otn.rule (page_id, key, trigger, pattern, topic_id) VALUES (1, 'restock', 'word', 'restock', 1);
INSERT INTO otn.ask (page_id, topic_id, key) VALUES (1, 1, 'first');
INSERT INTO otn.window_message (page_id, subscriber_id, cause, ask_id, topic_id, card, message, not_after)
VALUES (1, 1, 'ask', 1, 1, true, '{}', now());
INSERT INTO otn.window_message (page_id, subscriber_id, cause, event_id, rule_id, card, message, not_after)
VALUES (1, 1, 'rule', 1, 1, false, '{}', now());
INSERT INTO otn.test_message (page_id, topic_id, key) VALUES (1, 1, 'first');
INSERT INTO otn.window_message (page_id, subscriber_id, cause, test_id, topic_id, card, message, not_after)
VALUES (1, 1, 'test', 1, 1, false, '{}', now());
INSERT INTO otn.attachment (page_id, sha256, kind, media_type, bytes, name, attachment_id, uploaded_by)
VALUES (1, sha256('picture'), 'image', 'image/png', 7, 'a.png', '1234567890', 'me');
UPDATE otn.token SET card_id = 1 WHERE id = 1;
UPDATE otn.event SET topic_id = 1;
UPDATE otn.suppression SET topic_id = 1;
INSERT INTO otn.window_attempt (window_message_id, attempt_id, step, sender)
VALUES (1, gen_random_uuid(), 'intent', 'me');
INSERT INTO otn.deletion_request (id, code, user_id, user_hash)
VALUES (gen_random_uuid(), 'code', 'sealed', sha256('user'));
INSERT INTO otn.traffic VALUES (1, '2000-01-01+00', 1);
INSERT INTO otn.campaign_run (campaign_id, dag_id, run_id) VALUES (1, 'otn_broadcast', 'manual');
INSERT INTO otn.alarm (page_id, kind, level, sentence, advice)
VALUES (1, 'token', 'alarm', '', ''), (NULL, 'ingest', 'warn', '', '');
INSERT INTO otn.calibration (page_id, api_version, fate, code, pattern, campaign_id)
VALUES (1, 'v25.0', 'used', 100, 'spent', 1);
INSERT INTO otn.landing (url) VALUES ('file:///in');
INSERT INTO otn.landing_file (landing_id, name, size, version, due_at) VALUES (1, 'a.jsonl', 1, '1', now());
INSERT INTO otn.landing_refusal (file_id, line, reason) VALUES (1, 1, 'psid_missing');
INSERT INTO otn.endpoint (page_id, key, url, kinds, secret, created_by)
VALUES (1, 'crm', 'https://example.org', ARRAY['recipients'], 'sealed', 'me');
INSERT INTO otn.outcome (page_id, campaign_id, subscriber_id, state) VALUES (1, 1, 1, 'sent');
INSERT INTO otn.outgoing_event (page_id, campaign_id, kind, content) VALUES (1, 1, 'recipients', '{}');
INSERT INTO otn.notice (campaign_id, kind) VALUES (1, 'finished');
INSERT INTO otn.audit (actor, action, page_id, campaign_id) VALUES ('me', 'opened', 1, 1);
"""


@pytest.fixture(scope="session")
def make_database(postgres: str) -> Iterator[Callable[[str], str]]:
    """Makes databases that end with the server, from ``otn_template`` (with the schema) or ``template1`` (empty)."""
    plain = make_url(postgres).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg2.connect(plain)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()

        def make(template: str) -> str:
            name = f"schema_{uuid.uuid4().hex}"
            cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            return make_url(postgres).set(database=name).render_as_string(hide_password=False)

        yield make


def connect(url: str) -> Any:
    return psycopg2.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def ground_connection(make_database: Callable[[str], str]) -> Iterator[Any]:
    with closing(connect(make_database("otn_template"))) as connection:
        connection.cursor().execute(GROUND)
        connection.commit()
        yield connection


@pytest.fixture
def ground(ground_connection: Any) -> Iterator[Any]:
    """A cursor in a transaction that is rolled back."""
    with ground_connection.cursor() as cursor:
        yield cursor
    ground_connection.rollback()
