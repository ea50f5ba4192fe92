"""The commands of a study, in order, and what each leaves behind."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hiwm_bringup.study.budgets import Budget

BACKBONES = ("diffusion", "act")
SETS = ("base", "wm-cl", "hi-wm")
# Of the world model's data, in the order scripts/collect_data takes their numbers in.
KINDS = ("demonstration", "failure", "exploration", "edge")
WORLDS = ("hardware", "imagination")
# Starts of evaluations and of sessions are drawn apart: nothing is corrected where it is judged.
EVALUATION_STARTS, SESSION_STARTS = 1000, 2000


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command."""

    name: str
    command: tuple[str, ...]
    leaves: tuple[Path, ...]  # must be there when it has ended well
    together: str = ""  # stages of one such name, one after the other, may run side by side
    # Added when a part of the work is there already; empty where the command sees to that itself.
    resume: tuple[str, ...] = ()
    resumes_from: Path | None = None
    anew: Path | None = None  # a folder to remove first: what a part of the work left is no help


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A policy that is judged in both worlds."""

    name: str
    backbone: str
    set: str  # one of SETS, or other
    seed: int
    note: str = ""
    post: str = ""  # what it is post-trained on, one of SETS; empty: it is trained from nothing
    branching: bool = True  # whether its failure states are corrected more than once
    round: int = 1  # of corrections; it learns from this one and those before

    def checkpoint(self, folder: Path) -> Path:
        """Return its file."""
        return folder / "policies" / f"{self.name}.safetensors"

    def sessions(self, folder: Path) -> tuple[Path, ...]:
        """Return the sessions in imagination that it learns from, the last round last."""
        prefix = folder / "sessions" / f"{self.backbone}-s{self.seed}"
        if self.post == "wm-cl":
            return (Path(f"{prefix}-rollouts"),)
        if self.post != "hi-wm":
            return ()
        once = "" if self.branching else "-unbranched"
        rounds = range(1, self.round + 1)
        return tuple(Path(f"{prefix}-corrections{'' if n == 1 else f'-{n}'}{once}") for n in rounds)

    def evaluation(self, folder: Path, world: str) -> Path:
        """Return the session folder of its evaluation."""
        return folder / "evaluations" / f"{self.name}-{world}"


def corrected(budget: Budget, backbone: str, seed: int, number: int) -> Cell:
    """Return a base policy corrected for some rounds; the last round is the Hi-WM policy."""
    last = number == budget.rounds
    return Cell(
        name=f"{backbone}-hi-wm-s{seed}" + ("" if last else f"-round{number}"), backbone=backbone,
        set="hi-wm" if last else "other", seed=seed, post="hi-wm", round=number,
        note="" if last else f"Hi-WM after round {number} of {budget.rounds}",
    )


def cells(budget: Budget) -> list[Cell]:
    """Return every policy judged."""
    made = [
        corrected(budget, backbone, seed, budget.rounds) if kind == "hi-wm" else Cell(
            name=f"{backbone}-{kind}-s{seed}", backbone=backbone, set=kind, seed=seed, post=kind
        )
        for seed in budget.seeds for backbone in BACKBONES for kind in SETS
    ]
    backbone, seed = BACKBONES[0], budget.seeds[0]
    made += [corrected(budget, backbone, seed, number) for number in range(1, budget.rounds)]
    # The same operator's time spent on more failure states, each corrected once.
    made.append(Cell(
        name=f"{backbone}-hi-wm-s{seed}-unbranched", backbone=backbone, set="other", seed=seed,
        post="hi-wm", branching=False,
        note="Hi-WM without branching, for the operator seconds of round 1",
    ))
    return made + [
        Cell(
            name=f"{variant.backbone}-{variant.name}", backbone=variant.backbone, set="other",
            seed=100 + number,
            note=f"{variant.episodes} demonstrations, {variant.steps} steps",
        )
        for number, variant in enumerate(budget.variants)
    ]


class Plan:
    """The stages of a study.

    Args:
        root: of the workspace: launch/ and scripts/ are there.
        folder: of the study.
        task: name.
        budget: how much of everything.
    """

    def __init__(self, root: Path, folder: Path, task: str, budget: Budget) -> None:
        self._root, self._folder, self._task, self._budget = root, folder, task, budget
        self._world = folder / "world" / f"world_{task}.safetensors"
        self._data = folder / "data"

    def stages(self) -> list[Stage]:
        """Return all stages, in order."""
        first, *others = self._budget.seeds
        return [
            self._recording(),
            # The policy whose failures the world model learns from must be there first.
            *self._bases(first, "bases"), self._failures(), self._world_training(),
            *(stage for seed in others for stage in self._bases(seed, "world and policies")),
            *self._variants(), *self._starts_recorded(), *self._rollouts(), *self._corrections(1),
            *(
                stage for number in range(1, self._budget.rounds) for stage in
                (*self._rounds_trained(number), *self._corrections(number + 1))
            ),
            *self._posttraining(), *self._evaluations(),
        ]

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

    def _recording(self) -> Stage:
        """What an expert shows and what strays from the task; failures need a policy first."""
        episodes = self._budget.episodes
        return self._collected(
            "data", 0, **{kind: episodes[kind] for kind in KINDS if kind != "failure"}
        )

    def _failures(self) -> Stage:
        first = self._base(BACKBONES[0], self._budget.seeds[0])
        return self._collected("failures", 0, first, failure=self._budget.episodes["failure"])

    def _world_training(self) -> Stage:
        return Stage(
            name="world",
            command=self._python(
                "hiwm_learning.world_model.train", *(self._data / kind for kind in KINDS),
                "--output", self._world, "--steps", self._budget.world_steps,
                # Steps alone shall end it: minutes depend on the machine.
                "--minutes", 100_000,
                "--task", self._task,
            ),
            leaves=(self._world,), resume=("--resume",),
            resumes_from=self._world.with_suffix(".work"), together="world and policies",
        )

    def _starts(self, kind: str) -> Path:
        return self._folder / "starts" / f"{kind}.npz"

    def _base(self, backbone: str, seed: int) -> Path:
        return self._folder / "policies" / f"{backbone}-start-s{seed}.safetensors"

    def _trained(self, name: str, output: Path, kind: str, together: str, *words: object) -> Stage:
        """Return a stage of scripts/posttrain."""
        return Stage(
            name=name,
            command=self._python(
                "hiwm_learning.posttrain", kind, "--demonstrations", self._data / "demonstration",
                "--output", output, "--cache", self._folder / "sets", "--size", self._budget.size,
                "--device", self._budget.device, *words,
            ),
            leaves=(output,), resume=("--resume",),
            resumes_from=output.with_suffix(".training.pt"), together=together,
        )

    def _bases(self, seed: int, together: str) -> Iterator[Stage]:
        budget = self._budget
        for backbone in BACKBONES:
            yield self._trained(
                f"base-{backbone}-s{seed}", self._base(backbone, seed), "base", together,
                "--backbone", backbone, "--seed", seed, "--steps", budget.base_steps,
                "--episodes", budget.demonstrations,
            )

    def _variants(self) -> Iterator[Stage]:
        budget = self._budget
        named = {cell.name: cell for cell in cells(budget)}
        for variant in budget.variants:
            cell = named[f"{variant.backbone}-{variant.name}"]
            yield self._trained(
                f"variant-{cell.name}", cell.checkpoint(self._folder), "base", "world and policies",
                "--backbone", variant.backbone, "--seed", cell.seed, "--steps", variant.steps,
                "--episodes", variant.episodes,
            )

    def _starts_recorded(self) -> Iterator[Stage]:
        """First frames from the stand-in, for trials and sessions in imagination."""
        folder, budget = self._folder, self._budget
        first = self._base(BACKBONES[0], budget.seeds[0])
        for kind, seed, count in (
            ("evaluation", EVALUATION_STARTS, budget.trials),
            ("session", SESSION_STARTS, max(budget.rollouts, 100)),
        ):
            session = folder / "starts" / kind
            yield Stage(
                name=f"starts-{kind}",
                command=self._launch(
                    "evaluate", world="hardware", robot="standin", record="true", trials=count,
                    horizon=2, seed=seed, session_dir=session, policy_checkpoint=first,
                ),
                leaves=(session / "evaluation" / "results.json",),
            )
            yield Stage(
                name=f"frames-{kind}",
                command=self._python(
                    "hiwm_learning.world_model.starts", session, "--output", self._starts(kind)
                ),
                leaves=(self._starts(kind),),
            )

    def _imagined(self, file: str, policy: Path, session: Path, **arguments: object) -> Stage:
        """Return a stage in imagination, a part of which is no help where it cannot be resumed."""
        evaluated = session / "evaluation" / "results.json"
        return Stage(
            name=session.name, together="sessions",
            command=self._launch(
                file, policy_checkpoint=policy, world_checkpoint=self._world,
                starts=self._starts("session"), world="imagination", session_dir=session,
                **arguments,
            ),
            leaves=(evaluated if file == "evaluate" else session / "tree.sqlite",),
            anew=None if file == "evaluate" else session,
        )

    def _rollouts(self) -> Iterator[Stage]:
        """The base policies' own, for WM-CL."""
        for cell in cells(self._budget):
            if cell.post == "wm-cl":
                base = self._base(cell.backbone, cell.seed)
                yield self._imagined(
                    "evaluate", base, *cell.sessions(self._folder), record="true",
                    trials=self._budget.rollouts, seed=SESSION_STARTS,
                )

    def _corrections(self, number: int) -> Iterator[Stage]:
        """One round: what the policies of the round before still do wrong is corrected."""
        budget = self._budget
        rounds = [
            corrected(budget, backbone, seed, number)
            for seed in budget.seeds for backbone in BACKBONES
        ]
        for cell in (*rounds, *(c for c in cells(budget) if not c.branching and c.round == number)):
            before = self._base(cell.backbone, cell.seed) if number == 1 else corrected(
                budget, cell.backbone, cell.seed, number - 1
            ).checkpoint(self._folder)
            yield self._imagined(
                "session", before, cell.sessions(self._folder)[-1], rate=0.0, device="scripted",
                view="false", failures=1000, operator_ticks=budget.operator_ticks,
                branches=budget.branches if cell.branching else 1, correction_ticks=200,
                max_seconds=7200.0, seed=cell.seed + 10 * (number - 1),
            )

    def _rounds_trained(self, number: int) -> Iterator[Stage]:
        """The policies that the next round is about."""
        for seed in self._budget.seeds:
            for backbone in BACKBONES:
                yield self._posttrained(
                    corrected(self._budget, backbone, seed, number), f"round {number}"
                )

    def _posttraining(self) -> Iterator[Stage]:
        for cell in cells(self._budget):
            if cell.post and (not cell.branching or cell.set in SETS):
                yield self._posttrained(cell, "post-training")

    def _posttrained(self, cell: Cell, together: str) -> Stage:
        """Return the training of a base policy on its set."""
        budget = self._budget
        sessions = cell.sessions(self._folder)
        own: dict[str, tuple[object, ...]] = {
            "base": (), "wm-cl": ("--rollouts", *sessions),
            "hi-wm": ("--weights", budget.weights, "--corrections", *sessions),
        }
        return self._trained(
            f"post-{cell.name}", cell.checkpoint(self._folder), cell.post, together,
            *own[cell.post], "--backbone", cell.backbone, "--seed", cell.seed,
            "--steps", budget.post_steps, "--episodes", budget.demonstrations,
            "--start-from", self._base(cell.backbone, cell.seed),
        )

    def _evaluations(self) -> Iterator[Stage]:
        for world in WORLDS:
            for cell in cells(self._budget):
                session = cell.evaluation(self._folder, world)
                place: dict[str, object] = {"robot": "standin"} if world == "hardware" else {
                    "world_checkpoint": self._world, "starts": self._starts("evaluation"),
                }
                yield Stage(
                    name=f"{world}-{cell.name}",
                    command=self._launch(
                        "evaluate", world=world, trials=self._budget.trials,
                        seed=EVALUATION_STARTS, session_dir=session,
                        policy_checkpoint=cell.checkpoint(self._folder), **place,
                    ),
                    leaves=(session / "evaluation" / "results.json",), together="evaluations",
                )
