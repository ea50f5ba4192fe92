"""The launcher and the real launch resolve the same files to the same nodes.

This runs if the ROS packages launch, launch_xml and launch_ros can be imported. They are part of
ROS 2 Jazzy. Elsewhere, install their Jazzy branches (ros2/launch, ros2/launch_ros) and
osrf_pycommon with `pip install --no-deps --target FOLDER` outside the workspace. Add a module
`composition_interfaces.srv` to that folder, in which `LoadNode` has empty classes `Request` and
`Response`: no wheel contains it, and our launch files load no components. Then run

    PYTHONPATH=FOLDER AMENT_PREFIX_PATH=FOLDER:$AMENT_PREFIX_PATH python -m pytest FILE

The PyPI package `launch` is a different one: without `launch.frontend` these tests are skipped.

The tests compare the whole command line (executable, arguments, name, namespace, remaps, parameter
files in order), the content of each parameter file, the environment, respawn and its delay, and
on_exit.
"""

import importlib.util
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hiwm_bringup.launcher.arguments import declared_arguments
from hiwm_bringup.launcher.node_specs import locate
from hiwm_bringup.launcher.resolving import resolve
from hiwm_bringup.launcher.vocabulary import read_launch_file
from hiwm_core.errors import ConfigError

FIXTURES = Path(__file__).parent / "launch_fixtures"
LAUNCH = Path(__file__).resolve().parents[3] / "launch"


def _real_launch_missing() -> str:
    launch = importlib.util.find_spec("launch")
    folders = list(launch.submodule_search_locations or []) if launch else []
    if not any((Path(folder) / "frontend").is_dir() for folder in folders):
        return "launch"
    missing = [n for n in ("launch_xml", "launch_ros") if importlib.util.find_spec(n) is None]
    return ", ".join(missing)


MISSING = _real_launch_missing()
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"the real launch is not importable here (missing: {MISSING})"
)

FILES: list[tuple[str, dict[str, str]]] = [
    ("scoping", {}),
    ("scoping", {"colour": "black", "size": "9"}),
    ("namespaces", {}),
    ("namespaces", {"ns": "/top"}),
    ("namespaces", {"ns": "a/b"}),
    ("parameters", {}),
    ("parameters", {"number": "12", "real": "1.", "text": "[x, y]", "flag": "off"}),
    ("parameters", {"text": "2.5", "empty": "' '"}),
    ("nodes", {}),
    ("nodes", {"mode": "b", "choice": "two"}),
    ("nodes", {"respawning": "1"}),
    ("dirname", {}),
    ("required", {"needed": "given"}),
]

REFUSED_BY_BOTH: list[tuple[str, dict[str, str]]] = [
    ("required", {}),
    ("included", {}),
    ("nodes", {"choice": "three"}),
    ("nodes", {"respawning": "maybe"}),
    ("nodes", {"respawning": "false"}),
    ("nodes", {"mode": "unknown"}),
    ("parameters", {"number": "x"}),
    ("parameters", {"text": "null"}),
    ("parameters", {"text": "a: b"}),
    ("namespaces", {"ns": "1bad"}),
    ("namespaces", {"ns": "a//b"}),
]


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ament prefix with the packages of the fixtures and those of our launch files."""
    folder = tmp_path / "prefix"
    add_executables(folder, {"pkg_a": ["one", "two"], "pkg_b": ["one", "two"]})
    share = folder / "share" / "pkg_a"
    (share / "shared.launch.xml").write_text(
        '<launch><arg name="mode" default="m"/>'
        '<node pkg="pkg_a" exec="one" name="shared_$(var mode)">'
        '<param name="folder" value="$(dirname)"/></node></launch>'
    )
    monkeypatch.setenv(
        "AMENT_PREFIX_PATH", f"{folder}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}"
    )
    monkeypatch.setenv("HIWM_TEST_VALUE", "from outside")
    return folder


def add_executables(prefix: Path, packages: Mapping[str, list[str]]) -> None:
    for package, executables in packages.items():
        index = prefix / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        (prefix / "share" / package).mkdir(parents=True, exist_ok=True)
        library = prefix / "lib" / package
        library.mkdir(parents=True, exist_ok=True)
        for name in executables:
            (library / name).write_text("#!/bin/sh\n")
            (library / name).chmod(0o755 | stat.S_IXUSR)


def real_nodes(path: Path, arguments: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the real launch would start, in order. Nothing is started."""
    from launch.actions import ExecuteLocal, IncludeLaunchDescription
    from launch.launch_description_sources import AnyLaunchDescriptionSource
    from launch.utilities import visit_all_entities_and_collect_futures

    import launch

    found: list[dict[str, Any]] = []

    def note(self: Any, context: Any) -> None:
        self.prepare(context)
        description = self.process_description
        found.append({
            "command": readable(description.final_cmd),
            "environment": dict(description.final_env),
            "respawn": self._ExecuteLocal__respawn,
            "respawn_delay": self._ExecuteLocal__respawn_delay or 0.0,
            "ends_graph": bool(self._ExecuteLocal__on_exit),
        })

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExecuteLocal, "execute", note)
        description = launch.LaunchDescription([IncludeLaunchDescription(
            AnyLaunchDescriptionSource(str(path)), launch_arguments=list(arguments.items())
        )])
        visit_all_entities_and_collect_futures(description, launch.LaunchContext())
    return found


