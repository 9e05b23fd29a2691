"""Deliveries and reads put beside what was sent, and one bare UPDATE for each of the two."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.shop import SHOP, TEXT, TOPIC, do
from benchmarks.stage import Cluster
from benchmarks.turns import Filled, beside
from otn.campaign import control
from otn.campaign.evidence import SLICE, settle
from otn.campaign.model import CampaignSpec
from otn.database import Engine, transaction
from otn.local.progress import Progress, Silence

PEOPLE = 1_000_000
ROUNDS = 3
BOUND = 1.5
SENT = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid)
    SELECT %(page)s, (7000000000000000 + n)::text FROM generate_series(1, %(people)s) AS n RETURNING id
), tokens AS (
    INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
    SELECT id, %(topic)s, sha256(id::text::bytea), '\\x00', now() - interval '30 days', now() + interval '300 days'
    FROM people RETURNING id, subscriber_id
)
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, state, attempts, attempt_id, evidence,
                           message_id, sent_at)
SELECT %(campaign)s, subscriber_id, id, 1, 'sent', 1, gen_random_uuid(), 'answer', 'm_' || subscriber_id,
       now() - interval '1 hour'
FROM tokens
"""
# As they are stored: delivered by message id and watermark, seen by watermark.
EVENTS = """
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, mids, watermark, webhook_day, webhook_id)
SELECT sha256((kind || r.subscriber_id)::bytea), %(page)s, r.subscriber_id, kind::otn.event_kind,
       r.sent_at + interval '1 minute', CASE WHEN kind = 'delivery' THEN ARRAY[r.message_id] END,
       r.sent_at + interval '1 minute', current_date, gen_random_uuid()
FROM otn.recipient r CROSS JOIN unnest(ARRAY['delivery', 'read']) AS kind ORDER BY kind, r.subscriber_id
"""
LIMIT = """
UPDATE otn.recipient r SET {column} = e.watermark, updated_at = clock_timestamp()
FROM otn.event e WHERE e.subscriber_id = r.subscriber_id AND e.kind = %(kind)s
"""
LEFT = "SELECT count(*) FROM otn.recipient WHERE delivered_at IS NULL OR read_at IS NULL"


def run(progress: Progress | None = None, rounds: int = ROUNDS, people: int = PEOPLE) -> dict[str, Any]:
    """Measure both in turns.

    Args:
        progress: told what happens.
        rounds: how often each.
        people: who were sent to; each has it delivered, and sees it.
    """
    progress = progress or Silence()
    with Cluster() as cluster:
        progress.stage(f"making {people:,} people and what is said of them")
        filled = Filled.by(cluster, partial(_fill, people=people))
        return beside(filled, _ours, _limit, _check, rows=2 * people, rounds=rounds, bound=BOUND, progress=progress)


def _fill(engine: Engine, people: int) -> None:
    page = do(engine, SHOP, page="1000000001")
    topic = do(engine, TOPIC, page=page, key="restock")
    campaign = control.open_campaign(
        engine,
        CampaignSpec(key="large", message={"text": TEXT}, approval=False),
        page_row_id=page,
        facebook_page_id="1000000001",
        topic_row_id=topic,
        topic_key="restock",
        actor="bench",
    ).id
    do(engine, SENT, page=page, topic=topic, campaign=campaign, people=people)
    do(engine, EVENTS, page=page)


def _ours(engine: Engine) -> None:
    """Slice by slice, as a run that looks at its campaign once more."""
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM otn.event ORDER BY id")
        ids = [row[0] for row in cursor.fetchall()]
    for first in range(0, len(ids), SLICE):
        with transaction(engine) as connection:
            settle(connection, ids[first : first + SLICE])


def _limit(engine: Engine) -> None:
    do(engine, LIMIT.format(column="delivered_at"), kind="delivery")
    do(engine, LIMIT.format(column="read_at"), kind="read")


def _check(engine: Engine) -> None:
    if left := do(engine, LEFT):
        raise RuntimeError(f"Of {left} people nobody noted that it was delivered and seen.")
