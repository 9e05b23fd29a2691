from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otn.messenger.events import Event, EventKind, parse_webhook

AT = 1458692752478
MOMENT = datetime(2016, 3, 23, 0, 25, 52, 478000, UTC)


def body(*items, page="PAGE", **entry):
    return json.dumps(
        {"object": "page", "entry": [{"id": page, "time": AT + 521, "messaging": list(items), **entry}]}
    ).encode()


def from_person(**content):
    return {"sender": {"id": "PSID"}, "recipient": {"id": "PAGE"}, "timestamp": AT, **content}


def optin(**content):
    return from_person(optin={"type": "one_time_notif_req", "payload": "P", "one_time_notif_token": "T", **content})


def only_event(raw, **options):
    parsed = parse_webhook(raw, **options)
    assert parsed.rejected == ()
    (event,) = parsed.events
    return event


def only_rejected(raw, **options):
    parsed = parse_webhook(raw, **options)
    assert parsed.events == ()
    (rejected,) = parsed.rejected
    return rejected


# --- the documented samples, byte for byte

OPTIN = b"""{"object":"page",
 "entry":[{"id":"<PAGE_ID>","time":1458692752999,
   "messaging":[{
     "sender":{"id":"<PSID>"},
     "recipient":{"id":"<PAGE_ID>"},
     "timestamp":1458692752478,
     "optin":{"type":"one_time_notif_req",
              "payload":"<USER_DEFINED_PAYLOAD>",
              "one_time_notif_token":"<ONE_TIME_TOKEN>"}}]}]}"""


def test_documented_optin():
    assert only_event(OPTIN) == Event(
        EventKind.OPTIN,
        page_id="<PAGE_ID>",
        psid="<PSID>",
        occurred_at=MOMENT,
        token="<ONE_TIME_TOKEN>",
        payload="<USER_DEFINED_PAYLOAD>",
    )


ITEMS = {
    EventKind.MESSAGE: (
        """{"sender":{"id":"PSID"},"recipient":{"id":"PAGE"},"timestamp":1458692752478,
                  "message":{"mid":"m_…","text":"hello","quick_reply":{"payload":"P"},"reply_to":{"mid":"m_…"},
                  "attachments":[{"type":"image|audio|video|file|reel|ig_reel|template|fallback|location","payload":{"url":"…"}}]}}""",
        {"mid": "m_…", "text": "hello", "payload": "P", "occurred_at": MOMENT},
    ),
    EventKind.DELIVERY: (
        """{"sender":{"id":"PSID"},"recipient":{"id":"PAGE"},"timestamp":1459991487970,
                  "delivery":{"mids":["mid.1458668856218:ed81099e15d3f4f233"],"watermark":1458668856253}}""",
        {
            "mids": ("mid.1458668856218:ed81099e15d3f4f233",),
            "watermark": datetime(2016, 3, 22, 17, 47, 36, 253000, UTC),
            "occurred_at": datetime(2016, 4, 7, 1, 11, 27, 970000, UTC),
        },
    ),
    EventKind.READ: (
        """{"sender":{"id":"PSID"},"recipient":{"id":"PAGE"},"timestamp":1458668856463,"read":{"watermark":1458668856253}}""",
        {"watermark": datetime(2016, 3, 22, 17, 47, 36, 253000, UTC)},
    ),
    EventKind.ECHO: (
        """{"sender":{"id":"PAGE"},"recipient":{"id":"PSID"},"timestamp":1457764197627,
                  "message":{"is_echo":true,"app_id":1517776481860111,"metadata":"<your string>","mid":"m_…","text":"…"}}""",  # noqa: E501 - byte for byte
        {"mid": "m_…", "text": "…", "metadata": "<your string>", "app_id": "1517776481860111"},
    ),
    EventKind.POSTBACK: (
        """{"sender":{"id":"PSID"},"recipient":{"id":"PAGE"},"timestamp":1458692752478,
                  "postback":{"mid":"m_…","title":"…","payload":"…","referral":{"ref":"…","source":"SHORTLINK|ADS","type":"OPEN_THREAD"}}}""",
        {"mid": "m_…", "title": "…", "payload": "…"},
    ),
    EventKind.POLICY: (
        """{"recipient":{"id":"PAGE"},"timestamp":1458692752478,
                  "policy_enforcement":{"action":"warning|block|unblock","reason":"…"}}""",
        {"psid": None, "action": "warning|block|unblock", "reason": "…"},
    ),
    EventKind.REACTION: (
        """{"sender":{"id":"PSID"},"recipient":{"id":"PAGE"},"timestamp":1458692752478,
        "reaction":{"reaction":"smile|angry|sad|wow|love|like|dislike|other","emoji":"…","action":"react|unreact","mid":"m_…"}}""",
        {"action": "react|unreact", "mid": "m_…"},
    ),
}


