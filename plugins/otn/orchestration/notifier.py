"""Our way of telling people, for callbacks of anybody's DAG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Context


class OtnNotifier(BaseNotifier):
    """Tells the people of ``otn_notify`` (or ``OTN_NOTIFY``), as ``otn_watch`` does.

    For ``on_failure_callback`` and its like, and for the ``SyncCallback`` of a ``DeadlineAlert``, which is given no
    connection by Airflow 3.3.2 and goes by ``OTN_NOTIFY``. Nothing in it is a template: a campaign's name that looks
    like one is told as it is.

    Args:
        title: of the message; by default it names the DAG.
        text: of the message; by default it names the run, the task and its state.
    """

    template_fields = ()

    def __init__(self, title: str | None = None, text: str | None = None) -> None:
        super().__init__()
        self.title = title
        self.text = text

    def notify(self, context: Context) -> None:
        """Tell it.

        Raises:
            ConfigurationError: nobody is defined to be told.
            NotToldError: nobody could be told. Airflow writes that into the log of the callback and goes on.
        """
        from otn.errors import ConfigurationError
        from otn.orchestration.notifying import NOTIFY_CONNECTION, NOTIFY_VARIABLE, read_notifier

        tell = read_notifier(context)
        if tell is None:
            raise ConfigurationError(
                f"Nobody is defined to be told. Define the connection {NOTIFY_CONNECTION}, or {NOTIFY_VARIABLE};"
                f" Airflow gives the callback of a deadline no connection, so for that one set {NOTIFY_VARIABLE}."
            )
        facts = _facts(context)
        tell(self.title or f"OTN: {facts['dag_id']}", self.text or _sentence(facts))


def _facts(context: Mapping[str, Any]) -> dict[str, str]:
    """Names of the run, from what a task's callback or a deadline's is given: that one has plain dictionaries."""
    run, task = context.get("dag_run"), context.get("ti") or context.get("task_instance")
    named = {
        "dag_id": (run, "dag_id"),
        "run_id": (run, "dag_run_id" if context.get("deadline") else "run_id"),
        "task_id": (task, "task_id"),
    }
    return {name: _plain(_get(*place)) for name, place in named.items()} | {
        "state": _plain(_get(task, "state") or _get(run, "state")),
        "late": "yes" if context.get("deadline") else "",
    }


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _plain(value: Any) -> str:
    text = "" if value is None else str(getattr(value, "value", value))
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _sentence(facts: Mapping[str, str]) -> str:
    task = f", task {facts['task_id']}" if facts["task_id"] else ""
    state = "has missed its deadline" if facts["late"] else f"is {facts['state'] or 'of unknown state'}"
    return f"The run {facts['run_id']} of {facts['dag_id']}{task} {state}."
