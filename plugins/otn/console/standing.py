"""How a campaign stands: the sentences, steps and charts of its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from otn.campaign.model import CampaignState
from otn.console.charts import times_chart
from otn.console.figures import Aftermath, Figures


@dataclass(frozen=True)
class Step:
    """One step of the funnel.

    Args:
        name: of it.
        people: who came so far; None: still being counted.
        of: of how many.
        help: what it means.
    """

    name: str
    people: int | None
    of: int
    help: str

    @property
    def per_cent(self) -> float:
        """Length of its bar."""
        return 100 * (self.people or 0) / self.of if self.of else 0


@dataclass(frozen=True)
class Way:
    """A way to take people up again.

    Args:
        scope: of ``otn_retry``.
        people: how many it would take; None: still being counted.
        who: whom.
        sentence: what happens to them.
    """

    scope: str
    people: int | None
    who: str
    sentence: str


def verdict(row: Any, figures: Figures | None) -> str:
    """What became of everybody, to follow the state: the honest end, too.

    Args:
        row: the campaign's.
        figures: of its present state; None: being counted.
    """
    if row.planned_at is None:
        return _BEFORE.get(row.state, "Nobody is planned.")
    if figures is None:
        return "The figures are being counted."
    report = figures.report
    parts = [
        (report["sent"], "sent"),
        (report["refused"], "refused"),
        (report["unknown"], "unconfirmed"),
        (figures.skipped, "skipped"),
        (report["cancelled"], "given up"),
        (figures.left, "to go"),
    ]
    return ", ".join(f"{people:,} {what}" for people, what in parts if people or what == "sent")


_BEFORE = {
    CampaignState.DRAFT: "Nothing is sent yet.",
    CampaignState.AWAITING_APPROVAL: "Nothing is sent, and no consent is spent, before somebody says yes.",
    CampaignState.SCHEDULED: "Who gets it is written down at the moment it starts.",
    CampaignState.FINISHED: "There was nobody to send it to.",
    CampaignState.CANCELLED: "Nothing was sent, and no consent was spent.",
}


def funnel(figures: Figures, aftermath: Aftermath | None) -> list[Step]:
    """From plan to reaction; each is a part of those who were planned."""
    report, planned = figures.report, figures.report["planned"]
    inferred = report["sent_inferred"]
    sure = (
        f"{inferred:,} of them inferred: their consents were used up by a call without an answer. " if inferred else ""
    )
    steps = [
        ("Planned", planned, "Had an unspent consent when it started, and belonged to the audience."),
        ("Sent", report["sent"], f"{sure}The platform took the message: the consent is spent."),
        ("Delivered", report["delivered"], "The platform reported that it reached a device."),
        ("Seen", report["read"], "The person opened the conversation after it."),
        (
            "Reacted",
            aftermath.reacted if aftermath else None,
            "Wrote, tapped a button or reacted within 7 days after it.",
        ),
    ]
    return [Step(name, people, planned, what) for name, people, what in steps]


def ways(row: Any, figures: Figures | None, aftermath: Aftermath | None) -> list[Way]:
    """How ``otn_retry`` could take people up; none before the plan and after a cancel."""
    if row.planned_at is None or row.state == CampaignState.CANCELLED:
        return []
    report = figures.report if figures else None
    retryable = 0 if figures and not figures.retry_worth else aftermath.retryable if aftermath else None
    return [
        Way(
            "waiting",
            figures.left if figures else None,
            "who still wait",
            "They are called now, also those who were told to wait. Harmless while another run sends.",
        ),
        Way(
            "refused",
            retryable,
            "who were refused, and whom a later try may reach",
            "They are called once more with the same consent, which is unspent. Whoever said stop since is left alone.",
        ),
        Way(
            "unknown",
            report["unknown"] if report else None,
            "who are unconfirmed",
            "The platform is asked again with the same consent, which cannot be used twice: nobody gets it twice.",
        ),
    ]


def airflow(base: str) -> str:
    """Path of Airflow, below which the console is mounted."""
    return base.removesuffix("/otn")


def run_path(base: str, dag_id: str, run_id: str) -> str:
    """Airflow's page of a run, below the address of Airflow.

    Args:
        base: path of the console.
        dag_id: of the DAG.
        run_id: of the run.
    """
    return f"{airflow(base)}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def sends_chart(figures: Figures | None) -> Markup | None:
    """Messages over time; nothing to see while all of them fall into one span."""
    if figures is None or len(figures.sends) < 2:
        return None
    days = figures.sends[-1][0] - figures.sends[0][0] >= timedelta(days=1)
    labels = [_label(at, days=days) for at, _ in figures.sends]
    return times_chart(labels, {"Sent": [people for _, people in figures.sends]})


def _label(at: datetime, *, days: bool) -> str:
    return at.strftime("%d %b %H:%M" if days else "%H:%M:%S" if at.second else "%H:%M")


def unit(seconds: int) -> str:
    """The span of one bar, as it follows "every"."""
    for length, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= length:
            return name if seconds == length else f"{seconds // length} {name}s"
    return ""
