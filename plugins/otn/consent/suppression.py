"""Stop words: a person who writes one is left alone from then on."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from otn.database import PsycopgConnection, queries

# Whole messages, not words inside one: "please don't stop" is no wish for silence.
STOP_WORDS = (
    "stop, stop all, stopall, unsubscribe, end, quit, opt out, optout, "
    "stopp, abmelden, abbestellen, arrêt, arret, arrêter, désabonner, stop pub, cancelar, baja, alto, detener, parar, "
    "sair, descadastrar, basta, disiscrivi, afmelden, avsluta, rezygnuję, wypisz, стоп, отписаться, dur, durdur, "
    "iptal, berhenti, dừng, หยุด, توقف, إيقاف, עצור, रोकें, 停止, 退订, 退訂, 取消, 配信停止, 中止, 수신거부, 중지"
)
START_WORDS = "start, unstop, subscribe, anmelden, démarrer, alta, iniciar, начать, старт, 开始, 開始, 再開, 시작"

Word = Literal["stop_word", "start_word"]

_LONGEST = 100  # characters; nobody's stop word is an essay


@dataclass(frozen=True)
class Words:
    """The words that silence and those that lift the silence again.

    Args:
        stop: normalised stop words.
        start: normalised start words; a stop word is never one of them.
    """

    stop: frozenset[str]
    start: frozenset[str]

    def meaning(self, text: str | None) -> Word | None:
        """What a whole message means; None for nearly all of them."""
        if not text or len(text) > _LONGEST:
            return None
        word = _normalised(text)
        if word in self.stop:
            return "stop_word"
        return "start_word" if word in self.start else None


def read_words(environ: Mapping[str, str] | None = None) -> Words:
    """Read ``OTN_STOP_WORDS`` and ``OTN_START_WORDS``: words separated by commas, in place of ours.

    Args:
        environ: the environment; the process's own by default.
    """
    values = os.environ if environ is None else environ
    stop = _split(values.get("OTN_STOP_WORDS") or STOP_WORDS)
    return Words(stop=stop, start=_split(values.get("OTN_START_WORDS") or START_WORDS) - stop)


def settle_words(conn: PsycopgConnection, event_ids: Sequence[int]) -> None:
    """Suppress or release the people of these events, by the latest word that each has said.

    Args:
        conn: a connection in a transaction that holds the rows of these people.
        event_ids: message events whose text was a stop or a start word.
    """
    if event_ids:
        list(queries("suppression").settle_words(conn, event_ids=list(event_ids)))


def _split(words: str) -> frozenset[str]:
    return frozenset(filter(None, (_normalised(word) for word in words.split(","))))


def _normalised(text: str) -> str:
    """The words alone: letters of one width and case, no spaces and signs around them."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    around = "".join({character for character in plain if unicodedata.category(character)[0] in "PZCS"})
    return " ".join(plain.strip(around).split())
