"""Shortest ways over a small grid with obstacles."""

import heapq
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CELL_M = 0.012  # as fine as one control step
_NEIGHBOURS = [(i, j, float(np.hypot(i, j))) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
# Cost of standing on a blocked cell: high enough to leave it by the nearest way, finite so that a
# start or goal inside an obstacle still has one.
_BLOCKED_COST = 12.0


class GridPath:
    """Routes in a box.

    Args:
        lower: corner of the box [2], m.
        upper: opposite corner [2], m.
    """

    def __init__(self, lower: Array, upper: Array) -> None:
        self._lower = np.asarray(lower)
        self._shape = tuple(
            int(n) for n in np.ceil((np.asarray(upper) - self._lower) / CELL_M).astype(int) + 1
        )

    def route(
        self, start: Array, goal: Array, blocked: Callable[[Array], NDArray[np.bool_]]
    ) -> Array:
        """Return way points [N, 2] from start (left out) to goal (the last), m.

        Args:
            start: [2], m.
            goal: [2], m.
            blocked: tells which points [N, 2] are inside obstacles.
        """
        straight = start + np.linspace(0, 1, 24)[1:, None] * (goal - start)
        if not blocked(straight).any():
            return goal[None].copy()
        rows, columns = self._shape
        grid = np.stack(np.meshgrid(range(rows), range(columns), indexing="ij"), -1)
        cells = self._lower + grid.reshape(-1, 2) * CELL_M
        cost = 1.0 + _BLOCKED_COST * blocked(cells).reshape(rows, columns)
        first, last = self._cell(start), self._cell(goal)
        came: dict[tuple[int, int], tuple[int, int]] = {}
        best = {first: 0.0}
        queue = [(0.0, first)]
        while queue:
            _, cell = heapq.heappop(queue)
            if cell == last:
                break
            for di, dj, length in _NEIGHBOURS:
                near = (cell[0] + di, cell[1] + dj)
                if not (0 <= near[0] < rows and 0 <= near[1] < columns):
                    continue
                price = best[cell] + length * float(cost[near])
                if price < best.get(near, np.inf):
                    best[near] = price
                    came[near] = cell
                    ahead = float(np.hypot(near[0] - last[0], near[1] - last[1]))
                    heapq.heappush(queue, (price + ahead, near))
        way = [last]
        while way[-1] in came:
            way.append(came[way[-1]])
        points = self._lower + np.array(way[::-1][1:], dtype=float).reshape(-1, 2) * CELL_M
        return np.concatenate([points[:-1], goal[None]])

    def _cell(self, point: Array) -> tuple[int, int]:
        cell = np.round((point - self._lower) / CELL_M).astype(int)
        i, j = np.clip(cell, 0, np.array(self._shape) - 1)
        return int(i), int(j)
