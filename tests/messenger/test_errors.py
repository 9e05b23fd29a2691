from __future__ import annotations

import json

import pytest

from otn.messenger.errors import (
    ERROR_TABLE,
    TOKEN_RULES,
    Outcome,
    PlatformError,
    TokenFate,
    TokenRule,
    classify,
    dump_token_rules,
    load_token_rules,
)

R, C, F = Outcome.REFUSED, Outcome.CONTENT, Outcome.PAGE_HALTED
TH, TR, U = Outcome.THROTTLED, Outcome.TRANSIENT, Outcome.UNKNOWN

# The platform's published table, restated by hand: a row lost or changed in the data is found here.
DOCUMENTED = {
    (1, 99): TR,
    (1, 1357046): U,
    (2, None): TR,
    (2, 2018344): C,
    (4, None): TH,
    (4, 2018022): TH,
    (4, 2018354): R,
    (9, 2018352): R,
    (10, None): F,
    (10, 1404170): F,
    (10, 1893015): R,
    (10, 1893063): F,
    (10, 2018065): R,
    (10, 2018108): R,
    (10, 2018278): R,
    (10, 2018336): R,
    (10, 2534022): R,
    (17, None): TH,
    (17, 2446079): TH,
    (32, None): TH,
    (100, 33): F,
    (80001, None): TH,
    (80006, None): TH,
    (100, None): C,
    (100, 2018001): R,
    (100, 2018008): C,
    (100, 2018294): C,
    (100, 2018047): C,
    (100, 2018014): C,
    (100, 2018034): C,
    (100, 2018074): C,
    (100, 2018109): C,
    (100, 2018164): C,
    (100, 2018320): C,
    (100, 2018328): C,
    (100, 2018276): C,
    **{(100, subcode): C for subcode in range(2534013, 2534038)},
    **{(190, subcode): F for subcode in (None, 458, 459, 460, 463, 464, 467, 492)},
    (200, None): F,
    (200, 2018028): F,
    (200, 2018027): F,
    (200, 2018021): F,
    (200, 1545041): R,
    (200, 2534041): F,
    **{(code, None): F for code in range(201, 300)},
    (341, None): TH,
    (368, None): F,
    (368, 1390008): F,
    (506, None): C,
    (551, None): R,
    (551, 1545041): R,
    (551, 1893047): R,
    (613, None): TH,
    (613, 1996): TH,
    (613, 1893016): R,
    (613, 2018338): R,
    (613, 2534040): TH,
    (1200, None): TR,
    (2022, None): F,
    (10303, None): C,
    **{(code, None): C for code in range(2018154, 2018167)},
    **{(code, None): C for code in range(2071010, 2071026)},
    (2018144, None): C,
    (2018218, None): R,
    (2018247, None): R,
    (2018300, None): TR,
    (2018310, None): R,
    (2018321, None): TR,
    **{(code, None): C for code in range(2300000, 2300081)},
    (1893047, None): R,
    (-1, None): U,
    (9000001, None): R,
}


def wire_error(code, subcode=None, message="", *, status=400, **more):
    """Build the error as it stands on the wire, and read it."""
    stated = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "BLBz/WZt8dN", **more}
    if subcode is not None:
        stated["error_subcode"] = subcode
    return PlatformError.from_body(json.dumps({"error": stated}).encode(), http_status=status)


def test_no_documented_row_is_missing():
    rows = {(rule.code, rule.subcode) for rule in ERROR_TABLE}
    assert set(DOCUMENTED) - rows == set()


def test_rows_are_unambiguous():
    keys = [(rule.code, rule.subcode, rule.message) for rule in ERROR_TABLE]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("rule", ERROR_TABLE, ids=lambda rule: f"{rule.code}/{rule.subcode or '-'}")
def test_every_row_decides_its_own_error(rule):
    message = {"no matching user|invalid fbid": "(#100) No matching user found"}.get(rule.message, rule.message or "")
    verdict = classify(wire_error(rule.code, rule.subcode, message))
    assert verdict.outcome is rule.outcome
    assert (verdict.rule, verdict.retry_worth, verdict.wait_s) == (rule, rule.retry_worth, rule.wait_s)
    assert verdict.meaning == rule.meaning != ""
    assert verdict.token_fate is None
    if rule.message is None:
        assert verdict.outcome is DOCUMENTED.get((rule.code, rule.subcode), U)


@pytest.mark.parametrize("rule", ERROR_TABLE, ids=lambda rule: f"{rule.code}/{rule.subcode or '-'}")
def test_a_5xx_leaves_a_doubt_whatever_it_says(rule):
    error = wire_error(rule.code, rule.subcode, rule.message or "", status=500, is_transient=True)
    assert classify(error).outcome is U


