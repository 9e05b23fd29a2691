"""Media in Compose: a file is handed over to the platform from the form, and chosen again from a list."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from otn.campaign import media
from otn.campaign.media import Attachment
from otn.consent.pages import Page
from otn.console.access import Visitor
from otn.console.compose_start import EXAMPLES, as_text, example
from otn.console.submitted import Typed
from otn.console.uploaded import Upload
from otn.database import Engine
from otn.errors import OtnError
from otn.messenger.client import MessengerClient
from otn.messenger.media import TAKEN, read_media
from otn.orchestration.bench import refuse_other_page
from otn.orchestration.hook import MessengerHook

FIELDS: Final = frozenset({"file", "media", "anew"})


@dataclass
class Shelf:
    """Media beside the form.

    Args:
        known: what the page has, newest first.
        said: what became of the last upload.
        chosen: number of the one to be put in.
    """

    known: list[Attachment] = field(default_factory=list)
    said: str = ""
    chosen: str = ""

    @property
    def choices(self) -> list[tuple[str, str]]:
        """As a list of a form has them."""
        rows = [
            (str(one.id), f"{one.name or one.attachment_id}: {one.kind}, {math.ceil(one.bytes / 1024):,} KB")
            for one in self.known
        ]
        return [("", "Choose"), *rows]


def page_client(page: Page) -> MessengerClient:
    """Speaks for a page; closed by whoever asked for it.

    Raises:
        ConfigurationError: the page's connection is missing, incomplete, or names another page.
    """
    hook = MessengerHook(page.connection_id)
    refuse_other_page(hook.settings, page.page_id)
    return hook.client


def take(
    engine: Engine, visitor: Visitor, page: Page | None, sent: Upload, problems: dict[str, str]
) -> tuple[Typed, str]:
    """Hand the file of a form over, and put it into the message where that is free.

    Args:
        engine: the project's database.
        visitor: who uploads.
        page: that will have it; None: none is chosen.
        sent: the form.
        problems: what is wrong is written here.

    Returns:
        The fields, and what became of it as a sentence; empty where it is wrong.
    """
    wrong = _wrong(sent, page)
    found = read_media(sent.content)
    if wrong or found is None or page is None:
        problems["file"] = wrong or f"This file is nothing that Messenger shows. It takes {TAKEN}."
        return sent.typed, ""
    try:
        with page_client(page) as client:
            kept, uploaded = media.hand_over(
                engine,
                client,
                page.id,
                found,
                name=sent.name,
                actor=visitor.name,
                anew=sent.typed.get("anew") == "on",
            )
    except OtnError as error:  # of the connection, or what the platform says
        problems["file"] = str(error)
        return sent.typed, ""
    typed, put = put_in(sent.typed, kept)
    done = "was handed over to Messenger" if uploaded else "is at Messenger already, and was not handed over again"
    then = (
        "It is in the message."
        if put
        else f"Your message stays as it is. The id to write into it: {kept.attachment_id}."
    )
    return typed, f"{kept.name or 'The file'} {done}. {then}"


def put_in(typed: Typed, kept: Attachment) -> tuple[Typed, bool]:
    """An attachment in place of nothing, of an example, or of another one; what somebody wrote stays.

    Returns:
        The fields, and whether it is in the message.
    """
    written = typed.get("message", "").strip()
    if written and not _replaceable(written):
        return typed, kept.attachment_id in written
    return typed | {"kind": "message", "message": as_text(kept.message)}, True


def choose(shelf: Shelf, typed: Typed, problems: dict[str, str]) -> Typed:
    """Put in what somebody has chosen from the list."""
    kept = next((one for one in shelf.known if str(one.id) == shelf.chosen), None)
    if kept is None:
        problems["media"] = "The page has no such media. Choose one of the list."
        return typed
    typed, put = put_in(typed, kept)
    shelf.said = "" if put else f"Your message stays as it is. The id to write into it: {kept.attachment_id}."
    return typed


def foreign_sentences(engine: Engine, page: Page, message: dict[str, Any]) -> list[str]:
    """What is wrong with media of another page, and what to do."""
    return [
        f"The {one.name or 'file'} with the id {one.attachment_id} was handed over for the page {one.page}, and"
        " Messenger refuses it from another. "
        + (f"Take its id of this page: {one.here}." if one.here else "Upload the file for this page too.")
        for one in media.foreign(engine, page.id, message)
    ]


def shelf_of(engine: Engine, page: Page | None, typed: Typed, said: str = "") -> Shelf:
    """What stands beside the form."""
    return Shelf(media.listing(engine, page.id) if page else [], said, typed.get("media", ""))


def _replaceable(written: str) -> bool:
    if written in {example(one) for one in EXAMPLES}:
        return True
    # As this page puts one in, and nobody has added anything.
    return any(
        written == as_text({"attachment": {"type": kind, "payload": {"attachment_id": found}}})
        for kind in ("image", "audio", "video", "file")
        for found in [_id_in(written)]
    )


def _id_in(written: str) -> str:
    _, _, rest = written.partition('"attachment_id": "')
    return rest.partition('"')[0]


def _wrong(sent: Upload, page: Page | None) -> str:
    if page is None:
        return "Choose the page first: media belongs to one page."
    if sent.too_large:
        return "This file has more than the 25 MB that Messenger takes. Make it smaller."
    if not sent.content:
        return f"{'This file is empty' if sent.name else 'No file is chosen'}. Choose one on your machine."
    return ""
