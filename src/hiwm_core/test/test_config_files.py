"""A config file that is no text, or no YAML, is named with its line and the remedy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hiwm_core.config_files import config_text, default_task, find_config, parse_mapping
from hiwm_core.embodiment import load_embodiment
from hiwm_core.errors import ConfigError
from hiwm_core.robot_config import load_robot
from hiwm_core.tasks import load_task


@pytest.mark.parametrize(("kind", "name", "load"), [
    ("tasks", default_task(), load_task), ("robots", "standin", load_robot),
    ("embodiments", "planar_bimanual", load_embodiment),
])
def test_a_file_that_an_editor_saved_as_latin_1_is_named(
    tmp_path: Path, kind: str, name: str, load: Callable[[Path], object]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes("# one\n# für uns\n".encode("latin-1") + find_config(kind, name).read_bytes())
    with pytest.raises(ConfigError, match="line 2 is not UTF-8 text") as caught:
        load(path)
    assert str(path) in str(caught.value)
    path.write_bytes("# für uns\n".encode() + find_config(kind, name).read_bytes())
    load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config_text(tmp_path)


@pytest.mark.parametrize("text", [
    "a: [", "a: 2026-02-30", "a: 2026-01-01 99:00:00", "a: !!int x", "a: \0", "\t- a", "a: &b *c",
    "? [1]\n: 2", "!!python/object:os.system {}",
])
def test_what_is_no_yaml_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_mapping(text, "mine.yaml")
