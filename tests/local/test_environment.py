from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otn.errors import ConfigurationError
from otn.local.airflow_settings import TUNABLE, airflow_settings
from otn.local.demo import stand_in
from otn.local.environment import (
    caller_environment,
    can_receive,
    can_send,
    environment_of,
    home_environment,
    program_environment,
    without_secrets,
)
from otn.local.home import Home
from otn.local.logins import KINDS, RECEIVER, SENDER, Kind
from otn.local.programs import RECEIVER as RECEIVER_PROGRAM
from otn.local.programs import RESPONDER, system_programs
from otn.settings import database_url, read_connection, read_database_connection

PORTS = {"postgres": 21001, "api": 21002, "receiver": 21003}
SECRETS = {"app_secret": "app-s3cret", "verify_token": "verify-s3cret"}
PAGE = json.dumps({"conn_type": "messenger", "login": "1", "password": "page-token", "extra": SECRETS})

# What Airflow itself lists: every option of its own configuration and of its providers.
LISTED = """
import json, sys
from airflow.configuration import conf
names = [name for name in json.load(sys.stdin)]
unknown = []
for name in names:
    section, _, option = name.removeprefix("AIRFLOW__").lower().partition("__")
    described = conf.configuration_description.get(section, {}).get("options", {}).get(option)
    if described is None or described.get("version_deprecated"):
        unknown.append(name)
json.dump(unknown, sys.stdout)
"""


def test_every_variable_that_we_set_is_an_option_of_airflow(home: Home) -> None:
    given = TUNABLE | airflow_settings(home, api_port=1, database_url="x", users={"admin": "admin"}) | home.secrets()
    names = [name for name in given if name.startswith("AIRFLOW__")]
    assert len(names) > 25
    answer = subprocess.run(
        [sys.executable, "-c", LISTED],
        input=json.dumps([*names, "AIRFLOW__CORE__NO_SUCH_OPTION"]),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(home.airflow)},
        timeout=120,
    )
    assert json.loads(answer.stdout.splitlines()[-1]) == ["AIRFLOW__CORE__NO_SUCH_OPTION"]


def test_another_airflow_of_the_caller_does_not_leak_in(home: Home) -> None:
    caller = {
        "AIRFLOW_HOME": "/f0reign",
        "AIRFLOW_CONFIG": "/f0reign/airflow.cfg",
        "AIRFLOW__CORE__DAGS_FOLDER": "/f0reign/dags",
        "AIRFLOW__CORE__FERNET_KEY": "f0reign",
        "AIRFLOW__API_AUTH__JWT_SECRET": "f0reign",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////f0reign.db",
        "AIRFLOW__CORE__PARALLELISM": "3",
        "PYTHONPATH": "/f0reign",
        "PYTHONHOME": "/f0reign",
        "VIRTUAL_ENV": "/f0reign",
        "OTN_HOME": "/f0reign",
        "OTN_HOME_ID": "f0reign",
        "OTN_PROGRAM": "f0reign",
        "NO_PROXY": "example.org",
    }
    environment = program_environment(home, caller, PORTS)
    assert {name for name, value in environment.items() if "f0reign" in value} == set()
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "3", "an operator may tune"
    assert environment["NO_PROXY"] == "example.org,localhost,127.0.0.1,::1"
    assert "OTN_HOME_ID" not in environment, "the supervisor sets it"


def test_the_programs_get_no_password_of_the_superuser(home: Home) -> None:
    text = json.dumps(program_environment(home, {}, PORTS))
    assert home.secrets()["OTN_POSTGRES_PASSWORD"] not in text
    assert home.secrets()["OTN_ENCRYPTION_KEYS"] in text


def test_the_connection_otn_db_is_the_embedded_one_unless_given(home: Home) -> None:
    url = database_url(read_connection("otn_db", program_environment(home, {}, PORTS)))
    assert url == f"postgresql+psycopg2://otn:{home.secrets()['OTN_POSTGRES_OTN_PASSWORD']}@127.0.0.1:21001/otn"
    given = {"AIRFLOW_CONN_OTN_DB": "postgres://u:p@db:5/x"}
    assert program_environment(home, given, PORTS)["AIRFLOW_CONN_OTN_DB"] == "postgres://u:p@db:5/x"
    empty = program_environment(home, {"AIRFLOW_CONN_OTN_DB": ""}, PORTS)
    assert database_url(read_connection("otn_db", empty)) == url


