"""The elements and attributes the launcher knows. It refuses everything else.

docs/launching.md lists this table for users; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

from .document import SUBSET_PAGE, Element, read_document
from .parameter_values import parse_parameter_value
from .substitutions import parse_template

ACTIONS = ("arg", "let", "include", "group", "push_ros_namespace", "push-ros-namespace", "node")

# Launch configurations that the real launch reads itself: setting them would change how processes
# run there and do nothing here.
RESERVED_NAMES = frozenset({
    "global_params", "ros_remaps", "launch-prefix", "launch-prefix-filter", "emulate_tty",
    "sigterm_timeout", "sigkill_timeout",
})


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What one element may contain.

    Args:
        required: attributes it must have.
        optional: attributes it may have.
        literal: attributes that take no substitution.
        children: child tag to the name of its shape in `SHAPES`.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    literal: tuple[str, ...] = ()
    children: Mapping[str, str] = field(default_factory=dict)


_CONDITIONS = ("if", "unless")
_ANY_ACTION = {tag: tag for tag in ACTIONS}
_PUSH = Shape(required=("namespace",), optional=_CONDITIONS)

SHAPES: Mapping[str, Shape] = {
    "launch": Shape(children=_ANY_ACTION),
    "arg": Shape(
        required=("name",), optional=("default", "description", *_CONDITIONS),
        literal=("name", "description"), children={"choice": "choice"},
    ),
    "choice": Shape(required=("value",), literal=("value",)),
    "let": Shape(required=("name", "value"), optional=_CONDITIONS),
    "include": Shape(
        required=("file",), optional=_CONDITIONS, children={"arg": "arg of include"}
    ),
    "arg of include": Shape(required=("name", "value"), literal=("name",)),
    "group": Shape(
        optional=("scoped", *_CONDITIONS), literal=("scoped",), children=_ANY_ACTION
    ),
    "push_ros_namespace": _PUSH,
    "push-ros-namespace": _PUSH,
    "node": Shape(
        required=("pkg", "exec"),
        optional=(
            "name", "namespace", "args", "ros_args", "output", "respawn", "respawn_delay",
            "on_exit", *_CONDITIONS,
        ),
        literal=("output", "respawn_delay", "on_exit"),
        children={"param": "param", "remap": "remap", "env": "env"},
    ),
    "param": Shape(
        optional=("name", "value", "type", "from"), literal=("type",),
        children={"param": "param in param"},
    ),
    "param in param": Shape(
        required=("name",), optional=("value", "type"), literal=("type",),
        children={"param": "param in param"},
    ),
    "remap": Shape(required=("from", "to")),
    "env": Shape(required=("name", "value")),
}


def read_launch_file(path: str | Path) -> Element:
    """Return the root of a launch file, with every element and attribute checked.

    Raises:
        ConfigError: something is outside the subset; gives its name, file and line.
    """
    if str(path).endswith((".py", ".yaml", ".yml")):
        raise ConfigError(
            "not an XML launch file", where=str(path),
            remedy=f"the launcher reads only .launch.xml files; {SUBSET_PAGE}",
        )
    root = read_document(path)
    if root.tag != "launch":
        raise ConfigError(
            f"the outermost element is <{root.tag}>", where=root.where, remedy="make it <launch>"
        )
    _check(root, "launch")
    return root


def _check(element: Element, shape_name: str) -> None:
    shape = SHAPES[shape_name]
    known = (*shape.required, *shape.optional)
    for name in element.attributes:
        if name not in known:
            raise ConfigError(
                f"<{shape_name}> has no attribute {name!r} in the launcher's subset",
                where=element.attribute_where(name),
                remedy=f"it knows {', '.join(known) or 'none'}{nearest(name, known)}; "
                + SUBSET_PAGE,
            )
    for name in shape.required:
        if name not in element.attributes:
            raise ConfigError(
                f"<{shape_name}> lacks the attribute {name!r}", where=element.where,
                remedy="add it",
            )
    for name in shape.literal:
        if "$(" in element.attributes.get(name, ""):
            raise ConfigError(
                f"{name!r} of <{shape_name}> takes no substitution",
                where=element.attribute_where(name), remedy="write the value itself",
            )
    _check_substitutions(element, shape)
    if "if" in element.attributes and "unless" in element.attributes:
        raise ConfigError(
            f"<{shape_name}> has both 'if' and 'unless'", where=element.where, remedy="keep one"
        )
    for child in element.children:
        if child.tag not in shape.children:
            tags = sorted(shape.children)
            raise ConfigError(
                f"<{child.tag}> in <{element.tag}> is not in the launcher's subset",
                where=child.where,
                remedy=f"<{element.tag}> may contain {', '.join(tags) or 'nothing'}"
                f"{nearest(child.tag, tags)}; {SUBSET_PAGE}",
            )
        _check(child, shape.children[child.tag])


def _check_substitutions(element: Element, shape: Shape) -> None:
    """Refuse broken or unknown substitutions, even where a condition would skip them."""
    for name, text in element.attributes.items():
        where = element.attribute_where(name)
        if element.tag == "param" and name == "value":
            parse_parameter_value(text, element.attributes.get("type", "yaml"), where)
        elif name not in shape.literal:
            parse_template(text, where)
