from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otn.campaign.model import IfLate
from otn.errors import UsageError
from otn.orchestration.params import BROADCAST_KEYS, RETRY_KEYS, BroadcastRequest, RetryRequest

LEAST: dict[str, Any] = {"campaign": "spring", "topic": "restock", "text": "Hi"}


@dataclass
class DagRun:
    conf: dict[str, Any] | None = field(default_factory=dict)


def test_the_least_that_is_needed_takes_the_documented_defaults() -> None:
    request = BroadcastRequest.from_params(LEAST)
    spec = request.spec
    assert (request.page, request.topic, request.dry_run) == ("messenger_default", "restock", False)
    assert (spec.key, spec.message, spec.approval, spec.canary) == ("spring", {"text": "Hi"}, True, 0)
    assert (spec.send_at, spec.max_recipients, spec.include_labels, spec.exclude_labels) == (None, None, (), ())
    assert (spec.if_late, spec.late_after, spec.max_refused) == (IfLate.ASK, timedelta(hours=1), 0.5)


def test_everything_that_can_be_given_is_taken() -> None:
    message = {"attachment": {"type": "template", "payload": {}}}
    request = BroadcastRequest.from_params(
        {
            "campaign": "spring",
            "topic": "restock",
            "message": message,
            "text": None,
            "page": "messenger_shop",
            "include_labels": ["a", "b", "a"],
            "exclude_labels": ["c"],
            "max_recipients": 5,
            "send_at": "2027-03-01T09:00:00+01:00",
            "canary": 2,
            "approval": False,
            "dry_run": True,
            "if_late": "cancel",
            "late_after": "30 min",
            "max_refused": 1,
        }
    )
    spec = request.spec
    assert (request.page, request.dry_run, spec.message) == ("messenger_shop", True, message)
    assert (spec.include_labels, spec.exclude_labels, spec.max_recipients) == (("a", "b"), ("c",), 5)
    assert spec.send_at == datetime(2027, 3, 1, 8, tzinfo=UTC)
    assert (spec.canary, spec.approval, spec.if_late) == (2, False, IfLate.CANCEL)
    assert (spec.late_after, spec.max_refused) == (timedelta(minutes=30), 1.0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"dry_rnu": True}, "There is no param 'dry_rnu'. Did you mean 'dry_run'?"),
        ({"sendat": None}, "There is no param 'sendat'. Did you mean 'send_at'?"),
        ({"zzz": 1}, "There is no param 'zzz'. Known are: approval, campaign, canary"),
        ({"campaign": None}, "The param 'campaign' is missing"),
        ({"campaign": ""}, "The param 'campaign' is missing"),
        ({"campaign": "a\x00b"}, "campaign is 'a\\x00b'. Give 1 to 200 printable characters"),
        ({"campaign": "\ud800"}, "campaign is '\\ud800'"),
        ({"campaign": " spring"}, "without spaces around them"),
        ({"campaign": "x" * 201}, "Give 1 to 200 printable characters"),
        ({"campaign": 7}, "campaign is 7"),
        ({"topic": None}, "The param 'topic' is missing"),
        ({"text": None}, "Exactly one of 'text' and 'message' is needed, and neither is given"),
        ({"text": ""}, "and neither is given"),
        ({"message": {"text": "Hi"}}, "Exactly one of 'text' and 'message' is needed, and both is given"),
        ({"text": 5}, "text is 5. Give text in quotes"),
        ({"text": None, "message": "Hi"}, "message is 'Hi'. Give a Send API message object"),
        ({"text": None, "message": {}}, "Give a Send API message object"),
        ({"include_labels": "vip"}, "include_labels is 'vip'. Give a list"),
        ({"include_labels": [1]}, "include_labels holds 1"),
        ({"include_labels": ["a\x00"]}, "include_labels holds 'a\\x00'"),
        ({"include_labels": ["a"], "exclude_labels": ["a"]}, "The label 'a' is both included and excluded"),
        ({"max_recipients": 0}, "max_recipients is 0. Give a whole number from 1"),
        ({"max_recipients": 2**31}, "Give a whole number from 1 to 2147483647"),
        ({"max_recipients": True}, "max_recipients is True"),
        ({"max_recipients": 1.5}, "max_recipients is 1.5"),
        ({"max_recipients": "5"}, "max_recipients is '5'"),
        ({"canary": -1}, "canary is -1. Give a whole number from 0"),
        ({"approval": "false"}, "approval is 'false'. Give true or false, without quotes"),
        ({"dry_run": 1}, "dry_run is 1. Give true or false"),
        ({"if_late": "later"}, "if_late is 'later'. Choose one of: ask, send, cancel"),
        ({"late_after": "soon"}, "late_after is 'soon'. Give a span such as '30 min'"),
        ({"late_after": "P"}, "late_after is 'P'"),
        ({"late_after": "31 d"}, "30 days at most"),
        ({"late_after": 3600}, "late_after is 3600"),
        ({"max_refused": 0}, "max_refused is 0. Give a share above 0"),
        ({"max_refused": float("nan")}, "max_refused is nan"),
        ({"max_refused": 1.1}, "Give a share above 0 and up to 1"),
        ({"max_refused": True}, "max_refused is True"),
        ({"send_at": "tomorrow"}, "send_at is 'tomorrow'. Write a moment like"),
        ({"send_at": "2027-03-01"}, "Write a moment like"),
        ({"send_at": 1}, "send_at is 1"),
        ({"send_at": "2027-03-01T09:00"}, "has no time zone. Write 2027-03-01T09:00+00:00 if UTC is meant"),
        ({"send_at": "2027-02-30T09:00:00Z"}, "is no date or time that exists"),
        ({"send_at": "2027-03-01T25:00:00Z"}, "is no date or time that exists"),
        ({"send_at": "9999-12-31T23:59:59-01:00"}, "is no date or time that exists"),
    ],
)
def test_what_cannot_be_used_is_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        BroadcastRequest.from_params({**LEAST, **wrong})
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-03-01T09:00Z", datetime(2027, 3, 1, 9, tzinfo=UTC)),
        ("2027-03-01 09:00:30+0530", datetime(2027, 3, 1, 3, 30, 30, tzinfo=UTC)),
        ("2027-03-01T09:00:00.000Z", datetime(2027, 3, 1, 9, tzinfo=UTC)),  # what the form's picker writes
        ("2028-02-29T00:00:00-12:00", datetime(2028, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert BroadcastRequest.from_params({**LEAST, "send_at": text}).spec.send_at == moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("0 s", 0), ("90s", 90), ("2 d", 172_800), ("PT1H30M", 5400), ("P1DT1S", 86_401), ("", 3600)]
)
def test_spans(text: str, seconds: int) -> None:
    spec = BroadcastRequest.from_params({**LEAST, "late_after": text}).spec
    assert spec.late_after == timedelta(seconds=seconds)


