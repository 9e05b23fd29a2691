"""A database, a platform, and a page between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.meter import Meter
from benchmarks.shop import Shop
from benchmarks.stage import Cluster
from otn.crypto import new_key, read_keyring
from sandbox.process import start


@contextmanager
def opened() -> Iterator[tuple[Cluster, Shop, dict[str, str], Meter]]:
    """A database, a platform and a page between them; the environment of a sender there, and who computes."""
    keys = {"OTN_ENCRYPTION_KEYS": new_key(), "OTN_HASH_KEY": new_key()}
    with Cluster() as cluster, start(seed=1) as sandbox:
        environment = keys | {"OTN_EPOCH_FILE": str(cluster.folder / "epoch")}
        before = os.environ.get("OTN_EPOCH_FILE")
        os.environ["OTN_EPOCH_FILE"] = environment["OTN_EPOCH_FILE"]  # planning looks at it too
        one = Shop.open(cluster, sandbox.control, read_keyring(keys))
        try:
            yield cluster, one, environment, Meter.of(cluster, sandbox.process.pid)
        finally:
            one.engine.dispose()
            del os.environ["OTN_EPOCH_FILE"]
            os.environ |= {"OTN_EPOCH_FILE": before} if before is not None else {}
