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

    def checkpoint(self, folder: Path) -> Path:
        """Return its file."""
        return folder / "policies" / f"{self.name}.safetensors"

    def session(self, folder: Path) -> Path:
        """Return the session in imagination that it learns from, where it learns from one."""
        kind = "rollouts" if self.post == "wm-cl" else "corrections"
        once = "" if self.branching else "-unbranched"
        return folder / "sessions" / f"{self.backbone}-s{self.seed}-{kind}{once}"

    def evaluation(self, folder: Path, world: str) -> Path:
        """Return the session folder of its evaluation."""
        return folder / "evaluations" / f"{self.name}-{world}"


def cells(budget: Budget) -> list[Cell]:
    """Return every policy judged."""
    made = [
        Cell(name=f"{backbone}-{kind}-s{seed}", backbone=backbone, set=kind, seed=seed, post=kind)
        for seed in budget.seeds for backbone in BACKBONES for kind in SETS
    ]
    # The same operator's time spent on more failure states, each corrected once.
    made.append(Cell(
        name=f"{BACKBONES[0]}-hi-wm-s{budget.seeds[0]}-unbranched", backbone=BACKBONES[0],
        set="other", seed=budget.seeds[0], post="hi-wm", branching=False,
        note="Hi-WM without branching, for equal operator seconds",
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
            *self._variants(), *self._starts_recorded(), *self._sessions(), *self._posttraining(),
            *self._evaluations(),
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
                "--output", self._world, "--steps", self._budget.world_steps, "--minutes", 600,
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

    def _sessions(self) -> Iterator[Stage]:
        """Rollouts and corrections of the base policies in imagination."""
        folder, budget = self._folder, self._budget
        for cell in cells(budget):
            session = cell.session(folder)
            policy: dict[str, object] = {
                "policy_checkpoint": self._base(cell.backbone, cell.seed),
                "world_checkpoint": self._world, "starts": self._starts("session"),
                "world": "imagination", "session_dir": session,
            }
            if cell.post == "wm-cl":
                yield Stage(
                    name=session.name,
                    command=self._launch(
                        "evaluate", **policy, record="true", trials=budget.rollouts,
                        seed=SESSION_STARTS,
                    ),
                    leaves=(session / "evaluation" / "results.json",), together="sessions",
                )
            elif cell.post == "hi-wm":
                yield Stage(
                    name=session.name,
                    command=self._launch(
                        "session", **policy, rate=0.0, device="scripted", view="false",
                        failures=1000, operator_ticks=budget.operator_ticks,
                        branches=budget.branches if cell.branching else 1, correction_ticks=200,
                        max_seconds=7200.0, seed=cell.seed,
                    ),
                    leaves=(session / "tree.sqlite",), together="sessions", anew=session,
                )

    def _posttraining(self) -> Iterator[Stage]:
        folder, budget = self._folder, self._budget
        for cell in cells(budget):
            if not cell.post:
                continue
            own: dict[str, tuple[object, ...]] = {
                "base": (),
                "wm-cl": ("--rollouts", cell.session(folder)),
                "hi-wm": ("--corrections", cell.session(folder)),
            }
            yield self._trained(
                f"post-{cell.name}", cell.checkpoint(folder), cell.post, "post-training",
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
