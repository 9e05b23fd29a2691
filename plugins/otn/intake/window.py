"""What comes back about messages inside the 24 h window: the tap on a card, the echo of a message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from otn.database import PsycopgConnection, queries

_TAPS = 20  # of one person for one topic in one slice; the others stay without their card


def settle_window(conn: PsycopgConnection, tokens: Sequence[Any], event_ids: Sequence[int]) -> None:
    """Link new tokens with their cards, and let echoes prove what was sent.

    Rows are locked by id in one go, after those of campaigns and before those of pages.

    Args:
        conn: the transaction that stored tokens and events.
        tokens: new ones, with id, subscriber_id, topic_id, ref and opted_in_at.
        event_ids: events that may be echoes.
    """
    cards = _cards(conn, tokens)
    echoed = [row.id for row in queries("answering").echoed_messages(conn, event_ids=list(event_ids))]
    ids = sorted({*cards.values(), *echoed})
    if not ids:
        return
    list(queries("answering").lock_messages(conn, ids=ids))
    if cards:
        pairs: dict[str, Any] = {"token_ids": list(cards), "card_ids": list(cards.values())}
        queries("answering").link_cards(conn, **pairs)
        queries("answering").mark_tapped(conn, **pairs)
    if echoed:
        queries("answering").settle_echoes_in_window(conn, ids=echoed, event_ids=list(event_ids))


def _cards(conn: PsycopgConnection, tokens: Sequence[Any]) -> dict[int, int]:
    """Which card each token answers. Several taps of one person are matched one after the other, earliest first."""
    alike: defaultdict[tuple[int, int, str | None], list[int]] = defaultdict(list)
    for token in sorted(tokens, key=lambda token: (token.opted_in_at, token.id)):
        alike[token.subscriber_id, token.topic_id, token.ref].append(token.id)
    cards: dict[int, int] = {}
    for turn in range(min(_TAPS, max(map(len, alike.values()), default=0))):
        ids = [group[turn] for group in alike.values() if turn < len(group)]
        found = queries("answering").tapped_cards(conn, token_ids=ids, taken=list(cards.values()))
        cards |= {row.token_id: row.card_id for row in found}
    return cards
