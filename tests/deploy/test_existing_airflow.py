"""Into an Airflow that belongs to somebody else, by the very words of the guide; and out of it again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from otn.crypto import Keyring, new_key, read_keyring
from otn.local.airflow_settings import POOLS
from otn.settings import ROOT
from tests.campaign.conftest import make_stage, sandbox, stage  # noqa: F401 - fixtures
from tests.campaign.stage import Stage

GUIDE = ROOT / "docs" / "deployment.md"
KEYS = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}
FOREIGN_PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from acme_lib.words import loud

class AcmePlugin(AirflowPlugin):
    name = "acme"
    macros = [loud]
"""
FOREIGN_DAG = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("acme_daily", schedule=None, tags=["acme"]):
    BashOperator(task_id="say", bash_command="test {{ macros.acme.loud('hi') }} = HI")
"""
IGNORED = "acme_lib/\n"


@pytest.fixture
def keyring() -> Keyring:
    return read_keyring(KEYS)


@dataclass
class Second:
    """An Airflow with a plugin, a library and a DAG of its own, migrated before we came."""

    home: Path
    environment: dict[str, str] = field(repr=False)

    def words(self, block: str) -> None:
        """Run what stands in the guide."""
        script = f'set -euo pipefail\nOTN={ROOT}\npython() {{ {sys.executable} "$@"; }}\n{guide(block)}'
        self.run(["bash", "-c", script])

    def run(self, command: list[str], said: str = "") -> str:
        ended = subprocess.run(
            command,
            input=said,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def look(self, **run: Any) -> dict[str, Any]:
        asked = json.dumps({"dags": str(self.home / "dags"), "run": run})
        script = Path(__file__).with_name("second_airflow.py")
        found: dict[str, Any] = json.loads(self.run([sys.executable, str(script)], asked).splitlines()[-1])
        return found


def guide(block: str) -> str:
    """A tested block of the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    match = re.search(rf"^( *)<!-- tested: {block} -->\n *```\w+\n(.*?)\n *```$", text, re.MULTILINE | re.DOTALL)
    assert match, block
    return "\n".join(line.removeprefix(match[1]) for line in match[2].splitlines())


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of theirs, made once; tests work on copies."""
    home = tmp_path_factory.mktemp("theirs") / "airflow"
    (home / "plugins" / "acme_lib").mkdir(parents=True)
    (home / "dags").mkdir()
    (home / "plugins" / "acme.py").write_text(FOREIGN_PLUGIN)
    (home / "plugins" / ".airflowignore").write_text(IGNORED)
    (home / "plugins" / "acme_lib" / "words.py").write_text("def loud(text):\n    return text.upper()\n")
    (home / "dags" / "acme_daily.py").write_text(FOREIGN_DAG)
    Second(home, environment(home)).run([sys.executable, "-m", "airflow", "db", "migrate"])
    return home


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def second(migrated: Path, tmp_path: Path) -> Second:
    home = tmp_path / "airflow"
    shutil.copytree(migrated, home, ignore=shutil.ignore_patterns("airflow.cfg"))  # it names the other folder
    return Second(home, environment(home))


@pytest.fixture
def connected(second: Second, stage: Stage, database_url: str) -> Second:  # noqa: F811 - a fixture
    """With keys and connections, as the guide asks for them."""
    url, page = make_url(database_url), stage.settings
    second.environment |= KEYS | {
        "OTN_ERASURE_JOURNAL": str(second.home / "erasures.jsonl"),
        "AIRFLOW_CONN_OTN_DB": f"postgres://{url.username}:{url.password}@{url.host}:{url.port}/{url.database}",
        "AIRFLOW_CONN_MESSENGER_DEFAULT": json.dumps(
            {
                "conn_type": "messenger",
                "host": page.base_url,
                "login": page.page_id,
                "password": page.access_token,
                "extra": {"app_secret": page.app_secret, "messages_per_second": 0},
            }
        ),
    }
    return second


def test_a_campaign_runs_beside_theirs_and_nothing_is_left_when_we_go(
    connected: Second,
    stage: Stage,  # noqa: F811 - a fixture
) -> None:
    connected.words("links")
    connected.words("prepare")
    people = stage.opt_in(20)
    conf = {"campaign": "spring", "topic": "restock", "text": "It is back!", "approval": False}
    found = connected.look(acme_daily={}, otn_broadcast=conf)
    assert found["states"] == {"acme_daily": "success", "otn_broadcast": "success"}
    assert {name: found["pools"][name] for name in POOLS} == {name: pool["slots"] for name, pool in POOLS.items()}
    assert_side_by_side(found)
    assert stage.seen() == dict.fromkeys(people, 1)
    assert_ignored(connected.home / "plugins" / ".airflowignore")
    connected.words("unlink")
    gone = connected.look()
    assert (gone["plugins"], list(gone["dags"])) == (["acme"], ["acme_daily"])
    assert (gone["plugin_errors"], gone["dag_errors"]) == ({}, {})
    assert (ROOT / "plugins" / "otn" / "settings.py").exists()  # links went, not what they led to


def test_an_image_with_copies_holds_all_that_is_needed(connected: Second) -> None:
    for line in guide("image").splitlines():
        _, source, target = line.split()
        place = connected.home / Path(target).relative_to("/opt/airflow")
        shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
    assert_side_by_side(connected.look())
    connected.environment["PYTHONPATH"] = str(connected.home / "plugins")
    said = connected.run([sys.executable, "-m", "otn", "migrate"])
    assert said.startswith("Schema ")


def assert_side_by_side(found: dict[str, Any]) -> None:
    assert found["plugins"] == ["acme", "otn"]
    assert (found["plugin_errors"], found["dag_errors"]) == ({}, {})
    ours = {dag_id for dag_id, tags in found["dags"].items() if "otn" in tags}
    files = {file.stem for file in (ROOT / "dags").glob("otn_*.py") if file.with_suffix(".md").exists()}
    assert ours >= files - {"otn_campaigns"}
    assert set(found["dags"]) - ours == {"acme_daily"}
    assert found["shadowed"] == []


def assert_ignored(file: Path) -> None:
    assert file.read_text() == IGNORED, "their file is theirs"