def test_a_moment_that_had_passed_at_the_trigger_is_refused_and_one_that_passed_since_is_late() -> None:
    triggered = datetime(2027, 3, 1, 9, tzinfo=UTC)
    for text in ("2027-03-01T08:58:00Z", "2026-03-01T09:00:00Z"):
        with pytest.raises(UsageError, match="had passed when the campaign was triggered"):
            BroadcastRequest.from_params({**LEAST, "send_at": text}).refuse_past(triggered)
    for text in ("2027-03-01T08:59:30Z", "2027-03-01T09:00:00Z", "2028-02-28T09:00:00Z", ""):
        BroadcastRequest.from_params({**LEAST, "send_at": text}).refuse_past(triggered)
    with pytest.raises(UsageError, match="more than a year ahead"):
        BroadcastRequest.from_params({**LEAST, "send_at": "2037-03-01T09:00:00Z"}).refuse_past(triggered)


def test_a_key_that_only_the_conf_has_is_seen_too() -> None:
    context = {"dag_run": DagRun({**LEAST, "aproval": False}), "params": dict(LEAST)}
    with pytest.raises(UsageError, match=r"'aproval'\. Did you mean 'approval'"):
        BroadcastRequest.from_context(context)
    assert BroadcastRequest.from_context({"dag_run": DagRun(None), "params": dict(LEAST)}).topic == "restock"


def test_retry_params() -> None:
    request = RetryRequest.from_params({"campaign": "spring"})
    assert (request.page, request.scope) == ("messenger_default", "waiting")
    with pytest.raises(UsageError, match="Choose one of: waiting, refused, unknown"):
        RetryRequest.from_params({"campaign": "spring", "scope": "sent"})
    with pytest.raises(UsageError, match=r"There is no param 'scop'\. Did you mean 'scope'"):
        RetryRequest.from_params({"campaign": "spring", "scop": "unknown"})


def test_the_forms_ask_for_exactly_what_is_read() -> None:
    from otn.orchestration.forms import broadcast_params, retry_params

    assert set(broadcast_params()) == BROADCAST_KEYS
    assert set(retry_params()) == RETRY_KEYS
    assert all(param.schema.get("title") for param in [*broadcast_params().values(), *retry_params().values()])
    defaults = {name: param.value for name, param in broadcast_params().items() if param.has_value}
    assert BroadcastRequest.from_params({**defaults, **LEAST}) == BroadcastRequest.from_params(LEAST)


