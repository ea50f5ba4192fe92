"""The launch files: what each starts, and that every executable and parameter in them exists.

No node is started; their sources are read.
"""

import ast
import itertools
import re
from functools import cache
from pathlib import Path

import pytest

from hiwm_bringup.launcher.arguments import declared_arguments
from hiwm_bringup.launcher.node_specs import NodeSpec
from hiwm_bringup.launcher.resolving import resolve
from hiwm_bringup.launcher.vocabulary import read_launch_file
from hiwm_core.errors import ConfigError
from hiwm_core.launch_identity import PLACEHOLDER

ROOT = Path(__file__).resolve().parents[3]
LAUNCH = ROOT / "launch"
TOP_FILES = ("session", "record", "evaluate")
WORLDS = {
    "imagination": {"hiwm_world/imagination"},
    "hardware": {"hiwm_robot/robot_bridge", "hiwm_robot/standin_driver"},
}
# Functions that declare a parameter: position of the name in the call.
DECLARING = {"parameter": 1, "declare_parameter": 0}
BUILT_IN = {"use_sim_time"}  # every ROS node has it


def nodes(file: str, **arguments: str) -> list[NodeSpec]:
    return resolve(LAUNCH / f"{file}.launch.xml", arguments)


def executables(specs: list[NodeSpec]) -> set[str]:
    return {f"{spec.package}/{spec.executable}" for spec in specs}


def variants() -> list[tuple[str, dict[str, str]]]:
    """Every top file in both worlds, and every other launch file that runs by itself."""
    found: list[tuple[str, dict[str, str]]] = [
        (file, {"world": world, "fast": fast})
        for file, world, fast in itertools.product(TOP_FILES, WORLDS, ("true", "false"))
    ]
    for path in sorted(LAUNCH.glob("*.launch.xml")):
        name = path.name.removesuffix(".launch.xml")
        if name not in TOP_FILES and declared_arguments(read_launch_file(path), {}):
            found.append((name, {}))
    return found


@pytest.mark.parametrize("file", TOP_FILES)
def test_only_the_world_differs(file: str) -> None:
    both = {world: nodes(file, world=world, session_dir="s") for world in WORLDS}
    rest = {}
    for world, specs in both.items():
        assert executables(specs) & set().union(*WORLDS.values()) == WORLDS[world]
        rest[world] = [
            (s.package, s.executable, s.name, s.namespace, s.remaps, s.merged_parameters())
            for s in specs if f"{s.package}/{s.executable}" not in WORLDS[world]
        ]
    assert rest["imagination"] == rest["hardware"]


def test_a_session_has_every_part() -> None:
    assert executables(nodes("session")) == {
        "hiwm_world/imagination", "hiwm_policy/policy", "hiwm_teleop/teleop",
        "hiwm_control/arbiter", "hiwm_branching/branch_manager", "hiwm_recording/recorder",
        "hiwm_console/live_view",
    }


@pytest.mark.parametrize(("arguments", "left_out"), [
    ({"device": "none"}, "hiwm_teleop/teleop"),
    ({"record": "false"}, "hiwm_recording/recorder"),
    ({"view": "false"}, "hiwm_console/live_view"),
])
def test_parts_can_be_left_out(arguments: dict[str, str], left_out: str) -> None:
    whole = executables(nodes("session"))
    assert whole - executables(nodes("session", **arguments)) == {left_out}


def test_a_users_device_is_started() -> None:
    (teleop,) = (s for s in nodes("session", device="my_device") if s.executable == "teleop")
    assert teleop.merged_parameters()["device"] == "my_device"


@pytest.mark.parametrize("file", ["session", "record"])
def test_teleop_gets_the_device_file(file: str) -> None:
    arguments = {"device": "spacemouse", "device_file": "spacemouse_pair"}
    (teleop,) = (s for s in nodes(file, **arguments) if s.executable == "teleop")
    assert arguments.items() <= teleop.merged_parameters().items()


