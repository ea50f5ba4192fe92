"""Distances of a robot's links from each other, from a box and from a table, by their URDF shapes.

coal, which comes with pinocchio, computes them; overlaps are negative. Shapes are the ``collision``
elements of the links. A mesh counts as its convex hull: distances between hulls take microseconds,
and a hull is never smaller than its mesh. Tested by ``test_workspace_check.py``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import ConfigError
from hiwm_core.kinematics import RobotModel
from hiwm_core.robots.safety import Box

Array = NDArray[np.float64]

_AXES = "xyz"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One distance: a link from another link, from a side of the box, or from the table."""

    link: str
    other: str = ""  # link; empty: side of the box, or the table
    side: str = ""  # "lower x" to "upper z"; empty for the table


class LinkDistances:
    """The distances that a workspace names, for any joint positions.

    Args:
        model: the robot.
        links: kept inside the box and above the table; one without shapes counts as the origin of
            its frame.
        frame: link in whose frame box and table are given; empty: the root link.
        box: its six sides, or None.
        table_z_m: height of the table's top in the frame, or None.
        pairs: links whose distance from each other is measured.
        clearance_m: smallest distance that `allows` wants of pairs and the table.
        where: file and section that name the links, for error messages.

    Raises:
        ConfigError: the URDF lacks a link, a mesh is missing, or a link of a pair has no shape.
    """

    def __init__(
        self, model: RobotModel, *, links: Sequence[str], pairs: Sequence[tuple[str, str]],
        frame: str = "", box: Box | None = None, table_z_m: float | None = None,
        clearance_m: float = 0.0, where: str,
    ) -> None:
        self._library, self._model = model.pinocchio, model.model
        self._shapes = _shapes(model, where)
        origin = self._model.frames[model.frame_id(frame, f"{where}.frame") if frame else 0]
        planes = self._planes(origin, box, table_z_m)
        measures: list[Measure] = []
        for i, (first, second) in enumerate(pairs):
            place = f"{where}.pairs[{i}]"
            measures += self._pair_up(
                Measure(link=first, other=second),
                self._shapes_of(model, first, place), self._shapes_of(model, second, place),
            )
        for link in links:
            shapes = self._shapes_of(model, link, f"{where}.links", point=True)
            for side, plane in planes:
                measures += self._pair_up(Measure(link=link, side=side), shapes, [plane])
        # A link of several shapes has one distance: that of its nearest shape.
        self.measures = tuple(dict.fromkeys(measures))
        places = {measure: i for i, measure in enumerate(self.measures)}
        self._place = np.array([places[measure] for measure in measures], dtype=np.intp)
        # The box is a limit of its own; the clearance is that of table and pairs.
        self.least = np.array([
            0.0 if measure.side else clearance_m for measure in self.measures
        ])
        self._data, self._distances = self._model.createData(), self._shapes.createData()
        for request, place in zip(self._distances.collisionRequests, self._place, strict=True):
            request.security_margin = float(self.least[place])

    def allows(self, positions: Array) -> bool:
        """Return whether every distance is at least its ``least``; faster than `measure`.

        Args:
            positions: as in `measure`.
        """
        return not self._library.computeCollisions(
            self._model, self._data, self._shapes, self._distances, positions, True
        )

    def measure(self, positions: Array) -> Array:
        """Return the distance of every entry of ``measures``, [M], m; negative for overlaps.

        Args:
            positions: [Q], the model's joints in its order, rad or m.
        """
        self._library.computeDistances(
            self._model, self._data, self._shapes, self._distances, positions
        )
        found = np.array([result.min_distance for result in self._distances.distanceResults])
        nearest = np.full(len(self.measures), np.inf)
        np.minimum.at(nearest, self._place, found)
        return nearest

    def _pair_up(
        self, measure: Measure, first: Sequence[int], second: Sequence[int]
    ) -> list[Measure]:
        """Measure every shape of ``first`` from every shape of ``second``."""
        made = []
        for a in first:
            for b in second:
                self._shapes.addCollisionPair(self._library.CollisionPair(a, b))
                made.append(measure)
        return made

    def _planes(
        self, origin: Any, box: Box | None, table_z_m: float | None
    ) -> list[tuple[str, int]]:
        """Return the box's sides and the table, "", with the indices of their half-spaces."""
        halves: list[tuple[str, list[float], float]] = []
        if box is not None:
            for axis, (low, high) in enumerate(zip(box.lower, box.upper, strict=True)):
                outward = [float(axis == i) for i in range(3)]
                halves.append((f"lower {_AXES[axis]}", outward, low))
                halves.append((f"upper {_AXES[axis]}", [-value for value in outward], -high))
        if table_z_m is not None:
            halves.append(("", [0.0, 0.0, 1.0], table_z_m))
        coal = self._library.coal
        planes = []
        for side, normal, offset in halves:
            shape = self._library.GeometryObject(
                f"plane {side}", origin.parentJoint, origin.placement,
                coal.Halfspace(np.array(normal), offset),
            )
            planes.append((side, self._shapes.addGeometryObject(shape)))
        return planes

    def _shapes_of(
        self, model: RobotModel, link: str, where: str, point: bool = False
    ) -> list[int]:
        """Return the indices of a link's shapes; of a point at its origin if it may have none."""
        frame_id = model.frame_id(link, where)
        found = [
            i for i, shape in enumerate(self._shapes.geometryObjects)
            if shape.parentFrame == frame_id
        ]
        if found or not point:
            if not found:
                raise ConfigError(
                    f"link {link!r} of {model.where} has no collision shape", where=where,
                    remedy="give it a <collision>, or pair the link that has one",
                )
            return found
        frame = self._model.frames[frame_id]
        dot = self._library.GeometryObject(
            f"{link} origin", frame.parentJoint, frame_id, frame.placement,
            self._library.coal.Sphere(0.0),
        )
        return [self._shapes.addGeometryObject(dot)]


def _shapes(model: RobotModel, where: str) -> Any:
    """Return the collision shapes of a URDF, meshes as convex hulls."""
    library = model.pinocchio
    # package://NAME/... is searched in the folders above the URDF and in installed packages.
    above = [str(folder) for folder in Path(model.where).resolve().parents[:3]]
    installed = [
        str(Path(prefix) / "share")
        for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix
    ]
    try:
        shapes = library.buildGeomFromUrdfString(
            model.model, model.text, library.GeometryType.COLLISION,
            package_dirs=[*above, *installed],
        )
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"the collision shapes of {model.where} cannot be loaded: {reason}", where=where,
            remedy="give meshes by existing paths, or replace them by <box>, <cylinder>, <sphere>",
        ) from None
    for shape in shapes.geometryObjects:
        if isinstance(shape.geometry, library.coal.BVHModelBase):
            shape.geometry.buildConvexHull(True, "Qt")
            shape.geometry = shape.geometry.convex
    return shapes
