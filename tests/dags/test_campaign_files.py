from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from otn.orchestration import campaign_files, campaign_schedule
from otn.orchestration.campaign_files import CampaignFile, CampaignFileError, campaign_paths, read_file, read_files
from otn.settings import ROOT

FOLDER = ROOT / "campaigns"
SCHEMA = json.loads((FOLDER / "campaign.schema.json").read_text(encoding="utf-8"))
PLAIN: dict[str, Any] = {
    "topic": "restock",
    "text": "It is back!",
    "schedule": {"cron": "0 9 * * *", "timezone": "Europe/Berlin"},
    "start": "2027-03-01",
}
START, END = datetime(2027, 3, 1, 8, tzinfo=UTC), datetime(2027, 3, 2, 8, tzinfo=UTC)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def write(raw: str | bytes | None = None, name: str = "spring.yaml", **values: Any) -> Path:
        path = tmp_path / name
        if raw is None:
            raw = yaml.safe_dump({key: value for key, value in (PLAIN | values).items() if value is not None})
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
        return path

    return write


def mistakes(path: Path) -> str:
    with pytest.raises(CampaignFileError) as caught:
        read_file(path, thorough=True)
    return str(caught.value)


def test_the_example_is_left_alone_and_can_be_used() -> None:
    assert campaign_paths(FOLDER) == []
    example = read_file(FOLDER / "_example.yaml", thorough=True)
    assert (example.key, example.opted_in, example.asks) == ("example", timedelta(), True)
    assert str(example.schedule).startswith("0 9 * * 1-5 Europe/Berlin from 2027-03-01T00:00:00+01:00 until 2027-07-01")


def test_an_interval_is_a_campaign_of_its_own(written: Callable[..., Path]) -> None:
    audience = {"opted_in": {"days_before": 7}, "filter": {"locale": ["de_DE"]}, "max_recipients": 5}
    request = read_file(written(audience=audience, late_after="2 h", if_late="send")).request(START, END)
    assert request.spec.key == "spring/2027-03-01T08:00:00Z"
    assert (request.page, request.topic, request.spec.send_at) == ("messenger_default", "restock", END)
    assert request.spec.filter == {
        "locale": ["de_DE"],
        "opted_in_from": "2027-02-22T08:00:00+00:00",
        "opted_in_until": "2027-02-23T08:00:00+00:00",
    }
    assert (request.spec.late_after, request.spec.if_late.value) == (timedelta(hours=2), "send")


def test_one_moment_is_one_campaign(written: Callable[..., Path]) -> None:
    file = read_file(written(schedule={"at": "2027-07-01T09:00", "timezone": "Europe/Berlin"}, start=None))
    assert file.schedule.at == datetime(2027, 7, 1, 7, tzinfo=UTC)
    assert file.request(START, START).spec.key == "spring"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"topic": None}, "topic: The topic is missing"),
    ({"topic": 5}, "topic: topic is 5"),
    ({"text": None}, "Exactly one of 'text' and 'message' is needed, and neither"),
    ({"message": {"text": "Hi"}}, "Exactly one of 'text' and 'message' is needed, and both"),
    ({"topics": "x"}, "topics: There is no field 'topics' here. Did you mean 'topic'?"),
    ({"audience": {"labels": []}}, "audience.labels: There is no field 'labels' here"),
    ({"audience": {"filter": {"ref": "sku"}}}, "audience.filter: filter.ref is 'sku'"),
    ({"audience": {"max_recipients": 0}}, "audience.max_recipients: max_recipients is 0"),
    ({"audience": {"opted_in": "yesterday"}}, "audience.opted_in: This is 'yesterday'. Write interval"),
    ({"audience": {"opted_in": {"days_before": 0}}}, "audience.opted_in: This is"),
    ({"audience": []}, "audience: This is no mapping"),
    ({"schedule": None}, "schedule: This is no mapping"),
    ({"schedule": {"cron": "0 9 * * *"}}, "schedule.timezone: There is no time zone None"),
    ({"schedule": {"timezone": "UTC"}}, "schedule: Give exactly one of cron"),
    ({"schedule": {"cron": "9 o'clock", "timezone": "UTC"}}, "schedule.cron: "),
    ({"if_late": "never"}, "if_late: if_late is 'never'"),
    ({"late_after": 60}, "late_after: late_after is 60"),
    ({"canary": -1}, "canary: canary is -1"),
    ({"approval": "yes"}, "approval: approval is 'yes'. Give true or false"),
    ({"max_refused": 2}, "max_refused: max_refused is 2"),
    ({"catchup": "no"}, "catchup: This is 'no'"),
    ({"result_labels": {"opened": ["x"]}}, "result_labels: There is no result_labels.opened"),
]
BEYOND_THE_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"start": None}, "start: It is missing"),
    ({"start": "soon"}, "start: 'soon' is no moment"),
    ({"stop": "2027-02-01"}, "stop: It is not after start"),
    ({"schedule": {"cron": "0 9 30 2 *", "timezone": "UTC"}}, "is no cron expression whose moment comes"),
    ({"schedule": {"cron": "R R * * *", "timezone": "UTC"}}, "is no cron expression"),
    ({"schedule": {"cron": "0 9 * * *", "timezone": "Europe"}}, "There is no time zone 'Europe'"),
    ({"schedule": {"cron": "0 9 * * *", "timezone": "../../etc/passwd"}}, "There is no time zone"),
    ({"schedule": {"at": "2027-03-28T02:30", "timezone": "Europe/Berlin"}, "start": None}, "does not exist in"),
    ({"schedule": {"at": "2027-10-31T02:30", "timezone": "Europe/Berlin"}, "start": None}, "comes twice in"),
    ({"schedule": {"at": "2027-03-01T09:00", "timezone": "UTC"}}, "start: One moment has no such bound"),
    (
        {
            "schedule": {"at": "2027-03-01T09:00", "timezone": "UTC"},
            "start": None,
            "audience": {"opted_in": "interval"},
        },
        "audience.opted_in: One moment has no interval",
    ),
    (
        {"audience": {"opted_in": "interval", "filter": {"opted_in_from": "2027-03-01T00:00:00Z"}}},
        "The filter says when people opted in too",
    ),
    ({"audience": {"include_labels": ["a"], "exclude_labels": ["a"]}}, "both included and excluded"),
    ({"text": "Hi {{ first_name "}, "text: The template is broken"),
    ({"text": None, "message": {"foo": 1}}, "message: "),
]