def test_drivers_of_a_users_robot_are_in_the_users_directory_and_never_in_lock_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "launch" / "robot_mine.launch.xml"
    file.parent.mkdir()
    file.write_text('<launch><node pkg="my_arm" exec="driver" name="my_driver"/></launch>')
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    mine = nodes("evaluate", world="hardware", robot="mine", fast="true")
    assert "my_arm/driver" in executables(mine)
    (bridge,) = (spec for spec in mine if spec.executable == "robot_bridge")
    assert not bridge.merged_parameters()["lockstep"]
    assert not bridge.merged_parameters()["use_sim_time"]
    assert "hiwm_robot/standin_driver" in executables(nodes("evaluate", world="hardware"))


@pytest.mark.parametrize("robot", ["standin", "yam_pair", "yam_pair_joints"])
def test_stand_ins_run_in_lock_step_if_they_are_fast(
    robot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIWM_CONFIG_DIR", str(tmp_path))
    for fast in (True, False):
        specs = nodes("session", world="hardware", robot=robot, fast=str(fast).lower())
        (bridge,) = (spec for spec in specs if spec.executable == "robot_bridge")
        assert bridge.merged_parameters()["lockstep"] == fast
        assert bridge.merged_parameters()["use_sim_time"] == fast


def test_the_recorder_takes_the_cameras_of_the_tasks_embodiment() -> None:
    for file in ("session", "record", "collect"):
        (recorder,) = (s for s in nodes(file, task="my_task") if s.executable == "recorder")
        assert recorder.merged_parameters()["task"] == "my_task"


@pytest.mark.parametrize("world", ["imagination", "hardware"])
def test_the_first_tick_waits_for_the_nodes_that_a_file_starts(world: str) -> None:
    """Views and the console may come later: they need no tick to be the first."""
    for file in ("session", "record", "evaluate"):
        specs = nodes(file, world=world)
        (waited,) = [
            spec.merged_parameters()["wait_for"].split() for spec in specs
            if "wait_for" in spec.merged_parameters()
        ]
        started = {
            spec.name for spec in specs if spec.package in (
                "hiwm_control", "hiwm_policy", "hiwm_teleop", "hiwm_branching", "hiwm_recording",
                "hiwm_evaluation",
            )
        }
        assert len(waited) == len(set(waited)) and set(waited) == started


def test_demonstrations_have_no_policy_and_evaluations_no_operator() -> None:
    record = nodes("record")
    assert "hiwm_policy/policy" not in executables(record)
    (teleop,) = (spec for spec in record if spec.executable == "teleop")
    assert teleop.merged_parameters()["demonstration"] is True
    # Labels, forks and the tree work as in a session; operators in the console demonstrate, too.
    assert "hiwm_branching/branch_manager" in executables(record)
    for file, demonstration in (("record", True), ("session", False)):
        (console,) = (s for s in nodes(file, console="true") if s.executable == "web_console")
        assert console.merged_parameters()["demonstration"] is demonstration
    evaluate = nodes("evaluate")
    assert "hiwm_teleop/teleop" not in executables(evaluate)
    assert "evaluator" in [spec.executable for spec in evaluate if spec.ends_graph]


@pytest.mark.parametrize("file", TOP_FILES)
def test_only_the_bridge_follows_simulated_time(file: str) -> None:
    """Other nodes take the time from a tick's stamp."""
    for world, fast in itertools.product(WORLDS, ("true", "false")):
        simulated = world == "hardware" and fast == "true"
        for spec in nodes(file, world=world, fast=fast):
            follows = spec.merged_parameters().get("use_sim_time", False)
            bridge = spec.executable == "robot_bridge"
            assert follows is (simulated and bridge), (world, fast, spec.label)


@pytest.mark.parametrize("file", TOP_FILES)
def test_every_node_is_in_the_namespace_and_names_differ(file: str) -> None:
    for world in WORLDS:
        specs = nodes(file, world=world, ns="here")
        assert {spec.namespace for spec in specs} == {"/here"}
        assert len({spec.name for spec in specs}) == len(specs)


@pytest.mark.parametrize("file", TOP_FILES)
def test_every_argument_has_a_description(file: str) -> None:
    for argument in declared_arguments(read_launch_file(LAUNCH / f"{file}.launch.xml"), {}):
        assert argument.description, argument.name


@pytest.mark.parametrize("file", [*TOP_FILES, "collect"])
def test_two_launches_never_share_a_default_folder(file: str) -> None:
    arguments = declared_arguments(read_launch_file(LAUNCH / f"{file}.launch.xml"), {})
    [folder] = [argument.default for argument in arguments if argument.name == "session_dir"]
    assert folder is not None and PLACEHOLDER in folder


def test_an_unknown_world_or_robot_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="use imagination, hardware"):
        nodes("session", world="hardwrae")
    with pytest.raises(ConfigError, match=re.escape("robot_standin.launch.xml")):
        nodes("session", world="hardware", robot="no_such_robot")


