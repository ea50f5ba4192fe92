"""Resolves a launch file and its arguments to the nodes it starts, as the real launch does.

One dictionary of launch configurations passes through the elements in order. A group restores it
at its end, unless scoped="false". An include does not: what the included file sets stays set.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

from .arguments import (
    declared_arguments,
    missing,
    read_argument,
    refuse_missing,
    refuse_unknown,
)
from .document import Element
from .node_specs import NodeSpec, ParameterSource
from .parameter_values import Value, parse_parameter_value, read_bool
from .substitutions import Call, Context, Template, parse_template
from .vocabulary import RESERVED_NAMES, read_launch_file

_DEEPEST_INCLUDE = 30  # detects a file that includes itself
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OUTPUTS = ("screen", "both", "log")


def resolve(
    path: str | Path, arguments: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[NodeSpec]:
    """Return the nodes of a launch file, in the order they are started.

    Args:
        path: of the file.
        arguments: values by name.
        environment: read by $(env); that of the process if None.

    Raises:
        ConfigError: something is missing, unknown, invalid or outside the subset; names file and
            line.
    """
    given = dict(arguments or {})
    variables = dict(os.environ if environment is None else environment)
    refuse_unknown(declared_arguments(read_launch_file(path), variables), list(given), str(path))
    resolver = _Resolver(Context(environment=variables))
    resolver.enter_file(str(path), given, str(path))
    return resolver.nodes


class _Resolver:
    """Walks the elements and collects `nodes`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._depth = 0
        self.nodes: list[NodeSpec] = []
        self._actions: Mapping[str, Callable[[Element], None]] = {
            "arg": self._arg, "let": self._let, "include": self._include, "group": self._group,
            "push_ros_namespace": self._push, "push-ros-namespace": self._push,
            "node": self._node,
        }

    def enter_file(
        self, path: str, given: Mapping[str, str | Template], where: str
    ) -> None:
        """Resolve the elements of a file with values for its arguments."""
        context = self._context
        if self._depth > _DEEPEST_INCLUDE:
            raise ConfigError(
                f"includes go deeper than {_DEEPEST_INCLUDE} files", where=where,
                remedy="a file includes itself; remove that include",
            )
        root = _read_included(path, where)
        including = context.directory
        folder = os.path.dirname(os.path.abspath(path))
        context.directory = context.left_directory = folder
        declared = declared_arguments(root, dict(context.environment))
        refuse_missing(declared, list(given), where if self._depth else "")
        for name, value in given.items():
            _refuse_reserved(name, where)
            context.configurations[name] = (
                value if isinstance(value, str) else value.perform(context)
            )
        self._depth += 1
        self._run(root)
        self._depth -= 1
        context.directory = including

    def _run(self, parent: Element) -> None:
        for element in parent.children:
            if self._condition_holds(element):
                self._actions[element.tag](element)

    def _perform(self, element: Element, name: str) -> str:
        return _template(element, name).perform(self._context)

    def _condition_holds(self, element: Element) -> bool:
        for name in ("if", "unless"):
            if name not in element.attributes:
                continue
            text = self._perform(element, name).strip().lower()
            if text not in ("true", "1", "false", "0"):
                raise ConfigError(
                    f"{name}={element.attributes[name]!r} gives {text!r}",
                    where=element.attribute_where(name), remedy="use true, 1, false or 0",
                )
            return (text in ("true", "1")) == (name == "if")
        return True

    def _arg(self, element: Element) -> None:
        argument = read_argument(element)
        _refuse_reserved(argument.name, element.where)
        values = self._context.configurations
        if argument.name not in values:
            if argument.default is None:
                raise missing(argument)
            values[argument.name] = self._perform(element, "default")
        if argument.choices and values[argument.name] not in argument.choices:
            value = values[argument.name]
            raise ConfigError(
                f"{argument.name}:={value} is not one of the choices", where=element.where,
                remedy=f"use {', '.join(argument.choices)}{nearest(value, argument.choices)}",
            )

    def _let(self, element: Element) -> None:
        name = self._perform(element, "name")
        _refuse_reserved(name, element.where)
        self._context.configurations[name] = self._perform(element, "value")

    def _include(self, element: Element) -> None:
        given = {
            child.attributes["name"]: _template(child, "value")
            for child in element.children_of("arg")
        }
        self.enter_file(self._perform(element, "file"), given, element.where)

    def _group(self, element: Element) -> None:
        scoped = element.attributes.get("scoped", "true")
        if not read_bool(scoped, element.attribute_where("scoped")):
            self._run(element)
            return
        outer = dict(self._context.configurations)
        self._run(element)
        self._context.configurations = outer

    def _push(self, element: Element) -> None:
        values = self._context.configurations
        namespace = _absolute(_joined(
            values.get("ros_namespace"), self._perform(element, "namespace")
        ))
        values["ros_namespace"] = _checked_namespace(
            namespace, element.attribute_where("namespace")
        )

    def _node(self, element: Element) -> None:
        has = element.attributes.__contains__
        own = self._perform(element, "namespace") if has("namespace") else None
        joined = _joined(self._context.configurations.get("ros_namespace"), own)
        namespace = None if joined is None else _checked_namespace(
            _absolute(joined), element.attribute_where("namespace")
        )
        name = self._perform(element, "name") if has("name") else None
        if name is not None and not _TOKEN.fullmatch(name):
            raise ConfigError(
                f"node name {name!r}", where=element.attribute_where("name"),
                remedy="use letters, digits and underscores; do not start with a digit",
            )
        _check_literals(element)
        respawn = has("respawn") and read_bool(
            self._perform(element, "respawn"), element.attribute_where("respawn")
        )
        ends_graph = has("on_exit")
        if respawn and ends_graph:
            raise ConfigError(
                "respawn and on_exit contradict each other", where=element.where,
                remedy="keep one: a node that is restarted cannot stop the graph",
            )
        self.nodes.append(NodeSpec(
            package=self._perform(element, "pkg"),
            executable=self._perform(element, "exec"),
            name=name,
            namespace=namespace,
            parameters=tuple(self._parameters(p) for p in element.children_of("param")),
            remaps=tuple(
                (self._perform(r, "from"), self._perform(r, "to"))
                for r in element.children_of("remap")
            ),
            environment={
                self._perform(e, "name"): self._perform(e, "value")
                for e in element.children_of("env")
            },
            arguments=self._command_line(element, "args") or (),
            ros_arguments=self._command_line(element, "ros_args"),
            respawn=respawn,
            respawn_delay_s=float(element.attributes.get("respawn_delay", 0.0)),
            ends_graph=ends_graph,
            where=element.where,
        ))

    def _parameters(self, element: Element) -> ParameterSource:
        attributes = element.attributes
        if ("from" in attributes) == ("name" in attributes) or (
            "from" in attributes and (len(attributes) > 1 or element.children)
        ):
            raise ConfigError(
                "<param> needs either 'name' or only 'from'", where=element.where,
                remedy="write name and value, name and nested <param>, or from=FILE",
            )
        if "from" in attributes:
            file = Path(self._perform(element, "from"))
            if not file.is_file():
                raise ConfigError(
                    f"no parameter file {str(file)!r}", where=element.attribute_where("from"),
                    remedy="give a path that exists",
                )
            return file
        values: dict[str, Value] = {}
        self._collect_parameters(element, "", values)
        return values

    def _collect_parameters(
        self, element: Element, prefix: str, values: dict[str, Value]
    ) -> None:
        attributes = element.attributes
        name = prefix + self._perform(element, "name")
        if ("value" in attributes) == bool(element.children) or (
            element.children and "type" in attributes
        ):
            raise ConfigError(
                f"<param name={name!r}> needs either a value or nested <param>, not both",
                where=element.where, remedy="write one of the two",
            )
        if "value" in attributes:
            values[name] = parse_parameter_value(
                attributes["value"], attributes.get("type", "yaml"),
                element.attribute_where("value"),
            ).evaluate(self._context)
        for child in element.children:
            self._collect_parameters(child, name + ".", values)

    def _command_line(self, element: Element, name: str) -> tuple[str, ...] | None:
        if name not in element.attributes:
            return None
        template = _template(element, name)
        try:
            words = split_words(template)
        except ValueError as error:
            raise ConfigError(
                f"{name}={element.attributes[name]!r}: {error}", where=template.where,
                remedy="close the quotes, each on its own side of a substitution",
            ) from None
        return tuple(word.perform(self._context) for word in words)


