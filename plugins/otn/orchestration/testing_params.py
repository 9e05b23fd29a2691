"""The params of ``otn_test_message``, read strictly and without Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otn.orchestration.params import read_message
from otn.orchestration.reading_params import ParamError, all_params, read_key, refuse_unknown, short
from otn.settings import DEFAULT_PAGE_CONNECTION

TEST_KEYS = frozenset({"topic", "page", "text", "message", "people"})


@dataclass(frozen=True)
class MessageTestRequest:
    """One trigger of ``otn_test_message``.

    Args:
        topic: key of the topic that the message is about.
        message: a Send API message object, with personal fields.
        people: our numbers of those who get it.
        page: connection id of the page.
    """

    topic: str
    message: dict[str, Any] = field(repr=False)
    people: tuple[int, ...]
    page: str = DEFAULT_PAGE_CONNECTION

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> MessageTestRequest:
        """Read the params of a run.

        Args:
            context: Airflow's task context.

        Raises:
            UsageError: one of them cannot be used; the sentence names it.
        """
        return cls.from_params(all_params(context))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> MessageTestRequest:
        """Read params as a form or a conf gives them.

        Raises:
            UsageError: one of them cannot be used; the sentence names it.
        """
        refuse_unknown(params, TEST_KEYS)
        return cls(
            topic=read_key(params, "topic"),
            message=read_message(params.get("text"), params.get("message")),
            people=_people(params.get("people")),
            page=read_key(params, "page", default=DEFAULT_PAGE_CONNECTION),
        )


def _people(value: Any) -> tuple[int, ...]:
    from otn.asking.testing import check_people

    if not isinstance(value, list | tuple):
        raise ParamError(f"people is {short(value)}. Give a list of our numbers of people, such as [12, 15].")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 2**63:
            raise ParamError(f"people holds {short(number)}. Give our numbers of people, such as 12; never a PSID.")
    people = tuple(sorted(set(value)))
    check_people(people)
    return people
