"""A shop in the middle of its season, made by SQL: something of everything that a page of the console can show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from otn.campaign import control
from otn.database import Engine, transaction
from tests.console.shop import Shop

PEOPLE = 2_000
LONG_KEY = "glasshouse-night-tickets"
LONG = "When the glasshouse opens at night again, and tickets are on sale"  # 65 characters: Messenger takes no more
TOPICS = {
    "evening": "When there are seats left for this evening",
    "price": "When the price of what I look at falls",
    LONG_KEY: LONG,
}
FOREIGN = ("show", "متى يبدأ العرض القادم")
TEXT = 'Hi {{ first_name | default("there") }}, the lamp that you waited for is back. We keep one for you until Sunday.'

MORE_TOPICS = """
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (%s, %s, %s, %s, clock_timestamp() - interval '90 days') RETURNING id
"""
# Names as the platform gives them: of every length and script, or none at all.
OPT_IN = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid, first_name, last_name, locale, utc_offset, labels, attributes,
                                last_interaction_at, profile_at, created_at)
    SELECT %(page)s, (7000000000000000 + n * 7919)::text,
           (ARRAY['Ada', 'Grace', 'ليلى', 'Zoë', NULL, 'Maximiliana-Konstanze', 'Олена', 'Noam', 'Ines', NULL])
           [1 + n %% 10],
           (ARRAY['Lovelace', 'Hopper', 'حداد', 'Åkesson', NULL, 'von Hohenstein-Wittgenstein', 'Коваль', 'כהן', NULL])
           [1 + n %% 9],
           (ARRAY['en_GB', 'de_DE', 'ar_AR', 'nb_NO', NULL])[1 + n %% 5], 1,
           CASE WHEN n %% 4 = 0 THEN ARRAY['newsletter', 'vip'] ELSE '{}' END, '{"city": "Oslo"}',
           now() - n * interval '1 hour', now() - interval '3 days', now() - interval '370 days'
    FROM generate_series(%(after)s + 1, %(after)s + %(people)s) AS n
    RETURNING id, psid
)
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT id, %(topic)s, sha256(convert_to(psid, 'UTF8')), '\\x00'::bytea, ends - interval '364 days', ends
FROM people, LATERAL (SELECT now() + (id * 37 %% %(days)s + 9) * interval '1 day' AS ends) AS long
"""
SETTLE = """
WITH turn AS (
    SELECT campaign_id, subscriber_id, row_number() OVER (ORDER BY subscriber_id) AS n FROM otn.recipient
    WHERE campaign_id = %(campaign)s AND state = 'waiting' ORDER BY subscriber_id LIMIT %(people)s
), at AS (
    SELECT *, now() - (%(ago)s)::interval
              + (%(lasts)s)::interval * ((n + 3 * sin(n / 9.0)) / %(people)s) AS at FROM turn
)
UPDATE otn.recipient r SET state = (%(state)s)::otn.recipient_state, attempts = 1, attempt_id = gen_random_uuid(),
    unanswered = (%(state)s = 'unknown')::integer, reason = %(reason)s, error_code = %(code)s,
    error_subcode = %(subcode)s, retry_worth = %(worth)s, evidence = CASE WHEN %(state)s = 'sent'
        THEN CASE WHEN n %% 9 = 0 THEN 'echo' ELSE 'answer' END::otn.evidence END,
    message_id = CASE WHEN %(state)s = 'sent' THEN 'm_' || r.subscriber_id END,
    sent_at = CASE WHEN %(state)s = 'sent' THEN at END,
    delivered_at = CASE WHEN %(state)s = 'sent' AND n %% 31 > 0 THEN at + interval '2 seconds' END,
    read_at = CASE WHEN %(state)s = 'sent' AND n %% 31 > 0 AND n %% 5 < 3 THEN at + interval '9 minutes' END,
    updated_at = at
FROM at WHERE r.campaign_id = at.campaign_id AND r.subscriber_id = at.subscriber_id
"""
CALLS = """
INSERT INTO otn.attempt (campaign_id, subscriber_id, attempt_id, step, at, sender, outcome, http_status, error_code,
                         error_subcode, message_id)
SELECT campaign_id, subscriber_id, attempt_id, step, updated_at, 'worker-2/send 3',
       CASE WHEN step = 'answer' THEN state::text END,
       CASE WHEN step = 'answer' THEN CASE state WHEN 'sent' THEN 200 ELSE 400 END END,
       CASE WHEN step = 'answer' THEN error_code END, CASE WHEN step = 'answer' THEN error_subcode END,
       CASE WHEN step = 'answer' THEN message_id END
FROM otn.recipient CROSS JOIN (VALUES ('intent'), ('answer')) AS steps (step)
WHERE campaign_id = %s AND attempts > 0 AND (step = 'intent' OR state IN ('sent', 'refused'))
"""
REACTIONS = """
INSERT INTO otn.event (fingerprint, page_id, subscriber_id, kind, occurred_at, webhook_day, webhook_id)
SELECT sha256(convert_to('reaction' || s.id, 'UTF8')), s.page_id, s.id, 'message', r.read_at + interval '1 minute',
       current_date, gen_random_uuid()
FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id
WHERE r.campaign_id = %s AND r.read_at IS NOT NULL AND s.id %% 11 = 0
"""
SILENCED = """
INSERT INTO otn.suppression (subscriber_id, reason, since)
SELECT subscriber_id, 'stop_word', sent_at + interval '20 minutes' FROM otn.recipient
WHERE campaign_id = %s AND state = 'sent' AND subscriber_id %% 173 = 0
"""
# An audit is append-only, but not for somebody who turns triggers off.
LONG_AGO = """
UPDATE otn.audit SET at = at - (%s)::interval - interval '40 minutes' WHERE campaign_id = %s
"""
BEGAN = """
UPDATE otn.campaign SET created_at = now() - (%s)::interval - interval '40 minutes',
    planned_at = now() - (%s)::interval, started_at = now() - (%s)::interval WHERE id = %s
"""
SKIPPED = """
UPDATE otn.recipient SET state = 'skipped', reason = 'suppressed' WHERE campaign_id = %s AND state = 'waiting'
"""
ENDED = """
UPDATE otn.campaign SET state = 'finished', finished_at = now() - interval '25 hours 17 minutes' WHERE id = %s
"""
ALARM = """
INSERT INTO otn.alarm (page_id, kind, subject, level, sentence, advice)
VALUES (%s, 'tokens', 'restock', 'warn', '212 consents end within 30 days, and no campaign is planned for them.',
        'Compose a campaign for the topic, or let them end.')
"""


