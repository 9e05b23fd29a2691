"""What the platform says about a page: its token, its webhooks, its features."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from otn.errors import ConfigurationError
from otn.messenger.client import MessengerClient, PageCredentials
from otn.messenger.errors import MessengerError, Outcome
from otn.settings import PageSettings
from otn.watch.finding import Finding

# Without these no consent arrives, no stop word is heard, and no block of the page is known.
NEEDED_FIELDS = ("messages", "messaging_optins", "messaging_policy_enforcement")
# Without these evidence, windows or answers are missing.
USEFUL_FIELDS = (
    "messaging_postbacks",
    "messaging_referrals",
    "message_deliveries",
    "message_reads",
    "message_echoes",
    "message_reactions",
)
ALL_FIELDS = (*NEEDED_FIELDS, *USEFUL_FIELDS)
DEAD_TOKEN = 190  # Meta docs, Messenger error codes
TRIES = 2  # one cut connection is no news
_PASSING = frozenset({Outcome.TRANSIENT, Outcome.UNKNOWN, Outcome.THROTTLED})


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
            subscribe: repair a missing subscription, and say so.
        """
        found = self._secrets()
        try:
            fields = self._fields()
        except MessengerError as error:
            return [*self._refused(error), *found]
        works = [Finding("token", "ok", "The access token works."), Finding("platform", "ok", "The platform answers.")]
        return [*works, self._subscription(fields, subscribe=subscribe), *self._features(), *found]

    def _fields(self) -> set[str]:
        for last in range(TRIES - 1, -1, -1):
            try:
                apps = self._client.subscribed_apps()
            except MessengerError as error:
                if not last or error.outcome not in _PASSING:
                    raise
            else:
                break
        lists = [app.get("subscribed_fields") for app in apps]
        return {str(field) for fields in lists if isinstance(fields, list) for field in fields}

    def _refused(self, error: MessengerError) -> list[Finding]:
        self.token_refused = error.error is not None and error.error.code == DEAD_TOKEN
        if error.outcome in _PASSING:  # it says nothing about the token
            advice = "See whether the platform is well, and whether this machine reaches it."
            return [Finding("platform", "warn", str(error), advice)]
        return [
            Finding("token", "alarm", str(error), "Put a new page access token into the connection."),
            Finding("platform", "ok", "The platform answers."),
        ]

    def _subscription(self, fields: set[str], *, subscribe: bool) -> Finding:
        missing = [name for name in ALL_FIELDS if name not in fields]
        if not missing:
            return Finding("subscription", "ok", "All webhooks are subscribed.")
        if subscribe:
            return self._subscribed(fields, missing)
        repair = f"Run `./otn pages add {self._page.connection_id} --subscribe`."
        if needed := [name for name in missing if name in NEEDED_FIELDS]:
            text = f"No app gets these webhooks of the page: {', '.join(needed)}."
            return Finding("subscription", "alarm", text, repair)
        text = f"Webhooks that would help are not subscribed: {', '.join(missing)}."
        return Finding("subscription", "warn", text, repair)

    def _subscribed(self, fields: set[str], missing: list[str]) -> Finding:
        names = ", ".join(missing)
        try:
            self._client.subscribe(sorted({*fields, *ALL_FIELDS}))
            left = [name for name in ALL_FIELDS if name not in self._fields()]
        except MessengerError as error:
            text = f"These webhooks of the page are not subscribed: {names}. {error}"
            return Finding("subscription", "alarm", text, "Subscribe the app in the App Dashboard, then look again.")
        if left:
            text = f"The platform took the subscription and still leaves out: {', '.join(left)}."
            return Finding("subscription", "alarm", text, "Look at the app's webhooks in the App Dashboard.")
        text = f"All webhooks are subscribed. These were missing, and are subscribed again: {names}."
        advice = "Find out who took them away; what people did meanwhile was delivered to nobody."
        return Finding("subscription", "warn", text, advice)

    def _features(self) -> list[Finding]:
        try:
            reviews = self._client.feature_review()
        except MessengerError as error:
            if error.outcome in _PASSING:
                return []
            return [Finding("features", "warn", f"The page's features cannot be read. {error}")]
        # The name of the one-time feature in this list is documented nowhere: all of them are shown.
        told = ", ".join(f"{row.get('feature')}: {row.get('status')}" for row in reviews) or "none listed"
        advice = "Look at Requested Features under the page's Advanced Messaging."
        states = {row.get("status") for row in reviews}
        if states & {"rejected", "limited"}:
            return [Finding("features", "alarm", f"Page features: {told}.", advice)]
        if "pending" in states:
            return [Finding("features", "warn", f"Page features: {told}.", advice)]
        return [Finding("features", "ok", f"Page features: {told}.")]

    def _secrets(self) -> list[Finding]:
        missing = [name for name in ("app_secret", "verify_token") if not getattr(self._page, name)]
        if not missing:
            return [Finding("secrets", "ok", "Webhooks can be checked.")]
        return [
            Finding(
                "secrets",
                "alarm",
                f"The connection has no {' and no '.join(missing)}: webhooks of the page cannot be received.",
                f"Add {' and '.join(missing)} to the connection's extra.",
            )
        ]


def check_page(page: PageSettings, *, subscribe: bool = False) -> list[Finding]:
    """All findings of one page, whatever its connection is worth."""
    try:
        with PageCheck(page) as check:
            return check.findings(subscribe=subscribe)
    except ConfigurationError as error:
        return [Finding("connection", "alarm", str(error), "Correct the connection.")]
