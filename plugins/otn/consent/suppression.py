"""Stop and start words: what a person takes back by one word, for a topic or for all, and how it is confirmed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from otn.consent.silence import Change
from otn.consent.text import plain_words
from otn.consent.words import LANGUAGES, Language
from otn.database import PsycopgConnection, queries
from otn.messenger.events import Event, EventKind

__all__ = ["Heard", "Word", "Words", "hear", "read_words", "settle_words"]

Word = Literal["stop_word", "start_word"]

_LONGEST = 100  # characters; nobody's stop word is an essay
_LONGEST_NAMING = 300  # a topic's key has 200
_TRADITIONAL = {"zh_HK": "zh_TW"}


@dataclass(frozen=True, slots=True)
class Heard:
    """A stop or start word that was said.

    Args:
        meaning: which of the two.
        word: as it was said, in its normal form.
        topic_id: the topic that it names; None: all.
    """

    meaning: Word
    word: str
    topic_id: int | None = None


@dataclass(frozen=True)
class Words:
    """The words that silence and those that lift the silence again.

    Args:
        stop: normalised stop words.
        start: normalised start words; a stop word is never one of them.
        named_stop: the stop word that answers name; None: that of their language.
        named_start: the start word likewise.
    """

    stop: frozenset[str]
    start: frozenset[str]
    named_stop: str | None = None
    named_start: str | None = None
    _longest_first: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = sorted(self.stop | self.start, key=lambda word: (-len(word), word))
        object.__setattr__(self, "_longest_first", tuple(words))

    def meaning(self, text: str | None) -> Word | None:
        """What a whole message means; None for nearly all of them."""
        if not text or len(text) > _LONGEST:
            return None
        return self._meaning_of(plain_words(text))

    def naming(self, text: str | None) -> list[tuple[Heard, str]]:
        """Ways to read a message as a word and the name of a topic, in its normal form; none for nearly all of them.

        Args:
            text: such as ``STOP: Back in stock``.
        """
        if not text or len(text) > _LONGEST_NAMING:
            return []
        plain = plain_words(text)
        return list(self._parted(plain)) if plain.startswith(self._longest_first) else []

    def _parted(self, plain: str) -> Iterator[tuple[Heard, str]]:
        for word in self._longest_first:
            rest = plain[len(word) :]
            # "stopped" is no stop; scripts that write without spaces have no lower case either.
            if rest and plain.startswith(word) and not (rest[0].isalnum() and word[-1].islower()):
                meaning, name = self._meaning_of(word), plain_words(rest)
                if name and meaning is not None:
                    yield Heard(meaning, word), name

    def _meaning_of(self, word: str) -> Word | None:
        if word in self.stop:
            return "stop_word"
        return "start_word" if word in self.start else None

    def answer(self, heard: Heard, locale: str | None, topic: str | None, *, silent: bool) -> str:
        """The confirmation, in the language of the word.

        Args:
            heard: the word. Where several languages have it, the person's own decides.
            locale: of the person, such as ``de_DE``; None: not known.
            topic: title of the topic that it is about; None: all.
            silent: nothing is sent from now on.
        """
        language = _language(heard, locale)
        if topic is None:
            template = language.stopped if silent else language.started
        else:
            template = language.stopped_topic if silent else language.started_topic
        stop, start = self.named_stop or _listed(language.stop)[0], self.named_start or _listed(language.start)[0]
        # What is sent is a template once more; a stranger's payload may be the name of a topic.
        name = (topic or "").replace("{", "(").replace("}", ")")
        return template.format(stop=stop.upper(), start=start.upper(), topic=name)


def read_words(environ: Mapping[str, str] | None = None) -> Words:
    """Read ``OTN_STOP_WORDS`` and ``OTN_START_WORDS``: words separated by commas, in place of ours.

    Args:
        environ: the environment; the process's own by default.
    """
    values = os.environ if environ is None else environ
    own_stop, own_start = _listed(values.get("OTN_STOP_WORDS", "")), _listed(values.get("OTN_START_WORDS", ""))
    stop = frozenset(own_stop or [word for language in LANGUAGES for word in _listed(language.stop)])
    start = frozenset(own_start or [word for language in LANGUAGES for word in _listed(language.start)]) - stop
    return Words(
        stop=stop,
        start=start,
        named_stop=own_stop[0] if own_stop else None,
        named_start=next((word for word in own_start if word in start), None),
    )


def hear(
    conn: PsycopgConnection, words: Words, pages: Mapping[str, int], events: Sequence[tuple[int, Event]]
) -> dict[int, Heard]:
    """Find the stop and start words among events; answers them by their place.

    A word with the name of a topic counts for that topic. Where two topics of the page share the name, a stop counts
    for all of them and a start for none: silence is the safe way to be wrong.

    Args:
        conn: a connection.
        words: stop and start words.
        pages: Facebook's id of each registered page, and ours.
        events: what came, each with the number of its body.
    """
    heard: dict[int, Heard] = {}
    naming: dict[int, list[tuple[Heard, str]]] = {}
    for place, (_, event) in enumerate(events):
        if event.kind is not EventKind.MESSAGE or event.text is None:
            continue
        meaning = words.meaning(event.text)
        if meaning is not None:
            heard[place] = Heard(meaning, plain_words(event.text))
        elif ways := words.naming(event.text):
            naming[place] = ways
    if naming:
        topics = _named_topics(conn, {pages[events[place][1].page_id] for place in naming}, naming)
        for place, ways in naming.items():
            found = _settled(ways, topics, pages[events[place][1].page_id])
            if found is not None:
                heard[place] = found
    return heard


def _named_topics(
    conn: PsycopgConnection, pages: set[int], naming: Mapping[int, list[tuple[Heard, str]]]
) -> dict[tuple[int, str], set[int]]:
    names = {name for ways in naming.values() for _, name in ways}
    topics: dict[tuple[int, str], set[int]] = {}
    for row in queries("suppression").named_topics(conn, page_ids=sorted(pages), names=sorted(names)):
        for name in {plain_words(row.key), plain_words(row.title or "")} & names:
            topics.setdefault((row.page_id, name), set()).add(row.id)
    return topics


def _settled(ways: Sequence[tuple[Heard, str]], topics: Mapping[tuple[int, str], set[int]], page: int) -> Heard | None:
    for heard, name in ways:
        found = topics.get((page, name), set())
        if len(found) == 1:
            return Heard(heard.meaning, heard.word, *found)
        if found and heard.meaning == "stop_word":
            return heard
    return None


def settle_words(conn: PsycopgConnection, event_ids: Sequence[int]) -> list[Change]:
    """Suppress or release the people of these events, by the latest word that each has said about a topic or all.

    Args:
        conn: a connection in a transaction that holds the rows of these people.
        event_ids: new message events whose text was a stop or a start word.

    Returns:
        What was lifted, then what began; to be written down before the commit.
    """
    if not event_ids:
        return []
    ids = list(event_ids)
    lifted = [Change(**row._asdict(), lifted=True) for row in queries("suppression").lift_stops(conn, event_ids=ids)]
    return lifted + [Change(**row._asdict()) for row in queries("suppression").keep_stops(conn, event_ids=ids)]


def _language(heard: Heard, locale: str | None) -> Language:
    known = {language.code: language for language in LANGUAGES}
    code = _TRADITIONAL.get(locale or "", locale or "")
    own = known.get(code) or known.get(code.partition("_")[0])
    attribute = "stop" if heard.meaning == "stop_word" else "start"
    among = [language for language in LANGUAGES if heard.word in _listed(getattr(language, attribute))]
    if own is not None and (own in among or not among):
        return own
    return among[0] if among else known["en"]


def _listed(words: str) -> list[str]:
    return list(filter(None, (plain_words(word) for word in words.split(","))))
