"""How the platform answers for dead one-time tokens: what a calibration learnt for a page and a version of its API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from otn.database import PsycopgConnection, queries
from otn.errors import ConfigurationError
from otn.messenger.errors import TOKEN_RULES, TokenFate, TokenRule


def load(conn: PsycopgConnection, page_row_id: int, api_version: str) -> tuple[TokenRule, ...]:
    """The rules for a client that spends tokens: what was learnt, then what holds without that.

    Args:
        conn: a connection.
        page_row_id: ``otn.page.id``.
        api_version: as in the page's connection; another version may answer otherwise.

    Raises:
        ConfigurationError: a stored rule cannot be read.
    """
    rows = queries("calibration").learned(conn, page_id=page_row_id, api_version=api_version)
    try:
        return (*(TokenRule.from_dict(row._asdict()) for row in rows), *TOKEN_RULES)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def learned_at(conn: PsycopgConnection, page_row_id: int, api_version: str) -> datetime | None:
    """When it was learnt what the platform answers for a used token; None: never, for this page and version."""
    rows = queries("calibration").learned(conn, page_id=page_row_id, api_version=api_version)
    return next((row.learned_at for row in rows if row.fate == TokenFate.USED), None)


def keep(
    conn: PsycopgConnection, page_row_id: int, api_version: str, rules: Mapping[TokenFate, TokenRule], campaign_id: int
) -> None:
    """Keep what was learnt in place of what was known before.

    Args:
        conn: a connection in a transaction.
        page_row_id: ``otn.page.id``.
        api_version: that answered so.
        rules: one a kind of dead token.
        campaign_id: the campaign that spent the token which was asked about.
    """
    of = {"page_id": page_row_id, "api_version": api_version}
    queries("calibration").forget(conn, **of)
    for rule in rules.values():
        queries("calibration").learn(conn, **of, **rule.to_dict(), campaign_id=campaign_id)
