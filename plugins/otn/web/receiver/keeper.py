"""Keeping what was received: in Postgres, or on this machine's disk until Postgres is back."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import structlog

from otn.crypto import Keyring
from otn.web.receiver.desk import Desk
from otn.web.receiver.drain import Drain, Step
from otn.web.receiver.group import Group
from otn.web.receiver.line import STATEMENT_SECONDS, Line
from otn.web.receiver.store import Store
from otn.web.spool import Receipt, Spool

WRITERS = 2  # more would only make the groups smaller
PATIENCE = 1.0  # seconds for the database; then the disk has its turn, and the platform still waits 4
SPOOL_PATIENCE = 2.5
QUICK = PATIENCE / 2  # a database this quick is back
PROBE_SECONDS = 0.5
SWEEP_SECONDS = 5.0  # how often we look for what a dead receiver left
STOP_SECONDS = 3.0
INLINE_BYTES = 65_536  # encrypted sooner than a thread is woken
_log = structlog.get_logger("otn.receiver")


class Keeper:
    """Keeps bodies, and carries over what had to wait on the disk.

    The first write that fails or takes too long opens the way to the disk for all; one small write at a time then
    finds out when the database is back.

    Args:
        url: of the database.
        keyring: encrypts the bodies.
        spool: on this machine.
    """

    def __init__(self, url: str, keyring: Keyring, spool: Spool) -> None:
        self._keyring = keyring
        self._spool = spool
        self._lines = [Line(url) for _ in range(WRITERS)]
        self._database = Group(*(Store(line).keep for line in self._lines))
        self._disk = Group(spool.append)
        drain_line, health_line = Line(url), Line(url)
        self._drain = Drain(Store(drain_line), spool)
        self._drain_desk = Desk(drain_line)
        self._asked = Store(health_line)
        self._health_desk = Desk(health_line)
        self._all_lines = [*self._lines, drain_line, health_line]
        self._wake = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._moving = False
        self.away = False

    async def keep(self, body: bytes) -> bool:
        """Keep a body; True only when it is committed, or on this machine's disk."""
        if len(body) <= INLINE_BYTES:
            receipt = Receipt.of(body, self._keyring)
        else:
            receipt = await asyncio.to_thread(Receipt.of, body, self._keyring)
        if not self.away:
            with suppress(TimeoutError):
                if await self._database.write(receipt, PATIENCE):
                    return True
            self._lose()
        try:
            return await self._disk.write(receipt, SPOOL_PATIENCE)
        except TimeoutError:
            _log.error("the disk is too slow", seconds=SPOOL_PATIENCE)
            return False
        finally:
            self._wake.set()

    def _lose(self) -> None:
        if self.away:
            return
        self.away = True
        _log.error("the database does not take webhooks; they go to the spool")
        self._database.give_up()
        for line in self._lines:
            line.cut()  # what is committed nevertheless has the same day and id as in the spool
        self._wake.set()  # where nothing was written either, somebody must still find out when it is back

    def _regain(self) -> None:
        self.away = False
        _log.info("the database takes webhooks again")

    async def start(self) -> None:
        """Begin to carry over what is in the spool, also what a dead receiver left there."""
        self._draining = asyncio.create_task(self._drain_always())

    async def _drain_always(self) -> None:
        while True:
            started = time.monotonic()
            self._wake.clear()  # before the look: what is written from here on is looked for again
            step = await self._step()
            quick = time.monotonic() - started < QUICK
            self._moving = step is Step.MOVED
            if self.away and quick and step is not Step.FAILED and self._database.has_idle:
                self._regain()
            if step is Step.FAILED or (self.away and step is Step.IDLE):
                await asyncio.sleep(PROBE_SECONDS)
            elif step is Step.IDLE:
                await self._rest()

    async def _step(self) -> Step:
        try:
            return await self._drain_desk.ask(partial(self._drain.step, probing=self.away), STATEMENT_SECONDS + 1)
        except TimeoutError:
            return Step.FAILED
        except Exception as error:  # noqa: BLE001 - nothing may end the draining
            _log.error("the spool cannot be emptied", error=type(error).__name__)
            return Step.FAILED

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_SECONDS):
                await self._wake.wait()

    async def health(self) -> dict[str, Any]:
        """Whether a webhook can be kept now, and what waits on the disk."""
        ready = False
        with suppress(TimeoutError):
            ready = not self.away and await self._health_desk.ask(self._asked.ready, PATIENCE)
        if not ready:
            self._lose()
        figures = await asyncio.to_thread(self._spool.figures)
        status = "ok" if ready else "spooling" if figures.room else "unavailable"
        return {
            "status": status,
            "database": "ok" if ready else "does not answer",
            "spool": asdict(figures) | {"draining": self._moving},
        }

    async def stop(self) -> None:
        """Carry over what can be carried over in a moment; the rest stays for the next receiver."""
        if self._draining is not None:
            self._draining.cancel()
            with suppress(asyncio.CancelledError):
                await self._draining
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                while not self.away and await self._step() is Step.MOVED:
                    pass
            await self._drain_desk.ask(self._drain.leave, STOP_SECONDS)
        for part in (self._database, self._disk, self._drain_desk, self._health_desk):
            part.close()
        for line in self._all_lines:
            line.cut()  # a thread that hangs would keep the process from ending
        self._spool.close()
