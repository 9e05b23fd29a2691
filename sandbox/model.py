"""What the sandbox knows: pages, people, tokens, calls, messages."""

from __future__ import annotations

import dataclasses
from typing import Any

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
WINDOW_MS = DAY_MS

FIELDS = (
    "messages",
    "message_deliveries",
    "message_echoes",
    "message_reactions",
    "message_reads",
    "messaging_optins",
    "messaging_policy_enforcement",
    "messaging_postbacks",
    "messaging_referrals",
    "standby",
)


@dataclasses.dataclass(slots=True)
class Page:
    """A page and the app that serves it.

    Args:
        page_id: numeric string.
        access_token: the page access token.
        app_secret: key of webhook signatures and ``appsecret_proof``.
        otn_enabled: whether the page was granted one-time notifications.
        dead: subcode of 190 (0: none) once the token is no longer valid, else None.
        halted: ``368`` or ``10/1893063`` while the page may not send, else None.
        notify_me_opens_window: whether a tap on Notify Me opens the 24 h window (undocumented; off).
        tap_rate: share of the people asked who tap Notify Me by themselves.
        features: what ``messaging_feature_review`` lists, name to status.
        per_second: calls allowed in any one second (None: no limit), answered ``throttle_code``.
        brake_per_second: calls in any one second above which the page cannot send at all.
        daily_quota: calls allowed in 24 h; ``engaged`` is 200 per person.
        usage_headers: send the usage headers although no limit is near.
    """

    page_id: str
    name: str = "A page"
    access_token: str = ""
    app_id: str = ""
    app_name: str = "One-Time Notifications"
    app_secret: str = ""
    verify_token: str = ""
    webhook_url: str | None = None
    subscribed_fields: list[str] = dataclasses.field(default_factory=lambda: list(FIELDS))
    otn_enabled: bool = True
    require_appsecret_proof: bool = False
    dead: int | None = None
    halted: str | None = None
    notify_me_opens_window: bool = False
    tap_rate: float = 0.0
    features: dict[str, str] = dataclasses.field(default_factory=lambda: {"one_time_notification": "approved"})
    per_second: int | None = None
    brake_per_second: int | None = None
    daily_quota: int | str | None = None
    throttle_code: int = 613
    usage_headers: bool = False


@dataclasses.dataclass(slots=True)
class Person:
    """A person as one page sees them.

    Args:
        psid: page-scoped id, numeric string.
        page_id: the page it belongs to.
        profile: keys of the User Profile API; empty when the page has no access. With ``error_code`` (100) and
            ``error_subcode`` it is what the platform answers instead.
        blocked: the family of the refusal while the page cannot reach them, else None.
        window_until: end of the 24 h window, ms.
    """

    psid: str
    page_id: str
    profile: dict[str, Any]
    blocked: str | None = None
    window_until: int = 0


@dataclasses.dataclass(slots=True)
class Token:
    """The right to send one message.

    Args:
        token: the secret text.
        opted_in_at: when the person tapped, ms.
        expires_at: when it dies, ms.
        mid: the message it was spent on.
    """

    token: str
    page_id: str
    psid: str
    payload: str
    opted_in_at: int
    expires_at: int
    mid: str | None = None


@dataclasses.dataclass(slots=True)
class Call:
    """One call of the Send API, and what truly came of it.

    Args:
        at: when the platform took it up, ms.
        effect: whether a message was created.
        status: HTTP status answered; None when no answer was given.
        code: error code answered.
        subcode: its subcode.
        mid: the message created.
        fault: the kind of fault played, if any.
        kind: of the message.
        message: the message object as it was sent.
    """

    at: int
    page_id: str | None
    token: str | None
    psid: str | None
    metadata: str | None
    effect: bool
    status: int | None
    code: int | None
    subcode: int | None
    mid: str | None
    fault: str | None
    kind: str | None
    message: dict[str, Any] | None


@dataclasses.dataclass(slots=True)
class Card:
    """A request for a one-time notification which lies before a person."""

    mid: str
    title: str
    payload: str


@dataclasses.dataclass(slots=True)
class Tap:
    """A tap on Notify Me.

    Args:
        at: when, ms.
        mid: of the card that was tapped.
        title: of the card.
        payload: of the card.
        token: what the tap gave.
    """

    at: int
    page_id: str
    psid: str
    mid: str
    title: str
    payload: str
    token: str


@dataclasses.dataclass(slots=True)
class Event:
    """A webhook event on its way.

    Args:
        number: of an event that must survive a restart; 0 for those which may be lost.
        field: the subscription field it belongs to.
        at: when it happened, ms.
        body: the object inside ``messaging``, encoded as the platform encodes it.
    """

    number: int
    page_id: str
    field: str
    at: int
    body: str
