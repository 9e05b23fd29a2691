"""The first tasks of a campaign file's run: what the file says about the interval, and whether it still says so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from otn.errors import UsageError
from otn.orchestration.broadcasting import go_on, open_by, rest_until_send_at
from otn.orchestration.campaign_files import DAG_PREFIX, CampaignFile, CampaignFileError, read_file
from otn.orchestration.reading_params import ParamError
from otn.orchestration.retrying import come_back
from otn.orchestration.runs import actor, current, stop_run
from otn.settings import campaigns_folder

if TYPE_CHECKING:
    from otn.campaign.control import Campaign
    from otn.campaign.series import Covered
    from otn.database import Engine
    from otn.orchestration.params import BroadcastRequest

log = logging.getLogger(__name__)

HELD = timedelta(minutes=1)  # until somebody looks again whether the file is back


class IntervalCutError(UsageError):
    """A part of the interval belongs to a campaign of the schedule before. Send to the others by hand."""


@task(task_id="validate")
def open_interval() -> int:
    """Open the campaign of the run's interval, or take it up where it stands.

    Returns:
        ``otn.campaign.id``. An interval after the file's ``stop``, and a campaign with nothing to send, end here, well.
    """
    from otn.campaign.state import CampaignCancelledError
    from otn.orchestration.hook import make_engine

    context = current()
    _refuse_conf(context)
    file = read_file(_path(context))
    start, end = interval(context, file)
    engine = make_engine()
    request = _of_its_page(engine, file.request(start, end))
    outside = _outside(file, start, end)
    if outside:
        _note(engine, request, None, "stopped by file", _said(context, file, start, end))
        stop_run(context, outside)
    try:
        campaign = open_by(context, request, of_schedule=True)
    except CampaignCancelledError:
        stop_run(context, f"The campaign {request.spec.key!r} was cancelled: nothing is sent.")
    kept = _kept_content(engine, request, campaign)
    _note(engine, request, campaign.id, "read file", _said(context, file, start, end) | {"content_kept": kept})
    _give_way(engine, context, file, request, campaign, start, end)
    return go_on(context, campaign)


@task(task_id="wait_for_send_at")
def wait_for_send_at(campaign_id: int) -> None:
    """Let the run rest until its moment; a file that was edited meanwhile moves or ends what is not planned yet."""
    follow_file(current(), campaign_id)
    rest_until_send_at(campaign_id)


def interval(context: Mapping[str, Any], file: CampaignFile) -> tuple[datetime, datetime]:
    """Start and end of what the run is about; one moment is both.

    A run triggered by hand without a logical date is about the last whole interval before it.

    Args:
        context: of the task.
        file: the campaign.
    """
    schedule, run = file.schedule, context["dag_run"]
    if schedule.at is not None:
        return schedule.at, schedule.at
    start, end = run.data_interval_start, run.data_interval_end
    if start is None or end is None or start >= end:
        from airflow.timetables.interval import CronDataIntervalTimetable
        from pendulum import instance

        timetable = CronDataIntervalTimetable(str(schedule.cron), schedule.timezone)
        start, end = timetable.infer_manual_data_interval(run_after=instance(run.run_after))
    return (datetime.fromtimestamp(start.timestamp(), UTC), datetime.fromtimestamp(end.timestamp(), UTC))


def follow_file(context: Mapping[str, Any], campaign_id: int) -> None:
    """Do what the file says by now with a campaign that waits: cancel it after ``stop``, or move it.

    A file that is broken for the moment changes nothing: what waits was agreed on. While the file is gone the campaign
    is held; a folder may be away for a moment too, and what was cancelled could not be taken back. ``otn_watch`` tells.
    """
    from otn.campaign import control, series
    from otn.orchestration.hook import make_engine

    engine = make_engine()
    campaign = control.get(engine, campaign_id)
    if campaign.state not in series.UNPLANNED:
        return
    who = actor(context)
    path = _path(context)
    if not path.exists():
        log.warning("%s is gone: the campaign %r is held. Put the file back, or cancel it.", path.name, campaign.key)
        come_back(datetime.now(UTC) + HELD)
    try:
        file = read_file(path)
    except CampaignFileError as error:
        log.warning("The file is broken by now; this campaign goes on as it was opened.\n%s", error)
        return
    schedule = file.schedule
    if schedule.stop is not None and campaign.send_at is not None and campaign.send_at > schedule.stop:
        control.cancel(engine, campaign_id, actor=who, reason=f"{file.name} stops before ({file.sha256})")
    elif schedule.at is not None and series.move_send_at(engine, campaign_id, schedule.at, actor=who):
        log.info("%s moved the campaign to %s", file.name, schedule.at)


def _outside(file: CampaignFile, start: datetime, end: datetime) -> str | None:
    """A backfill and a person may ask for intervals that the schedule does not have; Airflow makes runs for them."""
    first, last = file.schedule.start, file.schedule.stop
    if first is not None and start < first:
        return f"{file.name} starts at {first.isoformat()}: nothing is sent for the interval of {start.isoformat()}."
    if last is not None and end > last:
        return f"{file.name} stops at {last.isoformat()}: nothing is sent at {end.isoformat()}."
    return None


def _path(context: Mapping[str, Any]) -> Any:
    key = str(context["dag_run"].dag_id).removeprefix(DAG_PREFIX)
    return campaigns_folder() / f"{key}.yaml"


def _of_its_page(engine: Engine, request: BroadcastRequest) -> BroadcastRequest:
    """What was opened stays with the page that it was opened on, whatever page the file names by now."""
    from otn.campaign import series

    opened = series.opened_on(engine, request.spec.key)
    if not opened or request.page in opened:
        return request
    log.warning("The file names the page %r; this campaign was opened on %r and stays there.", request.page, opened[0])
    return replace(request, page=opened[0])


def _refuse_conf(context: Mapping[str, Any]) -> None:
    conf = context["dag_run"].conf
    if conf:
        name = min(conf)
        raise ParamError(f"The param {name!r} is not taken: the file says everything. Edit it, or use otn_broadcast.")


def _said(context: Mapping[str, Any], file: CampaignFile, start: datetime, end: datetime) -> dict[str, Any]:
    """What goes into the audit: the file's state, so that an edit between two runs can be seen."""
    return {
        "file": file.name,
        "sha256": file.sha256,
        "schedule": str(file.schedule),
        "interval": [start.isoformat(), end.isoformat()],
        "run": str(context["dag_run"].run_id),
    }


