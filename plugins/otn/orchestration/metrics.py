"""The tasks that hand figures to Airflow's stats: ``measure`` of ``otn_ingest``, ``count`` of ``otn_watch``.

Neither turns a run red or is tried again: the next run of either DAG waits for this one, and what is missing is seen by
the age of ``otn.measured_at`` and ``otn.counted_at``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import task

from otn.errors import OtnError

if TYPE_CHECKING:
    from otn.database import Engine
    from otn.watch.metrics import Figure

log = logging.getLogger(__name__)

BURST = 50  # datagrams: a receiver's buffer holds a few hundred, and what does not fit is lost without a word
BREATH_S = 0.01


def is_on() -> bool:
    """Whether Airflow has any stats to hand figures to; the tasks are there only then."""
    from airflow.configuration import conf

    return any(conf.getboolean("metrics", one) for one in ("statsd_on", "statsd_datadog_enabled", "otel_on"))


@task(retries=0, execution_timeout=timedelta(minutes=2))
def measure() -> int:
    """Hand over the figures of each minute.

    Returns:
        How many; 0: they could not be read.
    """
    from otn.orchestration.hook import MessengerHook
    from otn.watch import measuring

    return hand_over(
        lambda engine: measuring.measure(engine, lambda name: MessengerHook(name).settings.messages_per_second)
    )


@task(retries=0, execution_timeout=timedelta(minutes=10))
def count() -> int:
    """Hand over the figures of each quarter of an hour.

    Returns:
        How many; 0: they could not be read.
    """
    from otn.watch import measuring

    return hand_over(measuring.count)


def hand_over(read: Callable[[Engine], Sequence[Figure]]) -> int:
    """Read figures and send them; what goes wrong is logged, and nothing is raised.

    Args:
        read: the figures, from the project's database.

    Returns:
        How many were handed to the stats. StatsD does not tell whether they arrived.
    """
    from otn.orchestration.hook import make_engine

    try:
        figures = read(make_engine())
    except OtnError as error:
        log.warning("no figures this time: %s", error)
        return 0
    sent = send(figures)
    log.info("%s of %s figures handed to Airflow's stats", sent, len(figures))
    return sent


def send(figures: Sequence[Figure]) -> int:
    """Hand figures to whatever stats Airflow is configured for; answers how many it took.

    A name gets its tags where tags travel. A plain StatsD would drop them and keep the last of all pages and topics, so
    there they are part of the name, as in the old names of Airflow's own metrics.
    """
    from airflow.sdk.observability import stats

    tagged = _tags_travel()
    for number, one in enumerate(figures):
        if number % BURST == BURST - 1:
            time.sleep(BREATH_S)
        try:
            if tagged:
                stats.gauge(one.metric, one.value, tags=dict(one.tags))
            else:
                stats.gauge(one.dotted, one.value)
        except Exception as error:  # noqa: BLE001 - a client or handler of the installation's own may raise anything
            log.warning("Airflow's stats took %s figures and then failed: %s", number, type(error).__name__)
            return number
    return len(figures)


def _tags_travel() -> bool:
    from airflow.configuration import conf

    # In the order in which Airflow itself chooses; Datadog's client has a switch of its own.
    if conf.getboolean("metrics", "statsd_datadog_enabled"):
        return conf.getboolean("metrics", "statsd_datadog_metrics_tags", fallback=True)
    if conf.getboolean("metrics", "statsd_on"):
        return conf.getboolean("metrics", "statsd_influxdb_enabled", fallback=False)
    return True
