"""Sending: claim, call, record; each message once, at the page's pace.

One loop serves first sends (a chunk of waiting rows) and repeated questions (rows in doubt). It overlaps: while one
slice is in its calls, the one before it is recorded and the next one is claimed.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from otn.campaign import answers, ledger
from otn.campaign.answers import Answer
from otn.campaign.control import get, halt
from otn.campaign.ledger import Claimed, Claims, Source, WaitingChunk
from otn.campaign.model import CampaignState
from otn.campaign.state import lock
from otn.crypto import DecryptionError, Keyring
from otn.database import DatabaseError, Engine, queries, transaction
from otn.epoch.file import EpochFileError
from otn.epoch.guard import SendingHaltedError
from otn.errors import ConfigurationError, OtnError
from otn.messenger.attachments import is_played
from otn.messenger.client import MessengerClient, SendRequest, SendResult
from otn.messenger.errors import Outcome
from otn.pace import Pace, Quota, read_quota, waits_for_quota
from otn.rendering import MessageTemplate, RenderError, compile_message
from otn.settings import PageSettings

log = logging.getLogger(__name__)

DEFAULT_THROTTLE_S = 60.0
SLICES_IN_FLIGHT = 2
MOST_AHEAD_S = 10.0  # permits further away are not taken: whoever took them would hold them unused
LONG_S = 60.0  # nobody waits so long for a quota that is used up; the run comes back
STEP_S = 5.0  # a pause or a cancellation is seen after so long at the latest


@dataclass(frozen=True)
class SendLimits:
    """Bounds of one sender.

    Args:
        run_s: it yields after so long, so that a worker is never held for hours.
        lease_s: rows belong to it for so long; a killed sender's rows are in doubt after that.
        call_s: all time limits of one call together; no call starts with less lease left.
        slice_rows: rows of one claim at most.
        slice_s: rows of one claim at most, in seconds of the page's pace: so late is a stop word obeyed.
        threads: calls at once.
    """

    run_s: float = 600.0
    lease_s: float = 75.0
    call_s: float = 37.0
    slice_rows: int = 2_000
    slice_s: float = 2.0
    threads: int = 8


@dataclass(frozen=True)
class ChunkResult:
    """What one sender did.

    Args:
        states: rows by the state that they went to.
        done: nobody is left for it; False: time is up, or the campaign was stopped.
        state: the campaign's state at the end.
        quota: of the page, where that is why it ended with somebody waiting.
    """

    states: dict[str, int]
    done: bool
    state: str
    quota: Quota | None = None

    def __getattr__(self, name: str) -> int:
        """Rows that went to a state: ``result.sent``, ``result.refused``, …."""
        if name in {"waiting", "sent", "refused", "unknown", "skipped", "cancelled"}:
            return self.states.get(name, 0)
        raise AttributeError(name)


@dataclass
class _Slice:
    """Rows of one claim on their way: what every call of them shares."""

    claims: Claims
    stop: threading.Event = field(default_factory=threading.Event)
    page_reason: str | None = None
    hold_back_s: float = 0.0
    calls: list[Future[list[Answer]]] = field(default_factory=list)


def send_chunk(
    engine: Engine,
    client: MessengerClient,
    keyring: Keyring,
    settings: PageSettings,
    campaign_id: int,
    chunk: int,
    *,
    limits: SendLimits | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ChunkResult:
    """Send to everyone who waits in a chunk.

    Args:
        engine: the project's database; it should pool at least three connections.
        client: speaks for the page.
        keyring: opens tokens.
        settings: the page's pace and batch size.
        campaign_id: ``otn.campaign.id``.
        chunk: number of the chunk.
        limits: bounds of this sender.
        on_progress: told how many rows were recorded, slice by slice.

    Raises:
        ConfigurationError: a token cannot be decrypted; its row waits again.
        EpochFileError: nothing may be sent from here; whoever was claimed waits again.
        DatabaseError: the database stayed away; rows in calls become unknown when their lease ends.
    """
    return run_sender(
        engine,
        client,
        keyring,
        settings,
        campaign_id,
        WaitingChunk(campaign_id, chunk),
        limits=limits,
        on_progress=on_progress,
    )


def run_sender(
    engine: Engine,
    client: MessengerClient,
    keyring: Keyring,
    settings: PageSettings,
    campaign_id: int,
    source: Source,
    *,
    limits: SendLimits | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ChunkResult:
    """The loop itself, for any source of rows; arguments as in ``send_chunk``."""
    with transaction(engine) as connection:
        queries("campaign").reenter(connection, campaign_id=campaign_id)
        row = lock(connection, campaign_id)
    sender = _Sender(
        engine=engine,
        client=client,
        keyring=keyring,
        campaign_id=campaign_id,
        source=source,
        template=compile_message(row.message),
        pace=Pace.of(engine, row.page_id, settings, media=is_played(row.message)),
        most_per_call=settings.batch_size,
        limits=limits or SendLimits(),
        on_progress=on_progress or (lambda _: None),
    )
    return sender.run()


@dataclass
class _Sender:
    engine: Engine
    client: MessengerClient
    keyring: Keyring
    campaign_id: int
    source: Source
    template: MessageTemplate
    pace: Pace
    most_per_call: int | None
    limits: SendLimits
    on_progress: Callable[[int], None]
    name: str = field(default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}")
    states: dict[str, int] = field(default_factory=dict)
    unreachable: int = 0  # slices in a row of which no call reached the platform
    undecryptable: bool = False
    barred: OtnError | None = None
    nobody_left: bool = False
    quota: Quota | None = None

    def run(self) -> ChunkResult:
        deadline = time.monotonic() + self.limits.run_s
        with ThreadPoolExecutor(self.limits.threads, "call") as calls, ThreadPoolExecutor(1, "record") as recorder:
            recording: list[Future[None]] = []
            while time.monotonic() < deadline and not self.undecryptable and not self.barred:
                current = self._next_slice(calls)
                if current is not None:
                    recording.append(recorder.submit(self._record, current))
                # One slice may be in its calls while the one before it is recorded: more would only be in doubt.
                while recording and (current is None or len(recording) >= SLICES_IN_FLIGHT):
                    recording.pop(0).result()
                if current is None and not self._wait_for_rows(deadline):
                    break
            for one in recording:
                one.result()
        if isinstance(self.barred, SendingHaltedError):
            self._halt(self.barred)
        elif self.barred:
            raise self.barred
        if self.undecryptable:
            raise ConfigurationError(
                "A token cannot be decrypted. Put the key that it was written with back into OTN_ENCRYPTION_KEYS."
            )
        state = get(self.engine, self.campaign_id).state
        return ChunkResult(self.states, self.nobody_left, state.value, self.quota)

    # ── claiming

    def _next_slice(self, calls: ThreadPoolExecutor) -> _Slice | None:
        """Take permits, wait until they hold, claim what they cover, hand out the calls; None: nothing to claim."""
        with transaction(self.engine) as connection:
            if not self.source.is_due(connection):
                return None
        outlook = self.pace.outlook()
        if outlook.ahead_s > MOST_AHEAD_S:
            return None
        size = self.pace.batch_size(self.most_per_call)
        most = outlook.at_most(self._slice_rows(size))
        permit = self.pace.take(most)
        unused = permit.messages
        try:
            _sleep_until(permit.start)
            claims = ledger.claim(self.engine, self.source, most=most, lease_s=self.limits.lease_s, sender=self.name)
            unused -= len(claims.rows)
        except SendingHaltedError as error:
            self._halt(error)
            return None
        finally:
            self.pace.give_back(unused)
        self._count({self.source.passed_over_as: claims.passed_over} if claims.passed_over else {})
        if not claims.rows:
            return _Slice(claims) if claims.passed_over else None
        return self._hand_out(claims, size, permit.start, calls)

    def _halt(self, error: SendingHaltedError) -> None:
        with transaction(self.engine) as connection:
            halt(connection, lock(connection, self.campaign_id), str(error))

    def _slice_rows(self, size: int) -> int:
        if self.pace.shared_rate is None:
            return self.limits.slice_rows
        rows = min(self.limits.slice_rows, int(self.pace.shared_rate * self.limits.slice_s))
        return max(size, rows // size * size)

    def _hand_out(self, claims: Claims, size: int, start: float, calls: ThreadPoolExecutor) -> _Slice:
        current = _Slice(claims)
        try:
            claims.turn.keep()
        except (SendingHaltedError, EpochFileError) as error:  # the rows first: they wait again
            current.stop.set()
            self.barred = error
        rate = self.pace.shared_rate
        for first in range(0, len(claims.rows), size):
            slot = start + first / rate if rate else None
            current.calls.append(calls.submit(self._call, current, claims.rows[first : first + size], slot))
        return current

    def _wait_for_rows(self, deadline: float) -> bool:
        """Wait for rows that may be called later; False: nobody is left, or the campaign was stopped."""
        with transaction(self.engine) as connection:
            wait_s = self.source.next_due_s(connection)
            if wait_s is None:
                self.nobody_left = True
                return False
            campaign = queries("campaign").find_campaign(connection, campaign_id=self.campaign_id)
            if campaign.page_halted_at is not None:
                halt(connection, lock(connection, self.campaign_id), campaign.page_halt_reason)
            quota = read_quota(connection, campaign.page_id)
        if campaign.state != CampaignState.SENDING or campaign.page_halted_at is not None:
            return False
        ahead_s = self.pace.ahead_s()
        if ahead_s > LONG_S and waits_for_quota(quota):
            self.quota = quota  # hours, perhaps: another may have this worker meanwhile
            return False
        wait_s = max(wait_s, ahead_s - MOST_AHEAD_S)
        left = deadline - time.monotonic()
        time.sleep(max(0.05, min(wait_s, left, STEP_S)))
        return True

    # ── calling (in threads)

    def _call(self, current: _Slice, rows: Sequence[Claimed], slot: float | None) -> list[Answer]:
        ready, settled = self._render(rows)
        try:
            allowed = self._may_call(current, len(ready), slot)
            held = self._holding_lease(current, [row for row, _ in ready]) if allowed else set()
        except DatabaseError:  # no permit and no lease without it: proven without effect
            log.warning("the database is away; %d people are not called now", len(ready))
            held = set()
        settled += [
            answers.not_called(row.subscriber_id, row.attempt_id, "not_called")
            for row, _ in ready
            if row.subscriber_id not in held
        ]
        ready = [(row, request) for row, request in ready if row.subscriber_id in held]
        if not ready:
            return settled
        results = self._send([request for _, request in ready])
        for (row, _), result in zip(ready, results, strict=True):
            self._heed(current, result, result.outcome_after(row.attempts))
        return settled + answers.once_per_call(
            [
                answers.from_result(row.subscriber_id, row.attempt_id, result, attempts=row.attempts)
                for (row, _), result in zip(ready, results, strict=True)
            ]
        )

    def _render(self, rows: Sequence[Claimed]) -> tuple[list[tuple[Claimed, SendRequest]], list[Answer]]:
        ready: list[tuple[Claimed, SendRequest]] = []
        settled: list[Answer] = []
        for row in rows:
            try:
                token = self.keyring.decrypt(row.token_encrypted, "token").decode()
                message = {**self.template.render(row.variables), "metadata": row.attempt_id}
            except RenderError as error:
                settled.append(answers.not_called(row.subscriber_id, row.attempt_id, error.reason, skip=True))
            except DecryptionError:
                self.undecryptable = True
                settled.append(answers.not_called(row.subscriber_id, row.attempt_id, "token_undecryptable"))
            else:
                ready.append((row, SendRequest(recipient={"one_time_notif_token": token}, message=message)))
        return ready, settled

    def _may_call(self, current: _Slice, messages: int, slot: float | None) -> bool:
        """Wait for the call's place in the schedule; a place that was missed is given up for a new one."""
        rate = self.pace.shared_rate
        if slot is not None and rate is not None and messages:
            if time.monotonic() > slot + messages / rate:
                slot = self.pace.take(messages).start
            if slot - time.monotonic() > self.limits.call_s:
                return False  # the platform wants silence: the rows wait in the table instead of here
            current.stop.wait(max(0.0, slot - time.monotonic()))
        return bool(messages) and not current.stop.is_set()

    def _holding_lease(self, current: _Slice, rows: Sequence[Claimed]) -> set[int]:
        if current.claims.lease_end - time.monotonic() >= self.limits.call_s:
            return {row.subscriber_id for row in rows}
        return ledger.renew(self.engine, self.campaign_id, rows, self.limits.lease_s)

    def _send(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        if len(requests) == 1:
            return [self.client.send(requests[0])]
        return self.client.send_batch(list(requests))

    def _heed(self, current: _Slice, result: SendResult, outcome: Outcome) -> None:
        """What one answer means for the calls that have not started yet."""
        if outcome is Outcome.PAGE_HALTED:
            meaning = (result.verdict.meaning if result.verdict else "the page was refused").rstrip(".")
            code = result.error.code if result.error else None
            current.page_reason = (
                f"Messenger refused the page ({code}): {meaning}. Mend the page's connection or permission, "
                "then trigger the campaign again."
            )
            current.stop.set()
        elif outcome is Outcome.THROTTLED:
            current.hold_back_s = max(current.hold_back_s, result.wait_s or DEFAULT_THROTTLE_S)
            current.stop.set()

    # ── recording (one thread)

    def _record(self, current: _Slice) -> None:
        slice_answers = [answer for call in current.calls for answer in call.result()]
        if slice_answers:  # first of all: a database that is away takes them later, and what failed before loses none
            recorded = ledger.record(
                self.engine, self.campaign_id, slice_answers, sender=self.name, page_reason=current.page_reason
            )
            self._count(recorded.states)
            self.pace.give_back(sum(not answer.called for answer in slice_answers))
            self._brake(slice_answers)
        if current.hold_back_s:
            log.warning("the platform throttles; the page keeps silent for %.0f s", current.hold_back_s)
            self.pace.hold_back(current.hold_back_s)
        self.on_progress(len(slice_answers) + current.claims.passed_over)

    def _brake(self, slice_answers: Sequence[Answer]) -> None:
        """When nothing reaches the platform, slices must not race through the campaign in vain."""
        called = [answer for answer in slice_answers if answer.called]
        in_vain = bool(called) and all(answer.outcome == "returned" for answer in called)
        self.unreachable = self.unreachable + 1 if in_vain else 0
        if self.unreachable > 1:
            self.pace.hold_back(min(2.0**self.unreachable, 30.0))

    def _count(self, states: dict[str, int]) -> None:
        for state, rows in states.items():
            self.states[state] = self.states.get(state, 0) + rows


def _sleep_until(moment: float) -> None:
    wait = moment - time.monotonic()
    if wait > 0:
        time.sleep(wait)
