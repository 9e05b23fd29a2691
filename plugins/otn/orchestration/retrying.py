"""Which failure is worth another try, and how soon; and how a task gives its place to others without failing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowRescheduleException

# A killed task leaves no exception behind: this is how soon the next one takes up its work.
RETRY_DELAY = timedelta(seconds=5)
# Many, because a database that is away for ten minutes costs one each 15 s; what cannot help fails at once anyway.
RETRIES = 40
AWAY_DELAY = timedelta(seconds=15)
ASK_AGAIN_DELAY = timedelta(seconds=1)
UNEXPECTED_TRIES = 3


class OtnRetryPolicy(RetryPolicy):
    """Database away: wait for it. A mistake of ours or of the operator's: fail now. Anything else: a few tries.

    Args:
        retries: what the task allows in all; tries are counted anew after a clear.
    """

    def __init__(self, retries: int = RETRIES) -> None:
        self.retries = retries

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any | None = None
    ) -> RetryDecision:
        """Decide about a failed try."""
        from otn.campaign.approval import YesNotTakenError
        from otn.database import DatabaseAwayError, DatabaseError
        from otn.database.schema import SchemaBehindError
        from otn.errors import OtnError

        del context
        if isinstance(exception, DatabaseAwayError):
            return RetryDecision.retry(AWAY_DELAY, "Postgres is away")
        if isinstance(exception, SchemaBehindError):
            return RetryDecision.retry(AWAY_DELAY, "this code waits for `otn migrate`")
        if isinstance(exception, YesNotTakenError):
            return RetryDecision.retry(ASK_AGAIN_DELAY, str(exception))
        passing = isinstance(exception, DatabaseError) and exception.passing
        if isinstance(exception, OtnError) and not isinstance(exception, DatabaseError):
            return RetryDecision.fail(f"{type(exception).__name__}: another try would end the same way")
        # After a clear, Airflow counts on from the old tries and raises the maximum by as many.
        tries = try_number - (max_tries - self.retries)
        if not passing and tries > UNEXPECTED_TRIES:
            return RetryDecision.fail(f"the same after {tries} tries")
        return RetryDecision.retry(AWAY_DELAY, "perhaps it passes")


def come_back(at: datetime | None = None) -> NoReturn:
    """End this try without success or failure; Airflow starts the task again later. No slot is held, no retry spent.

    Args:
        at: when; a few seconds from now by default.
    """
    raise AirflowRescheduleException(at or datetime.now(UTC) + RETRY_DELAY)  # type: ignore[no-untyped-call]
