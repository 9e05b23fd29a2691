from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from otn.crypto import Keyring
from otn.database import Engine, transaction
from otn.errors import ConfigurationError
from otn.settings import ROOT, read_public_url, read_spool_settings
from otn.web.receiver.deletion import Deletions
from otn.web.receiver.line import Line
from otn.web.receiver.pages import read_page_secrets
from otn.web.receiver.store import Store
from otn.web.spool import Receipt

from .conftest import APP_SECRET, ENVIRON

RIGHTS = """
    CREATE ROLE {role} LOGIN PASSWORD 'x';
    GRANT USAGE ON SCHEMA otn TO {role};
    GRANT INSERT ON otn.webhook_event, otn.deletion_request TO {role};
    GRANT SELECT ON otn.page, otn.deletion_request TO {role};
"""


def test_the_spool_is_in_the_home_and_holds_a_gibibyte() -> None:
    assert read_spool_settings({}).folder == ROOT / ".otn" / "spool"
    assert read_spool_settings({"OTN_HOME": "/srv/otn"}).folder == Path("/srv/otn/spool")
    given = read_spool_settings({"OTN_HOME": "/srv/otn", "OTN_SPOOL_DIR": "/disk", "OTN_SPOOL_BYTES": "16000000"})
    assert (given.folder, given.bytes) == (Path("/disk"), 16_000_000)
    assert read_spool_settings({}).bytes == 1 << 30


@pytest.mark.parametrize("text", ["1 GiB", "-1", "0", "15999999", "1e9", "\uff11" * 9])
def test_a_bound_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="OTN_SPOOL_BYTES is"):
        read_spool_settings({"OTN_SPOOL_BYTES": text})


def test_the_public_address() -> None:
    assert read_public_url({}) is None
    assert read_public_url({"OTN_PUBLIC_URL": " https://example.org/otn/ "}) == "https://example.org/otn"
    for text in ("example.org", "ftp://example.org", "https://", "https://example.org/?a=b"):
        with pytest.raises(ConfigurationError, match="OTN_PUBLIC_URL is"):
            read_public_url({"OTN_PUBLIC_URL": text})


def test_a_role_that_may_hardly_do_anything_is_enough(database: Engine, database_url: str, keyring: Keyring) -> None:
    role = f"r_{make_url(database_url).database}"
    with transaction(database) as connection, connection.cursor() as cursor:
        cursor.execute(RIGHTS.format(role=role))
    line = Line(make_url(database_url).set(username=role, password="x").render_as_string(hide_password=False))
    receipt = Receipt.of(b"body", keyring)
    try:
        assert Store(line).ready()
        assert [Store(line).keep([receipt]) for _ in range(2)] == [1, 1]
        assert read_page_secrets(line, ENVIRON).app_secrets == (APP_SECRET,)
        deletions = Deletions(line, keyring)
        codes = {line.run(lambda connection: deletions._write(connection, "7")) for _ in range(2)}
        assert len(codes) == 1
        deletions.close()
    finally:
        line.close()
        with transaction(database) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
