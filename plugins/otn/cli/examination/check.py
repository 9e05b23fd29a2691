"""One thing that was looked at, and the list of all that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["green", "yellow", "red", "unseen"]

# The ids are for programs, and are never renamed or given another meaning: docs/doctor.md holds them all. Before the
# first dot stands the group under which people read it; after the arrow what they read instead of the id.
TITLES = {
    "settings.readable": "settings",
    "settings.names": "names of settings",
    "keys.present": "keys",
    "keys.fit": "keys and data",
    "keys.hash": "hash key and data",
    "keys.files": "rights of files with secrets",
    "keys.backup": "backup of the keys",
    "database.connection": "database",
    "database.version": "version of Postgres",
    "database.primary": "primary",
    "database.encoding": "encoding",
    "database.clock": "clock",
    "database.schema": "schema",
    "database.durability": "durability",
    "database.vacuum": "vacuum",
    "database.connections": "connections",
    "database.transactions": "long transactions",
    "database.wal": "write-ahead log",
    "database.logs": "what Postgres logs",
    "database.role": "role",
    "database.logins": "logins",
    "database.partitions": "partitions",
    "database.default_partition": "default partition",
    "webhooks.backlog": "ingest",
    "webhooks.quarantine": "quarantine",
    "webhooks.topics": "topics",
    "webhooks.landing": "landing",
    "webhooks.receiver": "receiver",
    "webhooks.spool": "spool",
    "webhooks.public": "public address",
    "sending.leases": "leases",
    "sending.unknown": "unknown rows",
    "sending.epoch": "epoch",
    "sending.responder": "responder",
    "sending.delivery": "results for other systems",
    "sending.alarms": "alarms",
    "privacy.journal": "erasure journal",
    "privacy.deletions": "deletions",
    "pages.registered": "pages",
    "page.connection": "connection",
    "page.secrets": "secrets",
    "page.platform": "platform",
    "page.token": "access token",
    "page.subscription": "webhook subscription",
    "page.features": "features",
    "page.halt": "halt",
    "page.policy": "policy",
    "page.silence": "silence",
    "page.answers": "answers",
    "page.doubts": "doubtful answers",
    "page.campaign": "campaigns",
    "page.late": "late campaigns",
    "page.outgoing": "systems that results go to",
    "page.dying": "dying opt-ins",
    "page.quota": "quota of calls",
    "page.calibration": "used tokens",
    "airflow.answers": "Airflow",
    "airflow.version": "version of Airflow",
    "airflow.executor": "executor",
    "airflow.database": "database of Airflow",
    "airflow.login": "login",
    "airflow.secrets": "shared secrets",
    "airflow.execution_api": "execution API",
    "airflow.heartbeat": "heartbeats of tasks",
    "airflow.parallelism": "parallelism",
    "airflow.params": "params",
    "airflow.pools": "pools",
    "airflow.dags": "DAGs",
    "airflow.imports": "import errors",
    "airflow.paused": "paused DAGs",
    "airflow.runs": "last runs",
    "airflow.at_work": "scheduler and DAG processor",
    "machine.system": "system",
    "machine.disk": "disk",
}

GROUPS = {
    "settings": "Settings",
    "keys": "Keys",
    "database": "Database",
    "webhooks": "Webhooks",
    "sending": "Sending",
    "privacy": "Privacy",
    "pages": "Pages",
    "page": "Pages",
    "airflow": "Airflow",
    "machine": "This machine",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        id: what, for programs: a key of ``TITLES``.
        level: green, yellow, red; or unseen: it cannot be told from here.
        text: how it is.
        advice: what to do; empty when green.
        subject: which, where there are several: a page, a receiver, a disk.
    """

    id: str
    level: Level
    text: str
    advice: str = ""
    subject: str = ""

    @property
    def group(self) -> str:
        """Under which heading people read it."""
        return GROUPS[self.id.partition(".")[0]]

    @property
    def title(self) -> str:
        """What people read instead of the id."""
        title = TITLES.get(self.id, self.id)
        if self.id.startswith("page."):
            return f"page {self.subject}, {title}"
        return f"{title} ({self.subject})" if self.subject else title
