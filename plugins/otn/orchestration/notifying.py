"""Who is told of alarms: a mail by Airflow's SMTP notifier, or any service that Apprise knows."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.log import mask_secret

from otn.errors import ConfigurationError, OtnError
from otn.orchestration.hook import read_connection
from otn.settings import ConnectionMissingError

if TYPE_CHECKING:
    from otn.settings import Connection

NOTIFY_CONNECTION = "otn_notify"
NOTIFY_VARIABLE = "OTN_NOTIFY"

Notify = Callable[[str, str], None]


class NotToldError(OtnError):
    """Nobody could be told of alarms: the next run of otn_watch tries again."""


def read_notifier(context: Any) -> Notify | None:
    """How to tell people; None when nobody is to be told.

    The connection ``otn_notify`` goes before the variable ``OTN_NOTIFY``. Of type ``smtp``: the host that mails go
    out by, with ``to`` (and ``from_email``) in its extra. Of any other type: its password holds URLs as Apprise has
    them, with commas between.

    Args:
        context: Airflow's task context.

    Raises:
        ConfigurationError: it lacks something, or a URL is none of Apprise's.
    """
    try:
        connection = read_connection(NOTIFY_CONNECTION)
    except (ConnectionMissingError, PermissionError):
        # Refused to the callback of a deadline, whatever is defined: seen in Airflow 3.3.2.
        urls = os.environ.get(NOTIFY_VARIABLE, "")
        return _apprise(urls) if urls.strip() else None
    if connection.conn_type == "smtp":
        return _mail(connection, context)
    return _apprise(connection.password or "")


def _mail(connection: Connection, context: Any) -> Notify:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    to, sender = connection.extra.get("to"), connection.extra.get("from_email")
    if not to or not sender:
        raise ConfigurationError(
            f"The connection {NOTIFY_CONNECTION!r} is of type smtp and has no {'from_email' if to else 'to'}"
            ' in its extra. Add it, such as {"to": "ops@example.org", "from_email": "otn@example.org"}.'
        )

    def notify(title: str, text: str) -> None:
        # Asked by its method, never as a callback: that would take our texts for templates.
        notifier = SmtpNotifier(
            to=to,
            from_email=sender,
            subject=title,
            html_content=f"<pre>{html.escape(text)}</pre>",
            smtp_conn_id=NOTIFY_CONNECTION,
        )
        try:
            notifier.notify(context)
        except Exception as error:  # noqa: BLE001 - of many kinds, and they quote servers and addresses
            raise NotToldError(
                f"The mail could not be handed over ({type(error).__name__})."
                f" Check the connection {NOTIFY_CONNECTION!r}."
            ) from None

    return notify


def _apprise(text: str) -> Notify:
    import apprise
    from apprise.utils.parse import parse_urls

    urls = cast("list[str]", parse_urls(text))  # type: ignore[no-untyped-call]
    _mask(urls)
    known = apprise.Apprise()
    bad = sum(not known.add(url) for url in urls)
    if bad or not urls:
        raise ConfigurationError(
            f"{bad} of {len(urls)} addresses to notify cannot be used. Give URLs as Apprise has them, with commas "
            f"between, as the password of the connection {NOTIFY_CONNECTION!r} or in {NOTIFY_VARIABLE}."
        )

    def notify(title: str, body: str) -> None:
        # Airflow's own Apprise notifier drops this answer, and a message that nobody got would count as told.
        if not known.notify(body, title=title, body_format=apprise.NotifyFormat.TEXT):
            raise NotToldError(
                "At least one of the addresses to notify took nothing. Check the password of the connection "
                f"{NOTIFY_CONNECTION!r}, or {NOTIFY_VARIABLE}."
            )

    return notify


def _mask(urls: list[str]) -> None:
    """Keep addresses out of the log: most of them are secrets from end to end."""
    for url in urls:
        mask_secret(url)
        for part in url.partition("://")[2].replace("@", "/").replace("?", "/").replace("=", "/").split("/"):
            if len(part) >= 8:
                mask_secret(part)
