"""Subscribers: found, listed, shown, and given labels and attributes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from otn.consent.labels import (
    ATTRIBUTES_PER_PERSON,
    LABELS_PER_PERSON,
    RESULTS,
    LabelError,
    check_attribute,
    check_label,
    check_value,
)
from otn.consent.pages import Page
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError

SLICE_ROWS = 5_000
LIST_ROWS = 100
MOST_SHOWN = 1_000  # of a timeline
WHOLE = 2**63 - 1  # Postgres's largest bigint


class UnknownSubscriberError(UsageError):
    """There is no such person on this page."""


@dataclass(frozen=True)
class Change:
    """What is put on people and taken off them.

    Args:
        add: labels.
        remove: labels.
        set: attributes.
        unset: names of attributes.
    """

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be stored, and what contradicts itself.

        Raises:
            LabelError: a name or a value cannot be used.
        """
        for label in (*self.add, *self.remove):
            check_label(label)
        for name, value in self.set.items():
            check_attribute(name)
            check_value(value)
        both = sorted(set(self.add) & set(self.remove)) + sorted(set(self.set) & set(self.unset))
        if both:
            raise LabelError(f"{both[0]!r} is both put on and taken off. Drop it once.")
        if not (self.add or self.remove or self.set or self.unset):
            raise LabelError("There is nothing to change. Name a label or an attribute.")

    def of(self, person: int) -> dict[str, Any]:
        """As the query reads it."""
        return {
            "id": person,
            "add": list(dict.fromkeys(self.add)),
            "remove": list(self.remove),
            "set": dict(self.set),
            "unset": list(self.unset),
        }


@dataclass(frozen=True)
class Chosen:
    """People by what is known of them.

    Args:
        labels: they carry all of them.
        attributes: they have all of these values.
        campaign_id: ``otn.campaign.id`` of a campaign ...
        result: ... that ended so for them: one of ``RESULTS``.
    """

    labels: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    campaign_id: int | None = None
    result: str | None = None

    def values(self) -> dict[str, Any]:
        """As the queries read it."""
        return {
            "labels": list(self.labels),
            "attributes": json.dumps(dict(self.attributes)),
            "campaign_id": self.campaign_id,
            "result": self.result,
        }


@dataclass
class ChangeFigures:
    """What a change did: people = changed + unchanged + everyone skipped.

    Args:
        people: named or chosen, each once.
        changed: who carries something else now.
        skipped: the others' reasons, beside those who had it already.
    """

    people: int = 0
    changed: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def unchanged(self) -> int:
        """Who had it already."""
        return self.people - self.changed - sum(self.skipped.values())

    def skip(self, reason: str, people: int = 1) -> None:
        """Count people who were left as they are."""
        if people:
            self.skipped[reason] = self.skipped.get(reason, 0) + people


def change_named(
    engine: Engine, page: Page, psids: Iterable[str], change: Change, *, dry_run: bool = False
) -> ChangeFigures:
    """Change people by PSID; whoever is not there is counted and not made.

    Args:
        engine: the project's database.
        page: whose people.
        psids: any number; they are read in slices.
        change: what to do.
        dry_run: count only.

    Raises:
        LabelError: the change cannot be used.
    """
    change.check()
    figures = ChangeFigures()
    for some in batched_psids(psids):
        figures.people += len(some)
        with transaction(engine) as connection:
            found = people_of(connection, page.id, some)
            figures.skip("unknown_person", len(some) - len(found))
            apply(connection, [change.of(person) for person in found.values()], figures, dry_run=dry_run)
    return figures


def change_chosen(
    engine: Engine, page: Page, chosen: Chosen, change: Change, *, dry_run: bool = False
) -> ChangeFigures:
    """Change everyone who is chosen, in slices of their own transactions: a second try goes on where one ended.

    Args:
        engine: the project's database.
        page: whose people.
        chosen: which of them.
        change: what to do.
        dry_run: count only.

    Raises:
        LabelError: the change cannot be used.
        UsageError: the result is unknown, or has no campaign.
    """
    change.check()
    if (chosen.campaign_id is None) != (chosen.result is None) or chosen.result not in {None, *RESULTS}:
        raise UsageError(f"A campaign and its result go together. Results are: {', '.join(RESULTS)}.")
    figures, after = ChangeFigures(), 0
    while True:
        with transaction(engine) as connection:
            rows = list(
                queries("label").people_chosen(
                    connection, page_id=page.id, after=after, most=SLICE_ROWS, **chosen.values()
                )
            )
            figures.people += len(rows)
            apply(connection, [change.of(row.id) for row in rows], figures, dry_run=dry_run)
        if len(rows) < SLICE_ROWS:
            return figures
        after = rows[-1].id


