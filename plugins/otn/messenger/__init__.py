"""The wire to the Messenger Platform: client, errors, messages, events, signatures. No database, no Airflow."""
