"""Webhook bodies as no platform should send them: real shapes, mutated from a seed, with what must become of each.

Three kinds of items are mixed. *Sound* ones are as the platform documents them, each with an identity of its own that
must be stored. *Broken* ones can be read by nobody and carry a marker that must turn up in quarantine. *Odd* ones are
sound items after random changes: whether they can still be read is open, but they must be accounted for.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.receiver.ruins import RUINS
from tests.receiver.shapes import NOW_MS, PAGE, TEXTS, sound_item

FULLWIDTH = "".join(chr(ord(digit) + 0xFEE0) for digit in "1458692752478")
STRANGER = "999"
DAY_MS = 86_400_000

Identity = tuple[str, str]  # kind, and the person or, where there is none, the text that tells them apart


class Raw(str):
    """JSON text that stands where a value would."""

    __slots__ = ()


ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    Raw("9" * 400),
    Raw("-" + "9" * 30),
    Raw("1e999"),
    Raw("NaN"),
    Raw("-Infinity"),
    Raw("1E-999"),
    "",
    " ",
    "\0",
    "\ud800",
    "\udc00x\ud800",
    "x" * 3000,
    "١٤٥٨٦٩٢٧٥٢٤٧٨",
    FULLWIDTH,
    "1458692752478\n",
    [],
    ["x"],
    [[]],
    {},
    {"id": "7"},
    Raw("[" * 80 + "]" * 80),
    Raw('{"a":' * 80 + "1" + "}" * 80),
    *TEXTS,
)


@dataclass(frozen=True)
class Sample:
    """A body, and what must become of it.

    Args:
        body: what is posted.
        pieces: items in it; each must be stored, known or in quarantine.
        sound: identities that must be stored.
        tokens: of its sound opt-ins: token to payload.
        broken: markers of items that must be in quarantine.
        whole: it must be in quarantine as it came.
    """

    body: bytes = field(repr=False)
    pieces: int
    sound: frozenset[Identity] = frozenset()
    tokens: dict[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    whole: bool = False


@dataclass
class Draft:
    """A sample in the making."""

    entries: list[str] = field(default_factory=list)
    pieces: int = 0
    sound: set[Identity] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def sample(self, envelope: str) -> Sample:
        body = envelope.replace("ENTRIES", ",".join(self.entries)).encode()
        return Sample(body, self.pieces, frozenset(self.sound), self.tokens, frozenset(self.broken))


ENVELOPES = (
    '{"object":"page","entry":[ENTRIES]}',
    '{"entry":[ENTRIES],"object":"page"}',
    ' {\r\n\t"object" : "page" ,"entry":\n[ENTRIES] }\n',
    '{"object":"user","object":"page","entry":"x","entry":[ENTRIES]}',
    '{"object":"page","entry":[ENTRIES],"sequence":1e999,"new":{"deep":[[[[null]]]]}}',
)


class Mutator:
    """Makes samples.

    Args:
        seed: everything follows from it.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not unpredictable
        self._number = 0

    def samples(self, count: int) -> Iterator[Sample]:
        """Make so many samples: also some of a thousand entries, and some that come twice."""
        kept: list[Sample] = []
        for number in range(count):
            if number % 4000 == 1000:
                sample = self._mixed(1000, 1)
            elif number % 100 == 50 and kept:
                sample = self._random.choice(kept)
            elif self._random.random() < 0.15:
                sample = self._ruined()
            else:
                sample = self._mixed(self._random.choice((1, 1, 1, 2, 3)), 3)
            if number % 50 == 0:
                kept.append(sample)
            yield sample

    # Bodies

    def _mixed(self, entries: int, most_items: int) -> Sample:
        draft = Draft()
        for _ in range(entries):
            self._entry(draft, self._random.randint(1, most_items))
        return draft.sample(self._random.choice(ENVELOPES))

    def _entry(self, draft: Draft, items: int) -> None:
        draw = self._random.random()
        if draw < 0.04:
            draft.entries.append(self._broken_entry(draft))
            draft.pieces += 1
        elif draw < 0.08:
            self._foreign_entry(draft, items)
        else:
            self._sound_entry(draft, items)

    def _sound_entry(self, draft: Draft, items: int) -> None:
        lists: dict[str, list[str]] = {"messaging": []}
        for _ in range(items):
            name = "standby" if self._random.random() < 0.05 else "messaging"
            lists.setdefault(name, []).append(self._item(draft))
        draft.pieces += items
        page = self._random.choice((f'"{PAGE}"', f'"{PAGE}"', PAGE))
        parts = [f'"id":{page}', f'"time":{NOW_MS}', *(f'"{name}":[{",".join(some)}]' for name, some in lists.items())]
        if "standby" not in lists and self._random.random() < 0.1:
            parts.append('"standby":null,"changes":[]')
        self._random.shuffle(parts)
        draft.entries.append("{" + ",".join(parts) + "}")

    def _foreign_entry(self, draft: Draft, items: int) -> None:
        """A page that nobody registered, or none at all: each of its items is set aside."""
        texts = []
        for _ in range(items):
            marker = self._marker(draft)
            texts.append(_json({**self._sound(Draft()), "marker": marker}))
        draft.pieces += items
        named = self._random.choice((f'"id":"{STRANGER}",', '"id":[],', '"id":"",', '"id":true,', '"id":null,', ""))
        draft.entries.append(f'{{{named}"time":{NOW_MS},"messaging":[{",".join(texts)}]}}')

    def _broken_entry(self, draft: Draft) -> str:
        marker = self._marker(draft)
        return self._random.choice(
            (
                f'"{marker}"',
                f'["{marker}"]',
                f'{{"id":"{PAGE}","time":{NOW_MS},"marker":"{marker}"}}',
                f'{{"id":"{PAGE}","messaging":[],"marker":"{marker}"}}',
                f'{{"id":"{PAGE}","messaging":{{"0":"{marker}"}}}}',
                f'{{"id":"{PAGE}","messaging":"{marker}"}}',
                f'{{"id":"{PAGE}","changes":7,"marker":"{marker}"}}',
            )
        )

    def _item(self, draft: Draft) -> str:
        draw = self._random.random()
        if draw < 0.45:
            return _json(self._sound(draft))
        if draw < 0.75:
            return self._broken(self._marker(draft))
        return self._odd()

    def _marker(self, draft: Draft) -> str:
        self._number += 1
        marker = f"marker-{self._number}"
        draft.broken.add(marker)
        return marker

    def _sound(self, draft: Draft) -> dict[str, Any]:
        self._number += 1
        identity, item = sound_item(self._number, self._random)
        draft.sound.add(identity)
        if identity[0] == "optin":
            draft.tokens[item["optin"]["one_time_notif_token"]] = item["optin"]["payload"]
        return item

    # Broken items

    def _broken(self, marker: str) -> str:
        at = NOW_MS - self._number
        item: dict[str, Any] = {
            "sender": {"id": f"7{self._number:016d}"},
            "recipient": {"id": PAGE},
            "timestamp": at,
            "message": {"mid": f"m_{marker}", "text": "x"},
            "marker": marker,
        }
        spoil = self._random.choice(SPOILERS)
        spoiled = spoil(item, self._random)
        return spoiled if isinstance(spoiled, Raw) else _json(spoiled)

    # Odd items

    def _odd(self) -> str:
        item = self._sound(Draft())
        for _ in range(self._random.randint(1, 3)):
            self._change(item)
        text = _json(item)
        if self._random.random() < 0.1 and text.endswith("}"):
            name, value = self._random.choice(list(item)) if item else "x", self._random.choice(ODD_VALUES)
            text = f"{text[:-1]}{',' if item else ''}{json.dumps(name)}:{_json(value)}}}"  # the same key twice
        return text

    def _change(self, item: dict[str, Any]) -> None:
        """Change one place of an item: drop it, rename it, give it another kind of value, add an event."""
        places = list(_places(item))
        if not places:
            return
        holder, key = self._random.choice(places)
        draw = self._random.random()
        if draw < 0.3:
            del holder[key]
        elif draw < 0.8:
            holder[key] = self._random.choice(ODD_VALUES)
        elif draw < 0.9 and isinstance(holder, dict):
            holder[f"{key}_"] = holder.pop(key)
        else:
            holder[key] = [holder[key]]

    # Whole bodies

    def _ruined(self) -> Sample:
        draft = Draft()
        self._sound_entry(draft, 2)
        text = ENVELOPES[0].replace("ENTRIES", ",".join(draft.entries))
        raw = self._random.choice(RUINS)(text, self._random)
        return Sample(raw, 1, whole=True)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _places(inner)


