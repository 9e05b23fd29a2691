from __future__ import annotations

import base64
from itertools import combinations
from typing import Any

import pytest

from otn.crypto import DecryptionError, Keyring, new_key, read_keyring
from otn.errors import ConfigurationError


def keys(*encryption: str, hashing: str | None = None) -> Keyring:
    return read_keyring({"OTN_ENCRYPTION_KEYS": ",".join(encryption), "OTN_HASH_KEY": hashing or new_key()})


@pytest.mark.parametrize("text", [b"", b"x", b"\x00\xff" * 3, b"token" * 10_000])
def test_what_was_encrypted_comes_back(keyring: Keyring, text: bytes) -> None:
    sealed = keyring.encrypt(text, "token")
    assert keyring.decrypt(sealed, "token") == text
    assert keyring.decrypt(memoryview(sealed), "token") == text  # as the driver hands out bytea


def test_the_same_text_never_looks_the_same_and_never_shows(keyring: Keyring) -> None:
    text = b"a token that repeats"
    sealed = [keyring.encrypt(text, "token") for _ in range(50)]
    assert len(set(sealed)) == 50
    assert not any(text in one for one in sealed)


def test_a_text_of_one_purpose_does_not_pass_for_another(keyring: Keyring) -> None:
    with pytest.raises(DecryptionError, match="OTN_ENCRYPTION_KEYS"):
        keyring.decrypt(keyring.encrypt(b"body", "webhook"), "token")


def test_another_key_opens_nothing(keyring: Keyring) -> None:
    with pytest.raises(DecryptionError):
        keys(new_key()).decrypt(keyring.encrypt(b"token", "token"), "token")


def test_a_rotated_key_still_opens_and_no_longer_closes() -> None:
    old, new = new_key(), new_key()
    sealed = keys(old).encrypt(b"token", "token")
    rotated = keys(new, old)
    assert rotated.decrypt(sealed, "token") == b"token"
    fresh = rotated.encrypt(b"token", "token")
    assert keys(new).decrypt(fresh, "token") == b"token"
    with pytest.raises(DecryptionError):
        keys(old).decrypt(fresh, "token")


def test_each_bit_that_was_changed_is_noticed(keyring: Keyring) -> None:
    sealed = keyring.encrypt(b"token", "token")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(DecryptionError):
            keyring.decrypt(bytes(changed), "token")


def test_bytes_that_were_added_are_noticed(keyring: Keyring) -> None:
    with pytest.raises(DecryptionError):
        keyring.decrypt(keyring.encrypt(b"token", "token") + b"\x00", "token")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"token", b"\x02" + b"0" * 60, b"\x01" + b"0" * 60])
def test_what_nobody_encrypted_is_refused(keyring: Keyring, sealed: bytes) -> None:
    with pytest.raises(DecryptionError):
        keyring.decrypt(sealed, "token")


def test_hashes_are_keyed_repeatable_and_32_bytes(keyring: Keyring) -> None:
    digest = keyring.digest("token", "100", "abc")
    assert digest == keyring.digest("token", "100", "abc")
    assert len(digest) == 32
    assert digest != keys(new_key()).digest("token", "100", "abc")


def test_a_hash_outlives_the_rotation_of_the_encryption_keys() -> None:
    hashing, old = new_key(), new_key()
    assert keys(old, hashing=hashing).digest("a") == keys(new_key(), old, hashing=hashing).digest("a")


def test_parts_of_a_hash_do_not_run_into_each_other(keyring: Keyring) -> None:
    parts: list[tuple[str, ...]] = [
        ("ab", "c"), ("a", "bc"), ("abc",), ("", "abc"), ("abc", ""), ("a", "b", "c"), (), ("",), ("", ""),
        ("a\0b", "c"), ("ä",), ("a\u0308",), ("\ud800",), ("\ufffd",),
    ]  # fmt: skip
    for one, other in combinations(parts, 2):
        assert keyring.digest(*one) != keyring.digest(*other), (one, other)


def test_no_key_shows_in_the_keyring() -> None:
    secrets = [new_key(), new_key()]
    shown = repr(keys(secrets[0], hashing=secrets[1]))
    for secret in secrets:
        raw = base64.urlsafe_b64decode(secret)
        assert secret not in shown
        assert repr(raw)[2:-1] not in shown
        assert raw.hex() not in shown


def test_spaces_around_keys_do_not_matter() -> None:
    one, other = new_key(), new_key()
    spaced = read_keyring({"OTN_ENCRYPTION_KEYS": f" {one} , {other} ,", "OTN_HASH_KEY": f" {one}\n"})
    assert len(spaced.encryption_keys) == 2


def test_new_keys_are_new_and_fit() -> None:
    made = {new_key() for _ in range(20)}
    assert len(made) == 20
    assert all(len(base64.urlsafe_b64decode(key)) == 32 for key in made)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "OTN_ENCRYPTION_KEYS is not set"),
        ({"OTN_ENCRYPTION_KEYS": " , "}, "OTN_ENCRYPTION_KEYS is not set"),
        ({"OTN_ENCRYPTION_KEYS": "{key}"}, "OTN_HASH_KEY is not set"),
        (
            {"OTN_ENCRYPTION_KEYS": "{key},short", "OTN_HASH_KEY": "{key}"},
            "OTN_ENCRYPTION_KEYS holds a key that is not",
        ),
        ({"OTN_ENCRYPTION_KEYS": "{key}", "OTN_HASH_KEY": "ключ"}, "OTN_HASH_KEY holds a key that is not 32 bytes"),
        ({"OTN_ENCRYPTION_KEYS": "{key}", "OTN_HASH_KEY": "A" * 43}, "OTN_HASH_KEY holds a key that is not"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_named_and_never_shown(environ: dict[str, Any], sentence: str) -> None:
    key = new_key()
    given = {name: value.format(key=key) for name, value in environ.items()}
    with pytest.raises(ConfigurationError, match=sentence) as refusal:
        read_keyring(given)
    text = str(refusal.value)
    assert key not in text
    assert "short" not in text
    assert text.count(".") >= 2  # what is wrong, and what to do


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTN_ENCRYPTION_KEYS", new_key())
    monkeypatch.setenv("OTN_HASH_KEY", new_key())
    assert read_keyring().decrypt(read_keyring().encrypt(b"x", "token"), "token") == b"x"
