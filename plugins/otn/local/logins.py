"""Who may connect to Postgres: an owner for each database, and a login for each kind of program that owns nothing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import psycopg2
from psycopg2 import sql

from otn.settings import RECEIVER_CONNECTION, SENDER_CONNECTION


class Administered(Protocol):
    """A server that a superuser can connect to."""

    def connect(self) -> psycopg2.extensions.connection:
        """Connect as the superuser, committing each statement."""


@dataclass(frozen=True)
class Kind:
    """A kind of program that gets a login of its own.

    Args:
        connection_id: by which it connects.
        role: whose rights its login has; which those are, the schema says (``otn.make_roles``).
        login: name of the login where nobody gives another.
        secret: name of its password among a home's secrets.
    """

    connection_id: str
    role: str
    login: str
    secret: str

    @property
    def variable(self) -> str:
        """Name of the variable that defines the connection."""
        return f"AIRFLOW_CONN_{self.connection_id.upper()}"


SENDER = Kind(SENDER_CONNECTION, "otn_sender", "otn_login_sender", "OTN_POSTGRES_SENDER_PASSWORD")
RECEIVER = Kind(RECEIVER_CONNECTION, "otn_receiver", "otn_login_receiver", "OTN_POSTGRES_RECEIVER_PASSWORD")
KINDS = (SENDER, RECEIVER)


def ensure_database(server: Administered, name: str, role: str, password: str) -> None:
    """Make a role and the database it owns, each where missing; set the role's password.

    Args:
        server: where.
        name: the database.
        role: its owner; no superuser.
        password: the owner's.
    """
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        _ensure_login(cursor, role, password)
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if not cursor.fetchone():
            statement = sql.SQL("CREATE DATABASE {} OWNER {}")
            cursor.execute(statement.format(sql.Identifier(name), sql.Identifier(role)))


def ensure_login(server: Administered, login: str, password: str, role: str) -> None:
    """Make a login that has the rights of a role, each where missing; set its password.

    Args:
        server: where.
        login: may connect, and nothing more by itself.
        password: its own.
        role: cannot log in.
    """
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        if not _is_role(cursor, role):
            cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
        _ensure_login(cursor, login, password)
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login)))


def _ensure_login(cursor: psycopg2.extensions.cursor, name: str, password: str) -> None:
    verb = sql.SQL("ALTER" if _is_role(cursor, name) else "CREATE")
    statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
    cursor.execute(statement.format(verb, sql.Identifier(name), sql.Literal(password)))


def _is_role(cursor: psycopg2.extensions.cursor, name: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
    return cursor.fetchone() is not None
