"""Who may log in to Airflow: what `OTN_USERS` says, and a password for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otn.errors import ConfigurationError
from otn.local import machine
from otn.local.environment import program_environment
from otn.local.home import Home, HomeError
from otn.local.users import read_users

PORTS = {"postgres": 21001, "api": 21002, "receiver": 21003}
USERS = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"


@pytest.mark.parametrize(
    ("said", "users"),
    [
        ("", {}),
        (" , ", {}),
        ("ann:user,vera:viewer", {"ann": "user", "vera": "viewer"}),
        (" ann : User ,\n b.o-b_1@shop.example:op,", {"ann": "user", "b.o-b_1@shop.example": "op"}),
        ("ann:admin", {"ann": "admin"}),
    ],
)
def test_users_are_read_and_the_admin_is_always_there(said: str, users: dict[str, str]) -> None:
    assert read_users({"OTN_USERS": said}) == {"admin": "admin", **users}


def test_without_the_variable_there_is_the_admin_alone() -> None:
    assert read_users({}) == {"admin": "admin"}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ann", "gives ann the role ''. Give one of viewer, user, op, admin: ann:user, say."),
        ("ann:boss", "gives ann the role 'boss'"),
        ("ann:user:team", "gives ann the role 'user:team'"),
        (":user", "names the user ''. Write NAME:ROLE"),
        ("ann bo:user", "names the user 'ann bo'"),
        ("ann;vera:user", "names the user 'ann;vera'"),
        ("ann:user,ann:viewer", "the user ann stands there twice"),
        ("admin:viewer", "the user admin is always there, with all rights"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_way_out(said: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        read_users({"OTN_USERS": said})


def test_airflow_is_told_of_them_whatever_the_caller_says_of_its_own(home: Home) -> None:
    caller = {"OTN_USERS": "ann:user,vera:viewer", USERS: "mallory:admin"}
    assert program_environment(home, caller, PORTS)[USERS] == "admin:admin,ann:user,vera:viewer"
    assert program_environment(home, {}, PORTS)[USERS] == "admin:admin"


def test_each_gets_a_password_once_and_only_the_owner_reads_it(home: Home) -> None:
    admins = home.passwords()["admin"]
    home.admit(["admin", "ann", "vera"])
    made = home.passwords()
    assert list(made) == ["admin", "ann", "vera"]
    assert made["admin"] == admins
    assert min(map(len, made.values())) >= 20
    assert len(set(made.values())) == 3
    assert home.password_file.stat().st_mode & 0o777 == 0o600
    home.admit(["admin", "vera", "bob"])
    assert home.passwords() == {**made, "bob": home.passwords()["bob"]}, "ann keeps hers"


def test_a_damaged_file_of_passwords_is_named_and_left_alone(home: Home) -> None:
    home.password_file.write_text('{"admin": "mine"')
    with pytest.raises(HomeError, match="Correct it, or delete it"):
        home.admit(["admin"])
    assert home.password_file.read_text() == '{"admin": "mine"'


def test_nothing_is_made_for_users_that_cannot_be_read(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "new")
    with pytest.raises(ConfigurationError, match="OTN_USERS"):
        machine.up(home, environ={"OTN_USERS": "ann"})
    assert not home.exists
