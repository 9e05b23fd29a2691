"""Airflow, as it told us: settings that decide whether runs go through, and what stands in its database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from otn.cli.examination.case import Case, Question
from otn.cli.examination.check import Check
from otn.local.airflow_settings import DAGS, POOLS

SENDERS = "otn_send"
TAKEN_UP_S = 120  # a killed sender is to be taken up within this
EXECUTORS = ("LocalExecutor", "CeleryExecutor", "KubernetesExecutor")
ELSEWHERE = ("CeleryExecutor", "KubernetesExecutor")  # they run tasks on other machines
LOOPBACK = frozenset({None, "localhost", "127.0.0.1", "::1"})
AT_WORK = {"SchedulerJob": "the scheduler", "DagProcessorJob": "the DAG processor"}
NOBODY_RUNS = "otn_campaigns"  # a file of DAGs whose names are those of campaign files


def answers(case: Case) -> Iterator[Check]:
    """Whether Airflow told everything."""
    if case.airflow is None:
        text = "No Airflow is known from here: neither AIRFLOW_HOME nor AIRFLOW__… is set."
        yield Check("airflow.answers", "unseen", text, "Run this in the environment that Airflow runs in.")
    elif case.local and case.engine is None and case.airflow.metadata is None:
        text = "The database of this home does not answer: pools, DAGs and runs of Airflow were not looked at."
        yield Check("airflow.answers", "unseen", text)
    elif case.airflow.failure:
        yield Check(
            "airflow.answers",
            "yellow",
            f"Airflow could not tell everything ({case.airflow.failure}).",
            "See that its database answers and is migrated, and that AIRFLOW_HOME is the one that it runs with.",
        )
    else:
        yield Check("airflow.answers", "green", "Airflow told its settings, its DAGs and its pools.")


def settings(case: Case) -> Iterator[Check]:
    """Settings that decide whether runs go through."""
    if case.airflow is None or case.airflow.settings is None:
        return
    told = case.airflow.settings
    yield from _version(told)
    yield from _executor(told)
    yield from _login(told)
    yield from _secrets(told)
    yield from _execution_api(told)
    yield from _heartbeat(told)
    if str(told["core.dag_run_conf_overrides_params"]).lower() == "false":
        text = "[core] dag_run_conf_overrides_params is off: what people enter is ignored, and every broadcast fails."
        yield Check("airflow.params", "red", text, "Switch it on.")
    else:
        yield Check("airflow.params", "green", "What people enter reaches the runs.")


def _version(told: dict[str, Any]) -> Iterator[Check]:
    if str(told["version"]).startswith("3.3."):
        yield Check("airflow.version", "green", f"It is Airflow {told['version']}.")
    else:
        text = f"Airflow {told['version']} is none that this version was tested with."
        yield Check("airflow.version", "yellow", text, "Use Airflow 3.3.")


def _executor(told: dict[str, Any]) -> Iterator[Check]:
    name = str(told["core.executor"])
    if all(one.strip().rpartition(".")[2].rpartition(":")[2] in EXECUTORS for one in name.split(",")):
        yield Check("airflow.executor", "green", f"Tasks run by {name}.")
    else:
        text = f"Tasks run by {name}, with which nobody has tried this."
        yield Check("airflow.executor", "yellow", text, f"Use one of {', '.join(EXECUTORS)}.")
    if str(told["database"]).startswith("postgres"):
        yield Check("airflow.database", "green", "Airflow's own database is a Postgres.")
    else:
        text = f"Airflow's own database is {told['database'] or 'unknown'}."
        yield Check("airflow.database", "yellow", text, "Use Postgres: with another, tasks wait for each other.")


def _login(told: dict[str, Any]) -> Iterator[Check]:
    if str(told["core.simple_auth_manager_all_admins"]).lower() == "true" and "Simple" in str(
        told["core.auth_manager"]
    ):
        text = (
            "Whoever reaches Airflow's pages is an administrator, and may send ([core] simple_auth_manager_all_admins)."
        )
        yield Check("airflow.login", "red", text, "Switch it off.")
    else:
        yield Check("airflow.login", "green", "Airflow asks who somebody is.")


def _secrets(told: dict[str, Any]) -> Iterator[Check]:
    own = [
        name
        for name, keys in {
            "[api_auth] jwt_secret": ("api_auth.jwt_secret", "api_auth.jwt_private_key_path"),
            "[api] secret_key": ("api.secret_key",),
        }.items()
        if all(told[key] in {"", "default"} for key in keys)
    ]
    if own:
        text = (
            f"{' and '.join(own)} not set: each part of Airflow makes its own, and tasks are refused when they start."
        )
        yield Check("airflow.secrets", "red", text, "Set them to the same values for all parts (docs/deployment.md).")
    elif not told["core.fernet_key"] or told["core.fernet_key"] == "default":
        text = "[core] fernet_key is not set: connections lie in Airflow's database in clear, page tokens among them."
        yield Check("airflow.secrets", "yellow", text, "Set it to the same key for all parts (docs/deployment.md).")
    else:
        text = "Fernet key, JWT secret and secret key are set; all parts must have the same."
        yield Check("airflow.secrets", "green", text)


def _execution_api(told: dict[str, Any]) -> Iterator[Check]:
    url = str(told["core.execution_api_server_url"] or told["api.base_url"] or "")
    elsewhere = any(name in str(told["core.executor"]) for name in ELSEWHERE)
    if elsewhere and urlsplit(url).hostname in LOOPBACK:
        text = f"Workers would look for the API server on their own machine ({url or 'no address is set'})."
        advice = "Set [core] execution_api_server_url to its address as workers see it, such as http://api-server:8080/execution/."
        yield Check("airflow.execution_api", "red", text, advice)
    else:
        yield Check("airflow.execution_api", "green", "Tasks know where the API server is.")


def _heartbeat(told: dict[str, Any]) -> Iterator[Check]:
    missed = float(told["scheduler.task_instance_heartbeat_timeout"])
    looked = float(told["scheduler.task_instance_heartbeat_timeout_detection_interval"])
    if missed + looked < TAKEN_UP_S:
        yield Check("airflow.heartbeat", "green", f"A killed sender is missed after {missed + looked:.0f} s.")
    else:
        text = f"A killed sender is missed after {missed + looked:.0f} s only; its recipients wait so long."
        advice = (
            "Set [scheduler] task_instance_heartbeat_timeout = 60 and"
            " task_instance_heartbeat_timeout_detection_interval = 10."
        )
        yield Check("airflow.heartbeat", "yellow", text, advice)


def pools(case: Case) -> Iterator[Check]:
    """Whether our tasks have a pool, and leave room for others."""
    metadata = _metadata(case)
    if metadata is None:
        return
    slots: dict[str, int] = metadata["pools"]
    missing = [name for name in POOLS if not slots.get(name)]
    if missing:
        text = f"Pools that are missing or have no slot: {', '.join(missing)}. Their tasks wait for ever."
        words = "; ".join(
            f'`airflow pools set {name} {POOLS[name]["slots"]} "{POOLS[name]["description"]}"`' for name in missing
        )
        yield Check("airflow.pools", "red", text, f"Run {words}.")
    else:
        told = ", ".join(f"{name} {slots[name]}" for name in POOLS)
        yield Check("airflow.pools", "green", f"The pools are there ({told} slots).")
    parallelism = int(((case.airflow and case.airflow.settings) or {}).get("core.parallelism") or 0)
    if SENDERS in missing:
        return
    # 0 means without a bound; -1 slots too.
    if 0 < parallelism <= slots[SENDERS] or (slots[SENDERS] < 0 < parallelism):
        text = f"The pool {SENDERS} has {slots[SENDERS]} slots, and all tasks together may be {parallelism}."
        advice = "Make the pool smaller or [core] parallelism larger, or a broadcast keeps webhooks waiting."
        yield Check("airflow.parallelism", "yellow", text, advice)
    else:
        yield Check("airflow.parallelism", "green", "Senders leave room for other tasks.")


def dags(case: Case) -> Iterator[Check]:
    """Whether Airflow has our DAGs, runs them, and they go well."""
    metadata = _metadata(case)
    if metadata is None:
        return
    known: dict[str, dict[str, Any]] = {name: one for name, one in metadata["dags"].items() if not one["stale"]}
    ours = sorted(file.stem for file in DAGS.glob("otn_*.py") if file.with_suffix(".md").exists())
    wanted = [name for name in ours if name != NOBODY_RUNS]
    missing = [name for name in wanted if name not in known]
    folder = ((case.airflow and case.airflow.settings) or {}).get("core.dags_folder", "its folder of DAGs")
    if missing:
        text = f"Airflow does not know {', '.join(missing)}."
        advice = f"See that {folder} holds our dags/, and that the DAG processor runs; it takes a minute after a start."
        yield Check("airflow.dags", "red", text, advice)
    else:
        yield Check("airflow.dags", "green", f"Airflow knows our {len(wanted)} DAGs.")
    yield from _imports(metadata)
    paused = [name for name in wanted if name in known and known[name]["paused"]]
    if paused:
        text = f"Paused: {', '.join(paused)}.{_meaning(paused)}"
        words = "; ".join(f"`{_airflow(case)} dags unpause {name}`" for name in paused)
        yield Check("airflow.paused", "yellow", text, f"Unpause them in Airflow, or run {words}.")
    else:
        yield Check("airflow.paused", "green", "None of our DAGs is paused.")
    failed = [name for name in wanted if metadata["runs"].get(name) == "failed" and known.get(name, {}).get("schedule")]
    if failed:
        text = f"The last run failed: {', '.join(failed)}."
        yield Check("airflow.runs", "yellow", text, "Read the log of the red task; clear it when the cause is gone.")
    else:
        yield Check("airflow.runs", "green", "The last runs of what is scheduled went well.")


MEANINGS = {
    "otn_ingest": "Without a responder, opt-ins and stop words wait.",
    "otn_purge": "What has expired stays, and no partitions are made ahead.",
    "otn_watch": "Nobody is told of an alarm.",
    "otn_deliver": "Results reach no other system.",
}


def _meaning(paused: list[str]) -> str:
    return "".join(f" {MEANINGS[name]}" for name in paused if name in MEANINGS)


def _imports(metadata: dict[str, Any]) -> Iterator[Check]:
    broken = [name for name in metadata["import_errors"] if Path(name).name.startswith("otn_")]
    others = len(metadata["import_errors"]) - len(broken)
    if broken:
        text = f"Airflow cannot read {', '.join(broken)}."
        advice = "Airflow shows the reason under Dags → Dag import errors, and by `airflow dags list-import-errors`."
        yield Check("airflow.imports", "red", text, advice)
    else:
        more = f" ({others} files of others cannot be read)" if others else ""
        yield Check("airflow.imports", "green", f"Airflow can read our files{more}.")


def at_work(case: Case) -> Iterator[Check]:
    """Whether the parts that nothing happens without are alive."""
    metadata = _metadata(case)
    if metadata is None or case.airflow is None:
        return
    limit = float((case.airflow.settings or {}).get("scheduler.scheduler_health_check_threshold") or 30)
    beats: dict[str, float] = metadata["beats"]
    silent = [name for job, name in AT_WORK.items() if beats.get(job) is None or beats[job] > 2 * limit]
    if silent:
        text = f"No sign of life from {' and '.join(silent)}."
        yield Check("airflow.at_work", "red", text, "Start what is missing, and read its log.")
    else:
        yield Check("airflow.at_work", "green", "Scheduler and DAG processor are alive.")


def _airflow(case: Case) -> str:
    """How Airflow's own command line is called here."""
    return "./otn airflow" if case.local else "airflow"


def _metadata(case: Case) -> dict[str, Any] | None:
    return case.airflow.metadata if case.airflow is not None else None


QUESTIONS = (
    Question(("airflow.answers",), answers),
    Question(
        (
            "airflow.version",
            "airflow.executor",
            "airflow.database",
            "airflow.login",
            "airflow.secrets",
            "airflow.execution_api",
            "airflow.heartbeat",
            "airflow.params",
        ),
        settings,
    ),
    Question(("airflow.pools", "airflow.parallelism"), pools),
    Question(("airflow.dags", "airflow.imports", "airflow.paused", "airflow.runs"), dags),
    Question(("airflow.at_work",), at_work),
)
