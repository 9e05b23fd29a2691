"""Import: opt-ins collected elsewhere, each once, each with its proof."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from otn.consent import adoption, topics
from otn.database import transaction
from otn.errors import UsageError
from otn.intake.import_lines import ImportFile, ImportFileError
from otn.intake.importing import ImportResult, import_file
from otn.privacy.erasure import erase
from otn.privacy.journal import Journal
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, body, optin

__all__ = ["database", "emptied_url"]  # in place of a fresh database for each test

HEADING = "psid,token,payload,opted_in_at,source"
TIME = NOW.isoformat()


class Files:
    """Files of a test, and their import."""

    def __init__(self, inbox: Any, page: Any, folder: Path) -> None:
        self.inbox, self.page, self.folder = inbox, page, folder
        self.refused: list[tuple[int, str]] = []

    def write(self, content: str | bytes, name: str = "old.csv") -> ImportFile:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ImportFile.at(path)

    def csv(self, *lines: str, **options: Any) -> ImportResult:
        return self.take(self.write("\n".join([HEADING, *lines])), **options)

    def take(self, file: ImportFile, **options: Any) -> ImportResult:
        self.refused.clear()
        inbox = self.inbox
        result = import_file(
            inbox.database,
            inbox.keyring,
            self.page,
            file,
            actor="test",
            on_refusal=lambda line, reason: self.refused.append((line, reason)),
            **options,
        )
        parts = result.imported + result.duplicate + result.expired + sum(result.refused.values())
        assert result.lines == parts
        return result


@pytest.fixture
def files(inbox: Any, page: Any, tmp_path: Path) -> Files:
    return Files(inbox, page, tmp_path)


def test_a_file_comes_in_once_with_its_provenance(files, inbox):
    lines = [f"1,a,sale,{TIME},web shop", f"1,b,sale,{TIME},", f"2,c,show,{TIME},web shop"]
    first = files.csv(*lines)
    assert (first.lines, first.imported, first.refused) == (3, 3, {})
    assert files.csv(*lines) == ImportResult(lines=3, duplicate=3, provenance=first.provenance)
    digest = first.provenance.rsplit(":", 1)[1]
    sources = {row.source for row in inbox.rows("SELECT source FROM otn.token")}
    assert sources == {f"import:web shop:{digest}", f"import:file:{digest}"}
    assert inbox.tokens() == {"a", "b", "c"}
    assert {row.key for row in inbox.rows("SELECT key FROM otn.topic")} == {"sale", "show"}
    # The same opt-in as a webhook is the same opt-in.
    inbox.put(body(optin("a", psid="1")))
    assert (inbox.ingest().optins_new, inbox.counts()["token"]) == (0, 3)
    actions = inbox.rows("SELECT detail FROM otn.audit WHERE action = 'imported' ORDER BY id")
    assert [(row.detail["imported"], row.detail["duplicate"]) for row in actions] == [(3, 0), (0, 3)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f",a,sale,{TIME},", "psid_missing"),
        (f"a b,a,sale,{TIME},", "psid_unusable"),
        (f"{'1' * 101},a,sale,{TIME},", "psid_unusable"),
        (f"1,,sale,{TIME},", "token_missing"),
        (f"1,{'x' * 16_385},sale,{TIME},", "token_too_long"),
        (f"1,a,,{TIME},", "payload_missing"),
        ("1,a,sale,,", "opted_in_at_missing"),
        ("1,a,sale,yesterday,", "opted_in_at_unreadable"),
        (f"1,a,sale,{'9' * 30},", "opted_in_at_unreadable"),
        ("1,a,sale,1999-01-01,", "opted_in_at_too_early"),
        (f"1,a,sale,{(NOW + timedelta(days=2)).isoformat()},", "opted_in_at_in_future"),
        (f"1,a,sale,{(NOW - timedelta(days=366)).isoformat()},", "expired"),
        ("1,a,sale", "line_unreadable"),
        (f"1,a,sale,{TIME},x,y", "line_unreadable"),
        (f"1,a\x00b,sale,{TIME},", "not_utf8"),
    ],
    ids=lambda part: "line" if "," in part else part,  # a line holds the present time, and names must not change
)
def test_a_line_that_cannot_be_used_is_refused_with_its_reason_and_the_next_one_comes_in(files, line, reason):
    result = files.csv(line, f"2,good,sale,{TIME},")
    assert (result.imported, files.refused) == (1, [(2, reason)])
    assert result.expired == (reason == "expired")


def test_times_in_every_form_are_the_same_time(files, inbox):
    seconds = int(NOW.timestamp())
    local = NOW.astimezone().isoformat()
    forms = [
        TIME,
        str(seconds),
        str(seconds * 1000),
        NOW.strftime("%Y-%m-%d %H:%M:%S"),
        local,
        TIME.replace("+00:00", "Z"),
    ]
    assert files.csv(*(f"1,{n},sale,{form}," for n, form in enumerate(forms))).imported == len(forms)
    rows = inbox.rows(
        "SELECT DISTINCT opted_in_at, expires_at - opted_in_at >= interval '365 days' AS year FROM otn.token"
    )
    assert [tuple(row) for row in rows] == [(NOW, True)]


def test_json_lines_excel_and_a_byte_order_mark_are_read(files, inbox):
    row = {"psid": 28777805391819468, "token": "j", "payload": {"topic": "sale", "ref": "shoe"}, "opted_in_at": TIME}
    lines = "\n".join([json.dumps(row), "", "{broken", "[1]", json.dumps(row | {"psid": True})])
    result = files.take(files.write("\ufeff" + lines, "old.jsonl"))
    assert (result.imported, files.refused) == (
        1, [(3, "line_unreadable"), (4, "line_unreadable"), (5, "psid_unusable")],
    )  # fmt: skip
    excel = f"\ufeffToken;PSID;Payload;opted_in_at;source;ref\r\ne;5;sale;{TIME};x;boot\r\n"
    assert files.take(files.write(excel)).imported == 1
    found = {(one.psid, one.key, one.ref) for one in inbox.rows(
        "SELECT s.psid, t.key, k.ref FROM otn.token k JOIN otn.subscriber s ON s.id = k.subscriber_id"
        " JOIN otn.topic t ON t.id = k.topic_id")}  # fmt: skip
    assert found == {("28777805391819468", "sale", "shoe"), ("5", "sale", "boot")}


def test_hostile_files_are_errors_or_refused_lines_and_never_crashes(files):
    with pytest.raises(ImportFileError, match="has no column psid"):
        files.take(files.write("a,b\n1,2\n"))
    with pytest.raises(ImportFileError, match="names a column twice"):
        files.take(files.write(f"{HEADING},psid\n"))
    with pytest.raises(ImportFileError, match="is empty"):
        files.write("")
    with pytest.raises(ImportFileError, match="cannot be read"):
        ImportFile.at(files.folder)
    with pytest.raises(UsageError, match="cannot be a source"):
        ImportFile.at(files.folder, "a\nb")
    with pytest.raises(ImportFileError):
        files.take(files.write((HEADING + "\n").encode("utf-16")))
    latin = HEADING.encode() + f"\n1,a,sale,{TIME},m\xfcller\n2,b,sale,{TIME},x\n".encode("latin-1")
    assert (files.take(files.write(latin)).imported, files.refused) == (1, [(2, "not_utf8")])
    os.mkfifo(files.folder / "pipe")
    with pytest.raises(ImportFileError, match="no regular file"):
        ImportFile.at(files.folder / "pipe")


@pytest.mark.parametrize("good", [1, 5000])
def test_a_quote_that_is_never_closed_spoils_its_own_line_only(files, good):
    lines = [f"{n},t{n},sale,{TIME},x" for n in range(good)]
    result = files.csv(f'1,"endless,sale,{TIME},', *lines, f'2,"again,sale,{TIME},')
    assert (result.imported, files.refused) == (good, [(2, "line_unreadable"), (good + 3, "line_unreadable")])


def test_a_payload_that_was_adopted_as_it_stands_is_its_adopters_here_as_at_ingest(files, inbox, page):
    payload = json.dumps({"topic": "sale", "ref": "shoe"})
    with transaction(inbox.database) as conn:
        topics.add(conn, page, "shoes", "Shoes")
        conn.cursor().execute(
            "INSERT INTO otn.topic (page_id, key, payload) VALUES (%s, 'old', %s)", (page.id, payload)
        )
        conn.commit()
        adoption.adopt(conn, page, payload, "shoes", actor="test")
    inbox.put(body(optin("a", payload=payload)))
    inbox.ingest()
    line = {"psid": "7", "token": "b", "payload": payload, "opted_in_at": TIME, "source": "x"}
    files.take(files.write(json.dumps(line), "old.jsonl"))
    rows = inbox.rows("SELECT o.key, k.ref FROM otn.token k JOIN otn.topic o ON o.id = k.topic_id")
    assert [tuple(row) for row in rows] == [("shoes", "shoe")] * 2
    endless = HEADING.encode() + b"\n" + b"9" * 3_000_000 + f"\n3,c,sale,{TIME},x".encode()
    assert files.take(files.write(endless)).imported == 1


def test_tokens_of_somebody_else_another_page_and_the_erased_are_refused(files, inbox, page, tmp_path):
    files.csv(f"1,a,sale,{TIME},")
    assert files.csv(f"2,a,sale,{TIME},", f"3,b,sale,{TIME},", f"4,b,sale,{TIME},").refused == {
        "token_of_another_person": 2
    }
    paged = files.write(
        f"{HEADING},page\n5,e,sale,{TIME},,1001\n5,f,sale,{TIME},,messenger_default\n5,g,sale,{TIME},,77\n"
    )
    assert (files.take(paged).imported, files.refused) == (2, [(4, "page_differs")])
    journal = Journal(tmp_path / "journal")
    for psid in ("1", "6"):
        erase(inbox.database, inbox.keyring, page, psid, actor="t", reason="t", journal=journal)
    assert files.csv(f"1,a,sale,{TIME},", f"6,h,sale,{TIME},", f"7,i,sale,{TIME},").refused == {"erased": 2}
    assert inbox.value("SELECT count(*) FROM otn.subscriber WHERE psid IN ('1', '6')") == 0


def test_a_dry_run_judges_the_same_and_writes_nothing(files, inbox, monkeypatch):
    monkeypatch.setattr("otn.intake.importing.SLICE", 2)
    lines = [f"1,a,sale,{TIME},", f"1,b,sale,{TIME},", f"1,a,sale,{TIME},", f"2,a,sale,{TIME},", "3,c,sale,,"]
    dry = files.csv(*lines, dry_run=True)
    assert (inbox.counts()["token"], inbox.counts()["subscriber"], inbox.counts()["topic"]) == (0, 0, 0)
    assert inbox.value("SELECT count(*) FROM otn.audit") == 0
    wet = files.csv(*lines)
    assert dry == ImportResult(**{**vars(wet), "dry_run": True})
    assert (wet.imported, wet.duplicate, wet.refused) == (
        2,
        1,
        {"opted_in_at_missing": 1, "token_of_another_person": 1},
    )


def test_labels_and_adoption_follow_the_topic_as_at_an_opt_in(files, inbox, page):
    with transaction(inbox.database) as conn:
        topics.add(conn, page, "sale", "Sale", "sale")
    inbox.rows("UPDATE otn.topic SET labels = '{shopper}'")
    inbox.rows(
        "INSERT INTO otn.topic (page_id, key, payload, adopted_by) SELECT page_id, 'Sale ', 'Sale ', id FROM otn.topic"
    )
    inbox.rows(
        "INSERT INTO otn.topic (page_id, key, title, payload, registered_at)"
        " SELECT min(page_id), 'j', 'J', %s, now() FROM otn.topic",
        '{"topic": "x"}',
    )
    path = files.write(
        "\n".join(
            json.dumps({"psid": str(n), "token": f"t{n}", "payload": payload, "opted_in_at": TIME})
            for n, payload in enumerate(["sale", '{"topic":"sale","ref":"a"}', '{"topic": "x"}'])
        ),
        "x.jsonl",
    )
    assert files.take(path).imported == 3
    found = [tuple(one) for one in inbox.rows(
        "SELECT t.key, k.ref, s.labels FROM otn.token k JOIN otn.topic t ON t.id = k.topic_id"
        " JOIN otn.subscriber s ON s.id = k.subscriber_id ORDER BY s.psid")]  # fmt: skip
    assert found == [("sale", None, ["shopper"]), ("sale", "a", ["shopper"]), ("j", None, [])]


def test_two_imports_and_an_ingest_at_once_store_everything_once(files, inbox, monkeypatch):
    monkeypatch.setattr("otn.intake.importing.SLICE", 20)
    rows = [f"{n % 7},t{n},p{n % 3},{TIME}," for n in range(200)]
    there, back = files.write("\n".join([HEADING, *rows])), files.write("\n".join([HEADING, *rows[::-1]]), "b.csv")
    inbox.put(*(body(*(optin(f"t{n}", f"p{n % 3}", psid=f"{n % 7}") for n in range(k, 200, 10))) for k in range(10)))
    start = threading.Barrier(3)

    def run(work: Any) -> int:
        start.wait(10)
        if work is None:
            return inbox.ingest(slice_size=2).optins_new
        return import_file(inbox.database, inbox.keyring, files.page, work, actor="t").imported

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(run, (there, back, None))) == 200
    assert inbox.counts()["token"] == 200
    assert inbox.counts()["subscriber"] == 7


def test_a_large_file_is_a_stream(files, inbox):
    count = 20_000
    content = "\n".join([HEADING, *(f"{n % 15_000},token-{n:040},sale,{TIME},crm" for n in range(count))])
    started = time.monotonic()
    steps: list[int] = []
    assert files.take(files.write(content), progress=steps.append).imported == count
    print(f"{count / (time.monotonic() - started):,.0f} lines a second")
    assert (len(steps), steps[-1], steps) == (10, count + 1, sorted(steps))
