"""The commands of a block, in order, and their outputs."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hiwm_evaluation.study.budgets import Budget
from hiwm_evaluation.study.policies import (
    CORRECTED,
    REPORT_STARTS,
    SESSION_STARTS,
    TUNING_STARTS,
    WORLDS,
    Block,
    Cell,
    checked_cell,
    judged_cells,
    round_cell,
    start_cell,
)

# Kinds of world-model data, in the order of scripts/collect_data's arguments.
KINDS = ("demonstration", "failure", "exploration", "edge")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command. It waits for earlier stages whose outputs it reads."""

    name: str
    command: tuple[str, ...]
    leaves: tuple[Path, ...]  # must exist after success
    # Added if the work is partly done; empty if the command resumes by itself.
    resume: tuple[str, ...] = ()
    resumes_from: Path | None = None
    cleared: Path | None = None  # a folder to remove first, for work that cannot be resumed

    def waits_for(self, other: "Stage") -> bool:
        """Return whether the command reads an output of another stage, or its folder."""
        named = [Path(word.rpartition("=")[2]) for word in self.command]
        read = [
            path for path in named
            # Other stages may write to its output folder as well.
            if path.is_absolute() and not any(leaf.is_relative_to(path) for leaf in self.leaves)
        ]
        return any(leaf.is_relative_to(path) for path in read for leaf in other.leaves)


