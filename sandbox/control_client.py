"""A synchronous client of the control API, for tests, checks and demonstrations."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import requests

Row = dict[str, Any]


class SandboxError(Exception):
    """The sandbox refused a control call."""


class Sandbox:
    """Controls a running sandbox.

    Args:
        base_url: such as ``http://127.0.0.1:8123``.
        timeout_s: limit of each call; bulk calls may take long.
    """

    def __init__(self, base_url: str, timeout_s: float = 300) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False

    def __repr__(self) -> str:
        return f"Sandbox({self.base_url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(self, method: str, name: str, values: Row | None = None, **query: Any) -> Row:
        """Make any call of the control API.

        Args:
            method: HTTP method.
            name: path below ``/_sandbox/``.
            values: JSON body.
            query: query; None is left out.

        Raises:
            SandboxError: It was refused.
        """
        answer = self._session.request(
            method,
            f"{self.base_url}/_sandbox/{name}",
            data=None if values is None else orjson.dumps(values),
            params={key: value for key, value in query.items() if value is not None},
            timeout=self._timeout_s,
        )
        value: Row = orjson.loads(answer.content)
        if answer.status_code != 200:
            raise SandboxError(value["error"])
        return value

    def rows(self, name: str, **query: Any) -> Iterator[Row]:
        """Yield the rows of a list: ledger, calls, tokens, taps or people."""
        wanted = {key: value for key, value in query.items() if value is not None}
        url = f"{self.base_url}/_sandbox/{name}"
        with self._session.get(url, params=wanted, timeout=self._timeout_s, stream=True) as answer:
            if answer.status_code != 200:
                raise SandboxError(answer.text)
            for raw in answer.iter_lines(chunk_size=1 << 16, delimiter=b"\n"):
                if raw:
                    yield orjson.loads(raw)

    def health(self) -> Row:
        """Tell whether it is up."""
        return self.call("GET", "health")

    # Pages

    def page(self, page_id: str | None = None, **values: Any) -> Row:
        """Create or change a page; return it, secrets included."""
        return self.call("POST", "pages", {"page_id": page_id, **values})

    def pages(self) -> list[Row]:
        """Return all pages."""
        return list(self.call("GET", "pages")["pages"])

    # People

    def people(self, page_id: str, count: int = 1, **values: Any) -> list[str]:
        """Create people; return their PSIDs."""
        return list(self.call("POST", "people", {"page_id": page_id, "count": count, **values})["psids"])

    def optins(self, page_id: str, payload: str, **values: Any) -> Row:
        """Let people tap Notify Me; return the counts, and the rows with ``list_tokens=True``."""
        return self.call("POST", "optins", {"page_id": page_id, "payload": payload, **values})

    def tap(self, page_id: str, psid: str, **values: Any) -> str:
        """Let a person tap a card, by default the one last sent to them; return the token."""
        return str(self.call("POST", "tap", {"page_id": page_id, "psid": psid, **values})["token"])

    def say(self, page_id: str, psid: str, text: str | None = None, **message: Any) -> str:
        """Let a person write; return the message id."""
        return str(self.call("POST", "say", {"page_id": page_id, "psid": psid, "text": text, **message})["mid"])

    def postback(self, page_id: str, psid: str, title: str, payload: str) -> str:
        """Let a person press a button; return the message id."""
        values = {"page_id": page_id, "psid": psid, "title": title, "payload": payload}
        return str(self.call("POST", "postback", values)["mid"])

    def referral(self, page_id: str, psid: str, ref: str, **values: Any) -> str | None:
        """Let a person follow an m.me link; with ``get_started=payload`` return the message id of that button."""
        mid = self.call("POST", "referral", {"page_id": page_id, "psid": psid, "ref": ref, **values})["mid"]
        return None if mid is None else str(mid)

    def react(self, page_id: str, psid: str, mid: str, **values: Any) -> None:
        """Let a person react to a message."""
        self.call("POST", "react", {"page_id": page_id, "psid": psid, "mid": mid, **values})

    def policy(self, page_id: str, action: str, **values: Any) -> None:
        """Send a policy event; ``block`` and ``unblock`` also stop and free the page."""
        self.call("POST", "policy", {"page_id": page_id, "action": action, **values})

    def block(self, page_id: str, psids: Sequence[str] | None = None, **values: Any) -> int:
        """Let people block the page; return how many."""
        return int(self.call("POST", "block", {"page_id": page_id, "psids": psids, **values})["count"])

    def unblock(self, page_id: str, psids: Sequence[str] | None = None) -> int:
        """Let people be reached again; return how many."""
        return int(self.call("POST", "unblock", {"page_id": page_id, "psids": psids})["count"])

    def window(self, page_id: str, psids: Sequence[str] | None = None, hours: float = 24) -> int:
        """Open (or with 0 hours close) the 24 h window; return of how many people."""
        return int(self.call("POST", "window", {"page_id": page_id, "psids": psids, "hours": hours})["count"])

    def profiles(self, page_id: str, profiles: str | Row, psids: Sequence[str] | None = None) -> int:
        """Give people another profile, of a kind or as it stands; return how many."""
        values = {"page_id": page_id, "psids": psids, "profiles": profiles}
        return int(self.call("POST", "profiles", values)["count"])

    def app_scoped(self, user_id: str, psids: Sequence[str]) -> None:
        """Let an app-scoped id belong to PSIDs, of any pages."""
        self.call("POST", "app-scoped", {"user_id": user_id, "psids": list(psids)})

    # Tokens

    def expire(self, tokens: Sequence[str], at_ms: int | None = None) -> int:
        """Let tokens expire; return how many."""
        return int(self.call("POST", "expire", {"tokens": list(tokens), "at_ms": at_ms})["count"])

    def token_answers(self, **values: Any) -> Row:
        """Change (``alike=True``, ``used={...}``) and return the answers to tokens that are no good."""
        return self.call("POST", "token-answers", values)

    # Faults and webhooks

    def faults(self, mix: Row | str | None = None, next: Sequence[Row] = ()) -> Row:  # noqa: A002
        """Set the mix of faults, add faults on demand; return what is set and what struck."""
        return self.call("POST", "faults", {"mix": mix, "next": list(next)})

    def clear_faults(self) -> None:
        """Let everything go well."""
        self.call("DELETE", "faults")

    def delivery(self, **values: Any) -> Row:
        """Change and return how webhooks are delivered."""
        return self.call("POST", "delivery", values)

    def webhook(self, page_id: str, events: Sequence[Row] = (), raw: bytes | None = None, **values: Any) -> int:
        """Post events, or any bytes, signed; return the status the receiver answered."""
        body: Row = {"page_id": page_id, "events": list(events), **values}
        if raw is not None:
            body["raw_base64"] = base64.b64encode(raw).decode()
        return int(self.call("POST", "webhook", body)["status"])

    def data_deletion(self, page_id: str, url: str, user_id: str, signed_request: str | None = None) -> Row:
        """Post a signed data deletion request, or any other in its place; return status and body of the answer."""
        values = {"page_id": page_id, "url": url, "user_id": user_id, "signed_request": signed_request}
        return self.call("POST", "data-deletion", values)

    def outbox(self) -> Row:
        """Return how far the delivery of webhooks is: pending, delivered, failed, ..."""
        return self.call("GET", "outbox")

    def flush(self, timeout_s: float = 60) -> Row:
        """Wait until no webhook waits any more.

        Raises:
            SandboxError: Some still wait after `timeout_s`.
        """
        return self.call("POST", "flush", {"timeout_s": timeout_s})

    # Account

    def ledger(self, page_id: str | None = None, kind: str | None = None) -> Iterator[Row]:
        """Yield each message a person saw."""
        return self.rows("ledger", page_id=page_id, kind=kind)

    def summary(self, page_id: str | None = None) -> Row:
        """Return the figures of the ledger."""
        return self.call("GET", "ledger/summary", page_id=page_id)

    def calls(self, page_id: str | None = None, *, every: bool = False) -> Iterator[Row]:
        """Yield each call that named a token, or with `every` each call of the Send API."""
        return self.rows("calls", page_id=page_id, every="1" if every else None)

    def tokens(self, page_id: str | None = None, payload: str | None = None) -> Iterator[Row]:
        """Yield each token."""
        return self.rows("tokens", page_id=page_id, payload=payload)

    def taps(self, page_id: str | None = None, psid: str | None = None) -> Iterator[Row]:
        """Yield each tap on a card."""
        return self.rows("taps", page_id=page_id, psid=psid)

    def persons(self, page_id: str | None = None) -> Iterator[Row]:
        """Yield each person."""
        return self.rows("people", page_id=page_id)

    def pace(self) -> Row:
        """Return calls and accepted messages of each page, in all and at most within any one second."""
        return self.call("GET", "pace")

    def clear_pace(self) -> None:
        """Count calls anew."""
        self.call("DELETE", "pace")

    def reset(self) -> None:
        """Forget everything."""
        self.call("POST", "reset")
