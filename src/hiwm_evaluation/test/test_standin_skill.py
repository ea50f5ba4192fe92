"""Skill without the graph: a policy acts, and the operator goes on from where it has failed."""

from dataclasses import replace

import pytest

from hiwm_evaluation import standin_skill
from hiwm_evaluation.standin_skill import Bench
from hiwm_test_support.shipped import POLICY, TASK


def test_the_operator_goes_on_where_a_policy_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin_skill, "_POLICY_TICKS", (12, 13))
    bench = Bench(replace(TASK, horizon_steps=12), POLICY)
    alone = bench.policy(5)
    assert alone.steps == 12 and not alone.success
    state = bench.robot.scene.truth
    recovered = bench.recovery(5)
    assert recovered is not None and recovered.steps == 12
    # The policy's part is the same; then the operator has moved on.
    assert bench.robot.scene.truth != state
    assert bench.policy(5) == alone and bench.robot.scene.truth == state
    bench.robot.close()


def test_a_policy_trial_needs_a_policy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["standin_skill", TASK.name, "policy"])
    with pytest.raises(SystemExit):
        standin_skill.main()
    assert "--policy FILE" in capsys.readouterr().err
