"""The launcher refuses what is outside the subset, missing or broken, by name, file and line."""

import re
from pathlib import Path

import pytest

from hiwm_bringup.launcher.resolving import resolve
from hiwm_bringup.launcher.substitutions import SUBSTITUTION_NAMES
from hiwm_bringup.launcher.vocabulary import ACTIONS, SHAPES
from hiwm_core.errors import ConfigError

FIXTURES = Path(__file__).parent / "launch_fixtures"
NODE = '<node pkg="p" exec="e"'

# Each error is in line 3 of its file; the words are in the message.
REFUSALS = {
    "element": ('<executable cmd="x"/>', "<executable>", "arg, group"),
    "misspelt element": (f"<nod{NODE[5:]}/>", "<nod>", "did you mean 'node'"),
    "child of node": (f"{NODE}><composable_node/></node>", "<composable_node> in <node>"),
    "child of let": ('<let name="a" value="b"><arg name="c"/></let>', "<arg> in <let>", "nothing"),
    "keep in group": ('<group><keep name="a" value="b"/></group>', "<keep> in <group>"),
    "attribute": (f'{NODE} machine="m"/>', "'machine'", "respawn_delay"),
    "misspelt attribute": (f'{NODE} nmae="m"/>', "'nmae'", "did you mean 'name'"),
    "launch-prefix": (f'{NODE} launch-prefix="gdb"/>', "'launch-prefix'"),
    "forwarding": ('<group forwarding="false"/>', "'forwarding'"),
    "value-sep": (f'{NODE}><param name="a" value="1;2" value-sep=";"/></node>', "'value-sep'"),
    "attribute missing": ('<node exec="e"/>', "lacks the attribute 'pkg'"),
    "include without file": ("<include/>", "lacks the attribute 'file'"),
    "nested arg without value": (
        '<include file="x"><arg name="a"/></include>', "<arg of include> lacks", "'value'",
    ),
    "substitution": ('<let name="a" value="$(eval 1+1)"/>', "$(eval)", "var, env, dirname"),
    "misspelt substitution": ('<let name="a" value="$(vra x)"/>', "did you mean 'var'"),
    "substitution in a branch not taken": (
        '<group if="false"><let name="a" value="$(anon x)"/></group>', "$(anon)",
    ),
    "substitution in a parameter": (
        f'{NODE}><param name="a" value="[1, $(command ls)]"/></node>', "$(command)",
    ),
    "substitution in a literal": ('<arg name="a$(var b)"/>', "'name'", "no substitution"),
    "too many arguments": ('<let name="a" value="$(var a b c)"/>', "1 or 2 arguments, found 3"),
    "no argument": ('<let name="a" value="$(find-pkg-share)"/>', "1 arguments, found 0"),
    "two blanks": ('<let name="a" value="$(var  a)"/>', "expected an argument"),
    "open bracket": ('<let name="a" value="$(var a"/>', "found the end"),
    "open quote": ("<let name=\"a\" value=\"$(var a 'b)\"/>", "a closing '"),
    "unset variable": ('<let name="a" value="$(var nothing)"/>', "$(var nothing) is not set"),
    "unset environment": (
        '<let name="a" value="$(env HIWM_NO_SUCH_VARIABLE)"/>', "'HIWM_NO_SUCH_VARIABLE'",
    ),
    "no package": ('<let name="a" value="$(find-pkg-share no_such_pkg)"/>', "'no_such_pkg'"),
    "both conditions": (f'{NODE} if="1" unless="0"/>', "both 'if' and 'unless'"),
    "no boolean": (f'{NODE} if="yes"/>', "'yes'", "true, 1, false or 0"),
    "respawn": (f'{NODE} respawn="maybe"/>', "'maybe' is not bool"),
    "respawn_delay": (f'{NODE} respawn_delay="-1"/>', "respawn_delay='-1'"),
    "on_exit": (f'{NODE} on_exit="restart"/>', "on_exit='restart'"),
    "respawn and on_exit": (f'{NODE} respawn="true" on_exit="shutdown"/>', "contradict"),
    "output": (f'{NODE} output="printer"/>', "output='printer'"),
    "open quote in args": (f"{NODE} args=\"'x $(env HOME)\"/>", "No closing quotation"),
    "node name": (f'{NODE} name="a/b"/>', "node name 'a/b'"),
    "namespace": (f'{NODE} namespace="a//b"/>', "namespace '/a//b'"),
    "pushed namespace": ('<push_ros_namespace namespace="1"/>', "namespace '/1'"),
    "parameter type": (f'{NODE}><param name="a" value="1" type="double"/></node>', "'double'"),
    "parameter not of its type": (
        f'{NODE}><param name="a" value="x" type="int"/></node>', "'x' is not int",
    ),
    "mixed list": (f'{NODE}><param name="a" value="[1, b]"/></node>', "mixes types"),
    "mapping": (f'{NODE}><param name="a" value="b: c"/></node>', "dict", 'type="str"'),
    "parameter without value": (f'{NODE}><param name="a"/></node>', "either a value or nested"),
    "value and nested": (
        f'{NODE}><param name="a" value="1"><param name="b" value="1"/></param></node>', "not both",
    ),
    "parameter without name": (f'{NODE}><param value="1"/></node>', "'name' or only 'from'"),
    "from and name": (f'{NODE}><param name="a" from="x"/></node>', "'name' or only 'from'"),
    "no parameter file": (f'{NODE}><param from="absent.yaml"/></node>', "'absent.yaml'"),
    "no included file": ('<include file="absent.launch.xml"/>', "'absent.launch.xml'"),
    "python launch file": ('<include file="$(dirname)/x.launch.py"/>', "x.launch.py"),
    "reserved name": ('<let name="global_params" value="x"/>', "'global_params'"),
    "text": ("hello", "'hello'"),
    "required argument": ('<arg name="a" description="of starts"/>', "'a'", "of starts", "a:="),
    "choice": ('<arg name="a" default="c"><choice value="b"/></arg>', "a:=c", "use b"),
    "attribute twice": ('<arg name="a" name="b"/>', "duplicate attribute"),
    "unclosed element": ("<group>", "mismatched tag"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_name_the_fault_file_and_line(case: str, tmp_path: Path) -> None:
    body, *words = REFUSALS[case]
    path = tmp_path / "refused.launch.xml"
    path.write_text(f"<launch>\n  <!-- two -->\n{body}</launch>\n")
    with pytest.raises(ConfigError) as caught:
        resolve(path)
    message = str(caught.value)
    for word in words:
        assert word in message
    if case != "python launch file":  # reported for the included file
        assert f"{path}:3)" in message
    assert caught.value.remedy


def test_the_line_is_that_of_the_attribute(tmp_path: Path) -> None:
    path = tmp_path / "lines.launch.xml"
    path.write_text('<launch>\n<node pkg="p"\n  exec="e"\n  machine="m"/>\n</launch>\n')
    with pytest.raises(ConfigError, match=re.escape(f"{path}:4")):
        resolve(path)


def test_unknown_arguments_are_named_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "known.launch.xml"
    path.write_text('<launch><arg name="policy_checkpoint" default=""/></launch>')
    with pytest.raises(ConfigError, match="did you mean 'policy_checkpoint'"):
        resolve(path, {"policy_chekpoint": "x"})


def test_a_required_argument_of_an_include_must_be_passed_on(tmp_path: Path) -> None:
    (tmp_path / "inner.launch.xml").write_text('<launch><arg name="a"/></launch>')
    path = tmp_path / "outer.launch.xml"
    path.write_text(
        '<launch>\n<let name="a" value="set, and yet not passed"/>\n'
        '<include file="$(dirname)/inner.launch.xml"/></launch>'
    )
    with pytest.raises(ConfigError, match=re.escape(f"{path}:3")):
        resolve(path)


def test_a_file_including_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.launch.xml"
    path.write_text('<launch><include file="$(dirname)/loop.launch.xml"/></launch>')
    with pytest.raises(ConfigError, match="includes itself"):
        resolve(path)


def test_the_folder_of_a_file_is_refused_where_releases_of_launch_differ(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.launch.xml").write_text("<launch/>")
    path = tmp_path / "outer.launch.xml"
    path.write_text(
        '<launch>\n<include file="$(dirname)/sub/inner.launch.xml"/>\n'
        '<let name="late" value="$(dirname)"/></launch>'
    )
    with pytest.raises(ConfigError, match=re.escape(f"{path}:3")):
        resolve(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the launch file"):
        resolve(tmp_path / "absent.launch.xml")


def test_a_doctype_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "doctype.launch.xml"
    path.write_text('<!DOCTYPE launch [<!ENTITY a "b">]>\n<launch/>')
    with pytest.raises(ConfigError, match="DOCTYPE"):
        resolve(path)


def test_the_page_names_the_whole_subset() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "launching.md").read_text()
    for tag in (*ACTIONS, *("choice", "param", "remap", "env")):
        assert f"`<{tag}>`" in page, tag
    for shape in SHAPES.values():
        for attribute in (*shape.required, *shape.optional):
            assert f"`{attribute}`" in page, attribute
    for name in SUBSTITUTION_NAMES:
        assert f"`$({name}" in page, name
