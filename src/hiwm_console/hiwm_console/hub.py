"""The centre of the console: who is connected, what they see, and what they may do.

It runs on the web server's event loop and is accessed only from there. It reaches a running session
through `Graph`; a stored session has none. Tested by
`test_web_server.py` and `test_web_driving.py`.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from hiwm_console import flood, protocol, world_simulator
from hiwm_console.clients import Client, Frame
from hiwm_console.hand_clutch import HandWatch
from hiwm_console.page_commands import Command, DriveSettings, Output, PageCommands, Pause, Released
from hiwm_console.protocol import Act, Refused
from hiwm_console.seats import Seats
from hiwm_console.world_simulator import SimulatorPage
from hiwm_core.control import Mode

# Interval of the checks for a silent page.
_LOOK_S = 0.02
# Number of ticks whose drive stamp is kept until their frame arrives.
_STAMPS = 64
# Who may do what; all other actions are reserved for the driver.
_FOR_EVERYONE = ("propose",)
_FOR_WHO_MAY_DRIVE = ("pause", "stop", "continue")
_READ_ONLY = "this is a stored session: it can be viewed, not changed"


class Graph(Protocol):
    """The hub's interface to a running session."""

    def publish(self, command: Command) -> None:
        """Send an operator command."""

    def act(self, act: Act, who: str) -> Awaitable[dict[str, Any]]:
        """Call a service for a person; the answer has ok and message."""

    @property
    def axes(self) -> int:
        """Number of axes that a page drives; 0 while the world is unknown."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms; none while the world is unknown."""

    def world_simulator_axes(self, keys: frozenset[str]) -> list[float]:
        """Return the axes for keys held in a page of the world simulator's protocol."""

    def show_again(self) -> None:
        """Show the current pictures again."""


