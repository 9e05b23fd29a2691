"""The whole system on one machine: embedded Postgres and supervised processes under one folder, the home."""