def _note(
    engine: Engine, request: BroadcastRequest, campaign_id: int | None, action: str, detail: dict[str, Any]
) -> None:
    from otn.campaign import series
    from otn.consent import pages
    from otn.database import transaction

    with transaction(engine) as connection:
        page = pages.find(connection, request.page)
    series.note(engine, page.id, campaign_id, actor=actor(current()), action=action, detail=detail)


def _kept_content(engine: Engine, request: BroadcastRequest, campaign: Campaign) -> bool:
    from otn.database import queries, transaction

    with transaction(engine) as connection:
        row = queries("campaign").find_campaign(connection, campaign_id=campaign.id)
    if bytes(row.content_hash) == request.spec.content_hash(row.facebook_page_id, request.topic):
        return False
    log.warning(
        "The file was changed since the campaign %r was opened: it keeps the message, topic and audience that it was "
        "opened with. Later intervals take the new ones.",
        campaign.key,
    )
    return True


def _give_way(
    engine: Engine,
    context: Mapping[str, Any],
    file: CampaignFile,
    request: BroadcastRequest,
    campaign: Campaign,
    start: datetime,
    end: datetime,
) -> None:
    from otn.campaign import series

    if file.schedule.at is not None:
        return
    other = series.give_way(engine, campaign.id, prefix=f"{file.key}/", start=start, end=end, actor=actor(context))
    if other is None:
        return
    said = (
        f"The campaign {other.key!r} of this file covers {other.start.isoformat()} to {other.end.isoformat()}, and "
        f"{request.spec.key!r} overlaps it: the schedule was changed. Nothing is sent for it."
    )
    if file.opted_in is not None and not _inside(start, end, other):
        raise IntervalCutError(
            f"{said} People who opted in during the rest of {start.isoformat()} to {end.isoformat()} are in no "
            "campaign of the file: reach them by otn_broadcast, with the filter's opted_in_from and opted_in_until."
        )
    stop_run(context, said)


def _inside(start: datetime, end: datetime, other: Covered) -> bool:
    return other.start <= start and end <= other.end
