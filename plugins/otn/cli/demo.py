"""The demo: the main job end to end, on a stand-in for the platform."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from otn.cli import screen
from otn.cli.place import HomeOption
from otn.errors import UsageError
from otn.local import machine
from otn.local.home import Home

if TYPE_CHECKING:
    from otn.local.demo import story


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", rich_help_panel="The system on this machine")(demo)


def demo(
    home: HomeOption = None,
    subscribers: Annotated[int, typer.Option(min=1, max=1_000_000, help="People who opt in.")] = 1_000,
    rate: Annotated[float, typer.Option(min=0, max=1_000_000, help="Messages a second; 0: as fast as it goes.")] = 0.0,
    leave: Annotated[
        bool, typer.Option("--exit", help="Leave nothing running; the exit code tells how it went.")
    ] = False,
) -> None:
    """Show the main job end to end: opt-ins arrive, a campaign is sent by Airflow, results come back.

    Airflow, Postgres and HTTP are real; only the Messenger Platform is a stand-in, with faults as the real one has.
    """
    try:
        from otn.local.demo import story
    except ModuleNotFoundError:  # the sandbox is no part of an image
        raise UsageError("The demo is not installed here. Run it from a clone of the repository.") from None
    place = Home.at(home)
    try:
        with Watching() as watching:
            outcome = story.tell(place, subscribers=subscribers, rate=rate, watcher=watching)
        _show(outcome)
        if not leave:
            _show_way(outcome, home)
    finally:
        if leave:
            with screen.Stages() as stages:
                machine.down(place, progress=stages)
    raise typer.Exit(0 if outcome.well else 1)


class Watching(screen.Stages):
    """Stages, and bars for long work."""

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show how far long work is: a bar for people, a line at its end for a log."""
        console = self._console
        if self._status:
            self._status.stop()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(name, total=total)
            yield lambda done: progress.update(task, completed=min(done, total))
            progress.update(task, completed=total)
        if not console.is_terminal:
            console.print(f"{name}: {total:,}")
        if self._status:
            self._status.start()

    def told(self, text: str) -> None:
        """A line that stays on the screen."""
        self._console.print(screen.plain(text))


_LINES = (
    ("audience", "people who ever opted in to the topic"),
    ("planned", "of them, to get the message"),
    ("sent", "sent"),
    ("sent_inferred", "of them, known only by their used token"),
    ("refused", "refused by the platform"),
    ("unknown", "unknown"),
    ("delivered", "delivered"),
    ("read", "read"),
)


def _show(outcome: story.Outcome) -> None:
    figures = outcome.figures
    screen.say(f"\nCampaign {outcome.campaign}: {figures['state']}; its Airflow run: {outcome.run_state}")
    screen.print_table(
        ("figure", "people", ""), ((name, f"{figures[name]:,}", text) for name, text in _LINES), ["people"]
    )
    reasons = (
        ("excluded", "Left out"),
        ("skipped", "Skipped"),
        ("errors", "Refused with"),
        ("unknown_reasons", "Unknown because"),
    )
    for name, text in reasons:
        if figures[name]:
            screen.say(f"{text}: {screen.mapping(figures[name])}")
    screen.say("\nHeld against the platform's own ledger:")
    for check in outcome.checks:
        said = "holds" if check.holds else f"BROKEN {check.broken:,} times"
        screen.out().print(
            f"  {said:8} {check.claim} ({check.looked_at:,} looked at)", style="green" if check.holds else "bold red"
        )


def _show_way(outcome: story.Outcome, home: Path | None) -> None:
    status = outcome.status
    place = f" --home {shlex.quote(str(home))}" if home else ""
    screen.say(f"\nAirflow    {status.api_url}  (user {status.username}, password in {status.password_file})")
    screen.say(f"Console    {status.api_url}/plugin/otn")
    screen.say(f"Report     ./otn report {outcome.campaign}{place}")
    screen.say(f"Stop       ./otn down{place}")
