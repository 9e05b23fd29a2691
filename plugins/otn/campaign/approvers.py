"""Whose yes counts: anybody's, another person's than the composer's, or that of a few."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from otn.errors import ConfigurationError

VARIABLE = "OTN_APPROVAL"
NAMES_VARIABLE = "OTN_APPROVERS"
ANYBODY, ANOTHER = "anybody", "another"
_BY_RUN = re.compile(r"(?P<name>.*) \(\S+ (?P<run>\S+)\)", re.DOTALL)
_NOBODY = "airflow"  # what a run is by that nobody triggered


@dataclass(frozen=True)
class Person:
    """Who answers, as Airflow's login knows them.

    Args:
        name: what they log in with.
        id: Airflow's own; with some logins the same as the name.
    """

    name: str
    id: str = ""


@dataclass(frozen=True)
class Approvers:
    """Whose yes counts. Everybody's no does.

    Args:
        another: not that of who composed or triggered the campaign.
        names: only theirs; none: everybody's.
    """

    another: bool = False
    names: frozenset[str] = field(default=frozenset())

    def why_not(self, person: Person | None, composers: Collection[str]) -> str | None:
        """Why a yes does not count; None: it does.

        Args:
            person: who says it; None: nobody knows.
            composers: who composed and who triggered it.
        """
        if person is None:
            return "nobody knows whose yes it was" if self.another or self.names else None
        if self.another and {person.name.casefold(), person.id.casefold()} & {name.casefold() for name in composers}:
            return f"{person.name} composed or triggered it, and another person must say yes"
        if self.names and person.name not in self.names:
            return f"{person.name} is not one of those whose yes counts"
        return None


def read_approvers(environ: Mapping[str, str] | None = None) -> Approvers:
    """Read ``OTN_APPROVAL`` (``anybody`` or ``another``) and ``OTN_APPROVERS`` (names with commas between them).

    Raises:
        ConfigurationError: one of them says something else. Nobody's yes counts then.
    """
    values = os.environ if environ is None else environ
    who = values.get(VARIABLE, "").strip().lower() or ANYBODY
    if who not in {ANYBODY, ANOTHER}:
        raise ConfigurationError(f"{VARIABLE} is {who[:80]!r}. Give {ANYBODY}, or {ANOTHER} (than the composer).")
    written = values.get(NAMES_VARIABLE, "").strip()
    names = frozenset(name.strip() for name in written.split(",") if name.strip())
    if written and not names:
        raise ConfigurationError(f"{NAMES_VARIABLE} is {written[:80]!r}, which names nobody. Give names: ann,bob.")
    return Approvers(another=who == ANOTHER, names=names)


@dataclass(frozen=True)
class Voice:
    """Whose yes it is, and whose counts.

    Args:
        person: who says it; None: nobody knows.
        triggered_by: who triggered the run that asked; None: a schedule.
        approvers: the rule.
    """

    person: Person | None = None
    triggered_by: str | None = None
    approvers: Approvers = field(default_factory=Approvers)

    def why_not(self, created_by: str | None) -> str | None:
        """Why it does not count for a campaign of this author; None: it does."""
        return self.approvers.why_not(self.person, composers(created_by, self.triggered_by))


ANYBODYS = Voice()


def composers(created_by: str | None, triggered_by: str | None) -> frozenset[str]:
    """Names of who composed a campaign and of who triggered the run that asks; a schedule is nobody.

    Args:
        created_by: of the campaign's row: its first author, whatever was triggered or cleared since.
        triggered_by: of the run.
    """
    first = created_by or ""
    if by_run := _BY_RUN.fullmatch(first):
        first = by_run["name"]
        if first == _NOBODY and by_run["run"].startswith("scheduled__"):
            first = ""
    return frozenset(name for name in (first, triggered_by) if name)
