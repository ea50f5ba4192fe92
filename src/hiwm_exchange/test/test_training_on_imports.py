"""A world model trains on what was imported: a LeRobot set, and a bag of raw topics."""

from pathlib import Path

import pytest
import torch

from hiwm_exchange import export_lerobot, import_bags, import_lerobot
from hiwm_learning.world_models.families import load_simulator
from hiwm_learning.world_models.train import main as train
from hiwm_test_support.exchange_data import EMBODIMENT, demonstrations
from hiwm_test_support.raw_bags import raw_bag
from hiwm_test_support.shipped import TASK

pytestmark = pytest.mark.timeout(600)


def trained(session: Path, output: Path) -> None:
    """Train the smallest world model for a few steps, and load it."""
    torch.set_num_threads(1)
    assert train([
        str(session), "-o", str(output), "--family", "latent", "--network", "tiny",
        "--pool", "2", "--robot-batch", "4", "--joint-steps", "2",
        "--robot-steps", "2", "--hand-steps", "2", "--grip-steps", "2", "--filling-steps", "2",
        "--head-steps", "2", "--steps", "2",
    ]) == 0
    simulator, _ = load_simulator(output, EMBODIMENT)
    assert simulator is not None


def test_on_a_lerobot_set(tmp_path: Path) -> None:
    session = demonstrations(tmp_path / "session", 3)
    assert export_lerobot.main([str(session), "-o", str(tmp_path / "set")]) == 0
    assert import_lerobot.main([str(tmp_path / "set"), "-o", str(tmp_path / "back")]) == 0
    trained(tmp_path / "back", tmp_path / "world.safetensors")


def test_on_raw_bags(tmp_path: Path) -> None:
    for number in range(3):
        raw_bag(tmp_path / "lab" / f"bag_{number}")
    assert import_bags.main([
        str(tmp_path / "lab"), "-o", str(tmp_path / "raw"), "--robot-file", "standin",
        "--task", TASK.name,
    ]) == 0
    trained(tmp_path / "raw", tmp_path / "world.safetensors")