@pytest.mark.parametrize(("values", "sentence"), [*BAD, *BEYOND_THE_SCHEMA], ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_named_with_file_line_and_field(
    written: Callable[..., Path], values: dict[str, Any], sentence: str
) -> None:
    said = mistakes(written(**values))
    assert said.startswith("spring.yaml, line ")
    assert sentence in said


def test_editors_and_the_reader_agree(written: Callable[..., Path]) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    editor = Draft202012Validator(SCHEMA)
    assert set(SCHEMA["properties"]) == set(campaign_files.FIELDS)
    assert set(SCHEMA["properties"]["audience"]["properties"]) == {*campaign_files.AUDIENCE, "opted_in"}
    assert set(SCHEMA["properties"]["schedule"]["properties"]) == set(campaign_schedule.SCHEDULE_FIELDS)
    for values, _ in BAD:
        content = {key: value for key, value in (PLAIN | values).items() if value is not None}
        assert not editor.is_valid(content), content
    for good in (PLAIN, json.loads(json.dumps(yaml.safe_load((FOLDER / "_example.yaml").read_text()), default=str))):
        assert [error.message for error in editor.iter_errors(good)] == []


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "spring.yaml, line 1: This is no mapping"),
        (b"- a\n- b", "This is no mapping"),
        (b"topic: [", "line 1: This is no YAML"),
        (b"topic: a\ntopic: b", "line 2: The key 'topic' is there twice"),
        (b"a: &x [1]\nb: *x", "line 2: An alias"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b"text: !!python/object/apply:os.system ['true']", "text is ['true']. Give text"),
        (b"text: !!bool perhaps", "Put it in quotes"),
        (b"message:\n  a: 2027-03-01", "line 2, message.a: This is a date. Put it in quotes"),
        (b"message: {a: .nan}", "This is a float"),
        (b"[" * 100_000, "nested too deeply"),
        (b"x: " + b"y" * 600_000, "are allowed. Split it"),
    ],
    ids=range(12),
)
def test_a_hostile_file_is_a_sentence_and_no_other_ones_concern(
    written: Callable[..., Path], raw: bytes, sentence: str
) -> None:
    path = written(raw)
    assert sentence in mistakes(path)
    written(name="well.yaml")
    found = list(read_files(campaign_paths(path.parent)))
    assert [isinstance(one, CampaignFile) for one in found] == [False, True]


@pytest.mark.parametrize(
    "name", ["Spring.yaml", "a b.yaml", "spring.yml", "ä.yaml", "{{ x }}.yaml", "x" * 101 + ".yaml"]
)
def test_a_name_that_is_no_key_is_said(written: Callable[..., Path], name: str) -> None:
    assert "A campaign file is named <key>.yaml" in mistakes(written(name=name))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "It cannot be read" in mistakes(tmp_path / "gone.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "It cannot be read" in mistakes(tmp_path / "folder.yaml")
    with pytest.raises(CampaignFileError, match="correct OTN_CAMPAIGNS_DIR"):
        campaign_paths(tmp_path / "nowhere")
