"""The control API: HTTP and JSON under ``/_sandbox/``; documented in README.md."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from sandbox import ledger
from sandbox.desk import Desk
from sandbox.people import People
from sandbox.send import SendApi
from sandbox.wire import line, read_json

PREFIX = "/_sandbox/"
LINES_AT_ONCE = 2000

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Control:
    """Answers the control API.

    Args:
        send_api: the platform that is controlled.
    """

    def __init__(self, send_api: SendApi) -> None:
        self._world = send_api.world
        desk = self._desk = Desk(send_api)
        people = People(send_api)
        self._calls: dict[tuple[str, str], Callable[..., Any]] = {
            ("GET", "health"): desk.health,
            ("GET", "pages"): desk.pages,
            ("POST", "pages"): desk.set_page,
            ("POST", "people"): people.add_people,
            ("POST", "optins"): people.opt_in,
            ("POST", "tap"): people.tap,
            ("POST", "say"): people.say,
            ("POST", "postback"): people.postback,
            ("POST", "referral"): people.referral,
            ("POST", "react"): people.react,
            ("POST", "policy"): people.policy,
            ("POST", "block"): people.block,
            ("POST", "unblock"): people.unblock,
            ("POST", "window"): people.window,
            ("POST", "profiles"): people.profiles,
            ("POST", "app-scoped"): people.app_scoped,
            ("POST", "expire"): desk.expire,
            ("GET", "token-answers"): desk.token_answers,
            ("POST", "token-answers"): desk.set_token_answers,
            ("GET", "faults"): desk.faults,
            ("POST", "faults"): desk.set_faults,
            ("DELETE", "faults"): desk.clear_faults,
            ("GET", "delivery"): desk.delivery,
            ("POST", "delivery"): desk.set_delivery,
            ("POST", "webhook"): desk.webhook,
            ("POST", "data-deletion"): desk.data_deletion,
            ("GET", "outbox"): desk.outbox,
            ("POST", "flush"): desk.flush,
            ("GET", "pace"): desk.pace,
            ("DELETE", "pace"): desk.clear_pace,
            ("POST", "reset"): desk.reset,
        }
        self._lists: dict[str, Callable[..., Iterator[ledger.Row]]] = {
            "ledger": ledger.seen,
            "calls": lambda world, page_id=None, every=None: ledger.calls(world, page_id, tokens_only=every is None),
            "tokens": ledger.tokens,
            "people": ledger.people,
            "taps": ledger.taps,
        }

    def restore(self) -> None:
        """Take up the settings of before a restart."""
        self._desk.restore()

    async def answer(self, scope: Mapping[str, Any], body: bytes, send: Send) -> None:
        """Answer one call: JSON, or NDJSON for the lists."""
        method, name = scope["method"], scope["path"].removeprefix(PREFIX)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        try:
            if method == "GET" and name in self._lists:
                await _stream(self._lists[name](self._world, **query), send)
                return
            if method == "GET" and name == "ledger/summary":
                value = await ledger.summary(self._world, **query)
            else:
                value = await self._call(method, name, query, body)
            await _respond(200, value, send)
        except (ValueError, TypeError) as error:
            await _respond(400, {"error": str(error)}, send)
        except LookupError as error:
            await _respond(404, {"error": str(error)}, send)
        except TimeoutError as error:
            await _respond(504, {"error": str(error)}, send)

    async def _call(self, method: str, name: str, query: dict[str, str], body: bytes) -> Any:
        call = self._calls.get((method, name))
        if call is None:
            raise LookupError(f"the control API has no {method} {PREFIX}{name}; see sandbox/README.md")
        values = {**query, **_object(body)}
        inspect.signature(call).bind(**values)
        value = call(**values)
        if inspect.isawaitable(value):
            value = await value
        self._world.commit()
        return value


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    value = read_json(body)
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - told to the caller as any wrong value
    return value


async def _respond(status: int, value: Any, send: Send) -> None:
    raw = line(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


async def _stream(rows: Iterator[ledger.Row], send: Send) -> None:
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    some: list[bytes] = []
    for row in rows:
        some.append(line(row))
        if len(some) == LINES_AT_ONCE:
            await send({"type": "http.response.body", "body": b"".join(some), "more_body": True})
            some.clear()
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"".join(some)})
