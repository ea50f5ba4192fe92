"""The commands of a block, in order, and their outputs."""

import sys
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from hiwm_core.task_plugin import FAILURE_DATA
from hiwm_core.tasks import Task
from hiwm_evaluation.study.budgets import Budget
from hiwm_evaluation.study.policies import (
    CORRECTED,
    OTHER_WORLD,
    REPORT_STARTS,
    SESSION_STARTS,
    TUNING_STARTS,
    WORLDS,
    Block,
    BlockKind,
    Cell,
    checked_cell,
    judged_cells,
    round_cell,
    start_cell,
    worlds_of,
)
from hiwm_evaluation.study.worlds import shipped_family

# Kinds of world-model data, in the order of scripts/collect_data's arguments.
KINDS = ("demonstration", "failure", "exploration", "edge")
# For estimates: ticks of a recorded episode, and of a session per tick of its operator.
_EPISODE_TICKS, _TICKS_PER_OPERATOR_TICK = 70, 3
# Half of the trials succeed in a quarter of the horizon.
_SHARE_OF_HORIZON = 0.65


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
    # If it fails, the block goes on without its outputs, and says so.
    optional: bool = False
    # For estimates: how many steps of which speed of `Speeds`, on one core or all.
    work: tuple[str, float] | None = None

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
        task: has a stand-in.
        budget: size of the study.
        world: the world model; the study trains it when None.
        other_world: a second world model, for the agreement of the worlds; None: none.
        weights: chosen weighting of corrections; only some blocks need it.
        spread: further words for each `scripts/rollout`, such as `--executor submitit`.

    Raises:
        ConfigError: the task has no stand-in.
    """

    def __init__(
        self, root: Path, folder: Path, task: Task, budget: Budget, *, world: Path | None = None,
        other_world: Path | None = None, weights: str = "", spread: Sequence[str] = (),
    ) -> None:
        self._root, self._folder, self._task, self._budget = root, folder, task.name, budget
        stand_in = task.stand_in()
        self._robot = stand_in.stand_in_robot
        self._weak_demonstrator = FAILURE_DATA in stand_in.data_kinds
        self._horizon = task.horizon_steps
        self._weights, self._spread = weights, spread
        self._data = folder / "data"
        self._trains_world = world is None
        self.world = world or folder / "world" / f"world_{task.name}.safetensors"
        self.other_world = other_world

    @property
    def folder(self) -> Path:
        """The work folder."""
        return self._folder

    @property
    def budget(self) -> Budget:
        """The size of the study."""
        return self._budget

    @property
    def task(self) -> str:
        """Name of the task."""
        return self._task

    def with_weights(self, weights: str) -> "Plan":
        """Return a plan with another weighting of corrections."""
        plan = copy(self)
        plan._weights = weights
        return plan

    def stages(self, block: Block) -> list[Stage]:
        """Return all stages of a block, in order; several blocks share the first ones."""
        budget, cells = self._budget, judged_cells(self._budget, block)
        made = [*self._recording(), *self._starts_recorded(block)]
        if block.kind is not BlockKind.AGREEMENT and not (
            self._trains_world and self._first == block
        ):
            made.append(self._base(start_cell(block)))
        # Stages that others wait for come first; the rest fills the gaps between parallel stages.
        if block.kind is BlockKind.SETS:
            for number in range(1, budget.rounds + 1):
                of_round = [
                    round_cell(budget, block, learns, number) for learns in reversed(CORRECTED)
                ]
                made += map(self._corrections, of_round)
                made += map(self._posttrained, of_round)
            made.append(self._rollouts(block))
        else:
            sessions = {cell.sessions(self._folder): cell for cell in cells if cell.learns}
            made += map(self._corrections, sessions.values())
        planned = {stage.name for stage in made}
        made += (
            self._posttrained(cell) if cell.learns else self._base(cell)
            for cell in cells if cell.name not in planned
        )
        worlds = worlds_of(block, other=self.other_world is not None)
        made += (self._evaluated(cell, world) for cell in cells for world in worlds)
        checked = checked_cell(budget, block)
        return made + [self._checked(checked, world) for world in WORLDS if checked]

    @property
    def _first(self) -> Block:
        """The block whose base policy provides the world model's failure data."""
        return Block(backbone=self._budget.backbones[0], seed=self._budget.seeds[0])

    def _python(self, module: str, *words: object) -> tuple[str, ...]:
        return (sys.executable, "-m", module, *map(str, words))

    def _launch(self, file: str, **arguments: object) -> tuple[str, ...]:
        return self._python(
            "hiwm_bringup.launcher", self._root / "launch" / f"{file}.launch.xml",
            f"task:={self._task}", f"robot:={self._robot}",
            *(f"{name}:={value}" for name, value in arguments.items()),
        )

    def _collected(self, name: str, *words: object, **counts: int) -> Stage:
        """Return a stage of scripts/collect_data."""
        return Stage(
            name=name,
            command=(
                str(self._root / "scripts" / "collect_data"), "--task", self._task, str(self._data),
                *(str(counts.get(kind, 0)) for kind in KINDS), *map(str, words),
            ),
            leaves=tuple(self._data / kind / "complete" for kind in counts),
            work=("graph", sum(counts.values()) * _EPISODE_TICKS),
        )

    def _recording(self) -> Iterator[Stage]:
        """Yield the demonstrations; also world-model data and training if not given."""
        episodes = self._budget.episodes
        if not self._trains_world:
            yield self._collected("data", demonstration=episodes["demonstration"])
            return
        yield self._collected(
            "data", **{kind: episodes[kind] for kind in KINDS if kind != "failure"}
        )
        yield self._base(start_cell(self._first))
        # A weak demonstrator's failures, or the policy's own.
        policy = () if self._weak_demonstrator else (
            0, start_cell(self._first).checkpoint(self._folder)
        )
        yield self._collected("failures", *policy, failure=episodes["failure"])
        family = shipped_family(self._root, self._task)
        first = self._budget.first_steps
        views = () if family != "latent" else (
            "--robot-steps", first, "--robot-minutes", 100_000,
            "--filling-steps", first, "--filling-minutes", 100_000,
            "--head-steps", first, "--head-minutes", 100_000,
        )
        yield Stage(
            name="world",
            command=self._python(
                "hiwm_learning.world_models.train", *(self._data / kind for kind in KINDS),
                "--family", family, "--output", self.world, "--steps", self._budget.world_steps,
                # Only the steps limit it: minutes depend on the machine.
                "--minutes", 100_000, "--task", self._task, *views,
            ),
            leaves=(self.world,), resume=("--resume",),
            resumes_from=self.world.with_suffix(".work"),
        )

    def _starts(self, kind: str) -> Path:
        return self._folder / "starts" / f"{kind}.npz"

    def _starts_recorded(self, block: Block) -> Iterator[Stage]:
        """Yield the recording of start frames on the stand-in, for imagination."""
        for kind, seed, count, used in (
            ("session", SESSION_STARTS, self._budget.session_starts,
             block.kind is not BlockKind.AGREEMENT),
            ("report", REPORT_STARTS, self._budget.trials,
             block.kind in (BlockKind.SETS, BlockKind.AGREEMENT)),
        ):
            if not used:
                continue
            session = self._folder / "starts" / kind
            yield Stage(
                name=f"starts-{kind}",
                command=self._launch(
                    "evaluate", world="hardware", record="true", trials=count,
                    horizon=2, seed=seed, session_dir=session,
                ),
                leaves=(session / "evaluation" / "results.json",),
                work=("graph", 4 * count),
            )
            yield Stage(
                name=f"frames-{kind}",
                command=self._python(
                    "hiwm_learning.world_models.starts", session, "--output", self._starts(kind)
                ),
                leaves=(self._starts(kind),),
            )

    def _trained(self, cell: Cell, kind: str, steps: int, *words: object) -> Stage:
        """Return a stage of scripts/posttrain."""
        budget, output = self._budget, cell.checkpoint(self._folder)
        demonstrations = cell.base[0] if cell.base else budget.demonstrations
        return Stage(
            name=cell.name,
            command=self._python(
                "hiwm_learning.posttrain", kind, "--demonstrations", self._data / "demonstration",
                "--output", output, "--cache", self._folder / "sets", "--size", budget.size,
                "--device", budget.device, "--backbone", cell.block.backbone,
                "--seed", cell.training_seed, "--episodes", demonstrations, "--steps", steps,
                *words,
            ),
            leaves=(output,), resume=("--resume",),
            resumes_from=output.with_suffix(".training.pt"), optional=cell.learns == "wm-cl",
            work=("training", steps),
        )

    def _base(self, cell: Cell) -> Stage:
        """Return the training of a base policy, from random weights except in the smoke budget."""
        budget = self._budget
        known = budget.from_shipped and cell.block.backbone == budget.backbones[0]
        shipped = self._root / "models" / f"policy_{self._task}.safetensors"
        start = ("--start-from", shipped) if known else ()
        steps = cell.base[1] if cell.base else budget.base_steps
        return self._trained(cell, "base", steps, *start)

    def _posttrained(self, cell: Cell) -> Stage:
        """Return the training of a base policy on its set."""
        budget = self._budget
        frames = cell.frames or budget.operator_frames
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
            cell, kind, budget.post_steps, *words,
            "--start-from", start_cell(cell.block).checkpoint(self._folder),
        )

    def _world_arguments(self, world: str, starts: str) -> dict[str, object]:
        if world == "hardware":
            return {"world": world, "fast": "true"}
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
            work=("graph", self._horizon * (budget.more_rollouts if more else budget.rollouts)),
        )

    def _corrections(self, cell: Cell) -> Stage:
        """Return a round of corrections of the previous round's policy."""
        budget, number = self._budget, cell.round
        before = start_cell(cell.block) if number == 1 else round_cell(
            budget, cell.block, cell.learns, number - 1
        )
        session = cell.sessions(self._folder)[-1]
        ticks = budget.operator_ticks
        if cell.block.kind is BlockKind.BRANCHING:
            # As in the other blocks, a little more than what is learnt from.
            ticks = round(max(budget.branching) * ticks / budget.operator_frames)
        # Without branches and rollback, the operator takes over in place.
        in_place = {} if cell.branched else {"rollback_steps": 0}
        return Stage(
            name=session.name,
            command=self._launch(
                "session", policy_checkpoint=before.checkpoint(self._folder), session_dir=session,
                device="scripted", view="false", failures=1000,
                operator_ticks=ticks, branches=budget.branches if cell.branched else 1,
                correction_ticks=budget.correction_ticks, max_seconds=7200.0,
                seed=cell.block.session_seed(number),
                **in_place, **self._world_arguments(CORRECTED[cell.learns], "session"),
            ),
            leaves=(session / "tree.sqlite",), cleared=session,
            work=("graph", ticks * _TICKS_PER_OPERATOR_TICK),
        )

    def _evaluated(self, cell: Cell, world: str) -> Stage:
        """Return the trials of a policy in one world, without a graph."""
        results = cell.evaluation(self._folder, world)
        model = self.other_world if world == OTHER_WORLD else self.world
        place: tuple[object, ...] = () if world == "hardware" else (
            "--world-checkpoint", model, "--starts", self._starts("report"),
        )
        tuning = cell.block.kind is BlockKind.TUNE
        return Stage(
            name=f"{cell.name}-{world}",
            command=self._python(
                "hiwm_evaluation.rollout", "--world", results.name,
                "--policy", f"{cell.name}={cell.checkpoint(self._folder)}",
                "--trials", self._budget.trials,
                "--start-seed", TUNING_STARTS if tuning else REPORT_STARTS,
                "--output", results.parents[1], "--processes", 1, "--task", self._task, *place,
                *self._spread,
            ),
            leaves=(results / "results.json",),
            work=(
                "stand_in" if world == "hardware" else "imagination",
                self._budget.trials * _SHARE_OF_HORIZON * self._horizon,
            ),
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
            work=("graph", self._budget.checked_trials * _SHARE_OF_HORIZON * self._horizon),
        )
