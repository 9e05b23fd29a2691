"""The tasks that broadcast and retry share: send, ask again, report."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule, task

from otn.errors import OtnError
from otn.orchestration.assets import RESULTS_REPORTED, tell_of_results
from otn.orchestration.linking import sending_task
from otn.orchestration.retrying import come_back
from otn.orchestration.runs import current

if TYPE_CHECKING:
    from otn.pace import Quota

log = logging.getLogger(__name__)

SEND_POOL = "otn_send"
AT_ONCE = 4  # senders of one run: the page's pace is shared, so more would only wait
HANGING = timedelta(minutes=30)  # a sender yields after ten
QUOTA_DELAY = timedelta(minutes=5)
IDLE_PASSES = 6  # so often a sender comes back without having moved anybody
PROGRESS_S = 10.0


class RunNeedsPersonError(OtnError):
    """A person must act."""


@sending_task(
    pool=SEND_POOL,
    max_active_tis_per_dagrun=AT_ONCE,
    map_index_template="{{ label }}",
    execution_timeout=HANGING,
)
def send(campaign_id: int, chunk: int) -> dict[str, int]:
    """Send to everyone who waits in a chunk; gives its place to others after ten minutes.

    Returns:
        People by the state that they went to, in the last pass.
    """
    from otn.campaign.send import send_chunk
    from otn.orchestration.bench import Bench

    context = current()
    _label(context, f"chunk {chunk}")
    bench = Bench.of_campaign(campaign_id)
    result = send_chunk(
        bench.engine, bench.client, bench.keyring, bench.settings, campaign_id, chunk, on_progress=progress()
    )
    log.info("chunk %s: %s", chunk, _figures(result.states))
    if not result.done:
        yield_or_give_up(context, result.state, moved=moved(result.states), quota=result.quota)
    return dict(result.states)


@sending_task(pool=SEND_POOL, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, execution_timeout=HANGING)
def reconcile(campaign_id: int) -> dict[str, int]:
    """Ask again where nobody knows, and read the evidence that came in meanwhile."""
    from otn.campaign import control
    from otn.campaign.reconcile import reconcile as ask_again
    from otn.orchestration.bench import Bench

    bench = Bench.of_campaign(campaign_id)
    result = ask_again(bench.engine, bench.client, bench.keyring, bench.settings, campaign_id, on_progress=progress())
    log.info("%s known to be sent now, %s still unknown", result.sent, result.still_unknown)
    if not result.done:
        state = control.get(bench.engine, campaign_id).state
        yield_or_give_up(current(), state, moved=result.sent, quota=result.quota)
    return {"sent": result.sent, "still_unknown": result.still_unknown}


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, outlets=[RESULTS_REPORTED])
def report(campaign_id: int) -> dict[str, Any]:
    """Write down how the run ended, and its figures; red when a person must act.

    Raises:
        RunNeedsPersonError: says what happened and what to do.
    """
    from otn.campaign.control import end_run
    from otn.campaign.labelling import label_results
    from otn.campaign.model import CampaignState
    from otn.campaign.report import problems
    from otn.campaign.report import report as read_report
    from otn.orchestration.hook import make_engine

    engine = make_engine()
    if end_run(engine, campaign_id) == CampaignState.SENDING:
        log.info("another run has people in its calls: the report waits for the end of them")
        come_back()
    labelled = label_results(engine, campaign_id)
    if labelled.people:
        log.info("labels by result: %s of %s people", labelled.changed, labelled.people)
    figures = read_report(engine, campaign_id)
    for line in json.dumps(figures, indent=2).splitlines():
        log.info("%s", line)
    found = problems(figures)
    if found:
        current()["ti"].xcom_push(key="return_value", value=figures)
        raise RunNeedsPersonError("\n".join(found))
    tell_of_results(current(), figures)
    return figures


def send_and_report(planned: Any, chunks: Any) -> None:
    """Wire the end of a run: chunks are sent, doubts asked about, the report written even when a chunk failed.

    Args:
        planned: returned the campaign's id; without its success there is nothing to report on. The last two tasks
            hang on it and on nothing else before the sending: one more would make them run where nothing was planned.
        chunks: returned the numbers of the chunks; never none.
    """
    sent = send.partial(campaign_id=planned).expand(chunk=chunks)
    asked = reconcile(planned)
    told = report(planned)
    sent >> asked
    [sent, asked] >> told  # a chunk that is cleared alone is waited for, although nobody asked again


def yield_or_give_up(context: Mapping[str, Any], state: str, *, moved: int, quota: Quota | None = None) -> None:
    """After a pass that left somebody: come back soon; or end here when it was stopped, or nothing moves any more.

    The report says what was left, and turns the run red for it.

    Args:
        context: of the task.
        state: of the campaign.
        moved: people who went to another state in this pass.
        quota: of the page, where the day's calls are used up: then it comes back until there is room, however long.
    """
    from otn.campaign.model import CampaignState
    from otn.pace import waits_for_quota

    if state not in {CampaignState.SENDING, CampaignState.INTERRUPTED}:
        log.warning("the campaign is %s: this task ends here", state)
        return
    store = context["task_state_store"]
    if quota is not None:
        log.warning("%s", waits_for_quota(quota))
        come_back(datetime.now(UTC) + QUOTA_DELAY)
    idle = 0 if moved else int(store.get("idle_passes", 0)) + 1
    if idle >= IDLE_PASSES:
        store.delete("idle_passes")
        log.warning("nothing moved in %s passes: this task ends here", idle)
        return
    store.set("idle_passes", idle)
    come_back()


def moved(states: Mapping[str, int]) -> int:
    """People who left the queue in a pass; those who came back to it do not count."""
    return sum(people for state, people in states.items() if state != "waiting")


def progress() -> Callable[[int], None]:
    """Log how many people were dealt with, every few seconds."""
    people, told = 0, time.monotonic()

    def count(more: int) -> None:
        nonlocal people, told
        people += more
        if time.monotonic() - told >= PROGRESS_S:
            told = time.monotonic()
            log.info("%s people so far", people)

    return count


def _label(context: Any, label: str) -> None:
    context["label"] = label


def _figures(states: Mapping[str, int]) -> str:
    return ", ".join(f"{people} {state}" for state, people in sorted(states.items())) or "nobody"
