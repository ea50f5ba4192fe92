"""The console in a real browser, over the whole graph in imagination, with the shipped models."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hiwm_interfaces.msg import OperatorCommand
from sensor_msgs.msg import JointState

from hiwm_console.stored_session import serve
from hiwm_core.branch_reader import BranchReader
from hiwm_core.branch_records import Label
from hiwm_nodes import qos
from hiwm_test_support.headless_browser import Browser, Page, chromium

sys.path.insert(0, str(Path(__file__).parent))
from launched_session import GUARD_S, LaunchedSession  # noqa: E402

from hiwm_test_support.shipped import TASK

pytestmark = [
    pytest.mark.nodes, pytest.mark.slow, pytest.mark.timeout(400),
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
]
# Simulated hardware for the browser: a HID device and a gamepad that tests move.
FAKE_DEVICES = """
class FakeDevice extends EventTarget {
  constructor() { super(); this.opened = false; this.productName = "SpaceMouse Compact"; }
  async open() { this.opened = true; }
  report(id, bytes) {
    const event = new Event("inputreport");
    event.reportId = id;
    event.data = new DataView(new Uint8Array(bytes).buffer);
    this.dispatchEvent(event);
  }
}
window.device = new FakeDevice();
const hid = new EventTarget();
hid.getDevices = async () => [];
hid.requestDevice = async () => [window.device];
hid.unplug = () => {
  const event = new Event("disconnect");
  event.device = window.device;
  hid.dispatchEvent(event);
};
Object.defineProperty(navigator, "hid", { value: hid });
window.pad = null;
navigator.getGamepads = () => [window.pad];
window.makePad = (axes, pressed) => ({ connected: true, id: "Fake pad", axes,
  buttons: Array.from({ length: 17 }, (_, i) => ({ pressed: pressed.includes(i) })) });
"""


@dataclass
class Session:
    """A running graph, a browser, and messages of the graph."""

    graph: LaunchedSession
    folder: Path
    browser: Browser
    address: str
    joints: dict[str, float]
    commands: list[OperatorCommand]

    @contextmanager
    def page(self, address: str = "", script: str = "") -> Iterator[Page]:
        """Open a page, close it at the end, and check that it reported no errors."""
        page = self.browser.open("about:blank")
        if script:
            page.ask("Page.addScriptToEvaluateOnNewDocument", source=script)
        page.go(address or self.address)
        page.until("hiwm.state.connected && hiwm.tree.count > 0", GUARD_S)
        try:
            yield page
            assert page.errors == []
        finally:
            page.ask("Page.close")

    def until(self, page: Page, script: str) -> None:
        """Wait until an expression in a page is true, while the graph runs."""
        self.graph.until(lambda: bool(page.run(script)))

    def mode(self, page: Page, mode: str) -> None:
        """Wait until the page shows a mode."""
        self.until(page, f"document.getElementById('mode-name').textContent == '{mode}'")

    def paused(self, page: Page) -> None:
        """Pause from any state, without the key, which would also resume."""
        page.run("hiwm.hands.letGo('', false); hiwm.act({action: 'pause'}, true)")
        self.mode(page, "PAUSED")

    def held(self, page: Page, take: Callable[[], object], reached: Callable[[], bool]) -> None:
        """Wait for a condition while in control; take control again if it is lost.

        On a busy machine the page may be silent for long enough to lose control.
        """

        def over() -> bool:
            if page.run("!hiwm.hands.engaged && hiwm.state.control.mode != 'HUMAN'"):
                take()
            return reached()

        self.graph.until(over)

    def in_control(self, page: Page) -> None:
        """Take over."""
        self.held(page, lambda: page.key("t"), lambda: bool(page.run(
            "hiwm.hands.engaged && hiwm.state.control.mode == 'HUMAN'"
        )))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Launch a paused session with a console, and start a browser."""
    folder = tmp_path_factory.mktemp("browser") / "session"
    arguments = {
        "world": "imagination", "rate": "10.0", "start_mode": "paused", "device": "none",
        "console": "true", "console_port": "0", "record": "false",
    }
    with LaunchedSession(folder, arguments) as graph, Browser() as browser:
        graph.until(lambda: bool(graph.lines("console: http")) and bool(graph.ticks))
        address = re.search(r"http://127\.0\.0\.1:\d+/", graph.output)
        assert address
        joints: dict[str, float] = {}
        commands: list[OperatorCommand] = []
        graph.node.create_subscription(
            JointState, "joint_states",
            lambda state: joints.update(zip(state.name, state.position, strict=True)), qos.TICK,
        )
        graph.node.create_subscription(
            OperatorCommand, "operator/command", commands.append, qos.TICK
        )
        yield Session(graph, folder, browser, address[0], joints, commands)