@pytest.mark.parametrize(("file", "arguments"), variants(), ids=str)
def test_every_executable_is_declared_by_its_package(file: str, arguments: dict[str, str]) -> None:
    for spec in nodes(file, **arguments):
        assert spec.executable in entry_points(spec.package), f"{spec.package} ({spec.where})"


@pytest.mark.parametrize(("file", "arguments"), variants(), ids=str)
def test_every_parameter_is_declared_by_its_node(file: str, arguments: dict[str, str]) -> None:
    unread = []
    for spec in nodes(file, **arguments):
        module = node_module(spec)
        if module is None:
            unread.append(f"{spec.package}/{spec.executable}")
            continue
        declared = declared_parameters(module)
        for name, value in spec.merged_parameters().items():
            if name in BUILT_IN:
                continue
            assert name in declared, f"{spec.label} declares no {name} ({spec.where})"
            kind = declared[name]
            assert kind in (None, type(value)) or (kind is float and type(value) is int), (
                f"{name} of {spec.label} is {value!r}, declared as {kind} ({spec.where})"
            )
    assert not unread, f"no source of {unread}"


@cache
def entry_points(package: str) -> dict[str, str]:
    """Map executable to module:function, from a package's setup.py."""
    text = (ROOT / "src" / package / "setup.py").read_text()
    found: dict[str, str] = {}
    for value in ast.walk(ast.parse(text)):
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            match = re.fullmatch(r"(\w+) = ([\w.]+:\w+)", value.value)
            if match:
                found[match[1]] = match[2]
    return found


def node_module(spec: NodeSpec) -> Path | None:
    # hiwm_nodes.starting finds a node's module by the executable's name.
    path = ROOT / "src" / spec.package / spec.package / f"{spec.executable}_node.py"
    return path if path.is_file() else None


@cache
def declared_parameters(module: Path) -> dict[str, type | None]:
    """Names that a node declares, and the types of their defaults (None if not literal)."""
    found: dict[str, type | None] = {}
    for path in own_modules(module):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and called(node) in DECLARING:
                name, *default = node.args[DECLARING[called(node)]:]
                if isinstance(name, ast.Constant):
                    found[str(name.value)] = literal_type(default[0] if default else None)
            if isinstance(node, ast.Call) and called(node) == "session_folder":
                found["session_dir"] = str
            if isinstance(node, ast.Call) and called(node) == "AwaitedListeners":
                found["wait_for"] = str
            if isinstance(node, ast.Dict):  # the options of an operator's device
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Call) and (
                        called(value) == "DeviceOption"
                    ):
                        defaults = [k.value for k in value.keywords if k.arg == "default"]
                        found[str(key.value)] = literal_type(defaults[0] if defaults else None)
    return found


def literal_type(default: ast.expr | None) -> type | None:
    return type(default.value) if isinstance(default, ast.Constant) else None


def own_modules(module: Path) -> set[Path]:
    """The module, what it imports from its own package, and all devices if it imports one."""
    package = module.parent
    reached: set[Path] = set()
    todo = [module]
    while todo:
        path = todo.pop()
        if path in reached or not path.is_file():
            continue
        reached.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package.name):
                parts = (node.module or "").split(".")[1:]
                base = package.joinpath(*parts)
                todo += [base.with_suffix(".py"), *(base / f"{a.name}.py" for a in node.names)]
                todo += base.parent.glob("*.py") if base.parent.name == "devices" else []
    return reached


def called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