@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("array", ["messaging", "standby"])
def test_documented_items(kind, array):
    sample, expected = ITEMS[kind]
    raw = f'{{"object":"page","entry":[{{"id":"PAGE","time":1458692752999,"{array}":[{sample}]}}]}}'.encode()
    event = only_event(raw)
    assert event.kind is kind
    assert event.page_id == "PAGE"
    for name, value in {"psid": "PSID", **expected}.items():
        assert getattr(event, name) == value, name


def test_escaped_unicode_is_text():
    raw = (
        rb'{"object":"page","entry":[{"id":"PAGE","time":1,"messaging":[{"sender":{"id":"PSID"},'
        rb'"recipient":{"id":"PAGE"},"timestamp":1458692752478,'
        rb'"message":{"mid":"m","text":"\u00e4\u00f6\u00e5 \/ \ud83d\ude00"}}]}]}'
    )
    assert only_event(raw).text == "äöå / 😀"


# --- envelopes


def test_several_entries_and_items_keep_their_places():
    entries = [
        {"id": "PAGE", "time": AT, "messaging": [optin(), "x", from_person(read={"watermark": AT})]},
        {
            "id": "PAGE",
            "time": AT,
            "messaging": [optin()],
            "standby": [from_person(message={"mid": "m", "text": "hi"})],
        },
        "x",
        {"id": "PAGE", "time": AT, "changes": [{"field": "feed", "value": {}}]},
    ]
    parsed = parse_webhook(json.dumps({"object": "page", "entry": entries}).encode())
    assert [(event.position, event.kind) for event in parsed.events] == [
        ((0, 0), EventKind.OPTIN),
        ((0, 2), EventKind.READ),
        ((1, 0), EventKind.OPTIN),
        ((1, 1), EventKind.MESSAGE),
        ((3, 0), EventKind.OTHER),
    ]
    assert [(rejected.position, rejected.raw) for rejected in parsed.rejected] == [((0, 1), b'"x"'), ((2, 0), b'"x"')]


def test_a_full_post_of_a_thousand():
    parsed = parse_webhook(body(*[optin(one_time_notif_token=f"T{number}") for number in range(1000)]))
    assert [event.token for event in parsed.events] == [f"T{number}" for number in range(1000)]
    assert len({event.position for event in parsed.events}) == 1000


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "JSON"),
        (b"\0", "JSON"),
        (b"null", "no object"),
        (b"[]", "no object"),
        (b'"page"', "no object"),
        (OPTIN[:-3], "JSON"),
        (OPTIN + b"x", "JSON"),
        (b"\xef\xbb\xbf" + OPTIN, "JSON"),
        (OPTIN.decode().encode("utf-16"), "JSON"),
        (OPTIN.replace(b"PSID", b"\xff"), "JSON"),
        (b"[" * 500_000, "JSON"),
        (b'{"a":' * 500_000, "JSON"),
        (b"{}", "object is not page"),
        (OPTIN.replace(b'"page"', b'"instagram"'), "object is not page"),
        (b'{"object":"page"}', "entry"),
        (b'{"object":"page","entry":{}}', "entry"),
        (b'{"object":"page","entry":[]}', "entry"),
    ],
)
def test_a_body_that_cannot_be_read_is_one_rejected_piece(raw, reason):
    rejected = only_rejected(raw)
    assert reason in rejected.reason
    assert (rejected.position, rejected.raw) == ((0, 0), raw)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        5,
        [],
        {},
        {"id": "PAGE"},
        {"id": "PAGE", "messaging": []},
        {"id": "PAGE", "messaging": {}},
        {"id": "PAGE", "messaging": None},
        {"id": "PAGE", "messaging": [optin()], "standby": 5},
    ],
)
def test_an_entry_that_cannot_be_read_is_one_rejected_piece(entry):
    rejected = only_rejected(json.dumps({"object": "page", "entry": [entry]}).encode())
    assert rejected.position == (0, 0)
    assert json.loads(rejected.raw) == entry


@pytest.mark.parametrize("page", [None, "", " ", True, 1.5, [], {}, "P" * 101, "P\0"])
def test_an_entry_without_page_loses_no_item(page):
    parsed = parse_webhook(body(optin(), optin(), page=page))
    assert parsed.events == ()
    assert [rejected.position for rejected in parsed.rejected] == [(0, 0), (0, 1)]


