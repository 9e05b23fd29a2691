"""Planning a campaign to many: beside the bare insert of the same rows, and beside the ORM, which goes row by row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks import planner
from benchmarks.plan_orm import plan_by_row
from benchmarks.shop import TEXT, do
from benchmarks.stage import Cluster
from otn.campaign import control
from otn.campaign import plan as planning
from otn.campaign.model import CampaignSpec
from otn.database import Engine, make_engine, migrate
from otn.local.progress import Progress, Silence

PEOPLE = 1_000_000
ROUNDS = 3
SMALL = 100  # the small shop has so many times fewer people
PEER = 200  # and the ORM plans so many times fewer of them
PER_SECOND = 30.0
PAGE = "1000000001"
TIME_BOUND, COST_BOUND, MEMORY_BOUND_MB = 1.5, 1.1, 100.0
EXCLUDED_LABELS = ("staff",)

SHOP = "INSERT INTO otn.page (page_id, connection_id) VALUES (%(page)s, 'messenger_default') RETURNING id"
TOPIC = """
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (%(page)s, 'restock', 'Restock', 'restock', clock_timestamp()) RETURNING id
"""
# One in twenty each: has no token that lives, is left out by a label. A tenth has a second token, which lives longer.
CONSENTS = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid, first_name, locale, labels, last_interaction_at)
    SELECT %(page)s, (7000000000000000 + n)::text, 'First' || n, 'en_GB',
           CASE mod(n, 20) WHEN 3 THEN ARRAY['staff'] WHEN 4 THEN ARRAY['vip'] ELSE '{}' END,
           now() - interval '2 days'
    FROM generate_series(1, %(people)s) AS n
    RETURNING id, psid::bigint - 7000000000000000 AS n
)
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT id, %(topic)s, sha256(convert_to(n || ' ' || held, 'UTF8')), '\\x00'::bytea,
       now() - interval '30 days',
       now() + make_interval(days => CASE mod(n, 20) WHEN 5 THEN -1
                                     ELSE 2 + (mod(n * 7919, 150) + 150 * (held - 1))::integer END)
FROM people CROSS JOIN LATERAL generate_series(1, CASE WHEN mod(n, 10) = 6 THEN 2 ELSE 1 END) AS held
ORDER BY n * 7919 %% 1000003
"""
SILENT = """
INSERT INTO otn.suppression (subscriber_id, reason)
SELECT id, (ARRAY['operator', 'stop_word', 'unreachable'])[1 + mod(id / 50, 3)]
FROM otn.subscriber WHERE mod(id, 50) = 13
"""
GONE = """
DELETE FROM otn.recipient WHERE campaign_id = %(campaign)s {but};
DELETE FROM otn.exclusion WHERE campaign_id = %(campaign)s
"""
A_TENTH = "AND mod(subscriber_id, 10) <> 7"
SENT = """
UPDATE otn.recipient SET state = 'sent', attempts = 1, attempt_id = gen_random_uuid(), evidence = 'answer',
       message_id = 'm_' || subscriber_id, sent_at = now()
"""
KEEP = """
CREATE TABLE planned AS SELECT %(other)s::bigint AS campaign_id, subscriber_id, token_id, chunk, variables
    FROM otn.recipient WHERE campaign_id = %(campaign)s ORDER BY subscriber_id;
CREATE TABLE left_out AS SELECT %(other)s::bigint AS campaign_id, subscriber_id, reason
    FROM otn.exclusion WHERE campaign_id = %(campaign)s ORDER BY subscriber_id
"""
LIMIT = """
WITH left_out AS (INSERT INTO otn.exclusion (campaign_id, subscriber_id, reason) SELECT * FROM left_out)
INSERT INTO otn.recipient (campaign_id, subscriber_id, token_id, chunk, variables) SELECT * FROM planned
"""
# Whoever is in one of the two and not in the other.
DIFFERENT = """
SELECT count(*)
FROM (SELECT subscriber_id, token_id, NULL AS reason FROM otn.recipient WHERE campaign_id = %(campaign)s
      UNION ALL SELECT subscriber_id, NULL, reason FROM otn.exclusion WHERE campaign_id = %(campaign)s) a
FULL JOIN (SELECT subscriber_id, token_id, NULL AS reason FROM planned
           UNION ALL SELECT subscriber_id, NULL, reason FROM left_out) b USING (subscriber_id)
WHERE subscriber_id <= %(last)s
  AND (a.token_id, a.reason) IS DISTINCT FROM (b.token_id, b.reason)
"""
# No call was ever made from it, and every copy is the only one of its time: not what the guard of the epoch looks for.
NEVER_SENT = "UPDATE otn.epoch SET number = 0, identity = NULL"
LAST = "SELECT id FROM otn.subscriber ORDER BY id OFFSET %(people)s - 1 LIMIT 1"


