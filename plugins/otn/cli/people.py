"""How commands name people: PSIDs as arguments or from a file, or everyone of whom something is known."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import typer

from otn.campaign import control
from otn.consent.labels import check_attribute, check_value
from otn.consent.pages import Page
from otn.consent.subscribers import Chosen
from otn.database import Engine
from otn.errors import UsageError

STDIN = "-"

PsidArguments = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PSID]...", help="People; '-' reads PSIDs from stdin, one a line.", show_default=False),
]
PsidArgument = Annotated[
    str, typer.Argument(metavar="PSID", help="The person; '-' reads the PSID from stdin, '#12' is our number.")
]
LabelFilterOption = Annotated[
    list[str] | None, typer.Option("--label-filter", metavar="LABEL", help="Everyone with this label.")
]
AttributeFilterOption = Annotated[
    list[str] | None, typer.Option("--attribute-filter", metavar="NAME=VALUE", help="Everyone with this attribute.")
]
CampaignOption = Annotated[
    str | None, typer.Option("--campaign", metavar="KEY", help="Everyone of this campaign ...", show_default=False)
]
ResultOption = Annotated[
    str | None,
    typer.Option(
        "--result",
        metavar="RESULT",
        help="... that ended so: sent, refused, unknown, skipped, delivered, read.",
        show_default=False,
    ),
]


def one_psid(argument: str) -> str:
    """The PSID that was given, or the first line of stdin.

    Raises:
        UsageError: stdin holds none.
    """
    if argument != STDIN:
        return argument
    line = sys.stdin.readline().strip()
    if not line:
        raise UsageError("There is no PSID on stdin. Write one line.")
    return line


def psids(arguments: Sequence[str]) -> Iterator[str]:
    """PSIDs as they come; those of stdin are read one by one."""
    for argument in arguments:
        if argument == STDIN:
            yield from _lines(sys.stdin)
        else:
            yield argument


def _lines(stream: Iterable[str]) -> Iterator[str]:
    try:
        for line in stream:
            yield line.strip()
    except UnicodeDecodeError:
        raise UsageError("stdin is no UTF-8 text. Give one PSID a line.") from None


def pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """``name=value`` as a mapping.

    Raises:
        UsageError: one of them is none.
    """
    found = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"{text!r} is no attribute. Write NAME=VALUE.")
        found[check_attribute(name)] = check_value(value)
    return found


def chosen(
    engine: Engine,
    page: Page,
    labels: Sequence[str] | None,
    attributes: Sequence[str] | None,
    campaign: str | None,
    result: str | None,
) -> Chosen | None:
    """Whom the options choose; None where none is given.

    Raises:
        UsageError: they cannot be used.
    """
    if not (labels or attributes or campaign or result):
        return None
    if (campaign is None) != (result is None):
        raise UsageError("--campaign and --result go together. Give both.")
    campaign_id = control.find(engine, page.connection_id, campaign) if campaign else None
    return Chosen(tuple(labels or ()), pairs(attributes), campaign_id, result)
