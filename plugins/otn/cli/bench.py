"""Benchmarks: what it holds, and how fast it is beside something known."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from otn.cli import screen
from otn.cli.bench_tables import SHOWN
from otn.cli.place import HomeOption, JsonOption
from otn.errors import UsageError
from otn.local.progress import Progress

Measure = Callable[[float, Progress], dict[str, Any]]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", rich_help_panel="The system on this machine")(bench)


def bench(
    name: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(SHOWN)}.", show_default="all")] = None,
    seconds: Annotated[float, typer.Option(min=6, max=3_600, help="Of load while things break.")] = 60.0,
    _home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure on a Postgres of its own; no home is touched, nothing stays behind.

    broadcast: people claimed, sent to and recorded a second, beside the same client that records nothing and beside
    what others would send with (a loop of single sends, Celery, procrastinate), all in turns.

    scale: what each of a million recipients costs beside each of 10,000, the sender's memory, and how long a campaign
    with a million done and 100 left takes to its first call. Takes ten minutes.

    plan: the plan of a million people with reasons beside one bare INSERT of the same rows and beside the ORM, who goes
    row by row, all in turns; its memory, and what a person costs beside a hundredth of them. Takes ten minutes.

    pace: how much of a page's rate four senders use in a minute, and the most that the platform saw in a second.

    dagrun: a whole run of otn_broadcast by a real Airflow, beside the engine alone with the same people.

    imports: what our DAG files and tasks add to a process of Airflow.

    ingest: a million webhooks taken in, beside the same bodies parsed, encrypted and copied, and beside a handler that
    writes and commits them one by one; its memory. Takes a quarter of an hour.

    purge, deliveries: expired tokens wiped, deliveries and reads noted, each beside one bare UPDATE of the same rows.

    receiver: webhooks under load while Postgres is stopped and killed and the receiver is killed, then its throughput
    beside bare routes. The exit code is 1 when an acknowledged event was lost or stored twice.

    console: every page with a million recipients in the database, the median of its answers beside 300 ms. That is a
    figure for people's patience, and depends on the machine: it does not change the exit code.
    """
    if name is not None and name not in BENCHES:
        raise UsageError(f"There is no benchmark {name!r}. Choose one of: {', '.join(BENCHES)}.")
    with screen.Stages() as stages:
        found = {one: measure(seconds, stages) for one, measure in BENCHES.items() if name in (None, one)}
    if as_json:
        screen.print_json(found)
    else:
        for one, figures in found.items():
            SHOWN[one](figures)
    raise typer.Exit(0 if all(map(_well, found.values())) else 1)


def _measure(name: str) -> Measure:
    """The benchmark in the module of that name: ``run(progress)``."""

    def measure(_seconds: float, progress: Progress) -> dict[str, Any]:
        # Needs the packages of requirements-dev.txt, as nothing else does.
        return dict(import_module(f"benchmarks.{name}").run(progress=progress))

    return measure


def _receiver(seconds: float, progress: Progress) -> dict[str, Any]:
    from benchmarks import receiver  # likewise

    return receiver.run(seconds, progress)


def _well(figures: dict[str, Any]) -> bool:
    outage = figures.get("outage", {})
    return not (outage.get("lost") or outage.get("twice"))


BENCHES: dict[str, Measure] = {name: _measure(name) for name in SHOWN} | {"receiver": _receiver}
