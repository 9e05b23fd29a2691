"""A page on the sandbox, and the same page, its people and their consents in a database of the benchmark's own."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from benchmarks.stage import Cluster
from otn.campaign import control
from otn.campaign import plan as planning
from otn.campaign.model import CampaignSpec
from otn.crypto import Keyring
from otn.database import Engine, make_engine, migrate, transaction
from otn.settings import PageSettings
from sandbox.control_client import Sandbox

TEXT = "Hi {{ first_name | default('there') }}, the thing you asked about is back: https://shop.test/thing"
AT_ONCE = 50_000  # people made by one call

SHOP = "INSERT INTO otn.page (page_id, connection_id) VALUES (%(page)s, 'messenger_default') RETURNING id"
TOPIC = """
INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
VALUES (%(page)s, %(key)s, %(key)s, %(key)s, clock_timestamp()) RETURNING id
"""
LANDING = "CREATE TEMP TABLE landed (n integer, psid text, hash bytea, sealed bytea) ON COMMIT DROP"
CONSENTS = """
WITH people AS (
    INSERT INTO otn.subscriber (page_id, psid, first_name)
    SELECT %(page)s, psid, 'Ada' || n FROM landed
    ON CONFLICT (page_id, psid) DO UPDATE SET first_name = excluded.first_name
    RETURNING id, psid
)
INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
SELECT p.id, %(topic)s, l.hash, l.sealed, clock_timestamp(), clock_timestamp() + interval '360 days'
FROM landed l JOIN people p USING (psid) ORDER BY l.n
"""


@dataclass
class Shop:
    """One page.

    Args:
        engine: a database that holds this page and nothing else.
        url: of that database.
        keyring: seals tokens.
        sandbox: the platform.
        settings: of the page; its pace is off.
        row: ``otn.page.id``.
    """

    engine: Engine
    url: str
    keyring: Keyring
    sandbox: Sandbox
    settings: PageSettings
    row: int
    psids: list[str]
    _topics: int = 0

    @classmethod
    def open(cls, cluster: Cluster, sandbox: Sandbox, keyring: Keyring) -> Shop:
        """Make the database and the page."""
        with closing(cluster.server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE otn")
        url = cluster.server.url("otn")
        migrate(url)
        engine = make_engine(url)
        facts = sandbox.page()
        settings = PageSettings(
            connection_id="messenger_default",
            base_url=sandbox.base_url,
            page_id=facts["page_id"],
            access_token=facts["access_token"],
            app_secret=facts["app_secret"],
            messages_per_second=None,
            media_per_second=None,
        )
        row = do(engine, SHOP, page=settings.page_id)
        return cls(engine, url, keyring, sandbox, settings, row, [])

    def tokens(self, people: int) -> tuple[str, list[tuple[str, str]]]:
        """Let people tap Notify Me for a topic of its own; answers its key, and each one's PSID and token."""
        self._topics += 1
        key, page = f"topic{self._topics}", self.settings.page_id
        while len(self.psids) < people:
            more = min(AT_ONCE, people - len(self.psids))
            self.psids += self.sandbox.people(page, more, profiles="empty")
        pairs: list[tuple[str, str]] = []
        for first in range(0, people, AT_ONCE):
            some = self.psids[first : min(first + AT_ONCE, people)]
            rows = self.sandbox.optins(page, key, psids=some, webhook=False, list_tokens=True)["rows"]
            pairs += [(row["psid"], row["token"]) for row in rows]
        return key, pairs

    def planned(self, people: int, senders: int) -> int:
        """A campaign to people who have just opted in, planned; answers its number.

        Args:
            people: how many get it.
            senders: it has so many chunks.
        """
        key, topic = self.opted_in(people)
        campaign = self.campaign(key, topic)
        planning.plan(self.engine, campaign, messages_per_second=people / senders / planning.CHUNK_SECONDS)
        return campaign

    def campaign(self, key: str, topic: int) -> int:
        """Open a campaign that nobody has to approve; answers ``otn.campaign.id``."""
        return control.open_campaign(
            self.engine,
            CampaignSpec(key=key, message={"text": TEXT}, approval=False),
            page_row_id=self.row,
            facebook_page_id=self.settings.page_id,
            topic_row_id=topic,
            topic_key=key,
            actor="bench",
        ).id

    def opted_in(self, people: int) -> tuple[str, int]:
        """Let people opt in to a topic of its own; answers its key and ``otn.topic.id``."""
        key, pairs = self.tokens(people)
        topic = do(self.engine, TOPIC, page=self.row, key=key)
        for first in range(0, people, AT_ONCE):
            self._land(topic, pairs[first : first + AT_ONCE])
        return key, topic

    def _land(self, topic: int, pairs: list[tuple[str, str]]) -> None:
        lines = io.StringIO()
        for number, (psid, token) in enumerate(pairs):
            known = self.keyring.digest("token", self.settings.page_id, token).hex()
            sealed = self.keyring.encrypt(token.encode(), "token").hex()
            lines.write(f"{number}\t{psid}\t\\\\x{known}\t\\\\x{sealed}\n")
        lines.seek(0)
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(LANDING)
            cursor.copy_expert("COPY landed FROM STDIN", lines)
            cursor.execute(CONSENTS, {"page": self.row, "topic": topic})


def do(engine: Engine, statement: str, **values: Any) -> Any:
    """Run one statement; answers the first value of its first row."""
    with transaction(engine) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def settle(engine: Engine) -> None:
    """Write out what making the people left in memory, so that no side pays for it."""
    do(engine, "CHECKPOINT")
