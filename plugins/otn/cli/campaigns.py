"""Campaigns: what became of them, and how to hold or end them."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from otn.campaign import control
from otn.campaign import report as reports
from otn.campaign.model import CampaignState
from otn.cli import campaign_files, campaign_show, dry_run, export, screen
from otn.cli.place import HomeOption, JsonOption, PageOption, actor, database, page_named
from otn.database import Engine, queries, transaction
from otn.errors import UsageError

PANEL = "Campaigns"
KeyArgument = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Key of the campaign.")]


class Format(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSONL = "jsonl"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("report", rich_help_panel=PANEL)(report)
    app.command("export", rich_help_panel=PANEL)(export_rows)
    app.command("plan", rich_help_panel=PANEL)(dry_run.plan)
    group = typer.Typer(help="Hold, resume or give up campaigns.", no_args_is_help=True)
    group.command("list")(listing)
    group.command("show")(shown)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("cancel")(cancel)
    campaign_files.add_to(group)
    app.add_typer(group, name="campaigns", rich_help_panel=PANEL)


def report(
    campaign: KeyArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Print the figures of a campaign."""
    with database(home) as engine:
        figures = reports.report(engine, _find(engine, campaign, page))
    if as_json:
        screen.print_json(figures)
        return
    _show(figures)


def _show(figures: dict[str, Any]) -> None:
    title = f"{screen.plain(figures['campaign'])}  {screen.plain(figures['topic'])}  {screen.plain(figures['page'])}"
    screen.out().print(title, style="bold")
    screen.say(f"{figures['state']}  {_times(figures)}")
    sent = f"{figures['sent_inferred']:,} of them inferred" if figures["sent_inferred"] else ""
    skipped = figures["skipped"]
    rows = [
        ("audience", figures["audience"], "everyone who ever opted in"),
        ("  excluded", sum(figures["excluded"].values()), screen.mapping(figures["excluded"])),
        ("  planned", figures["planned"], ""),
        ("    waiting", figures["waiting"], ""),
        ("    sending", figures["sending"], ""),
        ("    sent", figures["sent"], sent),
        ("      delivered", figures["delivered"], ""),
        ("      read", figures["read"], ""),
        ("    refused", figures["refused"], screen.mapping(figures["errors"])),
        ("    unknown", figures["unknown"], screen.mapping(figures.get("unknown_reasons", {}))),
        ("    skipped", sum(skipped.values()), screen.mapping(skipped)),
        ("    cancelled", figures["cancelled"], ""),
        ("tokens spent", figures["tokens_spent"], ""),
    ]
    screen.print_table(("", "people", ""), ((name, f"{count:,}", why) for name, count, why in rows), right=["people"])
    if figures["state"] == CampaignState.SENDING:
        screen.say("Under way. If no run is at work in Airflow, trigger otn_broadcast with the same key to go on.")
    if figures.get("waits_for"):
        screen.out().print(screen.plain(figures["waits_for"]), style="yellow")
    for problem in reports.problems(figures):
        screen.out().print(screen.plain(problem), style="yellow")


def _times(figures: dict[str, Any]) -> str:
    told = [
        f"{word} {figures[name]}" for word, name in (("from", "started_at"), ("to", "finished_at")) if figures[name]
    ]
    return " ".join(told)


def export_rows(
    campaign: KeyArgument,
    page: PageOption = None,
    form: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.CSV,
    with_psid: Annotated[
        bool, typer.Option("--with-psid", help="Add the person's page-scoped id, which is personal data.")
    ] = False,
    home: HomeOption = None,
) -> None:
    """Write one row per recipient to stdout."""
    with database(home) as engine:
        campaign_id = _find(engine, campaign, page)
        planned = int(reports.report(engine, campaign_id)["planned"])
        rows = export.watched(reports.export_rows(engine, campaign_id), planned)
        shown = rows if with_psid else (export.without_psid(row) for row in rows)
        if form is Format.CSV:
            export.write_csv(sys.stdout, shown, reports.export_columns(with_psid=with_psid))
        else:
            export.write_jsonl(sys.stdout, shown)


def listing(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List campaigns, newest first."""
    with database(home) as engine:
        found = control.listing(engine)
    if as_json:
        screen.print_json(found)
        return
    if not found:
        screen.say("No campaign yet. Trigger the DAG otn_broadcast to make one.")
        return
    columns = ("page", "key", "topic", "state", "created_at", "started_at", "finished_at")
    screen.print_table(columns, ([row[column] for column in columns] for row in found))


def shown(campaign: KeyArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one campaign: how far it is, from plan to reaction, refusals in words, and who did what."""
    with database(home) as engine:
        told = campaign_show.look(engine, _find(engine, campaign, page))
    if as_json:
        screen.print_json(told)
        return
    told["problems"] = reports.problems(told)
    campaign_show.show(told)


def pause(campaign: KeyArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop a campaign for now; calls under way end, everyone else keeps waiting."""
    with database(home) as engine:
        campaign_id = _find(engine, campaign, page)
        control.pause(engine, campaign_id, actor=actor())
        told = _standing(engine, campaign_id)
    if as_json:
        screen.print_json(told)
        return
    screen.say(f"Paused. Go on by `./otn campaigns resume {campaign}`.")


def resume(
    campaign: KeyArgument, page: PageOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Let a paused, halted or interrupted campaign go on."""
    with database(home) as engine:
        campaign_id = _find(engine, campaign, page)
        control.resume(engine, campaign_id, actor=actor())
        told = _standing(engine, campaign_id)
    if as_json:
        screen.print_json(told)
        return
    screen.say(f"Resumed. A run must send: trigger otn_retry with campaign {campaign} and scope waiting.")


def cancel(
    campaign: KeyArgument,
    page: PageOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up everyone who still waits; this cannot be undone, their consents stay unspent."""
    with database(home) as engine:
        campaign_id = _find(engine, campaign, page)
        if not yes:
            _ask(engine, campaign_id, campaign)
        control.cancel(engine, campaign_id, actor=actor())
        told = _standing(engine, campaign_id)
    if as_json:
        screen.print_json(told)
        return
    screen.say("Cancelled.")


def _standing(engine: Engine, campaign_id: int) -> dict[str, Any]:
    with transaction(engine) as connection:
        row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
    return {"campaign": row.key, "page": row.connection_id, "state": row.state}


def _ask(engine: Engine, campaign_id: int, campaign: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked here whether the campaign is really to be cancelled. Add --yes.")
    waiting = reports.report(engine, campaign_id)["waiting"]
    typer.confirm(f"Cancel {campaign} and give up {waiting:,} people who wait?", abort=True, err=True)


def _find(engine: Engine, campaign: str, page: str | None) -> int:
    return control.find(engine, page_named(engine, page).connection_id, campaign)
