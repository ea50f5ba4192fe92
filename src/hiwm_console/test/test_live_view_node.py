"""The live view node shows what a world publishes: in the file, and in a window."""

import io
import os
import shutil
import subprocess

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import ControlState, Tick, WorldInfo
from PIL import Image as Picture
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from hiwm_core.control import Mode
from hiwm_core.frames import observation_streams
from hiwm_core.palette import MODE_COLOURS
from hiwm_core.ros_domains import domain_id
from hiwm_nodes import qos
from hiwm_nodes.messages import image_message, stamp_tick, time_message
from hiwm_test_support.nodes import NodeProcess, spin_until

pytestmark = pytest.mark.nodes


class Graph:
    """A world and an arbiter, reduced to what the view subscribes to."""

    def __init__(self):
        self.domain = domain_id()
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self.domain)
        self.node = Node("played", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        info = self.node.create_publisher(WorldInfo, "world_info", qos.LATCHED)
        info.publish(WorldInfo(kind="imagination", cameras=["top"]))
        self.control = self.node.create_publisher(ControlState, "control_state", qos.LATCHED)
        self.ticks = self.node.create_publisher(Tick, "tick", qos.TICK)
        self.images = self.node.create_publisher(Image, "cameras/top/image_raw", qos.IMAGE_PUB)
        self.step = 0

    def show(self, mode, colour, *, late=0):
        """Publish an image, and the tick of the image that came `late` images before."""
        self.step += 1
        self.control.publish(ControlState(mode=int(mode), device="scripted"))
        frame = np.full((96, 96, 3), colour, np.uint8)
        self.images.publish(image_message(frame, time_message(self.step), "table"))
        if self.step <= late:
            return
        tick = Tick(epoch=1, step=self.step - late, branch_id="ep_0001-b000", trust=0.9)
        stamp_tick(tick, time_message(tick.step), observation_streams(["top"]))
        self.ticks.publish(tick)

    def until(self, predicate, timeout_s=60.0):
        return spin_until(self.executor, predicate, timeout_s)

    def end(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()


@pytest.fixture
def graph():
    graph = Graph()
    yield graph
    graph.end()


def view_of(graph, folder, **parameters):
    """Return the node's process, without a window, writing into a folder."""
    return NodeProcess("hiwm_console", "live_view", domain=graph.domain, parameters={
        "session_dir": str(folder), "window": False, **parameters
    })


def pixels(data):
    return np.asarray(Picture.open(io.BytesIO(data)).convert("RGB"))


def test_the_file_follows_the_session(graph, tmp_path):
    path = tmp_path / "live.png"
    with view_of(graph, tmp_path) as view:
        for mode, colour in ((Mode.POLICY, (10, 200, 30)), (Mode.HUMAN, (200, 20, 90))):
            def arrived(mode=mode, colour=colour):
                graph.show(mode, colour)
                if not path.exists():
                    return False
                seen = pixels(path.read_bytes())
                return tuple(seen[0, 0]) == MODE_COLOURS[mode] and tuple(seen[60, 60]) == colour

            assert graph.until(arrived), view.output
        view.interrupt()
        assert view.wait() == 0, view.output


def test_a_world_faster_than_the_view_is_shown_to_its_last_frame(graph, tmp_path):
    path = tmp_path / "live.png"
    with view_of(graph, tmp_path) as view:
        shown = set()

        def changed_often():
            for _ in range(6):  # faster than any view takes messages one by one
                graph.show(Mode.POLICY, (graph.step % 250, 0, 60))
            if path.exists():
                shown.add(int(pixels(path.read_bytes())[60, 60, 0]))
            return len(shown) > 20

        assert graph.until(changed_often), view.output
        graph.show(Mode.HUMAN, (7, 20, 90))
        assert graph.until(
            lambda: tuple(pixels(path.read_bytes())[60, 60]) == (7, 20, 90)
        ), view.output


def test_ticks_meet_their_images_also_where_they_come_several_images_later(graph, tmp_path):
    path = tmp_path / "live.png"
    with view_of(graph, tmp_path) as view:
        def shown():
            graph.show(Mode.POLICY, (10, 200, 30), late=6)
            return path.exists()

        assert graph.until(shown), view.output


def test_a_session_shorter_than_a_period_of_the_view_leaves_its_picture(graph, tmp_path):
    path = tmp_path / "live.png"
    with view_of(graph, tmp_path, rate=0.1) as view:
        assert graph.until(lambda: graph.images.get_subscription_count() > 0), view.output
        assert graph.until(lambda: graph.ticks.get_subscription_count() > 0), view.output
        graph.show(Mode.POLICY, (10, 200, 30))
        assert graph.ticks.wait_for_all_acked(rclpy.duration.Duration(seconds=30))
        view.interrupt()
        assert view.wait() == 0, view.output
        assert tuple(pixels(path.read_bytes())[60, 60]) == (10, 200, 30)


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_a_window_opens_where_there_is_a_display(graph, monkeypatch, tmp_path):
    reading, writing = os.pipe()
    display = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-fbdir",
         str(tmp_path)],
        pass_fds=[writing], stderr=subprocess.DEVNULL,
    )
    try:
        os.close(writing)
        monkeypatch.setenv("DISPLAY", f":{os.read(reading, 16).decode().strip()}")
        monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
        with NodeProcess("hiwm_console", "live_view", domain=graph.domain) as view:
            assert graph.until(lambda: "a window" in view.output), view.output

            def on_screen():
                graph.show(Mode.HUMAN, (200, 20, 90))
                # An XWD file: a header, then 800 x 600 pixels as blue, green, red, padding.
                raw = (tmp_path / "Xvfb_screen0").read_bytes()[-800 * 600 * 4 :]
                screen = np.frombuffer(raw, np.uint8).reshape(-1, 4)
                return (screen[:, :3] == (90, 20, 200)).all(axis=1).sum() > 100_000

            assert graph.until(on_screen), view.output
            assert view.process.poll() is None, view.output
    finally:
        os.close(reading)
        display.terminate()
        display.wait()
