"""The home: the one folder that holds everything of one installation, and the keys in it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otn.crypto import new_key
from otn.errors import ConfigurationError
from otn.local.dotenv import read_dotenv
from otn.local.files import private_folder, write_private
from otn.settings import ROOT

ADMIN = "admin"
_SECRETS_HEADER = """\
# Keys of this home, made once. Back this file up: without OTN_ENCRYPTION_KEYS and OTN_HASH_KEY the stored
# opt-ins cannot be read any more. To rotate, put a new key in front: OTN_ENCRYPTION_KEYS=new,old. Never change
# OTN_HASH_KEY.
"""


class HomeError(ConfigurationError):
    """The home folder cannot be used. Give another one with --home."""


class SecretsLostError(ConfigurationError):
    """The home holds data but not its keys. Put its secrets.env back from your backup."""


@dataclass(frozen=True)
class Home:
    """Where one installation keeps everything.

    Args:
        path: the folder, absolute and without symbolic links.
    """

    path: Path

    @classmethod
    def at(cls, path: Path | str | None = None) -> Home:
        """The home at a path; ``OTN_HOME`` or ``.otn/`` at the project's root where none is given.

        Nothing is made.
        """
        return cls(Path(path or os.environ.get("OTN_HOME") or ROOT / ".otn").expanduser().resolve())

    @property
    def identity(self) -> str:
        """A UUID that every process of this home carries in its environment.

        It follows from the path, so that a copy of a home is another home, and what was started for a home that
        was deleted since is still known as its own.
        """
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"otn-home:{self.path}"))

    @property
    def postgres(self) -> Path:
        """Folder of the embedded Postgres; belongs to the account that it runs under."""
        return self.path / "postgres"

    @property
    def pgdata(self) -> Path:
        """Data directory of the embedded Postgres."""
        return self.postgres / "data"

    @property
    def logs(self) -> Path:
        """What the processes print, one file each, rotated."""
        return self.path / "logs"

    @property
    def airflow(self) -> Path:
        """``AIRFLOW_HOME``: task logs and airflow.cfg."""
        return self.path / "airflow"

    @property
    def run(self) -> Path:
        """Files of the running system; worthless once it is down."""
        return self.path / "run"

    @property
    def secrets_file(self) -> Path:
        """The keys; to be backed up."""
        return self.path / "secrets.env"

    @property
    def password_file(self) -> Path:
        """JSON of user to password, for Airflow's login."""
        return self.path / "passwords.json"

    @property
    def state_file(self) -> Path:
        """Ports and sockets, kept between starts."""
        return self.path / "state.json"

    @property
    def exists(self) -> bool:
        """Whether this home was ever made."""
        return self.secrets_file.exists()

    def create(self) -> None:
        """Make the folders and the keys, each once; call it under the lock.

        Raises:
            HomeError: the folder cannot be made.
            SecretsLostError: there is data, but its keys are gone.
        """
        try:
            for folder in (self.path, self.logs, self.airflow, self.run):
                private_folder(folder)
        except OSError as error:
            raise HomeError(
                f"The home {self.path} cannot be made ({error.strerror}). Give another folder with --home."
            ) from None
        known = {name: value for name, value in self.secrets().items() if value}
        missing = {name: make() for name, make in _SECRETS.items() if name not in known}
        if missing.keys() & _KEYS_OF_DATA and self.pgdata.exists():
            raise SecretsLostError(
                f"{self.path} holds a database, but not its keys. Put {self.secrets_file} back from your backup."
            )
        if missing:
            lines = [f"{name}={value}\n" for name, value in (known | missing).items()]
            write_private(self.secrets_file, _SECRETS_HEADER + "".join(lines))
        if not self.password_file.exists():
            write_private(self.password_file, json.dumps({ADMIN: secrets.token_urlsafe(18)}) + "\n")

    def admit(self, users: Iterable[str]) -> None:
        """Make a password for each of Airflow's users who has none yet; call it under the lock.

        Airflow would make them too, and print them into its log.

        Args:
            users: names. Others keep their passwords, for the day when they are named again.

        Raises:
            HomeError: the file of passwords is damaged; nobody's password is replaced.
        """
        known = self.passwords()
        if not known:
            raise HomeError(f"{self.password_file} is no JSON of user to password. Correct it, or delete it.")
        if missing := [name for name in users if name not in known]:
            made = {name: secrets.token_urlsafe(18) for name in missing}
            write_private(self.password_file, json.dumps(known | made) + "\n")

    def secrets(self) -> dict[str, str]:
        """The keys of this home by name; empty where there is none yet."""
        return read_dotenv(self.secrets_file)

    def passwords(self) -> dict[str, str]:
        """Airflow's users and their passwords; empty where there are none yet."""
        try:
            found = json.loads(self.password_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {str(user): str(password) for user, password in dict(found).items()}

    def state(self) -> dict[str, Any]:
        """Ports and sockets of the last start; empty where there was none or the file is damaged."""
        try:
            found = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def settings(self) -> dict[str, str]:
        """Settings that this home was made with, such as the demo's connections; an empty one hides the caller's."""
        kept: dict[str, str] = self.state().get("settings", {})
        return dict(kept)

    def save_state(self, **values: object) -> None:
        """Change some values of the state; None removes one."""
        state = {name: value for name, value in (self.state() | values).items() if value is not None}
        write_private(self.state_file, json.dumps(state, indent=2) + "\n")

    @contextmanager
    def lock(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the home against another ``up`` or ``down``; it ends with the process, whatever becomes of that.

        Args:
            waiting: called once when another process holds it.
        """
        try:
            private_folder(self.path)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HomeError(
                f"The home {self.path} cannot be used ({error.strerror}). Give another folder with --home."
            ) from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _jwt_secret() -> str:
    return base64.urlsafe_b64encode(os.urandom(64)).decode()  # HS512 wants 64 bytes


def _password() -> str:
    return secrets.token_urlsafe(32)


_KEYS_OF_DATA = {"OTN_ENCRYPTION_KEYS", "OTN_HASH_KEY", "OTN_POSTGRES_PASSWORD"}
_SECRETS: dict[str, Callable[[], str]] = {
    "OTN_ENCRYPTION_KEYS": new_key,
    "OTN_HASH_KEY": new_key,
    "AIRFLOW__CORE__FERNET_KEY": new_key,
    "AIRFLOW__API_AUTH__JWT_SECRET": _jwt_secret,
    "AIRFLOW__API__SECRET_KEY": _password,
    "OTN_POSTGRES_PASSWORD": _password,
    "OTN_POSTGRES_OTN_PASSWORD": _password,
    "OTN_POSTGRES_AIRFLOW_PASSWORD": _password,
    "OTN_POSTGRES_SENDER_PASSWORD": _password,
    "OTN_POSTGRES_RECEIVER_PASSWORD": _password,
}


def new_secrets() -> dict[str, str]:
    """Fresh keys and passwords of one installation, by name."""
    return {name: make() for name, make in _SECRETS.items()}
