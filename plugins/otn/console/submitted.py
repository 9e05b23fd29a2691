"""What a browser submits with a form, read with a bound: Starlette reads a form of this kind whatever its size."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

BYTES_LIMIT = 8 * 1024 * 1024  # a text of a megabyte, each of its characters escaped, comes back with its fault named
FIELDS_LIMIT = 200

Typed = dict[str, str]


async def submitted(request: Request) -> Typed:
    """Fields of a form, of each name the last; lines end as Python ends them.

    Raises:
        HTTPException: it is too large (413), or no form at all (400).
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BYTES_LIMIT:
            raise HTTPException(413, "This is more than a form of ours holds. Go back, and shorten it.")
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
    except ValueError:
        raise HTTPException(400, "This cannot be read as a form. Go back and try again.") from None
    return {name: value.replace("\r\n", "\n") for name, value in fields}


SubmittedDep = Annotated[Typed, Depends(submitted)]
