"""The command line as people use it: a process of its own, against a real database."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import make_url

from otn.campaign import control, plan
from otn.campaign.model import CampaignSpec
from otn.cli.app import main
from otn.crypto import new_key
from otn.database import Engine, transaction
from otn.settings import ROOT
from sandbox import process
from sandbox.process import Handle

Run = subprocess.CompletedProcess[str]
PAGE_TOKEN = "EAAB-the-page-token-of-the-tests"
APP_SECRET = "app-secret-of-the-tests"
SECRETS = (PAGE_TOKEN, APP_SECRET)


@dataclass
class Shell:
    """Runs ``python -m otn`` in an environment of its own."""

    environ: dict[str, str]
    home: Path

    def __call__(self, *words: str, code: int | None = 0, **environ: str) -> Run:
        command = [sys.executable, "-m", "otn", *words]
        ended = subprocess.run(
            command,
            env=self.environ | environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.check(ended, code)
        return ended

    @staticmethod
    def check(ended: Run, code: int | None) -> None:
        said = ended.stdout + ended.stderr
        if code is not None:
            assert ended.returncode == code, said
        assert "Traceback" not in said
        assert not [secret for secret in SECRETS if secret in said]

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)


class Inside(Shell):
    """Runs a command inside this process, in a tenth of the time: where the point is what it does."""

    def __call__(self, *words: str, code: int | None = 0, text: str = "", **environ: str) -> Run:
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.dict(os.environ, self.environ | environ, clear=True),
            patch.object(sys, "argv", ["otn", *words]),
            patch.object(sys, "stdin", io.StringIO(text)),
            redirect_stdout(out),
            redirect_stderr(err),
            chdir(self.home),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        done = Run([*words], int(ended.value.code or 0), out.getvalue(), err.getvalue())
        self.check(done, code)
        return done


@pytest.fixture
def inside(otn: Shell) -> Inside:
    return Inside(otn.environ, otn.home)


@pytest.fixture
def otn(database_url: str, tmp_path: Path) -> Shell:
    url = make_url(database_url)
    place = {"host": url.host, "port": url.port, "login": url.username, "password": url.password}
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'plugins'}{os.pathsep}{ROOT}",
        "OTN_HOME": str(tmp_path / "home"),
        "AIRFLOW_CONN_OTN_DB": json.dumps({"conn_type": "postgres", "schema": url.database, **place}),
        "OTN_ENCRYPTION_KEYS": new_key(),
        "OTN_HASH_KEY": new_key(),
    }
    return Shell(environ, tmp_path)


@pytest.fixture(scope="module")
def platform() -> Iterator[Handle]:
    with process.start() as handle:
        yield handle


@pytest.fixture
def page_variable(platform: Handle) -> Callable[..., str]:
    """Makes a page on the platform and gives the variable of its connection."""

    def make(subscribed_fields: list[str] | None = None, **extra: str) -> str:
        fields = {} if subscribed_fields is None else {"subscribed_fields": subscribed_fields}
        page = platform.control.page(access_token=PAGE_TOKEN, app_secret=APP_SECRET, verify_token="v", **fields)
        known = {"app_secret": APP_SECRET, "verify_token": "v", **extra}
        return json.dumps(
            {
                "conn_type": "messenger",
                "host": platform.url,
                "login": page["page_id"],
                "password": PAGE_TOKEN,
                "extra": known,
            }
        )

    platform.control.reset()
    return make


PSID = "28777805391819468"


@pytest.fixture
def campaign(database: Engine) -> str:
    """A campaign in mid-sending: one sent, one refused oddly, one unknown, one waiting, one excluded."""
    sql = """
    INSERT INTO otn.page (page_id, connection_id) VALUES ('1001', 'shop');
    INSERT INTO otn.topic (page_id, key, title, payload, registered_at)
        SELECT id, 'restock', 'Back in stock', 'restock', clock_timestamp() FROM otn.page;
    INSERT INTO otn.subscriber (page_id, psid)
        SELECT 1, (28777805391819467 + n)::text FROM generate_series(1, 5) AS n;
    INSERT INTO otn.token (subscriber_id, topic_id, token_hash, token_encrypted, opted_in_at, expires_at)
        SELECT id, 1, sha256(psid::bytea), '\\x00', clock_timestamp(), clock_timestamp() + interval '300 days'
        FROM otn.subscriber;
    INSERT INTO otn.suppression (subscriber_id, reason) SELECT max(id), 'stop_word' FROM otn.subscriber;
    """
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
    opened = control.open_campaign(
        database,
        CampaignSpec(key="spring", message={"text": "It is back"}, approval=False),
        page_row_id=1,
        facebook_page_id="1001",
        topic_row_id=1,
        topic_key="restock",
        actor="test",
    )
    plan.plan(database, opened.id, messages_per_second=None)
    called = "attempts = 1, attempt_id = gen_random_uuid()"
    with transaction(database) as connection, connection.cursor() as cursor:
        for state, more in (
            ("sent", "evidence = 'answer', message_id = 'm_1', sent_at = clock_timestamp()"),
            ("refused", "error_code = 551, error_subcode = 1545041, reason = '=HYPERLINK(\"http://x\")'"),
            ("unknown", "unanswered = 1, reason = 'timeout'"),
        ):
            cursor.execute(
                f"UPDATE otn.recipient SET state = '{state}', {called}, {more} WHERE subscriber_id = "
                "(SELECT min(subscriber_id) FROM otn.recipient WHERE state = 'waiting')"
            )
    return "spring"
