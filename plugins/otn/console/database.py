"""The console's way to the project's database: one engine for the life of the API server's process."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import Depends

from otn.database import Engine
from otn.orchestration.hook import make_engine


@cache
def _engine() -> Engine:
    return make_engine()


@cache
def _owners_engine() -> Engine:
    return make_engine(owner=True)


def engine() -> Engine:
    """With a sender's rights: looks, and decides about campaigns."""
    return _engine()


def owners_engine() -> Engine:
    """With the owner's rights: topics are his."""
    return _owners_engine()


EngineDep = Annotated[Engine, Depends(engine)]
OwnersEngineDep = Annotated[Engine, Depends(owners_engine)]
