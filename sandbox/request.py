"""Reads a Graph call: path, query, form, JSON, multipart."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import functools
import re
from typing import Any
from urllib.parse import unquote, unquote_plus

from sandbox.refusal import bad_parameter
from sandbox.wire import read_json, read_lenient

VERSION = re.compile(r"v\d{1,3}\.\d{1,2}")

Params = dict[str, Any]


@dataclasses.dataclass(slots=True)
class Request:
    """One call of the Graph API.

    Args:
        method: HTTP method.
        node: first part of the path after the version; empty for the root.
        edge: what follows it; empty for the node itself.
        params: query, form or JSON keys together; values of forms are text.
        bearer: the token of the ``Authorization`` header.
    """

    method: str
    node: str
    edge: str
    params: Params
    bearer: str | None = None

    def access_token(self) -> str | None:
        """Return the access token, wherever it was given."""
        given = self.params.get("access_token")
        return given if isinstance(given, str) and given else self.bearer

    def structure(self, key: str) -> dict[str, Any]:
        """Return an object given as JSON, or as JSON inside a form.

        Raises:
            GraphRefusal: It is missing or no object.
        """
        value = self.params.get(key)
        if isinstance(value, str):
            try:
                value = read_lenient(value)
            except ValueError:
                value = None
        if not isinstance(value, dict) or not value:
            raise bad_parameter(f"The parameter {key} is required")
        return value


@functools.lru_cache(maxsize=4096)
def split_path(path: str) -> tuple[str, str]:
    """Return node and edge of a path, its version dropped: an expired version is served by the oldest live one."""
    parts = [unquote(part) for part in path.split("/") if part]
    if parts and VERSION.fullmatch(parts[0]):
        parts = parts[1:]
    return (parts[0] if parts else ""), "/".join(parts[1:])


def read_form(text: str) -> Params:
    """Return the pairs of a form or query; the last of equal keys wins."""
    params: Params = {}
    for pair in text.split("&"):
        key, equals, value = pair.partition("=")
        if equals:
            params[unquote_plus(key) if "%" in key else key] = unquote_plus(value)
    return params


def read_body(content_type: str, body: bytes) -> Params:
    """Return the params of a body.

    Raises:
        GraphRefusal: It is not what its content type says.
    """
    if not body:
        return {}
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return _read_json_body(body)
    if kind == "multipart/form-data":
        return _read_multipart(content_type, body)
    return read_form(body.decode("utf-8", "replace"))


def _read_json_body(body: bytes) -> Params:
    try:
        value = read_json(body)
    except ValueError:
        raise bad_parameter("Param body must be valid JSON.") from None
    if not isinstance(value, dict):
        raise bad_parameter("Param body must be a JSON object.")
    return value


def _read_multipart(content_type: str, body: bytes) -> Params:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    params: Params = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            file = part.get_filename()
            params[name] = {"filename": file, "size": len(content)} if file else content.decode("utf-8", "replace")
    return params
