from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from otn.errors import ConfigurationError
from otn.settings import (
    Connection,
    ConnectionMissingError,
    PageSettings,
    database_url,
    page_settings,
    read_connection,
    sql_folder,
)

SECRET = "EAAG-very-secret"
PAGE = {
    "conn_type": "messenger",
    "host": "http://127.0.0.1:8123/",
    "login": "100200300",
    "password": SECRET,
    "extra": {"app_secret": "app-" + SECRET, "verify_token": "verify-" + SECRET, "api_version": "v24.0"},
}


def read(text: str) -> Connection:
    return read_connection("messenger_default", {"AIRFLOW_CONN_MESSENGER_DEFAULT": text})


def page(**changes: Any) -> PageSettings:
    return page_settings(read(json.dumps({**PAGE, **changes})))


def test_a_page_as_json() -> None:
    settings = page()
    assert settings == PageSettings(
        connection_id="messenger_default",
        base_url="http://127.0.0.1:8123",
        page_id="100200300",
        access_token=SECRET,
        app_secret="app-" + SECRET,
        verify_token="verify-" + SECRET,
        api_version="v24.0",
        messages_per_second=30.0,
        batch_size=None,
    )


def test_what_is_left_out_has_a_default() -> None:
    settings = page(host=None, extra=None)
    assert (settings.base_url, settings.api_version) == ("https://graph.facebook.com", "v25.0")
    assert (settings.app_secret, settings.verify_token, settings.messages_per_second) == (None, None, 30.0)


def test_extra_may_be_json_within_json_and_the_page_id_a_number() -> None:
    settings = page(login=100200300, extra=json.dumps({"app_secret": "s", "messages_per_second": "12.5"}))
    assert (settings.page_id, settings.app_secret, settings.messages_per_second) == ("100200300", "s", 12.5)


def test_a_page_as_uri() -> None:
    settings = page_settings(read("messenger://100:se%2Fcret%40@graph.example:8443?app_secret=x%26y&batch_size=7"))
    assert (settings.base_url, settings.page_id, settings.access_token) == (
        "https://graph.example:8443",
        "100",
        "se/cret@",
    )
    assert (settings.app_secret, settings.batch_size) == ("x&y", 7)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("graph.example", None, "https://graph.example"),
        ("http://127.0.0.1", 8123, "http://127.0.0.1:8123"),
        ("http://127.0.0.1/", 8123, "http://127.0.0.1:8123"),
        ("", None, "https://graph.facebook.com"),
    ],
)
def test_the_base_url_is_put_together(host: str, port: int | None, url: str) -> None:
    assert page(host=host, port=port).base_url == url


@pytest.mark.parametrize(
    ("value", "pace"),
    [(0, None), ("0", None), (None, 30.0), ("", 30.0), ("auto", 30.0), ("7.5", 7.5), (1_000_000, 1e6), (0.01, 0.01)],
)
def test_a_pace_is_read(value: object, pace: float | None) -> None:
    assert page(extra={"messages_per_second": value}).messages_per_second == pace


@pytest.mark.parametrize("value", [-1, "fast", "nan", "inf", 1_000_001, [30], {"a": 1}, True])
def test_a_pace_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"messages_per_second of the connection 'messenger_default' .* Give"):
        page(extra={"messages_per_second": value})


@pytest.mark.parametrize(
    ("host", "given", "allowed"),
    [
        (None, None, 200.0),
        ("https://graph.facebook.com", None, 200.0),
        ("http://127.0.0.1:9000", None, None),
        ("http://127.0.0.1:9000", 5, 5.0),
        (None, 0, None),
    ],
)
def test_the_quota_of_a_day_is_meta_s_and_no_stand_in_s(
    host: str | None, given: int | None, allowed: float | None
) -> None:
    assert page(host=host, extra={"calls_per_person": given}).calls_per_person == allowed


@pytest.mark.parametrize("key", ["media_per_second", "calls_per_person"])
def test_a_rate_that_is_none_is_refused_by_its_name(key: str) -> None:
    assert page(extra={}).media_per_second == 10.0
    with pytest.raises(ConfigurationError, match=rf"{key} of the connection .* Give"):
        page(extra={key: "fast"})


@pytest.mark.parametrize(("value", "share"), [(None, 0.1), ("", 0.1), (0, 0.0), ("0.25", 0.25), (0.5, 0.5)])
def test_the_part_for_answers_is_read(value: object, share: float) -> None:
    assert page(extra={"answers_share": value}).answers_share == share


