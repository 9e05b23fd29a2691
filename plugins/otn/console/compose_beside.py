"""What the form of a campaign holds beside the campaign: people to test it on, and media."""

from __future__ import annotations

from dataclasses import dataclass, field

from otn.console import compose_media, compose_testing
from otn.console.runs import RunState
from otn.console.submitted import Typed


@dataclass(frozen=True)
class Beside:
    """What the form holds beside the campaign, and what became of it.

    Args:
        typed: fields of testing and of media, and which button was pressed.
        state_of: how a run stands in Airflow.
        tested: the run that was just started to test.
        said: what became of media.
        problems: shown in place of the campaign's.
        dying: the form was opened for consents that are dying.
    """

    typed: Typed = field(default_factory=dict)
    state_of: RunState = lambda _dag_id, _run_id: None
    tested: str = ""
    said: str = ""
    problems: dict[str, str] | None = None
    dying: bool = False


def parted(typed: Typed) -> tuple[Typed, Typed]:
    """The campaign's fields, and those of testing and media."""
    more = {
        name: value for name, value in typed.items() if compose_testing.is_field(name) or name in compose_media.FIELDS
    }
    return {name: value for name, value in typed.items() if name not in more}, more
