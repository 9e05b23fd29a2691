"""The tasks of ``otn_deliver``: results to other systems, news of campaigns to people."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from functools import partial

from airflow.sdk import task

from otn.orchestration.runs import current

log = logging.getLogger(__name__)

HANGING = timedelta(minutes=5)
BUDGET_S = 40.0  # the next run waits for this one
PACKING = 0.5  # of that time: a long backlog leaves some to deliver what is packed
CALL_S = 20.0  # the last call may begin when the time is nearly up
AT_ONCE = 5  # endpoints; each needs a connection for a moment


@task(execution_timeout=HANGING)
def deliver() -> dict[str, int]:
    """Pack what became of people and campaigns, and take it to the endpoints that want it.

    An endpoint that fails does not turn this red: it is tried again, and ``otn_watch`` tells when it fails for long. A
    database that was restored or cloned delivers nothing, as it sends nothing.

    Returns:
        Outcomes packed; events delivered; endpoints that failed, and that did not come to their turn.
    """
    from otn.database import transaction
    from otn.epoch import guard
    from otn.orchestration.hook import make_engine, read_keyring
    from otn.outgoing import delivering, packing
    from otn.outgoing.address import may_be_private
    from otn.watch.patience import within

    engine, keyring, private = make_engine(), read_keyring(), may_be_private()
    with transaction(engine) as connection:
        halted = guard.state(connection).halted
    if halted:
        log.warning("nothing is delivered: %s %s", halted, guard.WAY_OUT)
        return dict.fromkeys(("outcomes", "events", "failed", "unfinished"), 0)
    began = time.monotonic()
    packed = packing.pack(engine, over=lambda: time.monotonic() - began > PACKING * BUDGET_S)
    missed = packing.forget(engine)
    if missed:
        log.warning("%s events were forgotten after %s days before they were taken", missed, packing.KEEP_DAYS)
    over = partial(_is_over, began + BUDGET_S)
    work = partial(delivering.deliver, engine, keyring, private=private, over=over)
    futures = within(BUDGET_S + CALL_S, work, delivering.due(engine), at_once=AT_ONCE)
    done = [one for future in futures if future.done() and (one := future.result()) is not None]
    for one in done:
        if one.error:
            outlook = "it was given up on" if one.disabled else "it is tried again"
            log.warning("the endpoint %s failed (%s); %s", one.endpoint, one.error, outlook)
        else:
            log.info("%s events went to %s", one.events, one.endpoint)
    return {
        "outcomes": packed.outcomes,
        "events": sum(one.events for one in done),
        "failed": sum(one.error is not None for one in done),
        "unfinished": sum(not future.done() for future in futures),
    }


def _is_over(end: float) -> bool:
    return time.monotonic() > end


@task(execution_timeout=HANGING)
def tell_campaigns() -> int:
    """Tell people of campaigns that ended or wait for a yes. Where that fails, ``otn_watch`` tries it too, and is red.

    Returns:
        Campaigns that they were told of.
    """
    from otn.orchestration.hook import make_engine
    from otn.orchestration.linking import campaign_link
    from otn.orchestration.notifying import NotToldError, read_notifier
    from otn.watch import notices

    engine = make_engine()
    if not notices.waiting(engine):
        return 0
    notify = read_notifier(current())
    if notify is None:
        log.info("there is news of campaigns, and nobody is defined to be told")
        return 0
    try:
        return notices.tell(engine, notify, campaign_link)
    except NotToldError as error:
        log.warning("%s", error)
        return 0
