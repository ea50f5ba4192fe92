"""What a task's package adds to the task's YAML file.

A plug-in is a subclass of `TaskPlugin` in a package of its own. The package registers it in the
entry-point group "hiwm.tasks"; a task file names it with `plugin:`. A task without a plug-in needs
no code: starts are drawn from the ranges of its file, and a person or a learned head judges it.

The first half of `TaskPlugin` serves every world. The second half serves stand-ins only: the scene,
the behaviours that make data, the scripted operator, and the measure of imagined frames. Importing
a plug-in must be cheap: these methods import physics engines themselves, when they are called.

`test_task_conformance.py` holds what every registered plug-in must do.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from hiwm_core.config_files import nearest
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError

if TYPE_CHECKING:
    from hiwm_core.tasks import Task

GROUP = "hiwm.tasks"
# The kind of data that a stand-in's expert records; every stand-in has it.
DEMONSTRATION = "demonstration"
# Episodes of a weak demonstrator. Without this kind, failures are a policy's own.
FAILURE_DATA = "failure"
# Episodes in which only the robot moves, with no object in sight: a world model learns from them
# what the robot looks like.
ROBOT_DATA = "robot"

Array = NDArray[np.float64]
Image = NDArray[np.uint8]  # [H, W, 3] rgb8
Values = Mapping[str, float]  # named numbers of a start or of ground truth; units in the names


class Scene(Protocol):
    """A stand-in's robot and surroundings: the physics and the cameras.

    The robot's joints [J] are the embodiment's `joint_names`, in its units.
    """

    @property
    def timestep_s(self) -> float:
        """The time step of the physics, s."""

    @property
    def joint_positions(self) -> Array:
        """Measured joint positions [J]."""

    @property
    def joint_velocities(self) -> Array:
        """Measured joint velocities [J], unit/s."""

    @property
    def truth(self) -> dict[str, float]:
        """Ground truth, by the names in `TaskPlugin.truth_names`."""

    def place(self, start: Values) -> dict[str, float]:
        """Set a start, with the robot at home and everything at rest; return it as settled."""

    def set_target(self, target: Array) -> None:
        """Set the servos' targets [J]; they apply at the next `advance`."""

    def advance(self, seconds: float, ramp: bool = True) -> None:
        """Advance the physics by a multiple of `timestep_s`.

        With `ramp`, the servos' targets move linearly from the old ones to the new ones.
        """

    def render(self, size: int | None = None, camera: str = "") -> Image:
        """Return a camera's image [size, size, 3], of the embodiment's first if it is not named.

        None is the size given at construction.
        """

    def close(self) -> None:
        """Free the renderer while its display still exists."""


class Behaviour(Protocol):
    """Commands for one recorded episode of a stand-in, from ground truth."""

    def start(self) -> dict[str, float]:
        """Return the episode's start; called once, before the rest."""

    def finished(self, truth: Values) -> bool:
        """Return whether the episode ends before its horizon; called once per tick."""

    def targets(self, truth: Values, measured: Array) -> Array:
        """Return the next action [A], absolute, for ground truth and the measured [A]."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a scripted operator sees in one observation."""

    error_m: float  # remaining distance from the goal [m]; NaN if the object is out of sight
    progress: float  # 0..1; NaN if the object is out of sight
    clarity: float  # 0..1, how well the picture fits a possible object
    found: object = None  # the task's own findings, for `Correction`
    # Nothing is in the air: a correction that has recovered may be handed back here.
    settled: bool = True

    @property
    def visible(self) -> bool:
        """Whether the object is in sight."""
        return not math.isnan(self.error_m)


class Correction(Protocol):
    """A scripted operator's control, for one correction."""

    def done(self, sight: Sight) -> bool:
        """Return whether the goal is reached."""

    def targets(self, sight: Sight, measured: Array) -> Array:
        """Return the next action [A], absolute. The object is visible."""


class Operator(Protocol):
    """A scripted operator's perception and control. It reads what a person sees, nothing else."""

    correction_ticks: int
    """The longest correction, unless the session gives another number [ticks]."""

    def look(
        self, images: Mapping[str, Image], measured: Array, *, jumped: bool
    ) -> Sight:
        """Return what is seen.

        Args:
            images: by camera.
            measured: [A], measured counterpart of the action.
            jumped: the images do not follow the last ones: a reset or a rollback is between.
        """

    def correction(self, seed: int, variety: float) -> Correction:
        """Return a correction; variety 0 takes the best path, 1 a clearly different one."""


@dataclass(frozen=True, kw_only=True)
class FrameColumn:
    """One number that an evaluation of imagined frames reports at each horizon."""

    key: str  # in the JSON file
    title: str  # with the unit, for people
    form: str = ".3f"  # format specification


Sights = Mapping[str, NDArray[Any]]  # each [T, ...]: what is seen in T frames
Differences = Mapping[str, Array]  # each [...]: named differences between two sequences


class FrameMeasure(Protocol):
    """What the frames of one camera show, and how far two sequences of frames differ.

    True and imagined frames are looked at in the same way, so that a world model is judged by its
    pictures. A difference is NaN where the true frame shows nothing, infinite (or the largest
    possible) where only the true frame does.
    """

    @property
    def columns(self) -> Sequence[FrameColumn]:
        """What `summary` returns."""

    @property
    def error_unit(self) -> str:
        """The unit of `error`, for people."""

    @property
    def bad_error(self) -> float:
        """An error beyond this spoils a correction drawn on the frame."""

    @property
    def parted_text(self) -> str:
        """What `parted` means, for people."""

    def look(self, frames: Image) -> Sights:
        """Return what is seen in frames [T, H, W, 3] that follow one another."""

    def differences(self, seen: Sights, true: Sights, measured: Array) -> Differences:
        """Return differences [T] of sights [T, ...] or [1, ...] from true ones [T, ...].

        Args:
            seen: in the frames to judge.
            true: in the recorded frames.
            measured: [T, A], recorded: measured counterpart of the action.
        """

    def verdicts(self, sights: Sights) -> Array:
        """Return 1 where a frame shows success, 0 where it does not, NaN where it hides it, [T]."""

    def error(self, differences: Differences) -> Array:
        """Return the one error that trust should foretell, in `error_unit`, of any shape."""

    def drift(self, differences: Differences) -> Array:
        """Return how far the object has strayed, in `error_unit`, of any shape."""

    def moved(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where the object has moved enough to count, of any shape."""

    def parted(self, differences: Differences) -> NDArray[np.bool_]:
        """Return where a rollout has parted from the truth, of any shape."""

    def summary(self, differences: Differences) -> dict[str, float | None]:
        """Return the number of each column over M rollouts, differences [M] each; None = none."""


class TaskPlugin(ABC):
    """What only code can know about a task.

    Args:
        task: its file; `task.settings` is the plug-in's own section.

    Raises:
        ConfigError: in the constructor, for wrong settings or names of starts.
    """

    truth_names: ClassVar[tuple[str, ...]] = ()  # of ground truth; units in the names
    start_names: ClassVar[tuple[str, ...]] = ()  # that the file must have; empty: any
    # Kinds of data that a stand-in can record, `DEMONSTRATION` first. Empty: no stand-in.
    data_kinds: ClassVar[tuple[str, ...]] = ()
    # File of config/robots with the stand-in's interfaces.
    stand_in_robot: ClassVar[str] = "standin"

    def __init__(self, task: "Task") -> None:
        self.task = task
        if self.start_names and set(task.start_names) != set(self.start_names):
            raise ConfigError(
                f"starts are {', '.join(task.start_names) or 'missing'}",
                where=f"task {task.name}: starts.ranges",
                remedy=f"give {', '.join(self.start_names)}",
            )

    @abstractmethod
    def progress(self, truth: Values) -> float:
        """Return the progress 0..1 of ground truth; the task's `success_progress` is success."""

    def accepts_start(self, start: Values) -> bool:
        """Return whether a start drawn from the task's ranges may begin an episode."""
        return True

    def start_problem(self, start: Values) -> str:
        """Return why a requested start cannot be placed, for people; empty if it can."""
        return ""

    def start_distance(self, one: Values, other: Values) -> float:
        """Return how far two starts are apart; imagination takes the nearest start frame."""
        return distance(self.task.start_ranges, one, other)

    @classmethod
    def upgraded(cls, old: Mapping[str, object]) -> dict[str, object] | None:
        """Return the content of a task file of this version from an older one's.

        `scripts/migrate` asks every registered plug-in. None if the content is not of its task.
        """
        return None

    # For stand-ins. A plug-in with `data_kinds` implements all of these.

    def scene(self, embodiment: Embodiment, *, render_size: int = 96) -> Scene:
        """Return the stand-in's scene; render_size is the width and height of its images, px."""
        self._no_stand_in("scene")

    def behaviour(self, kind: str, embodiment: Embodiment, seed: int) -> Behaviour:
        """Return what the robot does in an episode of a kind of data; all chance is seeded."""
        self._no_stand_in("behaviour")

    def operator(self, embodiment: Embodiment) -> Operator:
        """Return the scripted operator's perception and control."""
        self._no_stand_in("scripted operator")

    def frame_measure(self, embodiment: Embodiment, camera: str) -> FrameMeasure | None:
        """Return the measure of imagined frames of a camera; None compares pixels only."""
        return None

    def _no_stand_in(self, part: str) -> NoReturn:
        raise ConfigError(
            f"task {self.task.name} has no {part}", where=f"plug-in {self.task.plugin_name}",
            remedy="run it on a robot, or add its stand-in: docs/add_a_task.md",
        )


def distance(ranges: Mapping[str, tuple[float, float]], one: Values, other: Values) -> float:
    """Return the distance of two starts, each value in widths of its range, angles wrapped."""
    total = 0.0
    for name, (low, high) in ranges.items():
        offset = one[name] - other[name]
        if name.endswith("_rad"):
            offset = (offset + math.pi) % (2 * math.pi) - math.pi
        total += (offset / ((high - low) or 1.0)) ** 2
    return math.sqrt(total)


def registered_plugins() -> tuple[str, ...]:
    """Return the names of all registered plug-ins, sorted; none is imported."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def plugin_class(name: str, where: str) -> type[TaskPlugin]:
    """Return a registered plug-in's class.

    Args:
        name: of its entry point.
        where: file and field that name it, for the message.

    Raises:
        ConfigError: no such plug-in, or it cannot be imported; lists the registered ones.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise ConfigError(
            f"no task plug-in {name!r} is installed", where=where,
            remedy=f"build and source the package that registers it; installed are "
            f"{', '.join(sorted(found)) or 'none'}{nearest(name, found)}",
        )
    try:
        loaded = found[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"task plug-in {name!r} cannot be imported: {error}", where=found[name].value,
            remedy="install the dependencies of its package",
        ) from None
    if not (isinstance(loaded, type) and issubclass(loaded, TaskPlugin)):
        raise ConfigError(
            f"task plug-in {name!r} is not a TaskPlugin class", where=found[name].value,
            remedy="point its entry point to a subclass of hiwm_core.task_plugin.TaskPlugin",
        )
    return loaded
