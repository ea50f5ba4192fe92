"""A policy behind a server as a planner; our own server plans as the checkpoint does."""

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiwm_core.embodiment import Embodiment, load_embodiment
from hiwm_core.errors import CheckpointError, ConfigError, HiwmError, ServerError, WireError
from hiwm_learning.policies import families
from hiwm_learning.policies.families import make_planner, policy_names
from hiwm_learning.policies.planning import Planner, PlannerOptions, PlannerWorld, load_planner
from hiwm_learning.policies.remote import planner as planner_module
from hiwm_learning.policies.remote import serve
from hiwm_learning.policies.remote.planner import RemotePlanner
from hiwm_learning.policies.remote.serve import CheckpointService
from hiwm_test_support.policies import write_untrained_policy
from hiwm_test_support.policy_servers import SIMPLE_LAYOUT, PolicyServer

PLANE = load_embodiment("planar_bimanual")
# An untrained policy's actions are anywhere; limits are not part of the hash.
WIDE = dataclasses.replace(
    PLANE, actions=tuple(dataclasses.replace(a, lower=-9.0, upper=9.0) for a in PLANE.actions)
)


def world(embodiment: Embodiment = PLANE, period_s: float = 0.1) -> PlannerWorld:
    return PlannerWorld(
        embodiment=embodiment, embodiment_hash=embodiment.hash, period_s=period_s,
        instruction="push it there",
    )


def planner_for(server: PolicyServer, layout: str = "server") -> RemotePlanner:
    return RemotePlanner(PlannerOptions(port=server.port, layout=layout, start_timeout_s=5.0))


def observed(count: int, steps: int = 2) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(5)
    return (
        {"top": rng.integers(0, 256, (count, steps, 96, 96, 3), dtype=np.uint8)},
        rng.uniform(-0.1, 0.1, (count, steps, 4)).astype(np.float32),
    )


def metadata(**changes: Any) -> dict[str, Any]:
    return {"policy": "pi0", "layout": SIMPLE_LAYOUT | changes}


def test_a_served_checkpoint_plans_as_it_does_locally(tmp_path: Path) -> None:
    local = load_planner(write_untrained_policy(tmp_path, PLANE))
    service = CheckpointService(local)
    with PolicyServer(service.metadata) as server:
        server.answer = service.infer  # type: ignore[method-assign]
        remote = planner_for(server)
        remote.fit(world(WIDE))
        assert (remote.horizon, remote.execute_horizon, remote.observation_steps) == (6, 3, 2)
        assert remote.image_shapes == {"top": (96, 96, 3)} and remote.proprio_dim == 4
        images, proprio = observed(3)
        seeds = [(7,), (8,), (9,)]
        plans = remote.plan_many(images, proprio, seeds)
        assert len(server.asked) == 3  # one request for each seed
        assert server.asked[0]["prompt"] == "push it there"
        for i, seed in enumerate(seeds):
            expected = local.plan({"top": images["top"][i]}, proprio[i], seed)
            np.testing.assert_array_equal(plans[i], expected)
        status = remote.status()
        assert status["connection"] == "open" and float(str(status["round_trip_p95_ms"])) > 0
        assert float(str(status["server_infer_ms"])) > 0
        assert local.label in str(status["server_metadata"])
        assert any("connected to ws://" in line for line in remote.news())
        remote.close()


