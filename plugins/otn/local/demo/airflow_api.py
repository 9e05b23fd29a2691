"""The little of Airflow's REST API that a person's clicks would use."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import requests

from otn.errors import OtnError

TIMEOUT_S = 30.0
POLL_S = 0.5
PAUSES_S = (0.0, 1.0, 2.0, 5.0)
ENDED = frozenset({"success", "failed"})


class AirflowApiError(OtnError):
    """Airflow refused a request or did not answer. Look at the logs of the home."""


class AirflowApi:
    """Airflow of one home, spoken to as its user would.

    Args:
        url: such as ``http://127.0.0.1:8080``.
        username: Airflow's user.
        password: of that user; kept for renewing the login.
    """

    def __init__(self, url: str, username: str, password: str) -> None:
        self._url = url
        self._login = {"username": username, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False

    def wait_for_dag(self, dag_id: str, timeout_s: float = 120) -> None:
        """Wait until the DAG file was read and the DAG may run."""
        self._wait(
            lambda: self._call("GET", f"dags/{dag_id}", accepted=(404,)).get("is_paused") is False,
            f"DAG {dag_id}",
            timeout_s,
        )

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Trigger a DAG; answers the id of the run. The id is ours, so that asking twice starts one run."""
        run_id = f"demo__{uuid.uuid4()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
        self._call("POST", f"dags/{dag_id}/dagRuns", json=body, accepted=(409,))
        return run_id

    def state(self, dag_id: str, run_id: str) -> str:
        """State of a run, such as ``running`` or ``success``."""
        return str(self._call("GET", f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def ended(self, dag_id: str, run_id: str) -> bool:
        """Whether a run is over."""
        return self.state(dag_id, run_id) in ENDED

    def wait_for_run(self, dag_id: str, run_id: str, timeout_s: float) -> str:
        """Wait until a run is over; answers its state."""
        self._wait(lambda: self.ended(dag_id, run_id), f"run {run_id} of {dag_id}", timeout_s)
        return self.state(dag_id, run_id)

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """State of each task of a run; of mapped tasks the last one's."""
        found = self._call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return {one["task_id"]: str(one["state"]) for one in found}

    def open_questions(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """What Airflow waits for a person to answer in this run."""
        found = self._call("GET", f"dags/{dag_id}/dagRuns/{run_id}/hitlDetails")["hitl_details"]
        return [one for one in found if not one.get("response_received")]

    def answer(self, question: dict[str, Any], option: str) -> None:
        """Answer one of them."""
        task = question["task_instance"]
        path = (
            f"dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}"
            f"/{task['map_index']}/hitlDetails"
        )
        self._call("PATCH", path, json={"chosen_options": [option], "params_input": {}}, accepted=(409,))

    def _call(self, method: str, path: str, accepted: tuple[int, ...] = (), **values: Any) -> dict[str, Any]:
        """One request; every one of ours may be repeated, so a busy machine is met with patience."""
        for pause in (*PAUSES_S, None):
            try:
                answer = self._session.request(method, f"{self._url}/api/v2/{path}", timeout=TIMEOUT_S, **values)
                if answer.status_code == requests.codes.unauthorized:
                    self._log_in()
                    continue
            except requests.RequestException as error:
                if pause is None:
                    raise AirflowApiError(
                        f"Airflow does not answer ({type(error).__name__}). Look at its logs."
                    ) from None
                time.sleep(pause)
                continue
            if not answer.ok and answer.status_code not in accepted:
                raise AirflowApiError(f"Airflow answered {answer.status_code} to {method} {path}. Look at its logs.")
            found: dict[str, Any] = answer.json()
            return found
        raise AirflowApiError("Airflow does not let us in. Look at the password file of the home.")

    def _log_in(self) -> None:
        answer = self._session.post(f"{self._url}/auth/token", json=self._login, timeout=TIMEOUT_S)
        if not answer.ok:
            raise AirflowApiError("Airflow does not let us in. Look at the password file of the home.")
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    @staticmethod
    def _wait(ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > end:
                raise AirflowApiError(f"Waited {timeout_s:.0f} s for {what} in vain. Look at Airflow's pages and logs.")
            time.sleep(POLL_S)
