"""The value of `<param value=... type=...>`, by the YAML rules of the real launch.

Without a type the text is YAML: `0.1` is a float, `true` a bool, `[1, 2]` a list, `'0.1'` a string.
Substitutions are performed first, and the result is read as YAML. Only `type="str"` therefore keeps
any value a string. All items of a list have one type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

from .substitutions import Context, Template, parse_template

Scalar = bool | int | float | str
Value = Scalar | list[Scalar]

_SCALARS = (int, float, bool, str)


@dataclass(frozen=True)
class Kind:
    """A type a parameter can be declared with; with `scalar` None, YAML decides."""

    scalar: type | None
    is_list: bool

    @property
    def type(self) -> type:
        """Return the scalar type; str where YAML decides."""
        return self.scalar or str


KINDS: Mapping[str, Kind] = {
    "yaml": Kind(None, False),
    **{scalar.__name__: Kind(scalar, False) for scalar in (str, bool, float, int)},
    **{f"list_of_{scalar.__name__}": Kind(scalar, True) for scalar in (str, bool, float, int)},
}


class _NotThatError(ValueError):
    """The text is not of the kind; callers add the place."""


@dataclass(frozen=True)
class ParameterValue:
    """A value as written; performing its substitutions gives the value."""

    written: Scalar | Template | list[Scalar | Template]
    kind: Kind
    kind_name: str
    where: str

    def evaluate(self, context: Context) -> Value:
        """Return the value.

        Raises:
            ConfigError: the substitutions give something not of the kind.
        """
        try:
            if isinstance(self.written, Template):
                value: Value = _coerce(self.written.perform(context), self.kind)
                return value
            if isinstance(self.written, list):
                element_kind = Kind(self.kind.scalar, False)
                values: list[Any] = [
                    _coerce(item.perform(context), element_kind)
                    if isinstance(item, Template) else item
                    for item in self.written
                ]
                if self.kind.scalar is None and not _uniform(values):
                    raise _NotThatError(f"{values!r} mixes types")
                return values
            return self.written
        except _NotThatError as error:
            raise _refusal(error, self.kind_name, self.where) from None


def parse_parameter_value(text: str, kind_name: str, where: str) -> ParameterValue:
    """Return a parameter's value from the text of its attribute.

    Args:
        text: the `value` attribute.
        kind_name: the `type` attribute; "yaml" if there is none.
        where: file and line.

    Raises:
        ConfigError: the type is unknown, or the text cannot be converted to it.
    """
    if kind_name not in KINDS:
        raise ConfigError(
            f"unknown parameter type {kind_name!r}", where=where,
            remedy=f"use one of {', '.join(KINDS)}{nearest(kind_name, KINDS)}",
        )
    kind = KINDS[kind_name]
    try:
        read = _coerce_written(text, kind)
        written = _with_templates(read, where)
        _check_written(written, kind)
    except _NotThatError as error:
        raise _refusal(error, kind_name, where) from None
    return ParameterValue(written, kind, kind_name, where)


def read_bool(text: str, where: str) -> bool:
    """Return text as a bool, as launch reads it: 1, 0, or a YAML bool.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        return bool(_coerce(text, KINDS["bool"]))
    except _NotThatError as error:
        raise ConfigError(str(error), where=where, remedy="use true or false") from None


def _refusal(error: Exception, kind_name: str, where: str) -> ConfigError:
    expected = "a scalar or a list of one type" if kind_name == "yaml" else kind_name
    return ConfigError(
        f"parameter value: {error}", where=where,
        remedy=f'write {expected}; type="str" keeps any text as it is',
    )


def _yaml(text: str) -> Any:
    if not text:
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _NotThatError(f"{text!r} is not YAML ({type(error).__name__})") from None


def _uniform(values: list[Any]) -> bool:
    """Return whether all items have one scalar type; as in launch, a bool counts as an int."""
    kind = next((type(value) for value in values if type(value) is not str), str)
    return kind in _SCALARS and all(isinstance(value, kind) for value in values)


def _coerce(text: str, kind: Kind) -> Any:
    """Convert text without substitutions to the kind."""
    if kind.is_list:
        values = _yaml(text)
        if not isinstance(values, list) or not all(isinstance(v, kind.type) for v in values):
            raise _NotThatError(f"{text!r} is not a list of {kind.type.__name__}")
        return values
    if kind.scalar is str:
        return text
    if kind.scalar in (int, float):
        try:
            return kind.scalar(text)
        except ValueError:
            raise _NotThatError(f"{text!r} is not {kind.type.__name__}") from None
    if kind.scalar is bool:
        value = {"1": True, "0": False}.get(text)
        value = _yaml(text) if value is None else value
        if not isinstance(value, bool):
            raise _NotThatError(f"{text!r} is not bool")
        return value
    value = _yaml(text)
    if isinstance(value, _SCALARS) or (isinstance(value, list) and _uniform(value)):
        return value
    raise _NotThatError(f"{text!r} is {type(value).__name__} in YAML")


def _coerce_written(text: str, kind: Kind) -> Any:
    """Convert an attribute's text as far as possible before its substitutions are performed.

    Text with a substitution stays text, by itself and as an item of a list.
    """
    if kind.is_list:
        values = _yaml(text)
        if not isinstance(values, list):
            raise _NotThatError(f"{text!r} is not a list")
        return values
    if kind.scalar is None:
        try:
            value = _yaml(text)
        except _NotThatError:
            return text
        if not isinstance(value, (*_SCALARS, list)):
            raise _NotThatError(f"{text!r} is {type(value).__name__} in YAML")
        return value
    try:
        return _coerce(text, kind)
    except _NotThatError:
        if "$(" not in text:
            raise
        # A quoted substitution of a bool loses its quotes, as in launch.
        value = _yaml(text) if kind.scalar is bool else text
        if not isinstance(value, str):
            raise
        return value


def _with_templates(value: Any, where: str) -> Any:
    """Return the value with each string that contains a substitution as a template."""
    if isinstance(value, list):
        return [_with_templates(item, where) for item in value]
    if isinstance(value, str):
        template = parse_template(value, where)
        return template if template.text is None else template.text
    return value


def _check_written(value: Any, kind: Kind) -> None:
    """Refuse literal values of another type, and lists that mix types."""
    if isinstance(value, str) and kind.scalar not in (None, str):
        raise _NotThatError(f"{value!r} is not {kind.type.__name__}")
    if not isinstance(value, list):
        return
    types = {type(item) for item in value if not isinstance(item, Template)}
    if not types <= {*_SCALARS} or len(types) > 1:
        raise _NotThatError(f"{value!r} mixes types")
    fits = {kind.scalar} if kind.scalar is not None else set(_SCALARS)
    if not types <= fits or (not value and kind.scalar not in (None, str)):
        raise _NotThatError(f"{value!r} is not a list of {kind.type.__name__}")
