"""One life of a sender: what a task of a run does, in a process of its own, without Airflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from otn.campaign import control, plan
from otn.campaign.model import CampaignState
from otn.campaign.send import SendLimits
from otn.crypto import Keyring
from otn.database import DatabaseError, Engine
from otn.errors import UsageError
from otn.messenger.client import MessengerClient, PageCredentials
from otn.messenger.errors import TokenFate, TokenRule
from otn.settings import PageSettings
from tests.campaign.stage import Stage
from tests.chaos.steps import Arm

# As a calibration on the sandbox learns them: a used token is told apart from an expired one.
TOKEN_RULES = (
    TokenRule(100, None, "has already been used", TokenFate.USED),
    TokenRule(100, None, "has expired", TokenFate.EXPIRED),
    TokenRule(100, None, "one_time_notif_token is invalid", TokenFate.INVALID),
)
CONNECT_S = 0.5
READ_S = 1.5
LEASE_S = 5.0
CALL_S = 3.5  # 1.5 s more than the client's own limits: a slow machine breaks no rule
DONE, CRASHED, AWAY, TURNED_AWAY = 0, 3, 4, 5


@dataclass(frozen=True)
class Target:
    """What a sender works on.

    Args:
        database: URL.
        epoch_file: how far this database has called, kept outside of it; empty: nowhere.
        base_url: of the sandbox.
        page: row of ``GET pages`` of the sandbox: id and secrets.
        page_row: ``otn.page.id``.
        topic_row: ``otn.topic.id``.
    """

    database: str
    epoch_file: str
    base_url: str
    page: dict[str, str] = field(repr=False)
    page_row: int
    topic_row: int

    @property
    def connection_id(self) -> str:
        """The page's connection."""
        return f"chaos_{self.page['page_id']}"

    def stage(self, engine: Engine, keyring: Keyring, sandbox: Any = None, read_s: float = READ_S) -> Stage:
        """Short ways to do what a run does."""
        settings = PageSettings(
            connection_id=self.connection_id,
            base_url=self.base_url,
            page_id=self.page["page_id"],
            access_token=self.page["access_token"],
            app_secret=self.page["app_secret"],
            messages_per_second=None,
            batch_size=3,
        )
        credentials = PageCredentials(self.base_url, settings.page_id, settings.access_token, settings.app_secret)
        client = MessengerClient(
            credentials, connect_timeout_s=CONNECT_S, read_timeout_s=read_s, token_rules=TOKEN_RULES
        )
        return Stage(engine, keyring, sandbox, settings, client, self.page_row, self.topic_row)


@dataclass(frozen=True)
class Job:
    """What one life is for.

    Args:
        target: what it works on.
        act: key of ``ACTS``.
        key: of the campaign.
        arms: what happens to it, and where.
        run_s: it ends by itself after so long.
        lease_s: as in ``SendLimits``.
        call_s: likewise.
        slice_rows: likewise.
        read_s: it waits so long for an answer.
        clock_s: its wall clock jumps by so much, soon after it began.
        mutant: what is taken out of the product; empty: nothing.
    """

    target: Target
    act: str
    key: str
    arms: Sequence[Arm] = ()
    run_s: float = 6.0
    lease_s: float = LEASE_S
    call_s: float = CALL_S
    slice_rows: int = 3
    read_s: float = READ_S
    clock_s: float = 0.0
    mutant: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Job:
        """What ``to_dict`` made."""
        arms = tuple(Arm(*one) for one in value["arms"])
        return cls(**value | {"target": Target(**value["target"]), "arms": arms})

    @property
    def limits(self) -> SendLimits:
        """Bounds of the sender."""
        return SendLimits(self.run_s, self.lease_s, self.call_s, self.slice_rows, threads=2)


def text_of(key: str) -> str:
    """The text of a campaign: the ledger knows by it what a person saw, whatever our own rows say."""
    return f"This is {key}."


