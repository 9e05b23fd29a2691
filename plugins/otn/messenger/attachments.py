"""What is handed over when media is uploaded."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otn.messenger.errors import MessengerError, Outcome

ATTACHMENT_BYTES_LIMIT = 25 * 1024 * 1024
ATTACHMENT_KINDS = ("image", "audio", "video", "file")
ATTACHMENT_TIMEOUT_S = 120.0
PLAYED = frozenset({"audio", "video"})


def attachment_parts(
    kind: str, url: str | None, path: str | Path | None
) -> tuple[dict[str, Any], dict[str, tuple[str, bytes, str]] | None]:
    """Return the message and the files of an upload.

    Raises:
        MessengerError: The kind is unknown, not exactly one source is given, or the file cannot be used.
    """
    if kind not in ATTACHMENT_KINDS:
        raise _refused(f"There is no attachment kind {kind!r}. Use one of {', '.join(ATTACHMENT_KINDS)}.")
    if (url is None) == (path is None):
        raise _refused("An attachment needs an address or a file. Give exactly one of the two.")
    payload: dict[str, Any] = {"is_reusable": True} if url is None else {"is_reusable": True, "url": url}
    message = {"attachment": {"type": kind, "payload": payload}}
    return message, None if path is None else {"filedata": _file(Path(path))}


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
        size = path.stat().st_size
        if size > ATTACHMENT_BYTES_LIMIT:
            raise _refused(f"The file has {size} bytes where 25 MB are allowed. Make it smaller.")
        content = path.read_bytes()
    except OSError as error:
        raise _refused(f"The file cannot be read: {error.strerror}. Check its path and rights.") from None
    if not content:
        raise _refused("The file is empty. Choose another one.")
    # The name travels in a header of the form; the person's own name for the file is nobody's business.
    return f"attachment{path.suffix.lower()}", content, mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _refused(text: str) -> MessengerError:
    return MessengerError(text, outcome=Outcome.CONTENT)
