"""Has no DAG: its import error in Airflow names each campaign file that is broken, with line and field.

An import error takes the DAGs of its own file with it, so it must not come from where the campaigns' DAGs are.
"""

from __future__ import annotations

from otn.orchestration.campaign_files import check_folder
from otn.settings import campaigns_folder

check_folder(campaigns_folder())
