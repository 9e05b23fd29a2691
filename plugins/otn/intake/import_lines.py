"""Lines of an import: CSV or JSON lines, read as a stream and judged one by one."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from otn.consent.reference import REF_LIMIT, unpack
from otn.consent.text import storable
from otn.errors import UsageError
from otn.intake.reading import CLOCK_SKEW, EARLIEST
from otn.messenger import wire
from otn.messenger.credentials import PATH_PART
from otn.messenger.events import PAYLOAD_LIMIT, TOKEN_LIMIT

COLUMNS = ("psid", "token", "payload", "opted_in_at", "source")
OPTIONAL = ("ref", "page")
SOURCE_LIMIT = 100  # characters
LINE_LIMIT = 1024 * 1024  # bytes; what is longer is no opt-in
_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_DELIMITERS = ",;\t"
_MILLISECONDS = 10**11  # an epoch time above it is in milliseconds


class ImportFileError(UsageError):
    """The file cannot be imported. Give CSV with a heading, or JSON lines, in UTF-8."""


class LineRefusedError(Exception):
    """The line cannot be imported; its text is the reason. It becomes a count, and never leaves the import."""


@dataclass(frozen=True)
class OptIn:
    """A line that can be imported.

    Args:
        line: its number in the file, from 1.
        psid: the person.
        token: the one-time token.
        payload: of the topic.
        ref: what the payload refers to beyond its topic.
        opted_in_at: when Notify Me was tapped.
        source: where the line says it comes from; None: it does not.
    """

    line: int
    psid: str = field(repr=False)
    token: str = field(repr=False)
    payload: str
    ref: str | None
    opted_in_at: datetime
    source: str | None


@dataclass(frozen=True)
class ImportFile:
    """A file to import, looked at once.

    Args:
        path: where it is.
        lines: how many it has, its heading among them.
        digest: SHA-256 of the whole, in hex.
        source: where its opt-ins come from, for lines that do not say so themselves.
    """

    path: Path
    lines: int
    digest: str
    source: str

    @classmethod
    def at(cls, path: Path, source: str = "file") -> ImportFile:
        """Look at a file.

        Raises:
            ImportFileError: it cannot be read, or is empty.
            UsageError: the source cannot be kept.
        """
        source = check_source(source)
        digest, lines, last = hashlib.sha256(), 0, b"\n"
        if path.exists() and not path.is_file():
            raise ImportFileError(
                f"{path} cannot be read: it is no regular file, and an import reads it twice. Save it as one."
            )
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    lines += block.count(b"\n")
                    last = block[-1:]
        except OSError as error:
            raise ImportFileError(f"{path} cannot be read ({error.strerror}). Check the name and the rights.") from None
        lines += last != b"\n"
        if not lines:
            raise ImportFileError(f"{path} is empty. Give a file with opt-ins.")
        return cls(path, lines, digest.hexdigest(), source)

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """Number and fields of each line; None where it cannot be read as what the file is.

        Raises:
            ImportFileError: the heading is not one of an import.
        """
        with self.path.open("rb") as file:
            json_lines = self.path.suffix.lower() in _JSON_SUFFIXES
            yield from _json_rows(file) if json_lines else _csv_rows(file, self.path)


def _texts(file: BinaryIO) -> Iterator[str]:
    """Physical lines; what is not UTF-8 keeps its marks, what is endless its beginning."""
    first = True
    while line := file.readline(LINE_LIMIT):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(LINE_LIMIT)):
            pass
        text = line.decode("utf-8-sig" if first else "utf-8", "surrogateescape")
        first = False
        yield text if text.endswith("\n") else text + "\n"


def _json_rows(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | None]]:
    for number, text in enumerate(_texts(file), start=1):
        if not text.strip():
            continue
        try:
            found = wire.decode(text)
        except ValueError:
            found = None
        yield number, found if isinstance(found, dict) else None


def _csv_rows(file: BinaryIO, path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    lines = _texts(file)
    heading = next(lines, "")
    delimiter = max(_DELIMITERS, key=heading.count)
    names = [name.strip().lower() for name in next(csv.reader([heading], delimiter=delimiter), [])]
    missing = [name for name in COLUMNS if name not in names]
    if missing or len(set(names)) < len(names):
        wrong = f"has no column {', '.join(missing)}" if missing else "names a column twice"
        raise ImportFileError(
            f"The heading of {path.name} {wrong}. Give UTF-8 with the columns {', '.join(COLUMNS)},"
            f" and {' and '.join(OPTIONAL)} where you have them."
        )
    # A record is a line: a quote that is never closed would swallow the good lines behind it, and nobody would know.
    for number, line in enumerate(lines, start=2):
        values = _values(line, delimiter)
        if values is None or values:
            yield number, dict(zip(names, values, strict=True)) if values and len(values) == len(names) else None


def _values(line: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a field beyond any length
        return None


@dataclass(frozen=True)
class Ground:
    """What lines are judged by.

    Args:
        pages: names of the page that is imported for.
        payloads: of its registered topics; such a one stands for itself, whatever it looks like.
        adopted: payloads that a topic has adopted as they stand; a reference in them counts.
        now: the database's clock.
    """

    pages: frozenset[str]
    payloads: frozenset[str]
    adopted: frozenset[str]
    now: datetime


def judge(line: int, found: Mapping[str, Any] | None, ground: Ground) -> OptIn:
    """Read the fields of a line.

    Args:
        line: its number.
        found: its fields; None: it could not be taken apart.
        ground: what it is judged by.

    Raises:
        LineRefusedError: it cannot be imported.
    """
    if found is None:
        raise LineRefusedError("line_unreadable")
    fields = {name: _text(found.get(name), name) for name in (*COLUMNS, *OPTIONAL)}
    psid, token, payload, at = (fields[name] for name in COLUMNS[:4])
    if fields["page"] and fields["page"] not in ground.pages:
        raise LineRefusedError("page_differs")
    if not psid or not PATH_PART.fullmatch(psid):
        raise LineRefusedError("psid_unusable" if psid else "psid_missing")
    if not token or len(token) > TOKEN_LIMIT:
        raise LineRefusedError("token_too_long" if token else "token_missing")
    if not payload or len(payload) > PAYLOAD_LIMIT:
        raise LineRefusedError("payload_too_long" if payload else "payload_missing")
    topic, ref = (payload, None) if payload in ground.payloads else unpack(payload)
    topic = payload if payload in ground.adopted else topic
    ref = fields["ref"] or ref
    if ref is not None and len(ref) > REF_LIMIT:
        raise LineRefusedError("ref_too_long")
    return OptIn(line, psid, token, topic, ref, _time(at, ground.now), fields["source"] or None)


def _text(value: object, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return ""
    if name == "payload" and isinstance(value, dict):  # JSON lines may carry it unpacked
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not isinstance(value, str):
        raise LineRefusedError(f"{name}_unusable")
    value = value.strip()
    if not wire.storable(value):
        raise LineRefusedError("not_utf8")
    return value


def _time(text: str, now: datetime) -> datetime:
    """ISO 8601 (UTC where no zone is given), or seconds or milliseconds since 1970."""
    if not text:
        raise LineRefusedError("opted_in_at_missing")
    try:
        if text.isascii() and text.isdecimal():
            number = int(text[:20])
            moment = datetime.fromtimestamp(number / 1000 if number > _MILLISECONDS else number, UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise LineRefusedError("opted_in_at_unreadable") from None
    if moment < EARLIEST:
        raise LineRefusedError("opted_in_at_too_early")
    if moment > now + CLOCK_SKEW:
        raise LineRefusedError("opted_in_at_in_future")
    return moment


def check_source(source: str) -> str:
    """Where opt-ins come from, as it is kept with each of them.

    Raises:
        UsageError: it cannot be kept.
    """
    source = source.strip()
    if not source or len(source) > SOURCE_LIMIT or not source.isprintable() or storable(source) != source:
        raise UsageError(f"{source!r} cannot be a source. Give 1 to {SOURCE_LIMIT} printable characters.")
    return source
