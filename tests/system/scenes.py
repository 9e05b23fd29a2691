"""Scenes: each a page of its own with its people, so that what befalls one campaign is no other one's business."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TITLE = "When it is back in stock"
BLOCKED_SHARE = 0.05


@dataclass
class Scene:
    """A page, a topic, the people who opted in to it, and the one campaign that they get.

    Args:
        name: also the campaign's key and the topic's.
        count: people.
        rate: messages a second of the page; 0: no pace.
        opt_in: everyone did so within the last 30 days, with a token or two; False: nobody has yet.
    """

    name: str
    count: int
    rate: float = 0
    opt_in: bool = True
    page_id: str = ""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    people: list[str] = field(default_factory=list, repr=False)
    blocked: set[str] = field(default_factory=set, repr=False)

    @property
    def connection(self) -> str:
        """Airflow connection of the page."""
        return f"messenger_{self.name}"

    @property
    def mark(self) -> str:
        """How the text begins that everyone of the scene sees."""
        return f"[{self.name}] "

    @property
    def reachable(self) -> set[str]:
        """Who is to see it."""
        return set(self.people) - self.blocked

    def conf(self, **changes: Any) -> dict[str, Any]:
        """Params of the campaign."""
        text = f'{self.mark}Hi {{{{ first_name | default("there") }}}}, it is back.'
        conf = {"campaign": self.name, "page": self.connection, "topic": self.name, "text": text, "approval": False}
        return conf | changes


# At 15 a second a chunk of some hundred people lasts long enough to be hit in its middle.
SCENES = (
    Scene("input", 20),
    Scene("rejected", 20),
    Scene("approved", 40),
    Scene("halted", 150, 15),
    Scene("repeated", 120, 20),
    Scene("cured", 40),
    Scene("permission", 20),
    Scene("stopped", 60, 5),  # lasts longer than somebody needs to write a word
    Scene("task_killed", 250, 15),
    Scene("worker_killed", 250, 15),
    # Three chunks alike, each lasting longer than Airflow needs to miss a heartbeat: two may send at once.
    Scene("orphaned", 486, 3),
    Scene("cleared", 250, 15),
    Scene("marked", 250, 15),
    Scene("scheduler_killed", 350, 15),
    Scene("all_killed", 350, 15),
    Scene("database_killed", 300, 15),
    Scene("database_hangs", 300, 15),
)
