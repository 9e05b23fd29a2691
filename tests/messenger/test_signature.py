from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from otn.messenger.signature import appsecret_proof, sign, verify

VECTOR = "sha256=88aab3ede8d3adf94d26ab90d3bafd4a2083070c3bcce9c014ee04a443847c0b"


def test_published_vector():
    assert sign(b"hello", "secret") == VECTOR
    assert verify(b"hello", VECTOR, ["secret"])


def test_any_of_several_secrets_fits_and_all_are_tried(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append(left)
        return left == right

    monkeypatch.setattr("otn.messenger.signature.hmac.compare_digest", compare)
    assert verify(b"hello", VECTOR, ["secret", "b", "c"])
    assert len(compared) == 3


def test_escaped_body_is_signed_as_it_travels():
    raw = b'{"text":"\\u00e4\\u00f6\\u00e5 \\/ \\ud83d\\ude00"}'
    assert verify(raw, sign(raw, "s"), ["s"])
    assert not verify(json.dumps(json.loads(raw)).encode(), sign(raw, "s"), ["s"])


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        VECTOR[:-1],
        VECTOR + "0",
        VECTOR.removeprefix("sha256="),
        VECTOR.upper(),
        "sha1=" + "0" * 40,
        "sha256=" + "ä" * 64,
        "\udcff" * 9,
        "x" * 1000000,
        "sha256=\0",
    ],
)
def test_anything_else_is_turned_down(header):
    assert not verify(b"hello", header, ["secret", "other"])


def test_no_secret_and_the_empty_secret_fit_nothing():
    assert not verify(b"hello", VECTOR, [])
    assert not verify(b"hello", sign(b"hello", ""), [""])


def test_proof_is_the_hmac_of_the_token():
    assert appsecret_proof("token", "secret") == hmac.new(b"secret", b"token", hashlib.sha256).hexdigest()
