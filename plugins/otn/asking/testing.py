"""Testing: a campaign's message, sent to a few people whose window is open before anybody spends a consent on it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from otn.consent.pages import Page
from otn.consent.topics import Topic
from otn.database import Engine, queries, transaction
from otn.errors import UsageError
from otn.rendering import compile_message

MOST_PEOPLE = 10  # of one test: staff, not an audience
MOST_FOUND = 20
_LIKE = str.maketrans({char: f"\\{char}" for char in "\\%_"})
_WHOLE = 2**63 - 1  # of the column


class PeopleOfTestError(UsageError):
    """Nobody, too many, or people of another page would be tested on. Choose one to ten people of the page."""


class NoSuchTestError(UsageError):
    """There is no such test. Clear the first task of the run."""


def choose(engine: Engine, page: Page, topic: Topic, text: str, *, names: bool) -> list[dict[str, Any]]:
    """People whom a text may mean: by label, our number, beginning of a name; those who may get a test come first.

    Args:
        engine: the project's database.
        page: whose people.
        topic: what the message is about: a person may be silenced for it alone.
        text: what somebody wrote.
        names: search names too.

    Returns:
        ``id``, ``first_name``, ``last_name``, ``labels``, ``closes_at`` and ``reason`` (None: may get it now) of each.
    """
    text = " ".join(unicodedata.normalize("NFC", text.replace("\0", "")).split())
    digits = text.removeprefix("#")
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else None
    with transaction(engine) as connection:
        rows = queries("testing").people_to_choose(
            connection,
            page_id=page.id,
            topic_id=topic.id,
            label=text,
            beginning=f"{text.translate(_LIKE)}%" if names and text else None,
            number=number,
            most=MOST_FOUND,
        )
        return [row._asdict() for row in rows]


def chosen(engine: Engine, page: Page, topic: Topic, people: Sequence[int]) -> list[dict[str, Any]]:
    """People of the page by our numbers, as ``choose`` gives them; numbers of nobody are left out."""
    known = [number for number in people if 0 < number <= _WHOLE]
    with transaction(engine) as connection:
        rows = queries("testing").people_by_ids(connection, page_id=page.id, topic_id=topic.id, ids=known)
        return [row._asdict() for row in rows]


def open_test(
    engine: Engine, key: str, message: Mapping[str, Any], people: Sequence[int], page: Page, topic: Topic, *, actor: str
) -> int:
    """Write down who gets the message, and who does not for what reason: one transaction. The same key again resumes.

    Args:
        engine: the project's database.
        key: the run that tests; unique per page.
        message: as the campaign has it, with its personal fields; each person gets it with his own.
        people: one to ten, by our numbers.
        page: whose people.
        topic: what the message is about.
        actor: who tests.

    Returns:
        ``otn.test_message.id``.

    Raises:
        PeopleOfTestError: nobody, too many, or somebody whom the page does not know.
        OtnError: the message is none that Messenger takes, or its template cannot be used.
    """
    compile_message(dict(message))  # a request card is refused there: it would make a consent, and a test must not
    wanted = sorted(set(people))
    check_people(wanted)
    with transaction(engine) as connection:
        book = queries("testing")
        opened = book.insert_test(connection, page_id=page.id, topic_id=topic.id, key=key, actor=actor)
        if opened is None:
            return int(book.find_test(connection, id=None, key=key).id)
        values = {"page_id": page.id, "topic_id": topic.id, "test_id": opened.id, "people": wanted}
        written = list(book.plan_test(connection, message=json.dumps(dict(message)), **values))
        missing = sorted(set(wanted) - {row.subscriber_id for row in written})
        if missing:
            raise PeopleOfTestError(
                f"The page {page.connection_id!r} knows no person {missing[0]}. Choose another one."
            )
        left_out = {row.subscriber_id: row.reason for row in written if row.reason}
        detail = {"test": key, "topic": topic.key, "people": wanted, "left_out": left_out}
        queries("campaign").write_audit(
            connection,
            actor=actor,
            action="message_tested",
            page_id=page.id,
            campaign_id=None,
            detail=json.dumps(detail),
        )
        return int(opened.id)


def check_people(people: Sequence[int]) -> None:
    """Refuse a test on nobody, or on more than a few.

    Raises:
        PeopleOfTestError: so it is.
    """
    if not people:
        raise PeopleOfTestError("Nobody is chosen. Choose one to ten people whose window is open.")
    if len(people) > MOST_PEOPLE:
        raise PeopleOfTestError(f"{len(people)} people are chosen. A test goes to {MOST_PEOPLE} at most; drop some.")


def report(engine: Engine, key: str) -> dict[str, Any] | None:
    """What became of a test.

    Args:
        engine: the project's database.
        key: the run that tests.

    Returns:
        ``created_at``, ``page``, ``halt_reason`` (of the page, or of all sending), ``over`` (nothing of it moves any
        more) and ``people``: one row each. None: nothing is written down yet.
    """
    with transaction(engine) as connection:
        row = queries("testing").find_test(connection, id=None, key=key)
        if row is None:
            return None
        people = [one._asdict() for one in queries("testing").results(connection, test_id=row.id)]
    return {
        "created_at": row.created_at,
        "page": row.connection_id,
        "halt_reason": row.halt_reason,
        "over": all(one["state"] not in {"waiting", "sending"} for one in people),
        "people": people,
    }
