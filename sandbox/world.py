"""The state of the sandbox. Every change is a record: applied at once, and again when a journal is replayed."""

from __future__ import annotations

import base64
import dataclasses
import random
from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.journal import Journal
from sandbox.model import WINDOW_MS, Call, Card, Event, Page, Person, Tap, Token

Row = Sequence[Any]


class World:
    """Pages, people, tokens, calls and what people saw.

    Args:
        journal: where records are kept.
        seed: everything drawn at random follows from it and from how often the journal was opened.
    """

    def __init__(self, journal: Journal, seed: int = 0) -> None:
        self._journal = journal
        self._seed = seed
        self._boots = 0
        self._empty()
        for record in journal.replay():
            self._apply(record)
        self.write("boot")

    def _empty(self) -> None:
        self.pages: dict[str, Page] = {}
        self.page_of_token: dict[str, Page] = {}
        self.people: dict[str, Person] = {}
        self.people_of: dict[str, list[str]] = {}
        self.tokens: dict[str, Token] = {}
        self.calls: list[Call] = []
        self.seen: list[Call] = []
        self.cards: dict[str, dict[str, Card]] = {}
        self.taps: list[Tap] = []
        self.app_scoped: dict[str, list[str]] = {}
        self.attachments: dict[str, tuple[str, str]] = {}
        self.settings: dict[str, Any] = {}
        self.undelivered: dict[int, Event] = {}
        self.events = 0

    # Changing

    def write(self, kind: str, *values: Any) -> None:
        """Record a change and apply it; `commit` makes it last."""
        record = [kind, *values]
        self._journal.add(record)
        self._apply(record)

    def commit(self) -> None:
        """Make all records last beyond the death of the process."""
        self._journal.write()

    def close(self) -> None:
        """Write what waits and close the journal."""
        self._journal.close()

    def reset(self) -> None:
        """Forget everything, the journal included."""
        self._journal.clear()
        self._empty()
        self.write("boot")

    def _apply(self, record: list[Any]) -> None:
        getattr(self, f"_on_{record[0]}")(*record[1:])

    def _on_boot(self) -> None:
        self._boots += 1
        self.random = random.Random(f"{self._seed}:{self._boots}:{len(self.calls)}")

    def _on_page(self, values: dict[str, Any]) -> None:
        page = Page(**values)
        former = self.pages.get(page.page_id)
        if former is not None:
            self.page_of_token.pop(former.access_token, None)
        self.pages[page.page_id] = page
        self.page_of_token[page.access_token] = page
        self.people_of.setdefault(page.page_id, [])

    def _on_people(self, page_id: str, rows: Iterable[Row]) -> None:
        here = self.people_of[page_id]
        for psid, profile, blocked, window_until in rows:
            if psid not in self.people:
                here.append(psid)
            self.people[psid] = Person(psid, page_id, profile, blocked, window_until)

    def _on_blocked(self, rows: Iterable[Row]) -> None:
        for psid, family in rows:
            self.people[psid].blocked = family

    def _on_window(self, until: int, psids: Iterable[str]) -> None:
        for psid in psids:
            self.people[psid].window_until = until

    def _on_tokens(self, page_id: str, payload: str, rows: Iterable[Row]) -> None:
        for token, psid, opted_in_at, expires_at in rows:
            self.tokens[token] = Token(token, page_id, psid, payload, opted_in_at, expires_at)

    def _on_expired(self, at: int, tokens: Iterable[str]) -> None:
        for token in tokens:
            self.tokens[token].expires_at = at

    def _on_call(self, *values: Any) -> None:
        call = Call(*values)
        self.calls.append(call)
        if not call.effect:
            return
        self.seen.append(call)
        if call.token is not None:
            self.tokens[call.token].mid = call.mid
        if call.kind == "one_time_notif_req":
            payload = (call.message or {})["attachment"]["payload"]
            card = Card(str(call.mid), payload["title"], payload["payload"])
            self.cards.setdefault(str(call.psid), {})[card.mid] = card

    def _on_tap(self, *values: Any) -> None:
        self.taps.append(Tap(*values))

    def _on_profile(self, rows: Iterable[Row]) -> None:
        for psid, profile in rows:
            self.people[psid].profile = profile

    def _on_app_scoped(self, user_id: str, psids: list[str]) -> None:
        self.app_scoped[user_id] = psids

    def _on_attachment(self, attachment_id: str, page_id: str, kind: str) -> None:
        self.attachments[attachment_id] = (page_id, kind)

    def _on_setting(self, name: str, value: Any) -> None:
        self.settings[name] = value

    def _on_events(self, rows: Iterable[Row]) -> None:
        for row in rows:
            event = Event(*row)
            self.undelivered[event.number] = event
            self.events = max(self.events, event.number)

    def _on_delivered(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.undelivered.pop(number, None)

    # Making

    def change_page(self, page: Page, **values: Any) -> Page:
        """Change a page and return it as it is now."""
        self.write("page", dataclasses.asdict(dataclasses.replace(page, **values)))
        return self.pages[page.page_id]

    def keep_events(self, events: Iterable[Event]) -> None:
        """Number events which must reach the receiver even after a restart, and record them."""
        rows = []
        for count, event in enumerate(events, self.events + 1):
            event.number = count
            rows.append([event.number, event.page_id, event.field, event.at, event.body])
        self.write("events", rows)

    def new_secret(self, size: int = 33) -> str:
        """Return a token of the alphabet of URLs.

        Args:
            size: bytes drawn.
        """
        return base64.urlsafe_b64encode(self.random.randbytes(size)).decode().rstrip("=")

    def new_mid(self) -> str:
        """Return a message id."""
        return "m_" + self.new_secret(45)

    def new_number(self, digits: int) -> str:
        """Return a numeric id nobody has yet, beyond 2^53 where `digits` is 17."""
        while True:
            number = str(self.random.randrange(2 * 10 ** (digits - 1), 10**digits))
            if number not in self.people and number not in self.pages:
                return number

    # Asking

    def quota(self, page: Page) -> int | None:
        """Return the calls a page may make in 24 h: 200 per person (Meta docs, Rate limiting), a number, or None."""
        if page.daily_quota == "engaged":
            return 200 * len(self.people_of[page.page_id])
        return None if page.daily_quota is None else int(page.daily_quota)


def window_from(at: int) -> int:
    """Return when a 24 h window that opens at `at` ends, both in ms."""
    return at + WINDOW_MS
