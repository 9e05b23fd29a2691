"""The tasks of ``otn_watch``: look, tell, carry out deletions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from otn.orchestration.runs import current
from otn.settings import campaigns_folder

if TYPE_CHECKING:
    from otn.watch.abandoned import Run

log = logging.getLogger(__name__)

HANGING = timedelta(minutes=10)
SENDING_DAGS = ("otn_broadcast", "otn_retry")  # of which a campaign from before runs were noted may have one
ALIVE = ("queued", "running")


@task(execution_timeout=HANGING)
def look() -> dict[str, int]:
    """Look at everything, keep what was found as alarms, and repair what may be repaired.

    An alarm does not turn this red: whoever is to act is told of it. Red means that nobody looked.

    Returns:
        Alarms that are open, and those that ended.
    """
    from otn.campaign.policy import heed_warnings
    from otn.database import transaction
    from otn.epoch.file import EpochFileError
    from otn.epoch.guard import SendingHaltedError, check
    from otn.errors import ConfigurationError
    from otn.orchestration.hook import MessengerHook, make_engine
    from otn.watch import alarms, traffic
    from otn.watch.abandoned import interrupt
    from otn.watch.look import Surroundings, may_resubscribe, receiver_urls
    from otn.watch.look import look as look_around

    engine = make_engine()
    with suppress(SendingHaltedError, EpochFileError, ConfigurationError):  # the look tells
        check(engine)
    for key in heed_warnings(engine):
        log.warning("the campaign %s was paused: the platform warned its page", key)
    for key in interrupt(engine, _alive):
        log.warning("the campaign %s was sending, and no run works on it any more", key)
    with transaction(engine) as connection:
        traffic.count(connection)
    around = Surroundings(
        settings=lambda connection_id: MessengerHook(connection_id).settings,
        receiver_urls=receiver_urls(),
        resubscribe=may_resubscribe(),
        stage=log.info,
        campaigns=campaigns_folder(),
    )
    findings = look_around(engine, around)
    for one in findings:
        if one.level != "ok":
            log.warning("%s · %s: %s %s", one.level, one.kind, one.sentence, one.advice)
    with transaction(engine) as connection:
        merged = alarms.merge(connection, findings)
    log.info("%s things looked at, %s alarms open, %s ended", len(findings), merged.open, merged.ended)
    return asdict(merged)


def _alive(runs: Sequence[Run]) -> bool:
    ti = current()["ti"]
    if not runs:
        return any(ti.get_dr_count(dag_id, states=list(ALIVE)) for dag_id in SENDING_DAGS)
    by_dag: dict[str, list[str]] = {}
    for run in runs:
        if _is_frozen(run.dag_id):
            continue
        by_dag.setdefault(run.dag_id, []).append(run.run_id)
    return any(ti.get_dr_count(dag_id, run_ids=ids, states=list(ALIVE)) for dag_id, ids in by_dag.items())


def _is_frozen(dag_id: str) -> bool:
    """Runs of a campaign file that is gone stand as running for ever, and nothing of them is started."""
    from otn.orchestration.campaign_files import DAG_PREFIX
    from otn.watch.campaign_files import is_gone

    key = dag_id.removeprefix(DAG_PREFIX)
    return key != dag_id and is_gone(campaigns_folder(), f"{key}.yaml")


@task(execution_timeout=HANGING)
def tell() -> int:
    """Tell people what changed since they were told last.

    Returns:
        Changes that they were told.

    Raises:
        NotToldError: nobody could be told; the next run tries again.
    """
    from otn.database import transaction
    from otn.orchestration.hook import make_engine
    from otn.orchestration.linking import campaign_link
    from otn.orchestration.notifying import NOTIFY_CONNECTION, NOTIFY_VARIABLE, read_notifier
    from otn.watch import alarms, notices

    engine = make_engine()
    notify = read_notifier(current())
    notices.forget(engine)
    if notify is None:
        with transaction(engine) as connection:
            changes = alarms.untold(connection)
        if changes:
            log.warning(
                "%s changes, and nobody is told: define the connection %s, or %s\n%s",
                *(len(changes), NOTIFY_CONNECTION, NOTIFY_VARIABLE, alarms.text(changes)),
            )
        return 0
    told = alarms.tell(engine, notify) + notices.tell(engine, notify, campaign_link)
    log.info("%s changes told", told)
    return told


@task(execution_timeout=HANGING)
def deletions() -> dict[str, Any]:
    """Delete the people who asked the platform for it."""
    from otn.consent import pages
    from otn.database import transaction
    from otn.errors import ConfigurationError
    from otn.orchestration.hook import MessengerHook, make_engine, read_keyring
    from otn.privacy.deletion import process

    engine = make_engine()
    with transaction(engine) as connection:
        known = pages.listing(connection)
    clients = {}
    with ExitStack() as stack:
        for page in known:
            try:
                clients[page.id] = stack.enter_context(MessengerHook(page.connection_id).client)
            except ConfigurationError as error:
                log.warning("%s", error)
        figures = process(engine, read_keyring(), clients)
    log.info("%s", figures)
    return asdict(figures)
