"""Airflow's side: params, tasks, approval, retries, connections. The rules themselves live below, without Airflow."""
