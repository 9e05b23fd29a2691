"""One signed request to an endpoint, of which only the status of the answer counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from otn.messenger.transport import POOLS, UnansweredError, bounded
from otn.outgoing.address import (
    EndpointUrlError,
    ForbiddenAddressError,
    UnknownNameError,
    read_target,
    resolve,
)

CONNECT_S = 5.0
READ_S = 10.0
TOTAL_S = CONNECT_S + READ_S
GONE = 410  # RFC 9110 15.5.11: likely to be permanent
_MOST_WAIT_S = 6 * 3600
_OURS: tuple[tuple[type[Exception], str], ...] = (
    (EndpointUrlError, "address_invalid"),
    (ForbiddenAddressError, "address_forbidden"),
    (UnknownNameError, "name_not_resolved"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Args:
        error: why it does not count as taken, in a word or a status; None: it was taken.
        gone: the endpoint says that it is gone for good.
        after_s: it wants no other request for so long.
    """

    error: str | None
    gone: bool = False
    after_s: float = 0.0


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> Outcome:
    """Send it once, straight to the address that was judged. Redirects are not followed, the answer is not read.

    Args:
        url: of the endpoint.
        body: JSON.
        headers: beside those that every request has.
        private: whether addresses of a house may be reached, see ``may_be_private``.
    """
    try:
        target = read_target(url, private=private)
        address = resolve(target, private=private)
        status, wait = _request(
            target.scheme,
            target.host,
            address,
            target.port,
            target.path,
            body,
            {
                "Host": target.authority,
                "Content-Type": "application/json",
                "User-Agent": "otn",
                "Accept-Encoding": "identity",
                "Connection": "close",
                **headers,
            },
        )
    except UnansweredError as error:
        return Outcome(error.reason)
    except tuple(kind for kind, _ in _OURS) as error:
        return Outcome(next(word for kind, word in _OURS if isinstance(error, kind)))
    if 200 <= status < 300:
        return Outcome(None)
    word = "redirected" if 300 <= status < 400 else "status"
    return Outcome(f"{word} {status}", status == GONE, wait)


def _request(
    scheme: str, host: str, address: str, port: int, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, float]:
    names: dict[str, Any] = {}
    if scheme == "https":
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
        names = {"server_hostname": host, "assert_hostname": host, "cert_reqs": "CERT_REQUIRED", "ca_certs": bundle}
    limits = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
    with (
        bounded(CONNECT_S, READ_S),
        POOLS[scheme](address, port, timeout=limits, retries=False, maxsize=1, **names) as pool,
    ):
        answer = pool.urlopen(
            "POST",
            path,
            body=body,
            headers=headers,
            redirect=False,
            retries=False,
            assert_same_host=False,
            preload_content=False,
        )
        try:
            return answer.status, _wait(answer.headers.get("Retry-After", ""))
        finally:
            answer.close()


def _wait(text: str) -> float:
    """Of the header ``Retry-After`` only seconds are heeded: a date would be one by a clock of theirs."""
    plain = text.strip()
    return float(min(int(plain), _MOST_WAIT_S)) if plain.isascii() and plain.isdecimal() and len(plain) < 10 else 0.0
