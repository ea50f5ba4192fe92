"""XML with the line of every element and attribute, so that errors can name the place."""

import re
import xml.parsers.expat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hiwm_core.errors import ConfigError

SUBSET_PAGE = "docs/launching.md lists the whole subset"

_ATTRIBUTE = re.compile(rb"""([^\s=<>/"']+)\s*=\s*(?:"[^"]*"|'[^']*')""")


@dataclass(frozen=True, kw_only=True)
class Element:
    """One XML element.

    Args:
        tag: its name.
        attributes: name to text.
        children: elements inside it, in order.
        file: path of the file, as given.
        line: of the opening tag, from 1.
        attribute_lines: line of each attribute.
    """

    tag: str
    attributes: Mapping[str, str]
    children: list["Element"] = field(default_factory=list)
    file: str
    line: int
    attribute_lines: Mapping[str, int]

    @property
    def where(self) -> str:
        """Return file:line of the tag."""
        return f"{self.file}:{self.line}"

    def attribute_where(self, name: str) -> str:
        """Return file:line of an attribute, or of the tag if it lacks that attribute."""
        return f"{self.file}:{self.attribute_lines.get(name, self.line)}"

    def children_of(self, tag: str) -> Iterator["Element"]:
        """Yield the children with a tag."""
        return (child for child in self.children if child.tag == tag)


class _Builder:
    """Builds elements from expat's events."""

    def __init__(self, source: bytes, file: str) -> None:
        self._source = source
        self._file = file
        self._open: list[Element] = []
        self.root: Element | None = None
        self._parser = xml.parsers.expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def parse(self) -> None:
        self._parser.Parse(self._source, True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        element = Element(
            tag=tag, attributes=attributes, file=self._file, line=line,
            attribute_lines=self._attribute_lines(line, len(attributes)),
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _attribute_lines(self, line: int, count: int) -> dict[str, int]:
        start = self._parser.CurrentByteIndex
        lines: dict[str, int] = {}
        for match in _ATTRIBUTE.finditer(self._source, start):
            if len(lines) == count:
                break
            name = match[1].decode("utf-8", "replace")
            lines[name] = line + self._source.count(b"\n", start, match.start())
        return lines

    def _end(self, _tag: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if text.strip():
            raise ConfigError(
                f"text {text.strip()!r} between the tags",
                where=f"{self._file}:{self._parser.CurrentLineNumber}",
                remedy="launch files contain only elements; make it a comment",
            )

    def _doctype(self, *_arguments: object) -> None:
        raise ConfigError(
            "a DOCTYPE", where=f"{self._file}:{self._parser.CurrentLineNumber}",
            remedy="remove it; launch files need none",
        )


def read_document(path: str | Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        ConfigError: the file does not exist, or is not well-formed XML; names the line.
    """
    file = str(path)
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the launch file: {error.strerror}", where=file,
            remedy="give the path of a .launch.xml file",
        ) from None
    builder = _Builder(source, file)
    try:
        builder.parse()
    except xml.parsers.expat.ExpatError as error:
        raise ConfigError(
            f"not well-formed XML: {xml.parsers.expat.ErrorString(error.code)}",
            where=f"{file}:{error.lineno}", remedy="fix the syntax",
        ) from None
    if builder.root is None:  # expat refuses a document without an element before this
        raise ConfigError("no element", where=file, remedy="start with <launch>")
    return builder.root
