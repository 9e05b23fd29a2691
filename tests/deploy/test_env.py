"""`./otn deploy env`: fresh secrets, once; nothing that is there is ever changed."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from otn.crypto import read_keyring
from otn.errors import ConfigurationError
from otn.local.dotenv import read_dotenv
from otn.local.env_file import write_env
from otn.local.environment import caller_environment, program_environment
from otn.local.home import Home

PAGE = """AIRFLOW_CONN_MESSENGER_DEFAULT={"conn_type": "messenger", "login": "1", "password": "a$b"}"""


def test_the_file_holds_keys_that_fit_and_nobody_else_reads_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    written = write_env(path)
    values = read_dotenv(path)
    assert set(written.added) == set(values)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read_keyring({"OTN_ENCRYPTION_KEYS": values["DEPLOY_ENCRYPTION_KEYS"], "OTN_HASH_KEY": values["DEPLOY_HASH_KEY"]})
    Fernet(values["DEPLOY_FERNET_KEY"].encode())
    assert len(values["DEPLOY_JWT_SECRET"]) >= 64
    secrets = [value for name, value in values.items() if name.startswith("DEPLOY_")]
    assert len(set(secrets)) == len(secrets)
    assert min(map(len, secrets)) >= 40
    # Passwords stand in addresses and in single quotes as they are.
    assert not set("".join(secrets)) & set("'\"$ @:/?#%\\")


def test_two_files_share_no_secret(tmp_path: Path) -> None:
    write_env(tmp_path / "one")
    write_env(tmp_path / "two")
    one, two = read_dotenv(tmp_path / "one"), read_dotenv(tmp_path / "two")
    assert {name for name in one if one[name] == two[name]} == {"COMPOSE_PROFILES"}


def test_a_second_time_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write_env(path)
    before = path.read_bytes()
    path.chmod(0o644)
    assert write_env(path).added == ()
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_missing_is_added_and_the_rest_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# mine\n{PAGE}\nDEPLOY_POSTGRES_PASSWORD=\nDEPLOY_HASH_KEY='kept'")
    before = path.read_text()
    written = write_env(path)
    text = path.read_text()
    assert text.startswith(before + "\n")
    assert not {"DEPLOY_POSTGRES_PASSWORD", "DEPLOY_HASH_KEY"} & set(written.added)
    values = read_dotenv(path)
    assert values["DEPLOY_POSTGRES_PASSWORD"] == ""  # somebody else's Postgres
    assert values["DEPLOY_HASH_KEY"] == "kept"
    assert text.count("AIRFLOW_CONN_MESSENGER_DEFAULT") == 1


def test_anew_keeps_the_old_file_aside(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write_env(path)
    before = read_dotenv(path)
    written = write_env(path, anew=True)
    assert written.kept_aside
    assert read_dotenv(written.kept_aside) == before
    assert stat.S_IMODE(written.kept_aside.stat().st_mode) == 0o600
    assert read_dotenv(path)["DEPLOY_HASH_KEY"] != before["DEPLOY_HASH_KEY"]


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("this is no assignment: secret\n")
    with pytest.raises(ConfigurationError, match="Line 1") as caught:
        write_env(path)
    assert "secret" not in str(caught.value)
    assert path.read_text() == "this is no assignment: secret\n"
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_env(tmp_path / "no" / "folder" / ".env")


def test_a_home_that_moves_keeps_its_keys(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    with pytest.raises(ConfigurationError, match="holds no keys"):
        write_env(tmp_path / ".env", keys_of=home)
    assert not (tmp_path / ".env").exists()
    home.create()
    write_env(tmp_path / ".env", keys_of=home)
    values = read_dotenv(tmp_path / ".env")
    assert values["DEPLOY_ENCRYPTION_KEYS"] == home.secrets()["OTN_ENCRYPTION_KEYS"]
    assert values["DEPLOY_HASH_KEY"] == home.secrets()["OTN_HASH_KEY"]
    write_env(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="has other keys"):
        write_env(tmp_path / "other", keys_of=home)


def test_a_home_beside_it_goes_on_with_its_own_keys_and_database(tmp_path: Path) -> None:
    """`./otn up` reads the same file."""
    path = tmp_path / ".env"
    write_env(path)
    home = Home.at(tmp_path / "home")
    home.create()
    ports = {"postgres": 1, "api": 2, "receiver": 3}
    found = program_environment(home, caller_environment({"PATH": "/bin"}, path), ports)
    bare = program_environment(home, {"PATH": "/bin"}, ports)
    assert {name: value for name, value in found.items() if not name.startswith(("DEPLOY_", "COMPOSE_"))} == bare


def test_the_command_says_what_to_back_up_and_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    command = [sys.executable, "-m", "otn", "deploy", "env", "--file", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Back it up" in said.stdout
    values = read_dotenv(path)
    assert not [name for name, value in values.items() if len(value) > 20 and value in said.stdout + said.stderr]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "nothing was changed" in again.stdout
    anew = subprocess.run([*command, "--force"], capture_output=True, text=True, timeout=60, check=True)
    assert "The old file is" in anew.stderr
