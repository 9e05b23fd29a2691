"""What must not be found, and where it is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from otn.local.home import Home
from otn.local.ports import HOST
from tests.system.machinery import System

# Where secrets belong, all of it readable by the owner alone; and the platform's own books, which are not ours.
KEPT = {"secrets.env", "passwords.json", "state.json", "sandbox.jsonl", "run", "postgres"}
SHORTEST = 8
_WORD = re.compile(r"[A-Za-z0-9_\-]+")


class Secrets:
    """Everything that nobody may read, each with its kind; the values themselves are never told.

    Args:
        system: whose; the sandbox must answer.
    """

    def __init__(self, system: System) -> None:
        self._words: dict[str, str] = {}  # long alphabets of URLs: found by sliding over words, however many
        self._texts: dict[str, str] = {}
        home = system.home
        for name, value in home.secrets().items():
            for part in (value, *value.split(",")):
                self._texts[part] = name
        for name, password in home.passwords().items():
            self._texts[password] = f"password of {name}"
        for page in system.sandbox.pages():
            for kind in ("access_token", "app_secret", "verify_token"):
                self._texts[page[kind]] = kind
        for scene in system.scenes.values():
            for kind, value in scene.secrets.items():
                self._texts[value] = kind
        for token in system.sandbox.tokens():
            self._words[token["token"]] = "one-time token"
        for person in system.sandbox.persons():
            self._words[person["psid"]] = "PSID"
        self._texts |= {quote(value, safe=""): kind for value, kind in self._texts.items()}
        assert min(map(len, (*self._texts, *self._words))) >= SHORTEST
        self._lengths = sorted({len(word) for word in self._words})

    def __len__(self) -> int:
        """How many are looked for."""
        return len(self._words) + len(self._texts)

    def tokens_only(self) -> Secrets:
        """Without the PSIDs, which our own database must know."""
        some = object.__new__(Secrets)
        some._texts = self._texts
        some._words = {word: kind for word, kind in self._words.items() if kind != "PSID"}
        some._lengths = sorted({len(word) for word in some._words})
        return some

    def found_in(self, text: str) -> set[str]:
        """Kinds of what stands in a text."""
        kinds = {kind for value, kind in self._texts.items() if value in text}
        for match in _WORD.finditer(text):
            word = match[0]
            for length in self._lengths:
                for start in range(len(word) - length + 1):
                    kind = self._words.get(word[start : start + length])
                    if kind:
                        kinds.add(kind)
        return kinds


def files(home: Home) -> Iterator[tuple[str, str]]:
    """Every file of the home but those that are there to keep secrets: name and text."""
    for path in sorted(home.path.rglob("*")):
        name = path.relative_to(home.path)
        if name.parts[0] not in KEPT and path.is_file() and not path.is_symlink():
            yield str(name), path.read_text(encoding="utf-8", errors="replace")


def tables(system: System, database: str) -> Iterator[tuple[str, str]]:
    """Every table of a database: name and all its rows as text."""
    home = system.home
    port, password = home.state()["ports"]["postgres"], home.secrets()["OTN_POSTGRES_PASSWORD"]
    with closing(
        psycopg2.connect(host=HOST, port=port, user="postgres", password=password, dbname=database)
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SET bytea_output = escape")  # text inside of bytes stays text
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            " ORDER BY 1, 2"
        )
        for schema, table in cursor.fetchall():
            rows = connection.cursor()
            rows.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table)))
            yield f"{database}: {schema}.{table}", "\n".join(row[0] for row in rows.fetchall())


def traces(secrets: Secrets, places: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Where something was found, and of which kinds."""
    found = {name: secrets.found_in(text) for name, text in places}
    return {name: kinds for name, kinds in found.items() if kinds}


def holding(word: str, places: Iterable[tuple[str, str]]) -> list[str]:
    """Places that a harmless word is found in: shows that they were really read."""
    return [Path(name).name for name, text in places if word in text]
