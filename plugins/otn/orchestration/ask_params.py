"""The params of ``otn_ask``, read strictly and without Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from otn.consent.filters import read_filter
from otn.consent.reference import REF_LIMIT
from otn.orchestration.reading_params import (
    ParamError,
    all_params,
    read_key,
    read_labels,
    read_switch,
    read_whole,
    refuse_unknown,
    short,
)
from otn.settings import DEFAULT_PAGE_CONNECTION

if TYPE_CHECKING:
    from otn.asking.ask import AskSpec

FILTER_KEYS = ("locale", "attributes", "interacted_from", "interacted_until")
MOST_STOCK = 100
REASON_LIMIT = 500


@dataclass(frozen=True)
class AskRequest:
    """One trigger of ``otn_ask``.

    Args:
        topic: key of the topic; None: nobody is asked, what waits is sent.
        page: connection id of the page; None: ``messenger_default`` for an ask, every page without one.
        include_labels: people carry all of them.
        exclude_labels: and none of these.
        filter: as ``read_filter`` gives it.
        ref: what the consent is about beyond the topic.
        stock: people with so many unspent tokens are not asked.
        stock_reason: why more than one.
        max_people: at most so many.
        override_reason: why region and feature are not heeded.
        dry_run: count and show, write nothing.
    """

    topic: str | None = None
    page: str | None = None
    include_labels: tuple[str, ...] = ()
    exclude_labels: tuple[str, ...] = ()
    filter: dict[str, Any] = field(default_factory=dict)
    ref: str | None = None
    stock: int = 1
    stock_reason: str | None = None
    max_people: int | None = None
    override_reason: str | None = None
    dry_run: bool = False

    @classmethod
    def from_context(cls, context: Mapping[str, Any]) -> AskRequest:
        """Read the params of a run.

        Args:
            context: Airflow's task context.

        Raises:
            ParamError: one of them cannot be used; the sentence names it.
        """
        return cls.from_params(all_params(context))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> AskRequest:
        """Read params as the form or a conf gives them.

        Raises:
            UsageError: one of them cannot be used; the sentence names it.
        """
        refuse_unknown(params, ASK_KEYS)
        request = cls(
            topic=_optional(params, "topic"),
            page=_optional(params, "page"),
            include_labels=read_labels(params, "include_labels"),
            exclude_labels=read_labels(params, "exclude_labels"),
            filter=read_filter(params.get("filter"), known=FILTER_KEYS),
            ref=_text(params, "ref", REF_LIMIT),
            stock=_stock(params),
            stock_reason=_text(params, "stock_reason", REASON_LIMIT),
            max_people=read_whole(params, "max_people", least=1),
            override_reason=_text(params, "override_reason", REASON_LIMIT),
            dry_run=read_switch(params, "dry_run", default=False),
        )
        request.refuse_contradiction()
        return request

    @property
    def asking_page(self) -> str:
        """Connection id of the page whose people are asked."""
        return self.page or DEFAULT_PAGE_CONNECTION

    def refuse_contradiction(self) -> None:
        """Raise what cannot be meant: labels twice, a stock without a reason, whom to ask but not what.

        Raises:
            ParamError: the sentence names it.
        """
        both = sorted(set(self.include_labels) & set(self.exclude_labels))
        if both:
            raise ParamError(f"The label {short(both[0])} is both included and excluded: nobody would be left.")
        if self.stock > 1 and self.stock_reason is None:
            raise ParamError(
                f"stock is {self.stock}: people would be asked although they hold a consent. Give stock_reason."
            )
        if self.topic is None and self != AskRequest(page=self.page):
            raise ParamError("The param 'topic' is missing: it says what people are asked about. Give it.")

    def spec(self, key: str, gated: tuple[str, ...]) -> AskSpec:
        """What is to be asked.

        Args:
            key: of the run.
            gated: countries whose people are not asked, unless somebody overrides that.
        """
        from otn.asking.ask import AskSpec

        return AskSpec(
            key=key,
            ref=self.ref,
            include_labels=self.include_labels,
            exclude_labels=self.exclude_labels,
            filter=self.filter,
            stock=self.stock,
            stock_reason=self.stock_reason,
            max_people=self.max_people,
            gated=() if self.override_reason else gated,
            gate_reason=self.override_reason,
        )


ASK_KEYS = frozenset(one.name for one in fields(AskRequest))


def _optional(params: Mapping[str, Any], name: str) -> str | None:
    value = params.get(name)
    return None if value is None or value == "" else read_key(params, name)


def _text(params: Mapping[str, Any], name: str, limit: int) -> str | None:
    value = params.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.isprintable() or not value.strip() or len(value) > limit:
        raise ParamError(f"{name} is {short(value)}. Give 1 to {limit} printable characters.")
    return value.strip()


def _stock(params: Mapping[str, Any]) -> int:
    stock = read_whole(params, "stock", least=1)
    if stock is not None and stock > MOST_STOCK:
        raise ParamError(f"stock is {stock}. Give a whole number from 1 to {MOST_STOCK}.")
    return 1 if stock is None else stock