def test_numeric_ids_are_text():
    raw = body(
        {"sender": {"id": 28777805391819468}, "recipient": {"id": 7}, "timestamp": AT, "read": {"watermark": AT}},
        page=7,
    )
    event = only_event(raw)
    assert (event.page_id, event.psid) == ("7", "28777805391819468")


def test_only_registered_pages():
    assert only_event(body(optin()), page_ids={"PAGE"}).page_id == "PAGE"
    assert only_rejected(body(optin()), page_ids={"OTHER"}).reason == "the page is not registered"


def test_an_event_of_another_page_than_its_entry_is_rejected():
    assert "another page" in only_rejected(body(optin(), page="ELSE")).reason
    echo = {
        "sender": {"id": "ELSE"},
        "recipient": {"id": "PSID"},
        "timestamp": AT,
        "message": {"is_echo": True, "mid": "m"},
    }
    assert "another page" in only_rejected(body(echo)).reason
    unmarked = {"sender": {"id": "PAGE"}, "recipient": {"id": "PSID"}, "timestamp": AT, "message": {"mid": "m"}}
    assert "another page" in only_rejected(body(unmarked)).reason


# --- times


@pytest.mark.parametrize("time", [AT, str(AT), float(AT)])
def test_milliseconds(time):
    assert only_event(body({**optin(), "timestamp": time})).occurred_at == MOMENT


