"""Asking, as the demo shows it: somebody writes a word, the responder sends the request card, the tap is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from otn.consent import rulemaking
from otn.consent.pages import Page
from otn.consent.rulemaking import RuleSpec
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import OtnError
from sandbox.control_client import Sandbox

WORD = "restock"
WRITERS = 3  # people who write; the others have tapped a card already
CARD = "one_time_notif_req"
PATIENCE_S = 60.0
POLL_S = 0.05

T = TypeVar("T")


class NotAskedError(OtnError):
    """Somebody who wrote was not asked, or their tap not counted. Look at logs/responder.log of the home."""


@dataclass(frozen=True)
class Asked:
    """What became of one person's word.

    Args:
        card_s: seconds until the card lay before the person, by the platform's ledger.
        token_s: seconds from the tap until the token was stored as the answer to that very card.
    """

    card_s: float
    token_s: float


def add_rule(conn: PsycopgConnection, page: Page, topic: str) -> None:
    """Have the word answered by the topic's request card.

    Args:
        conn: a connection in a transaction.
        page: of the demo.
        topic: key of its topic.
    """
    rulemaking.add(conn, page, RuleSpec(key=WORD, trigger="word", pattern=WORD, topic=topic), actor="demo")


def ask(engine: Engine, sandbox: Sandbox, page_id: str, psid: str) -> Asked:
    """Let a person write the word, and tap the card that comes.

    Args:
        engine: the project's database.
        sandbox: the platform's stand-in.
        page_id: Facebook's id of the page.
        psid: a person who was never asked.

    Raises:
        NotAskedError: no card came, or the tap was not counted.
    """
    wrote_at = time.time()
    sandbox.say(page_id, psid, WORD)
    card = _eventually(lambda: _card_of(sandbox, page_id, psid), "No request card came after the word.")
    tapped_at = time.time()
    sandbox.tap(page_id, psid, mid=card["mid"])
    _eventually(lambda: _consents(engine, card["metadata"]), "The tap on the request card was not counted.")
    return Asked(card["at"] / 1000 - wrote_at, time.time() - tapped_at)


def _card_of(sandbox: Sandbox, page_id: str, psid: str) -> dict[str, Any] | None:
    return next((card for card in sandbox.ledger(page_id, kind=CARD) if card["psid"] == psid), None)


def _consents(engine: Engine, attempt_id: str) -> int:
    with transaction(engine) as connection:
        return int(queries("demo").consents_to_card(connection, attempt_id=attempt_id))


def _eventually(found: Callable[[], T | None], trouble: str) -> T:
    end = time.monotonic() + PATIENCE_S
    while True:
        if value := found():
            return value
        if time.monotonic() > end:
            raise NotAskedError(f"{trouble} Look at logs/responder.log of the home.")
        time.sleep(POLL_S)
