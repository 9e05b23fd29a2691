"""What a Graph call is answered: an answer, or the platform's refusal with its error envelope."""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any

from sandbox.wire import graph_json

JSON_TYPE = "text/javascript; charset=UTF-8"  # what Graph really says (Meta docs, Batch requests)


@dataclasses.dataclass(slots=True)
class Answer:
    """One answer of the Graph API.

    Args:
        status: HTTP status.
        body: the text to answer.
        headers: name and value pairs beside the content type.
        content_type: of the body.
        delay_ms: how long the answer is held back, after the effect.
        lost: nothing is answered: the connection is cut; inside a batch the item is ``null``.
        lost_batch: of an item: the connection of the whole batch is cut before its next item.
        code: error code told, for the log of calls.
        subcode: its subcode.
    """

    status: int
    body: str
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON_TYPE
    delay_ms: int = 0
    lost: bool = False
    lost_batch: bool = False
    code: int | None = None
    subcode: int | None = None


class GraphRefusal(Exception):  # noqa: N818 - the platform refuses; nothing is broken here
    """The platform says no.

    Args:
        code: error code of the Graph API, or None for an envelope without one.
        message: text as the platform words it.
        subcode: error subcode.
        status: HTTP status.
        kind: the envelope's ``type``.
        is_transient: as in the envelope; None leaves the key out.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        subcode: int | None = None,
        status: int = 400,
        kind: str = "OAuthException",
        is_transient: bool | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.subcode = subcode
        self.message = message
        self.status = status
        self.kind = kind
        self.is_transient = is_transient
        self.headers = headers

    def answer(self) -> Answer:
        """Return the error envelope (Meta docs, Error codes)."""
        error: dict[str, Any] = {"message": self.message, "type": self.kind, "code": self.code}
        if self.subcode is not None:
            error["error_subcode"] = self.subcode
        if self.is_transient is not None:
            error["is_transient"] = self.is_transient
        error["fbtrace_id"] = "A" + secrets.token_urlsafe(16)
        return Answer(self.status, graph_json({"error": error}), self.headers, code=self.code, subcode=self.subcode)


def bad_parameter(message: str, subcode: int | None = None) -> GraphRefusal:
    """Return code 100: something about the call itself is wrong."""
    return GraphRefusal(100, f"(#100) {message}", subcode=subcode)


def bad_access_token(subcode: int | None = None) -> GraphRefusal:
    """Return code 190 with its challenge header."""
    text = "Invalid OAuth access token - Cannot parse access token"
    texts = {
        460: "Error validating access token: The session has been invalidated because the user changed their password",
        463: "Error validating access token: Session has expired",
    }
    text = texts.get(subcode or 0, text)
    challenge = f'OAuth "Facebook Platform" "invalid_token" "{text}"'
    return GraphRefusal(190, text, subcode=subcode, headers=(("WWW-Authenticate", challenge),))


def unknown_object(node: str, method: str) -> GraphRefusal:
    """Return 100/33, the platform's answer to a path it does not know or an object of somebody else."""
    text = (
        f"Unsupported {method.lower()} request. Object with ID '{node}' does not exist, cannot be loaded due to "
        "missing permissions, or does not support this operation"
    )
    return GraphRefusal(100, text, subcode=33, kind="GraphMethodException")


# People who cannot be reached, by the families seen in practice (Meta docs, Error codes).
UNREACHABLE: dict[str, tuple[int, int | None, str]] = {
    "551": (551, None, "(#551) This person isn't available right now."),
    "551/1545041": (551, 1545041, "(#551) This person isn't available right now."),
    "551/1893047": (551, 1893047, "(#551) Send Message Recipient Not Available"),
    "200/1545041": (200, 1545041, "(#200) This message wasn't sent because this person isn't available right now."),
    "10/2018108": (10, 2018108, "(#10) This Person Cannot Receive Messages: This person isn't receiving messages"),
}


def unreachable(family: str) -> GraphRefusal:
    """Return the refusal of a person who blocked the page or left, in one of the families."""
    code, subcode, message = UNREACHABLE[family]
    return GraphRefusal(code, message, subcode=subcode, is_transient=False if code == 551 else None)


def halted(reason: str) -> GraphRefusal:
    """Return the refusal of a page that may not send: ``10/1893063`` or ``368`` (Meta docs, Error codes)."""
    if reason == "10/1893063":
        text = "(#10) This Page is temporarily restricted from sending messages."
        return GraphRefusal(10, text, subcode=1893063, status=403)
    return GraphRefusal(368, "(#368) The action attempted has been deemed abusive or is otherwise disallowed")
