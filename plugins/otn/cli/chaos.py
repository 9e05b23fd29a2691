"""Kill tests: senders die at every step, and an independent ledger tells what people saw."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption

SEEDS = 1_000_000


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("chaos", rich_help_panel="The system on this machine")(chaos)


def chaos(
    kills: Annotated[int, typer.Option(min=1, max=100_000, help="Senders to kill.")] = 1_000,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the first scene.", show_default="drawn")] = None,
    minutes: Annotated[float, typer.Option(min=1, max=1_440, help="No round begins later.")] = 60.0,
    _home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Kill senders, and Postgres under them, and hold what people saw against what the rows say.

    It works on a Postgres and a sandbox of its own; no home is touched, nothing stays behind. Seeds are printed: the
    same seed draws the same schedule. The exit code is 1 when anything was seen twice, lost or falsely stated.
    """
    from tests.chaos import storm  # the kill tests live with the tests

    first = secrets.randbelow(SEEDS) if seed is None else seed
    console = screen.err()
    console.print(f"seed {first}")
    columns = TextColumn("killed"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=kills)
        verdict = storm.run(
            kills, first, lambda done: progress.update(task, completed=min(done, kills)), within_s=minutes * 60
        )
    found = verdict.to_dict()
    if as_json:
        screen.print_json(found)
    else:
        _show(found)
    raise typer.Exit(1 if found["violations"] else 0)


def _show(found: dict[str, Any]) -> None:
    figures, kills = found["figures"], found["kills_by_step"]
    screen.print_table(("killed at", "times"), kills.items(), right=["times"])
    screen.say("")
    screen.print_table(
        ("", "people"),
        [
            ("planned", figures["planned"]),
            ("left out, with a reason", figures.get("excluded", 0)),
            ("visible messages", figures["visible"]),
            *((state, figures.get(state, 0)) for state in ("sent, stated", "sent, inferred", "refused", "skipped")),
            ("undecidable", f"{figures.get('unknown', 0)}  {screen.mapping(found['undecidable'])}".strip()),
        ],
        right=["people"],
    )
    screen.say("")
    screen.say(f"also      {screen.mapping(found['acts'])}")
    screen.say(f"postgres  {', '.join(f'{name} {value}' for name, value in found['postgres'].items())}")
    screen.say(f"calls     {figures['calls']:,}; on settled tokens by senders that were held: {found['woken_calls']}")
    screen.say(f"seeds     {found['seeds'][0]} to {found['seeds'][-1]}, {found['seconds']:.0f} s")
    for seed, said in found["violations"].items():
        screen.say(f"seed {seed}:")
        for one in said:
            screen.say(f"  {one}")
    screen.say("VIOLATED" if found["violations"] else "The promise held.")
