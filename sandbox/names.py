"""Profiles of invented people: plain, foreign, missing and hostile."""

from __future__ import annotations

import random
from typing import Any

FIRST = (
    "Ada",
    "Émile",
    "Zoë",
    "Jürgen",
    "Nguyễn",
    "Ольга",
    "田中",
    "محمد",
    "Ayşe",
    "Σοφία",
    "Siobhán",
    "李雷",
    "👩‍🚀 Mae",
)
LAST = ("Lovelace", "Müller", "O'Neill", "Иванова", "佐藤", "الفاسي", "Nuñez", "Þórsdóttir", "d'Arc-Lévêque", "김")
HOSTILE = (
    "{{ 7 * 7 }}",
    "{{ conn.otn_db.password }}",
    "{% for x in range(10**9) %}x{% endfor %}",
    "'; DROP TABLE otn.token; --",
    "<script>alert(1)</script>",
    "%s%n%(name)s",
    '=HYPERLINK("http://localhost")',
    "\u202eevil\u202c",
    "a\u0000b",
    "line\r\nbreak\ttab",
    "\\u0041\\",
    '"quoted", comma;',
    " ",
    "Z\u0351\u036b\u0343a\u0328" * 8,
    "n" * 300,
)
NAMED = {"plain", "hostile", "null", "nameless"}
ERRORS = {"phone": 2018218, "forbidden": 2018247}  # Meta docs, User Profile API
PICTURE = "https://platform-lookaside.fbsbx.com/platform/profilepic/?psid={psid}&width=1024&ext=1&hash=AbZ"


def profile(kind: str, psid: str, rng: random.Random) -> dict[str, Any]:
    """Return a profile.

    Args:
        kind: ``plain`` (names of many scripts), ``mixed`` (1 in 10 has something missing or hostile), ``hostile``,
            ``null`` (the first name is null), ``nameless`` (it is missing), ``odd`` (every field of a wrong type),
            ``empty`` (no access), ``phone`` (the platform answers 2018218), ``forbidden`` (2018247).
        psid: of the person.
        rng: what is drawn from.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind == "mixed":
        kind = rng.choices(("plain", "hostile", "null", "empty", "phone", "nameless"), (90, 4, 2, 2, 1, 1))[0]
    if kind == "empty":
        return {}
    if kind in ERRORS:
        return {"error_subcode": ERRORS[kind]}
    if kind == "odd":
        return {
            "first_name": 7,
            "last_name": ["x"],
            "profile_pic": None,
            "locale": -1,
            "timezone": "GMT+2",
            "gender": {},
        }
    if kind not in NAMED:
        known = ", ".join(("mixed", *sorted(NAMED), "odd", "empty", *ERRORS))
        raise ValueError(f"unknown kind of profile {kind!r}; take {known}")
    first: str | None = rng.choice(HOSTILE if kind == "hostile" else FIRST)
    if kind == "null":
        first = None
    made: dict[str, Any] = {
        "first_name": first,
        "last_name": rng.choice(LAST),
        "profile_pic": PICTURE.format(psid=psid),
        "locale": "en_US",
        "timezone": rng.choice((-7, 0, 1, 5.5, 9)),
    }
    if kind == "nameless":
        del made["first_name"]
    return made
