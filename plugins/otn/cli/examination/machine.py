"""This machine: what runs on it, and the room that is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.errors import ConfigurationError
from otn.local import machine
from otn.privacy.journal import read_journal
from otn.settings import read_spool_settings

GIB = 1 << 30
YELLOW_BYTES, RED_BYTES = 5 * GIB, GIB
YELLOW_SHARE, RED_SHARE = 0.1, 0.03
usage = shutil.disk_usage


def system(case: Case) -> Iterator[Check]:
    """Whether what `./otn up` starts is up."""
    if not case.local:
        text = f"`./otn up` has never run in the home {case.home.path}."
        yield Check("machine.system", "unseen", text, "If the system runs on this machine, name its home by --home.")
        return
    state = machine.status(case.home)
    if not state.running:
        yield Check("machine.system", "yellow", f"The system at {state.home} is down.", "Start it by `./otn up`.")
    elif state.healthy:
        yield Check("machine.system", "green", "Everything that `./otn up` starts is healthy.")
    else:
        bad = ", ".join(f"{one.name} {one.state}" for one in state.processes if one.state != "RUNNING")
        text = f"Not everything is healthy ({bad or 'a program does not answer'})."
        yield Check("machine.system", "red", text, f"Read the logs in {case.home.logs}.")


def disk(case: Case) -> Iterator[Check]:
    """How much room is left where we write."""
    well = True
    for name, path in _devices(_places(case)).items():
        space = usage(path)
        short = [space.free < limit or space.free < share * space.total for limit, share in _LIMITS]
        if any(short):
            well = False
            text = f"{space.free / GIB:,.1f} GiB of {space.total / GIB:,.1f} are left for {name}."
            advice = "Make room: a full disk stops Postgres, and webhooks are refused once the spool is full too."
            yield Check("machine.disk", "red" if short[1] else "yellow", text, advice, str(path))
    if well:
        yield Check("machine.disk", "green", "There is room on the disks that this machine writes to.")
    if not case.local:
        text = "The disk of Postgres cannot be seen from here."
        yield Check(
            "machine.disk", "unseen", text, "Watch it where it runs: below a tenth is the time to act.", "Postgres"
        )


_LIMITS = ((YELLOW_BYTES, YELLOW_SHARE), (RED_BYTES, RED_SHARE))


def _places(case: Case) -> Iterator[tuple[str, Path]]:
    if case.local:
        yield "the database", case.home.pgdata
        yield "the home", case.home.path
    try:
        yield "the spool of webhooks", read_spool_settings(case.environment).folder
        journal = read_journal(case.environment)
    except ConfigurationError:
        return  # who needs them tells
    if journal is not None:
        yield "the erasure journal", journal.path


def _devices(places: Iterator[tuple[str, Path]]) -> dict[str, Path]:
    """One place a disk, under the names of all that lie on it."""
    found: dict[int, tuple[list[str], Path]] = {}
    for name, path in places:
        here = path
        while not here.exists():
            here = here.parent
        found.setdefault(here.stat().st_dev, ([], here))[0].append(name)
    return {", ".join(names): path for names, path in found.values()}


QUESTIONS = (Question(("machine.system",), system, limit_s=25), Question(("machine.disk",), disk))
