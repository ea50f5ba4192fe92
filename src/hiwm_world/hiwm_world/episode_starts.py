"""Where an imagined episode begins: a start frame, a recorded place, or what the robot shows."""

from pathlib import Path

from rclpy.node import Node

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import HiwmError
from hiwm_core.recorded_starts import ObservedStart, SavedStart, bag_start, session_start
from hiwm_core.start_places import BagStep, SessionNode, StartPlace, start_place
from hiwm_core.task_plugin import Values
from hiwm_world.check_view import StartCheck, check_picture
from hiwm_world.imagination_settings import ImaginationSettings
from hiwm_world.imagined_world import ImaginedWorld, PresentTick
from hiwm_world.live_start import live_start


class EpisodeStarts:
    """Begins the episodes of a world.

    Args:
        node: listens to a live robot.
        settings: the default start, and where a live robot is.
        world: to reset.
        embodiment: of the world.
        check: compares a live view with the training data.
        picture: where the comparison is drawn; None: nowhere.
    """

    def __init__(
        self, node: Node, settings: ImaginationSettings, world: ImaginedWorld,
        embodiment: Embodiment, check: StartCheck, picture: Path | None,
    ) -> None:
        self._node, self._settings, self._world = node, settings, world
        self._embodiment, self._check, self._picture = embodiment, check, picture

    def begin(self, start: str, values: Values, seed: int) -> PresentTick:
        """Start an episode as `world/reset` asks for it; raises HiwmError for an unknown start."""
        text = start or ("" if values or seed >= 0 else self._settings.start)
        place = start_place(text, "start of world/reset" if start else "parameter start")
        if place is None:
            return self._world.reset(text, values or None, seed)
        return self._world.reset_to(self._found(place), seed)

    def _found(self, place: StartPlace) -> ObservedStart | SavedStart:
        """Return what is recorded at a place, or what the robot shows now."""
        cameras = self._world.cameras
        if isinstance(place, BagStep):
            return bag_start(place, self._embodiment, cameras)
        if isinstance(place, SessionNode):
            return session_start(
                place.session, place.node_id, self._embodiment, cameras, self._world.models
            )
        seen = live_start(
            self._node, self._settings.live_ns, self._embodiment, cameras,
            self._settings.live_timeout_s,
        )
        self._compare(seen)
        return seen

    def _compare(self, seen: ObservedStart) -> None:
        """Log how a live view differs from the training data. The episode begins all the same."""
        log = self._node.get_logger()
        try:
            if self._picture is not None:
                check_picture(self._picture)
            for line in self._check.look(seen, self._picture):
                log.warning(f"the view differs from the training data: {line}")
        except HiwmError as error:
            log.warning(f"the view was not compared with the training data: {error}")
