"""The Send API: who may be sent what, and the one place where a token is spent."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from typing import Any

from sandbox import events
from sandbox.content import check_message
from sandbox.crowd import Crowd
from sandbox.faults import Fault, Faults, strike
from sandbox.limits import Meters
from sandbox.model import Page, Person
from sandbox.outbox import Outbox
from sandbox.refusal import (
    Answer,
    GraphRefusal,
    bad_access_token,
    bad_parameter,
    halted,
    unknown_object,
    unreachable,
)
from sandbox.request import Request
from sandbox.tokens import TokenAnswers
from sandbox.wire import now_ms
from sandbox.world import World

MESSAGING_TYPES = {"RESPONSE", "UPDATE", "MESSAGE_TAG", "UTILITY"}
NOTIFICATION_TYPES = {"REGULAR", "SILENT_PUSH", "NO_PUSH"}
SENDER_ACTIONS = {"typing_on", "typing_off", "mark_seen", "react", "unreact"}
RECIPIENT_KINDS = ("id", "one_time_notif_token", "notification_messages_token", "user_ref", "comment_id", "post_id")
# Faults that stay with the page or the person, and what halts the page then.
AILMENTS = {"page_dead": "190", "page_halted": "368", "page_restricted": "10/1893063", "throttle": "613", "blocked": ""}
NOT_GRANTED = "(#10) Application does not have permission for this action"
NO_WINDOW = (
    "(#10) This message is sent outside of allowed window. "
    "Learn more about the new policy here: https://developers.facebook.com/docs/messenger-platform/policy-overview"
)


@dataclasses.dataclass(slots=True)
class Draft:
    """What a call of the Send API asks for.

    Args:
        problem: why it cannot be read, if so.
    """

    recipient: dict[str, Any] = dataclasses.field(default_factory=dict)
    message: dict[str, Any] | None = None
    action: str | None = None
    problem: GraphRefusal | None = None

    @classmethod
    def read(cls, request: Request) -> Draft:
        """Return the draft of a call; what is wrong with it is kept, to be told after graver things."""
        draft = cls()
        try:
            draft.recipient = request.structure("recipient")
            draft.action = request.params.get("sender_action")
            if draft.action is None or "message" in request.params:
                draft.message = request.structure("message")
            _check_params(request, draft)
        except GraphRefusal as refusal:
            draft.problem = refusal
        return draft

    def named(self, key: str) -> str | None:
        """Return the recipient's `key` as text; a token counts only where no id was given."""
        if key == "one_time_notif_token" and "id" in self.recipient:
            return None
        value = self.recipient.get(key)
        return str(value) if isinstance(value, str | int) else None

    def metadata(self) -> str | None:
        """Return the metadata of the message."""
        value = (self.message or {}).get("metadata")
        return value if isinstance(value, str) else None


def _check_params(request: Request, draft: Draft) -> None:
    params = request.params
    if draft.action is not None:
        if "message" in params:
            raise bad_parameter("Message and state cannot be sent together", 2018014)
        if str(draft.action).lower() not in SENDER_ACTIONS:
            raise bad_parameter("Param sender_action must be one of {" + ", ".join(sorted(SENDER_ACTIONS)) + "}")
    for key, known in (("messaging_type", MESSAGING_TYPES), ("notification_type", NOTIFICATION_TYPES)):
        if params.get(key) is not None and str(params[key]) not in known:
            raise bad_parameter(f"Param {key} must be one of {{{', '.join(sorted(known))}}} - got {params[key]!r}.")
    if params.get("tag") is not None:
        if params["tag"] == "HUMAN_AGENT":
            raise bad_parameter("Cannot use HUMAN_AGENT tag without approval", 2018276)
        raise bad_parameter("Invalid tag.")
    if params.get("messaging_type") == "MESSAGE_TAG":
        raise bad_parameter("Param tag must be set when messaging_type is MESSAGE_TAG")