def test_throttles_and_faults_say_how_long_to_wait():
    for rule in ERROR_TABLE:
        assert (rule.wait_s is not None) == (rule.outcome in {TH, TR}), rule


def test_endless_repeats_have_an_end():
    for rule in ERROR_TABLE:
        assert (rule.tries is not None) == (rule.then is not None) == (rule.outcome is TR), rule


@pytest.mark.parametrize("key", [(551, None), (551, 1545041), (551, 1893047), (200, 1545041), (10, 2018108)])
def test_people_who_may_come_back_are_worth_one_late_retry(key):
    assert classify(wire_error(*key)).retry_worth


@pytest.mark.parametrize(
    ("code", "subcode", "outcome"),
    [
        (10, 999, F),
        (190, 1, F),
        (551, 7, R),
        (613, 5, TH),
        (4, 1, TH),
        (10, 2018300, TR),
        (100, 2018321, TR),
        (4, 4, TH),
    ],
)
def test_unlisted_subcodes_fall_back_to_the_next_best_row(code, subcode, outcome):
    assert classify(wire_error(code, subcode)).outcome is outcome


@pytest.mark.parametrize(
    ("message", "outcome", "fate"),
    [
        ("(#100) one_time_notif_token is invalid", R, TokenFate.UNDISTINGUISHED),
        ("(#100) one_time_notif_token has expired", R, TokenFate.UNDISTINGUISHED),
        ("(#100) This one-time notification token has already been used", R, TokenFate.USED),
        ("(#100) One Time Notif request already used", R, TokenFate.USED),
        ("(#100) notification_messages_token is invalid", R, TokenFate.UNDISTINGUISHED),
        ("(#100) The token you gave is wrong", R, TokenFate.UNDISTINGUISHED),
        ("(#100) No matching user found", R, None),
        ("(#100) Invalid appsecret_proof provided in the API argument", F, None),
        ("API calls from the server require an appsecret_proof argument", F, None),
        ("(#100) Invalid tag.", C, None),
        ("(#100) Param message[text] must be a string", C, None),
        ("(#100) Invalid access token", C, None),
        ('(#100) Invalid keys found in param "message"', C, None),
        ("(#100) The url you supplied is invalid", C, None),
        ("", C, None),
    ],
)
def test_code_100_is_told_apart_by_its_message(message, outcome, fate):
    verdict = classify(wire_error(100, None, message))
    assert (verdict.outcome, verdict.token_fate) == (outcome, fate)


def test_a_listed_subcode_is_stronger_than_a_message_about_a_token():
    verdict = classify(wire_error(100, 2018001, "No matching user found for this token"))
    assert (verdict.outcome, verdict.token_fate) == (R, None)


def test_calibrated_rules_take_over_and_survive_json():
    learned = (
        TokenRule(100, 2018001, "spent", TokenFate.USED),
        TokenRule(10, 4711, "", TokenFate.EXPIRED),
        TokenRule(100, None, "invalid", TokenFate.INVALID),
    )
    rules = load_token_rules(json.loads(json.dumps(dump_token_rules(learned))))
    assert rules == learned
    fates = [
        classify(error, token_rules=rules).token_fate
        for error in (
            wire_error(100, 2018001, "Token SPENT"),
            wire_error(100, 2018001, "No matching user"),
            wire_error(10, 4711),
            wire_error(100, None, "x is invalid"),
            wire_error(100, None, "one_time_notif_token has expired"),
        )
    ]
    assert fates == [TokenFate.USED, None, TokenFate.EXPIRED, TokenFate.INVALID, None]


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"code": "x"},
        {"code": 1, "message": 5, "fate": "used"},
        {"code": 1, "message": "(", "fate": "used"},
        {"code": 1, "message": "a", "fate": "lost"},
        {"code": 1, "subcode": "b", "message": "a", "fate": "used"},
    ],
)
def test_broken_calibrations_are_named(stored):
    with pytest.raises(ValueError, match="Calibrate again"):
        load_token_rules([stored])


def test_default_token_rules_can_be_stored():
    assert load_token_rules(dump_token_rules(TOKEN_RULES)) == TOKEN_RULES


@pytest.mark.parametrize(
    ("code", "subcode", "outcome", "then"),
    [(551, None, TR, R), (100, 2018008, TR, C), (190, None, F, None), (1, 1357046, U, None), (2, None, TR, R)],
)
def test_stated_transience_softens_refusals_but_lifts_no_doubt_and_no_halt(code, subcode, outcome, then):
    verdict = classify(wire_error(code, subcode, is_transient=True))
    assert verdict.outcome is outcome
    assert verdict.rule.then is then


def test_a_dead_token_stays_dead_whatever_is_stated():
    verdict = classify(wire_error(100, None, "one_time_notif_token is invalid", is_transient=True))
    assert verdict.outcome is R