class Plan:
    """The stages of a study.

    Args:
        root: of the workspace, with launch/, scripts/ and models/.
        folder: work folder of the study.
        task: name.
        budget: size of the study.
        world: the world model; the study trains it when None.
        weights: chosen weighting of corrections; not needed for the block `tune`.
        spread: further words for each `scripts/rollout`, such as `--executor submitit`.
    """

    def __init__(
        self, root: Path, folder: Path, task: str, budget: Budget, *, world: Path | None = None,
        weights: str = "", spread: Sequence[str] = (),
    ) -> None:
        self._root, self._folder, self._task, self._budget = root, folder, task, budget
        self._weights, self._spread = weights, spread
        self._data = folder / "data"
        self._trains_world = world is None
        self.world = world or folder / "world" / f"world_{task}.safetensors"

    def stages(self, block: Block) -> list[Stage]:
        """Return all stages of a block, in order; several blocks share the first ones."""
        made = [
            *self._recording(), *self._starts_recorded(),
            *([] if self._trains_world and self._first == block else [self._base(block)]),
        ]
        if block.tuning:
            tuned = judged_cells(self._budget, block)
            return [
                *made, self._corrections(tuned[0]), *map(self._posttrained, tuned),
                *(self._evaluated(cell, "hardware") for cell in tuned),
            ]
        # Stages that others wait for come first; the rest fills the gaps between parallel stages.
        for number in range(1, self._budget.rounds + 1):
            of_round = [
                round_cell(self._budget, block, learns, number) for learns in reversed(CORRECTED)
            ]
            made += map(self._corrections, of_round)
            made += map(self._posttrained, of_round)
        cells = judged_cells(self._budget, block)
        made.append(self._rollouts(block))
        made += (
            self._posttrained(cell) for cell in cells
            if cell.learns and cell.learns not in CORRECTED
        )
        made += (self._evaluated(cell, world) for cell in cells for world in WORLDS)
        made += (self._checked(checked_cell(self._budget, block), world) for world in WORLDS)
        return made

    @property
    def _first(self) -> Block:
        """The block whose base policy provides the world model's failure data."""
        return Block(backbone=self._budget.backbones[0], seed=self._budget.seeds[0])

    def _python(self, module: str, *words: object) -> tuple[str, ...]:
        return (sys.executable, "-m", module, *map(str, words))

    def _launch(self, file: str, **arguments: object) -> tuple[str, ...]:
        return self._python(
            "hiwm_bringup.launcher", self._root / "launch" / f"{file}.launch.xml",
            *(f"{name}:={value}" for name, value in arguments.items()),
        )

    def _collected(self, name: str, *words: object, **counts: int) -> Stage:
        """Return a stage of scripts/collect_data."""
        return Stage(
            name=name,
            command=(
                str(self._root / "scripts" / "collect_data"), str(self._data),
                *(str(counts.get(kind, 0)) for kind in KINDS), *map(str, words),
            ),
            leaves=tuple(self._data / kind / "complete" for kind in counts),
        )

    def _recording(self) -> Iterator[Stage]:
        """Yield the demonstrations; also world-model data and training if not given."""
        episodes = self._budget.episodes
        if not self._trains_world:
            yield self._collected("data", 0, demonstration=episodes["demonstration"])
            return
        yield self._collected(
            "data", 0, **{kind: episodes[kind] for kind in KINDS if kind != "failure"}
        )
        yield self._base(self._first)
        policy = start_cell(self._first).checkpoint(self._folder)
        yield self._collected("failures", 0, policy, failure=episodes["failure"])
        yield Stage(
            name="world",
            command=self._python(
                "hiwm_learning.world_models.train", *(self._data / kind for kind in KINDS),
                "--output", self.world, "--steps", self._budget.world_steps,
                # Only the steps limit it: minutes depend on the machine.
                "--minutes", 100_000, "--task", self._task,
            ),
            leaves=(self.world,), resume=("--resume",),
            resumes_from=self.world.with_suffix(".work"),
        )

    def _starts(self, kind: str) -> Path:
        return self._folder / "starts" / f"{kind}.npz"

    def _starts_recorded(self) -> Iterator[Stage]:
        """Yield the recording of start frames on the stand-in, for imagination."""
        for kind, seed, count in (
            ("session", SESSION_STARTS, self._budget.session_starts),
            ("report", REPORT_STARTS, self._budget.trials),
        ):
            session = self._folder / "starts" / kind
            yield Stage(
                name=f"starts-{kind}",
                command=self._launch(
                    "evaluate", world="hardware", robot="standin", record="true", trials=count,
                    horizon=2, seed=seed, session_dir=session,
                ),
                leaves=(session / "evaluation" / "results.json",),
            )
            yield Stage(
                name=f"frames-{kind}",
                command=self._python(
                    "hiwm_learning.world_models.starts", session, "--output", self._starts(kind)
                ),
                leaves=(self._starts(kind),),
            )

    def _trained(self, cell: Cell, kind: str, *words: object) -> Stage:
        """Return a stage of scripts/posttrain."""
        budget, output = self._budget, cell.checkpoint(self._folder)
        return Stage(
            name=cell.name,
            command=self._python(
                "hiwm_learning.posttrain", kind, "--demonstrations", self._data / "demonstration",
                "--output", output, "--cache", self._folder / "sets", "--size", budget.size,
                "--device", budget.device, "--backbone", cell.block.backbone,
                "--seed", cell.block.seed, "--episodes", budget.demonstrations, *words,
            ),
            leaves=(output,), resume=("--resume",),
            resumes_from=output.with_suffix(".training.pt"),
        )

    def _base(self, block: Block) -> Stage:
        """Return the training of a base policy, from random weights except in the smoke budget."""
        budget = self._budget
        known = budget.from_shipped and block.backbone == budget.backbones[0]
        shipped = self._root / "models" / f"policy_{self._task}.safetensors"
        start = ("--start-from", shipped) if known else ()
        return self._trained(start_cell(block), "base", "--steps", budget.base_steps, *start)

    def _posttrained(self, cell: Cell) -> Stage:
        """Return the training of a base policy on its set."""
        budget = self._budget
        frames = budget.operator_frames
        sessions = cell.sessions(self._folder)
        corrections = (
            "--corrections", *sessions, "--correction-frames", frames,
            "--weights", cell.weights or self._weights,
        )
        rollouts = (
            "--rollouts", *sessions, *(() if cell.all_rollouts else ("--trials", budget.rollouts)),
            *(("--contested",) if cell.contested else ()),
        )
        own: dict[str, tuple[str, tuple[object, ...]]] = {
            "base": ("base", ()), "wm-cl": ("wm-cl", rollouts),
            "demonstrations": ("base", ("--further-frames", frames * budget.rounds)),
            "stand-in": ("hi-wm", corrections), "hi-wm": ("hi-wm", corrections),
        }
        kind, words = own[cell.learns]
        return self._trained(
            cell, kind, *words, "--steps", budget.post_steps,
            "--start-from", start_cell(cell.block).checkpoint(self._folder),
        )

    def _world_arguments(self, world: str, starts: str) -> dict[str, object]:
        if world == "hardware":
            return {"world": world, "robot": "standin", "fast": "true"}
        return {
            "world": world, "rate": 0.0, "world_checkpoint": self.world,
            "starts": self._starts(starts),
        }

    def _rollouts(self, block: Block) -> Stage:
        """Return the rollouts of a base policy in imagination, for WM-CL."""
        budget = self._budget
        session = self._folder / "sessions" / f"{block.backbone}-s{block.seed}-rollouts"
        more = block.name in budget.with_more_rollouts
        return Stage(
            name=session.name,
            command=self._launch(
                "evaluate", policy_checkpoint=start_cell(block).checkpoint(self._folder),
                session_dir=session, record="true", seed=SESSION_STARTS,
                trials=budget.more_rollouts if more else budget.rollouts,
                **self._world_arguments("imagination", "session"),
            ),
            leaves=(session / "evaluation" / "results.json",),
        )

    def _corrections(self, cell: Cell) -> Stage:
        """Return a round of corrections of the previous round's policy."""
        budget, number = self._budget, cell.round
        before = start_cell(cell.block) if number == 1 else round_cell(
            budget, cell.block, cell.learns, number - 1
        )
        session = cell.sessions(self._folder)[-1]
        return Stage(
            name=session.name,
            command=self._launch(
                "session", policy_checkpoint=before.checkpoint(self._folder), session_dir=session,
                device="scripted", view="false", failures=1000,
                operator_ticks=budget.operator_ticks, branches=budget.branches,
                correction_ticks=200, max_seconds=7200.0, seed=cell.block.session_seed(number),
                **self._world_arguments(CORRECTED[cell.learns], "session"),
            ),
            leaves=(session / "tree.sqlite",), cleared=session,
        )

    def _evaluated(self, cell: Cell, world: str) -> Stage:
        """Return the trials of a policy in one world, without a graph."""
        results = cell.evaluation(self._folder, world)
        place: tuple[object, ...] = () if world == "hardware" else (
            "--world-checkpoint", self.world, "--starts", self._starts("report"),
        )
        return Stage(
            name=f"{cell.name}-{world}",
            command=self._python(
                "hiwm_evaluation.rollout", "--world", results.name,
                "--policy", f"{cell.name}={cell.checkpoint(self._folder)}",
                "--trials", self._budget.trials,
                "--start-seed", TUNING_STARTS if cell.block.tuning else REPORT_STARTS,
                "--output", results.parents[1], "--processes", 1, "--task", self._task, *place,
                *self._spread,
            ),
            leaves=(results / "results.json",),
        )

    def _checked(self, cell: Cell, world: str) -> Stage:
        """Return the first trials of a policy, repeated through the graph."""
        results = cell.check(self._folder, world)
        return Stage(
            name=f"check-{cell.name}-{world}",
            command=self._launch(
                "evaluate", trials=self._budget.checked_trials, session_dir=results.parent,
                seed=REPORT_STARTS, policy_checkpoint=cell.checkpoint(self._folder),
                **self._world_arguments(world, "report"),
            ),
            leaves=(results / "results.json",),
        )
