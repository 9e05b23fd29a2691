from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otn.crypto import Keyring, new_key, read_keyring
from otn.settings import ROOT
from otn.web.spool import Adopted, Receipt, Spool
from otn.web.spool import folder as folder_module
from otn.web.spool import segment as segment_module
from otn.web.spool.receipt import HEAD_BYTES, MARK, Damage, read_receipts

LIMIT = 1 << 30


@pytest.fixture
def spool(tmp_path: Path, keyring: Keyring) -> Spool:
    return Spool(tmp_path / "spool", LIMIT, keyring)


def receipts(keyring: Keyring, *bodies: bytes) -> list[Receipt]:
    return [Receipt.of(body, keyring) for body in bodies]


def drained(spool: Spool) -> list[Receipt]:
    found: list[Receipt] = []
    while (segment := spool.oldest()) is not None:
        while batch := segment.take(2, 1_000_000):
            found += batch
            segment.drop(len(batch))
        segment.remove()
    return found


def files(spool: Spool, suffix: str = ".segment") -> list[Path]:
    return sorted(spool.folder.glob(f"*{suffix}"))


def test_what_goes_in_comes_out_in_order_and_unchanged(spool: Spool, keyring: Keyring) -> None:
    given = receipts(keyring, b"one", b"", MARK, b"x" * 5_000_000, b"last")
    assert spool.append(given[:2]) == 2
    assert spool.append(given[2:]) == 3
    assert drained(spool) == given
    assert files(spool) == []
    assert drained(spool) == []


def test_a_segment_is_left_to_the_next_one_until_it_is_removed(spool: Spool, keyring: Keyring) -> None:
    given = receipts(keyring, b"one", b"two", b"three")
    spool.append(given)
    first = spool.oldest()
    assert first is not None
    first.drop(2)
    assert spool.oldest() is None  # it is held
    first.release()  # as the end of the process does
    assert drained(spool) == given


def test_receipts_go_on_while_it_is_emptied(spool: Spool, keyring: Keyring) -> None:
    given = receipts(keyring, b"one", b"two", b"three")
    spool.append(given[:1])
    segment = spool.oldest()
    assert isinstance(segment, Adopted)
    spool.append(given[1:])
    assert segment.take(10, 1_000) == given[:1]
    segment.remove()
    assert drained(spool) == given[1:]


def test_a_new_segment_is_begun_behind_the_size_and_all_come_out_in_order(
    spool: Spool, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "SEGMENT_BYTES", 1_000)
    given = receipts(keyring, *(b"%d" % number * 100 for number in range(50)))
    for receipt in given:
        spool.append([receipt])
    assert len(files(spool)) > 5
    assert drained(spool) == given


@pytest.mark.parametrize("cut", [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 10, 60])
def test_a_torn_end_is_no_receipt_but_is_kept_and_told(spool: Spool, keyring: Keyring, cut: int) -> None:
    given = receipts(keyring, b"one", b"two")
    spool.append(given)
    (path,) = files(spool)
    whole = len(given[1].to_bytes())
    os.truncate(path, path.stat().st_size - whole + cut)
    assert drained(spool) == given[:1]
    (aside,) = files(spool, ".aside")
    assert aside.read_bytes() == given[1].to_bytes()[:cut]
    assert spool.figures().set_aside == 1


@pytest.mark.parametrize("offset", [0, 9, 12, 20, 40, 80])
def test_damage_in_the_middle_is_set_aside_and_the_rest_goes_on(spool: Spool, keyring: Keyring, offset: int) -> None:
    given = receipts(keyring, b"one", b"two" * 20, b"three")
    spool.append(given)
    (path,) = files(spool)
    data = bytearray(path.read_bytes())
    data[len(given[0].to_bytes()) + offset] ^= 0xFF
    path.write_bytes(data)
    assert drained(spool) == [given[0], given[2]]
    assert [one.stat().st_size for one in files(spool, ".aside")] == [len(given[1].to_bytes())]


def test_a_body_that_holds_the_mark_does_not_mislead(keyring: Keyring) -> None:
    one, two = receipts(keyring, b"one", b"two")
    inner = Receipt(one.day, one.id, one.received_us, two.to_bytes())
    data = inner.to_bytes() + two.to_bytes()
    assert list(read_receipts(data)) == [inner, two]
    assert list(read_receipts(data[: HEAD_BYTES + 5])) == [Damage(0, HEAD_BYTES + 5, torn=True)]