@pytest.mark.parametrize(("changes", "words"), [
    ({"images": {}}, "top is NoneType"), ({"images": None}, "top is NoneType"),
    ({"images": {"top": np.zeros((2, 96, 96, 3))}}, "float64 [2, 96, 96, 3], not uint8"),
    ({"images": {"top": np.zeros((96, 96, 3), np.uint8)}}, "uint8 [96, 96, 3]"),
    ({"state": [1, 2]}, "state is list"), ({"seed": ["x"]}, "seed ['x']"),
])
def test_our_server_names_what_is_wrong_with_an_observation(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    service = CheckpointService(load_planner(write_untrained_policy(tmp_path, PLANE)))
    images, proprio = observed(1)
    good = {"images": {"top": images["top"][0]}, "state": proprio[0]}
    assert service.infer(good)["actions"].shape == (6, 4)
    with pytest.raises(WireError) as caught:
        service.infer(good | changes)
    assert words in str(caught.value)


def test_the_connection_is_made_again_and_every_trouble_is_told_once() -> None:
    images, proprio = (each[0] for each in (observed(1, 1)[0]["top"], observed(1, 1)[1]))
    with PolicyServer(metadata(timeout_s=0.2)) as server:
        remote = planner_for(server)
        remote.fit(world())
        assert remote.plan({"top": images}, proprio, (1, 1, 0)).shape == (8, 4)
    for _ in range(2):
        with pytest.raises(ServerError):
            remote.plan({"top": images}, proprio, (1, 1, 4))
        remote.idle()
    assert "lost" in str(remote.status()["connection"])
    assert len([line for line in remote.news() if "no server answers" in line]) == 1
    with PolicyServer(metadata(timeout_s=0.2), port=server.port):
        remote.idle()
        assert remote.status()["connection"] == "open"
        assert remote.plan({"top": images}, proprio, (1, 1, 8)).shape == (8, 4)
    with PolicyServer(metadata(horizon=9), port=server.port) as other:
        with pytest.raises(ServerError, match="another policy is served now"):
            remote.plan({"top": images}, proprio, (1, 1, 9))
        assert not other.asked
    remote.close()


@pytest.mark.parametrize(("now", "error", "words"), [
    ({"policy": "pi0"}, ConfigError, "does not describe its observations"),
    (metadata() | {"embodiment_hash": "f" * 64}, CheckpointError, "f" * 64),
    (metadata() | {"embodiment_hash": PLANE.hash, "control_period_s": 0.2}, CheckpointError,
     "0.200 s (5 Hz)"),
    (metadata(horizon=9), ServerError, "another policy is served now"),
])
def test_another_server_in_its_place_never_drives(
    monkeypatch: pytest.MonkeyPatch, now: dict[str, Any], error: type[HiwmError], words: str
) -> None:
    monkeypatch.setattr(planner_module, "_IDLE_OPEN_S", 5.0)
    images, proprio = observed(1, 1)[0]["top"][0], observed(1, 1)[1][0]
    with PolicyServer(metadata()) as server:
        remote = planner_for(server)
        remote.fit(world())
        remote.plan({"top": images}, proprio, (1, 1, 0))
    with PolicyServer(now, port=server.port) as other:
        remote._link.close()
        remote.idle()  # tells, and does not raise
        assert words in str(remote.status()["connection"])
        for step in (4, 8):
            with pytest.raises(error) as caught:
                remote.plan({"top": images}, proprio, (1, 1, step))
            assert words in str(caught.value)
        assert not other.asked
    remote.close()


def test_only_the_first_reply_of_a_session_may_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner_module, "_IDLE_OPEN_S", 5.0)
    images, proprio = observed(1, 1)[0]["top"][0], observed(1, 1)[1][0]
    told = metadata(timeout_s=0.3)
    with PolicyServer(told, latency_s=0.8) as server:
        remote = planner_for(server)
        remote.fit(world())
        assert remote.plan({"top": images}, proprio, (1, 1, 0)).shape == (8, 4)
    with PolicyServer(told, latency_s=0.8, port=server.port):
        remote._link.close()
        remote.idle()
        with pytest.raises(ServerError, match="no reply within 0.3 s"):
            remote.plan({"top": images}, proprio, (1, 1, 4))
    remote.close()


