"""A webhook as the platform sends it, with the number of the event in it."""

from __future__ import annotations

import json

from otn.messenger.signature import sign

PAGE = "1001"


def body_of(event: str) -> bytes:
    """One opt-in; its payload is the event's number."""
    optin = {"type": "one_time_notif_req", "payload": event, "one_time_notif_token": f"token {event}" + "x" * 180}
    item = {
        "sender": {"id": "28777805391819468"},
        "recipient": {"id": PAGE},
        "timestamp": 1_458_692_752_478,
        "optin": optin,
    }
    return json.dumps({"object": "page", "entry": [{"id": PAGE, "time": 1, "messaging": [item]}]}).encode()


def event_of(body: bytes) -> str:
    """The number of the event in a body."""
    return str(json.loads(body)["entry"][0]["messaging"][0]["optin"]["payload"])


def request_bytes(event: str, secret: str, path: str = "/webhook") -> bytes:
    """A whole signed HTTP request."""
    body = body_of(event)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: {sign(body, secret)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
