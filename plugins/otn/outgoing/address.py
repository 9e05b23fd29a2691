"""Which addresses results may go to: the open internet by https, and nothing that only we can reach."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from otn.errors import ConfigurationError, OtnError

PRIVATE_VARIABLE = "OTN_OUTGOING_PRIVATE"
LONGEST = 2000  # characters
_YES, _NO = frozenset({"1", "on", "true", "yes"}), frozenset({"", "0", "off", "false", "no"})
# Look like anybody's and are not. The first answers the machines of one cloud alone (Microsoft docs, "What is IP
# address 168.63.129.16?"), the others are set aside for protocols (RFC 6890) and for translators inside a house
# (RFC 8215).
_SET_ASIDE = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "64:ff9b:1::/48")))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class EndpointUrlError(ConfigurationError):
    """The address cannot be used. Give an https address without user, password and fragment."""


class ForbiddenAddressError(OtnError):
    """The name leads to an address that is not public. Set OTN_OUTGOING_PRIVATE=true where that is wanted."""


class UnknownNameError(OtnError):
    """The name leads nowhere. Correct it, or repair the name service."""


@dataclass(frozen=True)
class Target:
    """Where a request goes.

    Args:
        scheme: ``https`` or ``http``.
        host: as it is written; the certificate must be made out to it.
        port: TCP port.
        path: with the query.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What stands in the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS = {"https": 443, "http": 80}


def may_be_private(environ: Mapping[str, str] | None = None) -> bool:
    """Whether results may go to addresses of a house, and by plain http: ``OTN_OUTGOING_PRIVATE``, off by default.

    Raises:
        ConfigurationError: it is set to neither yes nor no.
    """
    text = (os.environ if environ is None else environ).get(PRIVATE_VARIABLE, "").strip().lower()
    if text not in _YES | _NO:
        raise ConfigurationError(f"{PRIVATE_VARIABLE} is {text!r}. Give true or false.")
    return text in _YES


def read_target(url: str, *, private: bool) -> Target:
    """Take an address apart.

    Args:
        url: as somebody typed it. It is not repeated in errors: its path may be a secret.
        private: see ``may_be_private``.

    Raises:
        EndpointUrlError: it is no address that may be used.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise EndpointUrlError from None
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST or not host:
        raise EndpointUrlError("The address is no URL of plain characters. Give one such as https://example.org/otn.")
    if parts.scheme not in ({"https", "http"} if private else {"https"}):
        raise EndpointUrlError(
            f"The address does not begin with https://. Give one that does, or set {PRIVATE_VARIABLE}=true for a try."
        )
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise EndpointUrlError
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path)


def resolve(target: Target, *, private: bool) -> str:
    """The one address to connect to, looked up once: what is judged here is what is connected to.

    Args:
        target: where a request goes.
        private: see ``may_be_private``.

    Raises:
        UnknownNameError: the name leads nowhere.
        ForbiddenAddressError: one of its addresses is not public.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnknownNameError from None
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(is_public(ipaddress.ip_address(one.partition("%")[0])) for one in addresses):
        raise ForbiddenAddressError
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether anybody can reach it, also when it is another address in a wrapping."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(one is not None and not is_public(one) for one in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not any(address in net for net in _SET_ASIDE)
