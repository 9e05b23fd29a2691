"""What others would receive webhooks with: a Flask route on gunicorn that does one INSERT for each request.

As gunicorn's documentation advises: two workers a core and one more, each with a connection of its own. No signature,
no encryption, no limits, no log.
"""

from __future__ import annotations

import os

import psycopg2
from flask import Flask, request

app = Flask(__name__)
connection = None


@app.post("/webhook")
def take() -> str:
    """Keep the body."""
    global connection  # noqa: PLW0603 - made in each worker, after the fork
    if connection is None:
        connection = psycopg2.connect(os.environ["BARE_DSN"])
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare (body) VALUES (%s)", [psycopg2.Binary(request.get_data())])
    return "EVENT_RECEIVED"
