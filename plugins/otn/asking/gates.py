"""What bars asking before anybody is chosen: the state of the page's feature, and the regions where it is in doubt."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from otn.errors import ConfigurationError, UsageError
from otn.messenger.client import MessengerClient
from otn.messenger.errors import MessengerError

FEATURE_VARIABLE = "OTN_FEATURE"
REGIONS_VARIABLE = "OTN_ASK_GATED_REGIONS"
DEFAULT_FEATURE = "one.?time"  # its name in the list is in no document of Meta
DEFAULT_REGIONS = (
    "EEA,GB,JP"  # Meta switched the feature off there in December 2020, and no page says whether it is back
)
NO_REGIONS = "none"
BARRED = frozenset({"pending", "rejected", "limited"})
EEA = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()  # noqa: SIM905
)


class FeatureBarredError(UsageError):
    """The page may not ask: its request for one-time notifications is not granted."""


def gated_regions(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Countries (ISO 3166, two letters) whose people are not asked; told by their locale, which is all there is.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: ``OTN_ASK_GATED_REGIONS`` names something else than countries.
    """
    text = (os.environ if environ is None else environ).get(REGIONS_VARIABLE, "").strip() or DEFAULT_REGIONS
    if text.lower() == NO_REGIONS:
        return ()
    names = {name.strip().upper() for name in text.split(",") if name.strip()}
    wrong = sorted(name for name in names if name != "EEA" and not re.fullmatch("[A-Z]{2}", name, re.ASCII))
    if wrong:
        raise ConfigurationError(
            f"{REGIONS_VARIABLE} holds {wrong[0]!r}. Give countries by two letters, EEA for all of them there, "
            f"or {NO_REGIONS!r}."
        )
    return tuple(sorted((names - {"EEA"}) | (EEA if "EEA" in names else set())))


def check_feature(client: MessengerClient, environ: Mapping[str, str] | None = None) -> list[str]:
    """Refuse to ask for a page whose feature is not granted.

    Source: ``/me/messaging_feature_review``. What the feature is called there is not documented, so a list without it
    bars nothing; nor does a list that cannot be read, as the page's token may lack just that right.

    Args:
        client: speaks for the page.
        environ: the environment; the process's own by default.

    Returns:
        Warnings, for people.

    Raises:
        FeatureBarredError: it is pending, rejected or limited.
        ConfigurationError: ``OTN_FEATURE`` is no regular expression.
    """
    pattern = _pattern(environ)
    try:
        review = client.feature_review()
    except MessengerError as error:
        return [f"Whether the page may ask is not known: {error}"]
    found = [row for row in review if pattern.search(str(row.get("feature")))]
    for row in found:
        if str(row.get("status")).lower() in BARRED:
            raise FeatureBarredError(
                f"The feature {row['feature']!r} of the page is {row['status']}: request cards would be refused. "
                "Look at the page's settings, Advanced Messaging; or give override_reason to ask all the same."
            )
    if not found:
        return [
            "The page's feature review does not list one-time notifications; asking shows whether they are granted."
        ]
    return []


def _pattern(environ: Mapping[str, str] | None) -> re.Pattern[str]:
    text = (os.environ if environ is None else environ).get(FEATURE_VARIABLE, "").strip() or DEFAULT_FEATURE
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ConfigurationError(
            f"{FEATURE_VARIABLE} is no regular expression ({error}). Give a part of the feature's name."
        ) from None