def test_the_page_opens_paused_and_a_key_starts_the_policy(session: Session) -> None:
    with session.page() as page:
        session.mode(page, "PAUSED")
        assert "PAUSED" in page.run("document.getElementById('banner').textContent")
        session.until(page, "hiwm.state.missing && !hiwm.state.missing.start")  # a policy is there
        session.until(page, "Number(document.querySelector('#cameras canvas').dataset.frames) > 0")
        page.key(" ")
        session.mode(page, "POLICY")
        session.until(page, "hiwm.state.tick.source == 1 && hiwm.state.tick.step > 5")
        session.until(page, "hiwm.tree.count > 5 && hiwm.state.health.length >= 4")
        page.click("#stop-button")
        session.mode(page, "STOPPED")
        page.key("t")  # only an explicit reset leaves STOPPED
        assert page.run("hiwm.hands.engaged") is False
        page.key(" ")
        session.mode(page, "PAUSED")


def test_keys_move_the_arm_and_frames_show_it(session: Session) -> None:
    with session.page() as page:
        session.paused(page)
        session.in_control(page)
        session.graph.until(lambda: "left_x_joint" in session.joints)
        before = session.joints["left_x_joint"], session.joints["right_y_joint"]

        def take() -> None:
            page.key("t")
            for key in ("d", "i"):
                page.key(key, "up")
                page.key(key, "down")

        take()
        session.held(page, take, lambda: session.joints["left_x_joint"] > before[0] + 0.02
                     and session.joints["right_y_joint"] > before[1] + 0.02)
        for key in ("d", "i"):
            page.key(key, "up")
        session.held(page, take, lambda: bool(page.run(
            "hiwm.mark.latencies.length > 0 && hiwm.mark.takeovers.length > 0"
        )))
        assert session.commands[-1].device == "console"
        session.in_control(page)
        page.key("x")  # a stop while in control does not hand back to the policy
        session.mode(page, "STOPPED")
        handbacks = session.graph.lines("HANDBACK")
        assert not handbacks, handbacks
        page.key(" ")
        session.mode(page, "PAUSED")
        session.in_control(page)
        page.key("h")
        session.mode(page, "POLICY")
        assert "handed back" in page.run("hiwm.state.control.reason")
        session.paused(page)


def test_what_is_driven_is_a_demonstration_while_the_page_says_so(session: Session) -> None:
    with session.page() as page:
        session.paused(page)
        page.key("q")
        assert page.run("document.querySelector('#demonstrating').checkVisibility()")
        session.in_control(page)
        session.held(page, lambda: page.key("t"),
                     lambda: bool(page.run("hiwm.state.tick.source == 3")))
        assert "demonstration" in page.run("document.querySelector('#hands').textContent")
        page.key("q")  # not while driving
        assert page.run("hiwm.hands.demonstration") is True
        session.in_control(page)
        page.key("h")
        session.mode(page, "PAUSED")  # and the policy does not resume
        assert "demonstration" in page.run("hiwm.state.control.reason")
        page.key("q")
        session.held(page, lambda: page.key("t"),
                     lambda: bool(page.run("hiwm.state.tick.source == 2")))
        session.paused(page)


def test_keys_that_nobody_would_act_on_are_not_offered(session: Session) -> None:
    with session.page() as page:
        session.until(page, "hiwm.state.missing && !hiwm.state.missing.label")
        page.run("""hiwm.state.missing = { label: "no node offers branches/label" }""")
        page.key("y")
        session.until(
            page, "document.querySelector('#toasts').textContent.includes('no node offers')"
        )
        page.key("q")  # any change redraws the buttons
        page.key("q")
        button = "document.querySelector('#chosen-buttons [data-key=y]')"
        assert page.run(f"{button}.disabled") and "no node" in page.run(f"{button}.title")


