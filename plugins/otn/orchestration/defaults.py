"""What every task of every DAG starts from."""

from __future__ import annotations

from typing import Any

from otn.orchestration.retrying import RETRIES, RETRY_DELAY, OtnRetryPolicy

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "otn",
    "retries": RETRIES,
    "retry_delay": RETRY_DELAY,
    "retry_policy": OtnRetryPolicy(),
}
