"""The question that a person answers before anything is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import XComArg
from airflow.sdk.exceptions import TaskAwaitingInput

from otn.errors import UsageError
from otn.orchestration.runs import actor, stop_run

if TYPE_CHECKING:
    from otn.campaign.approval import StartQuestion
    from otn.campaign.approvers import Person

LONGEST_WAIT = timedelta(hours=2)
SHORTEST_WAIT = timedelta(minutes=1)
EVERY_QUESTION = frozenset({"approval", "late", "over_cap"})


class StaleQuestionError(UsageError):
    """What must be asked is not what this task showed. Trigger the campaign again with the same key: that run asks."""


class CampaignApproval(ApprovalOperator):
    """Asks, if there is something to ask; decided when it runs, not when the DAG is read.

    The text of the question is made after Airflow rendered its templates, so that nothing an operator wrote is ever
    taken as a template. What the answer covers travels with the waiting task, so that neither the audience nor the
    content may change meanwhile and the yes with it.

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
        from otn.campaign.approval import Asking, asked_by, note_question, start_question
        from otn.orchestration.hook import make_engine
        from otn.orchestration.preview import Preview, one_line

        engine = make_engine()
        question = start_question(engine, self.campaign_id)
        self._stop_if_cancelled(context)
        if question is None or question.kind not in self.questions:
            self.log.info("There is nothing to ask.")
            return None
        run = context["dag_run"]
        by = Asking(dag=run.dag_id, run=run.run_id, task=self.task_id)
        shown = asked_by(engine, self.campaign_id, by)
        if shown and not shown.fits(question):
            self._leave_to_others()
            return None
        preview = Preview.of_campaign(engine, self.campaign_id)
        self.response_timeout = response_time(question, preview.send_at, datetime.now(UTC))
        self.subject = f"Send “{one_line(preview.campaign)}” to {question.expected:,} people?"
        self.body = self._body(context, question, preview.markdown(), self.response_timeout)
        try:
            return super().execute(context)  # type: ignore[no-any-return]
        except TaskAwaitingInput as waiting:
            note_question(engine, self.campaign_id, question, actor=actor(context), by=by)
            kind = "late" if question.late else question.kind
            cap = shown.cap if shown else question.cap
            covered = {"cap": cap, "kind": kind, "content": question.content}
            waiting.kwargs = {**(waiting.kwargs or {}), **covered}
            raise

    def execute_complete(
        self,
        context: Any,
        event: dict[str, Any],
        cap: int = 0,
        kind: str = "approval",
        content: str | None = None,  # a question that an older version asked names none
    ) -> dict[str, Any] | None:
        """Write down the answer: yes up to the cap, no, or no answer in time.

        Raises:
            YesNotTakenError: the yes does not count; the task's next try asks again.
        """
        from otn.campaign.approval import approve, reject, start_question
        from otn.campaign.approvers import Voice, read_approvers
        from otn.orchestration.hook import make_engine

        if "error" in event:
            self.process_trigger_event_error(event)
        engine = make_engine()
        person = _person(event.get("responded_by_user"))
        if event["chosen_options"] == [self.APPROVE]:
            self._stop_if_cancelled(context)
            approve(
                engine,
                self.campaign_id,
                actor=person.name if person else "airflow",
                cap=cap,
                late=kind == "late",
                content=content,
                voice=Voice(person, context["dag_run"].triggering_user_name, read_approvers()),
            )
        elif person is None and start_question(engine, self.campaign_id) is None:
            self._stop_if_cancelled(context)
            self.log.info("Nobody answered here, but another run of the campaign got its yes: going on.")
            return None
        else:
            reason = "rejected" if person else "nobody answered in time"
            reject(engine, self.campaign_id, actor=person.name if person else "airflow", reason=reason)
            self.log.warning("The campaign is cancelled: %s.", reason)
        return super().execute_complete(context, event)  # type: ignore[no-any-return]

    def _leave_to_others(self) -> None:
        """What was shown here is not what must be asked now, and Airflow would show it again.

        Raises:
            StaleQuestionError: no task after this one asks.
        """
        if self.questions == EVERY_QUESTION:
            raise StaleQuestionError
        self.log.warning("What must be asked is not what was shown here any more: start_check asks it.")

    def _body(self, context: Mapping[str, Any], question: StartQuestion, preview: str, wait: timedelta) -> str:
        from otn.campaign.approval import why_again
        from otn.campaign.approvers import composers, read_approvers
        from otn.database import queries, transaction
        from otn.orchestration import question_text as text
        from otn.orchestration.hook import make_engine

        engine = make_engine()
        with transaction(engine) as connection:
            row = queries("campaign").find_campaign(connection, campaign_id=self.campaign_id)
        names = composers(row.created_by, context["dag_run"].triggering_user_name)
        return "\n\n".join(
            [
                *text.reasons(question, why_again(engine, self.campaign_id)),
                preview,
                *text.covered(question, wait),
                *text.answering(read_approvers(), names),
                text.links(text.console_url(), self.campaign_id),
            ]
        )

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


def _person(user: Any) -> Person | None:
    """Who answered; Airflow gives it as a mapping or as an object, and nothing after a time-out."""
    from otn.campaign.approvers import Person

    if not user:
        return None
    parts = user if isinstance(user, Mapping) else vars(user)
    return Person(name=str(parts.get("name") or parts.get("id") or "somebody"), id=str(parts.get("id") or ""))
