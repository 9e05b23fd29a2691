"""docker-compose.yaml and Dockerfile, against the schema, against Airflow, and against our own code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from otn.cli.app import app
from otn.local.airflow_settings import POOLS, TUNABLE
from otn.local.dotenv import read_dotenv
from otn.local.logins import RECEIVER, SENDER, Kind
from otn.local.postgres import SETTINGS
from otn.settings import read_connection
from tests.deploy import compose_file
from tests.deploy.compose_file import FILE, ROOT

# Smaller than a machine of one's own needs, or what only one machine has.
ELSEWHERE = {"AIRFLOW__CORE__PARALLELISM"}
DATABASES = {"postgres", "redis"}
ENDING = {"init", "cli"}
OF_AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
SAME = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")

# In a process of its own: Airflow reads its environment once, and its providers' options with it.
ASK_AIRFLOW = """
import json, sys
from airflow.configuration import conf
from airflow.cli.cli_parser import get_parser

asked = json.load(sys.stdin)
known = conf.configuration_description
unknown = [
    name for name in asked["options"]
    if (parts := name.lower().split("__")) and parts[2] not in known.get(parts[1], {}).get("options", {})
]
parser, refused = get_parser(), []
for words in asked["commands"]:
    try:
        parser.parse_args(words)
    except SystemExit as error:
        refused.append(words)
print(json.dumps({"unknown": unknown, "refused": refused}))
"""


def dockerfile() -> list[list[str]]:
    """Instructions, their lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_the_file_is_what_the_compose_specification_allows() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_airflow_knows_every_setting_and_every_command(services: dict[str, Any], tmp_path: Path) -> None:
    options = {name for one in services.values() for name in one["environment"] if name.startswith("AIRFLOW__")}
    commands = [compose_file.words(services[name]["command"]) for name in OF_AIRFLOW]
    checks = [services[name]["healthcheck"]["test"][1] for name in ("dag-processor", "triggerer")]
    commands += [compose_file.words(check)[1:] for check in checks if check.startswith("airflow ")]
    assert len(commands) == len(OF_AIRFLOW) + 2
    commands += [["db", "migrate"], ["pools", "import", "file"], _user_command()]
    said = subprocess.run(
        [sys.executable, "-c", ASK_AIRFLOW],
        input=json.dumps({"options": sorted(options), "commands": commands}),
        env={
            "PATH": os.environ["PATH"],
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__AUTH_MANAGER": services["worker"]["environment"]["AIRFLOW__CORE__AUTH_MANAGER"],
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout.splitlines()[-1]) == {"unknown": [], "refused": []}


def _user_command() -> list[str]:
    words = ("--username", "a", "--role", "Admin", "--email", "a@b", "--firstname", "a", "--lastname", "b")
    return ["users", "create", *words]


def test_our_code_reads_every_setting_of_ours(services: dict[str, Any]) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("*.py"))
    read = set(re.findall(r"\bOTN_[A-Z_]+\b", code))
    assert {name for one in services.values() for name in one["environment"] if name.startswith("OTN_")} <= read


def test_our_commands_exist(services: dict[str, Any]) -> None:
    ours = {name: one for name, one in services.items() if "otn" in one.get("entrypoint", [])}
    assert set(ours) == {"init", "receiver", "responder", "cli"}
    commands = [one["command"] for one in ours.values()]
    commands.append(services["responder"]["healthcheck"]["test"][4:])
    for words in commands:
        _parse(words)
    with pytest.raises(Exception, match="No such command"):
        _parse(["deploy", "no-such-command"])


