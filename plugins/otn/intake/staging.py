"""Events on their way into the database: one line of COPY each, each event once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from otn.consent.rules import Rule
from otn.consent.suppression import Heard
from otn.consent.text import shortened
from otn.crypto import Keyring
from otn.database import PsycopgConnection, queries
from otn.intake.meeting import Met
from otn.intake.reading import Source
from otn.messenger.events import Event, EventKind

# What opens the 24 h window (Meta docs, Send API: standard messaging). A tap on Notify Me is not among it.
_OPENS_WINDOW = {EventKind.MESSAGE, EventKind.POSTBACK, EventKind.REACTION, EventKind.REFERRAL}
_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_QUOTES = str.maketrans({"\\": "\\\\", '"': '\\"'})


@dataclass(frozen=True)
class Learned:
    """What was found out about events before they are stored, each by the event's place.

    Args:
        met: topics of opt-ins.
        heard: stop and start words.
        rules: rules that answer.
    """

    met: Mapping[int, Met] = field(default_factory=dict)
    heard: Mapping[int, Heard] = field(default_factory=dict)
    rules: Mapping[int, Rule] = field(default_factory=dict)


class Stage:
    """The events of one transaction.

    What was learned of them is kept by their place here: of equal events only one stays.

    Args:
        keyring: hashes what identifies an event, encrypts tokens.
        pages: Facebook's id of each registered page, and ours.
    """

    def __init__(self, keyring: Keyring, pages: Mapping[str, int]) -> None:
        self._keyring = keyring
        self._pages = pages
        self._places: dict[bytes, int] = {}
        self._lines: list[str] = []
        self._times: list[datetime] = []
        self.owners: list[int] = []
        self.met: dict[int, Met] = {}
        self.heard: dict[int, Heard] = {}
        self.rules: dict[int, Rule] = {}
        self.policies: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, events: Iterable[tuple[int, Event]], sources: Sequence[Source], learned: Learned) -> None:
        """Stage events; of one that comes several times the earliest is kept."""
        for number, (owner, event) in enumerate(events):
            fingerprint = self._fingerprint(event)
            place = self._places.setdefault(fingerprint, len(self._lines))
            if place == len(self._lines):
                self._lines.append("")
                self._times.append(event.occurred_at)
                self.owners.append(owner)
            elif event.occurred_at >= self._times[place]:
                continue
            self._times[place], self.owners[place] = event.occurred_at, owner
            self._note(place, number, learned)
            self._lines[place] = self._line(place, event, fingerprint, sources[owner])

    def _note(self, place: int, number: int, learned: Learned) -> None:
        if number in learned.met:
            self.met[place] = learned.met[number]
        if number in learned.heard:
            self.heard[place] = learned.heard[number]
        if number in learned.rules:
            self.rules[place] = learned.rules[number]

    def _fingerprint(self, event: Event) -> bytes:
        if event.token is not None:  # an opt-in has no other identity (Meta docs, One-Time Notification)
            return self._keyring.digest("token", event.page_id, event.token)
        parts = [event.kind.value, event.page_id, event.psid or "", event.occurred_at.isoformat(), event.mid or ""]
        parts += [event.watermark.isoformat() if event.watermark else "", event.payload or "", event.metadata or ""]
        # Stored bodies lose their texts long before they go: with or without them it must be the same event.
        parts += ["" if event.mid else event.text or "", event.action or "", *event.mids]
        if event.kind is EventKind.POLICY:  # two warnings of one moment differ by what they warn of
            parts.append(event.reason or "")
        return self._keyring.digest(*parts)

    def _line(self, place: int, event: Event, fingerprint: bytes, source: Source) -> str:
        page = self._pages[event.page_id]
        opens_window = event.kind in _OPENS_WINDOW and event.action != "unreact"
        heard, met = self.heard.get(place), self.met.get(place)
        ref, topic_id, labels, sealed = shortened(event.ref), heard.topic_id if heard else None, _NULL, _NULL
        if met is not None and event.token is not None:
            ref, topic_id, labels = met.ref, met.topic_id, _array(met.labels)
            sealed = f"\\\\x{self._keyring.encrypt(event.token.encode(), 'token').hex()}"
        columns = [
            source.day.isoformat(),
            source.id,
            f"\\\\x{fingerprint.hex()}",
            event.kind.value,
            str(page),
            _field(event.psid),
            event.occurred_at.isoformat(),
            "t" if opens_window else "f",
            "t" if heard is not None or place in self.rules else "f",
            _field(event.mid),
            _array(event.mids),
            event.watermark.isoformat() if event.watermark else _NULL,
            _field(shortened(event.metadata)),
            _field(shortened(event.payload)),
            _field(self._detail(place, event, page)),
            _field(ref),
            _NULL if topic_id is None else str(topic_id),
            labels,
            sealed,
        ]
        return "\t".join(columns)

    def _detail(self, place: int, event: Event, page: int) -> str | None:
        """What is kept of an event beside its fields. Of what people write, only that it was a stop or start word."""
        if event.kind is EventKind.MESSAGE:
            heard = self.heard.get(place)
            return heard.meaning if heard else None
        if event.kind is EventKind.POLICY:
            self.policies[place] = page
            return shortened(f"{event.action}: {event.reason}" if event.reason else event.action)
        return event.action

    def place(self, fingerprint: bytes | memoryview) -> int:
        """Which event it is."""
        return self._places[bytes(fingerprint)]

    def copy(self, conn: PsycopgConnection) -> None:
        """Make the temporary table ``stage`` of this transaction and fill it."""
        queries("ingest").make_stage(conn)
        with conn.cursor() as cursor:
            cursor.copy_expert("COPY pg_temp.stage FROM STDIN", io.BytesIO("\n".join(self._lines).encode()), 1 << 16)


def _field(text: str | None) -> str:
    if text is None:
        return _NULL
    if "\\" not in text and text.isprintable():
        return text
    return text.translate(_ESCAPES)


def _array(texts: Sequence[str]) -> str:
    if not texts:
        return _NULL
    return _field("{" + ",".join(f'"{text.translate(_QUOTES)}"' for text in texts) + "}")