@pytest.mark.parametrize("time", [AT // 1000, str(AT // 1000), AT / 1000])
def test_seconds(time):
    occurred_at = only_event(body({**optin(), "timestamp": time})).occurred_at
    assert abs((occurred_at - MOMENT).total_seconds()) < 1


@pytest.mark.parametrize(
    "time",
    [
        "",
        "x",
        "NaN",
        "1e12",
        "-1",
        " 1458692752478",
        "١٤٥٨٦٩٢٧٥٢٤٧٨",
        True,
        False,
        [],
        {},
        0,
        -1,
        1,
        -(10**18),
        -62135596800000,
        10**18,
        9464611200000000,
        10**300,
        float("inf"),
        float("-inf"),
        float("nan"),
        2**63,
        "9" * 5000,
        "9" * 17,
    ],
)
@pytest.mark.parametrize("place", ["timestamp", "watermark"])
def test_absurd_times_are_rejected_with_a_reason(time, place):
    item = {**optin(), "timestamp": time} if place == "timestamp" else from_person(read={"watermark": time})
    rejected = only_rejected(body(item))
    assert place in rejected.reason
    assert b"PSID" in rejected.raw


def test_a_number_too_long_for_anything_spoils_its_own_item_only():
    raw = body(optin(), {**optin(), "timestamp": "HUGE"}).replace(b'"HUGE"', b"9" * 10_000)
    parsed = parse_webhook(raw)
    assert len(parsed.events) == len(parsed.rejected) == 1


def test_an_event_without_time_takes_that_of_its_entry_or_its_watermark():
    item = from_person(delivery={"watermark": AT})
    del item["timestamp"]
    assert only_event(body(item, time=AT)).occurred_at == MOMENT
    assert only_event(body(item, time=None)).occurred_at == MOMENT
    assert "entry.time" in only_rejected(body(item, time="x")).reason
    item = optin()
    del item["timestamp"]
    assert "timestamp" in only_rejected(body(item, time=None)).reason


# --- kinds


def test_a_token_of_four_kilobytes_is_kept_whole():
    token = "aZ" * 2048
    assert only_event(body(optin(one_time_notif_token=token))).token == token


def test_an_optin_without_payload_keeps_its_token():
    item = optin()
    del item["optin"]["payload"]
    event = only_event(body(item))
    assert (event.kind, event.token, event.payload) == (EventKind.OPTIN, "T", "")


def test_an_optin_without_type_is_known_by_its_token():
    item = optin()
    del item["optin"]["type"]
    assert only_event(body(item)).kind is EventKind.OPTIN


@pytest.mark.parametrize(
    ("item", "psid", "payload"),
    [
        (from_person(optin={"ref": "R"}), "PSID", "R"),
        ({"recipient": {"id": "PAGE"}, "timestamp": AT, "optin": {"ref": "R", "user_ref": "U"}}, None, "R"),
        ({"sender": {"user_ref": "U"}, "recipient": {"id": "PAGE"}, "timestamp": AT, "optin": {"ref": "R"}}, None, "R"),
        (
            from_person(
                optin={
                    "type": "notification_messages",
                    "payload": "P",
                    "notification_messages_token": "N",
                    "token_expiry_timestamp": 2145916800000,
                }
            ),
            "PSID",
            "P",
        ),
        (from_person(optin={}), "PSID", None),
    ],
)
def test_other_optins_carry_no_token(item, psid, payload):
    event = only_event(body(item))
    assert (event.kind, event.psid, event.payload, event.token) == (EventKind.OTHER_OPTIN, psid, payload, None)


@pytest.mark.parametrize(
    "delivery",
    [{"watermark": AT, "seq": 5}, {"mids": None, "watermark": AT}, {"mids": ["a", "b"]}, {"mids": [], "watermark": AT}],
)
def test_deliveries_name_mids_or_watermark(delivery):
    event = only_event(body(from_person(delivery=delivery)))
    assert event.mids == tuple(delivery.get("mids") or ())
    assert (event.watermark is not None) == ("watermark" in delivery)


def test_a_postback_in_standby_has_no_payload():
    event = only_event(body(standby=[from_person(postback={"title": "Go"})]))
    assert (event.kind, event.payload, event.mid, event.title) == (EventKind.POSTBACK, None, None, "Go")


def test_referral():
    event = only_event(body(from_person(referral={"ref": "R", "source": "SHORTLINK", "type": "OPEN_THREAD"})))
    assert (event.kind, event.payload) == (EventKind.REFERRAL, "R")


def test_policy_in_its_old_spelling():
    event = only_event(body({"recipient": {"id": "PAGE"}, "timestamp": AT, "policy-enforcement": {"action": "block"}}))
    assert (event.kind, event.action, event.reason, event.psid) == (EventKind.POLICY, "block", None, None)


@pytest.mark.parametrize(
    "item",
    [
        from_person(account_linking={"status": "linked"}),
        from_person(brand_new=[1, 2]),
        from_person(message_edit={"mid": "m"}),
        {"sender": {"id": "PAGE"}, "recipient": {"id": "PSID"}, "timestamp": AT, "pass_thread_control": {}},
    ],
)
def test_unknown_kinds_are_counted(item):
    event = only_event(body(item))
    assert (event.kind, event.psid) == (EventKind.OTHER, "PSID")


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (None, "no object"),
        ([], "no object"),
        ({}, "no event"),
        (from_person(), "no event"),
        (from_person(optin={"ref": "R"}, message={"mid": "m"}), "several events"),
        (from_person(optin="x"), "optin is no object"),
        (from_person(optin=None), "optin is no object"),
        (optin(one_time_notif_token=None), "one_time_notif_token"),
        (optin(one_time_notif_token=""), "one_time_notif_token"),
        (optin(one_time_notif_token=5), "one_time_notif_token"),
        (optin(one_time_notif_token="a\0"), "NUL"),
        (optin(one_time_notif_token="\ud800"), "surrogate"),
        (optin(one_time_notif_token="x" * 20_000), "longer"),
        (optin(payload={"a": 1}), "payload"),
        (optin(payload="\0"), "NUL"),
        ({**optin(), "sender": None}, "no person"),
        ({**optin(), "sender": "PSID"}, "sender"),
        ({**optin(), "sender": {"id": {}}}, "sender.id"),
        ({**optin(), "sender": {"id": 1e30}}, "sender.id"),
        ({**optin(), "sender": {"id": "\udfff"}}, "sender.id"),
        ({**optin(), "recipient": []}, "recipient"),
        (from_person(message={"mid": 5}), "message.mid"),
        (from_person(message={"mid": "m", "text": {}}), "message.text"),
        (from_person(delivery={}), "neither"),
        (from_person(delivery={"mids": "m"}), "mids"),
        (from_person(delivery={"mids": [None]}), "mids"),
        (from_person(delivery={"mids": [5]}), "mids"),
        (from_person(delivery={"mids": ["m"], "watermark": "x"}), "watermark"),
        (from_person(read={}), "watermark"),
        (from_person(postback={"payload": []}), "payload"),
        ({"recipient": {"id": "PAGE"}, "timestamp": AT, "policy_enforcement": {}}, "action"),
    ],
)
def test_malformed_items_are_rejected_with_a_reason_and_their_json(item, reason):
    rejected = only_rejected(body(item))
    assert reason in rejected.reason
    assert rejected.position == (0, 0)
    assert json.loads(rejected.raw) == item


def test_a_stop_is_heard_through_broken_characters():
    assert only_event(body(from_person(message={"mid": "m", "text": "STOP\0\ud83d"}))).text == "STOP\ufffd\ufffd"


