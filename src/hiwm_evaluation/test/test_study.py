"""What a study plans: which stages make what, and from which starts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiwm_evaluation.study.__main__ import main
from hiwm_evaluation.study.budgets import BUDGETS, Budget
from hiwm_evaluation.study.policies import (
    POST_SETS,
    REPORT_STARTS,
    SESSION_STARTS,
    TUNE_BLOCK,
    TUNING_STARTS,
    Block,
    BlockKind,
    blocks,
    judged_cells,
)
from hiwm_evaluation.study.stages import Plan, Stage
from hiwm_evaluation.trials import StartValues, sampled_starts
from hiwm_test_support.shipped import TASK, WORLD_MODEL

ROOT = Path(__file__).parents[3]


def planned(budget: Budget, folder: Path, block: Block, world: Path | None) -> list[Stage]:
    return Plan(ROOT, folder, TASK, budget, world=world, weights="rac").stages(block)


@pytest.mark.parametrize("world_given", [True, False])
@pytest.mark.parametrize("budget", sorted(BUDGETS))
def test_a_plan_makes_before_it_uses(budget: str, world_given: bool, tmp_path: Path) -> None:
    """Every path of the study in a stage's command is an earlier output, or its own."""
    world = WORLD_MODEL if world_given else None
    for block in blocks(BUDGETS[budget]):
        made: list[Path] = []
        stages = planned(BUDGETS[budget], tmp_path, block, world)
        assert len({stage.name for stage in stages}) == len(stages)
        for stage in stages:
            own = [*stage.leaves, *(path.parent for path in stage.leaves)]
            for word in stage.command:
                value = Path(word.rpartition("=")[2])
                if not value.is_relative_to(tmp_path) or value == tmp_path / "sets":
                    continue
                known = [*made, *own]
                assert any(
                    path == value or path.is_relative_to(value) for path in known
                ), (stage.name, word)
            made += stage.leaves
        assert any(stage.name == "world" for stage in stages) is not world_given


@pytest.mark.parametrize("budget", sorted(BUDGETS))
def test_blocks_share_only_what_is_the_same(budget: str, tmp_path: Path) -> None:
    """Work folders are shared by blocks, so equal names must be equal commands."""
    seen: dict[str, Stage] = {}
    for block in blocks(BUDGETS[budget]):
        for stage in planned(BUDGETS[budget], tmp_path, block, None):
            assert seen.setdefault(stage.name, stage) == stage


def test_there_are_enough_policies_for_a_correlation() -> None:
    for name in ("small", "full"):
        budget = BUDGETS[name]
        cells = [
            cell for block in blocks(budget) if block.kind is not BlockKind.TUNE
            for cell in judged_cells(budget, block)
        ]
        assert len({cell.name for cell in cells}) == len(cells) >= 40
        keys = [(c.block.backbone, c.set, c.block.seed) for c in cells if c.set != "other"]
        assert len(set(keys)) == len(keys)
        apart = [cell for cell in cells if cell.block.kind is BlockKind.AGREEMENT]
        assert len({(c.block.backbone, c.training_seed) for c in apart}) == len(apart) >= 16
        assert len({cell.base for cell in apart}) >= 8
        for block in blocks(budget):
            sets = {cell.set for cell in judged_cells(budget, block)}
            if block.kind is BlockKind.SETS:
                assert sets - {"other"} == {"start", *POST_SETS}


def test_a_later_round_corrects_the_policy_of_the_previous_round(tmp_path: Path) -> None:
    budget = BUDGETS["small"]
    assert budget.rounds == 2
    stages = {
        stage.name: stage.command
        for stage in planned(budget, tmp_path, Block(backbone="act", seed=1), None)
    }
    for learns, world in (("hi-wm", "imagination"), ("stand-in", "hardware")):
        policy = tmp_path / "policies" / f"act-{learns}-s1-round1.safetensors"
        corrected = stages[f"act-s1-{learns}-2"]
        assert f"policy_checkpoint:={policy}" in corrected
        assert f"world:={world}" in corrected
        assert f"operator_ticks:={budget.operator_ticks}" in corrected
        last = stages[f"act-{learns}-s1"]
        for session in (f"act-s1-{learns}-1", f"act-s1-{learns}-2"):
            assert str(tmp_path / "sessions" / session) in last
    # Both kinds of corrections have equal arguments, except for the world and its settings.
    imagined, real = (
        {word for word in stages[f"act-s1-{learns}-1"] if "_dir" not in word}
        for learns in ("hi-wm", "stand-in")
    )
    differing = {word.partition(":=")[0] for word in imagined ^ real}
    assert differing == {"world", "world_checkpoint", "starts", "rate", "fast"}