def test_a_filter_is_the_same_in_whatever_order_it_is_written() -> None:
    wanted = {
        "ref": ["b", "a", "b"],
        "attributes": {"size": ["42"], "city": ["Oslo", "Bergen"]},
        "opted_in_from": "2027-03-01T00:00:00+01:00",
        "opted_in_until": "2027-03-01T00:00:00Z",
    }
    spec = BroadcastRequest.from_params({**LEAST, "filter": wanted}).spec
    assert spec.filter == {
        "attributes": {"city": ["Bergen", "Oslo"], "size": ["42"]},
        "opted_in_from": "2027-02-28T23:00:00+00:00",
        "opted_in_until": "2027-03-01T00:00:00+00:00",
        "ref": ["a", "b"],
    }
    other = BroadcastRequest.from_params({**LEAST, "filter": {**wanted, "ref": ["a", "b"]}}).spec
    assert spec.content_hash("1", "restock") == other.content_hash("1", "restock")
    plain = BroadcastRequest.from_params(LEAST).spec
    assert BroadcastRequest.from_params({**LEAST, "filter": {}}).spec == plain
    assert spec.content_hash("1", "restock") != plain.content_hash("1", "restock")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ([], "filter is []. Give an object"),
        ("ref=a", "filter is 'ref=a'. Give an object"),
        ({"rfe": ["a"]}, "There is no filter.rfe. Did you mean 'ref'?"),
        ({"zzz": 1}, "There is no filter.zzz. Known are: ref, locale, attributes"),
        ({"ref": "a"}, "filter.ref is 'a'. Give a list of 1 to 1000 texts"),
        ({"ref": []}, "filter.ref is []. Give a list"),
        ({"ref": None}, "filter.ref is None. Give a list"),
        ({"ref": [7]}, "filter.ref holds 7. Give texts"),
        ({"ref": [""]}, "filter.ref holds ''"),
        ({"ref": ["a\x00"]}, "filter.ref holds 'a\\x00'"),
        ({"ref": ["x" * 201]}, "Give texts of 1 to 200 printable characters"),
        ({"ref": ["x"] * 1001}, "Give a list of 1 to 1000 texts"),
        ({"locale": ["x" * 21]}, "filter.locale holds"),
        ({"attributes": {}}, "filter.attributes is {}. Give 1 to 50 names"),
        ({"attributes": ["city"]}, "filter.attributes is ['city']"),
        ({"attributes": {"city": "Oslo"}}, "filter.attributes.city is 'Oslo'. Give a list"),
        ({"attributes": {"my city": ["Oslo"]}}, "The attribute 'my city' cannot be used"),
        ({"attributes": {"city": [True]}}, "filter.attributes.city holds True"),
        ({"opted_in_from": "2027-03-01T09:00"}, "filter.opted_in_from '2027-03-01T09:00' has no time zone"),
        ({"opted_in_until": "soon"}, "filter.opted_in_until is 'soon'. Write a moment"),
        ({"interacted_from": 7}, "filter.interacted_from is 7"),
        ({"interacted_until": "2027-02-30T09:00Z"}, "is no date or time that exists"),
        (
            {"opted_in_from": "2027-03-01T09:00Z", "opted_in_until": "2027-03-01T10:00+01:00"},
            "is not before filter.opted_in_until",
        ),
    ],
)
def test_a_filter_that_cannot_be_used_names_its_field(wrong: Any, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        BroadcastRequest.from_params({**LEAST, "filter": wrong})
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 400


def test_labels_by_result() -> None:
    spec = BroadcastRequest.from_params({**LEAST, "result_labels": {"sent": ["b", "a", "a"], "read": ["warm"]}}).spec
    assert spec.result_labels == {"read": ("warm",), "sent": ("a", "b")}
    assert spec.content_hash("1", "restock") == BroadcastRequest.from_params(LEAST).spec.content_hash("1", "restock")
    for wrong, sentence in (
        (["a"], "result_labels is ['a']. Give an object"),
        ({"seen": ["a"]}, "There is no result_labels.seen. Results are: sent, refused"),
        ({"sent": "a"}, "result_labels.sent is 'a'. Give a list of 1 to 10 labels"),
        ({"sent": []}, "result_labels.sent is []"),
        ({"sent": [" a"]}, "result_labels.sent cannot be used. The label ' a' cannot be used"),
        ({"sent": [1]}, "The label 1 cannot be used"),
    ):
        with pytest.raises(UsageError) as caught:
            BroadcastRequest.from_params({**LEAST, "result_labels": wrong})
        assert sentence in str(caught.value)


def test_whoever_decides_sees_the_filter_and_the_labels_and_nothing_in_them_acts() -> None:
    from otn.campaign.model import Audience
    from otn.orchestration.preview import Preview

    spec = BroadcastRequest.from_params(
        {
            **LEAST,
            "filter": {
                "ref": ["a", "b`c", "d", "e", "f", "g"],
                "attributes": {"city": ["Oslo", "Bergen"]},
                "interacted_from": "2027-03-01T09:00Z",
            },
            "result_labels": {"sent": ["**got**"]},
        }
    ).spec
    text = Preview(
        campaign="spring",
        page="messenger_default",
        topic="restock",
        message=spec.message,
        audience=Audience(recipients=1, excluded={"ref_differs": 2, "attribute_differs": 3}, dying=0),
        include_labels=["vip"],
        exclude_labels=[],
        max_recipients=5,
        send_at=None,
        filter=spec.filter,
        result_labels=spec.result_labels,
    ).markdown()
    assert "Filter: with `vip`, ref `a`, `` b`c ``, `d`, `e`, `f` or 1 more, `city` `Bergen` or `Oslo`, " in text
    assert "last wrote or tapped from 2027-03-01T09:00:00+00:00, 5 people at most" in text
    assert "Labels when it ends: sent: `**got**`." in text
    assert "| opted in to something else (ref) | 2 |" in text
    assert "| have other attributes | 3 |" in text