def test_reprs_show_nobody_and_nothing_said():
    parsed = parse_webhook(body(optin(), from_person(message={"mid": "m", "text": "private"}), "private"))
    for secret in ("PSID", "'T'", "private"):
        assert secret not in repr(parsed)


# --- anything at all

LEAF = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=20)
)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8
)
KEYS = ["optin", "message", "delivery", "read", "postback", "reaction", "referral", "policy_enforcement", "other"]
PARTY = st.sampled_from([{"id": "PAGE"}, {"id": "PSID"}]) | VALUE
INNER = st.dictionaries(
    st.sampled_from(
        ["type", "payload", "one_time_notif_token", "mid", "mids", "watermark", "text", "is_echo", "metadata"]
    ),
    VALUE | st.just("one_time_notif_req") | st.just(AT) | st.just(True),
)
ITEM = VALUE | st.dictionaries(
    st.sampled_from(["sender", "recipient", "timestamp", *KEYS]), PARTY | INNER | st.just(AT), max_size=5
)


@given(st.lists(ITEM, min_size=1, max_size=6))
def test_every_item_becomes_exactly_one_event_or_one_rejected_piece(items):
    parsed = parse_webhook(body(*items))
    positions = [outcome.position for outcome in (*parsed.events, *parsed.rejected)]
    assert sorted(positions) == [(0, index) for index in range(len(items))]
    for event in parsed.events:
        for text in (
            event.psid,
            event.token,
            event.payload,
            event.mid,
            event.metadata,
            event.text,
            event.title,
            *event.mids,
        ):
            assert text is None or "\0" not in text
            assert text is None or text.encode().decode() == text


@given(st.binary(max_size=200) | VALUE.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises(raw):
    parsed = parse_webhook(raw)
    assert len(parsed.events) + len(parsed.rejected) >= 1


# --- what an event carries by the way


def referral(ref="spring", **more):
    return {"ref": ref, "source": "SHORTLINK", "type": "OPEN_THREAD", **more}


@pytest.mark.parametrize(
    ("content", "kind", "payload", "ref"),
    [
        ({"referral": referral()}, EventKind.REFERRAL, "spring", "spring"),
        ({"postback": {"payload": "GO", "referral": referral()}}, EventKind.POSTBACK, "GO", "spring"),
        ({"postback": {"payload": "GO"}}, EventKind.POSTBACK, "GO", None),
        ({"optin": {"ref": "spring"}}, EventKind.OTHER_OPTIN, "spring", "spring"),
        ({"optin": {"type": "other", "ref": "spring", "payload": "P"}}, EventKind.OTHER_OPTIN, "P", "spring"),
        ({"message": {"mid": "m"}}, EventKind.MESSAGE, None, None),
    ],
)
def test_where_a_reference_comes_from(content, kind, payload, ref):
    event = only_event(body(from_person(**content)))
    assert (event.kind, event.payload, event.ref) == (kind, payload, ref)
    assert "spring" not in repr(event)


@pytest.mark.parametrize(
    "odd", [None, 7, "x", [], {}, {"ref": 7}, {"ref": ["x"]}, {"ref": "a\0"}, {"ref": "x" * 20_000}]
)
def test_an_odd_reference_does_not_cost_the_press_of_a_button(odd):
    event = only_event(body(from_person(postback={"payload": "GO", "referral": odd})))
    assert (event.payload, event.ref) == ("GO", None)


@pytest.mark.parametrize(("reply", "mid"), [({"mid": "m_1"}, "m_1"), (None, None), ("m_1", None), ({"mid": 7}, None)])
def test_what_a_message_answers(reply, mid):
    event = only_event(body(from_person(message={"mid": "m_2", "text": "yes", "reply_to": reply})))
    assert (event.text, event.reply_to) == ("yes", mid)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"reaction": "love", "emoji": "\u2764"}, "love"),
        ({"emoji": "\u2764"}, "\u2764"),
        ({"reaction": 7}, None),
        ({}, None),
    ],
)
def test_the_name_of_a_reaction(parts, named):
    event = only_event(body(from_person(reaction={"mid": "m_1", "action": "react", **parts})))
    assert (event.mid, event.action, event.reaction) == ("m_1", "react", named)


def test_an_array_that_is_null_is_as_good_as_absent():
    assert only_event(body(optin(), standby=None, changes=None)).token == "T"
    raw = b'{"object":"page","entry":[{"id":"PAGE","time":1458692752999,"messaging":null,"standby":null}]}'
    assert only_rejected(raw).reason == "the entry holds no event"
