"""What goes wrong, by a seeded mix or on demand.

A fault drawn from the mix follows from the seed, the recipient and how often that recipient was called, whatever the
order in which calls arrive: the same run has the same faults.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import hashlib
from collections.abc import Iterable
from typing import Any

from sandbox.refusal import UNREACHABLE, Answer, GraphRefusal, unreachable

ERROR_TEXTS = {
    1: "(#1) Received Invalid JSON reply.",
    2: "An unexpected error has occurred. Please retry your request later.",
}
HTML = (
    "<!DOCTYPE html>\n<html><head><title>Error</title></head><body><h1>Sorry, something went wrong.</h1></body></html>"
)


@dataclasses.dataclass(slots=True)
class Fault:
    """One thing that goes wrong.

    Args:
        kind: key of `KINDS`.
        code: error code, for kinds that answer one; None takes the usual one.
        subcode: error subcode.
        status: HTTP status; None takes the usual one.
        message: error text.
        is_transient: as in the envelope; None leaves the key out.
        delay_ms: how long the answer is held back.
        minutes: for ``throttle``: what ``estimated_time_to_regain_access`` says.
        seconds: for ``throttle``: how long the page is refused.
        family: for ``unreachable``: one of the families of refusals; None picks one.
        count: of a fault on demand: how many calls it still strikes.
        page_id: of a fault on demand: only calls of this page.
        psid: likewise: only calls to this person, also by token.
        token: likewise: only calls on this token.
        skip: of a fault on demand: how many matching calls pass before it strikes.
        call: of a fault on demand: which call it strikes: ``messages``, ``profile``, or the name of another edge.
    """

    kind: str
    code: int | None = None
    subcode: int | None = None
    status: int | None = None
    message: str | None = None
    is_transient: bool | None = None
    delay_ms: int = 0
    minutes: int = 1
    seconds: float = 1.0
    family: str | None = None
    count: int = 1
    page_id: str | None = None
    psid: str | None = None
    token: str | None = None
    skip: int = 0
    call: str = "messages"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}; take one of {', '.join(KINDS)}")
        if self.family is not None and self.family not in UNREACHABLE:
            raise ValueError(f"unknown family {self.family!r}; take one of {', '.join(UNREACHABLE)}")

    @property
    def after(self) -> bool:
        """Whether the message is created before things go wrong."""
        return KINDS[self.kind]


# Kind of fault, and whether the call takes its effect first.
KINDS: dict[str, bool] = {
    "error": False,  # answer code / subcode / status / message / is_transient
    "error_after": True,  # likewise, the message sent all the same
    "server_error": False,  # 500, code 2
    "server_error_after": True,
    "sent_but_error": True,  # code 1, subcode 1357046
    "html": False,  # 502 with a page of HTML
    "html_after": True,
    "ok_error": False,  # 200 with an error envelope
    "garbage": False,  # 200 with half a JSON object
    "garbage_after": True,
    "drop": False,  # no answer; inside a batch a null item
    "drop_after": True,
    "batch_cut": False,  # the connection of the whole batch is cut before this item; a single call: drop
    "batch_cut_after": True,  # likewise, after this item
    "delay": True,  # the answer is held back by delay_ms
    "unreachable": False,  # one of the families of 551, 200/1545041, 10/2018108
    "throttle": False,  # code 613 (or `code`) for `seconds`, with estimated_time_to_regain_access
    "page_dead": False,  # 190 from now on
    "page_halted": False,  # 368 from now on
    "page_restricted": False,  # 10/1893063 from now on
    "blocked": False,  # the person blocks the page just before this call, and stays away
}

# Everything that may go wrong with one call while the page itself stays well.
FULL_MIX = {
    "server_error": 0.01,
    "server_error_after": 0.005,
    "sent_but_error": 0.005,
    "html": 0.005,
    "html_after": 0.005,
    "ok_error": 0.005,
    "garbage": 0.0025,
    "garbage_after": 0.0025,
    "drop": 0.01,
    "drop_after": 0.01,
    "batch_cut": 0.0004,
    "batch_cut_after": 0.0004,
    "unreachable": 0.01,
}


class Faults:
    """Decides which call goes wrong, and how.

    Args:
        seed: of the mix.
    """

    def __init__(self, seed: int) -> None:
        self._seed = str(seed).encode()
        self.clear()

    def clear(self) -> None:
        """Let everything go well."""
        self.demanded: list[Fault] = []
        self.struck: dict[str, int] = {}
        self._calls: dict[str, int] = {}
        self.set_mix({})

    def set_mix(self, mix: dict[str, Any]) -> None:
        """Take a mix: kind to probability, or kind to ``{"probability": p, ...}`` with the fields of a fault.

        Raises:
            ValueError: A kind is unknown, or the probabilities add up to more than 1.
        """
        bounds: list[float] = []
        faults: list[Fault] = []
        total = 0.0
        for kind, value in mix.items():
            fields = dict(value) if isinstance(value, dict) else {"probability": value}
            share = float(fields.pop("probability"))
            total += share
            if share < 0 or total > 1 + 1e-9:
                raise ValueError("probabilities must not be negative nor add up to more than 1")
            bounds.append(total)
            faults.append(Fault(kind=kind, **fields))
        self.mix, self._bounds, self._faults = mix, bounds, faults

    def recall(self, targets: Iterable[str]) -> None:
        """Count the calls of before a restart: the mix goes on, it does not begin again."""
        self._calls = collections.Counter(targets)

    def demand(self, **fields: Any) -> None:
        """Let the next `count` calls that match go wrong.

        Raises:
            ValueError: The kind is unknown.
        """
        self.demanded.append(Fault(**fields))

    def draw(self, page_id: str | None, psid: str | None, token: str | None, call: str = "messages") -> Fault | None:
        """Return what goes wrong with this call, or None; the mix is for messages only."""
        fault = self._demanded(page_id, psid, token, call) if self.demanded else None
        if fault is None and self._bounds and call == "messages":
            fault = self._mixed(token or psid or "")
        if fault is not None:
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
        return fault

    def _demanded(self, page_id: str | None, psid: str | None, token: str | None, call: str) -> Fault | None:
        for fault in self.demanded:
            wanted = (fault.page_id in {None, page_id}, fault.psid in {None, psid}, fault.token in {None, token})
            if fault.call != call or not all(wanted):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.count -= 1
            if fault.count <= 0:
                self.demanded.remove(fault)
            return _with_family(fault, fault.count)
        return None

    def _mixed(self, target: str) -> Fault | None:
        nth = self._calls[target] = self._calls.get(target, 0) + 1
        digest = hashlib.blake2b(f"{nth}:{target}".encode(errors="replace"), digest_size=8, key=self._seed).digest()
        index = bisect.bisect_right(self._bounds, int.from_bytes(digest) / 2**64)
        return _with_family(self._faults[index], digest[-1]) if index < len(self._faults) else None


def _with_family(fault: Fault, number: int) -> Fault:
    if fault.kind not in {"unreachable", "blocked"} or fault.family is not None:
        return fault
    families = tuple(UNREACHABLE)
    return dataclasses.replace(fault, family=families[number % len(families)])


def strike(fault: Fault, answer: Answer, *, sent: bool) -> Answer:
    """Return what the caller gets to see of `answer`.

    Args:
        fault: what goes wrong.
        answer: what the platform would have said.
        sent: whether a message was created; an error "although sent" strikes no call that was refused anyway.
    """
    kind = fault.kind.removesuffix("_after")
    if kind == "delay" or (fault.after and not sent and kind in {"error", "server_error", "sent_but_error"}):
        answer.delay_ms = fault.delay_ms
        return answer
    if kind in {"drop", "batch_cut"}:
        struck = Answer(0, "", lost=True, lost_batch=kind == "batch_cut")
    elif kind == "html":
        struck = Answer(fault.status or 502, HTML, content_type="text/html; charset=utf-8")
    elif kind == "garbage":
        struck = Answer(200, '{"recipient_id":"')
    else:
        struck = _refusal(fault, kind).answer()
    if kind == "ok_error":
        struck.status = 200
    struck.delay_ms = fault.delay_ms
    return struck


def _refusal(fault: Fault, kind: str) -> GraphRefusal:
    if kind == "unreachable":
        return unreachable(fault.family or "551")
    code, subcode = (1, 1357046) if kind == "sent_but_error" else (fault.code or 2, fault.subcode)
    text = fault.message or ERROR_TEXTS.get(code, f"(#{code}) The sandbox was told to answer this error.")
    transient = True if code == 2 and fault.is_transient is None else fault.is_transient
    usual = 500 if code in ERROR_TEXTS else 400
    return GraphRefusal(code, text, subcode=subcode, status=fault.status or usual, is_transient=transient)
