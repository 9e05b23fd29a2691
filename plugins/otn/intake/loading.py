"""Loading: judged lines become people and tokens, a slice in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from otn.consent.pages import Page
from otn.consent.text import key_of, storable
from otn.consent.topics import MEETING_ROUNDS, TopicRaceError
from otn.crypto import Keyring
from otn.database import PsycopgConnection, queries
from otn.intake.import_lines import SOURCE_LIMIT, Ground, LineRefusedError, OptIn, judge

EXPIRED = "expired"
ERASED = "erased"
ANOTHER_PERSON = "token_of_another_person"
ANOTHER_PAGE = "token_of_another_page"
_NOBODY = ""

Row = tuple[int, dict[str, Any] | None]


@dataclass(frozen=True)
class Provenance:
    """Where the tokens of a file come from.

    Args:
        way: how they came here: ``import``, ``landing``.
        source: who collected them, where a line does not say so itself.
        mark: names the file.
    """

    way: str
    source: str
    mark: str

    def of(self, source: str | None) -> str:
        """What is kept with a token.

        Args:
            source: as its line says.
        """
        named = storable(source)[:SOURCE_LIMIT] if source and source.isprintable() else self.source
        return f"{self.way}:{named}:{self.mark}"


@dataclass
class Tally:
    """What became of lines: lines = imported + webhooks + duplicate + everyone left out.

    Args:
        lines: with something in them.
        imported: opt-ins stored for the first time; of a dry run: that would be.
        webhooks: bodies handed to ingest.
        duplicate: known already.
        left_out: number and reason of each line that is expired or refused.
    """

    lines: int = 0
    imported: int = 0
    webhooks: int = 0
    duplicate: int = 0
    left_out: list[tuple[int, str]] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Self:
        self.lines += other.lines
        self.imported += other.imported
        self.webhooks += other.webhooks
        self.duplicate += other.duplicate
        self.left_out += other.left_out
        return self

    @property
    def expired(self) -> int:
        """Opt-ins older than a year."""
        return sum(reason == EXPIRED for _, reason in self.left_out)

    def refused(self) -> Counter[str]:
        """Everyone refused, by reason."""
        return Counter(reason for _, reason in self.left_out if reason != EXPIRED)


@dataclass(frozen=True)
class _Sealed:
    """An opt-in with what stands for its token."""

    found: OptIn
    token_hash: bytes
    source: str


class Loader:
    """Loads lines of one file for one page.

    A person who was erased is refused: no file brings anybody back.

    Args:
        keyring: seals tokens, hashes people.
        page: for which Facebook page the tokens are.
        provenance: kept with each token.
        dry_run: judge everything, write nothing.
    """

    def __init__(self, keyring: Keyring, page: Page, provenance: Provenance, *, dry_run: bool = False) -> None:
        self._keyring = keyring
        self._page = page
        self._pages = frozenset({page.page_id, page.connection_id})
        self._provenance = provenance
        self._dry_run = dry_run
        self._seen: dict[bytes, str] = {}  # of a dry run: tokens of earlier slices, and whose they are

    def load(self, conn: PsycopgConnection, rows: Sequence[Row]) -> Tally:
        """Load one slice.

        Args:
            conn: a connection in a transaction.
            rows: number and fields of each line; None where it cannot be read.
        """
        tally = Tally(lines=len(rows))
        # Between a look at the tombstones and the commit nobody is erased.
        queries("erasure").share(conn)
        clock = queries("import").context(conn, page_id=self._page.id)
        ground = Ground(self._pages, frozenset(clock.payloads), frozenset(clock.adopted), clock.now)
        sealed = self._present(conn, self._judged(rows, ground, clock.year_ago, tally), clock.pages, tally)
        fresh = self._unknown(conn, self._of_this_page(conn, sealed, clock.pages, tally), tally)
        tally.imported = len(fresh) if self._dry_run else self._store(conn, fresh)
        tally.duplicate += len(fresh) - tally.imported  # another one was faster
        return tally

    def _judged(self, rows: Sequence[Row], ground: Ground, year_ago: Any, tally: Tally) -> list[_Sealed]:
        found = []
        for line, fields in rows:
            try:
                one = judge(line, fields, ground)
            except LineRefusedError as refusal:
                tally.left_out.append((line, str(refusal)))
                continue
            if one.opted_in_at <= year_ago:
                tally.left_out.append((line, EXPIRED))
                continue
            token_hash = self._keyring.digest("token", self._page.page_id, one.token)
            found.append(_Sealed(one, token_hash, self._provenance.of(one.source)))
        return found

    def _present(
        self, conn: PsycopgConnection, sealed: Sequence[_Sealed], pages: Sequence[str], tally: Tally
    ) -> list[_Sealed]:
        """Without the people who were erased, on whichever page: a file taken for the wrong one brings nobody back."""
        psids = {one.found.psid for one in sealed}
        people = {self._keyring.digest("psid", page, psid): psid for page in pages for psid in psids}
        rows = queries("ingest").erased(conn, hashes=list(people))
        erased = {people[bytes(row.psid_hash)] for row in rows}
        return _without(sealed, lambda one: one.found.psid in erased, ERASED, tally)

    def _of_this_page(
        self, conn: PsycopgConnection, sealed: Sequence[_Sealed], pages: Sequence[str], tally: Tally
    ) -> list[_Sealed]:
        """Without tokens that came for another page: they and their people are worth nothing here."""
        others = [page for page in pages if page != self._page.page_id]
        tokens = {one.found.token for one in sealed}
        hashes = {self._keyring.digest("token", page, token): token for page in others for token in tokens}
        rows = queries("import").holders(conn, hashes=list(hashes), page_id=self._page.id) if hashes else ()
        elsewhere = {hashes[bytes(row.token_hash)] for row in rows}
        return _without(sealed, lambda one: one.found.token in elsewhere, ANOTHER_PAGE, tally)

    def _unknown(self, conn: PsycopgConnection, sealed: Sequence[_Sealed], tally: Tally) -> list[_Sealed]:
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
                tally.duplicate += 1
            else:
                tally.left_out.append((one.found.line, ANOTHER_PERSON))
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
        for _ in range(MEETING_ROUNDS):
            if queries("import").meet_topics(conn, **wanted) == 0:
                return
        raise TopicRaceError


def _without(sealed: Sequence[_Sealed], refused: Callable[[_Sealed], bool], reason: str, tally: Tally) -> list[_Sealed]:
    kept = []
    for one in sealed:
        if refused(one):
            tally.left_out.append((one.found.line, reason))
        else:
            kept.append(one)
    return kept
