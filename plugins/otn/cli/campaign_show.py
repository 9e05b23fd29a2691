"""One campaign as the console's page shows it: how far it is, what became of whom, and who did what."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from otn.campaign.report import report
from otn.cli import screen
from otn.database import Engine, transaction

if TYPE_CHECKING:
    from otn.console.figures import Aftermath, Figures

BAR = 40  # characters


def look(engine: Engine, campaign_id: int) -> dict[str, Any]:
    """Everything about one campaign, counted now.

    Args:
        engine: the project's database.
        campaign_id: ``otn.campaign.id``.

    Raises:
        CampaignUnknownError: there is none.
    """
    from otn.console import figures, standing, timeline  # draws charts too: nobody else here pays for that

    row = figures.find_row(engine, campaign_id)
    counted = figures.count(engine, campaign_id) if row.planned_at else None
    after = figures.look_after(engine, campaign_id) if row.planned_at else None
    with transaction(engine) as connection:
        history = timeline.entries(connection, row)
    steps = standing.funnel(counted, after) if counted else []
    return {
        **report(engine, campaign_id),
        "verdict": standing.verdict(row, counted),
        **_progress(counted),
        "funnel": [{"step": one.name, "people": one.people} for one in steps],
        "refusals": _refusals(counted),
        **_aftermath(after),
        "timeline": [asdict(one) for one in history],
    }


def _progress(counted: Figures | None) -> dict[str, Any]:
    if counted is None:
        return {"done": 0, "per_second": 0.0, "left_s": None}
    left = counted.left_s
    return {
        "done": counted.done,
        "per_second": round(counted.per_second, 1),
        "left_s": None if left is None else round(left),
    }


def _refusals(counted: Figures | None) -> list[dict[str, Any]]:
    from otn.console import reasons

    return [
        {**asdict(one), "why": reasons.refused(one.code, one.subcode, token_dead=one.token_dead)}
        for one in (counted.refusals if counted else [])
    ]


def _aftermath(after: Aftermath | None) -> dict[str, Any]:
    return {"reacted": after.reacted if after else 0, "opted_out": after.opted_out if after else 0}


def show(told: dict[str, Any]) -> None:
    """Print it.

    Args:
        told: what ``look`` found.
    """
    out, plain = screen.out(), screen.plain
    out.print(f"{plain(told['campaign'])}  {plain(told['topic'])}  {plain(told['page'])}", style="bold")
    screen.say(f"{told['state']}: {told['verdict']}")
    if told["planned"]:
        screen.say(_bar(told))
    if told["funnel"]:
        steps = ((one["step"], f"{one['people']:,}", _share(one["people"], told["planned"])) for one in told["funnel"])
        screen.print_table(("", "people", "of the planned"), steps, right=["people", "of the planned"])
        screen.say(f"{told['opted_out']:,} opted out within 7 days after it.")
    if told["refusals"]:
        rows = ((plain(one["why"]), _code(one), f"{one['people']:,}") for one in told["refusals"])
        screen.print_table(("refused because", "code", "people"), rows, right=["people"])
    for problem in filter(None, [told.get("waits_for"), *told.get("problems", ())]):
        out.print(plain(problem), style="yellow")
    rows = ((f"{one['at']:%Y-%m-%d %H:%M:%SZ}", plain(one["who"]), plain(one["what"])) for one in told["timeline"])
    screen.print_table(("when", "who", "what"), rows)


def _bar(told: dict[str, Any]) -> str:
    done, planned = told["done"], told["planned"]
    full = BAR * done // planned
    pace = f", {told['per_second']} a second in the last minute" if told["left_s"] is not None else ""
    left = f", about {told['left_s']:,} s to go" if told["left_s"] is not None else ""
    return f"[{'#' * full}{'.' * (BAR - full)}] {_share(done, planned)}, {done:,} of {planned:,}{pace}{left}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _code(refusal: dict[str, Any]) -> str:
    return "/".join(str(one) for one in (refusal["code"], refusal["subcode"]) if one is not None)
