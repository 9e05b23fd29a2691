"""The metrics: what each is called, what it is told apart by, what it tells. docs/metrics.md shows the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Metric:
    """A gauge. All are gauges: they are read from Postgres, so that a crash or a task that runs twice changes nothing.

    Args:
        name: as Airflow's stats take it, without Airflow's prefix.
        tags: what its series are told apart by, in the order in which a name without tags has them.
        tells: what the figure is.
    """

    name: str
    tags: tuple[str, ...]
    tells: str


# Each minute, by otn_ingest: small tables and partial indexes.
MINUTELY = (
    Metric("otn.measured_at", (), "when the figures of each minute were read, in seconds since 1970"),
    Metric("otn.ingest.waiting", (), "webhooks that are stored and not ingested"),
    Metric("otn.ingest.lag_seconds", (), "age of the oldest of them"),
    Metric("otn.quarantine", (), "events that could not be read and were not replayed"),
    Metric("otn.page.halted", ("page",), "1: nothing is sent for the page"),
    Metric(
        "otn.pace.used", ("page",), "calls of the last whole five minutes, as a part of what the page's pace allows"
    ),
    Metric("otn.pace.booked_seconds", ("page",), "how far ahead the page's schedule is taken"),
    Metric("otn.quota.used", ("page",), "calls of the last 24 hours"),
    Metric("otn.quota.allowed", ("page",), "calls that the platform allows in 24 hours; absent: not counted"),
    Metric("otn.campaigns", ("page", "state"), "campaigns by state"),
    Metric("otn.campaigns_late", ("page",), "campaigns that have not begun `late_after` their `send_at`"),
    Metric(
        "otn.alarms", ("page", "kind", "level"), "open alarms of `otn_watch` by kind; page `none`: the installation"
    ),
)
# Each quarter of an hour, by otn_watch: walks over recipients and consents.
QUARTERLY = (
    Metric("otn.counted_at", (), "when the figures of each quarter of an hour were read, in seconds since 1970"),
    Metric("otn.planned", ("page", "topic"), "people of campaigns that are under way or ended within a day"),
    Metric(
        "otn.recipients", ("page", "topic", "outcome"), "the same people by what became of them; `unknown`: in doubt"
    ),
    Metric("otn.refused", ("page", "code"), "the refused among them by the platform's code, `code-subcode`"),
    Metric("otn.consents", ("page", "topic"), "opt-ins in stock: not expired, not held by a campaign"),
    Metric("otn.consents_dying", ("page", "topic"), "of those, what ends within 30 days; without people who said stop"),
)
METRICS: Mapping[str, Metric] = {one.name: one for one in (*MINUTELY, *QUARTERLY)}


@dataclass(frozen=True)
class Figure:
    """A value of a metric.

    Args:
        metric: its name.
        value: not below 0: StatsD takes a sign for a change.
        tags: value of each of the metric's tags.
    """

    metric: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def dotted(self) -> str:
        """The name with the tags' values in it, for a StatsD that knows no tags."""
        return ".".join((self.metric, *(self.tags[tag] for tag in METRICS[self.metric].tags)))