class SendApi:
    """``POST /me/messages``.

    Args:
        world: what the platform knows.
        faults: what goes wrong.
        crowd: the people, who may tap what they are sent.
        outbox: where webhook events are put.
    """

    def __init__(self, world: World, faults: Faults, crowd: Crowd, outbox: Outbox) -> None:
        self.world = world
        self.faults = faults
        self.crowd = crowd
        self.outbox = outbox
        self.meters = Meters()
        self.token_answers = TokenAnswers()

    def page(self, request: Request) -> Page:
        """Return the page that calls.

        Raises:
            GraphRefusal: Its access token or proof is no good, or it calls on behalf of another page.
        """
        access_token = request.access_token()
        page = self.world.page_of_token.get(access_token or "")
        if page is None or access_token is None:
            raise bad_access_token()
        if page.dead is not None:
            raise bad_access_token(page.dead or None)
        proof = request.params.get("appsecret_proof")
        if proof is not None:
            right = hmac.new(page.app_secret.encode(), access_token.encode(), hashlib.sha256).hexdigest()
            if not hmac.compare_digest(str(proof).encode(), right.encode()):
                raise GraphRefusal(
                    100, "Invalid appsecret_proof provided in the API argument", kind="GraphMethodException"
                )
        elif page.require_appsecret_proof:
            text = "API calls from the server require an appsecret_proof argument"
            raise GraphRefusal(100, text, kind="GraphMethodException")
        return page

    def send(self, request: Request) -> Answer:
        """Answer one call, and keep what truly came of it."""
        at = now_ms()
        draft = Draft.read(request)
        token = draft.named("one_time_notif_token")
        psid = draft.named("id")
        known = self.world.tokens.get(token) if token is not None else None
        psid = known.psid if known is not None else psid
        caller = self.world.page_of_token.get(request.access_token() or "")
        fault = self.faults.draw(caller.page_id if caller else None, psid, token)
        mid = kind = None
        if fault is not None and caller is not None:
            self.ail(fault, caller, psid)
        try:
            page = self.page(request)
            self._gate(page, request)
            if fault is not None and not fault.after and fault.kind not in AILMENTS:
                answer = strike(fault, Answer(200, ""), sent=False)
            else:
                person, kind = self._receive(page, draft, token, at)
                psid = person.psid
                answer, mid = self._accept(page, draft, person)
        except GraphRefusal as refusal:
            answer = refusal.answer()
        if fault is not None and fault.after:
            answer = strike(fault, answer, sent=mid is not None)
        self.world.write(
            "call",
            at,
            caller.page_id if caller else None,
            token,
            psid,
            draft.metadata(),
            mid is not None,
            None if answer.lost else answer.status,
            answer.code,
            answer.subcode,
            mid,
            fault.kind if fault else None,
            kind if mid else None,
            draft.message,
        )
        if mid is not None and caller is not None and draft.message is not None and psid is not None:
            self._tell(caller, psid, at, mid, draft.message)
            if kind == "one_time_notif_req" and self.world.random.random() < caller.tap_rate:
                self.crowd.tap(caller.page_id, psid)
        return answer

    def ail(self, fault: Fault, page: Page, psid: str | None) -> None:
        """Let the page itself go wrong, or the person go away, from this call on."""
        if fault.kind == "page_dead":
            self.world.change_page(page, dead=fault.subcode or 0)
        elif fault.kind in {"page_halted", "page_restricted"}:
            self.world.change_page(page, halted=AILMENTS[fault.kind])
        elif fault.kind == "blocked" and psid in self.world.people:
            self.world.write("blocked", [[psid, fault.family]])
        elif fault.kind == "throttle":
            self.meters[page.page_id].strike(fault.seconds, fault.code or page.throttle_code, fault.minutes)

    def _gate(self, page: Page, request: Request) -> None:
        if request.node not in {"me", page.page_id}:
            raise unknown_object(request.node, "POST")
        self.meters[page.page_id].call(page, self.world.quota(page))
        if page.halted is not None:
            raise halted(page.halted)

    def _receive(self, page: Page, draft: Draft, token: str | None, at: int) -> tuple[Person, str]:
        """Return whom the draft reaches and the kind of its message."""
        if draft.problem is not None:
            raise draft.problem
        kind = "sender_action"
        if draft.message is not None:
            kind = check_message(draft.message, lambda name: self.world.attachments.get(name, ("",))[0] == page.page_id)
        if token is not None:
            if draft.message is None or kind == "one_time_notif_req":
                raise bad_parameter("one_time_notif_token can only be used to send one message")
            if not page.otn_enabled:
                raise GraphRefusal(10, NOT_GRANTED, status=403)
            person = self.world.people[self.token_answers.check(self.world.tokens.get(token), page, at).psid]
        else:
            person = self._in_window(page, draft, kind, at)
        if person.blocked is not None:
            raise unreachable(person.blocked)
        return person, kind

    def _in_window(self, page: Page, draft: Draft, kind: str, at: int) -> Person:
        psid = draft.named("id")
        if psid is None:
            if "notification_messages_token" in draft.recipient:
                raise bad_parameter("notification_messages_token is invalid")
            raise bad_parameter("No matching user found", 2018001)
        person = self.world.people.get(psid)
        if person is None or person.page_id != page.page_id:
            raise bad_parameter("No matching user found", 2018001)
        if kind == "one_time_notif_req" and not page.otn_enabled:
            raise GraphRefusal(10, NOT_GRANTED, status=403)
        if at >= person.window_until:
            raise GraphRefusal(10, NO_WINDOW, subcode=2018278)
        return person

    def _accept(self, page: Page, draft: Draft, person: Person) -> tuple[Answer, str | None]:
        meter = self.meters[page.page_id]
        headers = meter.headers(page, self.world.quota(page))
        if draft.message is None:
            return Answer(200, f'{{"recipient_id":"{person.psid}"}}', headers), None
        meter.accept()
        mid = self.world.new_mid()
        return Answer(200, f'{{"recipient_id":"{person.psid}","message_id":"{mid}"}}', headers), mid

    def _tell(self, page: Page, psid: str, at: int, mid: str, message: dict[str, Any]) -> None:
        """Put the echo, the delivery and the read of a message into the outbox."""
        if page.webhook_url is None:
            return
        delivery = self.outbox.delivery
        draw = self.world.random.random
        told = []
        if draw() >= delivery.missing_echo:
            told.append(events.echo(page, psid, at, mid, message))
        if draw() >= delivery.missing_delivery:
            told.append(events.delivery(page.page_id, psid, at, None if draw() < delivery.missing_mids else mid))
        if draw() < delivery.read_rate:
            told.append(events.read(page.page_id, psid, at))
        self.outbox.put(page, told, delay_ms=delivery.delay_ms)
