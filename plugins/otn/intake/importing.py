"""Import: opt-ins collected elsewhere, each with its own proof of where it comes from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from otn.consent.pages import Page
from otn.consent.text import key_of, storable
from otn.crypto import Keyring
from otn.database import Engine, PsycopgConnection, queries, transaction
from otn.errors import OtnError
from otn.intake.import_lines import SOURCE_LIMIT, Ground, ImportFile, LineRefusedError, OptIn, judge

SLICE = 2000  # lines in one transaction
_TOPIC_ROUNDS = 5
ERASED = "erased"
ANOTHER_PERSON = "token_of_another_person"
ANOTHER_PAGE = "token_of_another_page"
_NOBODY = ""

Row = tuple[int, dict[str, Any] | None]
OnRefusal = Callable[[int, str], None]


class TopicRaceError(OtnError):
    """The topic of an opt-in could not be stored. Import the file again: nothing comes in twice."""


@dataclass(frozen=True)
class ImportResult:
    """What became of a file; lines = imported + duplicate + expired + everyone refused.

    Args:
        lines: opt-ins in the file.
        imported: stored for the first time; of a dry run: that would be.
        duplicate: known already, or twice in the file.
        expired: older than a year; not stored.
        refused: by reason.
        provenance: what stands as source of its tokens, but for lines that name their own.
        dry_run: nothing was written.
    """

    lines: int = 0
    imported: int = 0
    duplicate: int = 0
    expired: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    provenance: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class _Sealed:
    """An opt-in with what stands for its token."""

    found: OptIn
    token_hash: bytes
    source: str


def import_file(
    engine: Engine,
    keyring: Keyring,
    page: Page,
    file: ImportFile,
    *,
    actor: str,
    dry_run: bool = False,
    on_refusal: OnRefusal | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportResult:
    """Import opt-ins; run again, nothing comes in twice.

    A line without the time of its consent is refused, as is a person who was erased: no file brings anybody back.

    Args:
        engine: the database.
        keyring: seals tokens, hashes people.
        page: for which Facebook page the tokens are.
        file: what to import.
        actor: who imports, for the audit.
        dry_run: judge everything, write nothing.
        on_refusal: is told number and reason of each line that is refused or expired.
        progress: is told the number of the last line that is done.

    Raises:
        ImportFileError: the file has not the columns of an import.
    """
    work = _Import(engine, keyring, page, file, on_refusal or _silent, dry_run=dry_run)
    for rows in _sliced(file.rows(), SLICE):
        work.take(rows)
        if progress is not None:
            progress(rows[-1][0])
    result = work.result()
    if not dry_run:
        with transaction(engine) as conn:
            queries("campaign").write_audit(
                conn,
                actor=actor,
                action="imported",
                page_id=page.id,
                campaign_id=None,
                detail=json.dumps(
                    {
                        "file": file.path.name,
                        "sha256": file.digest,
                        "source": file.source,
                        "lines": result.lines,
                        "imported": result.imported,
                        "duplicate": result.duplicate,
                        "expired": result.expired,
                        "refused": result.refused,
                    }
                ),
            )
    return result


def _silent(_line: int, _reason: str) -> None:
    pass


def _sliced(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while part := list(islice(rows, size)):
        yield part


class _Import:
    """One run over a file."""

    def __init__(
        self,
        engine: Engine,
        keyring: Keyring,
        page: Page,
        file: ImportFile,
        on_refusal: OnRefusal,
        *,
        dry_run: bool,
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._page = page
        self._pages = frozenset({page.page_id, page.connection_id})
        self._digest = file.digest[:8]
        self._source = file.source
        self._dry_run = dry_run
        self._on_refusal = on_refusal
        self._lines = self._imported = self._duplicate = self._expired = 0
        self._refused: Counter[str] = Counter()
        self._seen: dict[bytes, str] = {}  # of a dry run: tokens of earlier slices, and whose they are

    def result(self) -> ImportResult:
        """What became of the file so far."""
        return ImportResult(
            lines=self._lines,
            imported=self._imported,
            duplicate=self._duplicate,
            expired=self._expired,
            refused=dict(sorted(self._refused.items())),
            provenance=self._provenance(None),
            dry_run=self._dry_run,
        )

    def take(self, rows: Sequence[Row]) -> None:
        """Import one slice, in one transaction."""
        self._lines += len(rows)
        with transaction(self._engine) as conn:
            # Between a look at the tombstones and the commit nobody is erased.
            queries("erasure").share(conn)
            clock = queries("import").context(conn, page_id=self._page.id)
            ground = Ground(self._pages, frozenset(clock.payloads), frozenset(clock.adopted), clock.now)
            sealed = self._present(conn, self._judged(rows, ground, clock.year_ago), clock.pages)
            fresh = self._unknown(conn, self._of_this_page(conn, sealed, clock.pages))
            stored = len(fresh) if self._dry_run else self._store(conn, fresh)
        self._imported += stored
        self._duplicate += len(fresh) - stored  # another import was faster

    def _judged(self, rows: Sequence[Row], ground: Ground, year_ago: datetime) -> list[_Sealed]:
        found = []
        for line, fields in rows:
            try:
                one = judge(line, fields, ground)
            except LineRefusedError as refusal:
                self._refuse(line, str(refusal))
                continue
            if one.opted_in_at <= year_ago:
                self._expired += 1
                self._on_refusal(line, "expired")
                continue
            token_hash = self._keyring.digest("token", self._page.page_id, one.token)
            found.append(_Sealed(one, token_hash, self._provenance(one.source)))
        return found

    def _present(self, conn: PsycopgConnection, sealed: Sequence[_Sealed], pages: Sequence[str]) -> list[_Sealed]:
        """Without the people who were erased, on whichever page: a file taken for the wrong one brings nobody back."""
        psids = {one.found.psid for one in sealed}
        people = {self._keyring.digest("psid", page, psid): psid for page in pages for psid in psids}
        rows = queries("ingest").erased(conn, hashes=list(people))
        erased = {people[bytes(row.psid_hash)] for row in rows}
        return self._without(sealed, lambda one: one.found.psid in erased, ERASED)

    def _of_this_page(self, conn: PsycopgConnection, sealed: Sequence[_Sealed], pages: Sequence[str]) -> list[_Sealed]:
        """Without tokens that came for another page: they and their people are worth nothing here."""
        others = [page for page in pages if page != self._page.page_id]
        tokens = {one.found.token for one in sealed}
        hashes = {self._keyring.digest("token", page, token): token for page in others for token in tokens}
        rows = queries("import").holders(conn, hashes=list(hashes), page_id=self._page.id) if hashes else ()
        elsewhere = {hashes[bytes(row.token_hash)] for row in rows}
        return self._without(sealed, lambda one: one.found.token in elsewhere, ANOTHER_PAGE)

    def _without(self, sealed: Sequence[_Sealed], refused: Callable[[_Sealed], bool], reason: str) -> list[_Sealed]:
        kept = []
        for one in sealed:
            if refused(one):
                self._refuse(one.found.line, reason)
            else:
                kept.append(one)
        return kept

    def _unknown(self, conn: PsycopgConnection, sealed: Sequence[_Sealed]) -> list[_Sealed]:
        """Those whose token nobody holds yet; of the same one in the file the first."""
        rows = queries("import").holders(conn, hashes=[one.token_hash for one in sealed], page_id=self._page.id)
        holders = {bytes(row.token_hash): row.psid for row in rows}
        fresh = []
        for one in sealed:
            holder = holders.setdefault(one.token_hash, self._seen.get(one.token_hash, _NOBODY))
            if holder == _NOBODY:
                fresh.append(one)
                holders[one.token_hash] = one.found.psid
                if self._dry_run:
                    self._seen[one.token_hash] = one.found.psid
            elif holder == one.found.psid:
                self._duplicate += 1
            else:
                self._refuse(one.found.line, ANOTHER_PERSON)
        return fresh

    def _store(self, conn: PsycopgConnection, fresh: Sequence[_Sealed]) -> int:
        if not fresh:
            return 0
        payloads = sorted({one.found.payload for one in fresh})
        self._meet_topics(conn, payloads)
        queries("import").merge_people(conn, page_id=self._page.id, psids=sorted({one.found.psid for one in fresh}))
        queries("import").label_people(
            conn,
            page_id=self._page.id,
            psids=[one.found.psid for one in fresh],
            payloads=[storable(one.found.payload) for one in fresh],
        )
        ordered = sorted(fresh, key=lambda one: one.token_hash)  # as every ingest does: nobody waits in a circle
        return int(
            queries("import").merge_tokens(
                conn,
                page_id=self._page.id,
                psids=[one.found.psid for one in ordered],
                payloads=[storable(one.found.payload) for one in ordered],
                hashes=[one.token_hash for one in ordered],
                tokens=[self._keyring.encrypt(one.found.token.encode(), "token") for one in ordered],
                refs=[storable(one.found.ref) if one.found.ref else None for one in ordered],
                times=[one.found.opted_in_at for one in ordered],
                sources=[one.source for one in ordered],
            )
        )

    def _meet_topics(self, conn: PsycopgConnection, payloads: Sequence[str]) -> None:
        wanted = {
            "page_id": self._page.id,
            "keys": [key_of(payload) for payload in payloads],
            "payloads": [storable(payload) for payload in payloads],
        }
        for _ in range(_TOPIC_ROUNDS):
            if queries("import").meet_topics(conn, **wanted) == 0:
                return
        raise TopicRaceError

    def _refuse(self, line: int, reason: str) -> None:
        self._refused[reason] += 1
        self._on_refusal(line, reason)

    def _provenance(self, source: str | None) -> str:
        named = storable(source)[:SOURCE_LIMIT] if source and source.isprintable() else self._source
        return f"import:{named}:{self._digest}"
