"""The schema is applied once, whoever asks how often and at the same moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from otn.database import migrate
from otn.database.migrating import _LOCK, schema_version
from otn.settings import ROOT, sql_folder
from tests.schema.conftest import connect

Make = Callable[[str], str]

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"


def wait_until_blocked(cursor: Any, sessions: int) -> None:
    """Wait until so many sessions of this database wait for an advisory lock."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        cursor.execute(WAITING + HERE)
        if cursor.fetchone()[0] == sessions:
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits for the lock")


def facts(url: str) -> Any:
    """What the schema holds, as the catalogue tells it."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT array_agg(relname || ' ' || relkind::text ORDER BY relname) FROM pg_class"
            " WHERE relnamespace = 'otn'::regnamespace"
        )
        relations = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM otn.campaign_transition")
        return relations, cursor.fetchone()[0]


def test_two_processes_at_once_on_an_empty_database_make_one_schema(make_database: Make) -> None:
    url = make_database("template1")
    assert schema_version(url)[0] is None
    code = "import os; from otn.database import migrate; migrate(os.environ['URL'])"
    environ = {**os.environ, "URL": url, "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        processes = [
            subprocess.Popen([sys.executable, "-c", code], env=environ, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        try:
            wait_until_blocked(cursor, 2)  # both stand at the door before either may pass
            cursor.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
            connection.commit()
            said = [process.communicate(timeout=60)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert [process.returncode for process in processes] == [0, 0], said
    version, newest = schema_version(url)
    assert version == newest is not None
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM otn.campaign_transition")
        assert cursor.fetchone() == (22,)
        cursor.execute("SELECT count(*) FROM otn.alembic_version")
        assert cursor.fetchone() == (1,)


def test_a_second_time_changes_nothing_and_keeps_the_rows(make_database: Make) -> None:
    url = make_database("otn_template")
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO otn.page (page_id, connection_id) VALUES ('1', 'one')")
        connection.commit()
    before = facts(url)
    migrate(url)
    assert facts(url) == before
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT page_id FROM otn.page")
        assert cursor.fetchall() == [("1",)]


def test_a_migration_that_fails_leaves_nothing_behind(
    make_database: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sql_folder(), tmp_path / "sql")
    script = tmp_path / "sql" / "migrations" / "0001_main_job.sql"
    script.write_text(script.read_text(encoding="utf-8") + "\nSELECT 1 / 0;\n", encoding="utf-8")
    monkeypatch.setenv("OTN_SQL_DIR", str(tmp_path / "sql"))
    url = make_database("template1")
    with pytest.raises(Exception, match="division by zero"):
        migrate(url)
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'otn'")
        assert cursor.fetchone() == (0,)
    monkeypatch.delenv("OTN_SQL_DIR")
    migrate(url)
    assert schema_version(url)[0] == schema_version(url)[1]


def test_partitions_for_the_coming_days_stand_after_migration(ground: Any) -> None:
    ground.execute(
        "SELECT count(*) FROM generate_series(0, 7) AS n WHERE to_regclass('otn.webhook_event_' ||"
        " to_char((now() AT TIME ZONE 'UTC')::date + n, 'YYYYMMDD')) IS NOT NULL"
    )
    assert ground.fetchone() == (8,)


def make_partitions(cursor: Any, first: str, days: int) -> int:
    cursor.execute("SELECT otn.make_webhook_partitions(%s, %s)", (first, days))
    return int(cursor.fetchone()[0])


def store(cursor: Any, day: str) -> None:
    cursor.execute("INSERT INTO otn.webhook_event (received_day, id, body) VALUES (%s, gen_random_uuid(), 'x')", (day,))


def places(cursor: Any) -> dict[str, int]:
    """Rows by partition."""
    cursor.execute("SELECT tableoid::regclass::text, count(*) FROM otn.webhook_event GROUP BY 1")
    return dict(cursor.fetchall())


def test_partitions_are_made_once_and_take_the_rows_of_their_day(ground: Any) -> None:
    assert make_partitions(ground, "2031-01-30", 4) == 4
    assert make_partitions(ground, "2031-01-30", 4) == 0
    assert make_partitions(ground, "2031-01-30", 5) == 1
    for day in ("2031-01-29", "2031-01-30", "2031-01-31", "2031-02-01", "2031-02-03", "2031-02-04"):
        store(ground, day)
    assert places(ground) == {
        "otn.webhook_event_default": 3,  # two outside of the range, and the one of the ground
        "otn.webhook_event_20310130": 1,
        "otn.webhook_event_20310131": 1,
        "otn.webhook_event_20310201": 1,
        "otn.webhook_event_20310203": 1,
    }


def test_no_days_make_no_partitions(ground: Any) -> None:
    assert make_partitions(ground, "2031-01-30", 0) == 0


def test_a_day_that_has_rows_in_the_default_partition_stays_there(ground: Any) -> None:
    store(ground, "2032-05-02")
    assert make_partitions(ground, "2032-05-01", 3) == 2
    store(ground, "2032-05-02")
    found = places(ground)
    assert "otn.webhook_event_20320502" not in found
    assert found["otn.webhook_event_default"] == 3


def test_two_who_make_partitions_at_once_share_the_work(make_database: Make) -> None:
    url = make_database("otn_template")
    made: list[int] = []

    def make() -> None:
        with closing(connect(url)) as connection, connection.cursor() as cursor:
            made.append(make_partitions(cursor, "2033-01-01", 6))
            connection.commit()

    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('otn.make_webhook_partitions'))")
        threads = [threading.Thread(target=make) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until_blocked(cursor, 2)
        connection.commit()
        for thread in threads:
            thread.join(60)
    assert sorted(made) == [0, 6]


def test_the_role_of_the_application_needs_no_superuser(make_database: Make) -> None:
    """An administrator may give a database and a role, and nothing more."""
    url = make_database("template1")
    name = url.rsplit("/", 1)[1]
    role = f"plain_{name[-8:]}"
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        cursor.execute(f'ALTER DATABASE "{name}" OWNER TO {role}')
        connection.commit()
    plain = make_url(url).set(username=role, password="x").render_as_string(hide_password=False)
    migrate(plain)
    migrate(plain)
    assert schema_version(plain)[0] == schema_version(plain)[1]
