"""Responses in JSON, as every page of the console gives them."""

import json
from typing import Any

from aiohttp import web


def json_response(
    headers: dict[str, str], data: dict[str, Any], status: int = 200
) -> web.Response:
    """Return a response that no browser stores.

    Args:
        headers: of every response.
        data: without NaN or infinity.
        status: HTTP's.
    """
    return web.Response(
        text=json.dumps(data, separators=(",", ":"), allow_nan=False), status=status,
        content_type="application/json", headers={**headers, "Cache-Control": "no-store"},
    )
