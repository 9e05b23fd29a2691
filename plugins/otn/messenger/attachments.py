"""What is handed over when media is uploaded."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otn.messenger.errors import MessengerError, Outcome
from otn.messenger.media import Media

ATTACHMENT_BYTES_LIMIT = 25 * 1024 * 1024
ATTACHMENT_KINDS = ("image", "audio", "video", "file")
ATTACHMENT_TIMEOUT_S = 120.0
PLAYED = frozenset({"audio", "video"})


def attachment_parts(
    kind: str, url: str | None, path: str | Path | None, media: Media | None = None
) -> tuple[dict[str, Any], dict[str, tuple[str, bytes, str]] | None]:
    """Return the message and the files of an upload.

    Raises:
        MessengerError: The kind is unknown, not exactly one source is given, or the file cannot be used.
    """
    if kind not in ATTACHMENT_KINDS:
        raise _refused(f"There is no attachment kind {kind!r}. Use one of {', '.join(ATTACHMENT_KINDS)}.")
    if [url, path, media].count(None) != 2:
        raise _refused("An attachment needs an address or a file. Give exactly one of the two.")
    payload: dict[str, Any] = {"is_reusable": True} if url is None else {"is_reusable": True, "url": url}
    message = {"attachment": {"type": kind, "payload": payload}}
    if media is not None:
        return message, {"filedata": (f"attachment{media.suffix}", _bounded(media.content), media.media_type)}
    return message, None if path is None else {"filedata": _file(Path(path))}


def attachment_ids(message: Mapping[str, Any]) -> list[str]:
    """Ids of uploaded media in a message, each once. An id is good for the page that uploaded it and for no other.

    Source: Meta docs, Send API error codes (100/2018074: invalid or not owned attachment id).

    Args:
        message: Send API message object.
    """
    attachment = message.get("attachment")
    payload = attachment.get("payload") if isinstance(attachment, dict) else None
    if not isinstance(payload, dict):
        return []
    elements = payload.get("elements")
    holders = [payload, *(elements if isinstance(elements, list) else ())]
    found = (one.get("attachment_id") for one in holders if isinstance(one, dict))
    return list(dict.fromkeys(one for one in found if isinstance(one, str)))


def is_played(message: Mapping[str, Any]) -> bool:
    """Whether a message carries audio or video, which the platform takes more slowly: 10 calls a second for a page.

    Source: Meta docs, Messenger rate limiting. Images and files are not named there and count as texts do.

    Args:
        message: Send API message object.
    """
    attachment = message.get("attachment")
    if not isinstance(attachment, dict):
        return False
    payload = attachment.get("payload")
    elements = payload.get("elements") if isinstance(payload, dict) else None
    kinds = [attachment.get("type"), *(one.get("media_type") for one in elements or () if isinstance(one, dict))]
    return any(isinstance(kind, str) and kind in PLAYED for kind in kinds)


def _file(path: Path) -> tuple[str, bytes, str]:
    try:
        _refuse_large(path.stat().st_size)
        content = _bounded(path.read_bytes())
    except OSError as error:
        raise _refused(f"The file cannot be read: {error.strerror}. Check its path and rights.") from None
    # The name travels in a header of the form; the person's own name for the file is nobody's business.
    return f"attachment{path.suffix.lower()}", content, mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _bounded(content: bytes) -> bytes:
    _refuse_large(len(content))
    if not content:
        raise _refused("The file is empty. Choose another one.")
    return content


def _refuse_large(size: int) -> None:
    if size > ATTACHMENT_BYTES_LIMIT:
        raise _refused(f"The file has {size} bytes where 25 MB are allowed. Make it smaller.")


def _refused(text: str) -> MessengerError:
    return MessengerError(text, outcome=Outcome.CONTENT)
