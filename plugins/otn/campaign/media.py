"""Media of messages: handed over to the platform once a page, and known by its content from then on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from otn.database import Engine, queries, transaction
from otn.messenger.attachments import attachment_ids
from otn.messenger.client import MessengerClient
from otn.messenger.media import Media

NAME_LIMIT = 100  # characters
MOST_LISTED = 50


@dataclass(frozen=True)
class Attachment:
    """Media that the platform has.

    Args:
        id: ``otn.attachment.id``.
        attachment_id: the platform's; good for one page.
        kind: ``image``, ``audio``, ``video`` or ``file``.
        name: of the file, for people.
        bytes: its size.
        uploaded_at: when it was handed over.
    """

    id: int
    attachment_id: str
    kind: str
    name: str
    bytes: int
    uploaded_at: datetime

    @property
    def message(self) -> dict[str, Any]:
        """A message of nothing else."""
        return {"attachment": {"type": self.kind, "payload": {"attachment_id": self.attachment_id}}}


@dataclass(frozen=True)
class Foreign:
    """Media in a message that belongs to another page: the platform would refuse it.

    Args:
        attachment_id: as the message has it.
        name: of the file.
        page: connection id of the page that uploaded it.
        here: the id of the same file on the message's own page; None: it was not uploaded there.
    """

    attachment_id: str
    name: str
    page: str
    here: str | None


def hand_over(
    engine: Engine,
    client: MessengerClient,
    page_row_id: int,
    media: Media,
    *,
    name: str,
    actor: str,
    anew: bool = False,
) -> tuple[Attachment, bool]:
    """Upload a file, unless the page has it already.

    Killed between the call and the commit, the platform keeps a copy that nobody uses, and the next try uploads again.

    Args:
        engine: the project's database.
        client: speaks for the page.
        page_row_id: ``otn.page.id``.
        media: the file.
        name: of the file, however it looks; people see it in a list.
        actor: who uploads.
        anew: upload it in any case: the platform has lost the one before.

    Returns:
        The attachment, and whether it was uploaded now.

    Raises:
        MessengerError: the platform refused it or did not answer.
    """
    sha256 = hashlib.sha256(media.content).digest()
    if not anew:
        with transaction(engine) as connection:
            row = queries("attachment").find_attachment(connection, page_id=page_row_id, sha256=sha256)
        if row is not None:
            return Attachment(**row._asdict()), False
    attachment_id = client.upload_attachment(media.kind, media=media)
    with transaction(engine) as connection:
        row = queries("attachment").keep_attachment(
            connection,
            page_id=page_row_id,
            sha256=sha256,
            kind=media.kind,
            media_type=media.media_type,
            bytes=len(media.content),
            name=plain_name(name),
            attachment_id=attachment_id,
            actor=actor,
            anew=anew,
        )
    return Attachment(**row._asdict()), True


def listing(engine: Engine, page_row_id: int) -> list[Attachment]:
    """What a page has, newest first."""
    with transaction(engine) as connection:
        rows = queries("attachment").list_attachments(connection, page_id=page_row_id, most=MOST_LISTED)
        return [Attachment(**row._asdict()) for row in rows]


def foreign(engine: Engine, page_row_id: int, message: Mapping[str, Any]) -> list[Foreign]:
    """Media in a message that another page of ours uploaded, and this one did not.

    Args:
        engine: the project's database.
        page_row_id: of the page that is to send.
        message: Send API message object.
    """
    ids = attachment_ids(message)
    if not ids:
        return []
    with transaction(engine) as connection:
        rows = queries("attachment").whose_attachments(connection, page_id=page_row_id, ids=ids)
        return [Foreign(**row._asdict()) for row in rows]


def plain_name(name: str) -> str:
    """The last part of a path, without what cannot be seen."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one for one in last if one.isprintable())[:NAME_LIMIT].strip()
