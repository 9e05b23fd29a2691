"""Routes of the receiver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from otn.messenger.signature import verify
from otn.web.receiver.body import Allowance, Body, BodyRefusedError, ClosingResponse
from otn.web.receiver.pages import PageSecrets, Registry
from otn.web.receiver.store import WRITERS, Store

ANSWER_SECONDS = 4.0  # from the whole body to the answer; the platform waits 5 (Meta docs, Messenger webhooks)
HEALTH_SECONDS = 1.0  # an answer this old is given again: the route is open to everybody
BODIES_IN_FLIGHT = 128_000_000  # bytes
CHALLENGE_LIMIT = 1_024  # characters; the platform's are about ten digits
RETRY_HEADERS = {"Retry-After": "5"}
_log = structlog.get_logger("otn.receiver")


def create_app(store: Store, registry: Registry) -> Starlette:
    """The receiver as an ASGI application.

    Args:
        store: keeps the bodies.
        registry: whose signatures are taken.
    """
    receiver = _Receiver(store, registry)
    return Starlette(
        routes=[
            Route("/webhook", receiver.handshake, methods=["GET"]),
            Route("/webhook", receiver.take, methods=["POST"]),
            Route("/healthz", receiver.health, methods=["GET"]),
        ],
        lifespan=receiver.lifespan,
    )


class _Receiver:
    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._allowance = Allowance(BODIES_IN_FLIGHT)
        # As many threads as database connections: work waits here, where it can still be given up.
        self._writers = ThreadPoolExecutor(WRITERS, "writer")
        self._reader = ThreadPoolExecutor(1, "reader")
        self._healthy = False
        self._healthy_at = -HEALTH_SECONDS
        self._health_check = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        self._writers.shutdown(wait=False, cancel_futures=True)
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def handshake(self, request: Request) -> Response:
        """Answer the platform's question whether this address is ours (Meta docs, Messenger webhooks)."""
        query = request.query_params
        challenge = query.get("hub.challenge", "")
        token = query.get("hub.verify_token", "")
        known = await self._recognised(lambda secrets: secrets.knows_token(token))
        if not known or query.get("hub.mode") != "subscribe" or not 0 < len(challenge) <= CHALLENGE_LIMIT:
            return _answered("handshake", PlainTextResponse("Not known.", 403))
        # The text comes from outside: as plain text that no browser may take for anything else.
        return _answered("handshake", PlainTextResponse(challenge, headers={"X-Content-Type-Options": "nosniff"}))

    async def take(self, request: Request) -> Response:
        """Take one webhook: 200 means that it is committed."""
        body = Body(self._allowance)
        try:
            response = await self._take(await body.read(request), request.headers.get("x-hub-signature-256"))
        except BodyRefusedError as refusal:
            headers = RETRY_HEADERS if refusal.status == 503 else None
            response = ClosingResponse(refusal.text, refusal.status, headers)
        except ClientDisconnect:
            response = PlainTextResponse("Gone.", 400)
        finally:
            body.release()
        return _answered("webhook", response, size=body.size)

    async def _take(self, raw: bytes, signature: str | None) -> Response:
        if signature is None or not await self._recognised(lambda secrets: verify(raw, signature, secrets.app_secrets)):
            return PlainTextResponse("The signature is missing or wrong.", 403)
        if not await self._in_time(self._writers, partial(self._store.keep, raw)):
            return PlainTextResponse("It cannot be stored now. Send it again.", 503, RETRY_HEADERS)
        return PlainTextResponse("EVENT_RECEIVED")

    async def _recognised(self, test: Callable[[PageSecrets], bool]) -> bool:
        if await asyncio.to_thread(test, self._registry.secrets):
            return True
        if not self._registry.due:
            return False
        refreshed = await self._in_time(self._reader, self._registry.refresh)
        return refreshed and await asyncio.to_thread(test, self._registry.secrets)

    async def health(self, _request: Request) -> Response:
        """Say whether a webhook could be stored now."""
        async with self._health_check:
            if time.monotonic() - self._healthy_at >= HEALTH_SECONDS:
                self._healthy = await self._in_time(self._reader, self._store.ready)
                self._healthy_at = time.monotonic()
        if self._healthy:
            return JSONResponse({"status": "ok", "database": "ok"})
        return JSONResponse({"status": "unavailable", "database": "does not answer"}, 503, RETRY_HEADERS)

    async def _in_time(self, executor: ThreadPoolExecutor, work: Callable[[], bool]) -> bool:
        # What was not begun in time is dropped; what was begun may still commit, and the platform's second
        # delivery is then a duplicate, which ingest knows to be harmless.
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(executor, work)
        except TimeoutError:
            _log.error("too slow", seconds=ANSWER_SECONDS)
            return False


def _answered(what: str, response: Response, **figures: int) -> Response:
    level = _log.info if response.status_code == 200 else _log.warning
    level(what, status=response.status_code, **figures)
    return response