@pytest.mark.parametrize("kind", KINDS, ids=["sender", "receiver"])
def test_a_program_that_faces_strangers_is_given_its_own_login_and_nothing_of_the_owners(
    home: Home, kind: Kind
) -> None:
    environment = program_environment(home, {"AIRFLOW_CONN_MESSENGER_DEFAULT": PAGE}, PORTS)
    name = RECEIVER_PROGRAM if kind == RECEIVER else RESPONDER
    (given,) = (one.environment for one in system_programs(environment, PORTS) if one.name == name)
    assert given == environment_of(kind, environment)
    assert database_url(read_database_connection(kind.connection_id, given)) == (
        f"postgresql+psycopg2://{kind.login}:{home.secrets()[kind.secret]}@127.0.0.1:21001/otn"
    )
    secrets = home.secrets()
    theirs = {secrets[name] for name in (kind.secret, "OTN_ENCRYPTION_KEYS", "OTN_HASH_KEY")}
    text = json.dumps(dict(given))
    assert {secret for secret in secrets.values() if secret in text} == theirs
    assert given["AIRFLOW_CONN_MESSENGER_DEFAULT"] == PAGE


def test_a_database_of_the_callers_gets_no_login_of_the_home(home: Home) -> None:
    given = {"AIRFLOW_CONN_OTN_DB": "postgres://u:p@db:5/x"}
    environment = program_environment(home, given, PORTS)
    for kind in KINDS:
        assert kind.variable not in environment
        assert read_database_connection(kind.connection_id, environment_of(kind, environment)).login == "u"
    given |= {RECEIVER.variable: "postgres://door:p@db:5/x"}
    found = environment_of(RECEIVER, program_environment(home, given, PORTS))
    assert read_database_connection(RECEIVER.connection_id, found).login == "door"
    assert "AIRFLOW_CONN_OTN_DB" not in found


def test_a_home_of_an_older_version_works_until_it_is_started_again(home: Home) -> None:
    lines = home.secrets_file.read_text().splitlines(keepends=True)
    home.secrets_file.write_text(
        "".join(line for line in lines if not line.startswith((SENDER.secret, RECEIVER.secret)))
    )
    environment = program_environment(home, {}, PORTS)
    assert read_database_connection(SENDER.connection_id, environment).login == "otn"
    home.create()
    assert read_database_connection(SENDER.connection_id, program_environment(home, {}, PORTS)).login == SENDER.login


def test_keys_of_the_caller_go_before_those_of_the_home(home: Home) -> None:
    environment = program_environment(home, {"OTN_HASH_KEY": "mine"}, PORTS)
    assert environment["OTN_HASH_KEY"] == "mine"
    assert environment["OTN_ENCRYPTION_KEYS"] == home.secrets()["OTN_ENCRYPTION_KEYS"]


def test_the_environment_goes_before_the_dotenv(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"AIRFLOW_CONN_MESSENGER_DEFAULT={PAGE}\nA=file\n")
    found = caller_environment({"A": "environment"}, file)
    assert found == {"A": "environment", "AIRFLOW_CONN_MESSENGER_DEFAULT": PAGE}


def test_a_home_that_was_never_started_says_what_to_do(home: Home, tmp_path: Path) -> None:
    for place in (home, Home.at(tmp_path / "none")):
        with pytest.raises(ConfigurationError, match=r"\./otn up"):
            home_environment(place, {})
    home.save_state(ports=PORTS)
    assert home_environment(home, {})["OTN_RECEIVER_PORT"] == "21003"


def _page(**extra: str) -> str:
    return json.dumps({"conn_type": "messenger", "login": "1", "password": "p", "extra": extra})


