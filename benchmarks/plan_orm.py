"""A plan as one writes it with SQLAlchemy's ORM: each person is loaded, judged in Python, and becomes a row.

As its docs advise for many rows: relations by ``selectinload``, people in portions, one flush for each portion, one
commit. It knows fewer rules than ours: what the people of this benchmark need.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ARRAY, Computed, DateTime, ForeignKey, MetaData, Text, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from otn.database import Engine

PORTION = 1_000
PER_CHUNK = 1_800


class Base(DeclarativeBase):
    """The tables of ours that a plan reads and writes; of their columns, what it needs."""

    metadata = MetaData(schema="otn")


class Recipient(Base):
    """Somebody who is to get the message."""

    __tablename__ = "recipient"
    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("otn.token.id"))
    chunk: Mapped[int]
    variables: Mapped[dict[str, Any]] = mapped_column(JSONB)
    holds_token: Mapped[bool] = mapped_column(Computed("by the schema"))


class Exclusion(Base):
    """Somebody left out."""

    __tablename__ = "exclusion"
    campaign_id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(primary_key=True)
    reason: Mapped[str]


class Token(Base):
    """What lets us send one message to a person."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("otn.subscriber.id"))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    held_by: Mapped[list[Recipient]] = relationship(viewonly=True)


class Suppression(Base):
    """Somebody who wants silence."""

    __tablename__ = "suppression"
    id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("otn.subscriber.id"))
    reason: Mapped[str]


class Person(Base):
    """A subscriber."""

    __tablename__ = "subscriber"
    id: Mapped[int] = mapped_column(primary_key=True)
    first_name: Mapped[str | None]
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text))
    tokens: Mapped[list[Token]] = relationship()
    suppressions: Mapped[list[Suppression]] = relationship()


PEOPLE = select(Person).options(selectinload(Person.tokens).selectinload(Token.held_by))
PEOPLE = PEOPLE.options(selectinload(Person.suppressions)).order_by(Person.id)


def plan_by_row(engine: Engine, campaign: int, excluded_labels: Sequence[str], people: int) -> None:
    """Plan the first people of the database.

    Args:
        engine: the database; it holds people of one page who opted in to one topic.
        campaign: ``otn.campaign.id``.
        excluded_labels: whoever has one of them is left out.
        people: so many.
    """
    unwanted, planned, last = frozenset(excluded_labels), 0, 0
    with Session(engine) as session:
        while people > 0:
            portion = session.scalars(PEOPLE.where(Person.id > last).limit(min(people, PORTION))).all()
            for person in portion:
                row = _judge(person, campaign, unwanted)
                if isinstance(row, Recipient):
                    row.chunk = 1 + planned // PER_CHUNK
                    planned += 1
                session.add(row)
            session.flush()
            last, people = portion[-1].id, people - len(portion)
            session.expunge_all()
        session.commit()


def _judge(person: Person, campaign: int, unwanted: frozenset[str]) -> Recipient | Exclusion:
    spendable = [token for token in person.tokens if token.expires_at > datetime.now(UTC) and not _held(token)]
    silences = {one.reason for one in person.suppressions}
    reason = None
    if silences & {"operator", "erased", "stop_word"}:
        reason = "suppressed"
    elif silences:
        reason = "unreachable"
    elif unwanted.intersection(person.labels):
        reason = "label_excluded"
    elif not spendable:
        reason = "token_spent" if any(map(_held, person.tokens)) else "token_expired"
    if reason is not None:
        return Exclusion(campaign_id=campaign, subscriber_id=person.id, reason=reason)
    first = min(spendable, key=lambda token: (token.expires_at, token.id))
    named = {} if person.first_name is None else {"first_name": person.first_name}
    return Recipient(campaign_id=campaign, subscriber_id=person.id, token_id=first.id, variables=named)


def _held(token: Token) -> bool:
    return any(one.holds_token for one in token.held_by)
