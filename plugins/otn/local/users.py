"""Who may log in to Airflow beside the admin, as ``OTN_USERS`` says."""

from __future__ import annotations

import re
from collections.abc import Mapping

from otn.errors import ConfigurationError
from otn.local.home import ADMIN

VARIABLE = "OTN_USERS"
ROLES = ("viewer", "user", "op", "admin")  # of Airflow's simple login; each may what those before it may
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


def read_users(environ: Mapping[str, str]) -> dict[str, str]:
    """Role of each user by name; the admin comes first and is always there.

    Args:
        environ: may hold ``OTN_USERS``, such as ``ann:user,vera:viewer``.

    Raises:
        ConfigurationError: a user is not written like that, has no such role, or comes twice.
    """
    users = {ADMIN: "admin"}
    for entry in environ.get(VARIABLE, "").split(","):
        if not entry.strip():
            continue
        name, _, role = (part.strip() for part in entry.partition(":"))
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{VARIABLE} names the user {name[:80]!r}. Write NAME:ROLE with a comma between users; a name begins"
                " with a letter or a digit, and goes on with those and . _ @ - (64 characters at most)."
            )
        if role.lower() not in ROLES:
            raise ConfigurationError(
                f"{VARIABLE} gives {name} the role {role[:80]!r}. Give one of {', '.join(ROLES)}: {name}:user, say."
            )
        if name in users:
            why = "is always there, with all rights" if name == ADMIN else "stands there twice"
            raise ConfigurationError(f"{VARIABLE}: the user {name} {why}. Take it out once.")
        users[name] = role.lower()
    return users
