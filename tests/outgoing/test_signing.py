"""Signatures: what a receiver checks, and what it must not take."""

from __future__ import annotations

import pytest

from otn.outgoing.signing import SignatureError, new_secret, sign, verify

KEY, BODY, NOW = "otns_key", b'{"id":"1"}', 1_800_000_000
HEADER = sign(BODY, [KEY], NOW)


def test_what_we_sign_is_taken_while_it_is_of_now() -> None:
    for clock in (NOW - 300, NOW, NOW + 300):
        verify(BODY, HEADER, KEY, now=clock)
    verify(BODY, sign(BODY, ["otns_new", KEY], NOW), KEY, now=NOW)


@pytest.mark.parametrize("clock", [NOW - 301, NOW + 301])
def test_by_a_clock_that_is_wrong_nothing_is_taken(clock: int) -> None:
    with pytest.raises(SignatureError):
        verify(BODY, HEADER, KEY, now=clock)


@pytest.mark.parametrize(
    "header",
    [
        *("", "t=", "v1=", HEADER.replace("v1", "v0"), HEADER.replace(str(NOW), str(NOW + 1))),
        *(f"t={NOW}", f"{HEADER},t={NOW + 1}", f"t={NOW},v1=é", f"t={NOW},v1=", HEADER.replace("t=1", "t=²")),
    ],
)
def test_a_header_that_does_not_fit_is_refused(header: str) -> None:
    with pytest.raises(SignatureError):
        verify(BODY, header, KEY, now=NOW)


def test_another_body_or_key_does_not_fit() -> None:
    for body, key in ((BODY + b" ", KEY), (BODY, KEY + "x")):
        with pytest.raises(SignatureError):
            verify(body, HEADER, key, now=NOW)


def test_secrets_are_long_and_never_the_same() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) > 40 and one.startswith("otns_") for one in made)
