"""A landed file while it is taken: its row, and the writing of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from otn.database import PsycopgConnection, queries
from otn.intake.landed import Figures
from otn.intake.landing_lines import Piece, Position
from otn.intake.loading import Tally

MOST_REFUSALS = 10_000  # whose line numbers are kept, of one file; all are counted
ACTOR = "landing"


class AnotherRunError(Exception):
    """The file does not stand any more where this run left it."""


class Taking:
    """Where one file stands.

    Args:
        row: of ``begin_next``.
    """

    def __init__(self, row: Any) -> None:
        self.id: int = row.id
        self.name: str = row.name
        self.day = row.found_on
        self.position = Position(row.read_bytes, row.read_lines, bytes(row.read_digest) if row.read_digest else None)
        self.figures = Figures.of(row)
        self._version: str = row.version

    @property
    def stale(self) -> bool:
        """Whether its figures are those of an earlier reading, and nothing says how far that went."""
        return not self.position.offset and self.figures.lines > 0

    def hold(self, conn: PsycopgConnection) -> None:
        """Keep everybody else from the file until the end of the transaction.

        Raises:
            AnotherRunError: somebody is further.
        """
        at = {"version": self._version, "read_bytes": self.position.offset, "lines": self.figures.lines}
        if not queries("landing").hold(conn, id=self.id, **at):
            raise AnotherRunError

    def advance(self, conn: PsycopgConnection, piece: Piece, tally: Tally) -> Figures:
        """Write down that a piece is stored, and what became of it; answers the figures of the whole."""
        after = self.figures.plus(tally)
        # A line that may still be written is counted, but nobody goes on behind it: then all is read again.
        end = Position() if piece.torn else piece.end
        queries("landing").advance(
            conn,
            id=self.id,
            read_bytes=end.offset,
            read_lines=end.lines,
            read_digest=end.digest,
            lines=after.lines,
            imported=after.imported,
            webhooks=after.webhooks,
            duplicate=after.duplicate,
            expired=after.expired,
            refused=sum(after.refused.values()),
            reasons=json.dumps(after.refused),
        )
        kept = sorted(tally.left_out)[: max(MOST_REFUSALS - self.figures.left_out, 0)]
        if kept:
            lines, reasons = zip(*kept, strict=True)
            queries("landing").keep_refusals(conn, id=self.id, lines=list(lines), reasons=list(reasons))
        if piece.last:
            self._finish(conn, piece, after)
        return after

    def _finish(self, conn: PsycopgConnection, piece: Piece, after: Figures) -> None:
        queries("landing").finish(conn, id=self.id)
        sha256 = piece.end.digest.hex() if piece.end.digest else None
        detail = {"file": self.name, "id": self.id, "sha256": sha256, "bytes": piece.end.offset, **asdict(after)}
        queries("campaign").write_audit(
            conn, actor=ACTOR, action="landed", page_id=None, campaign_id=None, detail=json.dumps(detail)
        )

    def start_over(self, conn: PsycopgConnection) -> None:
        """Forget what was read of it before."""
        self.hold(conn)
        queries("landing").start_over(conn, id=self.id)
        self.position, self.figures = Position(), Figures()

    def put_off(self, conn: PsycopgConnection) -> None:
        """Let the next run go on with it at once."""
        queries("landing").put_off(conn, id=self.id, version=self._version, read_bytes=self.position.offset)

    def fail(self, conn: PsycopgConnection, reason: str) -> None:
        """Say why this try ended."""
        queries("landing").fail(conn, id=self.id, version=self._version, error=reason)
