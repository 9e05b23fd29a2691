"""A run of Airflow, by its names; knows nothing else of Airflow, so that commands may speak of one too."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True)
class Run:
    """A run of a DAG.

    Args:
        dag_id: of the DAG.
        run_id: Airflow's name of the run.
    """

    dag_id: str
    run_id: str

    @property
    def query(self) -> str:
        """As the console's page of runs reads it from its address."""
        return urlencode({"dag_id": self.dag_id, "run_id": self.run_id})
