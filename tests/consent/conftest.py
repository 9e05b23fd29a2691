"""A registered page and its inbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otn.consent import pages
from otn.crypto import Keyring
from otn.database import Engine, transaction
from tests.consent.inbox import Inbox, page_settings


@pytest.fixture
def page(database: Engine) -> pages.Page:
    with transaction(database) as conn:
        return pages.register(conn, page_settings())


@pytest.fixture
def inbox(database: Engine, keyring: Keyring, page: pages.Page) -> Iterator[Inbox]:
    """An inbox of a registered page."""
    inbox = Inbox(database, keyring)
    yield inbox
    # Whatever a test did: nothing that was received is unaccounted for, and no wire text is stored in the clear.
    unbalanced = "SELECT count(*) FROM otn.webhook_event WHERE events <> ingested + duplicate + quarantined"
    assert inbox.value(unbalanced) == 0
    waiting = "SELECT count(*) FROM otn.quarantine WHERE replayed_at IS NULL"
    assert inbox.value(waiting) == inbox.value("SELECT coalesce(sum(quarantined), 0) FROM otn.webhook_event")
