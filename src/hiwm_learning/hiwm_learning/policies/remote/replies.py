"""A server's actions as a checked chunk of the embodiment.

Tested by ``test_remote_replies.py``.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiwm_core.action_deltas import ActionDeltas
from hiwm_core.control_period import alike
from hiwm_core.embodiment import Embodiment
from hiwm_core.errors import ConfigError, ServerError
from hiwm_core.measured import MeasuredFromProprioception
from hiwm_core.rotations import matrix_from_6d, matrix_from_vector, sixd_from_matrix
from hiwm_learning.policies.remote.layout import ActionPart, PolicyLayout

Array = NDArray[np.float64]


class ReplyReader:
    """Reads replies of one layout for one embodiment.

    Args:
        layout: the server's.
        embodiment: the world's.
        period_s: from one action of the world to the next, s.
        where: the layout's file, for messages.
        server: the server's address, for messages.

    Raises:
        ConfigError: a group is unknown, has no action, or has another number of columns.
    """

    def __init__(
        self, layout: PolicyLayout, embodiment: Embodiment, period_s: float, where: str,
        server: str,
    ) -> None:
        self._layout = layout
        self._embodiment = embodiment
        self._server = server
        self._where = f"{where}: actions"
        for i, part in enumerate(layout.actions):
            self._check(part, f"{self._where}[{i}]")
        given = {part.group for part in layout.actions}
        missing = [group.name for group in embodiment.groups if group.name not in given]
        if layout.actions and missing:
            raise ConfigError(
                f"no action for group {', '.join(missing)} of embodiment {embodiment.name}",
                where=self._where, remedy="add {columns: [FIRST, END], group: NAME} for each",
            )
        self._columns = layout.columns or max(
            (part.columns[1] for part in layout.actions), default=embodiment.action_dim
        )
        self._deltas = ActionDeltas(embodiment)
        self._measured = (
            MeasuredFromProprioception(embodiment)
            if any(part.kind != "absolute" for part in layout.actions) else None
        )
        # Another rate than the world's: the chunk is interpolated.
        self._step_s = 1.0 / layout.rate_hz if layout.rate_hz else period_s
        self._resampled = not alike(self._step_s, period_s)
        self._period_s = period_s
        self.horizon = self._in_ticks(layout.horizon)
        self.execute_horizon = min(self._in_ticks(layout.execute_horizon), self.horizon)
        size = embodiment.upper - embodiment.lower
        self._least, self._most = embodiment.lower - size, embodiment.upper + size

    def chunk(self, reply: Any, proprio: NDArray[np.float32]) -> Array:
        """Return actions [horizon, A] in the embodiment's units.

        Args:
            reply: the server's, unpacked.
            proprio: [P], of the observation.

        Raises:
            ServerError: no actions, a wrong shape, too few, not finite, or far outside limits.
        """
        rows = self._rows(reply)
        try:
            actions = self._converted(rows, proprio)
            for group in self._embodiment.groups:
                for row in actions[:, group.rotation_slice] if group.rotation == "6d" else ():
                    matrix_from_6d(row)
        except ValueError as error:
            raise self._error(f"its actions are not valid targets: {error}") from None
        self._check_limits(actions)
        if not self._resampled:
            return actions
        given = self._step_s * np.arange(1, len(actions) + 1)
        wanted = self._period_s * np.arange(1, self.horizon + 1)
        return self._deltas.interpolated(np.clip(wanted, given[0], given[-1]), given, actions)

    def _rows(self, reply: Any) -> Array:
        """Return the reply's actions [layout.horizon, columns]."""
        found = self._found(reply)
        try:
            array = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            raise self._error(
                f"its actions are {type(found).__name__}, not an array of numbers"
            ) from None
        if array.ndim == 3 and len(array) == 1:  # a batch of one
            array = array[0]
        if array.ndim != 2 or array.shape[1] != self._columns:
            raise self._error(
                f"its actions have shape {list(array.shape)}, not "
                f"[{self._layout.horizon}, {self._columns}]"
            )
        if len(array) < self._layout.horizon:
            raise self._error(
                f"its chunk has {len(array)} actions, but layout {self._layout.name} promises "
                f"{self._layout.horizon}"
            )
        array = array[: self._layout.horizon]
        if not np.isfinite(array).all():
            row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(array)))
            raise self._error(
                f"column {column} of action {row} is not finite ({array[row, column]})"
            )
        return array

    def _found(self, reply: Any) -> Any:
        if isinstance(reply, np.ndarray):  # RoboArena's servers send the array alone
            return reply
        if isinstance(reply, dict) and reply.get("ok") is False:  # starVLA's
            error = reply.get("error")
            text = error.get("message", error) if isinstance(error, dict) else error
            raise ServerError(
                f"the policy server failed: {text}", where=self._server,
                remedy="read the server's log",
            )
        for key in self._layout.reply:
            if not isinstance(reply, dict) or key not in reply:
                held = (
                    f"a reply with {', '.join(map(str, reply)) or 'nothing'}"
                    if isinstance(reply, dict) else f"a reply of type {type(reply).__name__}"
                )
                raise self._error(f"it sent {held}, not {' / '.join(self._layout.reply)}")
            reply = reply[key]
        return reply

    def _converted(self, rows: Array, proprio: NDArray[np.float32]) -> Array:
        if not self._layout.actions:
            return rows
        actions = np.zeros((len(rows), self._embodiment.action_dim))
        moves = np.zeros_like(actions)  # displacements
        start = before = np.zeros(0)
        if self._measured is not None:
            start = before = self._measured.array(proprio)
        for part in self._layout.actions:
            values = self._scaled(part, rows[:, part.columns[0] : part.columns[1]])
            entries = self._embodiment.group(part.group).slice
            if part.kind == "absolute":
                actions[:, entries] = self._own_rotation(part, values)
            else:
                moves[:, entries.start : entries.start + values.shape[1]] = values
        for k in range(len(rows) if self._measured is not None else 0):
            stepped = self._deltas.moved(before, moves[k])
            whole = self._deltas.moved(start, moves[k])
            for part in self._layout.actions:
                entries = self._embodiment.group(part.group).slice
                if part.kind != "absolute":
                    chosen = stepped if part.kind == "delta" else whole
                    actions[k, entries] = chosen[entries]
            before = actions[k]
        return actions

    def _scaled(self, part: ActionPart, values: Array) -> Array:
        if part.clip:
            values = np.clip(values, -part.clip, part.clip)
        scaled: Array = values * np.asarray(part.scale) + np.asarray(part.offset)
        return scaled

    def _own_rotation(self, part: ActionPart, values: Array) -> Array:
        group = self._embodiment.group(part.group)
        if group.rotation != "6d" or part.rotation == "6d":
            return values
        turned = [sixd_from_matrix(matrix_from_vector(row[3:])) for row in values]
        return np.concatenate([values[:, :3], np.array(turned)], axis=1)

    def _check(self, part: ActionPart, where: str) -> None:
        group = self._embodiment.group(part.group)
        wanted = group.size
        if group.rotation == "6d" and (part.rotation == "axis_angle" or part.kind != "absolute"):
            wanted = 6
        first, end = part.columns
        if end - first != wanted:
            raise ConfigError(
                f"columns {[first, end]} for group {group.name}, which takes {wanted}",
                where=f"{where}.columns", remedy=f"give {wanted} columns",
            )
        for name, given in (("scale", part.scale), ("offset", part.offset)):
            if isinstance(given, tuple) and len(given) != wanted:
                raise ConfigError(
                    f"{len(given)} numbers for {wanted} columns", where=f"{where}.{name}",
                    remedy="give one number, or one for each column",
                )

    def _check_limits(self, actions: Array) -> None:
        """Refuse targets that are out of their limits by more than the whole range.

        Less is limited as any policy's action is. More means other units or another robot.
        """
        wrong = (actions < self._least) | (actions > self._most)
        if wrong.any():
            row, column = (int(i[0]) for i in np.nonzero(wrong))
            entry = self._embodiment.actions[column]
            raise self._error(
                f"{entry.name} of action {row} is {actions[row, column]:.4g} {entry.unit}, far "
                f"outside {entry.lower:g} to {entry.upper:g}",
                "correct kind, scale and columns of the layout's actions",
            )

    def _in_ticks(self, count: int) -> int:
        if not self._resampled:
            return count
        return max(1, math.floor(count * self._step_s / self._period_s + 1e-9))

    def _error(self, what: str, remedy: str = "use the layout of this server") -> ServerError:
        return ServerError(
            f"the policy server answers, but {what}", where=self._server, remedy=remedy
        )