def test_stages_wait_only_for_their_inputs_in_a_plan(tmp_path: Path) -> None:
    stages = {
        stage.name: stage
        for stage in planned(BUDGETS["small"], tmp_path, Block(backbone="act", seed=1), None)
    }

    def waits(name: str) -> set[str]:
        return {other for other in stages if stages[name].waits_for(stages[other])}

    assert waits("act-hi-wm-s1-imagination") == {"act-hi-wm-s1", "world", "frames-report"}
    assert waits("act-hi-wm-s1-hardware") == {"act-hi-wm-s1"}
    assert waits("act-s1-stand-in-2") == {"act-stand-in-s1-round1"}
    assert waits("act-s1-hi-wm-1") == {"act-start-s1", "world", "frames-session"}
    assert waits("act-demonstrations-s1") == {"act-start-s1", "data"}
    assert waits("frames-report") == {"starts-report"}
    assert waits("world") == {"data", "failures"}


def test_what_runs_side_by_side_never_writes_to_one_folder(tmp_path: Path) -> None:
    """A rollout and a session each hold a lock on their folder."""
    stages = planned(BUDGETS["small"], tmp_path, Block(backbone="diffusion", seed=0), None)
    folders = []
    for stage in stages:
        folders += [w for w in stage.command if w.startswith("session_dir:=")]
        if "hiwm_evaluation.rollout" in stage.command:
            folders.append(stage.command[stage.command.index("--output") + 1])
    assert len(set(folders)) == len(folders) >= 20


def test_shards_are_asked_for_of_every_rollout_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [TASK.name, "--budget", "smoke", "--folder", str(tmp_path), "--list"]
    assert main([*words, "--shards", "3", "--slurm", "partition=gpu"]) == 0
    asked = "--executor submitit --shards 3 --slurm partition=gpu"
    for line in capsys.readouterr().out.splitlines():
        assert (asked in line) == ("hiwm_evaluation.rollout" in line)


def test_every_set_gets_the_same_steps_and_frames(tmp_path: Path) -> None:
    budget = BUDGETS["small"]
    stages = {
        stage.name: stage.command
        for stage in planned(budget, tmp_path, Block(backbone="act", seed=1), None)
    }

    def option(name: str, word: str) -> str:
        command = stages[f"act-{name}-s1"]
        return command[command.index(word) + 1]

    for name in POST_SETS:
        assert option(name, "--start-from") == str(
            tmp_path / "policies" / "act-start-s1.safetensors"
        )
        assert option(name, "--steps") == str(budget.post_steps)
        assert option(name, "--episodes") == str(budget.demonstrations)
    frames = int(option("demonstrations", "--further-frames"))
    for name in ("hi-wm", "stand-in"):
        assert int(option(name, "--correction-frames")) * budget.rounds == frames
        assert option(name, "--weights") == "rac"
    assert budget.operator_ticks >= budget.operator_frames


@pytest.mark.parametrize("budget", sorted(BUDGETS))
def test_choices_and_corrections_do_not_use_report_starts(budget: str, tmp_path: Path) -> None:
    """Start poses of tuning, sessions, reports and earlier studies do not overlap."""
    task, sizes = TASK, BUDGETS[budget]

    def evaluated(seed: int, count: int) -> set[StartValues]:
        # Resets without a pose draw it from their own seed, which counts up from the first.
        single = {sampled_starts(task, seed + number, 1)[0] for number in range(count)}
        return {*sampled_starts(task, seed, count), *single}

    used = {
        "earlier": evaluated(1000, 100), "tuning": evaluated(TUNING_STARTS, sizes.trials),
        "report": evaluated(REPORT_STARTS, sizes.trials),
        "session": set(sampled_starts(task, SESSION_STARTS, sizes.session_starts)),
        "demonstrations": evaluated(0, 200),
    }
    for block in blocks(sizes):
        for number in range(1, sizes.rounds + 1):
            used["session"] |= evaluated(block.session_seed(number), 100)
    for name, poses in used.items():
        others = set().union(*(more for other, more in used.items() if other != name))
        assert not poses & others, name
    # And the stages use these seeds.
    for block in blocks(sizes):
        for stage in planned(sizes, tmp_path, block, None):
            if stage.name.endswith(("-hardware", "-imagination")):
                seed = str(TUNING_STARTS if block.name == TUNE_BLOCK else REPORT_STARTS)
                assert seed in stage.command or f"seed:={seed}" in stage.command


