"""The page of twins over HTTP: a world model beside the truth, step by step.

Whoever may look may see them; nothing can be changed. Runs and views are asked for by number, so no
request names a file. Tested by `test_twin_pages.py`.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from hiwm_core.errors import HiwmError
from hiwm_core.twin_folder import VIDEO, read_numbers, twins_in, view_path


class TwinPages:
    """Routes of the page of twins.

    Args:
        folder: of a twin, or one with twins in it, such as a session.
        looking: refuses whoever may not look, by raising.
        key: part of the pictures' addresses, new at every start.
        headers: of every response.
    """

    def __init__(
        self, folder: Path, looking: Callable[[web.Request], None], key: str,
        headers: dict[str, str],
    ) -> None:
        self._folder, self._looking = folder, looking
        self._key, self._headers = key, headers
        # As listed: a number keeps its meaning while the server runs.
        self._twins: list[Path] = []

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/twin/runs", self._list)
        router.add_get("/twin/runs/{number:[0-9]{1,6}}", self._open)
        router.add_get("/twin/video/{number:[0-9]{1,6}}", self._video)
        router.add_get("/twin/views/{key}/{number:[0-9]{1,6}}/{index:[0-9]{1,6}}", self._view)

    async def _list(self, request: web.Request) -> web.Response:
        self._looking(request)
        found = await asyncio.to_thread(twins_in, self._folder)
        self._twins += [path for path in found if path not in self._twins]
        return self._json({
            "runs": [path.name for path in self._twins], "folder": self._folder.name,
            "views": f"/twin/views/{self._key}/",
        })

    async def _open(self, request: web.Request) -> web.Response:
        self._looking(request)
        try:
            numbers = await asyncio.to_thread(read_numbers, self._twin(request))
        except HiwmError as error:
            raise self._missing(error.what) from None
        return self._json(numbers)

    async def _view(self, request: web.Request) -> web.StreamResponse:
        self._looking(request)
        if request.match_info["key"] != self._key:
            raise self._missing("the view is of another start")
        path = view_path(self._twin(request), int(request.match_info["index"]))
        return self._file(path, "image/png")

    async def _video(self, request: web.Request) -> web.StreamResponse:
        self._looking(request)
        return self._file(self._twin(request) / VIDEO, "video/mp4")

    def _twin(self, request: web.Request) -> Path:
        number = int(request.match_info["number"])
        if number >= len(self._twins):
            raise self._missing("no such twin: look at the list again")
        return self._twins[number]

    def _file(self, path: Path, kind: str) -> web.StreamResponse:
        if not path.is_file():
            raise self._missing("this twin has no such file: run scripts/twin again")
        return web.FileResponse(
            path, headers={**self._headers, "Content-Type": kind, "Cache-Control": "no-cache"}
        )

    def _json(self, data: dict[str, Any]) -> web.Response:
        return web.Response(
            text=json.dumps(data, separators=(",", ":"), allow_nan=False),
            content_type="application/json", headers={**self._headers, "Cache-Control": "no-store"},
        )

    def _missing(self, reason: str) -> web.HTTPNotFound:
        return web.HTTPNotFound(text=reason + "\n", headers=self._headers)
