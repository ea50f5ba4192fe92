"""Serialized messages of the two arms: two cameras of different sizes, the second one first."""

from dataclasses import dataclass

import numpy as np

from hiwm_core.bags.session import RecordedTopic, Role
from hiwm_core.frames import camera_stream, observation_streams
from hiwm_test_support.arms import two_arms
from hiwm_test_support.bags import (
    COMMAND,
    JOINT_STATES,
    TICK,
    WORLD_INFO,
    RecordedWorld,
    floats,
    header,
    message,
    raw,
    recorded,
)

ARMS = two_arms()
CAMERAS = [camera.name for camera in ARMS.cameras]
IMAGES: dict[str, RecordedTopic] = {
    name: recorded(f"cameras/{name}/image_raw", "sensor_msgs/msg/Image", Role.STAMPED)
    for name in CAMERAS
}
_STREAMS = observation_streams(CAMERAS)


def shade(camera: str, step: int) -> int:
    """Return the value of every pixel of a camera's image at a step."""
    return 2 * step + CAMERAS.index(camera)


@dataclass
class TwoArmWorld(RecordedWorld):
    """Passes the messages of the two arms, tick by tick."""

    def world_info(self) -> None:
        """Send world_info."""
        kind = WORLD_INFO.topic.message_type
        self.send(WORLD_INFO, raw(kind, message(
            kind, header=header(self.stamp_ns), kind="hardware", robot="arms", stand_in=False,
            rate=self.rate, control_period_s=1e-9 * self.tick_ns, lockstep=False,
            streams=_STREAMS, cameras=CAMERAS,
            camera_widths=np.array([camera.width for camera in ARMS.cameras], np.uint32),
            camera_heights=np.array([camera.height for camera in ARMS.cameras], np.uint32),
            embodiment=ARMS.name, embodiment_hash=ARMS.hash, embodiment_yaml=ARMS.text,
            task="push_t", task_hash="beef", task_yaml="name: push_t\n", instruction="push",
            start_names=[], labels=["success", "failure"], can_restore=False, can_fork=False,
            auto_reset=False, heads=[], checkpoint_hash="", session_id="session",
            software_version="1",
        )))

    def picture(self, camera: str) -> bytes:
        """Return a camera's image at the current step; see `shade`."""
        kind, spec = IMAGES[camera].topic.message_type, ARMS.camera(camera)
        data = np.full(spec.height * spec.width * 3, shade(camera, self.step), np.uint8)
        return raw(kind, message(
            kind, header=header(self.stream_stamp(camera_stream(camera))), height=spec.height,
            width=spec.width, encoding="rgb8", is_bigendian=0, step=3 * spec.width, data=data,
        ))

    def joint_state(self) -> bytes:
        """Return joint states; joint i is at i / 100, with a velocity of i."""
        kind, names = JOINT_STATES.topic.message_type, list(ARMS.joint_names)
        return raw(kind, message(
            kind, header=header(self.stream_stamp("joint_states")), name=names,
            position=floats(np.arange(len(names)) * 0.01),
            velocity=floats(np.arange(len(names))), effort=floats([]),
        ))

    def tick(self, source: int = 1) -> bytes:
        """Return the tick of the current step."""
        kind = TICK.topic.message_type
        action = [] if self.first_of_epoch else [0.001 * self.step] * ARMS.action_dim
        return raw(kind, message(
            kind, header=header(self.stamp_ns), epoch=self.epoch, step=self.step,
            episode_id=self.episode, branch_id=self.branch, started_from=self.started_from,
            state_id="", trust=1.0,
            progress=float("nan"), success=float("nan"), applied_action=floats(action),
            applied_source=0 if self.first_of_epoch else source, applied_device="policy 01234567",
            applied_note="", sender=self.world, streams=_STREAMS,
            stream_stamps=[header(self.stream_stamp(stream)).stamp for stream in _STREAMS],
            control_period_s=0.0,
        ))

    def run(self, ticks: int, source: int = 1) -> None:
        """Publish ticks with all their messages; images come in the reverse of their order."""
        kind = COMMAND.topic.message_type
        for _ in range(ticks):
            for camera in reversed(CAMERAS):
                self.send(IMAGES[camera], self.picture(camera))
            self.send(JOINT_STATES, self.joint_state())
            self.send(TICK, self.tick(source))
            self.send(COMMAND, raw(kind, message(
                kind, header=header(self.stamp_ns), epoch=self.epoch, step=self.step, source=1,
                device="policy", action=floats([0.001 * (self.step + 1)] * ARMS.action_dim),
                sender=self.arbiter,
            )))
            self.advance()