def _json(value: Any) -> str:
    """JSON as the platform writes it, with raw places in it."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_json(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value).replace("/", "\\/")


Spoiler = Callable[[dict[str, Any], random.Random], Any]


def _with(**content: Any) -> Spoiler:
    """Put these in place of the message."""
    return lambda item, _: {**{key: value for key, value in item.items() if key != "message"}, **content}


def _optin(**content: Any) -> Spoiler:
    whole = {"type": "one_time_notif_req", "payload": "p", "one_time_notif_token": "t", **content}
    return _with(optin={key: value for key, value in whole.items() if value is not ...})


def _set(key: str, *values: Any) -> Spoiler:
    return lambda item, rng: {**item, key: rng.choice(values)}


def _drop(key: str) -> Spoiler:
    return lambda item, _: {name: value for name, value in item.items() if name != key}


SPOILERS: tuple[Spoiler, ...] = (
    lambda item, _: Raw(f'"{item["marker"]}"'),
    lambda item, _: Raw(f'["{item["marker"]}"]'),
    lambda item, _: {"sender": {"id": "7", "marker": item["marker"]}, "timestamp": NOW_MS},
    _drop("sender"),
    _set("sender", [], "7", 7, True, {"id": {}}, {"id": ["7"]}, {"id": ""}, {"id": " "}, {"id": "7" * 101}),
    _set("sender", {"id": "\0"}, {"id": "\ud800"}, {"id": -7}, {"id": 1.5}, {"id": Raw("NaN")}, {"id": Raw("9" * 400)}),
    _set("recipient", {"id": STRANGER}, [], "1001", {"id": []}),
    _set("timestamp", "soon", "", [], {}, True, -1, 0, 7, Raw("NaN"), Raw("1e999"), Raw("9" * 400), 10**18),
    _set("timestamp", "١٤٥٨٦٩٢٧٥٢٤٧٨", FULLWIDTH, " 1458692752478", "1458692752478.0", "0x153A2B"),
    _set("timestamp", NOW_MS + 3 * DAY_MS, NOW_MS // 1000 + 3 * 86_400, 915_148_800_000, 4_102_444_800_000),
    _set("message", None, "x", [], 7, True),
    _set("message", {"mid": 7}, {"mid": "m" * 1001}, {"mid": "\0"}, {"mid": "\udfff"}, {"text": 7}, {"text": ["STOP"]}),
    _set("message", {"quick_reply": {"payload": 7}}, {"quick_reply": {"payload": "\0"}}),
    _set("message", {"is_echo": True, "metadata": 7}, {"is_echo": True, "app_id": []}),
    _set("read", {"watermark": NOW_MS}),
    _set("optin", {"type": "one_time_notif_req", "one_time_notif_token": "t"}),
    *(_optin(one_time_notif_token=bad) for bad in (..., None, "", 7, ["t"], {"t": 1}, True)),
    *(_optin(one_time_notif_token=bad) for bad in ("t\0", "\ud800", "t" * 16_385)),
    *(_optin(payload=bad) for bad in (7, ["p"], {"p": 1}, "\0", "p\udfff", "p" * 16_385)),
    *(_with(delivery=bad) for bad in ({}, {"mids": "m"}, {"mids": [""]}, {"watermark": "x"})),
    _with(delivery={"mids": [7], "watermark": NOW_MS}),
    *(_with(read=bad) for bad in ({}, {"watermark": None}, {"watermark": [NOW_MS]}, {"watermark": Raw("1e400")}, None)),
    *(_with(postback=bad) for bad in ({"payload": ["p"]}, {"payload": "\0"}, {"mid": {}}, {"title": 7}, "x")),
    *(_with(policy_enforcement=bad) for bad in ({}, {"action": ""}, {"action": 7}, {"action": "block", "reason": []})),
    *(_with(reaction=bad) for bad in ({"mid": 7}, {"action": []}, [])),
    *(_with(referral=bad) for bad in ({"ref": 7}, {"ref": "\0"}, "r")),
)
