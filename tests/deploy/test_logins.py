"""`./otn deploy init` on a server of one's own: logins that somebody else made are looked at before the start."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url

from otn.local.deployment import Deployment, PreparationError
from otn.local.logins import RECEIVER
from otn.local.progress import Silence
from tests.logins import url_of


def deployment(url: str, receiver: str) -> Any:
    variable = {name: one.replace("+psycopg2", "") for name, one in {"owner": url, "receiver": receiver}.items()}
    environment = {
        "AIRFLOW_CONN_OTN_DB": variable["owner"],
        "AIRFLOW_CONN_AIRFLOW_DB": variable["owner"],
        RECEIVER.variable: variable["receiver"],
    }
    return Deployment(environment, Silence())


def test_a_login_with_its_role_is_fit(database_url: str) -> None:
    deployment(database_url, url_of(RECEIVER, database_url))._check_logins()


def test_a_login_without_its_role_or_with_a_wrong_password_is_told_with_the_remedy(database_url: str) -> None:
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP ROLE IF EXISTS otn_bare; CREATE ROLE otn_bare LOGIN PASSWORD 'x'")
        bare = make_url(database_url).set(username="otn_bare", password="x").render_as_string(hide_password=False)
        wrong = (
            make_url(url_of(RECEIVER, database_url)).set(password="hidden-word").render_as_string(hide_password=False)
        )
        for receiver in (bare, wrong):
            with pytest.raises(PreparationError, match=r"docs/sql.md") as refused:
                deployment(database_url, receiver)._check_logins()
            assert "hidden-word" not in str(refused.value)
        connection.cursor().execute("DROP ROLE otn_bare")


def test_the_owner_under_another_name_is_no_login_to_be_made(database_url: str) -> None:
    assert deployment(database_url, database_url)._logins == ()
