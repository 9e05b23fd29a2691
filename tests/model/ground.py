"""The database under the model: a page of its own per example, people and consents, rows as they stand."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otn.campaign import control, evidence, plan
from otn.campaign.model import CampaignSpec
from otn.consent import pages
from otn.consent.pages import Page
from otn.consent.suppression import settle_words
from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.privacy import erasure
from otn.privacy.journal import Journal


@dataclass
class Ground:
    """One page with nobody on it, and short ways to change and read its rows.

    Args:
        engine: a migrated database.
        keyring: hashes the people who are erased.
        folder: for the journal of erasures.
    """

    engine: Engine
    keyring: Keyring
    folder: Path
    page: Page = field(init=False)
    topic: int = field(init=False)

    def __post_init__(self) -> None:
        name = str(uuid.uuid4().int)[:18]
        self.sql("INSERT INTO otn.page (page_id, connection_id) VALUES (%s, %s)", name, f"page_{name}")
        with transaction(self.engine) as connection:
            self.page = pages.find(connection, f"page_{name}")
        self.topic = self.sql(
            "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
            " VALUES (%s, 'restock', 'Back', 'restock', clock_timestamp()) RETURNING id",
            self.page.id,
        )[0][0]

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def meet(self, psid: str) -> int:
        """A person; answers ``otn.subscriber.id``."""
        row = self.sql("INSERT INTO otn.subscriber (page_id, psid) VALUES (%s, %s) RETURNING id", self.page.id, psid)
        return int(row[0][0])

    def consent(self, person: int, text: str) -> int:
        """A token, not sealed: the model reads it back from what a claim hands out."""
        row = self.sql(
            "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
            " VALUES (%s, %s, %s, %s, clock_timestamp(), clock_timestamp() + interval '300 days') RETURNING id",
            *(person, self.topic, hashlib.sha256(text.encode()).digest(), text.encode()),
        )
        return int(row[0][0])

    def end(self, token: int) -> None:
        """The year of a consent is over."""
        self.sql(
            "UPDATE otn.token SET opted_in_at = opted_in_at - interval '300 days', expires_at = clock_timestamp()"
            " WHERE id = %s",
            token,
        )

    def planned(self, key: str) -> int:
        campaign = control.open_campaign(
            self.engine,
            CampaignSpec(key=key, message={"text": "It is back!"}, approval=False),
            page_row_id=self.page.id,
            facebook_page_id=self.page.page_id,
            topic_row_id=self.topic,
            topic_key="restock",
            actor="model",
        ).id
        plan.plan(self.engine, campaign, messages_per_second=None)
        return campaign

    def happen(self, kind: str, person: int, **columns: Any) -> None:
        """An event comes in, is stored, and settles what it can: one transaction, as the ingest does it."""
        names, marks = "".join(f", {name}" for name in columns), ", %s" * len(columns)
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO otn.event (fingerprint, webhook_id, webhook_day, page_id, subscriber_id, kind,"
                f" occurred_at{names}) SELECT sha256(gen_random_uuid()::text::bytea), gen_random_uuid(), current_date,"
                f" %s, %s, %s, clock_timestamp(){marks} RETURNING id",
                (self.page.id, person, kind, *columns.values()),
            )
            ids = [cursor.fetchone()[0]]
            settle_words(connection, ids)
            evidence.settle(connection, ids)

    def erase(self, psid: str) -> None:
        journal = Journal(self.folder / "erasures.jsonl")
        erasure.erase(self.engine, self.keyring, self.page, psid, actor="model", reason="asked", journal=journal)

    def lose_leases(self, attempt_ids: list[str]) -> None:
        """So much time goes by that these leases end."""
        self.sql(
            "UPDATE otn.recipient SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE state = 'sending' AND attempt_id = ANY (%s::uuid[])",
            attempt_ids,
        )

    def rows(self) -> list[Any]:
        """Every recipient of the page, as it stands."""
        return self.sql(
            "SELECT r.campaign_id, r.subscriber_id, r.token_id, r.state::text, r.evidence::text, r.attempt_id::text,"
            " r.unanswered, r.reason, r.message_id, r.holds_token, r.token_contested, r.delivered_at, r.read_at,"
            " (SELECT count(*) FROM otn.attempt a WHERE a.campaign_id = r.campaign_id"
            "  AND a.subscriber_id = r.subscriber_id AND a.step = 'intent') AS intents,"
            " (r.not_before IS NULL OR r.not_before <= clock_timestamp()) AS due"
            " FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id WHERE c.page_id = %s"
            " ORDER BY r.campaign_id, r.subscriber_id",
            self.page.id,
        )

    def state(self, campaign: int) -> str:
        return str(self.sql("SELECT state::text FROM otn.campaign WHERE id = %s", campaign)[0][0])

    def halted(self) -> bool:
        return bool(self.sql("SELECT halted_at IS NOT NULL FROM otn.page WHERE id = %s", self.page.id)[0][0])
