"""The learned step: where an object and the arms are after one action.

Everything is seen from the object: arm positions, their targets and how near they are to the
object's outline, all in the object's own frame, so that what is learned at one place and angle
holds at every other. The outline is that of the learned canvas. How far an ensemble's members part
is what trust is made of.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hiwm_learning.world_models.layered.layers import LayeredDecoder

# Scales that bring inputs and outputs near 1. A control step is at most 12 mm.
STEP_M = 0.012
REACH_M = 0.1
NEAR_M = 0.02
# Rotation is counted as an arc at this radius, so that one loss serves metres and radians.
ARC_RADIUS_M = 0.06
# The distance map is this much wider than the canvas, and this fine.
_MAP_WIDENING, _MAP_PX = 1.6, 128


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """Size of the ensemble."""

    members: int = 3
    hidden: int = 256
    depth: int = 4


def distance_map(canvas: Tensor, extent_m: float) -> Tensor:
    """Return signed distance and its slope over a canvas's surroundings.

    Args:
        canvas: RGBA [4, S, S] in 0..1; the object is where alpha exceeds one half.
        extent_m: width of the canvas, m.

    Returns:
        [3, P, P] over `_MAP_WIDENING` times the extent: distance to the outline in m, negative
        inside, and its unit slope along x and y.
    """
    fine = functional.interpolate(canvas[None, 3:], scale_factor=2, mode="bilinear")[0, 0]
    size = fine.shape[0]
    axis = ((torch.arange(size) + 0.5) / size - 0.5) * extent_m
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    solid = fine > 0.5
    within = torch.stack([x[solid], y[solid]], dim=1)
    without = torch.stack([x[~solid], y[~solid]], dim=1)
    span = extent_m * _MAP_WIDENING
    axis = ((torch.arange(_MAP_PX) + 0.5) / _MAP_PX - 0.5) * span
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    points = torch.stack([x, y], dim=-1).reshape(-1, 2)
    to_solid = torch.cat([torch.cdist(p, within).amin(1) for p in points.split(1024)])
    to_free = torch.cat([torch.cdist(p, without).amin(1) for p in points.split(1024)])
    distance = (to_solid - to_free).reshape(_MAP_PX, _MAP_PX)
    # Smoothed over a few texels: the outline is only as sharp as the canvas.
    kernel = torch.ones(1, 1, 3, 3) / 9
    padded = functional.pad(distance[None, None], (1, 1, 1, 1), mode="replicate")
    distance = functional.conv2d(padded, kernel)[0, 0]
    pitch = span / _MAP_PX
    wide = functional.pad(distance[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    slope_x = (wide[1:-1, 2:] - wide[1:-1, :-2]) / (2 * pitch)
    slope_y = (wide[:-2, 1:-1] - wide[2:, 1:-1]) / (2 * pitch)
    return torch.stack([distance, slope_x, slope_y])


class DynamicsEnsemble(nn.Module):
    """Predicts the next poses of one object and the arms.

    Args:
        config: size.
        arms: number of arm layers.
        extent_m: width of the object's canvas, m.
        view_m: width and height of the table seen, m.
    """

    outline: Tensor
    corners: Tensor

    def __init__(
        self, config: DynamicsConfig, arms: int, extent_m: float, view_m: tuple[float, float]
    ) -> None:
        super().__init__()
        self.config = config
        self.arms = arms
        self.extent_m = extent_m
        self.view_m = view_m
        self.register_buffer("outline", torch.zeros(3, _MAP_PX, _MAP_PX))
        # Points of the solid part, whose extremes tell how near the object is to the rim.
        self.register_buffer("corners", torch.zeros(64, 2))
        inputs = 12 * arms + 4 + 4 + 3
        sizes = [inputs, *[config.hidden] * config.depth, 4 + 2 * arms]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            last = i == len(sizes) - 2
            bound = (0.1 if last else 1.0) * math.sqrt(3.0 / a)
            weight = torch.empty(config.members, a, b).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(config.members, 1, b)))

    def set_shape(self, decoder: LayeredDecoder, object_index: int) -> None:
        """Take the object's outline from its learned canvas."""
        with torch.no_grad():
            canvas = decoder.canvas(object_index)
            self.outline.copy_(distance_map(canvas, self.extent_m))
            size = canvas.shape[1]
            axis = ((torch.arange(size) + 0.5) / size - 0.5) * self.extent_m
            y, x = torch.meshgrid(-axis, axis, indexing="ij")
            solid = torch.stack([x, y], dim=-1)[canvas[3] > 0.5]
            # Extremes in 64 directions stand for the hull.
            angle = torch.arange(64) * (2 * math.pi / 64)
            way = torch.stack([angle.cos(), angle.sin()])
            self.corners.copy_(solid[(solid @ way).argmax(dim=0)])

    def features(self, poses: Tensor, previous: Tensor, targets: Tensor) -> Tensor:
        """Return network inputs [B, F].

        Args:
            poses: [B, 1 + arms, 4] of object and arms.
            previous: the same one step earlier.
            targets: [B, arms, 2] absolute targets, m, table frame.
        """
        body = poses[:, 0]
        here = poses[:, 1:, :2]
        at = _to_frame(body, here)
        aim = _to_frame(body, targets)
        came = at - _to_frame(body, previous[:, 1:, :2])
        near = self._outline_at(at)
        near_aim = self._outline_at(aim)
        arms = torch.cat(
            [at / REACH_M, (aim - at) / STEP_M, came / STEP_M, near, near_aim], dim=-1
        ).flatten(1)
        c, s = body[:, 2:3], body[:, 3:4]
        x = body[:, :1] + self.corners[:, 0] * c - self.corners[:, 1] * s
        y = body[:, 1:2] + self.corners[:, 0] * s + self.corners[:, 1] * c
        half_x, half_y = self.view_m[0] / 2, self.view_m[1] / 2
        gaps = torch.stack(
            [half_x - x.amax(1), half_x + x.amin(1), half_y - y.amax(1), half_y + y.amin(1)],
            dim=1,
        )
        moved = motion(previous[:, 0], body)
        return torch.cat(
            [arms, body[:, 2:], body[:, :2] / REACH_M, (gaps / NEAR_M).clamp(-1, 3),
             moved / STEP_M],
            dim=1,
        )

    def step_members(self, poses: Tensor, previous: Tensor, targets: Tensor) -> Tensor:
        """Return each member's next poses, each from its own starts.

        Args:
            poses: [M, B, 1 + arms, 4].
            previous: the same one step earlier.
            targets: [M, B, arms, 2] absolute targets, m, table frame.

        Returns:
            [M, B, 1 + arms, 4].
        """
        members, batch = poses.shape[:2]
        flat = poses.reshape(members * batch, -1, 4)
        every = targets.reshape(members * batch, self.arms, 2)
        h = self.features(flat, previous.reshape(members * batch, -1, 4), every)
        out = self._network(h.reshape(members, batch, -1)).reshape(members * batch, -1)
        step, slip = self._motion(out)
        return self._moved(flat, every, step, slip).reshape(poses.shape)

    def mean_step(self, poses: Tensor, previous: Tensor, targets: Tensor) -> Tensor:
        """Return the next poses [B, 1 + arms, 4] by the mean of the members' motions."""
        h = self.features(poses, previous, targets).expand(self.config.members, -1, -1)
        return self._moved_by_mean(poses, targets, self._network(h))

    def step(
        self, poses: Tensor, previous: Tensor, own: Tensor, own_previous: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what `mean_step` and `step_members` return, in one pass.

        Args:
            poses: [B, 1 + arms, 4], moved by the members' mean.
            previous: the same one step earlier.
            own: [M, B, 1 + arms, 4], each moved only by its own member.
            own_previous: the same one step earlier.
            targets: [B, arms, 2] absolute targets, m, table frame, for all alike.
        """
        members, batch = self.config.members, len(poses)
        flat, every = own.flatten(0, 1), targets.repeat(members, 1, 1)
        h = self.features(
            torch.cat([poses, flat]), torch.cat([previous, own_previous.flatten(0, 1)]),
            torch.cat([targets, every]),
        )
        shared, apart = h[:batch], h[batch:].reshape(members, batch, -1)
        out = self._network(torch.cat([shared.expand(members, -1, -1), apart], dim=1))
        step, slip = self._motion(out[:, batch:].reshape(members * batch, -1))
        return (
            self._moved_by_mean(poses, targets, out[:, :batch]),
            self._moved(flat, every, step, slip).reshape(own.shape),
        )

    def _moved_by_mean(self, poses: Tensor, targets: Tensor, out: Tensor) -> Tensor:
        """Return poses [B, 1 + arms, 4] moved by the mean of members' outputs [M, B, O]."""
        members, batch = out.shape[:2]
        step, slip = self._motion(out.reshape(members * batch, -1))
        return self._moved(
            poses, targets, step.reshape(members, batch, 3).mean(0),
            slip.reshape(members, batch, self.arms, 2).mean(0),
        )

    def _network(self, h: Tensor) -> Tensor:
        """Return outputs [M, B, O] for features [M, B, F]."""
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            out = torch.baddbmm(bias, h, weight)
            if i == last:
                return out
            h = h + functional.silu(out) if i else functional.silu(out)
        raise AssertionError("a network has a last layer")

    def _motion(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return the object's motion [B, 3] and the arms' miss of their targets [B, arms, 2]."""
        # The gate lets "nothing touches it" be exactly still rather than nearly so.
        gate = torch.sigmoid(6.0 * out[:, 3:4] + 2.0)
        return out[:, :3] * STEP_M * gate, out[:, 4:].reshape(-1, self.arms, 2) * (STEP_M / 2)

    def _moved(self, poses: Tensor, targets: Tensor, step: Tensor, slip: Tensor) -> Tensor:
        body = advance(poses[:, 0], step)
        c, s = poses[:, 0, 2, None], poses[:, 0, 3, None]
        slip = torch.stack(
            [c * slip[..., 0] - s * slip[..., 1], s * slip[..., 0] + c * slip[..., 1]], dim=-1
        )
        hands = torch.cat([targets + slip, poses[:, 1:, 2:]], dim=-1)
        return torch.cat([body[:, None], hands], dim=1)

    def _outline_at(self, points: Tensor) -> Tensor:
        """Return scaled distance and slope at object-frame points [B, N, 2]: [B, N, 3]."""
        where = torch.stack([points[..., 0], -points[..., 1]], dim=-1)
        where = where * (2.0 / (self.extent_m * _MAP_WIDENING))
        found = functional.grid_sample(
            self.outline[None], where.reshape(1, 1, -1, 2), padding_mode="border",
            align_corners=False,
        )[0, :, 0]
        found = torch.cat([(found[:1] / NEAR_M).clamp(-2, 3), found[1:]])
        return found.T.reshape(*points.shape[:2], 3)


def _to_frame(body: Tensor, points: Tensor) -> Tensor:
    """Return table points [B, N, 2] in the frame of poses [B, 4]."""
    offset = points - body[:, None, :2]
    c, s = body[:, 2, None], body[:, 3, None]
    return torch.stack(
        [c * offset[..., 0] + s * offset[..., 1], -s * offset[..., 0] + c * offset[..., 1]],
        dim=-1,
    )


def motion(before: Tensor, after: Tensor) -> Tensor:
    """Return the motion between poses [B, 4] in the frame of the first: x, y, arc, m, [B, 3]."""
    shift = _to_frame(before, after[:, None, :2])[:, 0]
    sine = before[:, 2] * after[:, 3] - before[:, 3] * after[:, 2]
    cosine = before[:, 2] * after[:, 2] + before[:, 3] * after[:, 3]
    return torch.cat([shift, torch.atan2(sine, cosine)[:, None] * ARC_RADIUS_M], dim=1)


def advance(pose: Tensor, step: Tensor) -> Tensor:
    """Return poses [B, 4] moved by steps [B, 3] as `motion` gives them; cos and sin stay unit."""
    c, s = pose[:, 2], pose[:, 3]
    angle = step[:, 2] / ARC_RADIUS_M
    turn_c, turn_s = angle.cos(), angle.sin()
    cos, sin = c * turn_c - s * turn_s, s * turn_c + c * turn_s
    length = (cos**2 + sin**2).sqrt()
    return torch.stack(
        [
            pose[:, 0] + c * step[:, 0] - s * step[:, 1],
            pose[:, 1] + s * step[:, 0] + c * step[:, 1],
            cos / length, sin / length,
        ],
        dim=1,
    )
