"""A form with a file in it, read as it comes: bounded, in memory, with its fields even where the file is too large."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import Depends, HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from otn.console.submitted import BYTES_LIMIT, FIELDS_LIMIT, Typed
from otn.messenger.attachments import ATTACHMENT_BYTES_LIMIT

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_BYTES: Final = (
    4 * ATTACHMENT_BYTES_LIMIT
)  # of a body: what is read on, to give back the fields behind a large file
UNREADABLE: Final = "This cannot be read as a form. Go back and try again."


@dataclass
class Upload:
    """What came.

    Args:
        typed: the fields, of each name the last.
        name: of the file, as the browser says it.
        content: the file; empty where none was chosen.
        too_large: it had more bytes than the platform takes; ``content`` is empty then.
    """

    typed: Typed = field(default_factory=dict)
    name: str = ""
    content: bytes = field(default=b"", repr=False)
    too_large: bool = False


class _Reader:
    """Takes the parts of a form, one after the other."""

    def __init__(self) -> None:
        self.upload = Upload()
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._part = bytearray()
        self._name = ""
        self._is_file = False
        self._fields_bytes = 0

    @property
    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self.on_part_begin,
            "on_part_data": self.on_part_data,
            "on_part_end": self.on_part_end,
            "on_header_begin": self.on_header_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        self._headers, self._part = {}, bytearray()

    def on_header_begin(self) -> None:
        self._header = (bytearray(), bytearray())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def on_header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options
        if self._is_file:
            self.upload.name = options[b"filename"].decode("utf-8", "replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._fields_bytes += end - start
            if self._fields_bytes > BYTES_LIMIT:
                raise HTTPException(413, "This is more than a form of ours holds. Go back, and shorten it.")
        elif self.upload.too_large or len(self._part) + end - start > ATTACHMENT_BYTES_LIMIT:
            self.upload.too_large, self._part = True, bytearray()
            return
        self._part.extend(data[start:end])

    def on_part_end(self) -> None:
        if self._is_file:
            self.upload.content = b"" if self.upload.too_large else bytes(self._part)
        else:
            self.upload.typed[self._name] = self._part.decode("utf-8", "replace").replace("\r\n", "\n")
        if len(self.upload.typed) > FIELDS_LIMIT:
            raise HTTPException(400, UNREADABLE)
        self._part = bytearray()

    def on_end(self) -> None:
        self.ended = True


async def uploaded(request: Request) -> Upload:
    """Fields and file of a form.

    Raises:
        HTTPException: it is too large by far (413), or no such form at all (400).
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise HTTPException(400, UNREADABLE)
    reader, size = _Reader(), 0
    try:
        parser = MultipartParser(boundary, reader.callbacks)
        async for part in request.stream():
            size += len(part)
            if size > MOST_BYTES:
                raise HTTPException(
                    413, "This file is far larger than the 25 MB that Messenger takes. Make it smaller."
                )
            parser.write(part)
        parser.finalize()
    except FormParserError:
        raise HTTPException(400, UNREADABLE) from None
    if not reader.ended:  # a line that was cut: half a file is none
        raise HTTPException(400, UNREADABLE)
    return reader.upload


UploadDep = Annotated[Upload, Depends(uploaded)]
