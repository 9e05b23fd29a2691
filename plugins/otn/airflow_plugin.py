"""What Airflow's plugin manager sees of this package. Every task process imports this file: nothing heavy in it."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class OtnPlugin(AirflowPlugin):
    """Registers what belongs to the API server; properties, so that only the API server pays for the imports."""

    name = "otn"