def our_nodes(path: Path, arguments: Mapping[str, str], folder: Path) -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        {
            "command": readable(
                spec.command(locate(spec), spec.write_parameters(folder, f"node_{number}"))
            ),
            "environment": {**os.environ, **spec.environment},
            "respawn": spec.respawn,
            "respawn_delay": spec.respawn_delay_s,
            "ends_graph": spec.ends_graph,
        }
        for number, spec in enumerate(resolve(path, arguments))
    ]


def readable(command: list[str]) -> list[Any]:
    """A command line with the path of each parameter file replaced by its content."""
    return [
        yaml.safe_load(Path(word).read_text()) if before == "--params-file" else word
        for before, word in zip(["", *command], command, strict=False)
    ]


def assert_same(path: Path, arguments: Mapping[str, str], folder: Path) -> int:
    ours = our_nodes(path, arguments, folder)
    real = real_nodes(path, arguments)
    assert [node["command"] for node in ours] == [node["command"] for node in real]
    # 1 == 1.0 == True in Python, not in ROS.
    assert [repr(node["command"]) for node in ours] == [repr(node["command"]) for node in real]
    assert ours == real
    return len(ours)


@pytest.mark.parametrize(("name", "arguments"), FILES, ids=str)
def test_a_fixture_resolves_to_the_same(
    name: str, arguments: dict[str, str], prefix: Path, tmp_path: Path
) -> None:
    assert assert_same(FIXTURES / f"{name}.launch.xml", arguments, tmp_path / "out") > 0


def launch_file_variants() -> list[tuple[str, dict[str, str]]]:
    """Every launch file that runs by itself, in every world, with both values of its switches."""
    found: list[tuple[str, dict[str, str]]] = []
    for path in sorted(LAUNCH.glob("*.launch.xml")):
        declared = {a.name for a in declared_arguments(read_launch_file(path), {})}
        if not declared:
            continue
        found.append((path.name, {}))
        for number, given_values in enumerate((
            {"world": "hardware", "device": "scripted", "session_dir": "/tmp/s 1", "seed": "7"},
            {"world": "hardware", "fast": "true", "device": "none", "ns": "/other/place"},
            {"world": "imagination", "fast": "true", "rate": "0", "record": "false", "seed": "2"},
            {"world": "imagination", "view": "false", "device": "own", "policy_checkpoint": "1e5"},
        )):
            chosen = {k: v for k, v in given_values.items() if k in declared}
            if "world" in declared or number == 0:
                found.append((path.name, chosen))
    return found


@pytest.mark.parametrize(("name", "arguments"), launch_file_variants(), ids=str)
def test_our_launch_files_resolve_to_the_same(
    name: str, arguments: dict[str, str], prefix: Path, tmp_path: Path
) -> None:
    packages: dict[str, list[str]] = {}
    for spec in resolve(LAUNCH / name, arguments):
        packages.setdefault(spec.package, []).append(spec.executable)
    add_executables(prefix, packages)
    assert assert_same(LAUNCH / name, arguments, tmp_path / "out") > 0


