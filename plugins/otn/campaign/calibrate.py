"""Calibration: a person's token is spent, then asked about again, to learn what the platform says for dead tokens.

The one token goes the way of every other: a campaign of its own with one recipient, so that nothing else can spend it.
What is asked afterwards are calls that the platform should refuse; each is made once and never repeated by itself.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from otn.campaign import control, dead_tokens, token_rules
from otn.campaign.dead_tokens import Question
from otn.campaign.model import CampaignSpec, CampaignState
from otn.campaign.send import SendLimits, send_chunk
from otn.campaign.state import audit, lock, move
from otn.consent.pages import Page
from otn.consent.topics import Topic
from otn.crypto import DecryptionError, Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.epoch import guard
from otn.errors import UsageError
from otn.messenger.client import MessengerClient, SendRequest, SendResult
from otn.messenger.errors import Outcome, TokenFate
from otn.pace import Pace
from otn.settings import PageSettings

log = logging.getLogger(__name__)

TEXT = (
    "This is a test message to the staff of this page. It uses up one consent to be notified. "
    "If you get a second message after it, please tell whoever runs the notifications."
)
AGAIN = "This test message should not have reached you. Please tell whoever runs the notifications of this page."
CHUNK = 1
MOST_AHEAD_S = 30.0  # so long is waited for the page's pace before a question
LIMITS = SendLimits(run_s=60.0)


class NotCalibratedError(UsageError):
    """The calibration cannot be made now."""


@dataclass(frozen=True)
class Prospect:
    """What a calibration would do.

    Args:
        person: ``otn.subscriber.id``.
        spends: a token is spent; False: the one that an earlier calibration spent is asked about again.
        topic: key of the topic whose consent that is.
        topic_id: ``otn.topic.id``, where a token is to be spent.
        token_id: ``otn.token.id``, likewise.
        campaign_id: of the earlier calibration that is taken up; None: there is none.
    """

    person: int
    spends: bool
    topic: str
    topic_id: int | None = None
    token_id: int | None = None
    campaign_id: int | None = None


@dataclass(frozen=True)
class Calibration:
    """What came of it.

    Args:
        campaign: key of the campaign that spent the token.
        learned: the answers were told apart and are kept; clients go by them from now on.
        sentence: what that means, and what to do.
        answers: kind of dead token to what the platform said, as ``code/subcode`` and text.
    """

    campaign: str
    learned: bool
    sentence: str
    answers: Mapping[str, str] = field(default_factory=dict)


def look(engine: Engine, page: Page, psid: str, topic: Topic | None = None) -> Prospect:
    """What a calibration with this person would do; writes nothing.

    Args:
        engine: the project's database.
        page: whose platform is asked.
        psid: of a person who agreed to it.
        topic: whose consent is spent; None: whichever ends first.

    Raises:
        NotCalibratedError: the person is not known, holds no token that may be spent, or an earlier one is in doubt.
    """
    with transaction(engine) as connection:
        return _look(connection, page, psid, topic)


def _look(connection: PsycopgConnection, page: Page, psid: str, topic: Topic | None) -> Prospect:
    if page.halted:
        raise NotCalibratedError(
            f"Nothing is sent for the page {page.connection_id!r}: {(page.halt_reason or '').rstrip('.')}. "
            f"Run `./otn pages resume {page.connection_id}` when it may send again."
        )
    row = queries("calibration").person(connection, page_id=page.id, psid=psid)
    if row is None:
        raise NotCalibratedError("There is no such person on this page. They must write to it or opt in first.")
    earlier = queries("calibration").earlier(connection, page_id=page.id, person=row.id)
    if earlier is not None:
        return _taken_up(row.id, earlier)
    found = queries("calibration").spendable(
        connection, page_id=page.id, person=row.id, topic_id=topic.id if topic else None
    )
    if found is None:
        of = f" of the topic {topic.key!r}" if topic else ""
        raise NotCalibratedError(
            f"The person holds no consent{of} that may be spent. Let them tap Notify Me, or name somebody else."
        )
    return Prospect(row.id, spends=True, topic=found.topic_key, topic_id=found.topic_id, token_id=found.token_id)


def _taken_up(person: int, earlier: Any) -> Prospect:
    if earlier.state in {"sending", "unknown"}:
        raise NotCalibratedError(
            f"Nobody knows whether the message of {earlier.key!r} was sent. An echo may settle it: run this again in "
            "a few minutes, or name somebody else."
        )
    return Prospect(person, spends=earlier.state == "waiting", topic=earlier.topic_key, campaign_id=earlier.campaign_id)


@dataclass(frozen=True)
class Bench:
    """What a calibration works with.

    Args:
        engine: the project's database; it should pool at least three connections.
        client: speaks for the page.
        keyring: opens tokens.
        settings: the page's pace, and the version of its API.
        page: whose platform is asked.
    """

    engine: Engine
    client: MessengerClient
    keyring: Keyring
    settings: PageSettings
    page: Page


def calibrate(
    bench: Bench,
    psid: str,
    *,
    actor: str,
    topic: Topic | None = None,
    limits: SendLimits = LIMITS,
    stage: Callable[[str], None] = log.info,
) -> Calibration:
    """Spend the token, ask about it and about others, keep what can be told apart.

    Args:
        bench: what it works with.
        psid: of a person who agreed to it.
        actor: who, for the audit.
        topic: whose consent is spent; None: whichever ends first.
        limits: bounds of the sender.
        stage: told what happens next.

    Raises:
        NotCalibratedError: as ``look`` has it.
        SendingHaltedError: the database may have been restored.
    """
    guard.check(bench.engine)
    campaign_id, person = _planned(bench, psid, topic, actor)
    key = control.get(bench.engine, campaign_id).key
    stage("spending a token, unless that was done before")
    state = _sent(bench, campaign_id, actor, limits)
    if state != "sent":
        return Calibration(key, learned=False, sentence=_NOT_SENT[state])
    questions = []
    for fate, token in _tokens(bench, campaign_id, person):
        stage(f"asking about a token that is {fate.value}")
        questions.append(Question(fate, _ask(bench, token)))
        if not questions[-1].clear:
            break
    rules, sentence = dead_tokens.judge(questions)
    answers = {question.fate.value: question.told for question in questions}
    with transaction(bench.engine) as connection:
        row = lock(connection, campaign_id)
        audit(connection, actor, "calibrated" if rules else "not calibrated", row, {"answers": answers})
        if rules:
            token_rules.keep(connection, bench.page.id, bench.settings.api_version, rules, campaign_id)
    return Calibration(key, learned=bool(rules), sentence=sentence, answers=answers)


_NOT_SENT = {
    "waiting": "The platform took no message now. Nothing was spent and nothing learnt: run this again later.",
    "refused": "The platform refused the message and nothing was learnt. Look at the campaign's report.",
    "unknown": "Nobody knows whether the message was sent. An echo may settle it: run this again later.",
    "skipped": "The person must not be written to any more. Nothing was spent and nothing learnt: name somebody else.",
    "sending": "Another process has the message in its call. Run this again in a few minutes.",
    "cancelled": "The campaign was cancelled meanwhile. Nothing was spent and nothing learnt.",
}


def _planned(bench: Bench, psid: str, topic: Topic | None, actor: str) -> tuple[int, int]:
    """The campaign with its one recipient, written down in one transaction: nobody else can ever be planned in it."""
    with transaction(bench.engine) as connection:
        queries("campaign").lock_planning(connection, page_id=bench.page.id)
        prospect = _look(connection, bench.page, psid, topic)
        if prospect.campaign_id is not None:
            return prospect.campaign_id, prospect.person
        campaign_id = _opened(connection, bench, prospect, actor)
        queries("calibration").plan_person(
            connection, campaign_id=campaign_id, person=prospect.person, token_id=prospect.token_id
        )
        queries("campaign").mark_planned(connection, campaign_id=campaign_id, chunks=CHUNK)
        return campaign_id, prospect.person


def _opened(connection: PsycopgConnection, bench: Bench, prospect: Prospect, actor: str) -> int:
    key = f"calibration/{queries('calibration').moment(connection)}"
    spec = CampaignSpec(key=key, message={"text": TEXT}, max_recipients=1, approval=False)
    queries("campaign").open_campaign(
        connection,
        page_id=bench.page.id,
        topic_id=prospect.topic_id,
        key=key,
        message=json.dumps(spec.message),
        include_labels=[],
        exclude_labels=[],
        max_recipients=spec.max_recipients,
        filter="{}",
        result_labels="{}",
        canary=spec.canary,
        canary_labels=[],
        max_refused=spec.max_refused,
        send_at=None,
        if_late=spec.if_late.value,
        late_after_s=spec.late_after.total_seconds(),
        content_hash=spec.content_hash(bench.settings.page_id, prospect.topic),
        needs_approval=False,
        actor=actor,
    )
    row = queries("campaign").lock_campaign_by_key(connection, page_id=bench.page.id, key=key)
    if row.state != CampaignState.DRAFT:
        raise NotCalibratedError("Another calibration of this page began in the same second. Run this again.")
    move(connection, row.id, CampaignState.SCHEDULED)
    audit(connection, actor, "opened", row, {"calibration": True})
    return int(row.id)


def _sent(bench: Bench, campaign_id: int, actor: str, limits: SendLimits) -> str:
    """State of the one recipient, after it was called unless it had been."""
    if _state(bench, campaign_id) == "waiting":
        if control.get(bench.engine, campaign_id).state in control.RESUMABLE:
            control.resume(bench.engine, campaign_id, actor=actor)
        send_chunk(bench.engine, bench.client, bench.keyring, bench.settings, campaign_id, CHUNK, limits=limits)
        control.end_run(bench.engine, campaign_id)
    return _state(bench, campaign_id)


def _state(bench: Bench, campaign_id: int) -> str:
    with transaction(bench.engine) as connection:
        return str(queries("calibration").recipient(connection, campaign_id=campaign_id).state)


def _tokens(bench: Bench, campaign_id: int, person: int) -> list[tuple[TokenFate, str]]:
    with transaction(bench.engine) as connection:
        sealed = queries("calibration").recipient(connection, campaign_id=campaign_id).token_encrypted
        expired = queries("calibration").expired_token(connection, person=person)
    if sealed is None:
        raise NotCalibratedError("The text of the spent token was wiped meanwhile. Name somebody else.")
    used = bench.keyring.decrypt(sealed, "token").decode()
    tokens = [(TokenFate.USED, used), (TokenFate.INVALID, dead_tokens.garbled(used))]
    if expired is not None:
        with suppress(DecryptionError):  # of a key that is gone; the other two say what matters
            tokens.append((TokenFate.EXPIRED, bench.keyring.decrypt(expired, "token").decode()))
    return tokens


def _ask(bench: Bench, token: str) -> SendResult:
    """One call, at the page's pace; it is never repeated."""
    pace = Pace.of(bench.engine, bench.page.id, bench.settings)
    if pace.ahead_s() > MOST_AHEAD_S:
        return SendResult(Outcome.THROTTLED, reason="pace")
    time.sleep(max(0.0, pace.take(1).start - time.monotonic()))
    message = {"text": AGAIN, "metadata": str(uuid.uuid4())}
    result = bench.client.send(SendRequest({"one_time_notif_token": token}, message))
    if result.outcome is Outcome.THROTTLED and result.wait_s:
        pace.hold_back(result.wait_s)
    return result
