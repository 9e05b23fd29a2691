"""A page with opted-in people, and short ways to do what a run does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from psycopg2.extras import execute_values

from otn.campaign import control, plan, report
from otn.campaign.model import CampaignSpec
from otn.campaign.reconcile import ReconcileResult, reconcile
from otn.campaign.send import ChunkResult, SendLimits, send_chunk
from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.messenger.client import MessengerClient
from otn.settings import PageSettings
from sandbox.control_client import Sandbox

QUICK = SendLimits(run_s=60, lease_s=60, call_s=16, slice_rows=200)  # calls as the client of the fixtures makes them


@dataclass
class Stage:
    """One page, its people, and short ways to do what a run does."""

    engine: Engine
    keyring: Keyring
    sandbox: Sandbox
    settings: PageSettings
    client: MessengerClient
    page_row: int
    topic_row: int

    def opt_in(self, people: int = 1, tokens_per_person: tuple[int, int] = (1, 1), **values: Any) -> list[str]:
        psids = self.sandbox.people(self.settings.page_id, people)
        rows = self.sandbox.optins(
            self.settings.page_id,
            "restock",
            psids=psids,
            tokens_per_person=list(tokens_per_person),
            webhook=False,
            list_tokens=True,
            **values,
        )["rows"]
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            execute_values(
                cursor,
                "INSERT INTO otn.subscriber (page_id, psid, first_name) VALUES %s",
                [(self.page_row, psid, f"P{n}") for n, psid in enumerate(psids)],
            )
            cursor.execute("SELECT psid, id FROM otn.subscriber WHERE page_id = %s", (self.page_row,))
            ids = dict(cursor.fetchall())
            execute_values(
                cursor,
                "INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)"
                " VALUES %s",
                [
                    (
                        ids[row["psid"]],
                        self.topic_row,
                        self.keyring.digest("token", self.settings.page_id, row["token"]),
                        self.keyring.encrypt(row["token"].encode(), "token"),
                    )
                    for row in rows
                ],
                template="(%s, %s, %s, %s, clock_timestamp(), clock_timestamp() + interval '360 days')",
            )
        return psids

    def open(self, key: str = "spring", text: str = "It is back!", **values: Any) -> int:
        return self.open_by(CampaignSpec(key=key, message={"text": text}, approval=False, **values))

    def open_by(self, spec: CampaignSpec) -> int:
        return control.open_campaign(
            self.engine,
            spec,
            page_row_id=self.page_row,
            facebook_page_id=self.settings.page_id,
            topic_row_id=self.topic_row,
            topic_key="restock",
            actor="test",
        ).id

    def planned(self, key: str = "spring", **values: Any) -> int:
        campaign = self.open(key, **values)
        plan.plan(self.engine, campaign, messages_per_second=None)
        return campaign

    def send(self, campaign: int, chunk: int = 1, limits: SendLimits = QUICK, **values: Any) -> ChunkResult:
        arguments = {"client": self.client, "settings": self.settings, **values}
        return send_chunk(
            self.engine, arguments["client"], self.keyring, arguments["settings"], campaign, chunk, limits=limits
        )

    def reconcile(self, campaign: int, limits: SendLimits = QUICK) -> ReconcileResult:
        return reconcile(self.engine, self.client, self.keyring, self.settings, campaign, limits=limits)

    def report(self, campaign: int) -> dict[str, Any]:
        return report.report(self.engine, campaign)

    def run(self, campaign: int) -> dict[str, Any]:
        """What a whole run does after planning."""
        for chunk in plan.waiting_chunks(self.engine, campaign):
            self.send(campaign, chunk)
        self.reconcile(campaign)
        control.end_run(self.engine, campaign)
        return self.report(campaign)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def seen(self) -> Counter[str]:
        """Messages that each person of this page saw, by PSID."""
        return Counter(row["psid"] for row in self.sandbox.ledger(self.settings.page_id))

    def states(self, campaign: int) -> dict[str, tuple[str, str | None]]:
        """State and evidence of every recipient, by PSID."""
        rows = self.sql(
            "SELECT s.psid, r.state::text, r.evidence::text"
            " FROM otn.recipient r JOIN otn.subscriber s ON s.id = r.subscriber_id WHERE r.campaign_id = %s",
            campaign,
        )
        return {psid: (state, evidence) for psid, state, evidence in rows}

    def promise_holds(self, campaign: int) -> None:
        """Seen at most once; every stated sent was seen; everything seen stands in a sent or unknown row."""
        seen, states = self.seen(), self.states(campaign)
        assert max(seen.values(), default=0) <= 1
        for psid, (state, evidence) in states.items():
            if state == "sent" and evidence != "token_used_inferred":
                assert seen[psid] == 1, f"{psid} is stated sent and saw nothing"
            if seen[psid]:
                assert state in {"sent", "unknown"}, f"{psid} saw it and is {state}"
        figures = self.report(campaign)
        parts = ("waiting", "sending", "sent", "refused", "unknown", "cancelled")
        assert figures["planned"] == sum(figures[part] for part in parts) + sum(figures["skipped"].values())
        assert figures["audience"] == figures["planned"] + sum(figures["excluded"].values())
