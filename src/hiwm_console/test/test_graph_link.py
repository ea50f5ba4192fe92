"""Requests to services that never answer, and reports of missing services."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from hiwm_interfaces.msg import Tick, WorldInfo
from hiwm_interfaces.srv import Label
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_srvs.srv import Trigger

from hiwm_console.answers import answer_of
from hiwm_console.drive_axes import DriveAxes
from hiwm_console.graph_link import GraphLink, _event
from hiwm_console.page_commands import Command, DriveSettings, PageCommands
from hiwm_console.protocol import Act, HandPose
from hiwm_console.session_files import SessionFiles
from hiwm_core.embodiment import load_embodiment
from hiwm_core.frames import observation_streams
from hiwm_core.ros_domains import domain_id
from hiwm_core.tips import Tips
from hiwm_nodes.messages import image_message, joint_state_message, stamp_tick, time_message
from hiwm_teleop.devices.base import EventKind, OperatorEvent
from hiwm_teleop.service_routes import ROUTES

pytestmark = pytest.mark.nodes
GUARD_S = 30.0
EMBODIMENT = load_embodiment("planar_bimanual")


class PlayedServer:
    """A hub that stores what is shown."""

    def __init__(self):
        self.hub = self
        self.shown = {}
        self.clients = {}
        self.page_commands = PageCommands()

    def show(self, kind, message):
        self.shown[kind] = message

    def on_tick(self, *place, **_):
        pass

    def on_frame(self, *picture):
        pass


@pytest.fixture
def node():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id())
    node = Node("console", context=context)
    yield node
    node.destroy_node()
    context.shutdown()


@pytest.fixture
def link(node, tmp_path):
    link = GraphLink(node, SessionFiles(tmp_path), 0.5)
    link.server = PlayedServer()
    node.create_service(Label, "branches/label", lambda request, response: response)
    deadline = time.monotonic() + GUARD_S
    while not link._clients["branches/label"].service_is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return link


def test_a_label_says_who_gave_it_and_re_arming_is_answered_like_any_request():
    event = OperatorEvent(kind=EventKind.LABEL, branch_id="b", label="success", who="anna")
    assert ROUTES[EventKind.LABEL].request(event).who == "anna"
    assert ROUTES[EventKind.REARM].service == "world/rearm"
    for done in (True, False):
        answer = answer_of("rearm", Trigger.Response(success=done, message="the reason"))
        assert answer == {"ok": done, "message": "the reason"}


def test_a_reset_may_name_where_the_episode_begins():
    event = _event(Act(id=1, action="reset", start="bag:/a@3"))
    request = ROUTES[EventKind.RESET].request(event)
    assert (request.start, request.seed) == ("bag:/a@3", -1)


def test_pages_learn_the_groups_of_the_arms_and_where_they_are(link):
    link.on_world(WorldInfo(
        kind="imagination", rate=10.0, lockstep=True, cameras=["top"],
        embodiment_hash=EMBODIMENT.hash, embodiment_yaml=EMBODIMENT.text,
    ))
    described = DriveAxes(EMBODIMENT).described()
    assert {key: link.server.shown["world"][key] for key in described} == described


def test_a_request_that_times_out_is_forgotten(link, monkeypatch):
    monkeypatch.setitem(
        ROUTES, EventKind.LABEL, replace(ROUTES[EventKind.LABEL], patience_s=0.05)
    )
    for number in range(3):
        answer = asyncio.run(link.act(Act(id=number, action="label", label="success"), "anna"))
        assert not answer["ok"] and "did not answer" in answer["message"]
    assert link._clients["branches/label"]._pending_requests == {}


@pytest.mark.parametrize("demonstration", [True, False])
def test_what_is_driven_goes_out_as_a_demonstration_or_a_correction(link, demonstration):
    link.on_world(WorldInfo(
        kind="imagination", rate=10.0, lockstep=True, cameras=["top"],
        embodiment_hash=EMBODIMENT.hash, embodiment_yaml=EMBODIMENT.text,
    ))
    stamp = time_message(1)
    link.on_joints(serialize_message(joint_state_message(
        EMBODIMENT.joint_names, EMBODIMENT.home, stamp, "table"
    )))
    tick = Tick(epoch=1, step=3)
    stamp_tick(tick, stamp, observation_streams(["top"]))
    link.on_tick(serialize_message(tick))
    sent = []
    link._publisher = SimpleNamespace(publish=sent.append)
    link.publish(Command(
        deadman=True, axes=(1.0, 0.0, 0.0, 0.0), epoch=1, step=3, t=0.0,
        demonstration=demonstration,
    ))
    assert sent[0].demonstration is demonstration and len(sent[0].action) == 4


def test_axes_of_a_tip_become_joint_targets_and_what_holds_it_is_told(link):
    robot = load_embodiment("yam_pair")
    link.on_world(WorldInfo(
        kind="imagination", rate=10.0, lockstep=True, cameras=["top"],
        embodiment_hash=robot.hash, embodiment_yaml=robot.text,
    ))
    sent, place = [], list(robot.home)
    link._publisher = SimpleNamespace(publish=sent.append)
    axes = [0.0] * link.axes
    axes[16] = 1.0  # the left tip goes up, until it is at the edge of its reach
    for step in range(3, 60):
        stamp = time_message(step)
        link.on_joints(serialize_message(joint_state_message(
            robot.joint_names, place, stamp, "table"
        )))
        tick = Tick(epoch=1, step=step)
        stamp_tick(tick, stamp, observation_streams(["top"]))
        link.on_tick(serialize_message(tick))
        link.publish(Command(deadman=True, axes=tuple(axes), epoch=1, step=step, t=0.0))
        place = list(sent[-1].action)
    assert Tips(robot).pose("left", np.array(place)).position[2] > 0.3
    np.testing.assert_allclose(place[7:], robot.home[7:])
    tip = link._numbers()["tips"]["left"]
    measured = Tips(robot).pose("left", link._measured).position
    np.testing.assert_allclose(tip, measured, atol=1e-4)
    assert "left at the" in sent[-1].note and link._numbers()["note"] == sent[-1].note


@pytest.mark.parametrize("name", ["yam_pair", "yam_pair_cartesian"])
def test_hands_move_both_arms_and_after_a_rollback_they_start_from_where_the_robot_is(link, name):
    robot, joints = load_embodiment(name), load_embodiment("yam_pair")
    link.on_world(WorldInfo(
        kind="imagination", rate=10.0, lockstep=True, cameras=["top"],
        embodiment_hash=robot.hash, embodiment_yaml=robot.text,
    ))
    sent = []
    link._publisher = SimpleNamespace(publish=sent.append)

    def step(epoch, number, height):
        hands = tuple(
            HandPose(arm=arm, held=True, tracked=True, rotation=(0.0, 0.0, 0.0, 1.0), trigger=0.0,
                     position=(0.2 * arm, 1.0 + way * height, -0.4))
            for arm, way in enumerate((1.0, -1.0))
        )
        place = sent[-1].action if sent and epoch == 1 and robot == joints else joints.home
        stamp = time_message(number)
        link.on_joints(serialize_message(joint_state_message(
            joints.joint_names, place, stamp, "table"
        )))
        tick = Tick(epoch=epoch, step=number)
        stamp_tick(tick, stamp, observation_streams(["top"]))
        link.on_tick(serialize_message(tick))
        link.publish(Command(
            deadman=True, axes=(0.0,) * link.axes, epoch=epoch, step=number, t=0.0,
            settings=DriveSettings(frame="base", hands=hands),
        ))
        return np.array(sent[-1].action)

    tips, start = Tips(robot), step(1, 1, 0.0)
    for number in range(2, 12):
        target = step(1, number, 0.02)
    for arm, way in (("left", 1.0), ("right", -1.0)):
        moved = tips.pose(arm, target).position - tips.pose(arm, start).position
        np.testing.assert_allclose(moved, [0, 0, way * 0.02], atol=0.002)
    # Rolled back: the hands are as high as before, and move nothing until they move.
    np.testing.assert_allclose(step(2, 12, 0.02), start, atol=1e-3)


def test_the_newest_of_two_quick_ticks_reaches_the_pages(link):
    """A paused world makes no third tick that would replace the first."""
    link.on_world(WorldInfo(
        kind="imagination", rate=10.0, lockstep=True, cameras=["top"],
        embodiment_hash=EMBODIMENT.hash, embodiment_yaml=EMBODIMENT.text,
    ))

    async def see() -> None:
        for epoch in (6, 7):
            stamp = time_message(epoch)
            tick = Tick(epoch=epoch, step=9)
            stamp_tick(tick, stamp, observation_streams(["top"]))
            image = image_message(np.zeros((8, 8, 3), np.uint8), stamp, "top_camera")
            link.on_image(0, serialize_message(image))
            link.on_tick(serialize_message(tick))
            link.feed.show(link.server)
        assert link.server.shown["tick"]["epoch"] == 6
        deadline = time.monotonic() + GUARD_S
        while link.server.shown["tick"]["epoch"] == 6 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    link.server.clients = {1: "a page"}
    asyncio.run(see())
    assert link.server.shown["tick"]["epoch"] == 7


def test_pages_are_told_which_requests_nobody_would_act_on(link):
    link.look_for_services()
    missing = link.server.shown["missing"]["actions"]
    assert "label" not in missing
    assert missing["fork"] == "no node offers branches/fork: start the branch manager"
    assert {"start", "rollback", "reset", "propose"} <= missing.keys()


def test_on_a_robot_no_state_is_saved_and_none_forked(link):
    link.on_world(WorldInfo(
        kind="hardware", can_restore=False, can_fork=False,
        embodiment_hash=EMBODIMENT.hash, embodiment_yaml=EMBODIMENT.text,
    ))
    link.look_for_services()
    missing = link.server.shown["missing"]["actions"]
    assert {missing[action] for action in ("fork", "continue", "save")} == {
        "this world cannot go back to a saved state"
    }