class Hub:
    """Connects people to a session.

    Args:
        graph: the running session; None for a stored one.
        log: called with log lines.
        base: sent to each page first: the session, and the address of its frames.
        demonstrations: record driving as demonstrations if the page does not specify it.
    """

    def __init__(
        self, graph: Graph | None, log: Callable[[str], None], base: Mapping[str, Any], *,
        demonstrations: bool = False,
    ) -> None:
        self.graph = graph
        self._demonstrations = demonstrations
        self.page_commands = PageCommands()
        self._hands = HandWatch()
        self.seats = Seats()
        self.refusals = flood.Refusals(log)
        self.clients: dict[int, Client] = {}
        self.want_tree: Callable[[Client, int], None] = lambda client, since: None
        self._base = dict(base)
        self._log = log
        self._states: dict[str, str] = {}  # newest of each kind, for pages that connect later
        self._stamps: dict[tuple[int, int], tuple[int, float]] = {}
        self._last_id = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._pages: dict[int, SimulatorPage] = {}  # those of the world simulator's protocol
        self._tasks: set[asyncio.Task[None]] = set()

    # People.

    def join(self, client_of: Callable[[int], Client]) -> Client:
        """Add a connection; `client_of` makes its client from a number."""
        self._last_id += 1
        client = client_of(self._last_id)
        self.clients[client.id] = client
        self.seats.join(client.id, client.name)
        if client.plain:
            self._pages[client.id] = SimulatorPage()
        else:
            client.send({"type": "hello", "id": client.id, "access": _access(client),
                        "demonstrations": self._demonstrations, **self._base})
            for kind, text in self._states.items():
                client.show(kind, text)
            self.want_tree(client, 0)
        if self.graph is not None:
            self.graph.show_again()  # a paused world makes no new pictures
        self._tell_seats()
        return client

    def leave(self, client: Client) -> None:
        """Remove a connection that has closed."""
        self.clients.pop(client.id, None)
        self._pages.pop(client.id, None)
        before = self.seats.driver
        if before == client.id:
            self._do(self.page_commands.lose("the page in control has closed"))
        self._seat_changed(self.seats.leave(client.id), before)
        self._drive(time.monotonic())

    def receive(self, client: Client, text: str) -> None:
        """Process one text message of a connection."""
        now = time.monotonic()
        if client.bucket.take(now):
            self._read(client, text, now)
        elif client.plain:
            self._pages[client.id].unread = text
        else:
            self._refuse(client, f"more than {flood.MOST_A_SECOND:.0f} messages a second")
            if not client.patience.take(now):
                client.gone = "too many messages"
                client.wake.set()

    def _read(self, client: Client, text: str, now: float) -> None:
        try:
            if client.plain:
                self._pages[client.id].unread = ""
                self._receive_plain(client, world_simulator.parse(text), now)
            else:
                self._receive(client, protocol.parse(text), now)
        except Refused as refused:
            self._refuse(client, str(refused))
        self._drive(now)

    def _refuse(self, client: Client, reason: str) -> None:
        self.refusals.note(reason)
        if not client.plain:
            client.show("refused", json.dumps({"type": "refused", "reason": reason}))

    def _receive(self, client: Client, message: protocol.Message, now: float) -> None:
        if isinstance(message, protocol.Drive):
            self._receive_drive(
                client, message.axes, message.deadman, message.t, now, message.demonstration,
                DriveSettings(frame=message.frame, speed=message.speed, hands=message.hands),
            )
        elif isinstance(message, protocol.Seen):
            client.seen(message.n)
        elif isinstance(message, protocol.Ping):
            client.show("pong", json.dumps({"type": "pong", "t": message.t}))
        elif isinstance(message, protocol.LetGo):
            if self.seats.driver == client.id:
                self._do(self.page_commands.lose(message.why or "released by the page in control"))
        elif isinstance(message, protocol.SeatWish):
            self._seat(client, message.do)
        elif isinstance(message, Act):
            self._act(client, message)
        elif isinstance(message, protocol.TreeWish):
            self.want_tree(client, message.since)
        elif isinstance(message, protocol.Hello) and message.name:
            client.name = message.name
            self.seats.join(client.id, message.name)
            self._tell_seats()

    def _receive_plain(
        self, client: Client, message: world_simulator.TaskWish | world_simulator.KeyState,
        now: float,
    ) -> None:
        if isinstance(message, world_simulator.TaskWish):
            return  # the session has its task
        page = self._pages[client.id]
        pressed = not page.holding
        page.keys, page.t_client, page.received_at = message.keys, message.t_client, now
        pressed &= page.holding
        if pressed and client.access.drive and self.seats.driver != client.id:
            self._take_seat(client)
        self._receive_keys(client, page, now)

    def answered_ping(self, client: Client) -> None:
        """Note that a plain page's connection is alive: its last message is still valid."""
        now, page = time.monotonic(), self._pages.get(client.id)
        if page is None or not page.holding or now - page.received_at >= world_simulator.HELD_S:
            return
        with contextlib.suppress(Refused):  # the message itself was refused already
            self._receive_keys(client, page, now)
        self._drive(now)

    def _receive_keys(self, client: Client, page: SimulatorPage, now: float) -> None:
        if self.graph is None:
            return
        # Its stamps do not advance between messages, so they cannot measure lateness.
        axes = self.graph.world_simulator_axes(page.keys)
        self._receive_drive(client, tuple(axes), page.holding, 1e3 * now, now)

    # Driving.

    def _receive_drive(
        self, client: Client, axes: tuple[float, ...], deadman: bool, t: float, now: float,
        demonstration: bool | None = None, settings: DriveSettings = DriveSettings(),  # noqa: B008 - frozen
    ) -> None:
        if self.graph is None:
            raise Refused(_READ_ONLY)
        try:
            self._drive_or_refuse(client, axes, deadman, t, now, demonstration, settings)
        finally:
            client.held = deadman

    def _drive_or_refuse(
        self, client: Client, axes: tuple[float, ...], deadman: bool, t: float, now: float,
        demonstration: bool | None, settings: DriveSettings,
    ) -> None:
        if not deadman and self.seats.driver != client.id:
            return
        if not client.access.drive:
            raise Refused(client.access.reason)
        if self.seats.driver is None:
            self._take_seat(client)
        if self.seats.driver != client.id:
            raise Refused("somebody else has the controls")
        assert self.graph is not None  # the caller has looked
        if len(axes) != self.graph.axes:
            raise Refused(f"drive: {len(axes)} axes, but this robot has {self.graph.axes}")
        if demonstration is None:
            demonstration = self._demonstrations
        problem = self.page_commands.receive(
            axes, deadman, t, now, demonstration=demonstration, settings=settings
        )
        if problem:
            raise Refused(problem)
        lost = self._hands.problem(settings.hands, t, self.graph.arms)
        if lost and deadman:
            self._do(self.page_commands.lose(lost))

    def _drive(self, now: float) -> None:
        """Execute the outputs due now, and schedule the next ones."""
        self._do(self.page_commands.take(now))
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self.page_commands.due(now)
        if due is not None:
            self._alarm = asyncio.get_running_loop().call_later(
                max(0.0, due - now), lambda: self._drive(time.monotonic())
            )

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Command):
                if self.graph is not None:
                    self._stamp(output)
                    self.graph.publish(output)
            elif isinstance(output, Pause):
                self._log(f"control released: {output.reason}")
                self._ask(Act(id=0, action="pause", note=output.reason), None)
            elif isinstance(output, Released) and self.seats.driver in self.clients:
                driver = self.clients[self.seats.driver]
                if not driver.plain:
                    driver.send({"type": "released", "reason": output.reason})

    def _stamp(self, command: Command) -> None:
        """Remember whose input the next frame will show."""
        driver = self.seats.driver
        client = self.clients.get(driver) if driver is not None else None
        if client is None or not command.deadman:
            return
        t = self._pages[client.id].t_client if client.id in self._pages else command.t
        self._stamps[command.epoch, command.step + 1] = (client.id, t)
        while len(self._stamps) > _STAMPS:
            del self._stamps[next(iter(self._stamps))]

    async def look_after_control(self) -> None:
        """Detect a silent driver and read deferred messages, as long as the server runs."""
        while True:
            await asyncio.sleep(_LOOK_S)
            now = time.monotonic()
            for number, page in self._pages.items():
                client = self.clients[number]
                if page.unread and client.bucket.take(now):
                    self._read(client, page.unread, now)
            if self.page_commands.holding:
                self._drive(now)

    # Seats.

    def _seat(self, client: Client, do: str) -> None:
        if self.graph is None:
            raise Refused(_READ_ONLY)
        before = self.seats.driver
        if do == "ask":
            if not client.access.drive:
                raise Refused(client.access.reason)
            line = self.seats.ask(client.id, holding=self.page_commands.holding)
        elif do == "give":
            if before == client.id and self.seats.asking is not None:
                # The new driver starts without control of the robot.
                self._do(self.page_commands.lose("the controls were handed over"))
            line = self.seats.give(client.id)
        elif do == "keep":
            line = self.seats.keep(client.id)
        else:
            if before == client.id:
                self._do(self.page_commands.lose("the driver left the controls"))
            line = self.seats.stand_up(client.id)
        self._seat_changed(line, before)

    def _take_seat(self, client: Client) -> None:
        before = self.seats.driver
        self._seat_changed(self.seats.ask(client.id, holding=self.page_commands.holding), before)

    def _seat_changed(self, line: str, before: int | None) -> None:
        if self.seats.driver != before:
            new = self.clients.get(self.seats.driver or -1)
            # A press that was refused while another drove never takes control by itself.
            self.page_commands.begin(must_release=new is not None and new.held)
            self._hands.forget()
        if line:
            self.notice(line)
        self._tell_seats()

    def _tell_seats(self) -> None:
        text = json.dumps({
            "type": "seats", "driver": self.seats.driver, "asking": self.seats.asking,
            "people": {str(person): name for person, name in self.seats.people.items()},
        })
        for client in self.clients.values():
            if not client.plain:
                client.show("seats", text)

    # Requests.

    def _act(self, client: Client, act: Act) -> None:
        if self.graph is None:
            raise Refused(_READ_ONLY)
        if act.action not in _FOR_EVERYONE and not client.access.drive:
            raise Refused(client.access.reason)
        if act.action not in (*_FOR_EVERYONE, *_FOR_WHO_MAY_DRIVE):
            if self.seats.driver is None:
                self._take_seat(client)
            if self.seats.driver != client.id:
                raise Refused("somebody else has the controls")
        if act.action in ("pause", "stop") and self.seats.driver == client.id:
            self.page_commands.drop()
        self._ask(act, client)

    def _ask(self, act: Act, client: Client | None) -> None:
        if self.graph is None:
            return
        answer = self.graph.act(act, client.name if client is not None else "")

        async def wait() -> None:
            result = await answer
            if client is not None:
                client.send({"type": "answer", "id": act.id, "action": act.action, **result})

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop waiting for answers."""
        for task in self._tasks:
            task.cancel()

    # Output to the pages.

    def notice(self, text: str) -> None:
        """Show a line on every page."""
        for client in self.clients.values():
            if not client.plain:
                client.send({"type": "notice", "text": text})

    def show(self, kind: str, message: Mapping[str, Any]) -> None:
        """Show a state on every page, including those that connect later."""
        text = json.dumps({"type": kind, **message}, separators=(",", ":"), allow_nan=False)
        self._states[kind] = text
        for client in self.clients.values():
            if not client.plain:
                client.show(kind, text)

    def on_control(self, mode: Mode, device: str, reason: str) -> None:
        """Process the arbiter's control state."""
        self._do(self.page_commands.on_control(mode, device, reason))
        self._drive(time.monotonic())

    def on_tick(self, epoch: int, step: int, *, period_s: float, lockstep: bool) -> None:
        """Process a new tick."""
        now = time.monotonic()
        self.page_commands.on_tick(epoch, step, period_s=period_s, lockstep=lockstep, now=now)
        self._drive(now)

    def on_frame(self, camera: int, epoch: int, step: int, data: bytes) -> None:
        """Show a picture of a tick."""
        driver, t = self._stamps.get((epoch, step), (-1, -1.0))
        frame = Frame(camera=camera, epoch=epoch, step=step, data=data, t=t, driver=driver)
        for client in self.clients.values():
            if not client.plain or camera == 0:
                client.show_frame(frame)


def _access(client: Client) -> dict[str, Any]:
    return {"drive": client.access.drive, "reason": client.access.reason}
