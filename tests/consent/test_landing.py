"""Landing: files that others drop come in once each, and none of them harms another."""

from __future__ import annotations

import gzip
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, BinaryIO

import pytest

from otn.consent import pages
from otn.database import transaction
from otn.errors import UsageError
from otn.intake import landing_files
from otn.intake.landed import check_file
from otn.intake.landing import MOST_TRIES, Found, LandingError
from otn.privacy.erasure import erase
from otn.privacy.journal import Journal
from otn.watch import landing as watching
from tests.clean import database, emptied_url
from tests.consent.inbox import NOW, PAGE, body, message, optin, page_settings
from tests.consent.shelf import FOLDER, Landing, content, line

__all__ = ["database", "emptied_url"]  # in place of a fresh database for each test


@pytest.fixture
def landing(inbox: Any) -> Landing:
    return Landing(inbox)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of three lines."""
    monkeypatch.setattr("otn.intake.landing_lines.PIECE_LINES", 3)


def found(landing: Landing) -> list[tuple[str, str]]:
    with transaction(landing.engine) as conn:
        return [(one.kind, one.level) for one in watching.findings(conn)]


def test_a_file_comes_in_once_with_its_provenance_and_is_not_opened_again(landing, inbox):
    landing.put(f"{FOLDER}/a.jsonl", line("a"), line("b", source=None), "", line("a"))
    pulled = landing.pull()
    assert (pulled.met, pulled.taken, pulled.failed, pulled.imported) == (1, 1, 0, 2)
    assert landing.figures(f"{FOLDER}/a.jsonl") == ("taken", 3, 2, 0, 1, 0, {})
    number = landing.file(f"{FOLDER}/a.jsonl").id
    sources = {row.source for row in inbox.rows("SELECT source FROM otn.token")}
    assert sources == {f"landing:crm:{number}", f"landing:file:{number}"}
    audit = inbox.rows("SELECT detail FROM otn.audit WHERE action = 'landed'")
    assert [(row.detail["file"], row.detail["lines"], len(row.detail["sha256"])) for row in audit] == [
        (f"{FOLDER}/a.jsonl", 3, 64)
    ]
    assert landing.pull().met == 0
    assert landing.shelf.opened == [f"{FOLDER}/a.jsonl"]
    assert found(landing) == [("landing", "ok")]


def test_whose_a_line_is_says_its_folder_or_its_page(landing, inbox, page):
    with transaction(landing.engine) as conn:
        pages.register(conn, page_settings("2002", "second"))
    landing.put("second/x/a.jsonl", line("a"), line("b", page="2002"), line("c", page=PAGE))
    landing.put("mixed.jsonl", line("d", page="second"), line("e", page=int(PAGE)), line("f"), line("g", page={"a": 1}))
    landing.put("nobody/b.jsonl", line("h"), line("i", page=FOLDER))
    landing.pull()
    assert landing.figures("second/x/a.jsonl")[1:] == (3, 2, 0, 0, 0, {"page_differs": 1})
    assert landing.figures("mixed.jsonl")[1:] == (4, 2, 0, 0, 0, {"page_missing": 1, "page_unknown": 1})
    assert landing.figures("nobody/b.jsonl")[1:] == (2, 1, 0, 0, 0, {"page_missing": 1})
    rows = inbox.rows(
        "SELECT p.connection_id, count(*) FROM otn.token k JOIN otn.subscriber s ON s.id = k.subscriber_id"
        " JOIN otn.page p ON p.id = s.page_id GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(FOLDER, 2), ("second", 3)]


def test_raw_webhooks_go_the_way_of_webhooks_and_lose_nothing(landing, inbox, page):
    with transaction(landing.engine) as conn:
        pages.register(conn, page_settings("2002", "second"))
    raw = body(optin("a", psid="7"), message("stop", psid="7"))
    landing.put("mixed.jsonl", raw.decode(), line("b", page=PAGE), raw.decode(), '{"object": "page", "entry": 1}')
    landing.put(
        f"{FOLDER}/a.jsonl", raw.decode(), body(optin("x", page="2002"), page="2002").decode(), '{"object":"page"}'
    )
    pulled = landing.pull()
    assert (pulled.webhooks, pulled.imported) == (2, 1)
    assert landing.figures("mixed.jsonl")[1:] == (4, 1, 1, 2, 0, {})
    assert landing.figures(f"{FOLDER}/a.jsonl")[1:] == (3, 0, 1, 0, 0, {"page_differs": 2})
    balance = inbox.ingest()
    assert (balance.webhooks, balance.optins_new, balance.quarantined) == (2, 1, 1)
    assert inbox.tokens() == {"a", "b"}
    assert inbox.value("SELECT reason FROM otn.suppression") == "stop_word"
    landing_files.retry(landing.engine, ["mixed.jsonl"], actor="test")
    landing.pull()
    assert landing.figures("mixed.jsonl")[1:] == (4, 0, 0, 4, 0, {})
    assert inbox.ingest().webhooks == 0


def test_a_file_that_grows_is_gone_on_with_and_one_that_changed_is_read_anew(landing, inbox, small):
    name = f"{FOLDER}/a.jsonl"
    lines = [line(f"t{n}") for n in range(8)]
    landing.put(name, *lines[:5])
    landing.pull()
    landing.put(name, *lines, "broken")
    assert landing.pull().lines == 4
    assert landing.figures(name) == ("taken", 9, 8, 0, 0, 0, {"line_unreadable": 1})
    assert landing_files.refusals(landing.engine, name) == [(9, "line_unreadable")]
    landing.put(name, "other", *lines)
    assert landing.pull().lines == 9
    assert landing.figures(name) == ("taken", 9, 0, 0, 8, 0, {"line_unreadable": 1})
    assert landing_files.refusals(landing.engine, name) == [(1, "line_unreadable")]
    landing.put(name, *lines[:2])
    landing.pull()
    assert landing.figures(name) == ("taken", 2, 0, 0, 2, 0, {})
    landing.put(name, *(line(f"u{n}") for n in range(5)))  # another file, and longer
    landing.pull()
    assert landing.figures(name) == ("taken", 5, 5, 0, 0, 0, {})


def test_a_last_line_that_is_still_being_written_is_read_again_as_a_whole(landing, inbox, small):
    name = f"{FOLDER}/a.jsonl"
    whole = content(*(line(f"t{n}") for n in range(5)))
    landing.shelf.files[name] = whole[:-30]
    landing.pull()
    assert landing.figures(name) == ("taken", 5, 4, 0, 0, 0, {"line_unreadable": 1})
    landing.shelf.files[name] = whole
    landing.pull()
    assert landing.figures(name) == ("taken", 5, 1, 0, 4, 0, {})
    landing.shelf.files[name] = whole.rstrip()  # without an end, and complete
    landing.pull()
    assert landing.figures(name)[1:] == (5, 0, 0, 5, 0, {})


class Torn(io.BytesIO):
    """Fails in the middle, as a store that goes away does."""

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 300:
            raise TimeoutError
        return super().readline(size)


def test_a_file_that_breaks_off_is_gone_on_with_and_counts_exactly(landing, inbox, small):
    name = f"{FOLDER}/a.jsonl"
    landing.put(name, *(line(f"t{n}") for n in range(20)))
    landing.put(f"{FOLDER}/b.jsonl", line("b"))
    landing.shelf.reading = lambda file: Torn(file.read())
    pulled = landing.pull()
    assert (pulled.taken, pulled.failed) == (1, 1)
    assert (landing.file(name).state, landing.file(name).error, landing.file(name).lines) == ("waiting", "timeout", 3)
    assert found(landing) == [("landing", "warn")]
    landing.shelf.reading = lambda file: file
    assert landing.pull().lines == 0  # it waits for its time
    landing.pass_time()
    assert landing.pull().lines == 17
    assert landing.figures(name) == ("taken", 20, 20, 0, 0, 0, {})


def test_when_its_time_is_over_a_run_leaves_the_rest_to_the_next(landing, small):
    name = f"{FOLDER}/a.jsonl"
    landing.put(name, *(line(f"t{n}") for n in range(8)))
    calls = iter([False, True, True])
    assert landing.pull(over=lambda: next(calls)).lines == 3
    told: list[int] = []
    assert landing.pull(progress=lambda _, figures: told.append(figures.lines)).lines == 5
    assert (landing.figures(name)[:3], told) == (("taken", 8, 8), [6, 8])


PACKED = gzip.compress(content(*(line(f"t{n}") for n in range(50))))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (FileNotFoundError("x"), "not_found"),
        (PermissionError("https://bucket/?signature=secret"), "no_rights"),
        (PACKED[:-40], "truncated"),
        (b"plain", "not_gzip"),
        (PACKED[:30] + b"\xff" * 400 + PACKED, "not_gzip"),
        (RuntimeError("psid 28777805391819468"), "unreadable (RuntimeError)"),
    ],
    ids=["gone", "rights", "cut", "plain", "rotten", "other"],
)
def test_a_file_that_cannot_be_read_harms_no_other_and_is_given_up_after_a_while(landing, capsys, data, reason):
    bad, good = f"{FOLDER}/a.jsonl.gz", f"{FOLDER}/b.jsonl.gz"
    landing.shelf.files |= {bad: data, good: PACKED}
    landing.pull()
    assert landing.figures(good)[:3] == ("taken", 50, 50)
    assert (landing.file(bad).state, landing.file(bad).error) == ("waiting", reason)
    for _ in range(MOST_TRIES):
        landing.pass_time()
        landing.pull()
    assert landing.shelf.opened.count(bad) == MOST_TRIES
    assert (landing.file(bad).state, landing.file(bad).error) == ("refused", reason)
    assert found(landing) == [("landing", "alarm")]
    said = capsys.readouterr()
    assert not [word for word in ("secret", "28777805391819468") if word in said.out + said.err]
    # Mended, it is taken; and so it is on a person's word.
    assert landing_files.retry(landing.engine, [], actor="test") == 1
    landing.shelf.files[bad] = PACKED
    landing.pull()
    assert landing.figures(bad)[0] == "taken"


def test_a_reader_that_is_killed_again_and_again_does_not_keep_others_waiting(landing):
    class Killed(BaseException):
        pass

    def kill(_file: BinaryIO) -> BinaryIO:
        raise Killed

    landing.put(f"{FOLDER}/a.jsonl", line("a"))
    landing.put(f"{FOLDER}/b.jsonl", line("b"))
    good = landing.shelf.reading
    for _ in range(MOST_TRIES):
        landing.inbox.rows("UPDATE otn.landing_file SET due_at = clock_timestamp() WHERE name LIKE '%%a.jsonl'")
        landing.shelf.reading = kill
        with pytest.raises(Killed):
            landing.pull()
        landing.shelf.reading = good
        landing.pull()  # a.jsonl is not due
        assert landing.file(f"{FOLDER}/b.jsonl").state == "taken"
    landing.pass_time()
    landing.pull()
    assert (landing.file(f"{FOLDER}/a.jsonl").state, landing.file(f"{FOLDER}/a.jsonl").error) == (
        "refused",
        "interrupted",
    )


def test_a_file_that_goes_before_it_was_taken_is_told_and_taken_when_it_comes_back(landing):
    name = f"{FOLDER}/a.jsonl.gz"
    landing.shelf.files[name] = b"plain"
    landing.pull()
    del landing.shelf.files[name]
    landing.shelf.failure = "timeout"
    with pytest.raises(LandingError, match="timeout"):
        landing.pull()
    assert landing.file(name).state == "waiting"  # nobody knows what lies there
    landing.shelf.failure = ""
    landing.pull()
    assert (landing.file(name).state, landing.file(name).error) == ("refused", "vanished")
    assert landing_files.dismiss(landing.engine, [str(landing.file(name).id)], actor="test") == 1
    assert found(landing) == [("landing", "ok")]
    landing.shelf.files[name] = b"plain"
    landing.pull()
    assert (landing.file(name).state, landing.file(name).error) == ("waiting", "not_gzip")  # unchanged, and tried again
    landing.shelf.files[name] = PACKED
    landing.pull()
    assert landing.figures(name)[:2] == ("taken", 50)


def test_two_files_of_one_name_stop_nobody(landing, inbox, monkeypatch):
    name = f"{FOLDER}/a.jsonl"
    landing.put(name, line("a"))
    twice = [Found(name, 9, "2", "name_unusable"), Found(name, 9, "1"), Found(name, 9, "2")]
    monkeypatch.setattr(landing.shelf, "listing", lambda: iter([twice]))
    for _ in range(2):
        landing.pull()
        assert (landing.figures(name)[0], inbox.tokens()) == ("taken", {"a"})


def test_only_files_that_were_refused_are_dismissed_and_audited(landing, inbox):
    landing.put(f"{FOLDER}/a.jsonl", line("a"))
    landing.shelf.files[f"{FOLDER}/b.jsonl.gz"] = b"plain"
    landing.pull()
    good, bad = (landing.file(f"{FOLDER}/{name}").id for name in ("a.jsonl", "b.jsonl.gz"))
    inbox.rows("UPDATE otn.landing_file SET state = 'refused', due_at = NULL WHERE id = %s", bad)
    for count in (1, 0):
        assert landing_files.dismiss(landing.engine, [str(good), str(bad)], actor="test") == count
    audit = inbox.rows("SELECT detail FROM otn.audit WHERE action = 'landing dismissed'")
    assert [row.detail for row in audit] == [{"files": [bad]}]
    assert landing.file(f"{FOLDER}/a.jsonl").state == "taken"


def test_a_landing_that_cannot_be_listed_in_full_is_taken_as_far_as_it_can(landing):
    landing.put(f"{FOLDER}/a.jsonl", line("a"))
    landing.shelf.failure = "no_rights"
    with pytest.raises(LandingError, match="no_rights"):
        landing.pull()
    assert landing.figures(f"{FOLDER}/a.jsonl")[0] == "taken"
    assert [(one["error"], one["taken"]) for one in landing_files.landings(landing.engine)] == [("no_rights", 1)]
    assert found(landing) == [("landing", "ok")]  # for a few minutes
    landing.inbox.rows("UPDATE otn.landing SET failed_at = failed_at - interval '1 hour'")
    assert found(landing) == [("landing", "alarm")]
    landing.shelf.failure = ""
    landing.pull()
    assert found(landing) == [("landing", "ok")]


def test_two_runs_at_once_store_and_count_everything_once(landing, inbox, small):
    names = [f"{FOLDER}/{n}.jsonl" for n in range(6)]
    for name in names:
        landing.put(name, *(line(f"{name[-7]}-{n:03}") for n in range(30)), "broken")
    start = threading.Barrier(3)

    def run(_number: int) -> int:
        start.wait(10)
        return landing.pull().imported

    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(run, range(3))) == 180
    assert [landing.figures(name) for name in names] == [("taken", 31, 30, 0, 0, 0, {"line_unreadable": 1})] * 6
    assert inbox.counts()["token"] == 180


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_slow_run_that_another_has_overtaken_stores_nothing_more(landing, inbox, small, pieces):
    name = f"{FOLDER}/a.jsonl"
    landing.put(name, *(line(f"t{n}") for n in range(9)))
    overtaken: list[int] = []
    over = iter([False, *[False] * (pieces - 1), True])

    def overtake(_file: int, _figures: Any) -> None:
        if not overtaken:
            landing.pass_time()
            overtaken.append(0)
            overtaken.append(landing.pull(over=lambda: next(over, True)).lines)
            later = "UPDATE otn.landing_file SET due_at = due_at + interval '1 hour' WHERE state = 'waiting'"
            landing.inbox.rows(later)

    assert landing.pull(progress=overtake).lines == 3
    assert overtaken == [0, 3 * pieces]
    landing.pass_time()
    landing.pull()
    assert landing.figures(name) == ("taken", 9, 9, 0, 0, 0, {})
    assert inbox.value("SELECT count(*) FROM otn.audit WHERE action = 'landed'") == 1


def test_hostile_lines_are_refused_and_the_good_ones_come_in(landing, inbox, page, tmp_path):
    erase(landing.engine, landing.keyring, page, "666", actor="t", reason="t", journal=Journal(tmp_path / "journal"))
    hostile = [
        b"\xff\xfe{", b"[1]", b"null", b"{" * 100_000, b'"' + b"9" * 6_000_000, b'{"psid": "1", "token": "\\u0000"}',
        json.dumps(line("gone", psid="666")).encode(), json.dumps(line("old", opted_in_at="2001-01-01")).encode(),
        json.dumps(line("year", opted_in_at=(NOW - timedelta(days=366)).isoformat())).encode(),
        json.dumps(line("list", psid=["1"])).encode(), b'{"object": "instagram", "entry": []}',
    ]  # fmt: skip
    good = [json.dumps(line(f"g{n}")).encode() for n in range(12)]
    data = b"\n".join(part for pair in zip(hostile, good, strict=False) for part in pair)
    landing.shelf.files[f"{FOLDER}/a.jsonl"] = b"\xef\xbb\xbf" + good[11] + b"\r\n" + data
    landing.pull()
    assert landing.figures(f"{FOLDER}/a.jsonl") == ("taken", 23, 12, 0, 0, 1, {
        "line_unreadable": 5, "not_utf8": 1, "erased": 1, "opted_in_at_too_early": 1, "psid_unusable": 1,
        "psid_missing": 1,
    })  # fmt: skip
    assert inbox.value("SELECT count(*) FROM otn.subscriber WHERE psid = '666'") == 0


def test_line_numbers_are_kept_up_to_a_bound_and_counted_beyond_it(landing, monkeypatch, small):
    monkeypatch.setattr("otn.intake.taking.MOST_REFUSALS", 4)
    landing.put(f"{FOLDER}/a.jsonl", *["broken"] * 10)
    landing.pull()
    assert landing.figures(f"{FOLDER}/a.jsonl")[-1] == {"line_unreadable": 10}
    assert [number for number, _ in landing_files.refusals(landing.engine, f"{FOLDER}/a.jsonl")] == [1, 2, 3, 4]


def test_a_check_says_the_same_and_writes_nothing(landing, inbox, page, tmp_path, small):
    raw = body(optin("w")).decode()
    lines = [line("a"), line("b"), raw, line("a"), line("a", psid="5"), "broken", raw, line("c", page="77")]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(content(*lines)))
    told: list[tuple[int, str]] = []
    dry = check_file(landing.engine, landing.keyring, path, page, lambda *one: told.append(one))
    assert (inbox.counts()["token"], inbox.value("SELECT count(*) FROM otn.webhook_event")) == (0, 0)
    landing.shelf.files[f"{FOLDER}/a.jsonl.gz"] = path.read_bytes()
    landing.pull()
    wet = landing.figures(f"{FOLDER}/a.jsonl.gz")[1:]
    assert (dry.lines, dry.imported, dry.webhooks, dry.duplicate, dry.expired, dict(dry.refused)) == wet
    assert wet == (8, 2, 1, 2, 0, {"line_unreadable": 1, "page_differs": 1, "token_of_another_person": 1})
    assert told == [(5, "token_of_another_person"), (6, "line_unreadable"), (8, "page_differs")]
    for broken in (b"plain", PACKED[:-9], PACKED[:10] + b"\xff" + PACKED[11:]):
        path.write_bytes(broken)
        with pytest.raises(UsageError, match="cannot be read"):
            check_file(landing.engine, landing.keyring, path)
    with pytest.raises(UsageError, match="No file 'x' has landed"):
        landing_files.retry(landing.engine, ["x"], actor="test")
