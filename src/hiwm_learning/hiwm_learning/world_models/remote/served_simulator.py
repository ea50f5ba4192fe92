"""Our own world models as a server runs them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import WireError
from hiwm_learning.checkpoints import Checkpoint
from hiwm_learning.world_models.remote.protocol import CameraView, WorldMetadata, WorldObservation
from hiwm_learning.world_models.simulators import WorldSimulator

_META = "meta"  # the part with JSON values


class ServedSimulator:
    """A `ServedWorld` of a `WorldSimulator`.

    Args:
        simulator: of any family, without a workspace: the client has the robot's.
        checkpoint: of the simulator.
        embodiment: of both.
        can_restore: False makes a server without saved states, for tests of that.
    """

    def __init__(
        self, simulator: WorldSimulator[Any], checkpoint: Checkpoint, embodiment: Embodiment,
        can_restore: bool = True,
    ) -> None:
        self._simulator = simulator
        info = checkpoint.info
        views = [embodiment.camera(name) for name in simulator.cameras]
        self.metadata = WorldMetadata(
            name=checkpoint.label, model=checkpoint.hash,
            cameras=tuple(
                CameraView(name=view.name, height=view.height, width=view.width) for view in views
            ),
            actions=embodiment.action_dim, proprioception=len(embodiment.proprioception),
            period_s=info.control_period_s, heads=tuple(sorted(simulator.heads)),
            can_restore=can_restore, embodiment_hash=embodiment.hash, task_hash=info.task_hash,
        )

    def begin(
        self, images: tuple[NDArray[np.uint8], ...], proprioception: NDArray[np.float64], seed: int
    ) -> Any:
        """Return the state for recorded frames."""
        return self._simulator.begin(
            images[0] if len(images) == 1 else images, proprioception, seed
        )

    def step_many(self, states: Sequence[Any], actions: NDArray[np.float64]) -> list[Any]:
        """Return the next states. One world is stepped as `step` does, byte for byte."""
        if len(states) == 1:
            return [self._simulator.step(states[0], actions[0])[0]]
        return self._simulator.step_many(states, list(actions))[0]

    def observations(self, states: Sequence[Any]) -> list[WorldObservation]:
        """Return what the states show."""
        seen = (
            [self._simulator.observe(states[0])] if len(states) == 1
            else self._simulator.observe_many(states)
        )
        return [
            WorldObservation(
                images=(one.image, *(one.others[name] for name in self._simulator.cameras[1:])),
                proprioception=one.proprioception, trust=one.trust, progress=one.progress,
                success=one.success, strangeness=one.strangeness,
            )
            for one in seen
        ]

    def packed(self, state: Any) -> dict[str, bytes]:
        """Return the parts of a state, each as the bytes of a .npy file."""
        arrays, meta = state.to_parts()
        return {_META: json.dumps(meta, sort_keys=True).encode(), **{
            name: _bytes(array) for name, array in arrays.items()
        }}

    def unpacked(self, parts: Mapping[str, bytes]) -> Any:
        """Return a state from its parts; raises WireError if they are none of ours."""
        try:
            arrays = {
                name: np.load(io.BytesIO(part), allow_pickle=False)
                for name, part in parts.items() if name != _META
            }
            meta = json.loads(parts[_META])
        except (KeyError, ValueError, EOFError) as error:
            raise WireError(
                f"not a state of this server: {error}", where="world server",
                remedy="restore a state that it sent",
            ) from None
        return self._simulator.restored(arrays, meta)


def _bytes(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
