"""What befalls a scene, drawn from a seed: who sends, who dies where, who stands still, who blocks the page.

The schedule follows from the seed; when a process comes to a step is the machine's affair.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.chaos.lives import Life
from tests.chaos.scene import Scene, cut
from tests.chaos.sender import LEASE_S
from tests.chaos.steps import REPLIES, STEPS, Arm

PEOPLE = 36
SLICE_ROWS = 2
RUN_S = 1.0  # who finds nothing to do ends soon
ACTS = (
    ("run", 4.0),
    ("send", 4.0),
    ("reconcile", 4.0),
    ("retry unknown", 3.0),
    ("retry refused", 1.0),
    ("plan again", 0.5),
)
TWO_TOKENS = (1, 2)
HELD_S = LEASE_S + 0.7
RANDOM_MOMENT_S = 0.25
CLOCKS_S = (-86_400.0, -90.0, 3_600.0, 40_000_000.0)
STEPS_OF_A_RUN = frozenset({"inside open", "inside plan", "after plan", "before end"})
# Inside a transaction a sender that stands still holds locks, and everybody would only wait for it.
HELD_AT = ("after plan", "before claim", "after claim", "before call", "on the wire", "after answer", "before record")
# Between the last look at the lease and the call nothing but the platform's single-use token can hold a sender back.
PAST_THE_LEASE = frozenset({"before call"})
FAULTS = {  # of every call, while the storm lasts
    "drop": 0.03,
    "drop_after": 0.04,
    "server_error": 0.02,
    "server_error_after": 0.03,
    "sent_but_error": 0.03,
    "html_after": 0.01,
    "ok_error": 0.01,
    "garbage_after": 0.01,
    "batch_cut": 0.01,
    "batch_cut_after": 0.01,
    "delay": {"probability": 0.05, "delay_ms": 150},
    "unreachable": 0.03,
}


class Nemesis:
    """Leads one scene through its storm.

    Args:
        scene: which.
        seed: of everything drawn.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - repeatable, not unpredictable
        self.keys = [f"{scene.page_id}-{name}" for name in "ab"]
        self.kills: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        self._alarms: list[threading.Timer] = []
        self._blocked: list[str] = []
        self._ailing = False

    def storm(self, kills: int, most: int) -> None:
        """Go on until so many senders were killed.

        Args:
            kills: so many.
            most: acts, whatever came of them.
        """
        self.scene.begin("run", self.keys[0]).wait("stopped", seconds=0.02)
        for _ in range(most):
            if self.kills.total() >= kills:
                break
            if self.random.random() < 0.3:
                self._people()
            self._act()
            self._page_well()
        for alarm in self._alarms:
            alarm.join()
        for life in self.scene.lives:
            life.finish()

    # Senders

    def _act(self) -> None:
        draw, key = self.random.random(), self._key()
        if draw < 0.66:
            self._end(*self._doomed(key))
        elif draw < 0.75:
            life = self._begin(key)
            life.wait(seconds=self.random.uniform(0, RANDOM_MOMENT_S))
            life.kill()
            self._end(life, "any moment")
        elif draw < 0.83:
            self._hold(key)
        elif draw < 0.90:
            self.acts["two at once"] += 1
            for one in [self._doomed(key), self._doomed(key)]:
                self._end(*one)
        elif draw < 0.94:
            self.acts["reply lost"] += 1
            self._end(*self._doomed(key, Arm(self.random.choice(REPLIES), 1, "lose")))
        elif draw < 0.97:
            self.acts["clock jumped"] += 1
            self._end(*self._doomed(key, clock_s=self.random.choice(CLOCKS_S)))
        else:
            self.acts["connections cut"] += 1
            life, step = self._doomed(key)
            life.wait(seconds=self.random.uniform(0, RANDOM_MOMENT_S))
            cut(self.scene.place.database)
            self._end(life, step)

    def _key(self) -> str:
        return self.random.choices(self.keys, (3, 1))[0]

    def _begin(self, key: str, arms: Sequence[Arm] = (), **bounds: Any) -> Life:
        act = self.random.choices(*zip(*ACTS, strict=True))[0]
        if key not in self.scene.keys or any(one.step in STEPS_OF_A_RUN for one in arms):
            act = "run"
        return self.scene.begin(act, key, arms, **{"run_s": RUN_S, "slice_rows": SLICE_ROWS} | bounds)

    def _doomed(self, key: str, *also: Arm, **bounds: Any) -> tuple[Life, str]:
        """A sender that dies at a step; nobody lives so long that nobody is left for the next one."""
        doom = Arm(self.random.choice(list(STEPS)), self.random.choice((1, 1, 2, 3)))
        late = Arm("after record", 4)
        return self._begin(key, [doom, late, *also], **bounds), doom.step

    def _end(self, life: Life, step: str = "") -> None:
        life.finish()
        if life.state == "killed":
            self.kills[step] += 1

    def _hold(self, key: str) -> None:
        step = self.random.choice(HELD_AT)
        life = self._begin(key, [Arm(step, self.random.choice((1, 2)), "stop")])
        life.wait("stopped")
        if life.state == "stopped":
            self.acts["held longer than the lease"] += 1
            self._alarms.append(threading.Timer(HELD_S, life.wake))
            self._alarms[-1].start()
            if step in PAST_THE_LEASE:
                self.scene.held.add(life.name)
        else:
            life.finish()

    # People, the page, the platform

    def _people(self) -> None:
        scene, draw = self.scene, self.random.random()
        some = self.random.sample(scene.people, 3)
        if draw < 0.35:
            self.acts["people block the page"] += 1
            scene.sandbox.block(scene.page_id, some)
            self._blocked += some
        elif draw < 0.65:
            self.acts["people come back"] += 1
            scene.sandbox.unblock(scene.page_id, self._blocked)
            self._blocked = []
        elif draw < 0.75:
            self.acts["stop word"] += 1
            scene.sql(
                "INSERT INTO otn.suppression (subscriber_id, reason, actor)"
                " SELECT id, 'stop_word', 'chaos' FROM otn.subscriber WHERE page_id = %s AND psid = %s"
                " ON CONFLICT DO NOTHING",
                scene.target.page_row,
                some[0],
            )
        elif draw < 0.85:
            self.acts["tokens expire at the platform"] += 1
            tokens = [row["token"] for row in scene.sandbox.tokens(scene.page_id) if row["psid"] == some[0]]
            scene.sandbox.expire(tokens)
        elif draw < 0.93:
            self.acts["throttled"] += 1
            self._ail("throttle", seconds=0.2)
        else:
            self.acts["page refused"] += 1
            self._ail("page_dead")

    def _ail(self, kind: str, **values: Any) -> None:
        self.scene.sandbox.faults(FAULTS, [{"kind": kind, "page_id": self.scene.page_id, **values}])
        self._ailing = True

    def _page_well(self) -> None:
        """The page's token is renewed; the minute of silence has passed, as far as our tables know."""
        if self._ailing:
            self.scene.recover()
