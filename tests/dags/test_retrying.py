from __future__ import annotations

import psycopg2
import pytest

from otn.database import DatabaseAwayError, DatabaseError
from otn.database.schema import SchemaAheadError, SchemaBehindError
from otn.errors import ConfigurationError, OtnError, UsageError
from otn.messenger.messages import MessageError
from otn.orchestration.retrying import RETRIES, OtnRetryPolicy


def decide(error: BaseException, try_number: int = 1, max_tries: int = RETRIES) -> tuple[str, float | None]:
    decision = OtnRetryPolicy().evaluate(error, try_number, max_tries)
    return decision.action.value, decision.retry_delay.total_seconds() if decision.retry_delay else None


class DeadlockError(DatabaseError):
    sqlstate = "40P01"

    def __init__(self) -> None:
        Exception.__init__(self, "deadlock")


@pytest.mark.parametrize(
    "error", [UsageError(), ConfigurationError(), OtnError(), MessageError("text", "is long", "Shorten it")]
)
def test_what_another_try_cannot_cure_fails_now(error: Exception) -> None:
    assert decide(error)[0] == "fail"


def test_a_database_that_is_away_is_waited_for_to_the_last_try() -> None:
    assert decide(DatabaseAwayError(psycopg2.OperationalError()), RETRIES) == ("retry", 15.0)


@pytest.mark.parametrize("error", [RuntimeError(), DatabaseError(psycopg2.DataError()), KeyError("x")])
def test_the_unexpected_gets_a_few_tries_counted_anew_after_a_clear(error: Exception) -> None:
    assert decide(error, 3)[0] == "retry"
    assert decide(error, 4)[0] == "fail"
    assert decide(error, 13, RETRIES + 10)[0] == "retry"
    assert decide(error, 14, RETRIES + 10)[0] == "fail"


def test_new_code_waits_for_the_tables_and_old_code_gives_up() -> None:
    assert decide(SchemaBehindError(), RETRIES) == ("retry", 15)
    assert decide(SchemaAheadError())[0] == "fail"


def test_a_deadlock_is_no_reason_to_give_up() -> None:
    assert decide(DeadlockError(), 20)[0] == "retry"
