"""The console alone, for somebody with all rights: what a benchmark asks for pages, without the rest of Airflow."""

from __future__ import annotations

import os

import uvicorn
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user

from otn.console.app import create_app
from otn.local.ports import HOST


def main() -> None:
    """Serve on ``PORT``; Airflow's home and the connection ``otn_db`` come from the environment."""
    create_auth_manager()
    app = create_app()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="bench", role="admin")
    uvicorn.run(app, host=HOST, port=int(os.environ["PORT"]), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
