"""Where a landing may be: addresses and names."""

from __future__ import annotations

import pytest

from otn.intake.landing_place import LandingUrlError, fault_of, folder_of, is_ours, read_place, shown


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/srv/optins/", "file:///srv/optins"),
        ("file:///srv/optins", "file:///srv/optins"),
        ("s3://bucket", "s3://bucket"),
        (" S3://bucket/a/b/ ", "s3://bucket/a/b"),
        ("gs://bucket/ü", "gs://bucket/ü"),
    ],
)
def test_a_folder_or_a_store_may_be_read(given: str, kept: str) -> None:
    place = read_place({"OTN_LANDING_URL": given, "OTN_LANDING_CONN": " vendor "})
    assert place is not None
    assert (place.url, place.connection_id) == (kept, "vendor")
    assert read_place({"OTN_LANDING_URL": " "}) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("http://169.254.169.254/latest/meta-data", "begins with http"),
        ("https://bucket.example/optins", "begins with https"),
        ("ftp://host/x", "begins with ftp"),
        ("github://org:repo@/x", "begins with github"),
        ("memory://x", "begins with memory"),
        ("simplecache::s3://bucket/x", "cannot be read"),
        ("s3://key:hunter2@bucket/x", "holds credentials"),
        ("s3://vendor@bucket/x", "holds credentials"),
        ("abfs://box@host/x?sig=hunter2", "holds credentials"),
        ("gs://bucket/x?token=hunter2", "holds credentials"),
        ("s3://bucket/#hunter2", "holds credentials"),
        ("s3://bucket/../other", "climbs"),
        ("/srv/./optins", "climbs"),
        ("s3://bucket//x", "climbs"),
        ("/", "names no folder"),
        ("s3://", "names no folder"),
        ("file://host/srv", "not absolute"),
        ("srv/optins", "cannot be read"),
        ("s3://bucket/a\nb", "cannot be read"),
        (f"s3://{'x' * 2000}", "cannot be read"),
        ("hunter2hunter2hunter2://x", "begins with such an address"),
    ],
)
def test_anything_else_is_refused_and_not_repeated(given: str, why: str) -> None:
    with pytest.raises(LandingUrlError, match=why) as refused:
        read_place({"OTN_LANDING_URL": given})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.jsonl", "p/q/A.NDJSON", "a.json.gz", "x/../a.jsonl", "x/./a.jsonl"])
def test_files_of_ours_are_known_by_their_names(name: str) -> None:
    assert is_ours(name)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.tmp", ".a.jsonl", "_SUCCESS", "_tmp/a.jsonl", "x/.y/a.jsonl", "gz"])
def test_other_files_are_left_alone(name: str) -> None:
    assert not is_ours(name)


def test_names_that_cannot_be_opened_have_a_reason_and_a_name_to_be_shown_by() -> None:
    assert fault_of("page/ü #?.jsonl") is None
    for name in ("../a.jsonl", "a//b.jsonl", "/a.jsonl", "./a.jsonl", "a\\..\\b.jsonl", ""):
        assert fault_of(name) == "name_climbs"
    for name in ("a\n.jsonl", "\ud800.jsonl", "a\0.jsonl", "\u202egnp.jsonl"):
        assert fault_of(name) == "name_unusable"
    assert fault_of("x" * 1025) == "name_too_long"
    assert (shown("page/ü.jsonl"), shown("a\n"), shown("")) == ("page/ü.jsonl", "a\\u000a", "(no name)")
    assert shown("x" * 2000 + "a") != shown("x" * 2000 + "b")
    assert len({shown(name) for name in ("a\1", "a\\u0001", "a\\u005cu0001", "\ue0001", "\U000e0001")}) == 5
    assert (folder_of("page/b/c.jsonl"), folder_of("c.jsonl")) == ("page", None)