@given(st.integers(0, 99), st.integers(1, 2), st.integers(0, 99), st.integers(1, 2))
def test_rounds_of_corrections_have_separate_starts(a: int, n: int, b: int, m: int) -> None:
    first, second = (
        Block(backbone="act", seed=seed).session_seed(number) for seed, number in ((a, n), (b, m))
    )
    assert first == second if (a, n) == (b, m) else abs(first - second) >= 1000
    assert min(first, second) > REPORT_STARTS + 1000


def test_branches_cost_the_same_steps_and_frames_as_corrections_in_place(tmp_path: Path) -> None:
    budget = BUDGETS["small"]
    block = next(block for block in blocks(budget) if block.kind is BlockKind.BRANCHING)
    stages = {stage.name: stage for stage in planned(budget, tmp_path, block, WORLD_MODEL)}
    branched, in_place = (
        set(stages[f"diffusion-s300-{how}"].command) for how in ("branched", "in-place")
    )
    differing = {word for word in branched ^ in_place if "session_dir" not in word}
    assert differing == {"branches:=3", "branches:=1", "rollback_steps:=0"}
    for frames in budget.branching:
        words = [stages[f"diffusion-{how}-{frames}"].command for how in ("branched", "in-place")]
        only = {word for word in {*words[0]} - {*words[1]} if "policies" not in word}
        assert only == {str(tmp_path / "sessions" / "diffusion-s300-branched")}
        assert words[0][words[0].index("--correction-frames") + 1] == str(frames)
    assert not any(name.endswith("-imagination") for name in stages)


def test_policies_of_agreement_are_also_tried_in_a_second_world_model(tmp_path: Path) -> None:
    budget, other = BUDGETS["small"], tmp_path / "other.safetensors"
    block = next(block for block in blocks(budget) if block.kind is BlockKind.AGREEMENT)
    stages = Plan(
        ROOT, tmp_path, TASK, budget, world=WORLD_MODEL, other_world=other
    ).stages(block)
    tried = [stage for stage in stages if stage.name.endswith("-other")]
    assert len(tried) == len(budget.agreement)
    for stage in tried:
        first = next(s for s in stages if s.name == stage.name.replace("-other", "-imagination"))
        assert str(other) in stage.command and str(WORLD_MODEL) in first.command
        assert len(set(stage.command) ^ set(first.command)) == 4  # world model, output folder
    assert not any("session" in stage.name for stage in stages)


def test_launch_arguments_are_declared(tmp_path: Path) -> None:
    for block in blocks(BUDGETS["small"]):
        for stage in planned(BUDGETS["small"], tmp_path, block, None):
            files = [Path(word) for word in stage.command if word.endswith(".launch.xml")]
            for file in files:
                text = file.read_text() + (ROOT / "config" / "defaults.launch.xml").read_text()
                for word in stage.command:
                    name, value, _ = word.partition(":=")
                    assert not value or f'<arg name="{name}"' in text, (stage.name, word)


@pytest.mark.parametrize("option", ["--folder", "--results"])
def test_a_folder_that_is_no_study_is_refused_and_left_as_it_is(
    tmp_path, capsys, monkeypatch, option
):
    monkeypatch.setenv("HIWM_ROOT", str(Path(__file__).resolve().parents[3]))
    foreign = tmp_path / "foreign"
    (foreign / "logs").mkdir(parents=True)
    places = {"--folder": tmp_path / "study", option: foreign}
    words = [str(word) for pair in places.items() for word in pair]
    assert main([TASK.name, "--budget", "smoke", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(foreign) in line and "left unchanged" in line
    assert list(tmp_path.rglob("*")) == [foreign, foreign / "logs"]


@pytest.mark.parametrize(("option", "files"), [
    ("--folder", ["logs/a.log", "done/b.txt"]), ("--folder", ["settings.json"]),
    ("--results", ["study.json", "evaluations/a/trials.jsonl"]),
])
def test_a_folder_with_files_named_as_a_study_names_them_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, files: list[str]
) -> None:
    for name in files:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    places = {"--folder": tmp_path / "study", option: tmp_path / "mine"}
    words = [str(word) for pair in places.items() for word in pair]
    assert main([TASK.name, "--budget", "smoke", *words]) == 1
    assert "left unchanged" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
