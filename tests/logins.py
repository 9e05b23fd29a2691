"""Logins that own nothing, as a deployment has them: what runs in tests runs with their rights."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg2
from sqlalchemy import make_url

from otn.local import logins
from otn.local.logins import Kind

PASSWORD = "a password of its own"


@dataclass(frozen=True)
class _Server:
    """Somebody who may make logins on the server of this address."""

    url: str

    def connect(self) -> psycopg2.extensions.connection:
        connection = psycopg2.connect(make_url(self.url).set(drivername="postgresql").render_as_string(False))
        connection.autocommit = True
        return connection


def url_of(kind: Kind, url: str) -> str:
    """The same database, by the login of a kind of program.

    Args:
        kind: of program.
        url: of the superuser.
    """
    logins.ensure_login(_Server(url), kind.login, PASSWORD, kind.role)
    return make_url(url).set(username=kind.login, password=PASSWORD).render_as_string(hide_password=False)