def fill(engine: Engine) -> dict[str, Any]:
    """Two pages, five topics, two thousand people, a campaign in each state.

    Args:
        engine: of an empty database with the schema.

    Returns:
        What the addresses of the pages need: names to numbers.
    """
    goods = _Goods(engine, Shop.open(engine))
    return goods.fill()


class _Goods:
    def __init__(self, engine: Engine, shop: Shop) -> None:
        self._engine = engine
        self._shop = shop

    def fill(self) -> dict[str, Any]:
        self._write("UPDATE otn.page SET name = 'The Lamp Shop'")
        self._write("UPDATE otn.topic SET title = 'When it is back in stock' WHERE key = 'restock'")
        self._write("UPDATE otn.topic SET title = 'When the winter sale begins' WHERE key = 'sale'")
        for key, title in TOPICS.items():
            self._shop.topics[key] = self._one(MORE_TOPICS, self._shop.page_row, key, title, key)
        for topic, people, days in (
            ("restock", PEOPLE, 350),
            ("sale", 640, 300),
            ("price", 410, 200),
            ("evening", 30, 10),
            (LONG_KEY, 75, 90),
        ):
            self._opt_in(self._shop.page_row, self._shop.topics[topic], people, days)
        met, foreign = self._second_page()
        spring = self._finished()
        places = {
            "spring": spring,
            "running": self._running(),
            "waiting": self._awaiting(),
            "cancelled": self._cancelled(),
            "pressed": self._pressed(),
            "topic": self._shop.topics["restock"],
            "met": met,
            "foreign": foreign,
            "person": self._one(
                "SELECT min(subscriber_id) FROM otn.recipient WHERE campaign_id = %s AND state = 'refused'", spring
            ),
        }
        self._write(ALARM, self._shop.page_row)
        return places

    def _second_page(self) -> tuple[int, int]:
        """Without a name, halted, and with a payload that nobody registered."""
        page = self._one(
            "INSERT INTO otn.page (page_id, connection_id, halted_at, halt_reason) VALUES"
            " ('1000000002', 'messenger_theatre', now(), 'the platform refused the page token (190)') RETURNING id"
        )
        foreign = self._one(MORE_TOPICS, page, *FOREIGN, FOREIGN[0])
        self._opt_in(page, foreign, 60, 300)
        met = self._one(
            "INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'Re-Stock!', 'Re-Stock!') RETURNING id",
            self._shop.page_row,
        )
        self._opt_in(self._shop.page_row, met, 14, 300)
        return met, foreign

    def _finished(self) -> int:
        number = self._campaign("spring-restock", "restock", max_recipients=1_200)
        self._began(number, "26 hours")
        for people, state, how in (
            (1_128, "sent", {}),
            (31, "refused", {"code": 551, "subcode": 1545041, "worth": True}),
            (17, "refused", {"code": 10, "subcode": 1893015}),
            (8, "refused", {"code": 200, "subcode": 1545041, "worth": True}),
            (3, "unknown", {"reason": "timeout"}),
        ):
            self._settle(number, people, state, ago="26 hours", lasts="42 minutes", **how)
        self._write(SKIPPED, number)
        self._write(CALLS, number)
        self._write(REACTIONS, number)
        self._write(SILENCED, number)
        self._write(ENDED, number)
        return number

    def _running(self) -> int:
        number = self._campaign("winter-sale-early-birds", "sale")
        self._began(number, "9 minutes")
        self._settle(number, 9, "refused", ago="9 minutes", lasts="8 minutes", code=551, subcode=1545041, worth=True)
        self._settle(number, 391, "sent", ago="9 minutes", lasts="9 minutes")
        return number

    def _awaiting(self) -> int:
        at = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=2)
        self._campaign("price-watch-weekend", "price", plan=False, approval=False, send_at=at)
        return self._campaign("price-watch", "price", plan=False, approval=True, include_labels=("vip",), send_at=at)

    def _cancelled(self) -> int:
        number = self._campaign("glasshouse-night-tickets-second-attempt-after-the-rain", LONG_KEY)
        self._began(number, "3 days")
        self._settle(number, 20, "sent", ago="3 days", lasts="1 minute")
        control.cancel(self._engine, number, actor="bob", reason="The glasshouse stays closed.")
        return number

    def _pressed(self) -> int:
        """One more that sends, for whoever wants to press something."""
        return self._campaign("theatre-evening", "evening")

    def _campaign(self, key: str, topic: str, *, plan: bool = True, **spec: Any) -> int:
        make = self._shop.planned if plan else self._shop.campaign
        return make(key, topic, message={"text": TEXT}, **spec)

    def _began(self, number: int, ago: str) -> None:
        self._write(BEGAN, ago, ago, ago, number)
        with transaction(self._engine) as connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(LONG_AGO, (ago, number))

    def _settle(self, campaign: int, people: int, state: str, **how: Any) -> None:
        usual = {"reason": None, "code": None, "subcode": None, "worth": False}
        self._write(SETTLE, {**usual, **how, "campaign": campaign, "people": people, "state": state})

    def _opt_in(self, page: int, topic: int, people: int, days: int) -> None:
        self._write(OPT_IN, {"page": page, "topic": topic, "people": people, "after": self._shop.people, "days": days})
        self._shop.people += people

    def _write(self, statement: str, *values: Any) -> None:
        with transaction(self._engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values[0] if values and isinstance(values[0], dict) else values)

    def _one(self, statement: str, *values: Any) -> int:
        with transaction(self._engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            found: int = cursor.fetchone()[0]
        return found