@dataclass
class Shop:
    """A database with people and a campaign that may be planned; every turn has a copy of it.

    Args:
        cluster: where it is.
        name: of the database.
        people: who hold a token of the topic.
        campaign: ``otn.campaign.id``.
    """

    cluster: Cluster
    name: str
    people: int
    campaign: int = 0

    def fill(self) -> None:
        """People, of whom a tenth had a message before; and the rows that the plan will write, kept aside."""
        _at_once(self.cluster, "postgres", f"CREATE DATABASE {self.name}")
        migrate(self.cluster.server.url(self.name))
        with self._engine(self.name) as engine:
            page = do(engine, SHOP, page=PAGE)
            topic = do(engine, TOPIC, page=page)
            do(engine, CONSENTS, page=page, topic=topic, people=self.people)
            do(engine, SILENT)
            earlier, kept = self._open(engine, page, topic, "earlier"), self._open(engine, page, topic, "kept")
            self.campaign = self._open(engine, page, topic, "large")
            _at_once(self.cluster, self.name, "VACUUM (ANALYZE)")
            planning.plan(engine, earlier, messages_per_second=PER_SECOND)
            do(engine, GONE.format(but=A_TENTH), campaign=earlier)
            do(engine, SENT)
            planning.plan(engine, kept, messages_per_second=PER_SECOND)
            do(engine, KEEP, campaign=kept, other=self.campaign)
            do(engine, GONE.format(but=""), campaign=kept)
            do(engine, NEVER_SENT)
        for command in ("VACUUM (FULL) otn.recipient", "VACUUM (FULL) otn.exclusion", "VACUUM (ANALYZE)"):
            _at_once(self.cluster, self.name, command)

    @contextmanager
    def copy(self) -> Iterator[Engine]:
        """A copy for one turn: neither finds what the other left, not even a page of an index."""
        _at_once(self.cluster, "postgres", f"CREATE DATABASE turn TEMPLATE {self.name} STRATEGY file_copy")
        try:
            with self._engine("turn") as engine:
                yield engine
        finally:
            _at_once(self.cluster, "postgres", "DROP DATABASE turn (FORCE)")

    def check(self, engine: Engine, people: int) -> None:
        """See that the first people became what the plan kept aside makes of them."""
        last = do(engine, LAST, people=people)
        if different := do(engine, DIFFERENT, campaign=self.campaign, last=last):
            raise RuntimeError(
                f"{different} of {people} people were planned differently. The sides cannot be compared."
            )

    def _open(self, engine: Engine, page: int, topic: int, key: str) -> int:
        return control.open_campaign(
            engine,
            CampaignSpec(key=key, message={"text": TEXT}, exclude_labels=list(EXCLUDED_LABELS), approval=False),
            page_row_id=page,
            facebook_page_id=PAGE,
            topic_row_id=topic,
            topic_key="restock",
            actor="bench",
        ).id

    @contextmanager
    def _engine(self, name: str) -> Iterator[Engine]:
        engine = make_engine(self.cluster.server.url(name))
        try:
            yield engine
        finally:
            engine.dispose()


