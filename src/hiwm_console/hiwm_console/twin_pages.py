"""The page of twins over HTTP: a world model beside the truth, step by step.

Whoever may look may see them, also while they run. Only whoever may drive may start a run. Runs and
views are asked for by number. Tested by `test_twin_pages.py`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from hiwm_console.access import Access
from hiwm_console.json_responses import json_response
from hiwm_console.protocol import Refused
from hiwm_console.twin_runs import TwinRuns, parse_request
from hiwm_core.errors import HiwmError
from hiwm_core.twin_folder import VIDEO, is_running, read_numbers, twins_in, view_path

Judge = Callable[[web.Request, str], Access]


class TwinPages:
    """Routes of the page of twins.

    Args:
        folder: of a twin, or one with twins in it, such as a session.
        judge: what a request with a token may do.
        note_refusal: counts refusals.
        key: part of the pictures' addresses, new at every start.
        headers: of every response.
    """

    def __init__(
        self, folder: Path, judge: Judge, note_refusal: Callable[[str], None], key: str,
        headers: dict[str, str],
    ) -> None:
        self._folder, self._judge, self._note_refusal = folder, judge, note_refusal
        self._key, self._headers = key, headers
        # As listed: a number keeps its meaning while the server runs.
        self._twins: list[Path] = []
        self._runs = TwinRuns(folder)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/twin/runs", self._list)
        router.add_post("/twin/runs", self._start)
        router.add_post("/twin/stop", self._stop)
        router.add_get("/twin/runs/{number:[0-9]{1,6}}", self._open)
        router.add_get("/twin/video/{number:[0-9]{1,6}}", self._video)
        router.add_get("/twin/views/{key}/{number:[0-9]{1,6}}/{index:[0-9]{1,6}}", self._view)

    async def close(self) -> None:
        """End what runs."""
        await self._runs.close()

    def _looking(self, request: web.Request, *, drive: bool = False) -> Access:
        """Return what a request may do; refuse whoever may not look, or not drive."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        access = self._judge(request, token)
        if not access.look or (drive and not access.drive):
            self._note_refusal(access.reason)
            raise web.HTTPForbidden(text=access.reason + "\n", headers=self._headers)
        return access

    async def _start(self, request: web.Request) -> web.Response:
        self._looking(request, drive=True)
        if request.content_type != "application/json":
            # No form of another site can send JSON.
            raise web.HTTPUnsupportedMediaType(text="a request is JSON\n", headers=self._headers)
        try:
            name = await self._runs.start(parse_request(await request.text()))
        except Refused as refused:
            self._note_refusal(str(refused))
            return json_response(self._headers, {"ok": False, "message": str(refused)}, 400)
        return json_response(self._headers, {"ok": True, "name": name})

    async def _stop(self, request: web.Request) -> web.Response:
        self._looking(request, drive=True)
        self._runs.stop()
        return json_response(self._headers, {"ok": True})

    async def _list(self, request: web.Request) -> web.Response:
        access = self._looking(request)
        found = await asyncio.to_thread(twins_in, self._folder)
        self._twins += [path for path in found if path not in self._twins]
        return json_response(self._headers, {
            "runs": [path.name for path in self._twins], "folder": self._folder.name,
            "views": f"/twin/views/{self._key}/", "may_run": access.drive,
            "reason": access.reason,
            "run": {
                "name": self._runs.name, "running": self._runs.running, "error": self._runs.error,
            },
        })

    async def _open(self, request: web.Request) -> web.Response:
        self._looking(request)
        folder = self._twin(request)
        try:
            numbers = await asyncio.to_thread(read_numbers, folder)
        except HiwmError as error:
            raise self._missing(error.what) from None
        return json_response(self._headers, {**numbers, "running": is_running(numbers, folder)})

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

    def _missing(self, reason: str) -> web.HTTPNotFound:
        return web.HTTPNotFound(text=reason + "\n", headers=self._headers)
