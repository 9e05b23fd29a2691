"""The button that leads from a sending task to the report of its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import BaseOperatorLink
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import TaskDecorator

REPORT = "report"


class SendingOperator(DecoratedOperator, PythonOperator):
    """A function as a task, as ``@task`` has it, of a class of its own: links are given to classes.

    ``@task``'s own class is everybody's, and the button would stand on the tasks of foreign DAGs too.
    """

    template_fields = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers = {"templates_dict": "json", "op_args": "py", "op_kwargs": "py"}  # noqa: RUF012 - Airflow's own shape
    custom_operator_name = "@task"

    def __init__(self, *, python_callable: Callable[..., Any], op_args: Any, op_kwargs: Any, **kwargs: Any) -> None:
        upstream = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        super().__init__(kwargs_to_upstream=upstream, **upstream, **kwargs)


def sending_task(**arguments: Any) -> TaskDecorator:
    """Decorate a function that sends; arguments as for ``@task``."""
    return task_decorator_factory(decorated_operator_class=SendingOperator, **arguments)


class ReportLink(BaseOperatorLink):
    """Leads to the task ``report`` of the same run: its log has the figures, and what to do when it is red.

    The API server makes the address, so that the button works while the task still sends.
    """

    name = "Report"
    operators = [SendingOperator]  # noqa: RUF012 - Airflow's own shape

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - as Airflow calls it
        """Address of the task, below the address under which Airflow is reached."""
        from airflow.utils.helpers import build_airflow_dagrun_url

        run = build_airflow_dagrun_url(dag_id=ti_key.dag_id, run_id=quote(ti_key.run_id, safe=""))
        return f"{run}/tasks/{REPORT}"


def campaign_link(campaign_id: int) -> str | None:
    """Address of a campaign in the console; None where Airflow was not told under which address it is reached."""
    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="") or ""
    return f"{base.rstrip('/')}/otn/campaigns/{campaign_id}" if urlsplit(base).netloc else None


def console_views() -> list[dict[str, Any]]:
    """The console in Airflow's navigation and on the page of a run, below the address of Airflow."""
    from airflow.configuration import conf

    below = urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/")
    icons = {"icon": f"{below}/otn/static/otn.svg", "icon_dark_mode": f"{below}/otn/static/otn-dark.svg"}
    return [
        {
            "name": "OTN",
            "href": f"{below}/otn/",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "otn",
            **icons,
        },
        {
            "name": "Campaign",
            "href": f"{below}/otn/runs?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "otn_campaign",
            **icons,
        },
    ]
