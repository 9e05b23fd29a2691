"""One DAG per campaign file: the tasks of ``otn_broadcast``, led by the file instead of a form."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable

from otn.orchestration.approval import LONGEST_WAIT, CampaignApproval
from otn.orchestration.broadcasting import canary, plan
from otn.orchestration.campaign_files import DAG_PREFIX, KEY, CampaignFile, campaign_paths, read_files
from otn.orchestration.campaign_run import open_interval, wait_for_send_at
from otn.orchestration.defaults import DEFAULT_ARGS
from otn.orchestration.sending import send_and_report

AT_ONCE = 16  # days of one campaign; each may wait two hours for a yes
RUN_TYPES: Any = ["scheduled", "backfill", "manual"]
TAGS = ["otn", "sends messages", "campaign file"]
BROKEN = "broken file"


def campaign_dags(folder: Path, doc: str, only: str | None = None) -> Iterator[DAG]:
    """Make the DAGs of the campaign files.

    Nothing that an author wrote is in a DAG but the schedule: the tasks read the file when they run. So a run that has
    begun comes to its end even when its file is broken or gone meanwhile.

    Args:
        folder: of the files.
        doc: the page for operators, Markdown.
        only: a task process asks for one DAG, and pays for one.
    """
    if only is not None:
        key = only.removeprefix(DAG_PREFIX)
        if key != only and KEY.fullmatch(key):
            yield from _dags([folder / f"{key}.yaml"], doc)
        return
    yield from _dags(campaign_paths(folder), doc)


def _dags(paths: list[Path], doc: str) -> Iterator[DAG]:
    for path, found in zip(paths, read_files(paths), strict=True):
        if isinstance(found, CampaignFile):
            yield _dag(found.key, found, doc)
        elif KEY.fullmatch(path.stem):
            yield _dag(path.stem, None, doc)


def _dag(key: str, file: CampaignFile | None, doc: str) -> DAG:
    with DAG(
        dag_id=f"{DAG_PREFIX}{key}",
        schedule=_schedule(file),
        **_bounds(file),
        allowed_run_types=RUN_TYPES,
        default_args=DEFAULT_ARGS,
        max_active_runs=AT_ONCE,
        tags=TAGS if file else [*TAGS, BROKEN],
        description=f"The campaign of {key}.yaml" if file else f"{key}.yaml is broken: nothing is scheduled",
        doc_md=doc,
    ) as dag:
        campaign: Any = open_interval()
        approval = CampaignApproval(task_id="approval", campaign_id=campaign, questions=["approval"])
        wait = wait_for_send_at(campaign)
        start_check = CampaignApproval(task_id="start_check", campaign_id=campaign)
        planned: Any = plan(campaign)
        approval >> wait >> start_check >> planned
        send_and_report(planned, canary(planned))
    return dag


def _schedule(file: CampaignFile | None) -> Any:
    if file is None:
        return None
    if file.schedule.cron is None:
        return "@once"
    return CronDataIntervalTimetable(file.schedule.cron, timezone=file.schedule.timezone)


def _bounds(file: CampaignFile | None) -> dict[str, Any]:
    if file is None:
        return {}
    schedule = file.schedule
    if schedule.at is not None:
        ahead = LONGEST_WAIT if file.asks else timedelta()  # so that the yes is there when the moment comes
        return {"start_date": max(schedule.at - ahead, datetime(1970, 1, 1, tzinfo=UTC))}
    return {"start_date": schedule.start, "end_date": schedule.stop, "catchup": schedule.catchup}