def batched_psids(psids: Iterable[str]) -> Iterator[list[str]]:
    """Slices of PSIDs without spaces, empty ones and repetitions inside a slice."""
    stripped = (psid.strip() for psid in psids)
    named = (psid for psid in stripped if psid)
    while some := list(islice(named, SLICE_ROWS)):
        yield list(dict.fromkeys(some))


def people_of(connection: PsycopgConnection, page_id: int, psids: Sequence[str]) -> dict[str, int]:
    """Our numbers of those who are there."""
    known = [psid for psid in psids if psid.isprintable()]
    return {row.psid: row.id for row in queries("label").people_by_psid(connection, page_id=page_id, psids=known)}


def apply(
    connection: PsycopgConnection,
    changes: Sequence[Mapping[str, Any]],
    figures: ChangeFigures,
    *,
    dry_run: bool = False,
) -> None:
    """Write changes of a slice, each person once, and count them.

    Args:
        connection: in a transaction.
        changes: as ``Change.of`` gives them.
        figures: counts are added here.
        dry_run: count, then undo.
    """
    if not changes:
        return
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT before_change")
        row = queries("label").change_people(
            connection,
            changes=json.dumps(list(changes)),
            most_labels=LABELS_PER_PERSON,
            most_attributes=ATTRIBUTES_PER_PERSON,
        )
        if dry_run:
            cursor.execute("ROLLBACK TO before_change")
    figures.changed += row.changed
    figures.skip("too_many_labels", row.too_many_labels)
    figures.skip("too_many_attributes", row.too_many_attributes)
    figures.skip("erased", len(changes) - row.found)


def listing(
    engine: Engine, page: Page, chosen: Chosen | None = None, *, after: int = 0, most: int = LIST_ROWS
) -> list[dict[str, Any]]:
    """One page of a list of people, in the order of our numbers.

    Args:
        engine: the project's database.
        page: whose people.
        chosen: by labels and attributes.
        after: the last number of the page before.
        most: people.
    """
    values = (chosen or Chosen()).values()
    wanted = {name: values[name] for name in ("labels", "attributes")}
    with transaction(engine) as connection:
        rows = queries("subscriber").list_subscribers(connection, page_id=page.id, after=after, most=most, **wanted)
        return [row._asdict() for row in rows]


def find(connection: PsycopgConnection, page: Page, name: str) -> Any:
    """A person by PSID, or by our own number with ``#`` before it.

    Raises:
        UnknownSubscriberError: there is nobody of that name on this page.
    """
    digits = name[1:] if name.startswith("#") else ""
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
    person = None
    if name.isprintable() and (number is None or number <= WHOLE):
        person = queries("subscriber").find_subscriber(connection, page_id=page.id, psid=name, id=number)
    if person is None:
        raise UnknownSubscriberError(
            f"The page {page.connection_id!r} knows nobody of this PSID. Take it from a webhook of the page, "
            "or give our number as '#12'; an erased person has no PSID any more."
        )
    return person


def show(engine: Engine, page: Page, name: str) -> dict[str, Any]:
    """All that is known of one person, from one moment; ``timeline`` is the story of it.

    Args:
        engine: the project's database.
        page: whose.
        name: PSID, or ``#`` and our number.

    Raises:
        UnknownSubscriberError: there is nobody of that name.
    """
    with transaction(engine) as connection:
        connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        person = find(connection, page, name)
        number = person.subscriber_id
        known = queries("subscriber")
        everything = {"page": None, "topic": None, "state": None, "after": 0, "most": MOST_SHOWN}
        tokens = queries("consent").list_consents(connection, subscriber_id=number, **everything)
        return {
            **person._asdict(),
            "consents": [{k: v for k, v in row._asdict().items() if k != "psid"} for row in tokens],
            "campaigns": [row._asdict() for row in known.campaigns_of(connection, id=number)],
            "window_messages": [
                row._asdict() for row in known.window_messages_of(connection, id=number, most=MOST_SHOWN)
            ],
            "suppressions": [row._asdict() for row in known.suppressions_of(connection, id=number)],
            "timeline": timeline(connection, number),
        }


def timeline(connection: PsycopgConnection, subscriber_id: int, most: int = MOST_SHOWN) -> list[dict[str, Any]]:
    """One list of all that happened between a person and the page: asked, tapped, campaigns, reactions, answers.

    Args:
        connection: in a transaction.
        subscriber_id: ``otn.subscriber.id``.
        most: moments; where there are more, the newest.
    """
    rows = queries("subscriber").timeline_of(connection, id=subscriber_id, most=most)
    return [row._asdict() for row in rows]