@pytest.mark.parametrize(
    ("code", "status", "transient", "outcome"),
    [
        (4711, 400, False, R),
        (4711, 400, True, TR),
        (4711, 200, False, U),
        (4711, 200, True, U),
        (4711, None, False, U),
        (4711, 302, False, U),
        (4711, 429, False, TH),
        (4711, 403, False, R),
        (None, 403, False, F),
        (None, 401, False, F),
        (None, 400, False, R),
        (None, 200, False, U),
        (1, 400, True, U),
    ],
)
def test_what_no_table_knows_is_judged_by_what_the_status_proves(code, status, transient, outcome):
    assert classify(wire_error(code, status=status, is_transient=transient)).outcome is outcome


def test_the_documented_envelope_is_read_to_the_last_key():
    error = PlatformError.from_body(
        b'{"error":{"message":"(#10) This message is sent outside of allowed window. Learn more",'
        b'"type":"OAuthException","code":10,"error_subcode":2018278,"is_transient":false,"error_data":{"a":1},'
        b'"error_user_title":"t","error_user_msg":"m","fbtrace_id":"BLBz/WZt8dN"}}',
        http_status=400,
    )
    assert (error.code, error.subcode, error.type, error.is_transient) == (10, 2018278, "OAuthException", False)
    assert (error.fbtrace_id, error.user_message, error.data, error.http_status) == ("BLBz/WZt8dN", "m", {"a": 1}, 400)
    assert error.message.startswith("(#10) This message is sent outside")
    assert error.key == "10/2018278"


@pytest.mark.parametrize("data", ['{"a": 1}', {"a": 1}])
def test_error_data_is_an_object_or_the_text_of_one(data):
    assert wire_error(1, error_data=data).data == {"a": 1}


@pytest.mark.parametrize("data", ["{", "[1]", 5, None, "x" * 100])
def test_other_error_data_is_dropped(data):
    assert wire_error(1, error_data=data).data == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"code":"551"}}', 551),
        (b'{"error":{"code":551.0}}', 551),
        (b'{"error":{"code":true}}', None),
        (b'{"error":{"code":{}}}', None),
        (b'{"error":{"code":1e999}}', None),
        (b'{"error":{"code":' + b"9" * 5000 + b"}}", None),
        (b'{"error":{"code":"--1"}}', None),
        (b'{"error":{"code":"\\u0663"}}', None),
        (b'{"error":{}}', None),
        (b'{"error":[]}', None),
        (b'{"error":"unsupported_grant_type"}', None),
        (b'{"error":true}', None),
    ],
)
def test_odd_errors_are_still_errors(body, code):
    error = PlatformError.from_body(body, http_status=400)
    assert error.code == code
    assert classify(error).outcome is (R if code is None else classify(wire_error(code)).outcome)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff", b"[" * 100_000, b"null", b"[]", b"{}", b'{"error":null}', None, 5, object()]
)
def test_what_is_no_error_is_none(body):
    assert PlatformError.from_body(body) is None


def test_texts_are_bounded_and_storable():
    error = wire_error(100, None, "a\0b\ud800" + "c" * 5000, fbtrace_id="\udfff")
    assert error.message.startswith("a\ufffdb\ufffdc")
    assert len(error.message) == 1000
    assert error.fbtrace_id == "\ufffd"


def test_quoted_secrets_are_taken_out():
    error = wire_error(100, None, "Token abc-secret of 123 is invalid", error_user_msg="abc", error_data={"t": "abc"})
    kept = error.without(["abc", "abc-secret", "", "123"])
    assert kept.message == "Token [...] of [...] is invalid"
    assert "abc" not in repr(kept)
    assert kept.data == {}


# --- people who cannot be reached, and windows that are closed

UNREACHABLE = {
    (551, None),
    (551, 1545041),
    (551, 1893047),
    (1893047, None),
    (200, 1545041),
    (10, 2018108),
    (10, 2018336),
    (100, 2018001),
}
CLOSED = {(10, 2018278), (10, 2018065), (10, 2534022)}


def test_only_these_say_that_a_person_is_away_or_the_window_closed():
    verdicts = {key: classify(wire_error(*key)) for key in DOCUMENTED}
    assert {key for key, verdict in verdicts.items() if verdict.unreachable} == UNREACHABLE
    assert {key for key, verdict in verdicts.items() if verdict.window_closed} == CLOSED


def test_away_and_closed_are_refusals_only():
    assert classify(wire_error(551, 4711)).unreachable
    assert classify(wire_error(100, None, "(#100) No matching user found")).unreachable
    assert not classify(wire_error(551, is_transient=True)).unreachable
    assert not classify(wire_error(551, status=500)).unreachable
    assert not classify(wire_error(10, 2018278, is_transient=True)).window_closed
    assert not classify(wire_error(100, None, "one_time_notif_token is invalid")).unreachable
