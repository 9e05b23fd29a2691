"""Deletion requests that came by the platform's callback: whom they mean, and that they are carried out.

The callback names a person by an id of the app, which is a PSID only by chance (Meta docs, Data Deletion Callback).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from otn.consent import pages
from otn.consent.pages import Page
from otn.crypto import DecryptionError, Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import UsageError
from otn.messenger.client import MessengerClient
from otn.messenger.errors import MessengerError
from otn.privacy.erasure import erase
from otn.privacy.journal import Journal, needed_journal

ASK_DAYS = 7  # so long the platform is asked whom an id means, before the answer is what is known
ACTOR = "deletion request"
_MOST = 100  # requests in one run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeletionFigures:
    """What became of the deletion requests.

    Args:
        done: requests that are settled now.
        people: people of ours that these were.
        waiting: requests that are tried again: the platform did not say whom they mean.
        locked: requests that cannot be decrypted.
    """

    done: int = 0
    people: int = 0
    waiting: int = 0
    locked: int = 0


@dataclass(frozen=True)
class DeletionRequest:
    """A request, without whom it is about.

    Args:
        code: by which the person may ask what became of it.
        state: ``received`` or ``done``.
        received_at: when it came.
        people: how many people of ours that was; None while it is not done.
        done_at: when it was done.
    """

    code: str
    state: str
    received_at: datetime
    people: int | None
    done_at: datetime | None


def listing(conn: PsycopgConnection) -> list[DeletionRequest]:
    """All requests, newest first."""
    return [DeletionRequest(**row._asdict()) for row in queries("deletion").list_requests(conn)]


def process(
    engine: Engine,
    keyring: Keyring,
    clients: Mapping[int, MessengerClient],
    environ: Mapping[str, str] | None = None,
) -> DeletionFigures:
    """Carry out the requests that wait; safe twice and at once.

    What is found is erased at once. Where the platform does not say whom a request means, it is asked again for a week.

    Args:
        engine: the database.
        keyring: opens the requests, hashes people.
        clients: our number of each page, and its client; a page without one cannot be asked.
        environ: where the erasure journal is named; the process's environment by default.

    Raises:
        ConfigurationError: no erasure journal is known.
        JournalError: it cannot be written.
    """
    with transaction(engine) as conn:
        rows = list(queries("deletion").waiting(conn, days=ASK_DAYS, most=_MOST))
        known = pages.listing(conn)
    if not rows:
        return DeletionFigures()
    work = _Deletions(engine, keyring, clients, known, needed_journal(environ))
    done = people = waiting = locked = 0
    for row in rows:
        try:
            user_id = keyring.decrypt(row.user_id, "deletion").decode()
        except (DecryptionError, UnicodeDecodeError):
            locked += 1
            continue
        complete = work.erase_user(row.id, user_id)
        if complete or row.late:
            done, people = done + 1, people + work.finish(row.id)
        else:
            waiting += 1
    if locked:
        log.warning("%s deletion requests cannot be decrypted; put their key back into OTN_ENCRYPTION_KEYS", locked)
    return DeletionFigures(done, people, waiting, locked)


class _Deletions:
    """One run over requests."""

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        clients: Mapping[int, MessengerClient],
        known: Sequence[Page],
        journal: Journal,
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._clients = clients
        self._pages = known
        self._journal = journal

    def erase_user(self, request_id: str, user_id: str) -> bool:
        """Erase whoever is meant; answers whether every page could be asked."""
        found: set[tuple[int, str]] = set()
        complete = True
        for page in self._pages:
            if self._holds(page, user_id):
                found.add((page.id, user_id))
            try:
                found |= {(page.id, psid) for psid in self._clients[page.id].page_scoped_ids(user_id)}
            except KeyError:
                complete = False
            except MessengerError as error:
                complete = False
                log.warning("The platform does not say whom a deletion request means (%s).", error.outcome.value)
        by_id = {page.id: page for page in self._pages}
        for page_row_id, psid in sorted(found):
            if self._erase(by_id[page_row_id], psid):
                with transaction(self._engine) as conn:
                    queries("deletion").count_person(conn, id=request_id)
        return complete

    def finish(self, request_id: str) -> int:
        """Forget whom it was about; answers how many people that was. The code still tells what became of it."""
        with transaction(self._engine) as conn:
            return int(queries("deletion").finish(conn, id=request_id) or 0)

    def _holds(self, page: Page, psid: str) -> bool:
        with transaction(self._engine) as conn:
            return queries("erasure").find_person(conn, page_id=page.id, psid=psid) is not None

    def _erase(self, page: Page, psid: str) -> bool:
        """Whether it was somebody of ours."""
        try:
            done = erase(self._engine, self._keyring, page, psid, actor=ACTOR, reason=ACTOR, journal=self._journal)
        except UsageError:  # an id that can be none of ours
            return False
        return done.subscriber_id is not None
