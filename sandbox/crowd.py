"""What people do: come, tap Notify Me, write, block, read nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sandbox import events
from sandbox.model import YEAR_MS, Event, Page, Person
from sandbox.names import profile
from sandbox.outbox import Outbox
from sandbox.refusal import UNREACHABLE
from sandbox.wire import now_ms
from sandbox.world import World, window_from

CHUNK = 2000
T = TypeVar("T")


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield parts small enough not to hold up the calls of others."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


class Crowd:
    """The people of all pages.

    Args:
        world: the state.
        outbox: where their events are put.
    """

    def __init__(self, world: World, outbox: Outbox) -> None:
        self._world = world
        self._outbox = outbox

    def page(self, page_id: str) -> Page:
        """Return a page.

        Raises:
            ValueError: There is none of that id.
        """
        try:
            return self._world.pages[page_id]
        except KeyError:
            raise ValueError(f"there is no page {page_id!r}; create it first") from None

    def person(self, page_id: str, psid: str) -> Person:
        """Return a person of a page.

        Raises:
            ValueError: There is none of that id.
        """
        self.page(page_id)
        found = self._world.people.get(psid)
        if found is None or found.page_id != page_id:
            raise ValueError(f"there is no person {psid!r} on page {page_id!r}; create them first")
        return found

    def whom(self, page_id: str, psids: Sequence[str] | None, share: float = 1.0) -> list[str]:
        """Return those named, or a seeded share of all people of the page."""
        if psids is not None:
            return [self.person(page_id, psid).psid for psid in psids]
        self.page(page_id)
        everyone = self._world.people_of[page_id]
        draw = self._world.random.random
        return list(everyone) if share >= 1 else [psid for psid in everyone if draw() < share]

    async def come(
        self,
        page_id: str,
        count: int = 1,
        psids: Sequence[str] | None = None,
        profiles: str | dict[str, Any] = "mixed",
        blocked_share: float = 0.0,
        *,
        window: bool = False,
    ) -> list[str]:
        """Create people.

        Args:
            page_id: their page.
            count: how many, where no ids are given.
            psids: their ids.
            profiles: kind of profile, or the profile itself.
            blocked_share: share of people who cannot be reached.
            window: whether their 24 h window is open.

        Returns:
            Their ids.
        """
        self.page(page_id)
        world, made = self._world, list(psids) if psids is not None else []
        if psids is None:
            made = [world.new_number(17) for _ in range(count)]
        until = window_from(now_ms()) if window else 0
        for some in chunks(made):
            rows = []
            for psid in some:
                known = profile(profiles, psid, world.random) if isinstance(profiles, str) else profiles
                rows.append([psid, known, self._family(blocked_share), until])
            world.write("people", page_id, rows)
            world.commit()
            await asyncio.sleep(0)
        return made

    def _family(self, share: float) -> str | None:
        if not share or self._world.random.random() >= share:
            return None
        return self._world.random.choice(tuple(UNREACHABLE))

    def reshape(self, page_id: str, psids: Sequence[str] | None, profiles: str | dict[str, Any]) -> int:
        """Give people another profile, of a kind or as it stands; return how many."""
        some, rng = self.whom(page_id, psids), self._world.random
        shapes = [profile(profiles, psid, rng) if isinstance(profiles, str) else profiles for psid in some]
        self._world.write("profile", [list(row) for row in zip(some, shapes, strict=True)])
        return len(some)

    def match(self, user_id: str, psids: Sequence[str]) -> None:
        """Let an app-scoped id belong to PSIDs, of any pages.

        Raises:
            ValueError: One of them is nobody's, or the id is not of digits.
        """
        if not user_id.isdigit():
            raise ValueError("user_id must be a text of digits")
        for psid in psids:
            if psid not in self._world.people:
                raise ValueError(f"there is no person {psid!r}; create them first")
        self._world.write("app_scoped", user_id, list(psids))

    async def block(self, page_id: str, psids: Sequence[str] | None, share: float, family: str | None) -> int:
        """Let people block the page; return how many.

        Args:
            page_id: the page.
            psids: who; None takes a share of all.
            share: from 0 to 1.
            family: how the platform refuses them; None picks one for each.

        Raises:
            ValueError: The family is unknown.
        """
        if family is not None and family not in UNREACHABLE:
            raise ValueError(f"unknown family {family!r}; take one of {', '.join(UNREACHABLE)}")
        some = self.whom(page_id, psids, share)
        self._world.write("blocked", [[psid, family or self._family(1.0)] for psid in some])
        return len(some)

    def unblock(self, page_id: str, psids: Sequence[str] | None) -> int:
        """Let people be reached again; return how many."""
        some = self.whom(page_id, psids)
        self._world.write("blocked", [[psid, None] for psid in some])
        return len(some)

    def open_window(self, page_id: str, psids: Sequence[str] | None, hours: float) -> int:
        """Open (or with 0 hours close) the window of people; return of how many."""
        some = self.whom(page_id, psids)
        self._world.write("window", now_ms() + int(hours * 3_600_000), some)
        return len(some)

    async def opt_in(  # noqa: PLR0913 - keyword arguments of one control call
        self,
        page_id: str,
        payload: str,
        psids: Sequence[str] | None,
        share: float,
        tokens_per_person: Sequence[int],
        age_s: float,
        spread_s: float,
        token_size: int,
        *,
        webhook: bool,
    ) -> tuple[list[list[Any]], int]:
        """Let people tap Notify Me.

        Args:
            page_id: the page.
            payload: of the request they tap.
            psids: who; None takes a share of all.
            share: from 0 to 1.
            tokens_per_person: least and most, drawn for each.
            age_s: how long ago the youngest tap was.
            spread_s: taps are spread over so many seconds before that.
            token_size: bytes of which a token is made.
            webhook: whether the receiver is told.

        Returns:
            Rows of token, psid, opted_in_at, expires_at (ms); and how many the receiver is told.
        """
        page, world = self.page(page_id), self._world
        least, most = tokens_per_person
        latest = now_ms() - int(age_s * 1000)
        made: list[list[Any]] = []
        told = 0
        for some in chunks(self.whom(page_id, psids, share)):
            rows: list[list[Any]] = []
            for psid in some:
                for _ in range(world.random.randint(least, most)):
                    at = latest - int(world.random.random() * spread_s * 1000)
                    rows.append([world.new_secret(token_size), psid, at, at + YEAR_MS])
            told += self._give(page, payload, rows, webhook=webhook)
            made += rows
            await asyncio.sleep(0)
        return made, told

    def _give(self, page: Page, payload: str, rows: Sequence[list[Any]], *, webhook: bool) -> int:
        self._world.write("tokens", page.page_id, payload, rows)
        told = [events.optin(page.page_id, psid, at, payload, token) for token, psid, at, _ in rows if webhook]
        count = self._outbox.put_lasting(page, told)
        self._world.commit()
        return count

    def tap(self, page_id: str, psid: str, mid: str | None = None, *, webhook: bool = True) -> str:
        """Let a person tap Notify Me on a card; return the token.

        Args:
            page_id: the page.
            psid: who taps.
            mid: of the card; None takes the one last sent to them.
            webhook: whether the receiver is told; else the token is lost to the page.

        Raises:
            ValueError: No such card lies before them.
        """
        person, page, at = self.person(page_id, psid), self.page(page_id), now_ms()
        cards = self._world.cards.get(psid, {})
        card = cards.get(mid or next(reversed(cards), ""))
        if card is None:
            raise ValueError(f"no such one_time_notif_req was sent to {psid!r}; send one first")
        token = self._world.new_secret()
        self._world.write("tap", at, page_id, psid, card.mid, card.title, card.payload, token)
        if page.notify_me_opens_window:
            self._world.write("window", window_from(at), [person.psid])
        self._give(page, card.payload, [[token, psid, at, at + YEAR_MS]], webhook=webhook)
        return token

    def say(self, page_id: str, psid: str, message: dict[str, Any]) -> str:
        """Let a person write; their window opens. Return the message id."""
        mid = self._world.new_mid()
        self._act(page_id, psid, "messages", message={"mid": mid, **message})
        return mid

    def postback(self, page_id: str, psid: str, title: str, payload: str) -> str:
        """Let a person press a button; their window opens. Return the message id."""
        mid = self._world.new_mid()
        self._act(page_id, psid, "messaging_postbacks", postback={"mid": mid, "title": title, "payload": payload})
        return mid

    def follow(self, page_id: str, psid: str, ref: str, source: str) -> None:
        """Let a person follow an m.me link into a thread they have; their window opens."""
        self._act(page_id, psid, "messaging_referrals", referral=events.referral(ref, source))

    def get_started(self, page_id: str, psid: str, payload: str, ref: str, source: str) -> str:
        """Let a person follow an m.me link for the first time and press Get Started. Return the message id."""
        mid = self._world.new_mid()
        what = {"mid": mid, "title": "Get Started", "payload": payload, "referral": events.referral(ref, source)}
        self._act(page_id, psid, "messaging_postbacks", postback=what)
        return mid

    def react(self, page_id: str, psid: str, reaction: dict[str, Any]) -> None:
        """Let a person react to a message; their window opens."""
        self._act(page_id, psid, "message_reactions", reaction=reaction)

    def _act(self, page_id: str, psid: str, field: str, **what: Any) -> None:
        self.person(page_id, psid)
        at = now_ms()
        self._world.write("window", window_from(at), [psid])
        self.tell(page_id, [events.from_person(page_id, psid, at, field, **what)])

    def tell(self, page_id: str, told: Sequence[Event]) -> None:
        """Put lasting events of a page into the outbox."""
        self._outbox.put_lasting(self.page(page_id), told)
        self._world.commit()