def test_a_server_with_endpoints_is_reset_once_for_each_epoch(tmp_path: Path) -> None:
    (tmp_path / "arena.yaml").write_text("""
name: arena
horizon: 8
execute_horizon: 8
observation:
  endpoint: {send: value, value: infer}
  session_id: {send: session}
reset: {endpoint: {send: value, value: reset}, session_id: {send: session}}
""")
    images, proprio = observed(1, 1)
    with PolicyServer() as server:
        remote = planner_for(server, str(tmp_path / "arena.yaml"))
        remote.fit(world())
        for epoch, step in ((1, 0), (1, 8), (2, 0)):
            remote.plan({"top": images["top"][0]}, proprio[0], (0, epoch, step))
        sent = [(each["endpoint"], each["session_id"][-2:]) for each in server.asked]
        remote.close()
    assert sent == [
        ("reset", "-1"), ("infer", "-1"), ("infer", "-1"), ("reset", "-2"), ("infer", "-2")
    ]


@pytest.mark.parametrize(("given", "error", "words"), [
    ({"policy": "pi0"}, ConfigError, "does not describe its observations"),
    ({"layout": SIMPLE_LAYOUT | {"horizons": 1}}, ConfigError, "metadata of ws://"),
    (metadata() | {"embodiment_hash": "f" * 64}, CheckpointError, "f" * 64),
    (metadata() | {"embodiment_hash": PLANE.hash, "control_period_s": 0.2}, CheckpointError,
     "0.200 s (5 Hz)"),
    (metadata(observation={"x": {"send": "camera", "camera": "wrist"}}), ConfigError,
     "no camera 'wrist'"),
])
def test_a_server_that_does_not_suit_the_world_is_refused(
    given: dict[str, Any], error: type[HiwmError], words: str
) -> None:
    with PolicyServer(given) as server, pytest.raises(error) as caught:
        planner_for(server).fit(world())
    assert words in str(caught.value)


def test_with_a_layout_of_its_own_a_session_starts_before_its_server(tmp_path: Path) -> None:
    remote = RemotePlanner(PlannerOptions(port=1, layout="droid"))
    remote.fit(world(load_embodiment("franka_fr3"), 1 / 15))
    assert (remote.horizon, remote.execute_horizon) == (10, 8)
    assert "not connected" in str(remote.status()["connection"])
    with pytest.raises(ServerError, match="no server answers"):
        make_planner("openpi", PlannerOptions(port=1, start_timeout_s=0.1))


class _Entry:
    name = value = "mine"

    def __init__(self, load: Callable[[], Any]) -> None:
        self.load = load


def test_checkpoints_servers_and_plug_ins_are_one_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_untrained_policy(tmp_path, PLANE)
    planner: Planner = make_planner("checkpoint", PlannerOptions(checkpoint=str(path)))
    planner.fit(world())
    made: list[PlannerOptions] = []

    def mine(options: PlannerOptions) -> Planner:
        made.append(options)
        return planner

    monkeypatch.setattr(families, "entry_points", lambda group: [_Entry(lambda: mine)])
    assert policy_names() == ["checkpoint", "openpi", "mine"]
    assert make_planner("mine", PlannerOptions(host="lab")) is planner
    assert made[0].host == "lab"
    for name, words in (("openpie", "did you mean 'openpi'"), ("x", "checkpoint, openpi, mine")):
        with pytest.raises(ConfigError) as caught:
            make_planner(name, PlannerOptions())
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match="no checkpoint"):
        make_planner("checkpoint", PlannerOptions())

    def broken() -> Any:
        raise ImportError("no module named torchx")

    monkeypatch.setattr(families, "entry_points", lambda group: [_Entry(broken)])
    with pytest.raises(ConfigError, match="cannot be imported: ImportError: no module"):
        make_planner("mine", PlannerOptions())


def test_the_command_serves_until_it_is_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main([str(tmp_path / "none.safetensors")]) == 1
    assert capsys.readouterr().err.startswith("serve_policy: ")
    path = write_untrained_policy(tmp_path, PLANE)
    with subprocess.Popen(
        [sys.executable, "-m", serve.__name__, str(path), "--port", "0"],
        stdout=subprocess.PIPE, text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        planner = RemotePlanner(PlannerOptions(port=port))
        planner.fit(world())
        planner.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
