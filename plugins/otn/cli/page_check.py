"""What the platform says about a page: its token, its webhooks, its features."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, PageCredentials
from otn.messenger.errors import MessengerError, Outcome
from otn.settings import PageSettings

Level = Literal["green", "yellow", "red"]

# Without these no consent arrives and no stop word is heard.
NEEDED_FIELDS = ("messaging_optins", "messages")
# Without these evidence, windows or warnings are missing.
USEFUL_FIELDS = (
    "messaging_postbacks",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "messaging_policy_enforcement",
)
DEAD_TOKEN = 190  # Meta docs, Messenger error codes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: green, yellow or red.
        text: how it is.
        advice: what to do; empty when green.
    """

    level: Level
    text: str
    advice: str = ""


class PageCheck:
    """Asks the platform about one page.

    Args:
        page: its settings.
    """

    def __init__(self, page: PageSettings) -> None:
        self._page = page
        self.token_refused = False
        credentials = PageCredentials(page.base_url, page.page_id, page.access_token, page.app_secret, page.api_version)
        self._client = MessengerClient(credentials, connect_timeout_s=3, read_timeout_s=8, pool_size=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def findings(self, *, subscribe: bool = False) -> list[Finding]:
        """Everything there is to say; the token comes first.

        Args:
            subscribe: repair a missing subscription.
        """
        found = self._secrets()
        try:
            fields = self._fields()
            if subscribe and not fields.issuperset((*NEEDED_FIELDS, *USEFUL_FIELDS)):
                self._client.subscribe(sorted({*fields, *NEEDED_FIELDS, *USEFUL_FIELDS}))
                fields = self._fields()
        except MessengerError as error:
            return [self._refused(error), *found]
        return [Finding("green", "The access token works."), self._subscription(fields), *self._features(), *found]

    def _fields(self) -> set[str]:
        apps = self._client.subscribed_apps()
        lists = [app.get("subscribed_fields") for app in apps]
        return {str(field) for fields in lists if isinstance(fields, list) for field in fields}

    def _refused(self, error: MessengerError) -> Finding:
        self.token_refused = error.error is not None and error.error.code == DEAD_TOKEN
        unreachable = error.error is None and error.outcome in {Outcome.TRANSIENT, Outcome.UNKNOWN}
        return Finding("yellow" if unreachable else "red", str(error))

    def _subscription(self, fields: set[str]) -> Finding:
        repair = f"Run `./otn pages add {self._page.connection_id} --subscribe`."
        if missing := [name for name in NEEDED_FIELDS if name not in fields]:
            return Finding("red", f"No app gets these webhooks of the page: {', '.join(missing)}.", repair)
        if missing := [name for name in USEFUL_FIELDS if name not in fields]:
            return Finding("yellow", f"Webhooks that would help are not subscribed: {', '.join(missing)}.", repair)
        return Finding("green", "All webhooks are subscribed.")

    def _features(self) -> list[Finding]:
        try:
            reviews = self._client.feature_review()
        except MessengerError as error:
            return [Finding("yellow", f"The page's features cannot be read. {error}")]
        # The name of the one-time feature in this list is documented nowhere: all of them are shown.
        told = [f"{row.get('feature')}: {row.get('status')}" for row in reviews]
        bad = [row for row in reviews if row.get("status") in {"rejected", "limited"}]
        if bad:
            return [Finding("yellow", f"Page features: {', '.join(told)}.", "Look at the page's Advanced Messaging.")]
        return [Finding("green", f"Page features: {', '.join(told) or 'none listed'}.")]

    def _secrets(self) -> list[Finding]:
        missing = [name for name in ("app_secret", "verify_token") if not getattr(self._page, name)]
        if not missing:
            return []
        return [
            Finding(
                "red",
                f"The connection has no {' and no '.join(missing)}: webhooks of the page cannot be received.",
                f"Add {' and '.join(missing)} to the connection's extra.",
            )
        ]


def check_page(page: PageSettings) -> list[Finding]:
    """All findings of one page, whatever its connection is worth."""
    try:
        with PageCheck(page) as check:
            return check.findings()
    except ConfigurationError as error:
        return [Finding("red", str(error))]
