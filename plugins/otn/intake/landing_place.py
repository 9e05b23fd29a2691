"""Where a landing is: which addresses may be read, and which names below them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from otn.consent.text import storable
from otn.errors import ConfigurationError

URL_VARIABLE = "OTN_LANDING_URL"
CONNECTION_VARIABLE = "OTN_LANDING_CONN"
SCHEMES = ("file", "s3", "s3a", "gs", "gcs", "abfs", "abfss")
ENDINGS = (".jsonl", ".ndjson", ".json")
PACKED = ".gz"
NAME_BYTES = 1024  # what object stores allow, and what the index holds
_URL_BYTES = 1024
_UNFINISHED = (".", "_")  # by custom: hidden, temporary, or a mark of whoever writes
_KEPT_CHARACTERS = 200


class LandingUrlError(ConfigurationError):
    """OTN_LANDING_URL cannot be read. Give an absolute folder, or s3://, gs:// or abfs:// with bucket and prefix."""


@dataclass(frozen=True)
class LandingPlace:
    """A landing.

    Args:
        url: without a slash at its end.
        connection_id: Airflow connection with the rights to read it; None: what the machine has.
    """

    url: str
    connection_id: str | None = None

    @property
    def scheme(self) -> str:
        """Such as ``s3``."""
        return self.url.partition("://")[0]


def read_place(environ: Mapping[str, str] | None = None) -> LandingPlace | None:
    """Read ``OTN_LANDING_URL`` and ``OTN_LANDING_CONN``; None where there is no landing.

    Args:
        environ: the environment; the process's own by default.

    Raises:
        LandingUrlError: nothing may be read from there.
    """
    text = _given(environ, URL_VARIABLE)
    if not text:
        return None
    return LandingPlace(check_url(text), _given(environ, CONNECTION_VARIABLE) or None)


def _given(environ: Mapping[str, str] | None, name: str) -> str:
    return (os.environ if environ is None else environ).get(name, "").strip()


def check_url(text: str) -> str:
    """The address as it is kept. The text itself is not repeated in errors: it may hold a secret.

    Raises:
        LandingUrlError: its scheme is not one of a store, it carries credentials, or it climbs.
    """
    url = f"file://{text}" if text.startswith("/") else text
    if "://" not in url or "::" in url or not url.isprintable() or len(url.encode(errors="replace")) > _URL_BYTES:
        raise LandingUrlError
    scheme, rest = url.split("://", 1)
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        shown = scheme if len(scheme) < 20 and scheme.isalnum() else "such an address"
        raise LandingUrlError(
            f"{URL_VARIABLE} begins with {shown}, and nothing is read from there. Give an absolute folder, or"
            f" {', '.join(f'{one}://' for one in SCHEMES)}."
        )
    if "@" in urlsplit(url).netloc or "?" in rest or "#" in rest:
        raise LandingUrlError(
            f"{URL_VARIABLE} holds credentials, or could. Put them into an Airflow connection, and its id into"
            f" {CONNECTION_VARIABLE}."
        )
    where = rest.strip("/")
    if scheme == "file" and not rest.startswith("/"):
        raise LandingUrlError(f"{URL_VARIABLE} names a folder that is not absolute. Begin it with a slash.")
    if not where or any(part in {"", ".", ".."} for part in where.split("/")):
        raise LandingUrlError(f"{URL_VARIABLE} names no folder, or one that climbs. Give it as it is, without dots.")
    return f"file:///{where}" if scheme == "file" else f"{scheme}://{where}"


def is_ours(name: str) -> bool:
    """Whether a file is one to take, by its name: the others are left alone.

    Args:
        name: below the landing.
    """
    parts = name.split("/")
    last = parts[-1].lower().removesuffix(PACKED)
    return last.endswith(ENDINGS) and not any(part.startswith(_UNFINISHED) for part in parts if part.strip("."))


def fault_of(name: str) -> str | None:
    """Why a name cannot be opened, whatever lies behind it; None: it can."""
    if any(part in {"", ".", ".."} for part in name.split("/")) or "\\" in name:
        return "name_climbs"
    if not name.isprintable() or storable(name[:_KEPT_CHARACTERS]) != name[:_KEPT_CHARACTERS]:
        return "name_unusable"
    return "name_too_long" if len(name.encode()) > NAME_BYTES else None


def shown(name: str) -> str:
    """A name as it is kept where it cannot be kept as it is; different ones stay different."""
    plain = "".join(one if one.isprintable() and one != "\\" else _escaped(one) for one in name)
    if len(plain.encode()) <= NAME_BYTES:
        return plain or "(no name)"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{plain[:_KEPT_CHARACTERS]}…{digest[:32]}"


def _escaped(one: str) -> str:
    code = ord(one)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def folder_of(name: str) -> str | None:
    """The first folder below the landing: a page's, where a connection has that name."""
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else None
