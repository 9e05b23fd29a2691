"""Import: opt-ins collected elsewhere, each with its own proof of where it comes from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice

from otn.consent.pages import Page
from otn.crypto import Keyring
from otn.database import Engine, queries, transaction
from otn.intake.import_lines import ImportFile
from otn.intake.loading import Loader, Provenance, Row

SLICE = 2000  # lines in one transaction

OnRefusal = Callable[[int, str], None]


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
        on_refusal: is told number and reason of each line that is refused or expired, once its slice is stored.
        progress: is told the number of the last line that is done.

    Raises:
        ImportFileError: the file has not the columns of an import.
    """
    provenance = Provenance("import", file.source, file.digest[:8])
    loader = Loader(keyring, page, provenance, dry_run=dry_run)
    lines = imported = duplicate = expired = 0
    refused: Counter[str] = Counter()
    for rows in _sliced(file.rows(), SLICE):
        with transaction(engine) as conn:
            tally = loader.load(conn, rows)
        lines, imported, duplicate = lines + tally.lines, imported + tally.imported, duplicate + tally.duplicate
        expired, refused = expired + tally.expired, refused + tally.refused()
        if on_refusal is not None:
            for line, reason in sorted(tally.left_out):
                on_refusal(line, reason)
        if progress is not None:
            progress(rows[-1][0])
    result = ImportResult(
        lines, imported, duplicate, expired, dict(sorted(refused.items())), provenance.of(None), dry_run
    )
    if not dry_run:
        _audit(engine, page, file, result, actor)
    return result


def _audit(engine: Engine, page: Page, file: ImportFile, result: ImportResult, actor: str) -> None:
    figures = {name: value for name, value in asdict(result).items() if name not in {"provenance", "dry_run"}}
    detail = {"file": file.path.name, "sha256": file.digest, "source": file.source, **figures}
    with transaction(engine) as conn:
        queries("campaign").write_audit(
            conn, actor=actor, action="imported", page_id=page.id, campaign_id=None, detail=json.dumps(detail)
        )


def _sliced(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while part := list(islice(rows, size)):
        yield part
