"""Figures of benchmarks as people read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otn.cli import screen


def _show_broadcast(figures: dict[str, Any]) -> None:
    screen.say(f"{figures['rounds']} rounds in turns; of ours {figures['senders']} x {figures['threads']} threads:")
    columns = ("side", "people", "per s", "least", "most", "us computed for each")
    names = ("name", "people", "per_s", "least_per_s", "most_per_s")
    rows = [[*(one[name] for name in names), screen.mapping(one["cpu_us"])] for one in figures["sides"]]
    screen.print_table(columns, rows, right=columns[1:5])
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
    _show_memory(figures)


def _show_memory(figures: dict[str, Any]) -> None:
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
    for name, text in (
        ("nothing", "does nothing"),
        ("bare", "one INSERT"),
        ("flask", "Flask"),
        ("receiver", "receiver"),
    ):
        screen.say(f"  {text:13} {through[f'{name}_per_s']:,}/s  {_times(through[name])}")
    screen.say(f"  ratio         {through['ratio']} to one INSERT, {through['to_flask']} to Flask on gunicorn")


def _show_console(figures: dict[str, Any]) -> None:
    people, rounds, bound = figures["recipients"], figures["rounds"], figures["bound_ms"]
    screen.say(f"{people:,} recipients, each page {rounds} times; bound {bound:.0f} ms:")
    columns = ("page", "first ms", "median ms", "longest ms", "within")
    screen.print_table(columns, [_row(one) for one in figures["pages"]], right=columns[1:4])


def _row(page: dict[str, Any]) -> tuple[object, ...]:
    return page["name"], page["first_ms"], page["median_ms"], page["longest_ms"], _yes(page["within"])


def _times(figures: dict[str, float]) -> str:
    names = {"p50": "p50_ms", "p99": "p99_ms", "p99.9": "p999_ms", "max": "max_ms"}
    return ", ".join(f"{name} {figures[key]} ms" for name, key in names.items())


def _show_pace(figures: dict[str, Any]) -> None:
    screen.say(f"{figures['senders']} senders, {figures['seconds']:.0f} s; bound of use {figures['use_bound']}:")
    columns = ("rate", "used", "most in a second", "bound", "within")
    rows = [
        (one["rate"], one["used"], one["most_in_1s"], one["bound_in_1s"], _yes(one["within"]))
        for one in figures["rates"]
    ]
    screen.print_table(columns, rows, right=columns[:4])


def _show_dagrun(figures: dict[str, Any]) -> None:
    screen.say(f"{figures['people']:,} people, {figures['rounds']} rounds in turns:")
    screen.say(f"  the engine alone  {figures['engine_s']} s")
    screen.say(f"  a DAG run         {figures['run_s']} s")
    screen.say(f"  Airflow's share   {figures['airflow_share']}, bound {figures['share_bound']} from 60 s on")


def _show_imports(figures: dict[str, Any]) -> None:
    screen.say(f"CPU seconds, median of {figures['rounds']}; an empty DAG takes {figures['empty_s']}:")
    columns = ("what", "median s", "most s", "target s")
    names = ("name", "median_s", "most_s", "target_s")
    rows = [[one[name] for name in names] for one in figures["files"] + figures["tasks"]]
    screen.print_table(columns, rows, right=columns[1:])


def _show_turns(figures: dict[str, Any]) -> None:
    screen.say(f"{figures['rows']:,} rows, {figures['rounds']} rounds in turns:")
    columns = ("side", "s", "least", "most", "us each")
    names = ("name", "s", "least_s", "most_s", "us_each")
    screen.print_table(columns, [[one[name] for name in names] for one in figures["sides"]], right=columns[1:])
    spread = f"{figures['to_limit_least']} to {figures['to_limit_most']}"
    screen.say(f"time to the limit's  {figures['to_limit']} ({spread}), bound {figures['bound']}")


def _show_ingest(figures: dict[str, Any]) -> None:
    _show_turns(figures)
    screen.say(f"an event one by one to one of ours  {figures['to_peer']}")
    _show_memory(figures)


def _yes(within: bool) -> str:
    return "yes" if within else "NO"


SHOWN: dict[str, Callable[[dict[str, Any]], None]] = {
    "broadcast": _show_broadcast,
    "scale": _show_scale,
    "plan": _show_plan,
    "pace": _show_pace,
    "dagrun": _show_dagrun,
    "imports": _show_imports,
    "ingest": _show_ingest,
    "deliveries": _show_turns,
    "purge": _show_turns,
    "receiver": _show_receiver,
    "console": _show_console,
}
