"""One short play for each guard: the interleaving that this guard alone stands against.

Each is played on the product, where it must end well, and on the product without that guard, where it must not.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.scene import Scene
from tests.chaos.steps import Arm

SHORT = {"lease_s": 0.8, "call_s": 0.4}  # ends while the sender stands still
LONG = {"lease_s": 40.0, "call_s": 5.0}
BRIEF_S = 2.0


def late_answer_of_another_attempt(scene: Scene) -> None:
    """A late "no answer" must not take the lease from the sender that is in its call now."""
    scene.sandbox.faults(next=[{"kind": "drop", "page_id": scene.page_id}])
    first = scene.stopped("run", "before call", **SHORT)
    scene.held.add(first.name)
    scene.await_lease_end()
    second = scene.stopped("reconcile", "before call", **LONG)
    first.wake()
    first.finish()
    scene.full("retry unknown", run_s=BRIEF_S)
    second.wake()
    second.finish()


def woken_before_its_call(scene: Scene) -> None:
    """Who wakes after the lease must look at it before calling."""
    first = scene.stopped("run", "after claim", **SHORT)
    scene.await_lease_end()
    scene.full("reconcile")
    first.wake()
    first.finish()


def in_its_call(scene: Scene) -> None:
    """A row whose sender is in its call, within the lease, is nobody else's."""
    first = scene.stopped("run", "before call", **LONG)
    scene.full("reconcile", run_s=BRIEF_S)
    first.wake()
    first.finish()


def planned_again(scene: Scene) -> None:
    """A planner that lost its lock plans the same campaign once more."""
    scene.killed("run", "after plan")
    scene.full("plan again")


def triggered_twice_at_once(scene: Scene) -> None:
    """The same key twice, the second while the first has not committed."""
    first = scene.stopped("run", "inside open")
    second = scene.begin("run")
    second.wait(seconds=BRIEF_S)
    first.wake()
    first.finish()
    second.finish()


def told_twice(scene: Scene) -> None:
    """A refusal is recorded, the reply is lost, it is recorded again: it settles one doubt, not two."""
    refusals = [{"kind": "unreachable", "family": "551", "page_id": scene.page_id, "skip": 1, "count": 2}]
    scene.sandbox.faults(next=refusals)
    first = scene.stopped("run", "before call", also=[Arm("reply to the record", 1, "lose")], **SHORT)
    scene.held.add(first.name)
    scene.await_lease_end()
    scene.killed("reconcile", "after answer", **SHORT)
    scene.await_lease_end()
    third = scene.stopped("reconcile", "before call", **LONG)
    first.wake()
    first.finish()
    third.wake()
    third.finish()


def second_campaign_meanwhile(scene: Scene) -> None:
    """While a call is in doubt, no other campaign gets its token."""
    scene.killed("run", "after claim", **SHORT)
    scene.full("run", f"{scene.page_id}-b")
    scene.await_lease_end()
    scene.full("reconcile")


def killed_after_the_effect(scene: Scene) -> None:
    """The message is out, the answer died with its sender."""
    scene.killed("run", "after answer", **SHORT)
    scene.await_lease_end()
    scene.full("run")


def accepted_late(scene: Scene) -> None:
    """An acceptance comes back after another attempt began, and the person may not be asked about any more."""
    first = scene.stopped("run", "after answer", **SHORT)
    scene.await_lease_end()
    scene.killed("reconcile", "after claim", **SHORT)
    scene.await_lease_end()
    scene.sql(
        "INSERT INTO otn.suppression (subscriber_id, reason, actor)"
        " SELECT id, 'operator', 'chaos' FROM otn.subscriber WHERE page_id = %s",
        scene.target.page_row,
    )
    first.wake()
    first.finish()


# Play, people, tokens of each.
HOLES: dict[str, tuple[Callable[[Scene], None], int, int]] = {
    "attempt id": (late_answer_of_another_attempt, 1, 1),
    "lease renewal": (woken_before_its_call, 3, 1),
    "lease expiry": (in_its_call, 3, 1),
    "recipient key": (planned_again, 2, 2),
    "campaign key": (triggered_twice_at_once, 2, 2),
    "answer once": (told_twice, 1, 1),
    "token holder": (second_campaign_meanwhile, 2, 1),
    "same token": (killed_after_the_effect, 2, 2),
    "intent": (killed_after_the_effect, 2, 1),
    "late acceptance": (accepted_late, 2, 1),
}
