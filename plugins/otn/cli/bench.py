"""Benchmarks: what it holds, and how fast it is beside something known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from otn.cli import screen
from otn.cli.place import HomeOption, JsonOption
from otn.errors import UsageError
from otn.local.progress import Progress

Measure = Callable[[float, Progress], dict[str, Any]]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench", rich_help_panel="The system on this machine")(bench)


def bench(
    name: Annotated[
        str | None, typer.Argument(help="broadcast, scale, plan, receiver or console", show_default="all")
    ] = None,
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

    receiver: webhooks under load while Postgres is stopped and killed and the receiver is killed, then its throughput
    beside a bare FastAPI route. The exit code is 1 when an acknowledged event was lost or stored twice.

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


def _broadcast(_seconds: float, progress: Progress) -> dict[str, Any]:
    from benchmarks import broadcast  # needs the packages of requirements-dev.txt, as nothing else does

    return broadcast.run(progress)


def _scale(_seconds: float, progress: Progress) -> dict[str, Any]:
    from benchmarks import scale  # likewise

    return scale.run(progress)


def _plan(_seconds: float, progress: Progress) -> dict[str, Any]:
    from benchmarks import plan  # likewise

    return plan.run(progress)


def _receiver(seconds: float, progress: Progress) -> dict[str, Any]:
    from benchmarks import receiver  # likewise

    return receiver.run(seconds, progress)


def _console(_seconds: float, progress: Progress) -> dict[str, Any]:
    from benchmarks import console  # likewise

    return console.run(progress=progress)


def _well(figures: dict[str, Any]) -> bool:
    outage = figures.get("outage", {})
    return not (outage.get("lost") or outage.get("twice"))


def _show_broadcast(figures: dict[str, Any]) -> None:
    screen.say(f"{figures['rounds']} rounds in turns; of ours {figures['senders']} x {figures['threads']} threads:")
    columns = ("side", "people", "per s", "least", "most")
    names = ("name", "people", "per_s", "least_per_s", "most_per_s")
    screen.print_table(columns, [[one[name] for name in names] for one in figures["sides"]], right=columns[1:])
    spread = f"{figures['to_limit_least']} to {figures['to_limit_most']}"
    screen.say(f"ours to the limit      {figures['to_limit']} ({spread})")
    screen.say(f"ours to the best peer  {figures['to_best_peer']} ({figures['best_peer']})")
    for name, why in figures["absent"].items():
        screen.say(f"{name} was left out: {why}")


def _show_scale(figures: dict[str, Any]) -> None:
    small, large, more = figures["small"], figures["large"], "MB over an idle sender"
    spread = f"{figures['small_least_us']} to {figures['small_most_us']}, {figures['rounds']} rounds"
    screen.say(f"{small:,} people: {figures['small_us']} us each ({spread}), {figures['small_more_mb']} {more}")
    screen.say(f"{large:,} people: {figures['large_us']} us each, {figures['large_more_mb']} {more}")
    screen.say(f"ratio {figures['cost_ratio']}, bound {figures['cost_bound']}; {figures['memory_bound_mb']:.0f} MB")
    screen.say(
        f"{figures['left']} left: first call after {figures['resumed_s']} s, bound {figures['resume_bound_s']:.0f} s"
    )


def _show_plan(figures: dict[str, Any]) -> None:
    people, planned, excluded = figures["people"], figures["planned"], figures["excluded"]
    screen.say(f"{people:,} people, {planned:,} planned, {excluded:,} left out; {figures['rounds']} rounds in turns:")
    columns = ("side", "people", "s", "least", "most", "us each")
    names = ("name", "people", "s", "least_s", "most_s", "us_each")
    screen.print_table(columns, [[one[name] for name in names] for one in figures["sides"]], right=columns[1:])
    spread = f"{figures['to_limit_least']} to {figures['to_limit_most']}"
    screen.say(f"the plan's time to the limit's  {figures['to_limit']} ({spread}), bound {figures['time_bound']}")
    screen.say(f"a person by the ORM to one of ours  {figures['to_peer']}")
    screen.say(
        f"{figures['small']:,} people: {figures['small_us']} us each; {people:,}: {figures['large_us']} us; "
        f"ratio {figures['cost_ratio']}, bound {figures['cost_bound']}"
    )
    memory = f"{figures['small_more_mb']} and {figures['large_more_mb']} MB over an idle task"
    screen.say(f"{memory}, bound {figures['memory_bound_mb']:.0f} MB")


def _show_receiver(figures: dict[str, Any]) -> None:
    outage, through = figures["outage"], figures["throughput"]
    screen.say(
        f"{outage['seconds']:.0f} s of load; Postgres stopped for a third of it, killed once; receiver killed once:"
    )
    screen.say(f"  requests      {outage['requests']:,}  ({screen.mapping(outage['answers'])})")
    screen.say(f"  no answer     {screen.mapping(outage['errors']) or 'none'}")
    screen.say(f"  acknowledged  {outage['acknowledged']:,}: lost {outage['lost']}, stored twice {outage['twice']}")
    screen.say(f"  answers       {_times(outage)}")
    screen.say(f"  spool empty   {outage['drained_s']} s after the load")
    screen.say(f"Throughput, {through['connections']} connections, median of {through['rounds']} rounds in turns:")
    screen.say(f"  bare route    {through['bare_per_s']:,}/s  {_times(through['bare'])}")
    screen.say(f"  receiver      {through['receiver_per_s']:,}/s  {_times(through['receiver'])}")
    screen.say(f"  ratio         {through['ratio']}")


def _show_console(figures: dict[str, Any]) -> None:
    people, rounds, bound = figures["recipients"], figures["rounds"], figures["bound_ms"]
    screen.say(f"{people:,} recipients, each page {rounds} times; bound {bound:.0f} ms:")
    columns = ("page", "first ms", "median ms", "longest ms", "within")
    screen.print_table(columns, [_row(one) for one in figures["pages"]], right=columns[1:4])


def _row(page: dict[str, Any]) -> tuple[object, ...]:
    return page["name"], page["first_ms"], page["median_ms"], page["longest_ms"], "yes" if page["within"] else "NO"


def _times(figures: dict[str, float]) -> str:
    names = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p999_ms", "max": "max_ms"}
    return ", ".join(f"{name} {figures[key]} ms" for name, key in names.items())


BENCHES: dict[str, Measure] = {
    "broadcast": _broadcast,
    "scale": _scale,
    "plan": _plan,
    "receiver": _receiver,
    "console": _console,
}
SHOWN: dict[str, Callable[[dict[str, Any]], None]] = {
    "broadcast": _show_broadcast,
    "scale": _show_scale,
    "plan": _show_plan,
    "receiver": _show_receiver,
    "console": _show_console,
}