def test_rollback_fork_label_note_and_discard(session: Session) -> None:
    with session.page() as page:
        session.paused(page)
        page.key(" ")
        session.until(page, "hiwm.state.tick.step > 12")
        session.in_control(page)
        epoch = page.run("hiwm.state.tick.epoch")
        for key in ("5", "b"):
            page.key(key)
        session.until(page, f"hiwm.state.tick.epoch == {epoch + 1}")
        session.paused(page)
        branch = page.run("hiwm.state.tick.branch")
        page.key("f")
        session.until(page, f"hiwm.state.tick.epoch == {epoch + 2}")
        step = page.run("hiwm.state.tick.step")
        # A few steps, so that the fork has a state before its last one.
        session.held(page, lambda: page.key("t"), lambda: bool(page.run(
            f"hiwm.state.tick.source == 2 && hiwm.state.tick.step > {step + 3}"
        )))
        session.paused(page)
        page.key("y")
        fork = page.run("hiwm.state.tick.branch")
        session.until(page, f"hiwm.tree.branches.get('{fork}')?.label == 'success'")
        page.key("m")
        page.ask("Input.insertText", text="pushed from the left")
        page.key("Enter")
        session.until(page, f"hiwm.tree.branches.get('{fork}').note == 'pushed from the left'")
        # The arrows choose any other state, and Enter goes to it.
        page.run(f"hiwm.view.on.choose(hiwm.tree.last(hiwm.tree.branches.get('{fork}')))")
        page.key("ArrowLeft")
        page.key("z")
        session.until(page, f"hiwm.tree.branches.get('{fork}').discarded")
        page.key("z")
        session.until(page, f"!hiwm.tree.branches.get('{fork}').discarded")
        page.key("Enter")
        session.until(page, f"hiwm.state.tick.epoch == {epoch + 3}")
    with BranchReader(session.folder / "tree.sqlite") as reader:
        stored = reader.branch(fork)
        assert (stored.label, stored.note) == (Label.SUCCESS, "pushed from the left")
        assert stored.fork_node_id == reader.branch(branch).fork_node_id


def test_the_queue_of_failures_help_and_comparison(session: Session) -> None:
    with session.page() as page:
        session.paused(page)
        page.key(".")
        session.until(page, "hiwm.state.proposals.length > 0 && hiwm.state.proposal == 0")
        assert page.run("hiwm.state.chosen == hiwm.state.proposals[0].node")
        session.until(page, "document.querySelector('#still').naturalWidth > 0")
        page.key("c")
        session.until(page, "document.querySelector('#compare').open")
        session.until(
            page, "[...document.querySelectorAll('.pair img')].every((image) => image.naturalWidth)"
        )
        page.key("ArrowRight")
        page.key("Escape")
        page.key("?")
        session.until(page, "document.querySelector('#help').open")
        assert "Take over" in page.run("document.querySelector('#help').textContent")
        page.key("Escape")
        page.key("g")
        # Continuations, or why there are none.
        session.until(
            page, "document.querySelectorAll('#grid .card').length > 0 || document"
            ".querySelector('#grid-body p[role=status]').textContent.includes('✗')"
        )


def test_without_a_success_head_the_page_shows_no_verdict(session: Session) -> None:
    with session.page() as page:
        one = json.dumps({
            "seed": 1, "steps": 9, "success": None, "progress": None, "trust": None, "frames": [],
        })
        shown = page.run(
            "(() => { const status = document.createElement('p'), cards = "
            f"document.createElement('div'); hiwm.grid.show([{one}], status, cards); "
            "return status.textContent + '|' + cards.textContent + cards.firstChild.className; })()"
        )
        verdict, card = shown.split("|")
        assert "does not predict success" in verdict and "recover" not in verdict
        assert "✗" not in card and "0 %" not in card and "likely" not in card
        page.run(
            "Object.assign(hiwm.state.tick, {trust: null, progress: null, success: null}); "
            "hiwm.showTick()"
        )
        for name in ("trust", "progress", "success"):
            assert page.run(f"document.getElementById('{name}').hidden")
            assert page.run(f"document.getElementById('{name}-text').textContent") == "?"


def test_a_frozen_hidden_or_closed_page_loses_control(session: Session) -> None:
    with session.page() as watching:
        session.paused(watching)
        with session.page() as page:
            session.in_control(page)
            page.run("(() => { const end = Date.now() + 1500; while (Date.now() < end); })()")
            session.mode(watching, "PAUSED")
            assert re.search("silent|late", watching.run("hiwm.state.control.reason"))
            session.until(page, "!hiwm.hands.engaged")
            session.mode(page, "PAUSED")
            session.in_control(page)
            page.run(
                "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
                "document.dispatchEvent(new Event('visibilitychange')); delete document.hidden"
            )
            session.until(watching, "hiwm.state.control.reason.includes('hidden')")
            session.mode(watching, "PAUSED")
            session.in_control(page)
        session.until(watching, "/closed|left/.test(hiwm.state.control.reason)")
        session.mode(watching, "PAUSED")


