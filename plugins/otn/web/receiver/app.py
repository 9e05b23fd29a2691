"""Routes of the receiver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from otn.messenger.signature import looks_signed, verify
from otn.web.receiver.body import Allowance, Body, BodyRefusedError, ClosingResponse
from otn.web.receiver.deletion import Deletions
from otn.web.receiver.desk import Desk
from otn.web.receiver.keeper import INLINE_BYTES, Keeper
from otn.web.receiver.pages import PageSecrets, Registry
from otn.web.receiver.telling import Telling

REFRESH_PATIENCE = 2.0  # seconds that a sender who is not recognised waits for the pages to be read again
HEALTH_SECONDS = 1.0  # an answer this old is given again: the route is open to everybody
BODIES_IN_FLIGHT = 128_000_000  # bytes
KEPT_FOR_SMALL = 64_000_000  # of them; more than all connections together can hold in small bodies
CHALLENGE_LIMIT = 1_024  # characters; the platform's are about ten digits
RETRY_HEADERS = {"Retry-After": "5"}


def create_app(keeper: Keeper, registry: Registry, deletions: Deletions) -> Starlette:
    """The receiver as an ASGI application.

    Args:
        keeper: keeps the bodies.
        registry: whose signatures are taken.
        deletions: requests to delete a person's data.
    """
    receiver = _Receiver(keeper, registry, deletions)
    return Starlette(
        routes=[
            Route("/webhook", receiver.handshake, methods=["GET"]),
            Route("/webhook", receiver.take, methods=["POST"]),
            Route("/healthz", receiver.health, methods=["GET"]),
            Route("/data-deletion", receiver.ask_deletion, methods=["POST"]),
            Route("/deletion", deletions.show, methods=["GET"]),
        ],
        lifespan=receiver.lifespan,
    )


class _Receiver:
    def __init__(self, keeper: Keeper, registry: Registry, deletions: Deletions) -> None:
        self._keeper = keeper
        self._registry = registry
        self._deletions = deletions
        self._allowance = Allowance(BODIES_IN_FLIGHT, KEPT_FOR_SMALL)
        self._registry_desk = Desk(registry.line)
        self._telling = Telling()
        self._health: dict[str, Any] = {}
        self._health_at = -HEALTH_SECONDS
        self._health_check = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        await self._keeper.start()
        yield
        self._registry_desk.close()
        self._deletions.close()
        await self._keeper.stop()

    async def handshake(self, request: Request) -> Response:
        """Answer the platform's question whether this address is ours (Meta docs, Messenger webhooks)."""
        query = request.query_params
        challenge = query.get("hub.challenge", "")
        token = query.get("hub.verify_token", "")
        known = await self._recognised(lambda secrets: secrets.knows_token(token))
        if not known or query.get("hub.mode") != "subscribe" or not 0 < len(challenge) <= CHALLENGE_LIMIT:
            return self._answered("handshake", PlainTextResponse("Not known.", 403))
        # The text comes from outside: as plain text that no browser may take for anything else.
        return self._answered("handshake", PlainTextResponse(challenge, headers={"X-Content-Type-Options": "nosniff"}))

    async def take(self, request: Request) -> Response:
        """Take one webhook: 200 means that it is committed, or on this machine's disk."""
        if not looks_signed(request.headers.get("x-hub-signature-256")):  # whose body is not worth reading
            return self._answered("webhook", ClosingResponse("The signature is missing or wrong.", 403), size=0)
        # What was kept is told by whoever wrote it, a line for all that were written together.
        return await self._with_body("webhook", Body(self._allowance), request, self._take, kept_is_told=True)

    async def ask_deletion(self, request: Request) -> Response:
        """Take a request to delete a person's data (Meta docs, Data Deletion Request Callback)."""
        body = Body(self._allowance, self._deletions.LIMIT)
        return await self._with_body("data-deletion", body, request, self._ask_deletion)

    async def _with_body(
        self,
        what: str,
        body: Body,
        request: Request,
        answer: Callable[[Request, bytes], Any],
        *,
        kept_is_told: bool = False,
    ) -> Response:
        try:
            response: Response = await answer(request, await body.read(request))
        except BodyRefusedError as refusal:
            headers = RETRY_HEADERS if refusal.status == 503 else None
            response = ClosingResponse(refusal.text, refusal.status, headers)
        except ClientDisconnect:
            response = PlainTextResponse("Gone.", 400)
        finally:
            body.release()
        if kept_is_told and response.status_code == 200:
            return response
        return self._answered(what, response, size=body.size)

    async def _take(self, request: Request, raw: bytes) -> Response:
        if not await self._signed(raw, request.headers["x-hub-signature-256"]):
            return PlainTextResponse("The signature is missing or wrong.", 403)
        if not await self._keeper.keep(raw):
            return PlainTextResponse("It cannot be stored now. Send it again.", 503, RETRY_HEADERS)
        return PlainTextResponse("EVENT_RECEIVED")

    async def _signed(self, raw: bytes, signature: str) -> bool:
        def fits(secrets: PageSecrets) -> bool:
            return verify(raw, signature, secrets.app_secrets)

        return await self._recognised(fits, inline=len(raw) <= INLINE_BYTES)

    async def _ask_deletion(self, request: Request, raw: bytes) -> Response:
        return await self._deletions.ask(request, raw, self._recognised)

    async def _recognised(self, test: Callable[[PageSecrets], bool], *, inline: bool = True) -> bool:
        if await _tested(test, self._registry.secrets, inline=inline):
            return True
        if not self._registry.due:
            return False
        try:
            refreshed = await self._registry_desk.ask(self._registry.refresh, REFRESH_PATIENCE)
        except TimeoutError:
            return False
        return refreshed and await _tested(test, self._registry.secrets, inline=inline)

    def _answered(self, what: str, response: Response, **figures: int) -> Response:
        self._telling.say(what, status=response.status_code, **figures)
        return response

    async def health(self, _request: Request) -> Response:
        """Say whether a webhook could be kept now, and where."""
        async with self._health_check:
            if time.monotonic() - self._health_at >= HEALTH_SECONDS:
                self._health = await self._keeper.health()
                self._health_at = time.monotonic()
        if self._health["status"] == "unavailable":
            return JSONResponse(self._health, 503, RETRY_HEADERS)
        return JSONResponse(self._health)


async def _tested(test: Callable[[PageSecrets], bool], secrets: PageSecrets, *, inline: bool) -> bool:
    return test(secrets) if inline else await asyncio.to_thread(test, secrets)