def _parse(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands"):
        context = command.make_context(words[0], [*words], parent=context)
        _, command, words = command.resolve_command(context, words)
    command.make_context(command.name, [*words], parent=context)


def test_the_command_makes_every_variable_that_the_file_needs(dotenv: Path) -> None:
    used = compose_file.variables(FILE.read_text(encoding="utf-8"))
    made = read_dotenv(dotenv)
    assert {name for name, needed in used.items() if needed} <= set(made)
    told = set(re.findall(r"^(?:# )?([A-Z_]+)=", dotenv.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(used) <= told
    assert {name for name in made if name.startswith("DEPLOY_")} <= set(used)


def test_without_the_file_compose_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(compose_file.UnsetError, match=r"run \./otn deploy env"):
        compose_file.filled(tmp_path / "missing")


def test_the_choices_in_the_file_say_what_holds_without_them(dotenv: Path) -> None:
    text = FILE.read_text(encoding="utf-8")
    for name, default in re.findall(
        r"^# (DEPLOY_[A-Z_]+)='([^']*)'$", dotenv.read_text(encoding="utf-8"), re.MULTILINE
    ):
        if "<" not in default and name != "DEPLOY_AIRFLOW_URL":
            assert f"${{{name}:-{default}}}" in text


def test_only_receiver_and_api_are_published_and_only_to_this_machine(services: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in services.items() if "ports" in one}
    assert published == {"api-server": ["127.0.0.1:8080:8080"], "receiver": ["127.0.0.1:8081:8081"]}


def test_databases_have_no_way_out(compose: dict[str, Any], services: dict[str, Any]) -> None:
    for name in DATABASES:
        assert all(compose["networks"][network]["internal"] for network in services[name]["networks"])
    assert "queue" not in services["receiver"]["networks"]  # what the world speaks to meets no queue
    for name, one in services.items():
        assert set(one["networks"]) <= set(compose["networks"])
        if name not in DATABASES:
            assert "data" in one["networks"]


def test_everybody_gets_only_the_secrets_that_are_theirs(services: dict[str, Any], dotenv: Path) -> None:
    secrets = {name: value for name, value in read_dotenv(dotenv).items() if name.startswith("DEPLOY_")}

    def held(service: str) -> set[str]:
        values = "\n".join(compose_file.environment(services[service], dotenv).values())
        return {name.removeprefix("DEPLOY_") for name, value in secrets.items() if value in values}

    keys = {"ENCRYPTION_KEYS", "HASH_KEY"}
    sender, receiver, owner = {"SENDER_DB_PASSWORD"}, {"RECEIVER_DB_PASSWORD"}, {"OTN_DB_PASSWORD"}
    own = {"FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY", "AIRFLOW_DB_PASSWORD", "REDIS_PASSWORD"}
    airflow = keys | sender | own
    assert {name: held(name) for name in services} == {
        "postgres": {"POSTGRES_PASSWORD"},
        "redis": {"REDIS_PASSWORD"},
        "receiver": keys | receiver,
        "responder": keys | sender,
        "init": airflow | owner | receiver | {"POSTGRES_PASSWORD", "ADMIN_PASSWORD"},
        "cli": airflow | owner | receiver,
        **dict.fromkeys(OF_AIRFLOW, airflow),
        "worker": airflow | owner,
    }
    assert not [
        name for name, one in services.items() if any(value in str(one["command"]) for value in secrets.values())
    ]


def test_each_program_goes_into_the_database_by_a_login_of_its_own(
    services: dict[str, Any], dotenv: Path, tmp_path: Path
) -> None:
    def login(service: dict[str, Any], kind: Kind) -> str | None:
        variable = service["environment"].get(kind.variable)
        return read_connection(kind.connection_id, {kind.variable: variable}).login if variable else None

    assert login(services["receiver"], RECEIVER) == RECEIVER.login
    assert "AIRFLOW_CONN_OTN_DB" not in services["receiver"]["environment"]
    for name in ("responder", "worker", "scheduler"):
        assert login(services[name], SENDER) == SENDER.login
        assert login(services[name], RECEIVER) is None
    assert ["AIRFLOW_CONN_OTN_DB" in services[name]["environment"] for name in ("responder", "worker", "init")] == [
        False,
        True,
        True,
    ]
    own = tmp_path / ".env"  # a server of one's own without logins: the owner's for all
    own.write_text(dotenv.read_text() + "DEPLOY_OTN_DB='postgres://me:pw@db:5432/otn'\n")
    assert login(compose_file.filled(own)["services"]["receiver"], RECEIVER) == "me"


def test_all_parts_of_airflow_have_the_same_settings(services: dict[str, Any]) -> None:
    for name in (*SAME, "AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "AIRFLOW__CORE__EXECUTOR"):
        assert len({services[service]["environment"][name] for service in OF_AIRFLOW}) == 1


def test_settings_are_those_of_one_machine(services: dict[str, Any]) -> None:
    environment = services["worker"]["environment"]
    assert {name: environment[name] for name in TUNABLE if name not in ELSEWHERE} == {
        name: value for name, value in TUNABLE.items() if name not in ELSEWHERE
    }
    words = services["postgres"]["command"][1:]
    assert dict(word.removeprefix("-c").split("=", 1) for word in words) == SETTINGS


def test_services_wait_for_what_they_need_and_start_again(services: dict[str, Any]) -> None:
    for name, one in services.items():
        if name in ENDING:
            assert one["restart"] == "no"
        else:
            assert one["restart"] == "unless-stopped"
            assert one["healthcheck"]["test"]
        assert one["deploy"]["resources"]["limits"]["memory"]
        for other, condition in one.get("depends_on", {}).items():
            healthy = condition["condition"] == "service_healthy"
            assert healthy == (other != "init")
            assert condition.get("required", True) or services[other]["profiles"]
        if name not in DATABASES | {"init"}:
            assert "init" in one["depends_on"]
    assert "api-server" in services["scheduler"]["depends_on"]  # tasks report to it


def test_what_must_outlive_a_container_lies_in_a_volume(compose: dict[str, Any], services: dict[str, Any]) -> None:
    def volumes(name: str) -> dict[str, str]:
        return dict(reversed(volume.split(":")[:2]) for volume in services[name]["volumes"])

    assert volumes("receiver")[services["receiver"]["environment"]["OTN_SPOOL_DIR"]] == "spool"
    for name in ("worker", "responder", "init", "cli"):  # whoever erases, or asks who was erased
        journal = Path(services[name]["environment"]["OTN_ERASURE_JOURNAL"])
        assert volumes(name)[str(journal.parent)] == "journal"
    used = {source for name in services for source in volumes(name).values() if not source.startswith(".")}
    assert used == set(compose["volumes"])
    assert "worker" not in {name for name, one in services.items() if "ports" in one or "container_name" in one}


def test_images_are_pinned() -> None:
    images = {name: one.get("image", "") for name, one in compose_file.read()["services"].items()}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert {images.pop(name) for name in (OF_AIRFLOW | ENDING | {"receiver", "responder"})} == {
        f"${{DEPLOY_IMAGE:-otn:{version}}}"
    }
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image) for image in images.values())
    base = next(line[1] for line in dockerfile() if line[0] == "ARG").removeprefix("BASE_IMAGE=")
    assert compose_file.read()["services"]["init"]["build"]["args"]["BASE_IMAGE"] == f"${{DEPLOY_BASE_IMAGE:-{base}}}"
    airflow = re.search(r"^apache-airflow==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert airflow
    assert f"-{airflow[1]}-python3." in base


def test_the_dockerfile_copies_what_there_is_and_does_not_run_as_root() -> None:
    lines = dockerfile()
    sources = [source for line in lines if line[0] == "COPY" for source in line[1:-1]]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [line[1] for line in lines if line[0] == "USER"][-1] == "airflow"
    pip = [line for line in lines if line[:3] == ["RUN", "pip", "install"]]
    assert len(pip) == 1
    assert pip[0][-2:] == ["-c", "/opt/otn/constraints.txt"]


def test_image_and_compose_file_agree_on_folders(services: dict[str, Any]) -> None:
    words = next(line[1:] for line in dockerfile() if line[0] == "ENV")
    image = dict(word.split("=", 1) for word in words)
    environment = services["worker"]["environment"]
    assert {name: image[name] for name in image if name in environment} == {
        name: environment[name] for name in image if name in environment
    }
    assert {"OTN_SPOOL_DIR", "OTN_ERASURE_JOURNAL", "AIRFLOW__CORE__DAGS_FOLDER"} <= set(image) & set(environment)


def test_kubernetes_runs_the_same_commands_and_holds_no_secret(services: dict[str, Any]) -> None:
    text = (ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8")
    items = yaml.safe_load(text)["items"]
    claims = {item["metadata"]["name"] for item in items if item["kind"] == "PersistentVolumeClaim"}
    found: dict[str, Any] = {}
    secrets: dict[str, list[str]] = {}
    for pod in (item["spec"]["template"]["spec"] for item in items if "template" in item["spec"]):
        (container,) = pod["containers"]
        found[container["name"]] = container["command"]
        assert pod["securityContext"]["runAsNonRoot"]
        secrets[container["name"]] = [one["secretRef"]["name"] for one in container["envFrom"]]
        assert all(volume["persistentVolumeClaim"]["claimName"] in claims for volume in pod.get("volumes", []))
    assert secrets == {
        "init": ["otn", "otn-owner", "otn-sender", "otn-receiver"],
        "receiver": ["otn", "otn-receiver"],
        "responder": ["otn", "otn-sender"],
    }
    assert set(found) == {"init", "receiver", "responder"}
    for name, command in found.items():
        assert command == ["python", "-m", "otn", *services[name]["command"]]


def test_senders_leave_room_on_the_only_worker(services: dict[str, Any]) -> None:
    tasks = int(services["worker"]["environment"]["AIRFLOW__CELERY__WORKER_CONCURRENCY"])
    assert tasks > int(str(POOLS["otn_send"]["slots"])) + 1
