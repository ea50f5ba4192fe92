"""What the states of all families of world models share, and how they are saved and restored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import CheckpointError
from hiwm_core.limits import LimiterState

Parts = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """A state of an imagined world; a family adds its own fields.

    A family names its arrays in `ARRAYS` and its whole numbers in `NUMBERS`, and extends `to_parts`
    and `_fields` by whatever else it has.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ()
    NUMBERS: ClassVar[tuple[str, ...]] = ("step",)

    sent: NDArray[np.float64]  # [A] the limiter's memory: last target, NaN before the first
    previous_step: NDArray[np.float64]  # [A] and the step that led to it
    step: int  # control steps since the episode started

    @property
    def limiter(self) -> LimiterState:
        """The limiter's memory."""
        return LimiterState(sent=self.sent, previous_step=self.previous_step)

    def to_parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and JSON values for a blob store."""
        names = (*self.ARRAYS, "sent", "previous_step")
        return (
            {name: getattr(self, name) for name in names},
            {name: getattr(self, name) for name in self.NUMBERS},
        )

    @classmethod
    def from_parts(cls, parts: Parts, meta: Mapping[str, Any]) -> Self:
        """Return the state from the output of `to_parts`.

        Raises:
            CheckpointError: a part is missing.
        """
        try:
            return cls(**cls._fields(parts, meta))
        except KeyError as error:
            raise CheckpointError(
                f"the saved state has no {error}", where="branch store",
                remedy="it was saved by another kind of world; restore one of this session",
            ) from None

    @classmethod
    def _fields(cls, parts: Parts, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields by name; raises KeyError if a part is missing."""
        arrays = {name: parts[name] for name in (*cls.ARRAYS, "previous_step")}
        # States saved before limits worked from the last target have none; the next target then
        # starts from the measured position.
        sent = parts.get("sent", np.full(arrays["previous_step"].shape, np.nan))
        return {**arrays, "sent": sent, **{name: int(meta[name]) for name in cls.NUMBERS}}
