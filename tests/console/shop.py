"""A page with two topics and people, made by SQL: as many as a test wants, at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otn.campaign import control
from otn.campaign import plan as planning
from otn.campaign.model import CampaignSpec
from otn.database import Engine, transaction

TITLES = {"restock": "Back in stock", "sale": "Sale"}
CONNECTION = "messenger_default"

OPT_IN = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid, first_name, last_name, locale)
    SELECT %(page)s, (7000000000000000 + n)::text, 'First' || n, 'Last' || n, 'en_GB'
    FROM generate_series(%(after)s + 1, %(after)s + %(people)s) AS n
    RETURNING id, psid
)
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT id, %(topic)s, sha256(convert_to(psid, 'UTF8')), '\\x00'::bytea,
       now() + %(ends)s::interval - interval '1 year', now() + %(ends)s::interval
FROM people
"""


@dataclass
class Shop:
    """One page.

    Args:
        engine: its database.
        page_row: ``otn.page.id``.
        topics: key to ``otn.topic.id``.
    """

    engine: Engine
    page_row: int
    topics: dict[str, int]
    people: int = 0

    @classmethod
    def open(cls, engine: Engine) -> Shop:
        """Register page and topics."""
        with transaction(engine) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO otn.page (page_id, connection_id, name)"
                " VALUES ('1000000001', %s, 'The Shop') RETURNING id",
                (CONNECTION,),
            )
            page = cursor.fetchone()[0]
            topics = {}
            for key, title in TITLES.items():
                cursor.execute(
                    "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
                    " VALUES (%s, %s, %s, %s, clock_timestamp()) RETURNING id",
                    (page, key, title, key),
                )
                topics[key] = cursor.fetchone()[0]
        return cls(engine, page, topics)

    def opt_in(self, topic: str, people: int, ends_in: str = "300 days") -> None:
        """New people, each with one consent that ends after an interval of Postgres."""
        values = {
            "page": self.page_row,
            "topic": self.topics[topic],
            "people": people,
            "after": self.people,
            "ends": ends_in,
        }
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(OPT_IN, values)
        self.people += people

    def campaign(self, key: str, topic: str = "restock", **spec: Any) -> int:
        """Open a campaign as a run does; answers its number."""
        spec = {"message": {"text": 'Hi {{ first_name | default("there") }}'}, "approval": False, **spec}
        return control.open_campaign(
            self.engine,
            CampaignSpec(key=key, **spec),
            page_row_id=self.page_row,
            facebook_page_id="1000000001",
            topic_row_id=self.topics[topic],
            topic_key=topic,
            actor="ann",
        ).id

    def planned(self, key: str, topic: str = "restock", **spec: Any) -> int:
        """Open a campaign and plan it."""
        campaign = self.campaign(key, topic, **spec)
        planning.plan(self.engine, campaign, messages_per_second=30)
        return campaign
