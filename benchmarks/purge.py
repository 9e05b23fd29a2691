"""Wiping expired tokens, beside one bare UPDATE of the same rows."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.shop import SHOP, TOPIC, do
from benchmarks.stage import Cluster
from benchmarks.turns import Filled, beside
from otn.database import Engine
from otn.local.progress import Progress, Silence
from otn.privacy.purge import purge

TOKENS = 1_000_000
ROUNDS = 3
BOUND = 1.2
EXPIRED = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid)
    SELECT %(page)s, (7000000000000000 + n)::text FROM generate_series(1, %(tokens)s) AS n RETURNING id
)
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT id, %(topic)s, sha256(id::text::bytea), decode(repeat('5a', 220), 'hex'), now() - interval '366 days',
       now() - interval '1 day'
FROM people
"""
LIMIT = """
UPDATE otn.token SET token_encrypted = NULL, wiped_at = clock_timestamp()
WHERE token_encrypted IS NOT NULL AND expires_at <= clock_timestamp()
"""
LEFT = "SELECT count(*) FROM otn.token WHERE token_encrypted IS NOT NULL"


def run(progress: Progress | None = None, rounds: int = ROUNDS, tokens: int = TOKENS) -> dict[str, Any]:
    """Measure both in turns.

    Args:
        progress: told what happens.
        rounds: how often each.
        tokens: that have expired.
    """
    progress = progress or Silence()
    with Cluster() as cluster:
        progress.stage(f"making {tokens:,} tokens")
        filled = Filled.by(cluster, partial(_fill, tokens=tokens))
        return beside(filled, purge, _limit, _check, rows=tokens, rounds=rounds, bound=BOUND, progress=progress)


def _fill(engine: Engine, tokens: int) -> None:
    page = do(engine, SHOP, page="1000000001")
    do(engine, EXPIRED, page=page, topic=do(engine, TOPIC, page=page, key="restock"), tokens=tokens)


def _limit(engine: Engine) -> None:
    do(engine, LIMIT)


def _check(engine: Engine) -> None:
    if left := do(engine, LEFT):
        raise RuntimeError(f"{left} tokens were not wiped.")
