"""The operations of the control API that are about people; their keyword arguments are the keys of the JSON body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox import events
from sandbox.send import SendApi
from sandbox.wire import now_ms

Values = dict[str, Any]
DONE: Values = {"ok": True}


class People:
    """Moves the people of all pages.

    Args:
        send_api: the platform they are on.
    """

    def __init__(self, send_api: SendApi) -> None:
        self._world = send_api.world
        self._crowd = send_api.crowd

    async def add_people(self, **values: Any) -> Values:
        """Create people."""
        made = await self._crowd.come(**values)
        return {"count": len(made), "psids": made}

    async def opt_in(  # noqa: PLR0913 - keys of the JSON body
        self,
        *,
        page_id: str,
        payload: str,
        psids: Sequence[str] | None = None,
        share: float = 1.0,
        tokens_per_person: Sequence[int] = (1, 1),
        age_s: float = 0,
        spread_s: float = 0,
        token_size: int = 33,
        webhook: bool = True,
        list_tokens: bool = False,
    ) -> Values:
        """Let people tap Notify Me."""
        made, told = await self._crowd.opt_in(
            page_id, payload, psids, share, tokens_per_person, age_s, spread_s, token_size, webhook=webhook
        )
        answer: Values = {"tokens": len(made), "people": len({row[1] for row in made}), "told": told}
        if list_tokens:
            keys = ("token", "psid", "opted_in_at", "expires_at")
            answer["rows"] = [dict(zip(keys, row, strict=True)) for row in made]
        return answer

    def tap(self, *, page_id: str, psid: str, mid: str | None = None, webhook: bool = True) -> Values:
        """Let a person tap Notify Me on a card, the one last sent to them if none is named."""
        return {"token": self._crowd.tap(page_id, psid, mid, webhook=webhook)}

    def say(self, *, page_id: str, psid: str, text: str | None = None, **message: Any) -> Values:
        """Let a person write."""
        said = message if text is None else {"text": text, **message}
        return {"mid": self._crowd.say(page_id, psid, said)}

    def postback(self, *, page_id: str, psid: str, title: str, payload: str) -> Values:
        """Let a person press a button."""
        return {"mid": self._crowd.postback(page_id, psid, title, payload)}

    def referral(
        self,
        *,
        page_id: str,
        psid: str,
        ref: str,
        source: str = "SHORTLINK",
        get_started: str | None = None,
    ) -> Values:
        """Let a person follow an m.me link; `get_started`: for the first time, with the payload of that button."""
        if get_started is None:
            self._crowd.follow(page_id, psid, ref, source)
            return {"mid": None}
        return {"mid": self._crowd.get_started(page_id, psid, get_started, ref, source)}

    def react(
        self,
        *,
        page_id: str,
        psid: str,
        mid: str,
        reaction: str = "love",
        emoji: str = "\u2764",
        action: str = "react",
    ) -> Values:
        """Let a person react to a message."""
        what = {"reaction": reaction, "emoji": emoji, "action": action, "mid": mid}
        self._crowd.react(page_id, psid, what)
        return DONE

    def policy(self, *, page_id: str, action: str, reason: str = "The page was reported often.") -> Values:
        """Send a policy event; ``block`` and ``unblock`` also stop and free the page."""
        page = self._crowd.page(page_id)
        if action not in {"warning", "block", "unblock"}:
            raise ValueError("action must be warning, block or unblock")
        if action != "warning":
            self._world.change_page(page, halted="10/1893063" if action == "block" else None)
        self._crowd.tell(page_id, [events.policy(page_id, now_ms(), action, reason)])
        return DONE

    async def block(
        self, *, page_id: str, psids: Sequence[str] | None = None, share: float = 1.0, family: str | None = None
    ) -> Values:
        """Let people block the page."""
        return {"count": await self._crowd.block(page_id, psids, share, family)}

    def unblock(self, *, page_id: str, psids: Sequence[str] | None = None) -> Values:
        """Let people be reached again."""
        return {"count": self._crowd.unblock(page_id, psids)}

    def window(self, *, page_id: str, psids: Sequence[str] | None = None, hours: float = 24) -> Values:
        """Open or close the 24 h window."""
        return {"count": self._crowd.open_window(page_id, psids, hours)}

    def profiles(self, *, page_id: str, profiles: str | dict[str, Any], psids: Sequence[str] | None = None) -> Values:
        """Give people another profile."""
        return {"count": self._crowd.reshape(page_id, psids, profiles)}

    def app_scoped(self, *, user_id: str, psids: Sequence[str]) -> Values:
        """Let an app-scoped id belong to PSIDs."""
        self._crowd.match(user_id, psids)
        return DONE
