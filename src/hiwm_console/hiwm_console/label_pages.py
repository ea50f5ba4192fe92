"""The labelling page over HTTP: its list, its pictures, and labels to store.

Whoever may look may see the episodes; only whoever may drive may label them. Labels arrive as JSON,
which no form of another site can send. Tested by `test_label_store.py`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from hiwm_console.access import Access
from hiwm_console.hub import Hub
from hiwm_console.json_responses import json_response
from hiwm_console.label_store import LabelStore, parse_verdict
from hiwm_console.pictures import media_type
from hiwm_console.protocol import Act, Refused
from hiwm_core.errors import HiwmError

Judge = Callable[[web.Request, str], Access]


class LabelPages:
    """Routes of the labelling page.

    Args:
        store: the folder's episodes.
        hub: refusals, and the running session if there is one.
        judge: what a request with a token may do.
        key: part of the pictures' addresses, new at every start.
        headers: of every response.
    """

    def __init__(
        self, store: LabelStore, hub: Hub, judge: Judge, key: str, headers: dict[str, str]
    ) -> None:
        self._store, self._hub, self._judge = store, hub, judge
        self._key, self._headers = key, headers
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="labels")

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes."""
        router.add_get("/label/episodes", self._list)
        router.add_get("/label/episodes/{number:[0-9]{1,6}}", self._open)
        router.add_get(
            "/label/frames/{key}/{number:[0-9]{1,6}}/{camera:[0-9]{1,3}}/{index:[0-9]{1,6}}",
            self._frame,
        )
        router.add_post("/label/episodes/{number:[0-9]{1,6}}", self._label)

    def close(self) -> None:
        """Close the folder's files."""
        self._reading.submit(self._store.close).result(10)
        self._reading.shutdown()

    def _access(self, request: web.Request) -> Access:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        access = self._judge(request, token)
        if not access.look:
            self._refuse(web.HTTPForbidden, access.reason)
        return access

    def _refuse(self, kind: type[web.HTTPException], reason: str) -> None:
        self._hub.refusals.note(reason)
        raise kind(text=reason + "\n", headers=self._headers)

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, function, *arguments)

    async def _list(self, request: web.Request) -> web.Response:
        access = self._access(request)
        listing = await self._run(self._store.listing)
        return json_response(self._headers, {
            **listing, "frames": f"/label/frames/{self._key}/",
            "may_label": access.drive, "reason": access.reason,
        })

    async def _open(self, request: web.Request) -> web.Response:
        self._access(request)
        try:
            opened = await self._run(self._store.opened, int(request.match_info["number"]))
        except HiwmError as error:
            return json_response(self._headers, {"ok": False, "message": str(error)}, 404)
        return json_response(self._headers, {"ok": True, **opened})

    async def _frame(self, request: web.Request) -> web.Response:
        self._access(request)
        if request.match_info["key"] != self._key:
            raise web.HTTPNotFound(text="the frame is of another start\n", headers=self._headers)
        place = (int(request.match_info[part]) for part in ("number", "camera", "index"))
        try:
            data = await self._run(self._store.frame, *place)
        except HiwmError as error:
            raise web.HTTPNotFound(text=f"{error.what}\n", headers=self._headers) from None
        return web.Response(
            body=data, content_type=media_type(data),
            headers={**self._headers, "Cache-Control": "private, max-age=86400, immutable"},
        )

    async def _label(self, request: web.Request) -> web.Response:
        access = self._access(request)
        if not access.drive:
            self._refuse(web.HTTPForbidden, access.reason)
        if request.content_type != "application/json":
            self._refuse(web.HTTPUnsupportedMediaType, "a label is JSON")
        number = int(request.match_info["number"])
        try:
            verdict = parse_verdict(await request.text())
            branch = await self._run(self._store.branch_of, number)
            by_service = self._hub.graph is not None and bool(branch)
            if by_service and self._hub.graph is not None:
                await self._run(self._store.check, number, verdict)
                label = verdict.label
                answer = await self._hub.graph.act(Act(
                    id=0, action="label", branch=branch, label=label.label, note=label.note
                ), label.who)
                if not answer["ok"]:
                    return json_response(
                        self._headers, {"ok": False, "message": answer["message"]}, 409
                    )
            stored = await self._run(
                lambda: self._store.write(number, verdict, tree=not by_service)
            )
        except Refused as refused:
            self._hub.refusals.note(str(refused))
            return json_response(self._headers, {"ok": False, "message": str(refused)}, 400)
        except HiwmError as error:
            return json_response(self._headers, {"ok": False, "message": str(error)}, 409)
        return json_response(self._headers, {"ok": True, **stored})
