"""The arguments a launch file declares, found without running it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

from .document import Element
from .substitutions import Context, parse_template, unescape
from .vocabulary import read_launch_file


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An `<arg>`.

    Args:
        name: of the argument.
        default: as written, substitutions not yet performed; None where a value is required.
        description: for people.
        choices: the values allowed; empty allows any.
        conditional: declared only where a condition holds.
        given_by_includes: names passed by the includes that lead to its file.
        where: file:line.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]
    conditional: bool
    given_by_includes: tuple[str, ...]
    where: str


def declared_arguments(root: Element, environment: dict[str, str]) -> list[Argument]:
    """Return the arguments a file declares; of several declarations of a name, the first.

    As in launch, an included file counts if its path needs no argument and no `$(dirname)`.
    """
    found: dict[str, Argument] = {}
    for argument in _walk(root, False, (), environment, ()):
        found.setdefault(argument.name, argument)
    return list(found.values())


def read_argument(
    element: Element, conditional: bool = False, given: tuple[str, ...] = ()
) -> Argument:
    """Return the argument an `<arg>` declares."""
    return Argument(
        name=unescape(element.attributes["name"]),
        default=element.attributes.get("default"),
        description=unescape(element.attributes.get("description", "")),
        choices=tuple(unescape(c.attributes["value"]) for c in element.children_of("choice")),
        conditional=conditional or _has_condition(element),
        given_by_includes=given,
        where=element.where,
    )


def refuse_missing(arguments: list[Argument], given: list[str], where: str = "") -> None:
    """Refuse a file whose required arguments are not given.

    Args:
        arguments: what it declares.
        given: names that have a value.
        where: of the include; empty reports the place of the declaration.

    Raises:
        ConfigError: names and describes the first missing argument.
    """
    for argument in arguments:
        if argument.default is not None or argument.conditional:
            continue
        if argument.name not in (*given, *argument.given_by_includes):
            raise missing(argument, where)


def missing(argument: Argument, where: str = "") -> ConfigError:
    """Return the error for an argument without a value."""
    meaning = f" ({argument.description})" if argument.description else ""
    return ConfigError(
        f"the argument {argument.name!r}{meaning} has no default and no value",
        where=where or argument.where, remedy=f"give {argument.name}:=VALUE, or a nested "
        f'<arg name="{argument.name}" value="..."/> where the file is included',
    )


def refuse_unknown(arguments: list[Argument], given: list[str], where: str) -> None:
    """Refuse values for undeclared arguments.

    Raises:
        ConfigError: suggests the nearest declared name.
    """
    known = [argument.name for argument in arguments]
    for name in given:
        if name not in known:
            raise ConfigError(
                f"unknown argument {name!r}", where=where,
                remedy=f"it declares {', '.join(known) or 'none'}{nearest(name, known)}; "
                "--show-args describes them",
            )


def _has_condition(element: Element) -> bool:
    return "if" in element.attributes or "unless" in element.attributes


def _walk(
    element: Element, conditional: bool, given: tuple[str, ...], environment: dict[str, str],
    chain: tuple[str, ...],
) -> Iterator[Argument]:
    for child in element.children:
        if child.tag == "arg":
            yield read_argument(child, conditional, given)
        elif child.tag == "group":
            # Launch looks one level deep: it takes a group inside a conditional group as
            # unconditional.
            yield from _walk(child, _has_condition(child), given, environment, chain)
        elif child.tag == "include":
            path = _certain_path(child, environment)
            if path is None or path in chain:
                continue
            names = tuple(arg.attributes["name"] for arg in child.children_of("arg"))
            try:
                included = read_launch_file(path)
            except ConfigError:
                continue  # reported with its place when the file is really included
            yield from _walk(included, False, (*given, *names), environment, (*chain, path))


def _certain_path(include: Element, environment: dict[str, str]) -> str | None:
    template = parse_template(include.attributes["file"], include.where)
    try:
        path = template.perform(Context(environment=environment))
    except ConfigError:
        return None
    return str(Path(path))
