"""The tasks of ``otn_broadcast`` up to the plan: checked, opened, waited for, planned, tried on a few."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from otn.orchestration.ingesting import apply_journals
from otn.orchestration.params import BroadcastRequest
from otn.orchestration.retrying import come_back
from otn.orchestration.runs import actor, current, note, stop_run
from otn.orchestration.sending import SEND_POOL, moved, yield_or_give_up

if TYPE_CHECKING:
    from otn.campaign.control import Campaign
    from otn.campaign.send import ChunkResult
    from otn.consent.pages import Page
    from otn.consent.topics import Topic
    from otn.database import Engine
    from otn.orchestration.bench import Bench

log = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(minutes=10)  # send_at may be moved, and the campaign cancelled, while a run waits


@task
def validate() -> int:
    """Check the params against what there is; open the campaign, or take it up where it stands.

    Returns:
        ``otn.campaign.id``. A dry run, and a campaign with nothing to send, end here, well.
    """
    context = current()
    return go_on(context, open_by(context, BroadcastRequest.from_context(context)))


def open_by(context: Any, request: BroadcastRequest, *, of_schedule: bool = False) -> Campaign:
    """Check a request against what there is; open its campaign, or take it up where it stands.

    Args:
        context: of the task.
        request: what somebody typed, or what a campaign file says about one interval.
        of_schedule: it comes from a file. Its moment may have passed (``if_late`` decides), and what was opened
            earlier keeps the content that it was opened with.
    """
    from otn.orchestration.hook import MessengerHook, make_engine

    hook = MessengerHook(request.page)
    engine = make_engine()
    page, topic = _page_and_topic(engine, request)
    _check(request, hook, page)
    if not of_schedule:
        _refuse_past(engine, request, context, page)
    unanswered = _warn_of_buttons(engine, request, page)
    if request.dry_run:
        _dry_run(engine, request, context, topic, unanswered)
    campaign = _open(engine, request, context, page, topic, keep_content=of_schedule)
    note(engine, campaign.id, context)
    return campaign


def go_on(context: Any, campaign: Campaign) -> int:
    """Id of the campaign for the tasks after this one; with nothing to send the run ends here, well."""
    if campaign.nothing_to_send:
        stop_run(context, f"The campaign {campaign.key!r} is finished and nobody is in doubt: nothing to send.")
    log.info("campaign %s is %s", campaign.id, campaign.state)
    return campaign.id


def _page_and_topic(engine: Engine, request: BroadcastRequest) -> tuple[Page, Topic]:
    from otn.consent import pages, topics
    from otn.database import transaction

    with transaction(engine) as connection:
        page = pages.find(connection, request.page)
        return page, topics.find(connection, page, request.topic)


def _check(request: BroadcastRequest, hook: Any, page: Page) -> None:
    """Everything that would go wrong later, now, while nothing is written."""
    from otn.orchestration.bench import refuse_other_page
    from otn.rendering import compile_message

    refuse_other_page(hook.settings, page.page_id)
    _ = hook.client
    compile_message(request.spec.message)


def _refuse_past(engine: Engine, request: BroadcastRequest, context: Any, page: Page) -> None:
    from otn.campaign.control import find
    from otn.campaign.state import CampaignUnknownError

    known = True
    try:
        find(engine, page.connection_id, request.spec.key)
    except CampaignUnknownError:
        known = False
    if not known:
        request.refuse_past(context["dag_run"].run_after)


def _open(
    engine: Engine, request: BroadcastRequest, context: Any, page: Page, topic: Topic, *, keep_content: bool
) -> Campaign:
    from otn.campaign.control import open_campaign

    return open_campaign(
        engine,
        request.spec,
        page_row_id=page.id,
        facebook_page_id=page.page_id,
        topic_row_id=topic.id,
        topic_key=topic.key,
        actor=actor(context),
        keep_content=keep_content,
    )


def _warn_of_buttons(engine: Engine, request: BroadcastRequest, page: Page) -> list[str]:
    from otn.orchestration.preview import unanswered_buttons

    unanswered = unanswered_buttons(engine, page.id, request.spec.message)
    for payload in unanswered:
        log.warning("No rule answers the button with the payload %r. Add one by `./otn rules add`.", payload)
    return unanswered


def _dry_run(engine: Engine, request: BroadcastRequest, context: Any, topic: Topic, unanswered: list[str]) -> None:
    from otn.campaign.audience import count, unspent
    from otn.orchestration.preview import Preview
    from otn.rendering import compile_message

    spec = request.spec
    preview = Preview(
        campaign=spec.key,
        page=request.page,
        topic=topic.key,
        message=compile_message(spec.message).sample(),
        audience=count(
            engine,
            topic_id=topic.id,
            include_labels=spec.include_labels,
            exclude_labels=spec.exclude_labels,
            max_recipients=spec.max_recipients,
            chosen_by=spec.filter,
        ),
        include_labels=spec.include_labels,
        exclude_labels=spec.exclude_labels,
        max_recipients=spec.max_recipients,
        send_at=spec.send_at,
        filter=spec.filter,
        result_labels=spec.result_labels,
        unanswered=unanswered,
        title=topic.title,
        unspent=unspent(engine, topic.id),
    )
    context["ti"].xcom_push(key="preview", value=preview.counts())
    for line in preview.markdown().splitlines():
        log.info("%s", line)
    stop_run(context, "Dry run: nothing was written and nothing is sent. The figures stand in the XCom 'preview'.")


@task
def wait_for_send_at(campaign_id: int) -> None:
    """Let the run rest until ``send_at``; it holds no slot meanwhile."""
    rest_until_send_at(campaign_id)


def rest_until_send_at(campaign_id: int) -> None:
    """Come back until the moment has come; a campaign that was cancelled ends its run here."""
    from otn.campaign.model import CampaignState
    from otn.database import queries, transaction
    from otn.orchestration.hook import make_engine

    with transaction(make_engine()) as connection:
        row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
    if row.state == CampaignState.CANCELLED:
        stop_run(current(), "The campaign was cancelled: nothing is sent.")
    # The database's clock decides; Airflow's only counts how long to rest.
    left = row.send_at - row.now if row.send_at and row.planned_at is None else timedelta()
    if left > timedelta():
        log.info("campaign %s starts in %s", campaign_id, left)
        come_back(datetime.now(UTC) + min(left, LOOK_AGAIN))


@task
def plan(campaign_id: int) -> int:
    """Write down who gets it, with which token, and why the others do not; once, whoever asks again.

    Returns:
        ``campaign_id``, for the tasks that need a plan and run even when a sender failed.
    """
    from otn.campaign.plan import plan as write_plan
    from otn.messenger.attachments import is_played
    from otn.orchestration.bench import Bench
    from otn.pace import Pace

    bench = Bench.of_campaign(campaign_id)
    apply_journals(
        bench.engine, bench.keyring
    )  # whoever left or asked for silence is not planned, whatever backup this database came from
    pace = Pace.of(bench.engine, bench.campaign.page_id, bench.settings, media=is_played(bench.campaign.message))
    written = write_plan(bench.engine, campaign_id, messages_per_second=pace.shared_rate)
    log.info("%s people planned, %s left out, %s chunks", written.planned, written.excluded, written.chunks)
    return campaign_id


@task(pool=SEND_POOL)
def canary(campaign_id: int) -> list[int]:
    """Send to the first few and look at the answers; then name the chunks that the others are in.

    Returns:
        Numbers of the chunks with somebody waiting. Never an empty list, which would skip the tasks after it: where
        nobody waits, or the campaign was stopped, it is the canary's own chunk, in which there is nothing left to do.
    """
    from otn.campaign.model import CampaignState
    from otn.campaign.plan import waiting_chunks
    from otn.campaign.send import send_chunk
    from otn.orchestration.bench import Bench

    bench = Bench.of_campaign(campaign_id)
    result = send_chunk(bench.engine, bench.client, bench.keyring, bench.settings, campaign_id, 0)
    if not result.done:
        yield_or_give_up(current(), result.state, moved=moved(result.states), quota=result.quota)
    if result.state != CampaignState.SENDING or _halt_on_bad_canary(bench, campaign_id, result):
        log.warning("The campaign was stopped; nobody after the canary gets it in this run.")
        return [0]
    return waiting_chunks(bench.engine, campaign_id) or [0]


def _halt_on_bad_canary(bench: Bench, campaign_id: int, result: ChunkResult) -> bool:
    """A canary is judged by a few answers, where the stop rules of a whole campaign wait for hundreds."""
    from otn.campaign.control import halt
    from otn.campaign.state import lock
    from otn.database import transaction

    answered = result.sent + result.refused + result.unknown
    if result.refused > float(bench.campaign.max_refused) * answered:
        fault = f"{result.refused} of {answered} people in the canary were refused, more than max_refused allows"
    elif result.unknown * 2 > answered:
        fault = f"{result.unknown} of {answered} calls of the canary came back without a clear answer"
    else:
        return False
    with transaction(bench.engine) as connection:
        reason = f"{fault}. Look at the report, then trigger the campaign again to go on."
        halt(connection, lock(connection, campaign_id), reason)
    return True
