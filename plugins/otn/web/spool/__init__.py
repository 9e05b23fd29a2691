"""The spool: webhooks on the local disk, for as long as Postgres cannot take them. Knows no database and no HTTP."""

from __future__ import annotations

from otn.web.spool.folder import Figures, Spool
from otn.web.spool.receipt import PURPOSE, Receipt
from otn.web.spool.segment import Adopted

__all__ = ["PURPOSE", "Adopted", "Figures", "Receipt", "Spool"]
