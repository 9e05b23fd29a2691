"""Profiles: what people are called. Fetched slowly, in what the page's pace leaves over; nothing waits for them."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from otn.database import Engine, queries, transaction
from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, ProfileOutcome, ProfileResult
from otn.pace import GRAPH_BATCH_LIMIT, Pace
from otn.settings import PageSettings

FIELDS = ("first_name", "last_name", "locale", "timezone")
PROFILE_DAYS = 90
NAME_LIMIT = 100  # characters
LOCALE_LIMIT = 20
DAY_S = 86_400.0
NO_PERMISSION_AGAIN_S = 7 * DAY_S  # the page may get it
NO_ANSWER_AGAIN_S = 3_600.0
PAGE_REST_S = 600.0
CALL_S = 0.3  # so much of the page's pace a call takes: an answer to a person may have to wait behind it
POLITE_S = 1.0  # so much of the pace taken already: somebody is sending, and names can wait

# Meta docs, User Profile API: error subcodes.
PHONE_ACCOUNT = 2018218
NO_PERMISSION = 2018247

_SIGNLESS = frozenset({"Cc", "Cs", "Co", "Zl", "Zp"})  # Unicode's categories of what nobody can see
# Signs that turn the reading direction of everything after them: a name has no use for them.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class ProfileSettings:
    """What is asked for.

    Args:
        fields: of the platform's; none: profiles are not fetched.
        again_days: when a profile is asked for anew.
    """

    fields: tuple[str, ...] = ("first_name",)
    again_days: int = PROFILE_DAYS


@dataclass(frozen=True)
class ProfileFigures:
    """What became of one fetch.

    Args:
        asked: people whom it asked about; 0: nobody was due, or it was not the time for it.
        known: something came.
        unknown: the platform has no profile for them, or gives none.
        given_back: as if never asked: the platform braked or refused the page.
        unanswered: asked about again in an hour.
    """

    asked: int = 0
    known: int = 0
    unknown: int = 0
    given_back: int = 0
    unanswered: int = 0


def read_profile_settings(environ: Mapping[str, str] | None = None) -> ProfileSettings:
    """Read ``OTN_PROFILE_FIELDS`` (``first_name`` by default, ``none`` for no profiles) and ``OTN_PROFILE_DAYS`` (90).

    Raises:
        ConfigurationError: one of them cannot be used.
    """
    values = os.environ if environ is None else environ
    named = values.get("OTN_PROFILE_FIELDS", "").replace(" ", "") or "first_name"
    fields = () if named == "none" else tuple(dict.fromkeys(name for name in named.split(",") if name))
    wrong = sorted(set(fields) - set(FIELDS))
    if wrong:
        raise ConfigurationError(
            f"OTN_PROFILE_FIELDS names {wrong[0]!r}. Choose from {', '.join(FIELDS)}, or 'none' for no profiles."
        )
    days = values.get("OTN_PROFILE_DAYS", "").strip() or str(PROFILE_DAYS)
    if not days.isascii() or not days.isdecimal() or not 1 <= int(days) <= 3660:
        raise ConfigurationError(f"OTN_PROFILE_DAYS is {days!r}. Give a number of days from 1 to 3660.")
    return ProfileSettings(fields, int(days))


def fetch(
    engine: Engine,
    client: MessengerClient,
    settings: PageSettings,
    page_row_id: int,
    most: int = GRAPH_BATCH_LIMIT,
    *,
    environ: Mapping[str, str] | None = None,
) -> ProfileFigures:
    """Ask for the profiles of a few people, in one call; whoever wrote last comes first.

    It asks for no more than a third of a second of the page's pace, and for nobody while others are sending: call it
    again while ``asked`` is not 0. Two at once take different people. Whoever an operator silenced, or who was erased,
    is not asked about.

    Args:
        engine: the project's database.
        client: speaks for the page.
        settings: of the page; its pace.
        page_row_id: ``otn.page.id``.
        most: people, 50 at most.
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: the settings cannot be used.
    """
    wanted = read_profile_settings(environ)
    pace = Pace.of(engine, page_row_id, settings)
    if not wanted.fields or pace.ahead_s() > POLITE_S:
        return ProfileFigures()
    claims = _claim(engine, page_row_id, min(most, _call_size(settings)))
    if not claims:
        return ProfileFigures()
    time.sleep(max(0.0, pace.take(len(claims)).start - time.monotonic()))
    results = client.profiles([claim.psid for claim in claims], wanted.fields)
    return _record(engine, page_row_id, list(zip(claims, results, strict=True)), wanted.again_days * DAY_S)


def _call_size(settings: PageSettings) -> int:
    if settings.messages_per_second is None:
        return GRAPH_BATCH_LIMIT
    return max(1, min(GRAPH_BATCH_LIMIT, int(settings.messages_per_second * CALL_S)))


def _claim(engine: Engine, page_row_id: int, most: int) -> list[Any]:
    with transaction(engine) as connection:
        return list(queries("profile").claim_profiles(connection, page_id=page_row_id, most=most))


def _record(
    engine: Engine, page_row_id: int, answers: list[tuple[Any, ProfileResult]], again_s: float
) -> ProfileFigures:
    back = {ProfileOutcome.THROTTLED, ProfileOutcome.PAGE_HALTED}
    given_back = [claim for claim, result in answers if result.outcome in back]
    rows = [_row(claim, result, again_s) for claim, result in answers if result.outcome not in back]
    figures = ProfileFigures(
        asked=len(answers),
        known=sum(row["error"] is None for row in rows),
        unknown=sum(row["error"] not in {None, "no_answer"} for row in rows),
        given_back=len(given_back),
        unanswered=sum(row["error"] == "no_answer" for row in rows),
    )
    rest_s = _rest_s([result for _, result in answers], rows)
    with transaction(engine) as connection:
        if rows:
            queries("profile").record_profiles(connection, answers=json.dumps(rows))
        if given_back:
            claims = [{"id": one.id, "claimed_at": one.claimed_at, "before": one.before} for one in given_back]
            queries("profile").give_back_profiles(connection, claims=json.dumps(claims))
        if rest_s:
            queries("profile").rest_profiles(connection, page_id=page_row_id, seconds=rest_s)
    return figures


def _row(claim: Any, result: ProfileResult, again_s: float) -> dict[str, Any]:
    error = _error(result)
    again_s = {"no_answer": NO_ANSWER_AGAIN_S, "no_permission": NO_PERMISSION_AGAIN_S}.get(error or "", again_s)
    profile = asdict(Profile.read(result.fields or {}))
    return {"id": claim.id, "claimed_at": claim.claimed_at, "error": error, "again_s": again_s, **profile}


def _error(result: ProfileResult) -> str | None:
    if result.outcome is ProfileOutcome.FOUND:
        return None if result.fields else "no_access"
    if result.outcome is ProfileOutcome.TRANSIENT:
        return "no_answer"
    codes = {result.error.code, result.error.subcode} if result.error else set()
    if PHONE_ACCOUNT in codes:
        return "phone_account"
    return "no_permission" if NO_PERMISSION in codes else "refused"


def _rest_s(results: Sequence[ProfileResult], rows: list[dict[str, Any]]) -> float:
    """How long the page's profiles are left alone: by the worst that was said, if it may concern everybody."""
    outcomes = {result.outcome: result for result in results}
    errors = {row["error"] for row in rows}
    throttled = outcomes.get(ProfileOutcome.THROTTLED)
    if throttled:
        return max(throttled.wait_s or 0.0, PAGE_REST_S)
    if ProfileOutcome.PAGE_HALTED in outcomes:
        return PAGE_REST_S
    # One person without permission is a person; everybody without permission is the page.
    if "no_permission" in errors and errors <= {"no_permission", "no_answer"}:
        return DAY_S
    return max(result.wait_s or 0.0 for result in results) if errors == {"no_answer"} else 0.0


@dataclass(frozen=True)
class Profile:
    """A profile as it is stored: whatever came, made harmless.

    Args:
        first_name: at most 100 characters.
        last_name: likewise.
        locale: such as ``en_US``.
        utc_offset: hours from GMT.
    """

    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    utc_offset: float | None = None

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Profile:
        """Read the platform's fields; one that cannot be used is as good as absent."""
        hours = fields.get("timezone")
        usable = isinstance(hours, int | float) and not isinstance(hours, bool) and -24 < hours < 24
        return cls(
            first_name=_name(fields.get("first_name"), NAME_LIMIT),
            last_name=_name(fields.get("last_name"), NAME_LIMIT),
            locale=_name(fields.get("locale"), LOCALE_LIMIT),
            utc_offset=round(float(hours), 2) if usable and hours is not None else None,
        )


def _name(value: Any, limit: int) -> str | None:
    if not isinstance(value, str):
        return None
    plain = "".join(sign for sign in value[: limit * 4] if not _harmful(sign))
    return " ".join(plain.split())[:limit].strip() or None


def _harmful(sign: str) -> bool:
    return sign in _TURNING or (unicodedata.category(sign) in _SIGNLESS and not sign.isspace())
