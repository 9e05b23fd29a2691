"""The operators' console: pages inside Airflow, behind its login."""
