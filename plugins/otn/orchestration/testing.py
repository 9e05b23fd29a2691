"""The tasks of ``otn_test_message``: a few people are written down, sent to inside their window, the result told."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from otn.orchestration.ingesting import apply_journals
from otn.orchestration.retrying import come_back
from otn.orchestration.runs import actor, current
from otn.orchestration.sending import HANGING, SEND_POOL, RunNeedsPersonError, progress
from otn.orchestration.testing_params import MessageTestRequest

if TYPE_CHECKING:
    from otn.database import Engine

log = logging.getLogger(__name__)

SOON_S, LATER_S = 2.0, 300.0
PASS_S = 60.0


@task
def write() -> int:
    """Check the params and write down who gets the message.

    Returns:
        ``otn.test_message.id``.
    """
    from otn.asking.testing import open_test
    from otn.consent import pages, topics
    from otn.database import transaction
    from otn.orchestration.bench import refuse_other_page
    from otn.orchestration.hook import MessengerHook, make_engine, read_keyring

    context = current()
    request = MessageTestRequest.from_context(context)
    engine = make_engine()
    apply_journals(engine, read_keyring())  # nor gets one who left or wants silence, whatever backup this is
    with transaction(engine) as connection:
        page = pages.find(connection, request.page)
        topic = topics.find(connection, page, request.topic)
    refuse_other_page(MessengerHook(page.connection_id).settings, page.page_id)
    key = context["dag_run"].run_id
    return open_test(engine, key, request.message, request.people, page, topic, actor=actor(context))


@task(pool=SEND_POOL, execution_timeout=HANGING)
def send(test_id: int) -> dict[str, int]:
    """Send what waits of the test; the responder may have been faster.

    Returns:
        Messages of the page by the state that they went to, in the last pass.
    """
    from otn.asking.sending import send_waiting
    from otn.consent import pages
    from otn.database import transaction
    from otn.orchestration.bench import refuse_other_page
    from otn.orchestration.hook import MessengerHook, make_engine

    engine = make_engine()
    with transaction(engine) as connection:
        page = pages.find(connection, _row(engine, test_id).connection_id)
    hook = MessengerHook(page.connection_id)
    refuse_other_page(hook.settings, page.page_id)
    states = send_waiting(
        engine, hook.client, hook.settings, page.id, run_s=PASS_S, asks=False, on_progress=progress()
    ).states
    log.info("page %s: %s", page.connection_id, states)
    _return_for_the_rest(engine, test_id)
    return states


@task
def report(test_id: int) -> dict[str, int]:
    """Tell what became of each, by our numbers; red when somebody waits on a page that may not send.

    Returns:
        People by state.

    Raises:
        RunNeedsPersonError: says what happened and what to do.
    """
    from otn.asking.testing import report as read_report
    from otn.orchestration.hook import make_engine

    engine = make_engine()
    found = read_report(engine, _row(engine, test_id).key)
    people: list[dict[str, Any]] = found["people"] if found else []
    states: dict[str, int] = {}
    for one in people:
        states[one["state"]] = states.get(one["state"], 0) + 1
        log.info("person %s: %s", one["subscriber_id"], json.dumps(one, default=str))
    waiting = states.get("waiting", 0)
    if found and waiting:
        current()["ti"].xcom_push(key="return_value", value=states)
        raise RunNeedsPersonError(
            f"{waiting} test messages wait on the page {found['page']}, which may not send: "
            f"{found['halt_reason'] or 'it was halted a moment ago; clear the task send.'} "
            "They are skipped when their 24 h are over."
        )
    return states


def _row(engine: Engine, test_id: int) -> Any:
    from otn.asking.testing import NoSuchTestError
    from otn.database import queries, transaction

    with transaction(engine) as connection:
        row = queries("testing").find_test(connection, id=test_id, key=None)
    if row is None:
        raise NoSuchTestError(f"There is no test number {test_id}. Clear the first task of the run.")
    return row


def _return_for_the_rest(engine: Engine, test_id: int) -> None:
    """Come back while somebody waits or is in a call of the responder; not while the page is halted."""
    from otn.database import queries, transaction

    with transaction(engine) as connection:
        left = queries("testing").still_to_send(connection, test_id=test_id)
    if not (left.waiting or left.sending) or (_row(engine, test_id).halt_reason and not left.sending):
        return
    wait_s = min(max(left.wait_s or 0.0, SOON_S), LATER_S)
    log.info("%s people wait, %s are in a call; the next look is in %.0f s", left.waiting, left.sending, wait_s)
    come_back(datetime.now(UTC) + timedelta(seconds=wait_s))
