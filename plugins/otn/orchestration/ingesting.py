"""The tasks of ``otn_ingest`` and ``otn_reingest``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import task

from otn.orchestration.runs import current
from otn.orchestration.window import days

if TYPE_CHECKING:
    from otn.consent.balance import Balance

log = logging.getLogger(__name__)

HANGING = timedelta(hours=1)  # a backlog of a million webhooks takes minutes
HOUSEKEEPING_POOL = "otn_housekeeping"


@task(execution_timeout=HANGING)
def ingest() -> dict[str, int]:
    """Take in everything that is stored and not yet ingested, whatever its time."""
    from otn.campaign.evidence import settle
    from otn.consent.ingest import ingest_pending
    from otn.orchestration.hook import make_engine, read_keyring

    balance = ingest_pending(make_engine(), read_keyring(), on_events=settle, progress=_tell)
    log.info("%s", balance)
    return asdict(balance)


@task(pool=HOUSEKEEPING_POOL, execution_timeout=4 * HANGING)
def reingest() -> dict[str, dict[str, int]]:
    """Take in the days of the interval again, and balance them.

    Raises:
        BalanceError: events are missing.
    """
    from otn.campaign.evidence import settle
    from otn.consent.balance import BalanceError
    from otn.consent.ingest import reingest_day
    from otn.orchestration.hook import make_engine, read_keyring

    engine, keyring = make_engine(), read_keyring()
    balances: dict[str, dict[str, int]] = {}
    for day in days(current()):
        balance = reingest_day(engine, keyring, day, settle, progress=_tell)
        log.info("%s: %s", day, balance)
        if not balance.holds:
            raise BalanceError
        balances[day.isoformat()] = asdict(balance)
    return balances


def _tell(balance: Balance) -> None:
    log.info("so far %s", balance)