@pytest.mark.parametrize(("name", "arguments"), REFUSED_BY_BOTH, ids=str)
def test_what_ours_refuses_the_real_one_refuses(
    name: str, arguments: dict[str, str], prefix: Path, tmp_path: Path
) -> None:
    path = FIXTURES / f"{name}.launch.xml"
    with pytest.raises(ConfigError):
        our_nodes(path, arguments, tmp_path / "out")
    with pytest.raises(Exception) as caught:  # noqa: B017,PT011 - launch raises many types
        real_nodes(path, arguments)
    assert not isinstance(caught.value, AssertionError)


def both_on(body: str, folder: Path) -> None:
    """Assert that the real launch accepts what ours accepts, and resolves it to the same."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "generated.launch.xml"
    path.write_text(f"<launch>\n{body}\n</launch>\n")
    try:
        ours = our_nodes(path, {}, folder / "out")
    except ConfigError:
        return
    assert repr([n["command"] for n in ours]) == repr([
        n["command"] for n in real_nodes(path, {})
    ])


FRAGMENTS = st.lists(
    st.sampled_from([
        "$(var a)", "$(var n)", "$(var missing x)", "$(var missing 'q r')",
        '$(var missing "$(var a) z")', "$(var missing x$(var n)y)", "a", "1", "0.5", "true", "-",
        ":", " ", "  ", ", ", "[", "]", "'", '"', "\\", "\\$", "$", "(", ")", "{", "}", "#", "null",
        "é", "$(var", "x y", "2024-01-01", "1_0",
    ]), max_size=6,
).map("".join)
HEADER = '<let name="a" value="alpha"/><let name="n" value="5"/>'
FUZZ = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tmp_path: Path, prefix: Path) -> Iterator[Path]:
    yield tmp_path / "generated"


@FUZZ
@given(text=FRAGMENTS, kind=st.sampled_from([
    None, "str", "int", "float", "bool", "yaml", "list_of_str", "list_of_int", "list_of_float",
    "list_of_bool",
]))
def test_parameter_values(text: str, kind: str | None, folder: Path) -> None:
    typed = f' type="{kind}"' if kind else ""
    both_on(
        f'{HEADER}<node pkg="pkg_a" exec="one"><param name="p" value={quoteattr(text)}{typed}/>'
        "</node>", folder,
    )


@FUZZ
@given(items=st.lists(st.sampled_from([
    "$(var a)", "$(var n)", "'$(var n)'", "1", "2.5", "true", "text", "'7'", "x$(var n)", "null",
    "[]",
]), max_size=3), kind=st.sampled_from([
    None, "list_of_str", "list_of_int", "list_of_float", "list_of_bool", "bool",
]))
def test_parameter_lists(items: list[str], kind: str | None, folder: Path) -> None:
    typed = f' type="{kind}"' if kind else ""
    value = quoteattr(f"[{', '.join(items)}]")
    both_on(
        f'{HEADER}<node pkg="pkg_a" exec="one"><param name="p" value={value}{typed}/></node>',
        folder,
    )


@FUZZ
@given(text=FRAGMENTS)
def test_command_lines(text: str, folder: Path) -> None:
    both_on(f'{HEADER}<node pkg="pkg_a" exec="one" args={quoteattr(text)}/>', folder)


@FUZZ
@given(
    pushed=st.lists(st.sampled_from(["", "/", "a", "/b", "c/d", "e/", "/f/"]), max_size=3),
    own=st.sampled_from([None, "", "/", "x", "/y", "z/w/", "x//y", "1"]),
    name=st.sampled_from([None, "n", "", "9", "a/b"]),
)
def test_namespaces(pushed: list[str], own: str | None, name: str | None, folder: Path) -> None:
    pushes = "".join(f'<push_ros_namespace namespace="{n}"/>' for n in pushed)
    own_text = "" if own is None else f' namespace="{own}"'
    name_text = "" if name is None else f' name="{name}"'
    both_on(f'{pushes}<node pkg="pkg_a" exec="one"{own_text}{name_text}/>', folder)
