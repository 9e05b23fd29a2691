"""The tasks of ``otn_ingest`` and ``otn_reingest``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import task

from otn.orchestration.assets import OPTINS_FOUND, tell_of_optins
from otn.orchestration.choices import write_choices
from otn.orchestration.runs import current
from otn.orchestration.window import days

if TYPE_CHECKING:
    from otn.crypto import Keyring
    from otn.database import Engine
    from otn.intake.balance import Balance

log = logging.getLogger(__name__)

HANGING = timedelta(hours=1)  # a backlog of a million webhooks takes minutes
HOUSEKEEPING_POOL = "otn_housekeeping"


def apply_journals(engine: Engine, keyring: Keyring) -> None:
    """Make good what a restored backup has forgotten: who left, who asked for silence. Costs nothing otherwise.

    Raises:
        JournalError: a journal cannot be read.
    """
    from otn.privacy.erasure import apply_journal
    from otn.privacy.silences import apply_silences

    erased = apply_journal(engine, keyring)
    if erased:
        log.warning("%s people stood in the erasure journal and were here all the same; they were erased again", erased)
    returned = apply_silences(engine, keyring)
    if returned:
        log.warning("brought back from the journal of silences: %s", returned)


@task(execution_timeout=HANGING, inlets=[OPTINS_FOUND], outlets=[OPTINS_FOUND])
def ingest() -> dict[str, int]:
    """Take in everything that is stored and not yet ingested, whatever its time."""
    from otn.campaign.evidence import settle
    from otn.campaign.policy import heed_warnings
    from otn.intake.ingest import ingest_pending
    from otn.orchestration.hook import make_engine, read_keyring

    engine, keyring = make_engine(), read_keyring()
    apply_journals(engine, keyring)
    balance = ingest_pending(engine, keyring, on_events=settle, progress=_tell)
    log.info("%s", balance)
    for key in heed_warnings(engine):
        log.warning("the campaign %s was paused: the platform warned its page", key)
    tell_of_optins(current(), engine)
    write_choices(engine)
    return asdict(balance)


@task(pool=HOUSEKEEPING_POOL, execution_timeout=4 * HANGING, inlets=[OPTINS_FOUND], outlets=[OPTINS_FOUND])
def reingest() -> dict[str, dict[str, int]]:
    """Take in the days of the interval again, and balance them.

    Raises:
        BalanceError: events are missing.
    """
    from otn.campaign.evidence import settle
    from otn.intake.balance import BalanceError
    from otn.intake.ingest import reingest_day
    from otn.orchestration.hook import make_engine, read_keyring

    engine, keyring = make_engine(), read_keyring()
    balances: dict[str, dict[str, int]] = {}
    for day in days(current()):
        balance = reingest_day(engine, keyring, day, settle, progress=_tell)
        log.info("%s: %s", day, balance)
        if not balance.holds:
            raise BalanceError
        balances[day.isoformat()] = asdict(balance)
    tell_of_optins(current(), engine)
    return balances


def _tell(balance: Balance) -> None:
    log.info("so far %s", balance)
