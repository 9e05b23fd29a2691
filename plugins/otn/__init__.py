"""One-Time Notifications of the Messenger Platform, on Apache Airflow."""
