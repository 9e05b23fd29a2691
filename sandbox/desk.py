"""The operations of the control API, one method each; their keyword arguments are the keys of the JSON body."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from sandbox import deletion, events, ledger
from sandbox.faults import FULL_MIX
from sandbox.model import Event, Page
from sandbox.outbox import USER_AGENT, Delivery
from sandbox.send import SendApi
from sandbox.tokens import TokenAnswers
from sandbox.wire import now_ms

Values = dict[str, Any]
DONE: Values = {"ok": True}
PAGE_KEYS = {field.name for field in dataclasses.fields(Page)}
HANDSHAKE_TIMEOUT_S = 10


class Desk:
    """Operates the platform.

    Args:
        send_api: the platform that is operated.
    """

    def __init__(self, send_api: SendApi) -> None:
        self._send_api = send_api
        self._world = send_api.world
        self._faults = send_api.faults
        self._outbox = send_api.outbox
        self._crowd = send_api.crowd

    def restore(self) -> None:
        """Take up the settings of before a restart."""
        settings = self._world.settings
        self._outbox.delivery = Delivery(**settings.get("delivery", {}))
        self._faults.set_mix(settings.get("mix", {}))
        self._faults.recall(call.token or call.psid or "" for call in self._world.calls)
        self._send_api.token_answers = TokenAnswers(**settings.get("token_answers", {}))

    # Pages

    def health(self) -> Values:
        """Tell that it is up, and how much it holds."""
        world = self._world
        return {
            "ok": True,
            "people": len(world.people),
            "tokens": len(world.tokens),
            "calls": len(world.calls),
            "messages": len(world.seen),
        }

    def pages(self) -> Values:
        """List the pages, secrets included."""
        return {"pages": [dataclasses.asdict(page) for page in self._world.pages.values()]}

    async def set_page(self, *, page_id: str | None = None, handshake: bool = True, **values: Any) -> Values:
        """Create or change a page; a new webhook URL is verified first."""
        unknown = set(values) - PAGE_KEYS
        if unknown:
            raise ValueError(f"a page has no {', '.join(sorted(unknown))}; take {', '.join(sorted(PAGE_KEYS))}")
        former = self._world.pages.get(page_id or "")
        page = former if former is not None else self._new_page(page_id)
        changed = dataclasses.replace(page, **values)
        if not changed.app_id.isdigit() or not changed.page_id.isdigit():
            raise ValueError("page_id and app_id must be texts of digits")
        other = self._world.page_of_token.get(changed.access_token)
        if other is not None and other.page_id != changed.page_id:
            raise ValueError(f"the access token belongs to page {other.page_id}; take another")
        if handshake and changed.webhook_url is not None and "webhook_url" in values:
            await self._handshake(changed)
        return dataclasses.asdict(self._world.change_page(changed))

    def _new_page(self, page_id: str | None) -> Page:
        new = self._world.new_secret
        return Page(
            page_id=page_id or self._world.new_number(15),
            access_token="EAA" + new(60),
            app_id=self._world.new_number(16),
            app_secret=self._world.random.randbytes(16).hex(),
            verify_token=new(12),
        )

    async def _handshake(self, page: Page) -> None:
        """Verify a callback URL (Meta docs, Webhooks: verification requests)."""
        challenge = str(self._world.random.randrange(10**9, 2 * 10**9))
        query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": page.verify_token}
        limit = aiohttp.ClientTimeout(total=HANDSHAKE_TIMEOUT_S)
        try:
            async with self._outbox.session().get(str(page.webhook_url), params=query, timeout=limit) as answer:
                said, status = (await answer.text(errors="replace")).strip(), answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ValueError(f"the webhook URL could not be verified: {type(error).__name__}") from None
        if status != 200 or said != challenge:
            raise ValueError(f"the webhook URL could not be verified: it answered {status} without the challenge")

    # Tokens

    def expire(self, *, tokens: Sequence[str], at_ms: int | None = None) -> Values:
        """Let tokens expire now, or at a time."""
        for token in tokens:
            if token not in self._world.tokens:
                raise ValueError("one of the tokens is unknown; nothing was changed")
        self._world.write("expired", now_ms() if at_ms is None else at_ms, list(tokens))
        return {"count": len(tokens)}

    def token_answers(self) -> Values:
        """Tell what used, expired, invalid and foreign tokens are answered."""
        return dataclasses.asdict(self._send_api.token_answers)

    def set_token_answers(self, **values: Any) -> Values:
        """Change what they are answered."""
        self._send_api.token_answers.change(**values)
        self._world.write("setting", "token_answers", self.token_answers())
        return self.token_answers()

    # Faults

    def faults(self) -> Values:
        """Tell the mix, the faults still demanded and those that struck."""
        demanded = [dataclasses.asdict(fault) for fault in self._faults.demanded]
        return {"mix": self._faults.mix, "next": demanded, "struck": self._faults.struck}

    def set_faults(self, *, mix: Values | str | None = None, next: Sequence[Values] = ()) -> Values:  # noqa: A002
        """Set the mix (``full`` is one of everything), add faults on demand."""
        if mix is not None:
            if isinstance(mix, str) and mix != "full":
                raise ValueError('the only mix with a name is "full"; else give kinds and probabilities')
            self._faults.set_mix(dict(FULL_MIX) if isinstance(mix, str) else mix)
            self._world.write("setting", "mix", self._faults.mix)
        for fields in next:
            self._faults.demand(**fields)
        return self.faults()

    def clear_faults(self) -> Values:
        """Let everything go well."""
        self._faults.clear()
        self._world.write("setting", "mix", {})
        return self.faults()

    # Webhooks

    def delivery(self) -> Values:
        """Tell how webhooks are delivered."""
        return dataclasses.asdict(self._outbox.delivery)

    def set_delivery(self, **values: Any) -> Values:
        """Change how webhooks are delivered."""
        changed = dataclasses.replace(self._outbox.delivery, **values)
        if not 1 <= changed.entries_per_post <= 1000 or changed.events_per_entry < 1 or changed.connections < 1:
            raise ValueError("entries_per_post is 1 to 1000; events_per_entry and connections are at least 1")
        self._outbox.delivery = changed
        self._world.write("setting", "delivery", self.delivery())
        return self.delivery()

    async def webhook(
        self,
        *,
        page_id: str,
        raw: str | None = None,
        raw_base64: str | None = None,
        events: Sequence[Mapping[str, Any]] = (),
        headers: dict[str, str] | None = None,
    ) -> Values:
        """Post any bytes or any events at once, signed; return the status the receiver answered."""
        page = self._crowd.page(page_id)
        if page.webhook_url is None:
            raise ValueError(f"page {page_id} has no webhook_url; set one first")
        if raw_base64 is not None:
            body = base64.b64decode(raw_base64, validate=True)
        elif raw is not None:
            body = raw.encode("utf-8", "surrogatepass")
        else:
            body = self._outbox.encode([_event(page_id, event) for event in events])
        return {"status": await self._outbox.post_any(page, body, headers)}

    async def data_deletion(self, *, page_id: str, url: str, user_id: str, signed_request: str | None = None) -> Values:
        """Post a signed data deletion request, or any other in its place; return status and body of the answer."""
        page = self._crowd.page(page_id)
        text = signed_request or deletion.signed_request(deletion.deletion_payload(user_id), page.app_secret)
        limit = aiohttp.ClientTimeout(total=HANDSHAKE_TIMEOUT_S)
        headers = {"User-Agent": USER_AGENT}
        try:
            async with self._outbox.session().post(
                url, data={"signed_request": text}, headers=headers, timeout=limit
            ) as answer:
                return {"status": answer.status, "body": await answer.text(errors="replace")}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ValueError(f"the deletion URL did not answer: {type(error).__name__}") from None

    def outbox(self) -> Values:
        """Tell how far the delivery of webhooks is."""
        box = self._outbox
        return {
            "pending": box.pending,
            "delivered": box.delivered,
            "failed": box.failed,
            "posts": box.posts,
            "retries": box.retries,
            "duplicates": box.duplicates,
        }

    async def flush(self, *, timeout_s: float = 60) -> Values:
        """Answer when no event waits any more."""
        try:
            await asyncio.wait_for(self._outbox.idle.wait(), timeout_s)
        except TimeoutError:
            raise TimeoutError(f"{self._outbox.pending} events still wait after {timeout_s} s") from None
        return self.outbox()

    # Account

    def pace(self) -> Values:
        """Tell the calls of each page and the most of them in any one second."""
        return ledger.pace(self._send_api.meters)

    def clear_pace(self) -> Values:
        """Count calls anew."""
        self._send_api.meters.clear()
        return DONE

    async def reset(self) -> Values:
        """Forget everything: pages, people, tokens, ledger, faults, settings."""
        await self._outbox.reset()
        self._world.reset()
        self._faults.clear()
        self._send_api.meters.clear()
        self.restore()
        return DONE


def _event(page_id: str, inner: Mapping[str, Any]) -> Event:
    return events.raw(page_id, now_ms(), inner)
