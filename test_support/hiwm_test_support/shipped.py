"""The shipped task and its checkpoints, for tests that need some task and do not care which."""

from pathlib import Path

from hiwm_core.config_files import default_task
from hiwm_core.tasks import load_task

TASK = load_task(default_task())
MODELS = Path(__file__).resolve().parents[2] / "models"
WORLD_MODEL = MODELS / f"world_{TASK.name}.safetensors"
START_FRAMES = MODELS / f"world_{TASK.name}_starts.npz"
POLICY = MODELS / f"policy_{TASK.name}.safetensors"
