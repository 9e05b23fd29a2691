"""One look at everything: the installation, its receivers, and each page from both sides."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from otn.consent import pages as registered
from otn.consent.pages import Page
from otn.database import Engine, transaction
from otn.errors import ConfigurationError
from otn.settings import PageSettings
from otn.watch import campaign_files, epoch, installation, pages, receivers, silences
from otn.watch.finding import Finding
from otn.watch.page_check import check_page
from otn.watch.patience import within

AT_ONCE = 8  # pages that the platform is asked about at the same time
MOST_NAMED = 5  # pages in one line
RECEIVER_URLS = "OTN_RECEIVER_URL"
RESUBSCRIBE = "OTN_RESUBSCRIBE"
_YES, _NO = frozenset({"", "1", "on", "true", "yes"}), frozenset({"0", "off", "false", "no"})


@dataclass(frozen=True)
class Surroundings:
    """What a look needs beside the database.

    Args:
        settings: of a page, by its connection; raises ConfigurationError.
        receiver_urls: where receivers answer.
        resubscribe: repair a missing subscription; False: change nothing.
        stage: told what is looked at.
        limit_s: seconds for the platform, and seconds for the receivers, however many there are.
        campaigns: folder of the campaign files; None: it is not looked at.
    """

    settings: Callable[[str], PageSettings]
    receiver_urls: Sequence[str] = ()
    resubscribe: bool = False
    stage: Callable[[str], None] = lambda _: None
    limit_s: float = 240
    campaigns: Path | None = None


def look(engine: Engine, around: Surroundings) -> list[Finding]:
    """Everything that there is to find.

    Args:
        engine: the project's database.
        around: what else is needed.

    Raises:
        DatabaseError: the database could not be asked.
    """
    with transaction(engine) as connection:
        known = registered.listing(connection)
        found = [*installation.findings(connection), epoch.finding(connection), silences.finding(connection)]
        found += pages.findings(connection, known)
        if around.campaigns:
            found += campaign_files.findings(connection, known, around.campaigns)
    asked, told = connections(known, around)
    found += [*told, *registration(known), *platform(asked, around)]
    # Without these secrets nothing can be received, and `./otn up` starts no receiver.
    if can_receive(asked):
        around.stage("asking the receiver")
        found += receivers.findings(around.receiver_urls, limit_s=around.limit_s)
    return found


def connections(known: Sequence[Page], around: Surroundings) -> tuple[dict[int, PageSettings], list[Finding]]:
    """What each page's connection says, by ``otn.page.id``, and what is to be said of the connections."""
    asked: dict[int, PageSettings] = {}
    found: list[Finding] = []
    for page in known:
        try:
            asked[page.id] = _settings(page, around)
        except ConfigurationError as error:
            found.append(Finding("connection", "alarm", str(error), "Correct the connection.", page_id=page.id))
        else:
            found.append(Finding("connection", "ok", "The connection is complete.", page_id=page.id))
    return asked, found


def registration(known: Sequence[Page]) -> list[Finding]:
    """Whether there is any page."""
    if not known:
        return [Finding("pages", "warn", "No page is registered.", "Register one by `./otn pages add CONN`.")]
    return [Finding("pages", "ok", f"Pages that are registered: {len(known)}.")]


def can_receive(asked: Mapping[int, PageSettings]) -> bool:
    """Whether webhooks of any page can be checked."""
    return any(page.app_secret and page.verify_token for page in asked.values())


def _settings(page: Page, around: Surroundings) -> PageSettings:
    settings = around.settings(page.connection_id)
    if settings.page_id != page.page_id:
        raise ConfigurationError(
            f"The connection names page {settings.page_id}, but is registered for {page.page_id}. Correct its login,"
            " or give the other page a connection of its own."
        )
    return settings


def platform(asked: Mapping[int, PageSettings], around: Surroundings) -> Iterator[Finding]:
    """What the platform says of the pages, asked at the same time; who has not answered in time is told so."""
    if not asked:
        return
    around.stage("asking the platform about " + _names([page.connection_id for page in asked.values()]))
    answers = within(
        around.limit_s, lambda page: check_page(page, subscribe=around.resubscribe), [*asked.values()], at_once=AT_ONCE
    )
    for page_id, answer in zip(asked, answers, strict=True):
        late = Finding(
            "platform",
            "warn",
            f"Within {around.limit_s:.0f} s the platform said nothing of the page.",
            "See whether the platform is well, and whether this machine reaches it.",
        )
        for one in answer.result() if answer.done() else [late]:
            yield one.of(page_id)


def _names(connection_ids: Sequence[str]) -> str:
    more = len(connection_ids) - MOST_NAMED
    return ", ".join(connection_ids[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def receiver_urls(environ: Mapping[str, str] | None = None) -> list[str]:
    """Where receivers answer: ``OTN_RECEIVER_URL`` (several with commas), or the one that `./otn up` runs.

    Args:
        environ: the environment; the process's own by default.
    """
    values = os.environ if environ is None else environ
    given = [url.strip() for url in values.get(RECEIVER_URLS, "").split(",") if url.strip()]
    if not given and values.get("OTN_RECEIVER_PORT"):
        host = values.get("OTN_RECEIVER_HOST") or "127.0.0.1"
        given = [f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{values['OTN_RECEIVER_PORT']}"]  # noqa: S104
    return given


def may_resubscribe(environ: Mapping[str, str] | None = None) -> bool:
    """Whether lapsed subscriptions are repaired: ``OTN_RESUBSCRIBE``, on by default.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        ConfigurationError: it is neither on nor off.
    """
    text = (os.environ if environ is None else environ).get(RESUBSCRIBE, "").strip().lower()
    if text not in _YES | _NO:
        raise ConfigurationError(f"{RESUBSCRIBE} is {text!r}. Give on or off.")
    return text in _YES
