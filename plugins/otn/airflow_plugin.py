"""What Airflow's plugin manager sees of this package. Every task process imports this file: nothing heavy in it."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class OtnPlugin(AirflowPlugin):
    """Registers what belongs to the API server; properties, so that only the API server pays for the imports."""

    name = "otn"

    @property
    def operator_extra_links(self) -> list[Any]:  # type: ignore[override]
        """Buttons on the pages of our tasks."""
        from otn.orchestration.linking import ReportLink

        return [ReportLink()]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The operators' console; only the API server reads this."""
        from otn.console.app import create_app

        return [{"app": create_app(), "url_prefix": "/otn", "name": "OTN"}]

    @property
    def external_views(self) -> list[Any]:  # type: ignore[override]
        """Where Airflow shows it: in the navigation, and beside the graph of a run."""
        from otn.orchestration.linking import console_views

        return console_views()