@pytest.mark.parametrize("value", [-0.1, 0.51, "a tenth", "nan", [1]])
def test_a_part_for_answers_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"answers_share of the connection .* from 0 to 0.5"):
        page(extra={"answers_share": value})


@pytest.mark.parametrize(("value", "size"), [(None, None), ("auto", None), ("", None), (1, 1), ("50", 50)])
def test_a_batch_size_is_read(value: object, size: int | None) -> None:
    assert page(extra={"batch_size": value}).batch_size == size


@pytest.mark.parametrize("value", [0, 51, -5, "ten", 2.5, True, "5²", [5]])
def test_a_batch_size_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"batch_size of the connection .* Give 1 to 50"):
        page(extra={"batch_size": value})


@pytest.mark.parametrize(
    ("missing", "sentence"), [("login", r"has no login \(the page id\)"), ("password", "has no password")]
)
@pytest.mark.parametrize("nothing", [None, ""])
def test_a_page_without_id_or_token_is_refused(missing: str, sentence: str, nothing: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{sentence}.*Add it"):
        page(**{missing: nothing})


@pytest.mark.parametrize("environ", [{}, {"AIRFLOW_CONN_MESSENGER_DEFAULT": " \n"}])
def test_a_connection_that_is_not_set_is_named_with_its_variable(environ: dict[str, str]) -> None:
    with pytest.raises(ConnectionMissingError, match=r"'messenger_default' is not defined. Set AIRFLOW_CONN_MESSENGER"):
        read_connection("messenger_default", environ)


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "EAAG-very-secret"',
        '{"password": "EAAG-very-secret", "port": "EAAG-very-secret"}',
        '{"password": "EAAG-very-secret", "extra": "EAAG-very-secret"}',
        '{"password": "EAAG-very-secret", "extra": ["EAAG-very-secret"]}',
        '{"password": "EAAG-very-secret", "extra": 5}',
        '{"password": "EAAG-very-secret", "port": [1]}',
        "messenger://100:EAAG-very-secret@host:EAAG-very-secret",
        "messenger://100:EAAG-very-secret@host:99999999",
        "messenger://100:EAAG-very-secret@[host",
    ],
)
def test_what_cannot_be_read_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^AIRFLOW_CONN_MESSENGER_DEFAULT cannot be read .* Correct"
    ) as refusal:
        read(text)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__suppress_context__, "the parser's own error quotes the text"


def test_no_secret_shows() -> None:
    connection = read(json.dumps(PAGE))
    for shown in (repr(connection), str(connection), repr(page_settings(connection)), f"{page_settings(connection)}"):
        assert SECRET not in shown


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_2", '{"login": "7"}')
    assert read_connection("shop_2").login == "7"


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({"host": "db.example", "port": 6432, "login": "otn", "schema": "data"}, "otn@db.example:6432/data"),
        ({"host": "db.example"}, "postgres@db.example:5432/otn"),
        ({}, "postgres@localhost:5432/otn"),
        ({"host": "db", "extra": {"sslmode": "verify-full", "other": "x"}}, "postgres@db:5432/otn?sslmode=verify-full"),
    ],
)
def test_a_database_connection_becomes_a_url_that_names_the_driver(parts: dict[str, Any], url: str) -> None:
    assert database_url(Connection("otn_db", **parts)) == f"postgresql+psycopg2://{url}"


def test_odd_characters_survive_the_url() -> None:
    password = "p@ss/w:o?r#d %ü"
    url = make_url(database_url(Connection("otn_db", host="db", login="a@b", password=password, schema="data")))
    assert (url.username, url.password, url.host, url.database) == ("a@b", password, "db", "data")
    assert password not in repr(url)


def test_a_folder_as_host_is_a_socket() -> None:
    url = make_url(database_url(Connection("otn_db", host="/run/postgresql", port=5433)))
    assert url.host is None
    assert dict(url.query) == {"host": "/run/postgresql", "port": "5433"}


def test_a_postgres_uri_leads_to_the_same_place() -> None:
    environ = {"AIRFLOW_CONN_OTN_DB": "postgres://otn:p%40ss@db.example:6432/data?sslmode=require"}
    url = make_url(database_url(read_connection("otn_db", environ)))
    assert (url.drivername, url.password, url.port, url.database) == ("postgresql+psycopg2", "p@ss", 6432, "data")
    assert url.query["sslmode"] == "require"


def test_the_sql_folder_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (sql_folder() / "migrations").is_dir()
    monkeypatch.setenv("OTN_SQL_DIR", str(tmp_path))
    assert sql_folder() == tmp_path
