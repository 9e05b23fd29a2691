"""From Airflow connections to the engine, the keys and the client."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from otn.settings import (
    DATABASE_CONNECTION,
    DEFAULT_PAGE_CONNECTION,
    SENDER_CONNECTION,
    Connection,
    ConnectionMissingError,
    PageSettings,
    database_url,
    page_settings,
)

if TYPE_CHECKING:
    from otn.crypto import Keyring
    from otn.database import Engine
    from otn.messenger.client import MessengerClient
    from otn.messenger.errors import TokenRule

SENDER_CONNECTIONS = 6  # claims, records, renewals of leases and the pace at once


def read_connection(connection_id: str) -> Connection:
    """A connection, from wherever Airflow keeps it (secrets backend, environment, its database).

    Raises:
        ConnectionMissingError: it is not defined.
    """
    try:
        found = BaseHook.get_connection(connection_id)
    except AirflowNotFoundException:
        raise ConnectionMissingError(
            f"The connection {connection_id!r} is not defined. Create it in Airflow, "
            f"or set AIRFLOW_CONN_{connection_id.upper()} to its JSON."
        ) from None
    return Connection(
        connection_id=connection_id,
        conn_type=found.conn_type or "",
        host=found.host,
        port=found.port,
        login=found.login,
        password=found.password,
        schema=found.schema,
        extra=found.extra_dejson,
    )


def make_engine(*, owner: bool = False) -> Engine:
    """An engine for this task's process, on the connection ``otn_db_sender``; ``otn_db`` where that is not defined.

    Args:
        owner: on ``otn_db`` itself, for a task that drops partitions and deletes people.

    Raises:
        ConnectionMissingError: neither is defined.
        SchemaBehindError: the database must be migrated first.
        SchemaAheadError: it was migrated too far for this code.
    """
    from otn import database
    from otn.database.schema import check_schema

    connection = read_connection(DATABASE_CONNECTION) if owner else _sender_connection()
    _mask(connection.password)
    engine = database.make_engine(database_url(connection), pool_size=SENDER_CONNECTIONS, application_name="otn task")
    check_schema(engine)
    return engine


def _sender_connection() -> Connection:
    try:
        return read_connection(SENDER_CONNECTION)
    except ConnectionMissingError:
        return read_connection(DATABASE_CONNECTION)


def read_keyring() -> Keyring:
    """The installation's keys."""
    from otn import crypto

    _mask(os.environ.get("OTN_HASH_KEY"), *os.environ.get("OTN_ENCRYPTION_KEYS", "").split(","))
    return crypto.read_keyring()


class MessengerHook(BaseHook):
    """A page's client, made from its Airflow connection.

    Args:
        messenger_conn_id: connection of type ``messenger``: host = Graph base URL, login = page id, password = page
            access token, extra = ``app_secret``, ``verify_token``, ``api_version``, ``messages_per_second``,
            ``batch_size``.
    """

    conn_name_attr = "messenger_conn_id"
    default_conn_name = DEFAULT_PAGE_CONNECTION
    conn_type = "messenger"
    hook_name = "Messenger page"

    def __init__(self, messenger_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.messenger_conn_id = messenger_conn_id

    @cached_property
    def settings(self) -> PageSettings:
        """What the connection says.

        Raises:
            ConfigurationError: it lacks something, or a figure cannot be read.
        """
        settings = page_settings(read_connection(self.messenger_conn_id))
        _mask(settings.access_token, settings.app_secret, settings.verify_token)
        return settings

    @cached_property
    def client(self) -> MessengerClient:
        """Speaks for the page, and spends no token."""
        from otn.messenger.errors import TOKEN_RULES

        return self.spending(TOKEN_RULES)

    def spending(self, token_rules: Iterable[TokenRule]) -> MessengerClient:
        """A client that spends tokens.

        Args:
            token_rules: how dead ones are recognised, see ``otn.campaign.token_rules``.
        """
        from otn.messenger.client import MessengerClient, PageCredentials

        settings = self.settings
        return MessengerClient(
            PageCredentials(
                base_url=settings.base_url,
                page_id=settings.page_id,
                access_token=settings.access_token,
                app_secret=settings.app_secret,
                api_version=settings.api_version,
            ),
            token_rules=token_rules,
        )


def _mask(*secrets: str | None) -> None:
    for secret in secrets:
        if secret and secret.strip():
            mask_secret(secret.strip())
