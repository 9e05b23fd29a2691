"""One look at everything: the installation, its receivers, and each page from both sides."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from otn.consent import pages as registered
from otn.consent.pages import Page
from otn.database import Engine, transaction
from otn.errors import ConfigurationError
from otn.settings import PageSettings
from otn.watch import installation, pages, receivers
from otn.watch.finding import Finding
from otn.watch.page_check import check_page

AT_ONCE = 8  # pages that the platform is asked about at the same time
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
    """

    settings: Callable[[str], PageSettings]
    receiver_urls: Sequence[str] = ()
    resubscribe: bool = False
    stage: Callable[[str], None] = lambda _: None


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
        found = [*installation.findings(connection), *pages.findings(connection, known)]
    asked: dict[int, PageSettings] = {}
    for page in known:
        try:
            asked[page.id] = _settings(page, around)
        except ConfigurationError as error:
            found.append(Finding("connection", "alarm", str(error), "Correct the connection.", page_id=page.id))
        else:
            found.append(Finding("connection", "ok", "The connection is complete.", page_id=page.id))
    if not known:
        found.append(Finding("pages", "warn", "No page is registered.", "Register one by `./otn pages add CONN`."))
    else:
        found.append(Finding("pages", "ok", f"Pages that are registered: {len(known)}."))
    found += _platform(asked, around)
    # Without these secrets nothing can be received, and `./otn up` starts no receiver.
    if any(page.app_secret and page.verify_token for page in asked.values()):
        around.stage("asking the receiver")
        found += receivers.findings(around.receiver_urls)
    return found


def _settings(page: Page, around: Surroundings) -> PageSettings:
    settings = around.settings(page.connection_id)
    if settings.page_id != page.page_id:
        raise ConfigurationError(
            f"The connection names page {settings.page_id}, but is registered for {page.page_id}. Correct its login,"
            " or give the other page a connection of its own."
        )
    return settings


def _platform(asked: Mapping[int, PageSettings], around: Surroundings) -> Iterator[Finding]:
    if not asked:
        return
    around.stage("asking the platform about " + ", ".join(page.connection_id for page in asked.values()))
    with ThreadPoolExecutor(min(AT_ONCE, len(asked))) as threads:
        answers = threads.map(lambda page: check_page(page, subscribe=around.resubscribe), asked.values())
        for page_id, found in zip(asked, answers, strict=True):
            yield from (finding.of(page_id) for finding in found)


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
