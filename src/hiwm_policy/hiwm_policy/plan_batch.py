"""The observations of a `PlanBatch` request as arrays. Tested by `test_policies_node.py`."""

import numpy as np
from hiwm_interfaces.srv import PlanBatch

from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.frames import image_array
from hiwm_learning.policies.planning import Planner
from hiwm_policy.inference_thread import Row

_WHERE = "policy/plan_batch"


def rows_of(request: PlanBatch.Request, planner: Planner, embodiment: Embodiment) -> list[Row]:
    """Return one row per seed, padded to the policy's number of observation steps.

    Raises:
        ConfigError: lengths do not match, no image of one of the policy's cameras, a malformed
            image, or proprioception that is not finite.
    """
    count, given, cameras = len(request.seeds), request.observation_steps, len(request.cameras)
    for name, found, expected in (
        ("images", len(request.images), count * given * cameras),
        ("proprio", len(request.proprio), count * given * embodiment.proprio_dim),
    ):
        if found != expected or not found:
            raise ConfigError(
                f"{name} of length {found} for {count} seeds, {given} observation_steps and "
                f"{cameras} cameras", where=_WHERE,
                remedy=f"give {expected}, and at least one seed",
            )
    for camera in planner.image_shapes:
        if camera not in request.cameras:
            raise ConfigError(
                f"no image of camera {camera!r} among {', '.join(request.cameras)}",
                where=_WHERE, remedy="use a policy and a world that share this camera",
            )
    proprio = np.array(request.proprio, np.float32).reshape(count, given, -1)
    if not np.isfinite(proprio).all():
        raise ConfigError(
            "proprioception is not finite", where=_WHERE, remedy="send finite states"
        )
    images = {}
    for camera in planner.image_shapes:
        spec = embodiment.camera(camera)
        images[camera] = np.stack([
            image_array(message, spec)
            for message in request.images[request.cameras.index(camera) :: cameras]
        ]).reshape(count, given, spec.height, spec.width, 3)
    # Newest last; the first one is repeated for missing earlier steps, as after a reset.
    window = planner.observation_steps
    taken = np.maximum(np.arange(given - window, given), 0)
    return [
        Row(
            images={camera: frames[i, taken] for camera, frames in images.items()},
            proprio=proprio[i, taken], seed=int(request.seeds[i]),
        )
        for i in range(count)
    ]
