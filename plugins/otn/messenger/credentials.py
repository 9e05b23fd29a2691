"""A page and the right to act for it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from otn.errors import ConfigurationError

PATH_PART = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)

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
        if not _private(self.base_url):
            raise ConfigurationError(
                "The Graph base URL of the page is http, so the access token would travel in the clear. Write https;"
                " http is for this machine alone."
            )
        if not PATH_PART.fullmatch(self.page_id):
            raise ConfigurationError("The page id is missing or not an id. Put the page's numeric id into login.")
        if not _HEADER_TEXT.fullmatch(self.access_token):
            raise ConfigurationError(
                "The page access token is missing or holds spaces or line ends. Paste it again into password."
            )
        if self.api_version and not _VERSION.fullmatch(self.api_version):
            raise ConfigurationError("The API version is not of the form v25.0. Correct api_version.")


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


def _private(url: str) -> bool:
    """Whether nobody on the way can read along."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname == "localhost" or _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
