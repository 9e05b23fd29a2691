from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otn.crypto import read_keyring
from otn.local.home import Home, HomeError, SecretsLostError


def test_keys_are_made_once_are_readable_by_the_owner_alone_and_fit_the_keyring(home: Home) -> None:
    made = home.secrets()
    passwords = home.passwords()
    home.create()
    assert home.secrets() == made
    assert home.passwords() == passwords
    assert len(passwords["admin"]) >= 20
    for file in (home.secrets_file, home.password_file):
        assert file.stat().st_mode & 0o777 == 0o600
    assert home.path.stat().st_mode & 0o007 == 0
    read_keyring(made)
    assert len(set(made.values())) == len(made), "every key is another one"
    assert "Back this file up" in home.secrets_file.read_text()


def test_two_homes_have_other_keys_and_another_identity(tmp_path: Path) -> None:
    first, second = Home.at(tmp_path / "a"), Home.at(tmp_path / "b")
    first.create()
    second.create()
    assert not set(first.secrets().values()) & set(second.secrets().values())
    assert first.identity != second.identity
    assert Home.at(tmp_path / "x" / ".." / "a").identity == first.identity


def test_many_creators_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    def create(_: int) -> dict[str, str]:
        home = Home.at(tmp_path / "home")
        barrier.wait()
        with home.lock():
            home.create()
            return home.secrets()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(create, range(8)))
    assert all(found == results[0] for found in results)
    assert results[0]


def test_keys_are_never_replaced_while_data_stand(home: Home) -> None:
    home.pgdata.mkdir(parents=True)
    kept = home.secrets_file.read_text()
    for damage in ("", kept.replace("OTN_HASH_KEY=", "#OTN_HASH_KEY="), kept.split("OTN_HASH_KEY=")[0]):
        home.secrets_file.write_text(damage)
        with pytest.raises(SecretsLostError, match=r"Put .*secrets\.env back"):
            home.create()
        assert home.secrets_file.read_text() == damage
    home.secrets_file.unlink()
    with pytest.raises(SecretsLostError):
        home.create()
    assert not home.secrets_file.exists()


def test_a_key_that_a_newer_version_needs_is_added_and_the_rest_stays(home: Home) -> None:
    home.pgdata.mkdir(parents=True)
    before = home.secrets()
    lines = home.secrets_file.read_text().splitlines(keepends=True)
    home.secrets_file.write_text("".join(line for line in lines if "AIRFLOW__API__SECRET_KEY" not in line))
    home.create()
    after = home.secrets()
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"AIRFLOW__API__SECRET_KEY"}


def test_rotated_keys_are_kept_as_they_were_written(home: Home) -> None:
    old = home.secrets()["OTN_ENCRYPTION_KEYS"]
    text = home.secrets_file.read_text().replace(old, f"{'A' * 43}=,{old}")
    home.secrets_file.write_text(text)
    home.create()
    assert home.secrets()["OTN_ENCRYPTION_KEYS"].endswith(f",{old}")
    assert len(read_keyring(home.secrets()).encryption_keys) == 2


def test_the_second_waits_for_the_lock_and_says_so(home: Home) -> None:
    said, order = [], []
    waits = threading.Event()

    def second() -> None:
        with home.lock(lambda: (said.append("waiting"), waits.set())):
            order.append("second")

    with home.lock(lambda: said.append("not me")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join()
    assert said == ["waiting"]
    assert order == ["first", "second"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '"text"', "\x00"])
def test_a_damaged_state_counts_as_none_and_can_be_written_again(home: Home, damage: str) -> None:
    home.state_file.write_text(damage)
    assert home.state() == {}
    home.save_state(ports={"api": 1}, gone=None)
    assert home.state() == {"ports": {"api": 1}}
    home.save_state(ports=None)
    assert home.state() == {}


def test_a_home_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = Home.at(tmp_path / "file" / "home")
    with pytest.raises(HomeError, match="--home"), home.lock():
        pass
    with pytest.raises(HomeError, match="--home"):
        home.create()


def test_looking_at_a_home_makes_nothing(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "none")
    assert not home.exists
    assert home.state() == {}
    assert home.secrets() == {}
    assert home.passwords() == {}
    assert not home.path.exists()


def test_the_password_file_is_json_of_user_to_password(home: Home) -> None:
    assert json.loads(home.password_file.read_text()) == home.passwords()
    assert list(home.passwords()) == ["admin"]
