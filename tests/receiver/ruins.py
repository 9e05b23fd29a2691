"""Ways to ruin a whole body, so that nobody can read anything in it."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from urllib.parse import quote

Ruin = Callable[[str, random.Random], bytes]
RUINS: tuple[Ruin, ...] = (
    lambda text, rng: text[: rng.randrange(len(text))].encode(),
    lambda text, rng: text.encode()[: rng.randrange(len(text))] + bytes([rng.randrange(0x80, 0x100)]),
    lambda text, _: text.replace("1001", "1001\\ud8", 1).encode(),
    lambda text, rng: text.encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7"))) + b"\0",
    lambda text, _: text.replace("page", "pagé").encode("latin-1"),
    lambda text, rng: text.replace('"page"', rng.choice(('"user"', "null", "7", '["page"]', '"Page"'))).encode(),
    lambda text, _: text.replace('"entry"', '"entries"').encode(),
    lambda _, rng: b'{"object":"page","entry":' + rng.choice((b"[]", b"{}", b"null", b'"x"', b"7", b"NaN")) + b"}",
    lambda text, _: f"[{text}]".encode(),
    lambda text, _: (text + text).encode(),
    lambda text, _: text[:-1].encode() + b",}",
    lambda text, _: text.replace('"', "'").encode(),
    lambda text, _: b"\0" + text.encode(),
    lambda text, _: gzip.compress(text.encode(), mtime=0),
    lambda text, _: f"payload={quote(text)}".encode(),
    lambda text, _: json.dumps(text).encode(),
    lambda _, rng: rng.choice((b"", b" ", b"\r\n", b"null", b"true", b"0", b'""', b"{}", b"[]", b"NaN", b"<xml/>")),
    lambda _, rng: rng.randbytes(rng.randint(1, 400)),
    lambda _, rng: rng.choice((b"[", b'{"a":')) * 50_000,
    lambda text, _: text.replace('"messaging":[', '"messaging":[' + "[" * 30_000 + "]" * 30_000 + ",").encode(),
)
