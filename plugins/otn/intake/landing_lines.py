"""Lines of a landed file: a stream in pieces, each with the place where it ends, and what each line is."""

from __future__ import annotations

import gzip
import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from otn.consent.pages import Page
from otn.crypto import Keyring
from otn.intake.import_lines import LINE_LIMIT
from otn.intake.landing_place import PACKED
from otn.messenger import wire

PIECE_LINES = 2000
PIECE_BYTES = 8 * 1024 * 1024
BODY_LIMIT = 5 * 1024 * 1024  # bytes; as much as the receiver takes
UNREADABLE = "line_unreadable"
PAGE_MISSING = "page_missing"
PAGE_UNKNOWN = "page_unknown"
PAGE_DIFFERS = "page_differs"
_BLOCK = 1 << 20
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """A line with something in it.

    Args:
        number: from 1.
        raw: its bytes; None where there are too many.
    """

    number: int
    raw: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Position:
    """A place behind the end of a line.

    Args:
        offset: unpacked bytes from the beginning.
        lines: ends of lines before it.
        digest: SHA-256 of everything before it.
    """

    offset: int = 0
    lines: int = 0
    digest: bytes | None = None


@dataclass(frozen=True)
class Piece:
    """Some lines, and where they end.

    Args:
        lines: without empty ones.
        end: behind the last of them.
        last: the file ends here.
        torn: it ends within a line, which may still be written.
    """

    lines: list[Line]
    end: Position
    last: bool
    torn: bool = False


class Stream:
    """A file from its beginning to its end, in pieces; holds one of them at a time.

    Args:
        file: opened for bytes; it need not know how to seek.
        name: tells whether it is packed.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        packed = name.lower().endswith(PACKED)
        self._file = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file
        self._digest = hashlib.sha256()
        self._bytes = self._lines = 0

    def skip(self, position: Position) -> bool:
        """Go to a place of an earlier reading; False where something else stands before it."""
        while left := position.offset - self._bytes:
            block = self._file.read(min(left, _BLOCK))
            if not block:
                return False
            self._bytes += len(block)
            self._digest.update(block)
        self._lines = position.lines
        return position.offset == 0 or self._digest.digest() == position.digest

    def pieces(self) -> Iterator[Piece]:
        """What stands from here on; at least one piece, perhaps without a line."""
        last = False
        while not last:
            lines: list[Line] = []
            size, torn = 0, False
            while len(lines) < PIECE_LINES and size < PIECE_BYTES:
                raw, ended = self._line()
                last, torn = not ended, not ended and raw != b""
                if raw is None or raw.strip():
                    lines.append(Line(self._lines + torn, raw))
                    size += len(raw or b"")
                if last:
                    break
            yield Piece(lines, Position(self._bytes, self._lines, self._digest.digest()), last, torn)

    def _line(self) -> tuple[bytes | None, bool]:
        """The next line, None where it is endless; and whether it has an end."""
        parts, size, first = [], 0, self._bytes == 0
        while part := self._file.readline(_BLOCK):
            self._digest.update(part)
            self._bytes += len(part)
            size += len(part)
            if size <= BODY_LIMIT:
                parts.append(part)
            if part.endswith(b"\n"):
                self._lines += 1
                break
        ended = part.endswith(b"\n")
        if size > BODY_LIMIT:
            return None, ended
        raw = b"".join(parts)
        return raw.removeprefix(_MARK) if first else raw, ended


@dataclass
class Sorted:
    """Lines by what is to be done with them.

    Args:
        optins: by page, number and fields of each.
        bodies: of webhooks.
        refused: number and reason.
    """

    optins: dict[Page, list[tuple[int, dict[str, Any] | None]]] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list, repr=False)
    refused: list[tuple[int, str]] = field(default_factory=list)


def sort(lines: Sequence[Line], pages: Sequence[Page], owner: Page | None) -> Sorted:
    """Tell opt-ins from webhooks, and whose they are.

    Args:
        lines: some of a file.
        pages: that are registered.
        owner: of the folder; None: each line names its page.
    """
    found = Sorted()
    by_name = {name: page for page in pages for name in (page.page_id, page.connection_id)}
    for line in lines:
        fields = _decoded(line.raw)
        if fields is None:
            found.refused.append((line.number, UNREADABLE))
        elif fields.get("object") == "page":
            if owner is None or _all_of(fields, owner):
                found.bodies.append((line.raw or b"").strip())
            else:
                found.refused.append((line.number, PAGE_DIFFERS))
        elif len(line.raw or b"") > LINE_LIMIT:
            found.refused.append((line.number, UNREADABLE))
        else:
            _sort_optin(found, line.number, fields, owner, by_name)
    return found


def _decoded(raw: bytes | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    try:
        value = wire.decode(raw.decode("utf-8", "surrogateescape"))  # what is not UTF-8 spoils its own field
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _all_of(body: Mapping[str, Any], owner: Page) -> bool:
    """Whether a webhook speaks of one page only: who may write into its folder speaks for no other."""
    entries = body.get("entry")
    if not isinstance(entries, list):
        return False
    return all(isinstance(one, dict) and str(one.get("id")) == owner.page_id for one in entries)


def _sort_optin(
    found: Sorted, number: int, fields: dict[str, Any], owner: Page | None, by_name: Mapping[str, Page]
) -> None:
    named = fields.get("page")
    page = owner or by_name.get(str(named).strip())
    if page is not None:
        found.optins.setdefault(page, []).append((number, fields))
    else:
        found.refused.append((number, PAGE_MISSING if named in (None, "") else PAGE_UNKNOWN))


def seal_bodies(keyring: Keyring, bodies: Sequence[bytes]) -> dict[str, bytes]:
    """Webhooks encrypted, each under an id that follows from it: the same body is the same row."""

    def id_of(body: bytes) -> str:
        return str(uuid.UUID(bytes=keyring.digest("landing", body.decode("utf-8", "surrogateescape"))[:16]))

    return {id_of(body): keyring.encrypt(body, "webhook") for body in bodies}