def test_two_people_and_one_seat(session: Session) -> None:
    with session.page() as one, session.page() as two:
        session.paused(one)
        session.in_control(one)
        session.until(two, "hiwm.state.seats.driver !== null && "
                      "hiwm.state.seats.driver != hiwm.state.id")
        two.key("t")
        session.until(two, "document.querySelector('#toasts').textContent.includes('controls')")
        assert one.run("hiwm.state.control.mode") == "HUMAN"
        one.key("d")
        two.key("o")
        session.until(one, "document.querySelector('#seat-buttons').textContent.includes('Give')")
        one.key("o")
        session.until(two, "hiwm.state.seats.driver == hiwm.state.id")
        session.mode(one, "PAUSED")
        session.in_control(two)
        assert one.run("hiwm.hands.engaged") is False
        session.paused(two)


def test_a_spacemouse_and_a_gamepad_of_the_browser_drive(session: Session) -> None:
    with session.page(script=FAKE_DEVICES) as page:
        session.paused(page)
        page.run("document.querySelector('#devices').open = true")
        page.click("#hid-button")
        session.until(page, "document.querySelector('#device-text').textContent.includes('Space')")
        # Real bytes: report 3 = buttons, 1 = x, y, z as 16 bits; 350 counts are full deflection.
        def press() -> None:
            page.run("device.report(3, [1, 0]); device.report(3, [0, 0])")
            page.run("device.report(1, [0x5e, 0x01, 0, 0, 0, 0])")

        press()
        assert page.run("hiwm.hands.axes()")[0] == 1
        here = session.joints["left_x_joint"]
        session.held(page, press, lambda: session.joints["left_x_joint"] > here + 0.01)
        page.run("device.report(1, [0, 0, 0xa2, 0xfe, 0, 0])")  # pushed away: -350 of the device
        session.held(page, press, lambda: bool(page.run(
            "hiwm.hands.engaged && hiwm.state.control.mode == 'HUMAN'"
        )))
        page.run("navigator.hid.unplug()")
        session.until(page, "hiwm.state.control.reason.includes('unplugged')")
        session.mode(page, "PAUSED")
        here = session.joints["right_y_joint"]

        def squeeze() -> None:
            page.run("pad = makePad([0, 0, 0, 0], []); hiwm.hands.beat()")
            page.run("pad = makePad([0, 0, 0, -1], [5]); hiwm.hands.beat()")

        session.held(page, squeeze, lambda: session.joints["right_y_joint"] > here + 0.01)
        session.held(page, squeeze, lambda: bool(page.run("hiwm.state.control.mode == 'HUMAN'")))
        page.run("pad = makePad([0, 0, 0, 0], [])")
        session.mode(page, "POLICY")
        session.paused(page)


def test_the_page_fits_a_laptop_at_double_zoom_and_tab_reaches_all_controls(
    session: Session,
) -> None:
    with session.page() as page:
        for width, height, scale in ((1366, 768, 1), (683, 384, 2)):
            page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=scale, mobile=False)
            session.until(page, f"innerWidth == {width}")
            assert page.run("document.documentElement.scrollWidth") <= width
        # Tab reaches everything that can be clicked.
        reached = page.run("""[...document.querySelectorAll("button, [role=application], summary")]
            .filter((e) => e.checkVisibility() && !e.closest("#strip") && e.tabIndex < 0).length""")
        assert reached == 0


def test_the_stored_session_is_browsed_read_only(session: Session) -> None:
    server = serve(session.folder, 0)
    try:
        with session.page(server.address) as page:
            page.until("document.body.classList.contains('stored')")
            count = page.run("hiwm.tree.count")
            assert count > 10 and page.run("hiwm.state.description.task") == TASK.name
            page.key("ArrowLeft")
            page.until("document.querySelector('#large-still').naturalWidth == 96")
            page.key("t")
            page.key("r")
            assert page.run("hiwm.hands.engaged") is False
            assert page.run("document.querySelectorAll('#controls .drives').length") == 0
    finally:
        server.close()
