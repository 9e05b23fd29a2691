"""Signed requests, built apart from the code that reads them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otn.messenger.signature import MalformedRequestError, SignatureError, read_signed_request
from sandbox.deletion import deletion_payload
from sandbox.deletion import signed_request as from_the_sandbox

SECRET = "secret"
PAYLOAD = {"algorithm": "HMAC-SHA256", "user_id": "4711", "issued_at": 1_700_000_000}


def url64(raw: bytes, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(raw).decode()
    return text if padded else text.rstrip("=")


def signed(payload: object, secret: str = SECRET, *, padded: bool = False) -> str:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    encoded = url64(raw, padded=padded)
    return f"{url64(hmac.new(secret.encode(), encoded.encode(), hashlib.sha256).digest(), padded=padded)}.{encoded}"


def test_any_of_several_secrets_reads_the_payload():
    assert read_signed_request(signed(PAYLOAD), ["other", "secret", "third"]) == PAYLOAD


def test_padding_is_allowed_where_it_was_signed():
    assert read_signed_request(signed(PAYLOAD, padded=True), ["secret"]) == PAYLOAD


def test_the_stand_in_is_understood():
    text = from_the_sandbox(deletion_payload("28777805391819468"), "secret")
    assert read_signed_request(text, ["secret"])["user_id"] == "28777805391819468"


def test_every_secret_is_tried_whichever_fits(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append(left)
        return left == right

    monkeypatch.setattr("otn.messenger.signature.hmac.compare_digest", compare)
    assert read_signed_request(signed(PAYLOAD), ["secret", "b", "c"]) == PAYLOAD
    assert len(compared) == 3


@pytest.mark.parametrize(
    "text",
    [
        signed(PAYLOAD, "another"),
        signed(PAYLOAD, ""),
        signed(PAYLOAD)[1:],
        "A" + signed(PAYLOAD)[1:] if signed(PAYLOAD)[0] != "A" else "B" + signed(PAYLOAD)[1:],
        signed(PAYLOAD) + "AAAA",
        signed(PAYLOAD).split(".")[0][:20] + "." + signed(PAYLOAD).split(".")[1],
        signed(PAYLOAD).split(".")[0] + "." + signed({**PAYLOAD, "user_id": "4712"}).split(".")[1],
        # hexadecimal, and over the decoded payload: what a careless signer would do
        hmac.new(b"secret", url64(json.dumps(PAYLOAD).encode()).encode(), hashlib.sha256).hexdigest()
        + "."
        + url64(json.dumps(PAYLOAD).encode()),
        url64(hmac.new(b"secret", json.dumps(PAYLOAD).encode(), hashlib.sha256).digest())
        + "."
        + url64(json.dumps(PAYLOAD).encode()),
    ],
)
def test_what_no_secret_signed_is_refused(text):
    with pytest.raises((SignatureError, MalformedRequestError)):
        read_signed_request(text, ["secret", ""])


def test_a_wrong_signature_is_told_from_a_wrong_form():
    with pytest.raises(SignatureError):
        read_signed_request(signed(PAYLOAD, "another"), ["secret"])
    with pytest.raises(SignatureError):
        read_signed_request(signed(PAYLOAD), [])


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a", "a.b.c", "ä.ö", "a b.c", "a.b\n", "\udcff.x", "\0.\0", "a.b=c", "A.aaaa", "x" * 20_000],
)
def test_another_form_is_malformed(text):
    with pytest.raises(MalformedRequestError):
        read_signed_request(text, ["secret"])


@pytest.mark.parametrize(
    "payload",
    [
        b"no json",
        b"",
        b"\xff\xfe",
        b"[" * 8_000,
        [],
        "text",
        None,
        7,
        {},
        {**PAYLOAD, "algorithm": None},
        {**PAYLOAD, "algorithm": "none"},
        {**PAYLOAD, "algorithm": "HMAC-SHA1"},
        {**PAYLOAD, "algorithm": ["HMAC-SHA256"]},
    ],
)
def test_a_signed_payload_of_another_kind_is_malformed(payload):
    with pytest.raises(MalformedRequestError):
        read_signed_request(signed(payload), ["secret"])


@given(st.text(), st.lists(st.text(st.characters(codec="utf-8"))))
def test_no_text_raises_anything_else(text, secrets):
    with pytest.raises((SignatureError, MalformedRequestError)):
        read_signed_request(text, secrets)
