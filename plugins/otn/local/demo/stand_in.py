"""The demo's platform: a sandbox that belongs to the home, and the page on it."""

from __future__ import annotations

import json
import secrets
from typing import Any

from otn.local.environment import caller_environment
from otn.local.files import private_folder
from otn.local.home import Home
from otn.local.ports import HOST, free_port
from otn.settings import DEFAULT_PAGE_CONNECTION
from sandbox.control_client import Sandbox

PAGE_NAME = "The demo page"

KEPT_OF_CALLER = ("OTN_SQL_DIR",)  # where the code lies, not what an installation says

# What goes wrong on the way: a little of everything that the platform is known to do.
FAULTS = "full"
BLOCKED_SHARE = 0.02
DELIVERY = {"duplicates": 0.02, "shuffle": True, "missing_mids": 0.1, "missing_echo": 0.02, "entries_per_post": 50}


def settle_in(home: Home, rate: float) -> None:
    """Give the home a place for its sandbox and the connection of a page on it; kept over restarts.

    Args:
        home: which.
        rate: messages a second; 0: no pace.
    """
    kept = home.state()
    port = free_port(kept.get("sandbox_port"), None)
    page = kept.get("sandbox_page") or {
        "page_id": str(10**14 + secrets.randbelow(9 * 10**14)),
        "access_token": f"EAAG{secrets.token_hex(24)}",
        "app_secret": secrets.token_hex(16),
        "verify_token": secrets.token_urlsafe(16),
    }
    connection = {
        "conn_type": "messenger",
        "host": f"http://{HOST}:{port}",
        "login": page["page_id"],
        "password": page["access_token"],
        "extra": {
            "app_secret": page["app_secret"],
            "verify_token": page["verify_token"],
            "messages_per_second": rate,
        },
    }
    home.save_state(
        sandbox_port=port,
        sandbox_page=page,
        settings={
            # Whatever the caller's environment says of a real installation is none of the demo's business: its pages,
            # database and keys, its journals and epoch file, its landing, and whom it tells.
            **{
                name: ""
                for name in caller_environment()
                if name.startswith(("AIRFLOW_CONN_", "OTN_")) and name not in KEPT_OF_CALLER
            },
            f"AIRFLOW_CONN_{DEFAULT_PAGE_CONNECTION.upper()}": json.dumps(connection),
            # Nor is what the operator's campaign files say.
            "OTN_CAMPAIGNS_DIR": str(private_folder(home.path / "campaigns")),
        },
    )


def control(home: Home) -> Sandbox:
    """Control of the home's sandbox."""
    return Sandbox(f"http://{HOST}:{home.state()['sandbox_port']}")


def open_page(home: Home, sandbox: Sandbox, receiver_url: str) -> str:
    """Make the page known to the platform, with the receiver as its webhook; answers the page id."""
    page: dict[str, Any] = home.state()["sandbox_page"]
    sandbox.page(
        **page,
        name=PAGE_NAME,
        webhook_url=f"{receiver_url}/webhook",
        handshake=True,
    )
    sandbox.delivery(**DELIVERY)
    return str(page["page_id"])