def test_what_was_set_aside_is_forgotten_after_a_month(spool: Spool) -> None:
    spool.folder.mkdir()
    young, old = spool.folder / "young.aside", spool.folder / "old.aside"
    for path in (young, old):
        path.write_bytes(b"x")
    month = time.time() - 31 * 86_400
    os.utime(old, (month, month))
    spool.forget_set_aside()
    assert files(spool, ".aside") == [young]


def test_the_bound_holds_for_all_receivers_of_the_folder(tmp_path: Path, keyring: Keyring) -> None:
    both = [Spool(tmp_path, 30_000, keyring) for _ in range(2)]
    given = receipts(keyring, *[b"x" * 4_900] * 10)
    assert both[0].append(given) == 6  # the first ones fit
    assert both[1].append(given) == 0
    assert both[1].figures().bytes == sum(path.stat().st_size for path in files(both[0]))
    assert both[0].figures().room == 0
    drained(both[0])
    assert both[0].figures().bytes == 0


def test_a_disk_that_fails_in_mid_write_leaves_what_was_acknowledged(
    spool: Spool, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = receipts(keyring, b"safe", b"lost", b"later")
    spool.append(given[:1])
    real, calls = os.write, []

    def write(handle: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 1:
            return real(handle, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segment_module.os, "write", write)
        with pytest.raises(OSError, match="No space"):
            spool.append(given[1:2])
    assert spool.figures().room == 0
    assert spool.append(given[2:]) == 1
    assert spool.figures().room > 0
    assert drained(spool) == [given[0], given[2]]
    assert files(spool, ".aside") == []


def test_a_failed_fsync_is_never_believed_later(
    spool: Spool, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(segment_module.os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            spool.append(receipts(keyring, b"lost"))
    given = receipts(keyring, b"kept")
    spool.append(given)
    assert len(files(spool)) == 2  # the disk's word about the first is worth nothing any more
    assert drained(spool) == given


def test_a_segment_of_other_keys_is_left_alone(spool: Spool, keyring: Keyring) -> None:
    stranger = read_keyring({"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()})
    theirs = Spool(spool.folder, LIMIT, stranger)
    theirs.append(receipts(stranger, b"theirs"))
    theirs.close()
    given = receipts(keyring, b"ours")
    spool.append(given)
    assert drained(spool) == given
    assert len(files(spool)) == 1
    assert len(drained(theirs)) == 1


def test_figures_count_without_reading_all_again(spool: Spool, keyring: Keyring) -> None:
    spool.append(receipts(keyring, b"one", b"two"))
    assert spool.figures().events == 2
    spool.append(receipts(keyring, b"three"))
    assert spool.figures().events == 3
    drained(spool)
    assert spool.figures().events == 0


def test_the_age_is_that_of_the_oldest_segment(spool: Spool, keyring: Keyring) -> None:
    spool.append(receipts(keyring, b"young"))
    (path,) = files(spool)
    path.rename(path.with_name(f"{time.time_ns() - 90_000_000_000:020d}-old.segment"))
    spool.close()
    spool.append(receipts(keyring, b"younger"))
    assert 90 <= spool.figures().oldest_age_s < 120


def test_many_who_empty_the_same_folder_get_each_receipt_once(
    tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "SEGMENT_BYTES", 500)
    writers = [Spool(tmp_path, LIMIT, keyring) for _ in range(4)]
    given = receipts(keyring, *(b"%d" % number for number in range(200)))
    for number, receipt in enumerate(given):
        writers[number % 4].append([receipt])
    with ThreadPoolExecutor(4) as threads:
        found = [one for part in threads.map(drained, writers) for one in part]
    assert sorted(str(one.id) for one in found) == sorted(str(one.id) for one in given)


DYING = """
import os, signal, sys
from pathlib import Path
from otn.crypto import read_keyring
from otn.web.spool import Receipt, Spool
keyring = read_keyring()
spool = Spool(Path(sys.argv[1]), 1 << 30, keyring)
for number in range(3):
    spool.append([Receipt.of(b"%d" % number, keyring)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_dead_writer_s_segment_is_taken_over(tmp_path: Path) -> None:
    environ = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key(), "PYTHONPATH": str(ROOT / "plugins")}
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], env=environ, timeout=60, check=False)
    keyring = read_keyring(environ)
    found = drained(Spool(tmp_path, LIMIT, keyring))
    assert [keyring.decrypt(one.body, "webhook") for one in found] == [b"0", b"1", b"2"]
