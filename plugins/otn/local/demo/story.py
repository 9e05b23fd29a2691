"""The demo, step by step: everything it does is done by the parts that real use has."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from otn.campaign import control
from otn.campaign.report import report
from otn.consent import pages, topics
from otn.database import Engine, make_engine, queries, transaction
from otn.errors import OtnError, UsageError
from otn.local import machine
from otn.local.demo import asking, stand_in
from otn.local.demo.airflow_api import AirflowApi
from otn.local.demo.verify import Check, verify
from otn.local.environment import home_environment
from otn.local.home import ADMIN, Home
from otn.local.progress import Progress
from otn.settings import DATABASE_CONNECTION, DEFAULT_PAGE_CONNECTION, database_url, page_settings, read_connection
from sandbox.control_client import Sandbox

TOPIC, TITLE = "restock", "When it is back in stock"
TEXT = 'Hi {{ first_name | default("there") }}, it is back in stock: the first hundred get it tomorrow.'
TOKENS_PER_PERSON = (1, 3)
POLL_S = 0.5
READING_S = 3.0  # that a person would need at least
PATIENCE_S = 3_600.0


class DemoError(OtnError):
    """The demo did not come to its end. Look at Airflow's pages and at the logs of the home."""


class Watcher(Progress, Protocol):
    """Whoever watches the demo."""

    def bar(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Long work begins; the function that it yields is told how much is done."""

    def told(self, text: str) -> None:
        """Something came to its end; ``text`` says how it went."""


@dataclass(frozen=True)
class Outcome:
    """How the demo ended.

    Args:
        campaign: key of the campaign.
        run_state: state of its Airflow run.
        figures: its report.
        checks: what was held against the platform's ledger.
        status: how the system is.
    """

    campaign: str
    run_state: str
    figures: dict[str, Any]
    checks: list[Check]
    status: machine.Status

    @property
    def well(self) -> bool:
        """Whether the report equals the ledger and nobody is left in doubt."""
        return self.run_state == "success" and all(check.holds for check in self.checks)


def tell(home: Home, *, subscribers: int, rate: float, watcher: Watcher) -> Outcome:
    """Run the whole demo; the system is left running.

    Args:
        home: a home of the demo's own.
        subscribers: people who opt in.
        rate: messages a second; 0: as fast as it goes.
        watcher: told what happens.

    Raises:
        UsageError: the home is in real use, or is up already.
        DemoError: a step did not come to its end.
    """
    _claim(home)
    stand_in.settle_in(home, rate)
    status = machine.up(home, prepare=_register, progress=watcher)
    environment = home_environment(home)
    engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)), application_name="otn demo")
    try:
        return _Demo(home, status, engine, watcher).run(subscribers)
    finally:
        engine.dispose()


def _claim(home: Home) -> None:
    if machine.status(home).running:
        raise UsageError(f"The system of {home.path} is up. Run ./otn down first, or give the demo another --home.")
    if home.exists and not home.state().get("sandbox_port"):
        raise UsageError(f"The home {home.path} is in real use. Give the demo one of its own with --home.")
    if not home.exists:
        home.create()


def _register(environment: Mapping[str, str]) -> None:
    engine = make_engine(database_url(read_connection(DATABASE_CONNECTION, environment)))
    try:
        with transaction(engine) as connection:
            settings = page_settings(read_connection(DEFAULT_PAGE_CONNECTION, environment))
            page = pages.register(connection, settings, stand_in.PAGE_NAME)
            topics.add(connection, page, TOPIC, TITLE)
            asking.add_rule(connection, page, TOPIC)
    finally:
        engine.dispose()


class _Demo:
    def __init__(self, home: Home, status: machine.Status, engine: Engine, watcher: Watcher) -> None:
        if not status.api_url or not status.receiver_url:
            raise DemoError("Airflow or the receiver did not start. Look at the logs of the home.")
        self._engine = engine
        self._status = status
        self._watcher = watcher
        self._sandbox: Sandbox = stand_in.control(home)
        self._page_id = stand_in.open_page(home, self._sandbox, status.receiver_url)
        self._airflow = AirflowApi(status.api_url, ADMIN, home.passwords()[ADMIN])

    def run(self, subscribers: int) -> Outcome:
        writers = min(subscribers, asking.WRITERS)
        self._opt_in(subscribers - writers)
        self._ingest("ingesting what the receiver stored")
        self._ask(writers)
        key, campaign_id, run_state = self._broadcast()
        self._watcher.stage("waiting for echoes, deliveries and reads")
        self._sandbox.flush(timeout_s=PATIENCE_S)
        self._ingest("ingesting echoes, deliveries and reads")
        self._watcher.stage("holding the report against the platform's ledger")
        figures = report(self._engine, campaign_id)
        checks = verify(self._engine, self._sandbox, self._page_id, campaign_id)
        return Outcome(key, run_state, figures, checks, self._status)

    def _opt_in(self, subscribers: int) -> None:
        """People tap Notify Me; each tap arrives at the receiver as a signed webhook."""
        self._watcher.stage("people opt in")
        self._sandbox.clear_faults()
        psids = self._sandbox.people(self._page_id, subscribers, blocked_share=stand_in.BLOCKED_SHARE)
        before = self._sandbox.outbox()["delivered"]
        tokens = self._sandbox.optins(
            self._page_id, TOPIC, psids=psids, tokens_per_person=list(TOKENS_PER_PERSON), age_s=60, spread_s=30 * 86_400
        )["tokens"]
        with self._watcher.bar("opt-ins delivered to the receiver", tokens) as done:
            for _ in self._until(lambda: not self._sandbox.outbox()["pending"]):
                done(self._sandbox.outbox()["delivered"] - before)
        failed = self._sandbox.outbox()["failed"]
        if failed:
            raise DemoError(f"{failed} webhooks were not taken by the receiver. Look at logs/receiver.log of the home.")

    def _ingest(self, what: str) -> None:
        """Ingest runs each minute by itself; a person who does not want to wait triggers it."""
        pending = self._pending()
        self._airflow.wait_for_dag("otn_ingest")
        with self._watcher.bar(what, pending) as done:
            while self._pending():
                run = self._airflow.trigger("otn_ingest")
                for _ in self._until(lambda run=run: self._airflow.ended("otn_ingest", run)):  # type: ignore[misc]
                    done(pending - min(pending, self._pending()))
                if self._airflow.state("otn_ingest", run) != "success":
                    raise DemoError(f"The run {run} of otn_ingest failed. Look at its log in Airflow.")

    def _ask(self, writers: int) -> None:
        """Others write a word first, are asked by the responder within seconds, and tap."""
        self._watcher.stage(f'people write "{asking.WORD}" and are asked')
        for psid in self._sandbox.people(self._page_id, writers):
            asked = asking.ask(self._engine, self._sandbox, self._page_id, psid)
            self._watcher.told(
                f'"{asking.WORD}" was answered by a request card after {asked.card_s:.2f} s;'
                f" the tap on it was stored as an opt-in after {asked.token_s:.2f} s"
            )

    def _pending(self) -> int:
        with transaction(self._engine) as connection:
            return int(queries("demo").pending_webhooks(connection))

    def _broadcast(self) -> tuple[str, int, str]:
        """Trigger the campaign, say yes to it as a second person would, and watch it."""
        key = f"demo-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        self._sandbox.faults(mix=stand_in.FAULTS)
        self._watcher.stage("the campaign is triggered")
        self._airflow.wait_for_dag("otn_broadcast")
        run = self._airflow.trigger("otn_broadcast", {"campaign": key, "topic": TOPIC, "text": TEXT})
        self._approve(run)
        campaign_id = control.find(self._engine, DEFAULT_PAGE_CONNECTION, key)
        self._watch(run, campaign_id)
        return key, campaign_id, self._airflow.state("otn_broadcast", run)

    def _approve(self, run: str) -> None:
        """Say yes, and again should Airflow ask again.

        Airflow 3.3.2 takes a task whose answer comes before the scheduler has noted that it waits for failed, and
        asks once more in its next try; a person is never so quick.
        """
        self._watcher.stage("the campaign waits for approval in Airflow; the demo says yes")
        noticed: dict[str, float] = {}
        for _ in self._until(lambda: self._answered(run, noticed), patience_s=300):
            pass

    def _answered(self, run: str, noticed: dict[str, float]) -> bool:
        for question in self._airflow.open_questions("otn_broadcast", run):
            first = noticed.setdefault(str(question["created_at"]), time.monotonic())
            if time.monotonic() - first > READING_S:
                self._airflow.answer(question, "Approve")
                noticed.clear()
        tasks = self._airflow.task_states("otn_broadcast", run)
        return tasks.get("approval") in {"success", "skipped", "failed"} or self._airflow.ended("otn_broadcast", run)

    def _watch(self, run: str, campaign_id: int) -> None:
        def figures() -> dict[str, Any]:
            return report(self._engine, campaign_id)

        def ended() -> bool:
            return self._airflow.ended("otn_broadcast", run)

        for _ in self._until(lambda: ended() or figures()["planned"] > 0):
            pass
        planned = figures()["planned"]
        with self._watcher.bar("people of the campaign", planned) as done:
            for _ in self._until(ended):
                now = figures()
                done(planned - now["waiting"] - now["sending"])

    @staticmethod
    def _until(ready: Callable[[], bool], patience_s: float = PATIENCE_S) -> Iterator[None]:
        """Yield twice a second until it is ready, and once more then, so that a bar reaches its end."""
        end = time.monotonic() + patience_s
        while not ready():
            if time.monotonic() > end:
                raise DemoError
            yield
            time.sleep(POLL_S)
        yield
