"""One webhook as it was received, and its form on disk."""

from __future__ import annotations

import struct
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from otn.crypto import Keyring

PURPOSE = "webhook"  # what the bodies are encrypted for: the same bytes go to disk and into the row
# Not text, not likely in anything encrypted, and broken by whatever treats a file as text.
MARK = b"\xf0OTN\r\n\x1a\x01"
_HEAD = struct.Struct(">8sII")  # mark, length of the rest, CRC-32 of length and rest
_LENGTH = struct.Struct(">I")
_REST = struct.Struct(">Iq16s")  # day (ordinal), moment (microseconds since the epoch), id
HEAD_BYTES = _HEAD.size
LONGEST = 8_000_000  # bytes; the receiver takes 5 MB, encryption adds a few dozen


@dataclass(frozen=True, slots=True)
class Receipt:
    """A webhook that is to be stored, with the identity that makes storing it twice harmless.

    Args:
        day: of the receipt, in UTC.
        id: random.
        received_us: the moment of the receipt by this machine's clock, in microseconds since the epoch.
        body: encrypted.
    """

    day: date
    id: uuid.UUID
    received_us: int
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, body: bytes, keyring: Keyring) -> Receipt:
        """A receipt of now for a body as it arrived."""
        now = time.time_ns() // 1000
        day = datetime.fromtimestamp(now / 1_000_000, UTC).date()
        return cls(day, uuid.uuid4(), now, keyring.encrypt(body, PURPOSE))

    @property
    def age_s(self) -> float:
        """Seconds since the receipt; never negative, whatever became of the clock."""
        return max(0.0, time.time() - self.received_us / 1_000_000)

    def to_bytes(self) -> bytes:
        """Its form in a segment: head with length and checksum, day, moment, id, encrypted body."""
        rest = _REST.pack(self.day.toordinal(), self.received_us, self.id.bytes) + self.body
        length = len(rest)
        return _HEAD.pack(MARK, length, zlib.crc32(rest, zlib.crc32(_LENGTH.pack(length)))) + rest


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that are no receipt.

    Args:
        start: offset of the first.
        end: offset behind the last.
        torn: they reach to the end of the segment, as a write does that was cut off and never acknowledged.
    """

    start: int
    end: int
    torn: bool


def rest_length(head: bytes) -> int | None:
    """How many bytes follow a head; None where it is none."""
    if len(head) < HEAD_BYTES:
        return None
    mark, length, _ = _HEAD.unpack_from(head)
    return int(length) if mark == MARK and _REST.size <= length <= LONGEST else None


def read_receipts(data: bytes) -> Iterator[Receipt | Damage]:
    """Everything in a segment, in order; what is damaged is stepped over to the next whole receipt."""
    offset = 0
    while offset < len(data):
        found = _receipt_at(data, offset)
        if found is None:
            end = _next_whole(data, offset + 1)
            yield Damage(offset, end, torn=end == len(data))
            offset = end
        else:
            yield found[0]
            offset = found[1]


def _receipt_at(data: bytes, offset: int) -> tuple[Receipt, int] | None:
    length = rest_length(data[offset : offset + HEAD_BYTES])
    if length is None or offset + HEAD_BYTES + length > len(data):
        return None
    _, _, checksum = _HEAD.unpack_from(data, offset)
    start = offset + HEAD_BYTES
    rest = data[start : start + length]
    if zlib.crc32(rest, zlib.crc32(_LENGTH.pack(length))) != checksum:
        return None
    ordinal, moment, identity = _REST.unpack_from(rest)
    try:
        day = date.fromordinal(ordinal)
    except (ValueError, OverflowError):  # one damage in four thousand million passes the checksum
        return None
    return Receipt(day, uuid.UUID(bytes=identity), moment, rest[_REST.size :]), start + length


def _next_whole(data: bytes, offset: int) -> int:
    while (offset := data.find(MARK, offset)) >= 0:
        if _receipt_at(data, offset) is not None:
            return offset
        offset += 1
    return len(data)
