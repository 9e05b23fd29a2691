"""The tasks of ``otn_ask``: people are chosen and written down, cards and answers sent, the result told."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from otn.orchestration.ask_params import AskRequest
from otn.orchestration.ingesting import apply_journals
from otn.orchestration.retrying import come_back
from otn.orchestration.runs import actor, current, stop_run
from otn.orchestration.sending import HANGING, SEND_POOL, RunNeedsPersonError, progress

if TYPE_CHECKING:
    from otn.consent.pages import Page
    from otn.consent.topics import Topic
    from otn.database import Engine
    from otn.orchestration.hook import MessengerHook

log = logging.getLogger(__name__)

SWEEP = 0  # what a run without a topic has instead of an ask
SOON_S, LATER_S = 5.0, 300.0
PROFILE_CALLS = 50
SWEEP_S, LEAST_S = 480.0, 5.0  # of all pages together: a page with much to send must not keep the next ones waiting


@task
def ask() -> int:
    """Check the params, look at the gates, write down who is asked.

    Returns:
        ``otn.ask.id``; 0 where nobody is to be asked. A dry run ends here, well.
    """
    from otn.asking.ask import open_ask
    from otn.orchestration.hook import make_engine, read_keyring

    context = current()
    request = AskRequest.from_context(context)
    if request.topic is None:
        return SWEEP
    engine = make_engine()
    apply_journals(
        engine, read_keyring()
    )  # nor is asked who left or wants silence, whatever backup this database came from
    page, topic, hook = _page_and_topic(engine, request)
    gated = _pass_gates(request, hook)
    spec = request.spec(context["dag_run"].run_id, gated)
    if request.dry_run:
        _dry_run(engine, context, spec, page, topic)
    opened = open_ask(engine, spec, page, topic, actor=actor(context))
    log.info("%s people are asked%s; left out: %s", opened.asked, " (resumed)" * opened.resumed, opened.excluded)
    return opened.id


@task(pool=SEND_POOL, execution_timeout=HANGING)
def send(ask_id: int) -> dict[str, int]:
    """Send what waits: of an ask's page, or of every page, where profiles are fetched too.

    Returns:
        Messages by the state that they went to, in the last pass.
    """
    from otn.orchestration.hook import make_engine

    engine = make_engine()
    if not ask_id:
        return _sweep(engine, AskRequest.from_context(current()).page)
    page = _page_of(engine, ask_id)
    states = _send(engine, page)
    _return_for_the_rest(engine, ask_id, page)
    return states


@task
def report(ask_id: int) -> dict[str, Any]:
    """Tell what became of it; red when messages wait on a page that may not send.

    Calls without a clear end stay *unknown* and are not made again: nobody could do anything, so they are no alarm.

    Raises:
        RunNeedsPersonError: says what happened and what to do.
    """
    from otn.asking.ask import report as read_report
    from otn.database import queries, transaction
    from otn.orchestration.hook import make_engine

    engine = make_engine()
    figures = read_report(engine, ask_id) if ask_id else {}
    for line in json.dumps(figures, indent=2, default=str).splitlines():
        log.info("%s", line)
    only = _page_of(engine, ask_id).id if ask_id else _named_page(engine, AskRequest.from_context(current()).page)
    with transaction(engine) as connection:
        stuck = list(queries("window").stuck(connection, page_id=only))
    figures = dict(json.loads(json.dumps(figures, default=str)))
    if stuck:
        current()["ti"].xcom_push(key="return_value", value=figures)
        raise RunNeedsPersonError(
            "\n".join(
                f"{page.waiting} messages wait on the page {page.connection_id}, which is halted: {page.halt_reason} "
                "They are skipped when their 24 h are over."
                for page in stuck
            )
        )
    return figures


def _page_and_topic(engine: Engine, request: AskRequest) -> tuple[Page, Topic, MessengerHook]:
    from otn.consent import pages, topics
    from otn.database import transaction
    from otn.orchestration.bench import refuse_other_page
    from otn.orchestration.hook import MessengerHook

    with transaction(engine) as connection:
        page = pages.find(connection, request.asking_page)
        topic = topics.find(connection, page, str(request.topic))
    hook = MessengerHook(page.connection_id)
    refuse_other_page(hook.settings, page.page_id)
    return page, topic, hook


def _pass_gates(request: AskRequest, hook: MessengerHook) -> tuple[str, ...]:
    from otn.asking.gates import check_feature, gated_regions

    gated = gated_regions()
    if request.override_reason:
        log.warning("Region and feature are not heeded: %s", request.override_reason)
        return gated
    for warning in check_feature(hook.client):
        log.warning("%s", warning)
    return gated


def _dry_run(engine: Engine, context: Mapping[str, Any], spec: Any, page: Page, topic: Topic) -> None:
    from otn.asking.ask import count_people

    counts = count_people(engine, spec, page, topic)
    context["ti"].xcom_push(key="preview", value=counts)
    log.info("%s people would be asked %r; left out: %s", counts["asked"], topic.title, counts["excluded"])
    stop_run(context, "Dry run: nothing was written and nobody is asked. The figures stand in the XCom 'preview'.")


def _send(engine: Engine, page: Any, run_s: float = SWEEP_S) -> dict[str, int]:
    from otn.asking.sending import send_waiting
    from otn.orchestration.bench import refuse_other_page
    from otn.orchestration.hook import MessengerHook

    hook = MessengerHook(page.connection_id)
    refuse_other_page(hook.settings, page.page_id)
    states = send_waiting(engine, hook.client, hook.settings, page.id, run_s=run_s, on_progress=progress()).states
    log.info("page %s: %s", page.connection_id, states)
    return states


def _return_for_the_rest(engine: Engine, ask_id: int, page: Page) -> None:
    """Come back while people of the ask wait: told to wait by the platform, or this pass had no more time."""
    from otn.database import queries, transaction

    with transaction(engine) as connection:
        left = queries("ask").still_to_send(connection, ask_id=ask_id)
        halted = any(row.id == page.id for row in queries("window").stuck(connection, page_id=page.id))
    if halted or not (left.waiting or left.sending):
        return
    wait_s = min(max(left.wait_s or 0.0, SOON_S), LATER_S)
    log.info("%s people wait, %s are in a call; the next look is in %.0f s", left.waiting, left.sending, wait_s)
    come_back(datetime.now(UTC) + timedelta(seconds=wait_s))


def _sweep(engine: Engine, name: str | None) -> dict[str, int]:
    from otn.consent import pages
    from otn.database import queries, transaction
    from otn.errors import ConfigurationError

    with transaction(engine) as connection:
        found = [pages.find(connection, name)] if name else pages.listing(connection)
        for page in found:
            queries("window").close_windows(connection, page_id=page.id)
    states: dict[str, int] = {}
    deadline = time.monotonic() + SWEEP_S
    for left, page in zip(range(len(found), 0, -1), found, strict=True):
        share_s = max(LEAST_S, (deadline - time.monotonic()) / left)
        try:
            for state, messages in _send(engine, page, share_s).items():
                states[state] = states.get(state, 0) + messages
            if not page.halted:
                _fetch_profiles(engine, page)
        except ConfigurationError as error:  # one page without a connection must not silence the others
            log.warning("page %s: %s", page.connection_id, error)
    return states


def _fetch_profiles(engine: Engine, page: Page) -> None:
    from otn.consent import profiles
    from otn.orchestration.hook import MessengerHook

    hook, known = MessengerHook(page.connection_id), 0
    for _ in range(PROFILE_CALLS):
        figures = profiles.fetch(engine, hook.client, hook.settings, page.id)
        known += figures.known
        if not figures.asked:
            break
    log.info("page %s: %s profiles", page.connection_id, known)


def _page_of(engine: Engine, ask_id: int) -> Page:
    from otn.asking.ask import AskUnknownError
    from otn.consent import pages
    from otn.database import queries, transaction

    with transaction(engine) as connection:
        row = queries("ask").find_ask_page(connection, ask_id=ask_id)
        if row is None:
            raise AskUnknownError(f"There is no ask number {ask_id}. Clear the first task of the run.")
        return pages.find(connection, row.connection_id)


def _named_page(engine: Engine, name: str | None) -> int | None:
    from otn.consent import pages
    from otn.database import transaction

    if name is None:
        return None
    with transaction(engine) as connection:
        return pages.find(connection, name).id