def split_words(template: Template) -> list[Template]:
    """Return the words of a command line. The result of a substitution is never split.

    As in launch, blank text ends a word even if none has started: a leading blank before a
    substitution gives an empty word.

    Raises:
        ValueError: a quote in a text piece is not closed.
    """
    words: list[list[str | Call]] = []
    word: list[str | Call] = []

    def end_word() -> None:
        nonlocal word
        words.append(word)
        word = []

    for piece in template.pieces:
        if isinstance(piece, Call):
            word.append(piece)
            continue
        tokens = shlex.split(piece)
        if not tokens:
            end_word()
            continue
        if piece[0].isspace() and word:
            end_word()
        for token in tokens[:-1]:
            word.append(token)
            end_word()
        word.append(tokens[-1])
        if piece[-1].isspace():
            end_word()
    if word:
        end_word()
    return [Template(tuple(pieces), template.where) for pieces in words]


def _template(element: Element, name: str) -> Template:
    return parse_template(element.attributes[name], element.attribute_where(name))


def _read_included(path: str, where: str) -> Element:
    if where != path and not Path(path).is_file():
        folder = Path(path).parent
        stem = Path(path).name.partition("_")[0]
        siblings = sorted(f.name for f in folder.glob(f"{stem}_*.launch.xml"))
        known = ", ".join(siblings) or ", ".join(sorted(f.name for f in folder.glob("*.xml")))
        raise ConfigError(
            f"no launch file {path!r} to include", where=where,
            remedy=f"there are {known or 'none in that folder'}",
        )
    return read_launch_file(path)


