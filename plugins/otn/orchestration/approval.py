"""The question that a person answers before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import XComArg
from airflow.sdk.exceptions import TaskAwaitingInput

from otn.orchestration.runs import stop_run

if TYPE_CHECKING:
    from otn.campaign.approval import StartQuestion
    from otn.orchestration.preview import Preview

LONGEST_WAIT = timedelta(hours=2)
SHORTEST_WAIT = timedelta(minutes=1)
EVERY_QUESTION = frozenset({"approval", "late", "over_cap"})

_WHY = {
    "approval": "Nothing is sent before somebody says yes.",
    "late": "It starts later than `send_at` + `late_after`: does it still make sense?",
    "over_cap": "More people would get it now than the first yes covered.",
}


class CampaignApproval(ApprovalOperator):
    """Asks, if there is something to ask; decided when it runs, not when the DAG is read.

    The text of the question is made after Airflow rendered its templates, so that nothing an operator wrote is ever
    taken as a template. What the answer covers travels with the waiting task, so that the audience may grow meanwhile
    without the yes growing with it.

    Args:
        campaign_id: what an earlier task returned: ``otn.campaign.id``.
        questions: kinds that this task asks; see ``otn.campaign.approval.StartQuestion``.
    """

    template_fields: Collection[str] = ("campaign_id",)

    def __init__(self, *, campaign_id: XComArg, questions: Collection[str] = EVERY_QUESTION, **kwargs: Any) -> None:
        super().__init__(
            subject="Send the campaign?",
            defaults=self.REJECT,
            ignore_downstream_trigger_rules=True,
            **kwargs,
        )
        self.campaign_id: Any = campaign_id
        self.questions = frozenset(questions)

    def execute(self, context: Any) -> dict[str, Any] | None:
        """Ask, or go on at once."""
        from otn.campaign.approval import start_question
        from otn.orchestration.hook import make_engine
        from otn.orchestration.preview import Preview

        engine = make_engine()
        question = start_question(engine, self.campaign_id)
        self._stop_if_cancelled(context)
        if question is None or question.kind not in self.questions:
            self.log.info("There is nothing to ask.")
            return None
        preview = Preview.of_campaign(engine, self.campaign_id)
        self.response_timeout = response_time(question, preview.send_at, datetime.now(UTC))
        self.subject = f"Send “{preview.campaign}” to {question.expected:,} people?"
        self.body = _body(question, preview, self.response_timeout)
        try:
            return super().execute(context)  # type: ignore[no-any-return]
        except TaskAwaitingInput as waiting:
            kind = "late" if question.late else question.kind
            waiting.kwargs = {**(waiting.kwargs or {}), "cap": question.cap, "kind": kind}
            raise

    def execute_complete(
        self, context: Any, event: dict[str, Any], cap: int = 0, kind: str = "approval"
    ) -> dict[str, Any] | None:
        """Write down the answer: yes up to the cap, no, or no answer in time."""
        from otn.campaign.approval import approve, reject, start_question
        from otn.orchestration.hook import make_engine

        if "error" in event:
            self.process_trigger_event_error(event)
        engine = make_engine()
        who = _name(event.get("responded_by_user"))
        if event["chosen_options"] == [self.APPROVE]:
            self._stop_if_cancelled(context)
            approve(engine, self.campaign_id, actor=who or "airflow", cap=cap, late=kind == "late")
        elif who is None and start_question(engine, self.campaign_id) is None:
            self._stop_if_cancelled(context)
            self.log.info("Nobody answered here, but another run of the campaign got its yes: going on.")
            return None
        else:
            reason = "rejected" if who else "nobody answered in time"
            reject(engine, self.campaign_id, actor=who or "airflow", reason=reason)
            self.log.warning("The campaign is cancelled: %s.", reason)
        return super().execute_complete(context, event)  # type: ignore[no-any-return]

    def _stop_if_cancelled(self, context: Mapping[str, Any]) -> None:
        from otn.campaign.control import get
        from otn.campaign.model import CampaignState
        from otn.orchestration.hook import make_engine

        if get(make_engine(), self.campaign_id).state == CampaignState.CANCELLED:
            stop_run(context, "The campaign was cancelled: nothing is sent.")


def response_time(question: StartQuestion, send_at: datetime | None, now: datetime) -> timedelta:
    """How long an answer is waited for: until ``send_at`` and two hours at most, a minute at least.

    Args:
        question: what is asked; a late start is not bound to a ``send_at`` that has passed.
        send_at: not before.
        now: the present moment.
    """
    if question.kind != "approval" or send_at is None or send_at <= now:
        return LONGEST_WAIT
    return max(SHORTEST_WAIT, min(LONGEST_WAIT, send_at - now))


def _body(question: StartQuestion, preview: Preview, wait: timedelta) -> str:
    minutes = round(wait.total_seconds() / 60)
    why = [_WHY[question.kind]]
    if question.late:
        why.append(_WHY["late"])
    return "\n".join(
        [
            " ".join(why),
            "",
            preview.markdown(),
            "",
            "**What a yes covers**",
            "",
            f"Up to {question.cap:,} people; if there are more at the moment of sending, you are asked again.",
            f"Without an answer within {minutes} minutes it is rejected and the campaign is cancelled.",
        ]
    )


def _name(user: Any) -> str | None:
    """Name of who answered; Airflow gives it as a mapping or as an object, and nothing after a time-out."""
    if not user:
        return None
    parts = user if isinstance(user, Mapping) else vars(user)
    return str(parts.get("name") or parts.get("id") or "somebody")
