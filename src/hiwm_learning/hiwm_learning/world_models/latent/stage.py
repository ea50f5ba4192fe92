"""A stage of training as `training_loop` runs it: optimiser, averaged weights, exact resume."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from hiwm_core.errors import CheckpointError
from hiwm_learning.parallel import ALONE, Team
from hiwm_learning.training_loop import rate_factor

AVERAGE_DECAY = 0.999
GRADIENT_NORM = 1.0
WEIGHT_DECAY = 1e-4

T = TypeVar("T")
Export = Callable[[int, float, dict[str, float]], None]
# (generator, step, progress) -> named losses; "loss" is the one to minimise.
Losses = Callable[[torch.Generator, int, float], dict[str, Tensor]]
# Keeps the random numbers of a step's parts apart.
_PART_SEED = 7_368_787


class Remembered(Protocol):
    """What a stage carries from step to step besides weights."""

    def state(self) -> dict[str, Tensor]:
        """Return all that `load_state` needs."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""


class Stage:
    """A `training_loop.Trainable`.

    Args:
        module: what is trained.
        losses: of one step, of each part of its batch that this process computes; the generator on
            the CPU is a function of seed, step and part.
        rate: highest learning rate.
        seed: of everything random.
        device: of the module.
        measure: returns scores on held-out data; called with the averaged weights in place.
        on_export: writes the checkpoint for use elsewhere; likewise.
        remembered: further state of `losses`.
        team: the processes that train together.
    """

    def __init__(
        self, module: nn.Module, losses: Sequence[Losses], *, rate: float, seed: int,
        device: torch.device, measure: Callable[[], dict[str, float]],
        on_export: Export | None = None, remembered: Remembered | None = None, team: Team = ALONE,
    ) -> None:
        self._module, self._losses, self._team = module, losses, team
        self._rate, self._seed, self._device = rate, seed, device
        self._measure, self._on_export, self._remembered = measure, on_export, remembered
        self._optimiser = torch.optim.AdamW(
            module.parameters(), lr=rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98)
        )
        team.share(module)
        self._average = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def train_step(self, step: int, progress: float) -> dict[str, float]:
        """Take one optimiser step."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * rate_factor(progress, step)
        self._optimiser.zero_grad(set_to_none=True)
        for part, losses in zip(self._team.mine, self._losses, strict=True):
            seed = self._seed * 1_000_003 + step + _PART_SEED * part
            # A GPU computes in half of the bits; a CPU would only become slower.
            with torch.autocast(
                self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"
            ):
                found = losses(torch.Generator().manual_seed(seed), step, progress)
            if found["loss"].requires_grad:  # with cameras that all move, no robot is learned
                (found["loss"] / self._team.parts).backward()
        self._team.sum_gradients(self._module.parameters())
        nn.utils.clip_grad_norm_(self._module.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self._module.state_dict().items():
                self._average[name].lerp_(value, 1.0 - decay)
        return {name: float(value.detach()) for name, value in found.items()}

    def held_out(self) -> dict[str, float]:
        """Return scores on held-out data, of the averaged weights."""
        return self._averaged(self._measure)

    def state(self) -> dict[str, Any]:
        """Return everything that resuming needs."""
        return {
            "module": self._module.state_dict(), "average": self._average,
            "optimiser": self._optimiser.state_dict(),
            "remembered": {} if self._remembered is None else self._remembered.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self._module.load_state_dict(state["module"])
        for name, value in state["average"].items():
            self._average[name].copy_(value)
        self._optimiser.load_state_dict(state["optimiser"])
        self._team.share(self._module)
        self._team.share_values(self._average.values())
        if self._remembered is not None:
            self._remembered.load_state(state["remembered"])

    def export(self, step: int, elapsed_s: float, scores: dict[str, float]) -> None:
        """Write the checkpoint for use elsewhere."""
        write = self._on_export
        if write is not None:
            self._averaged(lambda: write(step, elapsed_s, scores))

    def take_average(self) -> None:
        """Put the averaged weights in place for good."""
        self._module.load_state_dict(self._average)

    def _averaged(self, call: Callable[[], T]) -> T:
        kept = {k: v.clone() for k, v in self._module.state_dict().items()}
        self._module.load_state_dict(self._average)
        self._module.eval()
        try:
            with torch.no_grad():
                return call()
        finally:
            self._module.load_state_dict(kept)
            self._module.train()


class Pools:
    """The state of the pools of a step's parts; the first one's names stand alone."""

    def __init__(self, pools: Sequence[Remembered]) -> None:
        self._pools = pools

    def state(self) -> dict[str, Tensor]:
        """Return all that `load_state` needs."""
        return {
            f"{place or ''}{name}": value
            for place, pool in enumerate(self._pools) for name, value in pool.state().items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state; raises CheckpointError if it is of another number of parts."""
        if set(state) != set(self.state()):
            raise CheckpointError(
                "the run to resume had another number of parts or processes, or another version",
                where="training state", remedy="resume with as many, or train without --resume",
            )
        for place, pool in enumerate(self._pools):
            pool.load_state({name: state[f"{place or ''}{name}"] for name in pool.state()})
