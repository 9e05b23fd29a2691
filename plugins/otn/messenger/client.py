"""The client of the Messenger Platform: every call once, bounded, and honest about what it knows afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from otn.messenger import wire
from otn.messenger.answers import SendResult, form_of, read_batch, read_send, read_unanswered
from otn.messenger.attachments import ATTACHMENT_TIMEOUT_S, attachment_parts
from otn.messenger.credentials import PATH_PART, PageCredentials
from otn.messenger.errors import TOKEN_RULES, MessengerError, Outcome, TokenRule
from otn.messenger.lookups import no_answer, object_of, rows_of
from otn.messenger.media import Media
from otn.messenger.profiles import (
    ProfileOutcome,
    ProfileResult,
    profile_item,
    read_page_scoped_ids,
    read_profiles,
    unasked,
)
from otn.messenger.signature import appsecret_proof
from otn.messenger.transport import Answer, Transport, UnansweredError
from otn.messenger.usage import Usage, read_usage

__all__ = [
    "BATCH_LIMIT",
    "MessengerClient",
    "PageCredentials",
    "ProfileOutcome",
    "ProfileResult",
    "SendRequest",
    "SendResult",
    "Usage",
]

BATCH_LIMIT = 50

_FIELD_NAME = re.compile(r"[a-z_]{1,50}", re.ASCII)


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
        try:
            answer = self._batch(self._quoted_sends(requests))
        except UnansweredError as failure:
            return [read_unanswered(failure)] * len(requests)
        secrets = [[*request.secrets(), self._access_token] for request in requests]
        usage = read_usage(answer.headers, self._page_id)
        return read_batch(answer, usage, token_rules=self._token_rules, secrets=secrets)

    def _quoted_sends(self, requests: Sequence[SendRequest]) -> str:
        """The list of items as the form holds it. In a form there is nothing that JSON writes otherwise."""
        item = wire.encode({"method": "POST", "relative_url": f"{self._page_id}/messages", "body": ""})
        before, after = wire.quoted(item[:-2]), wire.quoted(item[-2:])
        items = (f"{before}{wire.quoted_form(wire.form(request.form()))}{after}" for request in requests)
        return f"{wire.quoted('[')}{wire.quoted(',').join(items)}{wire.quoted(']')}"

    def profiles(self, psids: Sequence[str], fields: Sequence[str] = ("first_name",)) -> list[ProfileResult]:
        """Read up to 50 people's profiles in one call; the results come in the order of the PSIDs.

        Each of them counts as one call of the page's limits. PSIDs travel in the body, so that no address names a
        person. Whatever the platform or the network does, a result says what is known; a text that cannot be a PSID is
        refused without asking. Source: Meta docs, User Profile API and Graph API batch requests.

        Args:
            psids: Who.
            fields: Such as ``first_name``, ``locale``, ``timezone``; what lacks a permission does not come.

        Raises:
            ValueError: More than 50 were given, or a field is none of Graph's.
        """
        if len(psids) > BATCH_LIMIT:
            raise ValueError(f"A batch holds at most {BATCH_LIMIT} profiles. Split it.")
        if not fields or not all(_FIELD_NAME.fullmatch(name) for name in fields):
            raise ValueError("Fields of a profile are names such as first_name. Give at least one.")
        asked = [psid for psid in psids if PATH_PART.fullmatch(psid)]
        found = iter(self._profiles(asked, fields) if asked else [])
        refused = ProfileOutcome.REFUSED
        return [
            next(found) if PATH_PART.fullmatch(psid) else ProfileResult(psid, refused, reason="not_an_id")
            for psid in psids
        ]

    def _profiles(self, psids: Sequence[str], fields: Sequence[str]) -> list[ProfileResult]:
        try:
            answer = self._batch(wire.quoted(wire.encode([profile_item(psid, fields) for psid in psids])))
        except UnansweredError as failure:
            return unasked(psids, failure)
        usage = read_usage(answer.headers, self._page_id)
        return read_profiles(answer, psids, fields, usage, [self._access_token])

    def _batch(self, quoted_items: str) -> Answer:
        form = wire.form({"access_token": self._access_token, "include_headers": "false", **self._proof})
        return self._transport.call("POST", "/", form=f"{form}&batch={quoted_items}")

    def page_scoped_ids(self, app_scoped_id: str) -> list[str]:
        """Return the PSIDs which a person of Facebook Login has on this page; none where the platform knows none.

        Source: Meta docs, ID Matching API (``/{app-scoped id}/ids_for_pages``). Not restored everywhere: whoever erases
        by it must not take a refusal for "nobody".

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        if not PATH_PART.fullmatch(app_scoped_id):
            raise MessengerError("The app-scoped id is not an id. Take it as signed.", outcome=Outcome.REFUSED)
        path, query = f"/{app_scoped_id}/ids_for_pages", {"page": self._page_id}
        try:
            rows = rows_of(self._read("match an app-scoped id", path, query=query, secrets=[app_scoped_id]))
        except MessengerError as error:
            if error.error is not None and error.error.key == "100/2018001":  # no matching user
                return []
            if error.error is not None and error.error.key == "100/33":
                text = "The platform does not know this app-scoped id, or hides it. Find the person by PSID instead."
                raise MessengerError(text, outcome=Outcome.REFUSED, error=error.error) from None
            raise
        return read_page_scoped_ids(rows, self._page_id)

    def profile(self, psid: str, fields: Sequence[str] = ("first_name", "last_name")) -> dict[str, Any]:
        """Read a person's profile; empty where the app has no access to it.

        Source: Meta docs, User Profile API.

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        if not PATH_PART.fullmatch(psid):
            raise MessengerError("The PSID is not an id. Take it from a webhook of this page.", outcome=Outcome.REFUSED)
        found = self._read("read a profile", f"/{psid}", query={"fields": ",".join(fields)}, secrets=[psid])
        return {name: value for name, value in found.items() if name in fields or name == "id"}

    def subscribed_apps(self) -> list[dict[str, Any]]:
        """List the apps that get this page's webhooks, each with ``id`` and ``subscribed_fields``.

        A lapsed subscription is silent; this is the way to notice it. Source: Meta docs, Messenger webhooks.

        Raises:
            MessengerError: The platform refused or did not answer.
        """
        return rows_of(self._read("list the subscribed apps", f"/{self._page_id}/subscribed_apps"))

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
        return rows_of(self._read("read the feature review", "/me/messaging_feature_review"))

    def upload_attachment(
        self, kind: str, url: str | None = None, *, path: str | Path | None = None, media: Media | None = None
    ) -> str:
        """Hand over media once, for any number of messages, and return its ``attachment_id``.

        Source: Meta docs, Attachment Upload API. The platform fetches an address for up to 75 s.

        Args:
            kind: ``image``, ``audio``, ``video`` or ``file``.
            url: Where the platform can fetch it.
            path: Or a file of at most 25 MB.
            media: Or the content of one.

        Raises:
            MessengerError: It cannot be uploaded as given, or the platform refused or did not answer.
        """
        message, files = attachment_parts(kind, url, path, media)
        found = self._write(
            "take the attachment",
            "/me/message_attachments",
            {"message": wire.encode(message)},
            files=files,
            read_timeout_s=ATTACHMENT_TIMEOUT_S,
        )
        attachment_id = found.get("attachment_id")
        if not isinstance(attachment_id, str) or not PATH_PART.fullmatch(attachment_id):
            raise MessengerError("The platform took the attachment but gave no id for it. Upload it again.")
        return attachment_id

    def _read(
        self, what: str, path: str, *, query: Mapping[str, str] | None = None, secrets: Sequence[str] = ()
    ) -> dict[str, Any]:
        try:
            answer = self._transport.call("GET", path, query={**(query or {}), **self._proof})
        except UnansweredError as failure:
            raise no_answer(what, failure) from None
        return object_of(what, answer, [*secrets, self._access_token])

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
            raise no_answer(what, failure) from None
        return object_of(what, answer, [self._access_token])
