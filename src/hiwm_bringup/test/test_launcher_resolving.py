"""What launch files resolve to; test_launch_parity.py compares it with the real launch."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hiwm_bringup.launcher.command_line import main, parse_arguments
from hiwm_bringup.launcher.node_specs import NodeSpec
from hiwm_bringup.launcher.resolving import resolve
from hiwm_bringup.launcher.substitutions import Context, parse_template
from hiwm_core.errors import ConfigError

FIXTURES = Path(__file__).parent / "launch_fixtures"


@pytest.fixture
def resolved(tmp_path: Path):
    """Resolve the body of a launch file."""
    def call(body: str, environment: dict[str, str] | None = None, **arguments: str):
        path = tmp_path / "body.launch.xml"
        path.write_text(f"<launch>{body}</launch>")
        return resolve(path, arguments, environment)
    return call


def one_value(resolved, value: str, **arguments: str):
    header = "".join(f'<arg name="{name}"/>' for name in arguments)
    (spec,) = resolved(
        f'{header}<node pkg="p" exec="e"><param name="v" {value}/></node>', **arguments
    )
    return spec.merged_parameters()["v"]


def values_by_name(specs: list[NodeSpec], name: str) -> dict[str | None, object]:
    return {spec.name: spec.merged_parameters().get(name) for spec in specs}


def test_values_set_in_a_group_end_with_it_and_values_set_in_an_include_do_not() -> None:
    specs = resolve(FIXTURES / "scoping.launch.xml")
    assert values_by_name(specs, "c") == {
        "first": "red red_dark",
        "in_group": "green/green",
        "after": "yellow/none/1",
        "included_yellow": None,
        "leaked": "yellow/yellow!/70/7",
        "included_second": None,
        "not_leaked": "yellow",
        "kept_group": None,
        "spaced": "yellow",
    }


def test_an_argument_overrides_its_default_and_a_let_overrides_both() -> None:
    specs = resolve(FIXTURES / "scoping.launch.xml", {"colour": "black"})
    values = values_by_name(specs, "c")
    assert values["first"] == "black black_dark"
    assert values["in_group"] == "green/green"


def test_namespaces_are_joined_within_their_group() -> None:
    specs = resolve(FIXTURES / "namespaces.launch.xml", {"ns": "robot"})
    assert {spec.name: spec.namespace for spec in specs if spec.name} == {
        "bare": None, "empty": "/", "root": "/", "slash": "/a/b", "inside": "/robot",
        "empty_inside": "/robot", "deeper": "/robot/deep/er", "absolute": "/else", "n": "/reset",
        "back": "/robot", "conditional": "/robot/yes", "at_root": "/x", "at_root_too": "/",
        "outside": None,
    }


@pytest.mark.parametrize(("written", "value"), [
    ('value="3"', 3), ('value="3.0"', 3.0), ('value="true"', True), ('value="off"', False),
    ('value="\'3\'"', "3"), ('value=""', ""), ('value="3" type="str"', "3"),
    ('value="3" type="float"', 3.0), ('value="1" type="bool"', True),
    ('value="[1, 2]"', [1, 2]), ('value="[a, b]"', ["a", "b"]),
])
def test_parameter_values_follow_yaml(resolved, written: str, value: object) -> None:
    found = one_value(resolved, written)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("written", "given_value", "value"), [
    ('value="$(var a)"', "3", 3), ('value="$(var a)"', "[1.5, 2.5]", [1.5, 2.5]),
    ('value="$(var a)" type="str"', "3", "3"), ('value="$(var a)" type="float"', "3", 3.0),
    ('value="x$(var a)"', "3", "x3"), ('value="[$(var a), 4]"', "3", [3, 4]),
])
def test_a_substitution_is_performed_before_it_is_read(
    resolved, written: str, given_value: str, value: object
) -> None:
    found = one_value(resolved, written, a=given_value)
    assert found == value
    assert type(found) is type(value)


@given(value=st.one_of(
    st.integers(), st.booleans(), st.floats(allow_nan=False),
    st.text(st.characters(
        exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff"
    )),
))
def test_parameter_files_hold_the_values_exactly(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = NodeSpec(
        package="p", executable="e", name="n", namespace="/a", parameters=({"v": value},)
    )
    (file,) = spec.write_parameters(tmp_path_factory.mktemp("parameters"), "n")
    read = yaml.safe_load(file.read_text())["/a/n"]["ros__parameters"]["v"]
    assert read == value
    assert type(read) is type(value)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_text_with_every_special_character_escaped_stays_that_text(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("$", "\\$")
    assert parse_template(escaped, "here").perform(Context()) == text


def test_the_command_line_has_the_order_of_launch(tmp_path: Path) -> None:
    spec = NodeSpec(
        package="p", executable="e", name="n", namespace="/a", arguments=("x", "y z"),
        ros_arguments=("--log-level", "debug"), remaps=(("in", "out"),),
    )
    assert spec.command("/lib/e", ["/tmp/f.yaml"]) == [
        "/lib/e", "x", "y z", "--ros-args", "--log-level", "debug", "--ros-args",
        "-r", "__node:=n", "-r", "__ns:=/a", "--params-file", "/tmp/f.yaml", "-r", "in:=out",
    ]


def test_the_environment_is_read_with_a_default(resolved) -> None:
    body = ('<node pkg="p" exec="e"><env name="A" value="$(env SET)-$(env UNSET none)"/>'
            "<env name='B' value=\"$(env UNSET '')\"/></node>")
    (spec,) = resolved(body, environment={"SET": "here"})
    assert spec.environment == {"A": "here-none", "B": ""}


def test_respawn_and_the_required_node(resolved) -> None:
    first, second = resolved(
        '<arg name="again"/><node pkg="p" exec="e" respawn="$(var again)" respawn_delay="2"/>'
        '<node pkg="p" exec="e" on_exit="shutdown"/>', again="true",
    )
    assert (first.respawn, first.respawn_delay_s, first.ends_graph) == (True, 2.0, False)
    assert (second.respawn, second.ends_graph) == (False, True)


def test_arguments_of_the_command_line() -> None:
    assert parse_arguments(["a:=1", "b:=x:=y", "a:=2"]) == {"a": "2", "b": "x:=y"}
    for word in ("a", "a=1", ":=1", "a:="):
        with pytest.raises(ConfigError, match="name:=value"):
            parse_arguments([word])


def test_print_and_show_args_start_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(FIXTURES / "required.launch.xml")
    assert main([path, "--show-args"]) == 0
    shown = capsys.readouterr().out
    assert "needed  (required)" in shown
    assert "a name for the node" in shown
    assert main([path, "--print", "needed:=given"]) == 0
    (node,) = yaml.safe_load(capsys.readouterr().out)
    assert node == {"node": "pkg_a/one", "name": "given"}


def test_an_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FIXTURES / "required.launch.xml")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: the argument 'needed' (a name for the node)")
    assert captured.err.count("\n") == 1