def _refuse_reserved(name: str, where: str) -> None:
    if name in RESERVED_NAMES:
        raise ConfigError(
            f"{name!r} has a meaning of its own in launch and is not in the launcher's subset",
            where=where, remedy="use another name",
        )


def _check_literals(element: Element) -> None:
    output = element.attributes.get("output", "screen")
    if output not in _OUTPUTS:
        raise ConfigError(
            f"output={output!r}", where=element.attribute_where("output"),
            remedy=f"use one of {', '.join(_OUTPUTS)}",
        )
    if element.attributes.get("on_exit", "shutdown") != "shutdown":
        raise ConfigError(
            f"on_exit={element.attributes['on_exit']!r}",
            where=element.attribute_where("on_exit"), remedy='the one value is "shutdown"',
        )
    delay = element.attributes.get("respawn_delay", "0")
    try:
        good = 0.0 <= float(delay) < float("inf")
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"respawn_delay={delay!r}", where=element.attribute_where("respawn_delay"),
            remedy="give seconds, 0 or more",
        )


def _joined(base: str | None, namespace: str | None) -> str | None:
    """Return a namespace below the base; an absolute one ignores the base."""
    if namespace is None:
        joined = base
    elif not base or namespace.startswith("/"):
        joined = namespace
    else:
        joined = f"{'' if base == '/' else base}/{namespace}"
    return joined if joined in (None, "/") else joined.rstrip("/")


def _absolute(namespace: str | None) -> str:
    namespace = namespace or ""
    return namespace if namespace.startswith("/") else "/" + namespace


def _checked_namespace(namespace: str, where: str) -> str:
    tokens = [] if namespace == "/" else namespace[1:].split("/")
    if all(_TOKEN.fullmatch(token) for token in tokens):
        return namespace
    raise ConfigError(
        f"namespace {namespace!r}", where=where,
        remedy="use letters, digits and underscores between single slashes; "
        "start no part with a digit",
    )
