"""The platform's errors as data.

Sources: Meta docs, Messenger Platform error codes; Graph API rate limiting; what public senders report. The most
specific row wins: code, subcode and message; code and subcode; a subcode that Meta lists as a code of its own; code and
message; code. The outcomes hold for answers below HTTP 500: a 5xx leaves a doubt whatever its body says.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from otn.messenger.outcomes import ErrorRule, Outcome, TokenFate, TokenRule

_REFUSED, _CONTENT, _UNKNOWN = Outcome.REFUSED, Outcome.CONTENT, Outcome.UNKNOWN
_HALTED, _THROTTLED, _TRANSIENT = Outcome.PAGE_HALTED, Outcome.THROTTLED, Outcome.TRANSIENT


def _rows(
    code: int, subcodes: Iterable[int | None], outcome: Outcome, meaning: str, *, retry_worth: bool = False
) -> tuple[ErrorRule, ...]:
    return tuple(ErrorRule(code, subcode, outcome, meaning, retry_worth=retry_worth) for subcode in subcodes)


def _codes(codes: Iterable[int], outcome: Outcome, meaning: str) -> tuple[ErrorRule, ...]:
    return tuple(ErrorRule(code, None, outcome, meaning) for code in codes)


# A call made while throttled lengthens the block, so the waits are long where the window is an hour or a day.
_THROTTLES = (
    ErrorRule(4, None, _THROTTLED, "The app has reached its request limit.", wait_s=300),
    ErrorRule(4, 2018022, _THROTTLED, "Too many sends to phone numbers.", wait_s=300),
    ErrorRule(17, None, _THROTTLED, "The user of the token has reached the request limit.", wait_s=300),
    ErrorRule(17, 2446079, _THROTTLED, "The user of the token has reached the request limit (old form).", wait_s=300),
    ErrorRule(32, None, _THROTTLED, "The page has reached its request limit.", wait_s=300),
    ErrorRule(341, None, _THROTTLED, "The app has reached its request limit.", wait_s=300),
    ErrorRule(613, None, _THROTTLED, "The Send API is called too fast for this page or thread.", wait_s=60),
    ErrorRule(613, 1996, _THROTTLED, "The volume of requests is irregular: slow down.", wait_s=300),
    ErrorRule(613, 2534040, _THROTTLED, "Rate limit (Instagram).", wait_s=60),
    ErrorRule(80001, None, _THROTTLED, "Too many calls to this page account.", wait_s=300),
    ErrorRule(80006, None, _THROTTLED, "The page has reached its Messenger limit.", wait_s=300),
)

# Code 2 below HTTP 500 is Meta's "temporary send failure", a stated failure; as HTTP 500 it says nothing about before
# or after and is unknown. A bare code 1 states no failure to send at any status, and its subcode 1357046 is known to
# come after the messages went out; -1 was seen in the field but is no code of Meta's: neither proves anything.
_FAULTS = (
    ErrorRule(1, None, _UNKNOWN, "An unknown error; not said whether before or after sending."),
    ErrorRule(1, 99, _TRANSIENT, "An unknown error, often a missing permission.", wait_s=60, tries=3, then=_HALTED),
    ErrorRule(1, 1357046, _UNKNOWN, "The messages of the batch were sent, yet the endpoint reports an error."),
    ErrorRule(
        2,
        None,
        _TRANSIENT,
        "Temporary send failure; kept up, it may mean that the person blocked the page.",
        retry_worth=True,
        wait_s=30,
        tries=5,
        then=_REFUSED,
    ),
    ErrorRule(1200, None, _TRANSIENT, "Temporary send failure.", wait_s=30, tries=5, then=_REFUSED, retry_worth=True),
    ErrorRule(
        2018300,
        None,
        _TRANSIENT,
        "Another app controls the conversation now.",
        retry_worth=True,
        wait_s=300,
        tries=5,
        then=_REFUSED,
    ),
    ErrorRule(
        2018321,
        None,
        _TRANSIENT,
        "An automated question flow controls the conversation now.",
        retry_worth=True,
        wait_s=300,
        tries=5,
        then=_REFUSED,
    ),
    ErrorRule(-1, None, _UNKNOWN, "No code of the platform; it proves nothing."),
)

_AWAY = partial(ErrorRule, outcome=_REFUSED, unreachable=True)
_CLOSED = partial(ErrorRule, outcome=_REFUSED, window_closed=True)

# Blocked, muted, gone: the platform has no webhook for any of them, so a refusal to send is the only word of it.
# 100/2018001 is also what another page's person is answered, and a token of another page never comes that far: sends
# name the page in their path.
_UNREACHABLE = (
    _AWAY(10, 2018108, meaning="This person cannot receive messages right now.", retry_worth=True),
    _AWAY(10, 2018336, meaning="The conversation is restricted (Europe, Japan)."),
    _AWAY(100, 2018001, meaning="No such person on this page."),
    _AWAY(100, None, meaning="No such person on this page.", message="no matching user|invalid fbid"),
    _AWAY(200, 1545041, meaning="This person is not available right now.", retry_worth=True),
    _AWAY(551, None, meaning="This person is not receiving messages right now.", retry_worth=True),
    _AWAY(551, 1545041, meaning="This person is not available right now.", retry_worth=True),
    _AWAY(551, 1893047, meaning="The recipient is not available.", retry_worth=True),
    _AWAY(1893047, None, meaning="The recipient is not available.", retry_worth=True),
)

# For a person named by id this is the rule of 24 hours; for a one-time token it means that the token did not count.
_WINDOW = (
    _CLOSED(10, 2018065, meaning="Outside the allowed window."),
    _CLOSED(10, 2018278, meaning="Outside the allowed window of 24 hours, and not by one-time token."),
    _CLOSED(10, 2534022, meaning="Outside the allowed window."),
)

_PERSON = (
    ErrorRule(4, 2018354, _REFUSED, "Too soon after the last notification of this topic.", retry_worth=True),
    ErrorRule(9, 2018352, _REFUSED, "This person was asked too often."),
    ErrorRule(10, 1893015, _REFUSED, "This person stopped the notifications of this topic."),
    ErrorRule(613, 1893016, _REFUSED, "This person was already asked for this topic."),
    ErrorRule(613, 2018338, _REFUSED, "A policy warning: messages bother this person; send less.", alarm=True),
    ErrorRule(2018218, None, _REFUSED, "There is no profile for this person."),
    ErrorRule(2018247, None, _REFUSED, "No permission for this person's profile."),
    ErrorRule(2018310, None, _REFUSED, "An explicit refusal whose meaning is in no public source."),
    ErrorRule(9000001, None, _REFUSED, "The message was deleted."),
)

_PAGE = (
    ErrorRule(10, None, _HALTED, "The app has no permission for this action."),
    ErrorRule(10, 1404170, _HALTED, "The page is barred for a time from asking for opt-ins."),
    ErrorRule(10, 1893063, _HALTED, "The page is restricted from sending, by policy."),
    ErrorRule(100, 33, _HALTED, "The page does not exist for this access token."),
    ErrorRule(100, None, _HALTED, "The app secret does not fit the access token.", message="appsecret_proof"),
    ErrorRule(190, None, _HALTED, "The page access token is not valid."),
    ErrorRule(190, 458, _HALTED, "The page access token is dead: the app was removed."),
    ErrorRule(190, 459, _HALTED, "The page access token is dead: its user must pass a checkpoint."),
    ErrorRule(190, 460, _HALTED, "The page access token is dead: the password of its user changed."),
    ErrorRule(190, 463, _HALTED, "The page access token has expired."),
    ErrorRule(190, 464, _HALTED, "The page access token is dead: its user is not confirmed."),
    ErrorRule(190, 467, _HALTED, "The page access token was made invalid."),
    ErrorRule(190, 492, _HALTED, "The page access token is dead: its user lost the role on the page."),
    ErrorRule(200, None, _HALTED, "The app may not message people: not reviewed, not live, or the permission is gone."),
    *_rows(200, (2018021, 2018027, 2018028), _HALTED, "The app may message testers only: it is not reviewed and live."),
    ErrorRule(200, 2534041, _HALTED, "The owner of the account disabled access (Instagram)."),
    *_codes(range(201, 300), _HALTED, "A permission of the page or the app is missing."),
    ErrorRule(368, None, _HALTED, "The page or the app is blocked for a time, for violating policies."),
    ErrorRule(368, 1390008, _HALTED, "The page or the app is blocked for a time, for violating policies."),
    # A throttle by name in the field, but it follows a violation: waiting alone does not lift it.
    ErrorRule(2022, None, _HALTED, "Messaging is disabled for a time, after a violation."),
)

_MESSAGE = (
    ErrorRule(100, None, _CONTENT, "A parameter of the message is wrong."),
    # Fetching may succeed next time; but a bad address in a broadcast must count as content, or nothing would stop it.
    ErrorRule(100, 2018008, _CONTENT, "The platform could not fetch the address in the message.", retry_worth=True),
    ErrorRule(100, 2018014, _CONTENT, "The request carries both a message and a sender action."),
    ErrorRule(100, 2018034, _CONTENT, "The message is empty."),
    ErrorRule(100, 2018047, _CONTENT, "The attachment is not of the type it is said to be."),
    ErrorRule(100, 2018074, _CONTENT, "The attachment id is invalid or belongs to another page."),
    ErrorRule(100, 2018109, _CONTENT, "The attachment is too large."),
    ErrorRule(100, 2018164, _CONTENT, "The app id is wrong."),
    ErrorRule(100, 2018276, _CONTENT, "The tag needs an approval which the app does not have."),
    ErrorRule(100, 2018294, _CONTENT, "The video took longer to fetch than the platform waits."),
    ErrorRule(100, 2018320, _CONTENT, "The product id is wrong."),
    ErrorRule(100, 2018328, _CONTENT, "The product template needs a newer API version."),
    *_rows(100, range(2534013, 2534038), _CONTENT, "The request is wrong (Instagram)."),
)

# These belong to features that no request of ours uses; met on a send, the request was built wrong.
_FOREIGN = (
    ErrorRule(2, 2018344, _CONTENT, "Custom labels: their terms were not accepted."),
    ErrorRule(506, None, _CONTENT, "Duplicate post."),
    ErrorRule(10303, None, _CONTENT, "Account linking."),
    ErrorRule(2018144, None, _CONTENT, "Instant games: too many messages to this person."),
    *_codes(range(2018154, 2018167), _CONTENT, "Account linking, extensions."),
    *_codes(range(2071010, 2071026), _CONTENT, "Account linking, extensions."),
    *_codes(range(2300000, 2300081), _CONTENT, "Paid marketing messages."),
)

ERROR_TABLE: tuple[ErrorRule, ...] = (
    *_THROTTLES,
    *_FAULTS,
    *_UNREACHABLE,
    *_WINDOW,
    *_PERSON,
    *_PAGE,
    *_MESSAGE,
    *_FOREIGN,
)

# A message that speaks of the one-time token, and not of the page's access token.
_ABOUT_TOKEN = (
    r"(?:one[\s_-]*time[\s_-]*notif|notification_messages_token|(?<!access )(?<!access_)\btokens?\b|has expired)"  # noqa: S105
)
_SPENT = r"(?:already|has been|was)\s+(?:been\s+)?(?:used|spent|redeemed|consumed)"

# What the platform says for a used, an expired, a foreign or a mistyped one-time token is documented nowhere; for the
# successor's tokens it is code 100 with "... is invalid" and "... has expired". Meta's own wording for a spent token
# ("no longer valid after sending") fits both, so only an explicit "used" is taken at its word until a calibration has
# seen the real answers: taking "expired" for unused would record a visible message as refused.
TOKEN_RULES: tuple[TokenRule, ...] = (
    TokenRule(100, None, rf"{_ABOUT_TOKEN}.*{_SPENT}|{_SPENT}.*{_ABOUT_TOKEN}", TokenFate.USED),
    TokenRule(100, None, _ABOUT_TOKEN, TokenFate.UNDISTINGUISHED),
)