def run(stage: Stage, job: Job) -> None:
    """What a whole run does: the key is triggered."""
    campaign = stage.open(job.key, text_of(job.key))
    plan.plan(stage.engine, campaign, messages_per_second=None)
    _send(stage, job, campaign)
    stage.reconcile(campaign, job.limits)
    control.end_run(stage.engine, campaign)


def send(stage: Stage, job: Job) -> None:
    """A send task, cleared: it begins again."""
    _send(stage, job, _campaign(stage, job))


def reconcile(stage: Stage, job: Job) -> None:
    """A reconcile task."""
    stage.reconcile(_campaign(stage, job), job.limits)


def retry_unknown(stage: Stage, job: Job) -> None:
    """A person asks again where nobody knows."""
    control.retry(stage.engine, _campaign(stage, job), scope="unknown", actor="chaos")
    reconcile(stage, job)


def retry_refused(stage: Stage, job: Job) -> None:
    """A person tries again what is worth it."""
    control.retry(stage.engine, _campaign(stage, job), scope="refused", actor="chaos")
    send(stage, job)


def retry_waiting(stage: Stage, job: Job) -> None:
    """A person lets nobody wait longer."""
    control.retry(stage.engine, _campaign(stage, job), scope="waiting", actor="chaos")
    send(stage, job)


def settle(stage: Stage, job: Job) -> None:
    """What operators do when all is calm: the key triggered again, nobody waits longer, every doubt is asked again."""
    campaign = stage.open(job.key, text_of(job.key))
    plan.plan(stage.engine, campaign, messages_per_second=None)
    control.retry(stage.engine, campaign, scope="waiting", actor="chaos")
    _send(stage, job, campaign)
    control.retry(stage.engine, campaign, scope="unknown", actor="chaos")
    stage.reconcile(campaign, job.limits)
    control.end_run(stage.engine, campaign)


def plan_again(stage: Stage, job: Job) -> None:
    """A planner that does not see that the campaign is planned; the schema has the last word."""
    campaign = _campaign(stage, job)
    module: Any = plan
    real = module.lock

    def blind(*arguments: Any) -> Any:
        return real(*arguments)._replace(planned_at=None, state=CampaignState.SCHEDULED.value)

    module.lock = blind
    try:
        plan.plan(stage.engine, campaign, messages_per_second=None)
    except DatabaseError as error:
        if error.constraint is None and not error.passing:
            raise
    finally:
        module.lock = real
    _send(stage, job, campaign)


ACTS: dict[str, Callable[[Stage, Job], None]] = {
    "run": run,
    "send": send,
    "reconcile": reconcile,
    "retry unknown": retry_unknown,
    "retry refused": retry_refused,
    "retry waiting": retry_waiting,
    "plan again": plan_again,
    "settle": settle,
}


def live(engine: Engine, keyring: Keyring, job: Job) -> int:
    """Live; answers the exit code. Steps are armed and the mutant is applied by the caller."""
    jump(job.clock_s)
    stage = job.target.stage(engine, keyring, read_s=job.read_s)
    try:
        ACTS[job.act](stage, job)
    except DatabaseError as error:
        if not error.passing:
            raise
        return AWAY
    except (UsageError, plan.NotStartableError):  # nothing was triggered yet, or not planned
        return TURNED_AWAY
    return DONE


def jump(seconds: float, after_s: float = 0.02) -> None:
    """Let the wall clock of this process jump, as a bad time server does; the monotonic clock cannot."""
    if not seconds:
        return
    real, real_ns, moment = time.time, time.time_ns, time.monotonic() + after_s
    time.time = lambda: real() + (seconds if time.monotonic() > moment else 0)
    time.time_ns = lambda: real_ns() + (int(seconds * 1e9) if time.monotonic() > moment else 0)


def _send(stage: Stage, job: Job, campaign: int) -> None:
    for chunk in plan.waiting_chunks(stage.engine, campaign):
        stage.send(campaign, chunk, job.limits)


def _campaign(stage: Stage, job: Job) -> int:
    return control.find(stage.engine, stage.settings.connection_id, job.key)
