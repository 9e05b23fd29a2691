"""The product with one of its guards taken out, in a copy: the checker must see each of them.

A mutant changes the text of a query in a temporary copy, the schema of a cloned database, or a function of the sender's
process. No file of the checkout is touched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otn.campaign import ledger, send
from otn.database import queries
from otn.epoch import guard
from otn.settings import sql_folder
from tests.chaos.checker import Kind

SUBJECTS = ("campaign", "evidence", "pace", "recipient", "report")  # what a sender reads
Change = tuple[str, str, str]  # file, text that stands there once, text in its place


def _no_renewal() -> None:
    send._Sender._holding_lease = lambda *arguments: {row.subscriber_id for row in arguments[2]}  # type: ignore[method-assign,assignment]


def _late_intent() -> None:
    """The intent is committed with the answer in place of before the call."""
    real_claim, real_record = ledger.claim, ledger.record
    held: list[Any] = []

    @contextmanager
    def uncommitted(engine: Any) -> Iterator[Any]:
        connection = engine.raw_connection()
        held.append(connection)
        yield connection.driver_connection

    def claim(*arguments: Any, **named: Any) -> Any:
        real = guard.transaction
        guard.transaction = uncommitted
        try:
            return real_claim(*arguments, **named)
        finally:
            guard.transaction = real

    def record(*arguments: Any, **named: Any) -> Any:
        while held:
            connection = held.pop()
            connection.commit()
            connection.close()
        return real_record(*arguments, **named)

    ledger.claim, ledger.record = claim, record


@dataclass(frozen=True)
class Mutant:
    """One guard, taken out.

    Args:
        guard: its name, for people.
        kinds: what the checker must say, one of them at least.
        changes: of queries.
        schema: statements on a cloned database.
        patch: of the sender's process.
    """

    guard: str
    kinds: frozenset[Kind]
    changes: tuple[Change, ...] = ()
    schema: tuple[str, ...] = ()
    patch: Callable[[], None] | None = None


MUTANTS: dict[str, Mutant] = {
    "attempt id": Mutant(
        "attempt-id guard",
        frozenset({Kind.SETTLED_CALLED}),
        changes=(("recipient", "r.attempt_id = a.attempt_id AND r.state IN", "r.state IN"),),
    ),
    "lease renewal": Mutant(
        "lease: no call without one that holds",
        frozenset({Kind.SETTLED_CALLED}),
        patch=_no_renewal,
    ),
    "lease expiry": Mutant(
        "lease: nobody takes a row before its end",
        frozenset({Kind.SETTLED_CALLED}),
        changes=(
            (
                "recipient",
                "WHERE campaign_id = :campaign_id AND state = 'sending' AND lease_until <= clock_timestamp();",
                "WHERE campaign_id = :campaign_id AND state = 'sending';",
            ),
        ),
    ),
    "recipient key": Mutant(
        "unique key: one recipient per campaign and person",
        frozenset({Kind.ROW_TWICE}),
        schema=("ALTER TABLE otn.recipient DROP CONSTRAINT recipient_once_per_campaign CASCADE",),
    ),
    "campaign key": Mutant(
        "unique key: one campaign per page and key",
        frozenset({Kind.SEEN_TWICE}),
        changes=(("campaign", "ON CONFLICT (page_id, key) DO NOTHING", ""),),
        schema=("ALTER TABLE otn.campaign DROP CONSTRAINT campaign_key_once",),
    ),
    "answer once": Mutant(
        "unique key: an answer is logged once",
        frozenset({Kind.REFUSED_BUT_SEEN}),
        changes=(("recipient", "ON CONFLICT ON CONSTRAINT attempt_step_once DO NOTHING", ""),),
        schema=("ALTER TABLE otn.attempt DROP CONSTRAINT attempt_step_once",),
    ),
    "token holder": Mutant(
        "same token: a token in a call or in doubt belongs to its recipient",
        frozenset({Kind.INFERRED_NOT_SEEN}),
        schema=(
            (
                "ALTER TABLE otn.recipient ALTER COLUMN holds_token SET EXPRESSION AS"
                " ((state IN ('waiting', 'sent') OR (state = 'refused' AND token_dead)) AND NOT token_contested)"
            ),
        ),
    ),
    "same token": Mutant(
        "same token: a doubt is asked about with the token of the first call",
        frozenset({Kind.SEEN_TWICE}),
        changes=(
            (
                "recipient",
                "JOIN otn.token t ON t.id = r.token_id\n    WHERE r.state = 'unknown'",
                (
                    "JOIN LATERAL (SELECT k.* FROM otn.token k WHERE k.subscriber_id = r.subscriber_id"
                    " ORDER BY k.id = r.token_id LIMIT 1) t ON true\n    WHERE r.state = 'unknown'"
                ),
            ),
        ),
    ),
    "intent": Mutant(
        "the intent is committed before the call",
        frozenset({Kind.REFUSED_BUT_SEEN}),
        patch=_late_intent,
    ),
    "late acceptance": Mutant(
        "a late acceptance always counts",
        frozenset({Kind.ACCEPTED_NOT_SENT}),
        changes=(
            (
                "recipient",
                "CASE WHEN outcome = 'sent' THEN 'sent'\n                WHEN NOT on_time THEN NULL",
                "CASE WHEN NOT on_time THEN NULL\n                WHEN outcome = 'sent' THEN 'sent'",
            ),
        ),
    ),
}


def apply(name: str) -> None:
    """Take the guard out in this process; a name of none changes nothing.

    Raises:
        RuntimeError: the text to change does not stand there once: the mutant must be written anew.
    """
    if not name:
        return
    mutant = MUTANTS[name]
    if mutant.patch:
        mutant.patch()
    if mutant.changes:
        _reread(mutant.changes)


def _reread(changes: tuple[Change, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix="otn-mutant-") as folder:
        copy = Path(folder) / "queries"
        copy.mkdir()
        for subject in SUBJECTS:
            shutil.copy(sql_folder() / "queries" / f"{subject}.sql", copy)
        for subject, old, new in changes:
            file = copy / f"{subject}.sql"
            text = file.read_text(encoding="utf-8")
            if text.count(old) != 1:
                raise RuntimeError(f"{subject}.sql has {old!r} {text.count(old)} times. Write the mutant anew.")
            file.write_text(text.replace(old, new), encoding="utf-8")
        before = os.environ.get("OTN_SQL_DIR")
        os.environ["OTN_SQL_DIR"] = folder
        queries.cache_clear()
        for subject in SUBJECTS:
            queries(subject)
        os.environ.pop("OTN_SQL_DIR")
        if before is not None:
            os.environ["OTN_SQL_DIR"] = before
