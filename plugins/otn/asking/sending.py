"""Sending inside the 24 h window: permit, claim, one call, record. What may have arrived is never sent again."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import structlog

from otn.asking import answers, ledger
from otn.asking.answers import Answer
from otn.asking.ledger import Claimed, Claims
from otn.database import DatabaseError, Engine, queries, transaction
from otn.epoch.file import EpochFileError
from otn.epoch.guard import SendingHaltedError
from otn.messenger.attachments import is_played
from otn.messenger.client import MessengerClient, SendRequest, SendResult
from otn.messenger.errors import Outcome
from otn.messenger.messages import MessageError
from otn.pace import Pace
from otn.rendering import MessageTemplate, RenderError, TemplateError, compile_message
from otn.settings import PageSettings

DEFAULT_THROTTLE_S = 60.0
MOST_AHEAD_S = 10.0  # a place in the schedule further away is not taken: whoever took it would hold it unused
ANSWER_AHEAD_S = 30.0  # campaigns stop at ten seconds: their senders together must not keep an answer out for ever
MOST_COUNTED = 1_000  # messages that are due, as far as they are counted
TEMPLATES_KEPT = 200
REST_S = 0.25
AWAY_S = (0.5, 5.0)  # pauses after claims that failed, the first and the longest: each of them has cost permits

_log = structlog.get_logger("otn.asking")


@dataclass(frozen=True)
class Limits:
    """Bounds of one sender.

    Args:
        lease_s: messages belong to it for so long; those of a killed sender are in doubt after that.
        call_s: all time limits of one call together; no call starts with less lease left.
        threads: calls at once.
        most_per_call: messages in one Graph call at most.
    """

    lease_s: float = 75.0
    call_s: float = 37.0
    threads: int = 8
    most_per_call: int = 10


@dataclass(frozen=True)
class Sent:
    """What one sender did.

    Args:
        states: messages by the state that they went to.
        wait_s: something still waits: seconds until it may be sent; None: nothing does, or the page is halted.
    """

    states: dict[str, int]
    wait_s: float | None


def send_waiting(
    engine: Engine,
    client: MessengerClient,
    settings: PageSettings,
    page_row_id: int,
    *,
    run_s: float = 480.0,
    limits: Limits | None = None,
    asks: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> Sent:
    """Send what waits for the people of a page, answers first, until nothing is due or the time is up.

    Several may run side by side, the responder among them.

    Args:
        engine: the project's database; it should pool at least three connections.
        client: speaks for the page.
        settings: the page's pace and batch size.
        page_row_id: ``otn.page.id``.
        run_s: it yields after so many seconds.
        limits: bounds of the sender.
        asks: cards of asks too, after the answers; False: only what a person waits for.
        on_progress: told how many messages were dealt with.

    Raises:
        DatabaseError: the database stayed away; messages in calls become unknown when their lease ends.
        EpochFileError: nothing may be sent from here; what was claimed waits again.
    """
    deadline, told = time.monotonic() + run_s, 0
    wait_s: float | None = 0.0
    with Sender(engine, client, settings, page_row_id, limits=limits) as sender:
        while time.monotonic() < deadline:
            resting = sender.resting
            with transaction(engine) as connection:
                queries("window").expire_leases(connection)
                queries("window").close_windows(connection, page_id=page_row_id)
                due = queries("window").due(connection, page_id=page_row_id, most=MOST_COUNTED)
            left = due is not None and (due.answers or (asks and due.asks))
            if not left and resting:
                wait_s = due.wait_s if due else None
                break
            if left:
                sender.dispatch(due.answers or due.asks, asks=not due.answers)
            sender.rest(REST_S)
            if on_progress and (dealt := sender.states.total()) > told:
                on_progress(dealt - told)
                told = dealt
    return Sent(dict(sender.states), wait_s)


class Sender:
    """Sends a page's window messages in a few threads; each pass of a thread is one Graph call.

    A pass takes its permits first, waits until they hold, and claims then: so the gates of the claim are the last thing
    before the call, and a permit is all that is lost when another sender was faster.

    Args:
        engine: the project's database.
        client: speaks for the page.
        settings: the page's pace and batch size.
        page_row_id: ``otn.page.id``.
        limits: bounds.
    """

    def __init__(
        self,
        engine: Engine,
        client: MessengerClient,
        settings: PageSettings,
        page_row_id: int,
        *,
        limits: Limits | None = None,
    ) -> None:
        self.states: Counter[str] = Counter()
        self._engine = engine
        self._client = client
        self._page_row_id = page_row_id
        self._limits = limits or Limits()
        self._pace = Pace.of(engine, page_row_id, settings)
        self._answers_pace = replace(self._pace, is_answer=True)
        self._most_per_call = min(self._limits.most_per_call, self._pace.batch_size(settings.batch_size))
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._threads = ThreadPoolExecutor(self._limits.threads, "window")
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._passes = 0
        self._promised = 0  # messages that passes under way have not claimed yet
        self._moves = self._seen = 0
        self._templates: dict[str, MessageTemplate] = {}
        self._failure: DatabaseError | EpochFileError | None = None
        self._away_until = 0.0
        self._pause = AWAY_S[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Claim nothing more; calls that are under way are finished and recorded."""
        self._stop.set()
        self._threads.shutdown()

    @property
    def resting(self) -> bool:
        """Whether no pass is under way."""
        with self._changed:
            return not self._passes

    def rest(self, most_s: float) -> None:
        """Wait until something has moved since the last look, or for so many seconds.

        Raises:
            DatabaseError: a pass could not record what it knows.
            EpochFileError: nothing may be sent from here.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._moves != self._seen, most_s)
            self._seen = self._moves
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def dispatch(self, due: int, *, asks: bool = False) -> None:
        """Hand out as many passes as there are messages due and threads free; none for a while after a failed claim.

        Args:
            due: messages that may be sent now.
            asks: cards of asks; False: answers.
        """
        with self._changed:
            wanted, free = due - self._promised, self._limits.threads - self._passes
        most_ahead = MOST_AHEAD_S if asks else ANSWER_AHEAD_S
        pace = self._pace if asks else self._answers_pace
        if wanted <= 0 or free <= 0 or self._stop.is_set() or time.monotonic() < self._away_until:
            return
        outlook = pace.outlook()
        if outlook.ahead_s > most_ahead:
            return
        wanted = outlook.at_most(wanted)
        size = 1 if wanted <= free else self._most_per_call
        while wanted > 0 and free > 0:
            messages = min(size, wanted)
            self._move(passes=1, promised=messages)
            self._threads.submit(self._pass, messages, asks=asks)
            wanted, free = wanted - messages, free - 1

    # ── one pass (in a thread)

    def _pass(self, messages: int, *, asks: bool) -> None:
        try:
            claims = self._claim(messages, asks=asks)
            if claims is not None:
                self._send(claims)
        except DatabaseError as error:
            self._failure = error
        except EpochFileError as error:
            _log.error("nothing is sent", page=self._page_row_id, error=str(error))
            self._failure = error
            self._stay_away()
        except Exception:
            _log.exception("a pass failed", page=self._page_row_id)
            raise
        finally:
            self._move(passes=-1)

    def _claim(self, messages: int, *, asks: bool) -> Claims | None:
        pace = self._pace if asks else self._answers_pace
        unused = 0
        try:
            permit = pace.take(messages)
            unused = permit.messages
            if self._stop.wait(max(0.0, permit.start - time.monotonic())):
                return None
            claims = ledger.claim(
                self._engine,
                self._page_row_id,
                asks=asks,
                most=permit.messages,
                lease_s=self._limits.lease_s,
                sender=self._name,
            )
            unused -= len(claims.rows)
        except DatabaseError as error:  # after a commit that failed the lease decides: never called, or in doubt
            _log.warning("nothing could be claimed", page=self._page_row_id, sqlstate=error.sqlstate)
            self._stay_away()
            return None
        except SendingHaltedError as error:  # what waits goes on waiting until a person confirms
            _log.error("nothing is sent", page=self._page_row_id, error=str(error))
            return None
        finally:
            pace.give_back(unused)
            self._move(promised=-messages)
        self._count({"skipped": claims.skipped})
        pace.weigh_media(sum(is_played(row.message) for row in claims.rows))
        return claims if claims.rows else None

    def _stay_away(self) -> None:
        """Claim nothing for a while; the passes that fail at the same time are one failure."""
        with self._changed:
            now = time.monotonic()
            if now >= self._away_until:
                self._away_until = now + self._pause
                self._pause = min(self._pause * 2, AWAY_S[1])

    def _send(self, claims: Claims) -> None:
        ready, settled = self._rendered(claims.rows)
        barred = self._barred(claims)
        if not barred:
            self._pause = AWAY_S[0]
        if ready and (barred or claims.lease_end - time.monotonic() < self._limits.call_s):
            settled += [answers.not_called(row.id, row.attempt_id, "not_called") for row, _ in ready]
            self._pace.give_back(len(ready))
            ready = []
        results = self._call([request for _, request in ready])
        outcomes = [answers.outcome_of(result, row.attempts) for (row, _), result in zip(ready, results, strict=True)]
        settled += [
            answers.from_result(row.id, row.attempt_id, result, attempts=row.attempts)
            for (row, _), result in zip(ready, results, strict=True)
        ]
        refusals = [result for result, one in zip(results, outcomes, strict=True) if one is Outcome.PAGE_HALTED]
        page_reason = _reason(refusals[0]) if refusals else None
        self._count(ledger.record(self._engine, self._page_row_id, settled, sender=self._name, page_reason=page_reason))
        throttles = [result for result, one in zip(results, outcomes, strict=True) if one is Outcome.THROTTLED]
        if throttles:
            seconds = max(result.wait_s or DEFAULT_THROTTLE_S for result in throttles)
            _log.warning("the platform throttles", page=self._page_row_id, silent_s=seconds)
            self._pace.hold_back(seconds)
        if barred:
            raise barred

    def _barred(self, claims: Claims) -> EpochFileError | None:
        """Why there must be no call, after all."""
        try:
            claims.turn.keep()
        except SendingHaltedError as error:
            _log.error("nothing is sent", page=self._page_row_id, error=str(error))
            return EpochFileError(str(error))
        except EpochFileError as error:
            return error
        return None

    def _call(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        if not requests:
            return []
        if len(requests) == 1:
            return [self._client.send(requests[0])]
        return self._client.send_batch(list(requests))

    def _rendered(self, rows: Sequence[Claimed]) -> tuple[list[tuple[Claimed, SendRequest]], list[Answer]]:
        ready: list[tuple[Claimed, SendRequest]] = []
        settled: list[Answer] = []
        for row in rows:
            try:
                # A card's payload goes as it stands: it may look like a template and is none.
                message = row.message if row.card else self._template(row.message).render(row.variables)
            except RenderError as error:
                settled.append(answers.not_called(row.id, row.attempt_id, error.reason, skip=True))
            except (TemplateError, MessageError):
                settled.append(answers.not_called(row.id, row.attempt_id, "message_not_valid", skip=True))
            else:
                message = {**message, "metadata": row.attempt_id}
                ready.append((row, SendRequest({"id": row.psid}, message, messaging_type="RESPONSE")))
        return ready, settled

    def _template(self, message: dict[str, Any]) -> MessageTemplate:
        key = json.dumps(message, sort_keys=True)
        found = self._templates.get(key)
        if found is None:
            if len(self._templates) >= TEMPLATES_KEPT:
                self._templates.clear()
            found = self._templates[key] = compile_message(message)
        return found

    def _move(self, *, passes: int = 0, promised: int = 0) -> None:
        with self._changed:
            self._passes += passes
            self._promised += promised
            self._moves += 1
            self._changed.notify_all()

    def _count(self, states: dict[str, int]) -> None:
        with self._changed:
            self.states.update({state: rows for state, rows in states.items() if rows})


def _reason(result: SendResult) -> str:
    meaning = (result.verdict.meaning if result.verdict else "the page was refused").rstrip(".")
    code = result.error.code if result.error else None
    return (
        f"Messenger refused the page ({code}): {meaning}. Mend the page's connection or permission, "
        "then run `./otn pages resume`."
    )
