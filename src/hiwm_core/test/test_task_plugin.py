"""The registry of task plug-ins refuses what it cannot load, and names the remedy."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from hiwm_core import task_plugin
from hiwm_core.errors import ConfigError
from hiwm_core.task_plugin import GROUP, distance, plugin_class, registered_plugins


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the installed plug-ins by broken ones."""
    entries = EntryPoints([
        EntryPoint("absent_module", "hiwm_nowhere.plugin:Plugin", GROUP),
        EntryPoint("no_plugin", "hiwm_core.errors:ConfigError", GROUP),
    ])
    monkeypatch.setattr(task_plugin, "entry_points", lambda group: entries.select(group=group))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent_modul", ["twin.yaml: plugin", "'absent_modul'", "did you mean 'absent_module'"]),
        ("absent_module", ["hiwm_nowhere", "dependencies of its package"]),
        ("no_plugin", ["hiwm_core.errors:ConfigError", "subclass of hiwm_core.task_plugin"]),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_refused_with_the_remedy(
    registered: None, name: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        plugin_class(name, "twin.yaml: plugin")
    for word in words:
        assert word in str(error.value)


def test_names_are_listed_without_an_import(registered: None) -> None:
    assert registered_plugins() == ("absent_module", "no_plugin")


def test_distances_count_in_widths_of_the_ranges_and_wrap_angles() -> None:
    ranges = {"x_m": (0.0, 0.5), "yaw_rad": (-3.14, 3.14)}
    one = {"x_m": 0.1, "yaw_rad": 3.1}
    assert distance(ranges, one, {"x_m": 0.35, "yaw_rad": 3.1}) == pytest.approx(0.5)
    assert distance(ranges, one, {"x_m": 0.1, "yaw_rad": -3.1}) < 0.02
