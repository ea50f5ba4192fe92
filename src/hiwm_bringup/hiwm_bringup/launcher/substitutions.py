"""Text with substitutions: `$(var name default)`, `$(env NAME default)`, `$(dirname)`,
`$(find-pkg-share package)`.

The grammar is that of the real launch: its documented forms, a backslash before a literal `$(`,
quotes around an argument with spaces. Tested by test_launch_parity.py.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

from .document import SUBSET_PAGE

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(kw_only=True)
class Context:
    """What substitutions read at one point of a launch.

    Args:
        configurations: launch configurations: arguments, lets, `ros_namespace`.
        environment: environment variables.
        directory: folder of the file being resolved.
        left_directory: folder of the last file entered. Releases of launch that do not scope
            `$(dirname)` (before ros2/launch pull request 862) use it instead.
    """

    configurations: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    left_directory: str | None = None


@dataclass(frozen=True)
class Call:
    """One substitution; its arguments are not performed yet."""

    name: str
    arguments: tuple["Template", ...]


@dataclass(frozen=True)
class Template:
    """Text pieces and substitutions in order, with their place."""

    pieces: tuple[str | Call, ...]
    where: str

    @property
    def text(self) -> str | None:
        """Return the text if there is nothing to substitute, otherwise None."""
        if any(isinstance(piece, Call) for piece in self.pieces):
            return None
        return "".join(str(piece) for piece in self.pieces)

    def perform(self, context: Context) -> str:
        """Return the text with every substitution performed.

        Raises:
            ConfigError: a configuration, environment variable or package does not exist.
        """
        return "".join(
            piece if isinstance(piece, str)
            else _SUBSTITUTIONS[piece.name].perform(context, piece.arguments, self.where)
            for piece in self.pieces
        )


def _var(context: Context, arguments: tuple[Template, ...], where: str) -> str:
    name = arguments[0].perform(context)
    if name in context.configurations:
        return context.configurations[name]
    if len(arguments) == 2:
        return arguments[1].perform(context)
    known = sorted(context.configurations)
    raise ConfigError(
        f"$(var {name}) is not set here", where=where,
        remedy=f"declare it before, with <arg> or <let>; set here: {', '.join(known) or 'none'}"
        + nearest(name, known),
    )


def _env(context: Context, arguments: tuple[Template, ...], where: str) -> str:
    default = arguments[1].perform(context) if len(arguments) == 2 else None
    name = arguments[0].perform(context)
    value = context.environment.get(name, default)
    if value is None:
        raise ConfigError(
            f"the environment variable {name!r} is not set", where=where,
            remedy=f"export {name}, or give a default: $(env {name} value)",
        )
    return value


def _dirname(context: Context, _arguments: tuple[Template, ...], where: str) -> str:
    if context.directory is None:
        raise ConfigError("$(dirname) outside a file", where=where, remedy="use it in a file")
    if context.directory != context.left_directory:
        raise ConfigError(
            "$(dirname) after an include of another folder differs between releases of launch",
            where=where,
            remedy='save it before the include: <let name="here" value="$(dirname)"/>',
        )
    return context.directory


def _find_pkg_share(_context: Context, arguments: tuple[Template, ...], where: str) -> str:
    package = arguments[0].perform(_context)
    try:
        return str(get_package_share_directory(package))
    except (PackageNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"$(find-pkg-share {package}): no package {package!r} in AMENT_PREFIX_PATH",
            where=where, remedy="build the workspace and source its environment",
        ) from None


@dataclass(frozen=True)
class _Substitution:
    fewest: int
    most: int
    perform: Callable[[Context, tuple[Template, ...], str], str]


_SUBSTITUTIONS: Mapping[str, _Substitution] = {
    "var": _Substitution(1, 2, _var),
    "env": _Substitution(1, 2, _env),
    "dirname": _Substitution(0, 0, _dirname),
    "find-pkg-share": _Substitution(1, 1, _find_pkg_share),
}
SUBSTITUTION_NAMES = tuple(_SUBSTITUTIONS)


def unescape(text: str) -> str:
    r"""Return text with each `\x` replaced by `x`."""
    return re.sub(r"\\(.)", r"\1", text)


def parse_template(text: str, where: str) -> Template:
    """Return the pieces of an attribute's text.

    Raises:
        ConfigError: an unknown substitution, a wrong number of arguments, or broken syntax.
    """
    return Template(_Reader(text, where).pieces(""), where)


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._at = 0

    def _opens(self) -> bool:
        """Return whether a substitution starts here: a `$(` without a backslash before it."""
        at = self._at
        return self._text.startswith("$(", at) and not (at and self._text[at - 1] == "\\")

    def _next(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _broken(self, expected: str) -> ConfigError:
        found = repr(self._text[self._at:]) if self._next() else "the end"
        return ConfigError(
            f"in {self._text!r}: expected {expected}, found {found}", where=self._where,
            remedy=r"write $(name argument), one space between arguments, or \$( for plain text",
        )

    def pieces(self, quote: str) -> tuple[str | Call, ...]:
        """Read up to the closing quote; to the end if `quote` is empty."""
        found: list[str | Call] = []
        start = self._at

        def text_so_far() -> None:
            if self._at > start:
                found.append(unescape(self._text[start:self._at]))

        while self._next() != quote:
            if not self._next():
                raise self._broken(f"a closing {quote}")
            if self._opens():
                text_so_far()
                found.append(self._call(quote))
                start = self._at
            elif quote and self._text.startswith("\\" + quote, self._at):
                self._at += 2
            else:
                self._at += 1
        text_so_far()
        return tuple(found) or ("",)

    def _call(self, quote: str) -> Call:
        self._at += 2
        match = _IDENTIFIER.match(self._text, self._at)
        if match is None:
            raise self._broken("the name of a substitution")
        name = match[0]
        if name not in _SUBSTITUTIONS:
            raise ConfigError(
                f"$({name}) is not in the launcher's subset", where=self._where,
                remedy=f"it knows {', '.join(SUBSTITUTION_NAMES)}"
                f"{nearest(name, SUBSTITUTION_NAMES)}; {SUBSET_PAGE}",
            )
        self._at = match.end()
        arguments: list[Template] = []
        while self._next() == " ":
            self._at += 1
            arguments.append(Template(self._argument(quote), self._where))
        if self._next() != ")":
            raise self._broken("' ' or ')'")
        self._at += 1
        known = _SUBSTITUTIONS[name]
        if not known.fewest <= len(arguments) <= known.most:
            counts = " or ".join(str(n) for n in range(known.fewest, known.most + 1))
            raise ConfigError(
                f"$({name}) takes {counts} arguments, found {len(arguments)}", where=self._where,
                remedy="quote an argument that contains spaces",
            )
        return Call(name, tuple(arguments))

    def _argument(self, quote: str) -> tuple[str | Call, ...]:
        if not quote and self._next() in ("'", '"'):
            opening = self._next()
            self._at += 1
            pieces = self.pieces(opening)
            self._at += 1
            return pieces
        # Inside a quoted argument only that quote ends it; the other quote is plain text.
        ends = " ()" + (quote or "'\"")
        found: list[str | Call] = []
        while self._next() and (self._next() not in ends):
            if self._opens():
                found.append(self._call(quote))
                continue
            start = self._at
            while self._next() and self._next() not in ends and not self._opens():
                escape = self._next() == "\\" and self._text[self._at + 1:self._at + 2]
                self._at += 2 if escape and escape in "()'\"" else 1
            found.append(unescape(self._text[start:self._at]))
        if not found:
            raise self._broken("an argument")
        return tuple(found)
