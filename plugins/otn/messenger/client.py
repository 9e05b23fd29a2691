"""The client of the Messenger Platform: every call once, bounded, and honest about what it knows afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from otn.errors import ConfigurationError
from otn.messenger import wire
from otn.messenger.answers import SendResult, form_of, read_batch, read_send, read_unanswered
from otn.messenger.attachments import ATTACHMENT_TIMEOUT_S, attachment_parts
from otn.messenger.errors import TOKEN_RULES, MessengerError, Outcome, PlatformError, TokenRule, classify
from otn.messenger.signature import appsecret_proof
from otn.messenger.transport import Answer, Transport, UnansweredError
from otn.messenger.usage import Usage, read_usage

__all__ = ["BATCH_LIMIT", "MessengerClient", "PageCredentials", "SendRequest", "SendResult", "Usage"]

BATCH_LIMIT = 50

_PATH_PART = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_VERSION = re.compile(r"v[0-9]{1,3}\.[0-9]{1,2}", re.ASCII)
_HEADER_TEXT = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class PageCredentials:
    """A page and the right to act for it. Its repr shows no secret.

    Args:
        base_url: Of the Graph API, such as ``https://graph.facebook.com``.
        page_id: The page's id.
        access_token: The page access token.
        app_secret: If set, each call carries ``appsecret_proof``.
        api_version: Such as ``v25.0``; empty = the app's default version.

    Raises:
        ConfigurationError: A part cannot be used on the wire; the text says which and never shows a secret.
    """

    base_url: str
    page_id: str
    access_token: str = field(repr=False)
    app_secret: str | None = field(default=None, repr=False)
    api_version: str = "v25.0"

    def __post_init__(self) -> None:
        if not _usable_base(self.base_url):
            raise ConfigurationError(
                "The Graph base URL of the page is no http(s) address. Put https://graph.facebook.com into host."
            )
        if not _PATH_PART.fullmatch(self.page_id):
            raise ConfigurationError("The page id is missing or not an id. Put the page's numeric id into login.")
        if not _HEADER_TEXT.fullmatch(self.access_token):
            raise ConfigurationError(
                "The page access token is missing or holds spaces or line ends. Paste it again into password."
            )
        if self.api_version and not _VERSION.fullmatch(self.api_version):
            raise ConfigurationError("The API version is not of the form v25.0. Correct api_version.")


@dataclass(frozen=True, slots=True)
class SendRequest:
    """One message to one person. Its repr shows neither.

    Args:
        recipient: ``{"one_time_notif_token": ...}`` or ``{"id": <PSID>}``.
        message: A Send API message object, ``metadata`` in it.
        messaging_type: Left out for one-time tokens, as in Meta's sample; ``RESPONSE`` inside the 24 h window.
    """

    recipient: Mapping[str, str] = field(repr=False)
    message: Mapping[str, Any] = field(repr=False)
    messaging_type: str | None = None

    def form(self) -> dict[str, str]:
        """Return the fields of the request."""
        fields: dict[str, Any] = {"recipient": dict(self.recipient), "message": dict(self.message)}
        if self.messaging_type is not None:
            fields["messaging_type"] = self.messaging_type
        return form_of(fields)

    def secrets(self) -> list[str]:
        """Return what must not stand in a text that is kept."""
        return [value for value in self.recipient.values() if isinstance(value, str)]


class MessengerClient:
    """Calls for one page. Up to ``pool_size`` threads may share it; nothing is ever sent twice by itself.

    Sends go as forms, like the items of a batch: one encoding for both, and ``appsecret_proof`` stays out of the
    address. They go to ``/{page-id}/messages``, so that a token of another page is an error and not a message.

    Args:
        credentials: Of the page.
        connect_timeout_s: Seconds to connect.
        read_timeout_s: Seconds to wait for bytes; connect and read limit together bound the whole call.
        pool_size: Connections kept open.
        token_rules: How dead one-time tokens are recognised.
    """

    def __init__(
        self,
        credentials: PageCredentials,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 30.0,
        pool_size: int = 8,
        token_rules: Iterable[TokenRule] = TOKEN_RULES,
    ) -> None:
        self._page_id = credentials.page_id
        self._access_token = credentials.access_token
        self._token_rules = tuple(token_rules)
        self._proof: dict[str, str] = {}
        if credentials.app_secret:
            self._proof = {"appsecret_proof": appsecret_proof(credentials.access_token, credentials.app_secret)}
        self.time_limit_s = connect_timeout_s + read_timeout_s
        self._transport = Transport(
            "/".join(part for part in (credentials.base_url.rstrip("/"), credentials.api_version) if part),
            credentials.access_token,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            pool_size=pool_size,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def send(self, request: SendRequest) -> SendResult:
        """Send one message. Whatever the platform or the network does, a result says what is known."""
        try:
            answer = self._transport.call("POST", f"/{self._page_id}/messages", form={**request.form(), **self._proof})
        except UnansweredError as failure:
            return read_unanswered(failure)
        secrets = [*request.secrets(), self._access_token]
        usage = read_usage(answer.headers, self._page_id)
        return read_send(answer.status, answer.body, usage, token_rules=self._token_rules, secrets=secrets)

    def send_batch(self, requests: Sequence[SendRequest]) -> list[SendResult]:
        """Send up to 50 messages in one call; the results come in the order of the requests.

        Source: Meta docs, Graph API batch requests. The documentation demands ``access_token`` as a parameter of a
        batch even though the header carries it; it goes into the body, so that no address ever holds it.

        Raises:
            ValueError: More than 50 were given.
        """
        if len(requests) > BATCH_LIMIT:
            raise ValueError(f"A batch holds at most {BATCH_LIMIT} messages. Split it.")
        if not requests:
            return []
        items = [
            {"method": "POST", "relative_url": f"{self._page_id}/messages", "body": urlencode(request.form())}
            for request in requests
        ]
        form = {"access_token": self._access_token, "include_headers": "false", "batch": wire.encode(items)}
        try:
            answer = self._transport.call("POST", "/", form={**form, **self._proof})
        except UnansweredError as failure:
            return [read_unanswered(failure)] * len(requests)
        secrets = [[*request.secrets(), self._access_token] for request in requests]
        usage = read_usage(answer.headers, self._page_id)
        return read_batch(answer, usage, token_rules=self._token_rules, secrets=secrets)

    def profile(self, psid: str, fields: Sequence[str] = ("first_name", "last_name")) -> dict[str, Any]:
        """Read a person's profile; empty where the app has no access to it.

        Source: Meta docs, User Profile API.

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        if not _PATH_PART.fullmatch(psid):
            raise MessengerError("The PSID is not an id. Take it from a webhook of this page.", outcome=Outcome.REFUSED)
        found = self._read("read a profile", f"/{psid}", query={"fields": ",".join(fields)}, secrets=[psid])
        return {name: value for name, value in found.items() if name in fields or name == "id"}

    def subscribed_apps(self) -> list[dict[str, Any]]:
        """List the apps that get this page's webhooks, each with ``id`` and ``subscribed_fields``.

        A lapsed subscription is silent; this is the way to notice it. Source: Meta docs, Messenger webhooks.

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        return _rows(self._read("list the subscribed apps", f"/{self._page_id}/subscribed_apps"))

    def subscribe(self, fields: Sequence[str]) -> None:
        """Subscribe the app to webhooks of this page.

        Args:
            fields: Such as ``messaging_optins``, ``messages``.

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        what, path = "subscribe to webhooks", f"/{self._page_id}/subscribed_apps"
        if self._write(what, path, {"subscribed_fields": ",".join(fields)}).get("success") is not True:
            raise MessengerError(f"The platform did not {what}. Look at the page's settings and try again.")

    def feature_review(self) -> list[dict[str, Any]]:
        """List the page's requested messaging features, each with ``feature`` and ``status``.

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        return _rows(self._read("read the feature review", "/me/messaging_feature_review"))

    def upload_attachment(self, kind: str, url: str | None = None, *, path: str | Path | None = None) -> str:
        """Hand over media once, for any number of messages, and return its ``attachment_id``.

        Source: Meta docs, Attachment Upload API. The platform fetches an address for up to 75 s.

        Args:
            kind: ``image``, ``audio``, ``video`` or ``file``.
            url: Where the platform can fetch it.
            path: Or a file of at most 25 MB.

        Raises:
            MessengerError: It cannot be uploaded as given, or the platform refused or did not answer.
        """
        message, files = attachment_parts(kind, url, path)
        found = self._write(
            "take the attachment",
            "/me/message_attachments",
            {"message": wire.encode(message)},
            files=files,
            read_timeout_s=ATTACHMENT_TIMEOUT_S,
        )
        attachment_id = found.get("attachment_id")
        if not isinstance(attachment_id, str) or not _PATH_PART.fullmatch(attachment_id):
            raise MessengerError("The platform took the attachment but gave no id for it. Upload it again.")
        return attachment_id

    def _read(
        self, what: str, path: str, *, query: Mapping[str, str] | None = None, secrets: Sequence[str] = ()
    ) -> dict[str, Any]:
        try:
            answer = self._transport.call("GET", path, query={**(query or {}), **self._proof})
        except UnansweredError as failure:
            raise _no_answer(what, failure) from None
        return self._found(what, answer, secrets)

    def _write(
        self,
        what: str,
        path: str,
        form: Mapping[str, str],
        *,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        read_timeout_s: float | None = None,
    ) -> dict[str, Any]:
        form = {**form, **self._proof}
        try:
            answer = self._transport.call("POST", path, form=form, files=files, read_timeout_s=read_timeout_s)
        except UnansweredError as failure:
            raise _no_answer(what, failure) from None
        return self._found(what, answer, ())

    def _found(self, what: str, answer: Answer, secrets: Sequence[str]) -> dict[str, Any]:
        error = PlatformError.from_body(answer.body, http_status=answer.status)
        if error is not None:
            raise _refusal(what, error.without([*secrets, self._access_token]))
        try:
            found = wire.decode(answer.body)
        except ValueError:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            raise MessengerError(
                f"The platform did not {what}: its answer (HTTP {answer.status}) cannot be read. Try again later."
            )
        return found


def _usable_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme in {"http", "https"}
            and parts.hostname
            and (parts.port is None or parts.port > 0)
            and not (parts.query or parts.fragment or parts.username or parts.password)
            and _HEADER_TEXT.fullmatch(url)
        )
    except ValueError:
        return False


def _rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = found.get("data")
    if not isinstance(rows, list):
        raise MessengerError("The platform's list cannot be read: it has no data. Try again later.")
    return [row for row in rows if isinstance(row, dict)]


def _no_answer(what: str, failure: UnansweredError) -> MessengerError:
    outcome = Outcome.UNKNOWN if failure.written else Outcome.TRANSIENT
    advice = "Look whether it was done, then try again." if failure.written else "Check the network and try again."
    return MessengerError(f"The platform did not {what}: no answer ({failure.reason}). {advice}", outcome=outcome)


_ADVICE = {
    Outcome.PAGE_HALTED: "Renew the page's access token or permissions.",
    Outcome.THROTTLED: "Wait and try again.",
    Outcome.TRANSIENT: "Try again later.",
}


def _refusal(what: str, error: PlatformError) -> MessengerError:
    verdict = classify(error, token_rules=())
    advice = _ADVICE.get(verdict.outcome, "Correct the request.")
    text = f"The platform did not {what}: {verdict.meaning} ({error.key}: {error.message}). {advice}"
    return MessengerError(text, outcome=verdict.outcome, error=error)