@pytest.mark.parametrize(
    ("environment", "can"),
    [
        ({}, False),
        ({"AIRFLOW_CONN_MESSENGER_DEFAULT": PAGE}, True),
        ({"AIRFLOW_CONN_SECOND_PAGE": PAGE}, True),
        ({"AIRFLOW_CONN_MESSENGER_DEFAULT": _page()}, False),
        ({"AIRFLOW_CONN_MESSENGER_DEFAULT": _page(app_secret="s")}, False),
        ({"AIRFLOW_CONN_MESSENGER_DEFAULT": _page(verify_token="v")}, False),
        ({"AIRFLOW_CONN_MESSENGER_DEFAULT": _page(app_secret="s", verify_token="")}, False),
        ({"AIRFLOW_CONN_OTHER": PAGE.replace("messenger", "http")}, False),
        ({"AIRFLOW_CONN_OTHER": "{damaged", "AIRFLOW_CONN_SECOND_PAGE": PAGE}, True),
    ],
)
def test_the_receiver_needs_both_secrets_of_some_page(environment: dict[str, str], can: bool) -> None:
    assert can_receive(environment) is can


@pytest.mark.parametrize(
    ("environment", "can"),
    [
        ({}, False),
        ({"AIRFLOW_CONN_MESSENGER_DEFAULT": _page()}, True),
        ({"AIRFLOW_CONN_SECOND_PAGE": _page()}, True),
        ({"AIRFLOW_CONN_SECOND_PAGE": _page().replace('"p"', '""')}, False),
        ({"AIRFLOW_CONN_OTHER": _page().replace("messenger", "http")}, False),
    ],
)
def test_the_responder_needs_a_page_that_can_send(environment: dict[str, str], can: bool) -> None:
    assert can_send(environment) is can
    names = [program.name for program in system_programs(environment, PORTS)]
    assert (RESPONDER in names) is can


@pytest.mark.parametrize("can", [can_receive, can_send])
def test_a_damaged_default_page_is_an_error_and_shows_nothing(can: Callable[[dict[str, str]], bool]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        can({"AIRFLOW_CONN_MESSENGER_DEFAULT": '{"password": "TOPSECRET"'})
    assert "TOPSECRET" not in str(caught.value)


def test_no_secret_is_left_in_a_shown_log(home: Home) -> None:
    environment = program_environment(home, {"AIRFLOW_CONN_MESSENGER_DEFAULT": PAGE, "MY_API_TOKEN": "token-x"}, PORTS)
    secrets = [*home.secrets().values(), "page-token", "token-x", *SECRETS.values()]
    text = without_secrets(" | ".join(["harmless", *secrets, PAGE]), environment, home.secrets().values())
    assert "harmless" in text
    assert not [secret for secret in secrets if secret in text]


def test_the_spool_is_in_the_home_unless_the_operator_gives_it_another_disk(home: Home) -> None:
    assert program_environment(home, {}, PORTS)["OTN_SPOOL_DIR"] == str(home.path / "spool")
    assert program_environment(home, {"OTN_SPOOL_DIR": "/disk"}, PORTS)["OTN_SPOOL_DIR"] == "/disk"


def test_a_demo_shares_nothing_with_a_real_installation(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(stand_in.__file__).parents[2]
    read = {name for path in source.rglob("*.py") for name in re.findall(r"\bOTN_[A-Z_]+\b", path.read_text())}
    assert {"OTN_EPOCH_FILE", "OTN_ERASURE_JOURNAL", "OTN_LANDING_URL", "OTN_LANDING_CONN", "OTN_NOTIFY"} < read
    for name in [*read, "AIRFLOW_CONN_OTN_DB", "AIRFLOW_CONN_OTN_LANDING", "AIRFLOW_CONN_OTN_NOTIFY"]:
        monkeypatch.setenv(name, "/f0reign")
    stand_in.settle_in(home, rate=0)
    environment = program_environment(home, caller_environment(), PORTS)
    assert {name for name, value in environment.items() if "f0reign" in value} == {"OTN_SQL_DIR"}
    for name, file in {"OTN_ERASURE_JOURNAL": "erasures.jsonl", "OTN_SPOOL_DIR": "spool"}.items():
        assert environment[name] == str(home.path / file)
    assert "OTN_EPOCH_FILE" not in environment
