"""Who comes in, and what he may: Airflow's own login and permissions, asked at every route.

The guard stands before the whole application, so that a route cannot be forgotten: looking needs leave to see the
runs of ``otn_broadcast``, changing needs leave to trigger them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, Request

LOOKING: Final = frozenset({"GET", "HEAD"})
BROADCAST: Final = "otn_broadcast"
NOT_EVEN_LOOKING: Final = "You may not see the campaigns. Ask for leave to read the runs of the DAG otn_broadcast."
ONLY_LOOKING: Final = "You may look, and not change anything. Ask for leave to trigger the DAG otn_broadcast."


@dataclass(frozen=True)
class Visitor:
    """Whoever looks at a page.

    Args:
        name: as Airflow knows him; stands in the audit.
        may_act: may start, pause, resume and cancel campaigns, and change topics.
        may_see_people: may see PSIDs and names, and erase. Whoever may read Airflow's connections: they hold the page's
            token, with which all of this could be had from the platform.
    """

    name: str
    may_act: bool
    may_see_people: bool


def visitor(user: Annotated[Any, Depends(get_user)]) -> Visitor:
    """Who asks; 401 for nobody, 403 for somebody who may not even look."""
    if not _may(user, "GET", BROADCAST):
        raise HTTPException(403, NOT_EVEN_LOOKING)
    manager = get_auth_manager()
    return Visitor(
        name=user.get_name(),
        may_act=_may(user, "POST", BROADCAST),
        may_see_people=manager.is_authorized_connection(method="GET", details=ConnectionDetails(), user=user),
    )


VisitorDep = Annotated[Visitor, Depends(visitor)]


def guard(request: Request, found: VisitorDep) -> None:
    """Before every route: whoever changes something must be allowed to, and must ask from a page of ours."""
    if request.method in LOOKING:
        return
    if not found.may_act:
        raise HTTPException(403, ONLY_LOOKING)
    if not from_here(request.headers, request.url.netloc):
        raise HTTPException(403, "This came from a page of another origin. Open the console and do it there.")


def see_people(found: VisitorDep) -> Visitor:
    """For routes that show or change single people."""
    if not found.may_see_people:
        raise HTTPException(403, "You may not see people. Ask for leave to read Airflow's connections.")
    return found


PeopleDep = Annotated[Visitor, Depends(see_people)]


def from_here(headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser says that a page of this origin asks; a caller with a token of its own is no browser.

    Args:
        headers: of the request.
        host: to which it came, with the port if there is one.
    """
    if headers.get("authorization"):
        return True
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    return urlsplit(headers.get("origin", "")).netloc == headers.get("host", host)


def _may(user: Any, method: ResourceMethod, dag_id: str) -> bool:
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )
