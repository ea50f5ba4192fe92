"""What fixes a latent world's networks: cameras, robot, sizes."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import CheckpointError, ConfigError
from hiwm_learning.world_models.latent.dynamics import DynamicsConfig
from hiwm_learning.world_models.latent.robot_layer import CELL
from hiwm_learning.world_models.latent.views import Size, model_size


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Sizes of what belongs to one camera."""

    points: int  # of each arm's drawing
    arm_channels: int  # of an arm's coarse map
    width: int  # of the convolutions that draw the robot
    blocks: int  # residual blocks there
    filler_width: int  # of the convolutions that fill what the robot hides, at half the size


@dataclass(frozen=True, kw_only=True)
class LatentWorldConfig:
    """Everything that fixes the networks' shapes."""

    cameras: tuple[str, ...]
    sizes: tuple[Size, ...]  # height and width of each camera, px
    height: int  # px, of every camera as the model sees it
    width: int  # px
    arms: tuple[tuple[int, ...], ...]  # of each arm, its places in proprioception
    proprioception: int  # P
    actions: int  # A
    view: ViewConfig
    dynamics: DynamicsConfig
    head_width: int
    grippers: tuple[int | None, ...]  # of each arm, the place of its gripper in the action
    gripper_joints: tuple[int, ...]  # places in proprioception that say how far one is open

    @property
    def grid(self) -> tuple[int, int]:
        """Cells of a camera, height and width."""
        return self.height // CELL, self.width // CELL

    def as_json(self) -> dict[str, Any]:
        """Return JSON values only."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "LatentWorldConfig":
        """Return the config from the output of `as_json`.

        Raises:
            CheckpointError: it is of another form.
        """
        try:
            return LatentWorldConfig(**{
                **data,
                "cameras": tuple(data["cameras"]),
                "sizes": tuple((height, width) for height, width in data["sizes"]),
                "arms": tuple(tuple(arm) for arm in data["arms"]),
                "grippers": tuple(data["grippers"]),
                "gripper_joints": tuple(data["gripper_joints"]),
                "view": ViewConfig(**data["view"]),
                # Worlds of earlier versions have neither.
                "dynamics": DynamicsConfig(**{"rigid": 0, "touch": 0, **data["dynamics"]}),
            })
        except (KeyError, TypeError) as error:
            raise CheckpointError(
                "a latent world of another version of hiwm: its configuration lacks or misnames "
                f"{error}", where="checkpoint config",
                remedy="use the version that trained it, or train it again from its bags",
            ) from None


@dataclass(frozen=True, kw_only=True)
class _NetworkSize:
    view: ViewConfig
    dynamics: DynamicsConfig
    head_width: int


_SIZES = {
    # Takes a training step within a tenth of a second: for tests.
    "tiny": _NetworkSize(
        view=ViewConfig(points=3, arm_channels=4, width=8, blocks=2, filler_width=8),
        dynamics=DynamicsConfig(
            width=32, blocks=2, heads=2, tokens=48, told=4, glimpse=4, rigid=1, touch=4
        ),
        head_width=16,
    ),
    # Two CPU cores: an afternoon of training, tens of steps a second.
    "cpu": _NetworkSize(
        view=ViewConfig(points=8, arm_channels=16, width=48, blocks=2, filler_width=32),
        dynamics=DynamicsConfig(
            width=128, blocks=6, heads=4, tokens=96, told=8, glimpse=8, rigid=2, touch=16
        ),
        head_width=32,
    ),
    "gpu": _NetworkSize(
        view=ViewConfig(points=12, arm_channels=32, width=128, blocks=3, filler_width=64),
        dynamics=DynamicsConfig(
            width=384, blocks=10, heads=6, tokens=384, told=16, glimpse=16, rigid=4, touch=32
        ),
        head_width=64,
    ),
}
NETWORK_SIZES = tuple(_SIZES)


def latent_config(
    embodiment: Embodiment, *, network: str = "cpu", tokens: int | None = None,
    rigid: int | None = None, touch: int | None = None,
) -> LatentWorldConfig:
    """Return the config for an embodiment.

    Args:
        embodiment: any.
        network: one of NETWORK_SIZES.
        tokens: cells in play; the size's usual number when None.
        rigid: stiff pieces to which the cells of a camera may belong; likewise.
        touch: samples a side of what a hand is about to meet; likewise.

    Raises:
        ConfigError: an unknown size, or an embodiment without cameras.
    """
    if network not in _SIZES:
        raise ConfigError(
            f"no network size {network!r}", where="world model",
            remedy=f"use one of {', '.join(NETWORK_SIZES)}",
        )
    names = tuple(camera.name for camera in embodiment.cameras)
    if not names:
        raise ConfigError(
            "no camera", where=f"embodiment {embodiment.name}",
            remedy="a world model predicts pictures: give the embodiment a camera",
        )
    size = _SIZES[network]
    sizes = tuple(
        (spec.height, spec.width) for spec in (embodiment.camera(name) for name in names)
    )
    height, width = model_size(sizes, CELL)
    given = {"tokens": tokens, "rigid": rigid, "touch": touch}
    dynamics = replace(
        size.dynamics, **{name: value for name, value in given.items() if value is not None}
    )
    return LatentWorldConfig(
        cameras=names, sizes=sizes, height=height, width=width, arms=arms_of(embodiment),
        proprioception=embodiment.proprio_dim, actions=embodiment.action_dim,
        view=size.view, dynamics=dynamics, head_width=size.head_width,
        grippers=_grippers_of(embodiment), gripper_joints=_gripper_joints(embodiment),
    )


def arms_of(embodiment: Embodiment) -> tuple[tuple[int, ...], ...]:
    """Return each arm's places in proprioception; entries of no arm belong to all."""
    return tuple(_places_of(embodiment).values())


def _grippers_of(embodiment: Embodiment) -> tuple[int | None, ...]:
    """Return the place in the action of the gripper of each of `arms_of`; None: it has none."""
    found = {group.arm: group.start for group in embodiment.groups if group.kind == "gripper"}
    return tuple(found.get(arm) for arm in _places_of(embodiment))


def _gripper_joints(embodiment: Embodiment) -> tuple[int, ...]:
    """Return the places in proprioception that say how far grippers are open."""
    joints: set[str] = set()
    actions: set[str] = set()
    for group in embodiment.groups:
        if group.kind == "gripper":
            joints.update(group.joints, group.measured.joints)
            actions.update(entry.name for entry in embodiment.actions[group.slice])
    return tuple(
        i for i, entry in enumerate(embodiment.proprioception)
        if entry.joint in joints or entry.action in actions
    )


def _places_of(embodiment: Embodiment) -> dict[str, tuple[int, ...]]:
    """Return the places in proprioception of the arms that have some."""
    joints: dict[str, set[str]] = {}
    actions: dict[str, set[str]] = {}
    for group in embodiment.groups:
        joints.setdefault(group.arm, set()).update(group.joints, group.measured.joints)
        actions.setdefault(group.arm, set()).update(
            entry.name for entry in embodiment.actions[group.slice]
        )
    owned: dict[str, list[int]] = {arm: [] for arm in joints}
    for i, entry in enumerate(embodiment.proprioception):
        owners = [
            arm for arm in joints if entry.joint in joints[arm] or entry.action in actions[arm]
        ]
        for arm in owners or list(owned):
            owned[arm].append(i)
    return {arm: tuple(places) for arm, places in owned.items() if places}
