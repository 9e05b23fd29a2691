"""Assets that other DAGs may follow: ``schedule=[Asset("otn_optins")]``, ``schedule=[Asset("otn_results")]``.

Events go out by aliases: an outlet that is an asset itself would tell of every run, and a foreign DAG that claims its
name would keep our tasks from starting. The assets themselves are declared by ``otn_assets``, which nobody needs to
run: Airflow makes an undeclared asset at its first event, and of two tasks that do so at once it fails one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, task

if TYPE_CHECKING:
    from otn.database import Engine

log = logging.getLogger(__name__)

OPTINS = Asset("otn_optins")
RESULTS = Asset("otn_results")
OPTINS_FOUND = AssetAlias("otn_optins_found")
RESULTS_REPORTED = AssetAlias("otn_results_reported")

FIGURES = (
    *("campaign", "page", "topic", "state", "audience", "planned", "sent", "sent_inferred", "refused", "unknown"),
    *("cancelled", "delivered", "read", "tokens_spent", "started_at", "finished_at"),
)


@task(outlets=[OPTINS, RESULTS])
def wake_followers() -> None:
    """Let both assets have an event without figures."""
    log.info("Whoever follows %s or %s runs once.", OPTINS.name, RESULTS.name)


def tell_of_optins(context: Mapping[str, Any], engine: Engine) -> int:
    """Let ``otn_optins`` have an event if there are opt-ins that none has told of, whoever took them in.

    What was told last stands in the last event itself: a task that dies before it succeeded has told nothing.

    Args:
        context: of a task with ``OPTINS_FOUND`` as inlet and outlet.
        engine: the project's database.

    Returns:
        Opt-ins that it tells of.
    """
    told = _last_told(context)
    row = _since(engine, int(told.get("newest", 0)))
    before = int(told.get("behind", 0))
    if row.newest < int(told.get("newest", 0)):  # an older database took the place of the one that was told of
        row, before = _since(engine, 0), 0
    optins = int(row.later + max(row.behind_then - before, 0))
    if optins:
        extra = {"optins": optins, "newest": int(row.newest), "behind": int(row.behind)}
        context["outlet_events"][OPTINS_FOUND].add(OPTINS, extra=extra)
        log.info("%s opt-ins: the asset %s has an event", optins, OPTINS.name)
    return optins


def _last_told(context: Mapping[str, Any]) -> Mapping[str, Any]:
    events = list(context["inlet_events"][OPTINS_FOUND].ascending(ascending=False).limit(1))
    return events[0].extra if events else {}


def _since(engine: Engine, newest: int) -> Any:
    from otn.database import queries, transaction

    with transaction(engine) as connection:
        return queries("asset").optins_since(connection, newest=newest)


def tell_of_results(context: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Let ``otn_results`` have an event, once the task succeeds.

    Args:
        context: of a task with ``RESULTS_REPORTED`` as outlet.
        figures: of the campaign's report.
    """
    extra = {name: figures[name] for name in FIGURES}
    context["outlet_events"][RESULTS_REPORTED].add(RESULTS, extra=extra)
