"""What an imagined world says about itself."""

from pathlib import Path

from hiwm_core.config_files import default_task
from hiwm_core.embodiment import load_embodiment
from hiwm_core.session_lineage import session_id
from hiwm_core.tasks import load_task
from hiwm_world.world_description import lineage, world_info

TASK = load_task(default_task())
EMBODIMENT = load_embodiment(TASK.embodiment)


def test_states_are_restored_only_with_a_session_and_a_model_that_can(tmp_path: Path) -> None:
    for session, able in ((None, True), (tmp_path, True), (tmp_path, False)):
        info = world_info(
            session, EMBODIMENT, TASK, rate=0.0, cameras=EMBODIMENT.cameras, heads=["trust"],
            checkpoint_hash="ab", can_restore=able,
        )
        assert info.can_restore == info.can_fork == (session is not None and able)
        assert info.session_id == (session_id(tmp_path) if session else "")
        assert (info.task_hash, list(info.heads)) == (TASK.hash, ["trust"])


def test_the_session_file_and_world_info_name_one_session(tmp_path: Path) -> None:
    content = lineage(
        tmp_path, EMBODIMENT, TASK, heads=[], checkpoint_hash="ab", seed=3
    )
    assert content["session_id"] == session_id(tmp_path)
    assert (content["world"], content["seed"]) == ("imagination", 3)
