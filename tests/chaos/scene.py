"""A scene: one page with people, its campaigns, the senders that live in it, and its history at the end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

from otn.crypto import Keyring, new_key, read_keyring
from otn.database import DatabaseAwayError, Engine, make_engine, transaction
from sandbox.control_client import Sandbox
from tests.campaign.stage import Stage
from tests.chaos.checker import History
from tests.chaos.lives import Life, Lives
from tests.chaos.record import history
from tests.chaos.sender import Job, Target, text_of
from tests.chaos.steps import Arm

T = TypeVar("T")
AWAY_S = 60.0
SETTLE_ROUNDS = 12
MUTANT_ROUNDS = 2  # whatever they end like, it is soon clear
SETTLE_S = 8.0


@dataclass(frozen=True)
class Place:
    """What scenes share.

    Args:
        database: URL of the project's database.
        epoch_file: beside it; None: there is none.
        sandbox: the platform.
        lives: where senders come from.
        keyring: opens tokens.
    """

    database: str
    epoch_file: Path | None
    sandbox: Sandbox
    lives: Lives
    keyring: Keyring = field(repr=False)


def new_keys() -> tuple[dict[str, str], Keyring]:
    """Keys of a run, as environment and as keyring."""
    environ = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}
    return environ, read_keyring(environ)


class Scene:
    """One page and its people.

    Args:
        place: where.
        people: how many are opted in.
        tokens: of each person, at least and at most.
        mutant: what is taken out of the product in every sender.
        bounds: of every sender, where it is given no others.
    """

    def __init__(
        self, place: Place, people: int, tokens: tuple[int, int] = (1, 1), mutant: str = "", **bounds: Any
    ) -> None:
        self.place = place
        self.mutant = mutant
        self.bounds = bounds
        self.sandbox = Sandbox(place.sandbox.base_url)
        self.engine: Engine = make_engine(place.database, pool_size=2, application_name="otn checker")
        page = self.sandbox.page(str(10**15 + uuid.uuid4().int % 10**14))
        facts = {name: page[name] for name in ("page_id", "access_token", "app_secret")}
        self.page_id = facts["page_id"]
        self.target = Target(
            place.database, str(place.epoch_file or ""), self.sandbox.base_url, facts, *self._registered()
        )
        self.stage: Stage = self.target.stage(self.engine, place.keyring, self.sandbox)
        self.people = self.stage.opt_in(people, tokens)
        self.keys: list[str] = []
        self.lives: list[Life] = []
        self.held: set[str] = set()

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()
        self.sandbox.close()
        self.stage.client.close()

    def _registered(self) -> tuple[int, int]:
        with transaction(self.engine) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO otn.page (page_id, connection_id) VALUES (%s, %s) RETURNING id",
                (self.page_id, f"chaos_{self.page_id}"),
            )
            (page_row,) = cursor.fetchone() or ()
            cursor.execute(
                "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
                " VALUES (%s, 'restock', 'Back in stock', 'restock', clock_timestamp()) RETURNING id",
                (page_row,),
            )
            (topic_row,) = cursor.fetchone() or ()
            return page_row, topic_row

    # Senders

    def begin(self, act: str, key: str = "", arms: Sequence[Arm] = (), **bounds: Any) -> Life:
        """Let a sender live."""
        key = key or f"{self.page_id}-a"
        if key not in self.keys:
            self.keys.append(key)
        life = self.place.lives.begin(
            Job(self.target, act, key, tuple(arms), mutant=self.mutant, **self.bounds | bounds)
        )
        self.lives.append(life)
        return life

    def stopped(self, act: str, step: str, key: str = "", also: Sequence[Arm] = (), **bounds: Any) -> Life:
        """A sender that stands still at a step; it is there when this returns."""
        life = self.begin(act, key, [Arm(step, 1, "stop"), *also], **bounds)
        assert life.wait("stopped"), f"{act} never came to {step!r}"
        assert life.state == "stopped", f"{act} ended in place of coming to {step!r}: {life.state}, {life.code}"
        return life

    def killed(self, act: str, step: str, key: str = "", **bounds: Any) -> Life:
        """A sender that died at a step."""
        life = self.begin(act, key, [Arm(step)], **bounds).finish()
        assert life.state == "killed", f"{act} ended in place of dying at {step!r}: {life.state}, {life.code}"
        return life

    def full(self, act: str, key: str = "", **bounds: Any) -> Life:
        """A sender that lives to its end."""
        return self.begin(act, key, **bounds).finish()

    def await_lease_end(self) -> None:
        """Until no row of the page is under a lease that runs."""
        wait = "SELECT extract(epoch FROM max(lease_until) - clock_timestamp())::float FROM otn.recipient r"
        wait += " JOIN otn.campaign c ON c.id = r.campaign_id WHERE c.page_id = %s AND r.state = 'sending'"
        while ((left := self.sql(wait, self.target.page_row)[0][0]) or 0) > 0:
            time.sleep(left + 0.01)

    def recover(self) -> None:
        """The page is well again, and the silence that the platform asked for is over."""
        self.sandbox.page(self.page_id, dead=None)
        self.sql("UPDATE otn.pace SET next_at = clock_timestamp() WHERE page_id = %s", self.target.page_row)
        self.sql(
            "UPDATE otn.recipient r SET not_before = NULL FROM otn.campaign c"
            " WHERE c.id = r.campaign_id AND c.page_id = %s AND r.state = 'waiting'",
            self.target.page_row,
        )

    def settle(self) -> None:
        """Until nobody waits and nothing more can be known."""
        for key in self.keys:
            before = None
            for _ in range(MUTANT_ROUNDS if self.mutant else SETTLE_ROUNDS):
                self.recover()
                self.full("settle", key, run_s=SETTLE_S, slice_rows=30)
                now = self._states(key)
                if now == before and not {"waiting", "sending"} & now.keys():
                    break
                before = now

    def _states(self, key: str) -> dict[str, int]:
        rows = self.sql(
            "SELECT r.state::text, count(*) FROM otn.recipient r JOIN otn.campaign c ON c.id = r.campaign_id"
            " WHERE c.page_id = %s AND c.key = %s GROUP BY 1",
            self.target.page_row,
            key,
        )
        return dict(rows)

    def story(self) -> str:
        """What its senders did and how they ended, for somebody who wonders."""
        told = (
            f"{life.job.act} {[arm.step for arm in life.job.arms]}: {life.state} {life.code}" for life in self.lives
        )
        calls = (
            f"{row['at_ms']} {(row['metadata'] or '')[:4]} {row['effect']} {row['answer']} {row['fault']}"
            for row in self.sandbox.calls(self.page_id)
        )
        log = self.sql(
            "SELECT (extract(epoch FROM r.at) * 1000)::bigint, left(r.attempt_id::text, 4), r.step, r.outcome, r.sender"
            " FROM otn.attempt r JOIN otn.campaign c ON c.id = r.campaign_id WHERE c.page_id = %s ORDER BY r.at",
            self.target.page_row,
        )
        return "\n".join((*told, *calls, *(" ".join(map(str, row)) for row in log)))

    # What is known

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """A look, or a push; while Postgres is away it waits."""
        return patiently(lambda: self.stage.sql(statement, *values))

    def history(self) -> History:
        """Everything, from both sides."""
        campaign_of = {text_of(key): key for key in self.keys}
        return history(
            self.sandbox,
            self.page_id,
            self.sql,
            self.target.page_row,
            people=set(self.people),
            key_of=lambda text: campaign_of.get(text, "?"),
            campaigns=list(self.keys),
            held=self.held,
        )


def patiently(work: Callable[[], T]) -> T:
    """Do it again while Postgres is away: it was killed, and comes back."""
    deadline = time.monotonic() + AWAY_S
    while True:
        try:
            return work()
        except DatabaseAwayError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def cut(url: str) -> int:
    """End every connection of a sender, as a network would; answers how many."""
    try:
        with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name LIKE 'otn chaos %'"
            )
            (ended,) = cursor.fetchone() or (0,)
            return int(ended)
    except psycopg2.OperationalError:  # Postgres itself is away
        return 0