def run(progress: Progress | None = None, rounds: int = ROUNDS, people: int = PEOPLE) -> dict[str, Any]:
    """Measure all sides in turns, and the plan of a shop a hundred times smaller.

    Args:
        progress: told what happens.
        rounds: turns of each.
        people: who hold a token of the topic.
    """
    progress = progress or Silence()
    few = max(1, people // PEER)
    ours: list[planner.Made] = []
    small: list[planner.Made] = []
    limit: list[float] = []
    peer: list[float] = []
    with Cluster() as cluster:
        large, little = Shop(cluster, "large", people), Shop(cluster, "small", max(1, people // SMALL))
        for shop in (little, large):
            progress.stage(f"making {shop.people:,} people")
            shop.fill()
        for number in range(rounds):
            turn = f"{number + 1} of {rounds}"
            progress.stage(f"the plan and the bare insert, {turn}")
            for side in (0, 1):  # who begins goes round: the disk may still be busy with what was before
                if (number + side) % 2:
                    ours.append(_ours(large))
                else:
                    limit.append(_limit(large))
            small.append(_ours(little))
            progress.stage(f"the ORM, {turn}")
            peer.append(_peer(large, few))
    return _figures(people, few, ours, small, limit, peer)


def _figures(
    people: int,
    few: int,
    ours: list[planner.Made],
    small: list[planner.Made],
    limit: list[float],
    peer: list[float],
) -> dict[str, Any]:
    ratios = [one.seconds / other for one, other in zip(ours, limit, strict=True)]
    took = [one.seconds for one in ours]
    per_person, per_few = median(took) / people, median(peer) / few
    small_us = median(one.seconds / (one.planned + one.excluded) for one in small) * 1e6
    return {
        "people": people,
        "planned": ours[0].planned,
        "excluded": ours[0].excluded,
        "rounds": len(ours),
        "sides": [_side("plan", people, took), _side("bare insert", people, limit), _side("ORM", few, peer)],
        "to_limit": round(median(ratios), 2),
        "to_limit_least": round(min(ratios), 2),
        "to_limit_most": round(max(ratios), 2),
        "time_bound": TIME_BOUND,
        "to_peer": round(per_few / per_person, 1),
        "small": small[0].planned + small[0].excluded,
        "small_us": round(small_us, 1),
        "large_us": round(per_person * 1e6, 1),
        "cost_ratio": round(per_person * 1e6 / small_us, 2),
        "cost_bound": COST_BOUND,
        "small_more_mb": round(max(one.more_mb for one in small), 1),
        "large_more_mb": round(max(one.more_mb for one in ours), 1),
        "memory_bound_mb": MEMORY_BOUND_MB,
    }


def _side(name: str, people: int, seconds: list[float]) -> dict[str, Any]:
    return {
        "name": name,
        "people": people,
        "s": round(median(seconds), 3),
        "least_s": round(min(seconds), 3),
        "most_s": round(max(seconds), 3),
        "us_each": round(median(seconds) / people * 1e6, 1),
    }


def _ours(shop: Shop) -> planner.Made:
    with shop.copy() as engine:
        made = planner.plan(planner.Orders(shop.cluster.server.url("turn"), shop.campaign, PER_SECOND))
        shop.check(engine, shop.people)
    return made


def _limit(shop: Shop) -> float:
    with shop.copy() as engine:
        began = time.monotonic()
        do(engine, LIMIT)
        seconds = time.monotonic() - began
        shop.check(engine, shop.people)
    return seconds


def _peer(shop: Shop, people: int) -> float:
    with shop.copy() as engine:
        began = time.monotonic()
        plan_by_row(engine, shop.campaign, EXCLUDED_LABELS, people)
        seconds = time.monotonic() - began
        shop.check(engine, people)
    return seconds


def _at_once(cluster: Cluster, database: str, command: str) -> None:
    """Outside of a transaction, as these commands want it."""
    with closing(cluster.server.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(command)
