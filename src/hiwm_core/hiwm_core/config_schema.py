"""Reads YAML into checked, frozen dataclasses.

A reader declares its file as a keyword-only frozen dataclass, and `settings` builds it::

    @dataclass(frozen=True, kw_only=True)
    class JointSetting:
        id: int = number(lower=0, upper=252)                 # no default: required
        sign: Literal[1, -1] = 1                             # a choice
        offset_rad: float = number(0.0, lower=-7.0, upper=7.0)

    @dataclass(frozen=True, kw_only=True)
    class LeaderFile:
        port: str
        arms: Mapping[Literal["left", "right"], tuple[JointSetting, ...]]
        calibration: str | None = None

    file = settings(LeaderFile, parse_mapping(text, where), where)

Fields may be bool, int, float, str, ``Any``, ``Literal``, another such dataclass, ``tuple[X, ...]``
(a YAML list), ``tuple[X, Y]`` (a list of that length), ``Mapping[K, X]`` (free keys, checked as K),
and ``X | None`` or other unions. A check over several fields goes into ``__post_init__``, which
raises ConfigError with the field as its ``where``; the reader adds the file. Tested by
``test_config_schema.py``.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hiwm_core.config_files import nearest
from hiwm_core.errors import ConfigError

T = TypeVar("T")


def number(default: Any = MISSING, *, lower: float, upper: float) -> Any:
    """Return a dataclass field for a number in a range; without a default it is required."""
    return field(default=default, metadata={"lower": lower, "upper": upper})


def settings(schema: type[T], data: Any, where: str) -> T:
    """Return parsed YAML or JSON as an instance of a dataclass.

    Args:
        schema: the dataclass.
        data: the file's content at this place.
        where: file, and the field if data is a part of the file.

    Raises:
        ConfigError: unknown or missing key, wrong type, choice or range; names the file, the field
            and the remedy.
    """
    try:
        value: T = _value(schema, data, "")
    except ConfigError as error:
        place = f"{where}: {error.where}" if error.where else where
        raise ConfigError(error.what, where=place, remedy=error.remedy) from None
    return value


def _value(kind: Any, data: Any, where: str) -> Any:
    """Return data as a value of a type; raise ConfigError with the field."""
    origin = get_origin(kind)
    if kind is Any:
        return data
    if is_dataclass(kind):
        return _settings(kind, data, where)
    if origin is Literal:
        return _choice(get_args(kind), data, where)
    if origin in (Union, types.UnionType):
        return _either(get_args(kind), data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise ConfigError(f"expected a list, found {data!r}", where=where, remedy="write [ ]")
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            inner = inner[:1] * len(data)
        if len(inner) != len(data):
            raise ConfigError(
                f"expected {len(inner)} entries, found {data!r}", where=where,
                remedy=f"list {len(inner)}",
            )
        return tuple(
            _value(one, entry, f"{where}[{i}]")
            for i, (one, entry) in enumerate(zip(inner, data, strict=True))
        )
    if origin is Mapping:
        if not isinstance(data, dict):
            raise ConfigError(
                f"expected a mapping, found {data!r}", where=where,
                remedy="write key: value lines",
            )
        key_kind, inner = get_args(kind)
        return types.MappingProxyType({
            _value(key_kind, key, where): _value(inner, entry, _below(where, key))
            for key, entry in data.items()
        })
    return _plain(kind, data, where)


def _settings(kind: Any, data: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    known = {entry.name: entry for entry in fields(kind)}
    if not isinstance(data, dict):
        raise ConfigError(
            f"expected a mapping with the keys {', '.join(known)}, found {data!r}", where=where,
            remedy="write key: value lines",
        )
    given = {}
    for key, value in data.items():
        if key not in known:
            raise ConfigError(
                f"unknown key {key!r}", where=where,
                remedy=f"known keys are {', '.join(known)}{nearest(str(key), known)}",
            )
        place = _below(where, key)
        given[key] = _value(hints[key], value, place)
        _check_range(given[key], known[key].metadata, place)
    for name, entry in known.items():
        if name not in given and entry.default is MISSING and entry.default_factory is MISSING:
            raise ConfigError(f"missing key {name!r}", where=where, remedy="add it")
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(
            error.what, where=_below(where, error.where), remedy=error.remedy
        ) from None


def _choice(choices: tuple[Any, ...], data: Any, where: str) -> Any:
    for choice in choices:
        if data == choice and type(data) is type(choice):
            return choice
    names = [str(choice) for choice in choices]
    raise ConfigError(
        f"unknown value {data!r}", where=where,
        remedy=f"use one of {', '.join(names)}{nearest(str(data), names)}",
    )


def _either(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    """Return data as the union member that matches its shape."""
    if data is None and type(None) in kinds:
        return None
    left = [kind for kind in kinds if kind is not type(None)]
    # A mapping is tried only as a mapping and a plain value only as a plain one, so that the error
    # message fits the data.
    fitting = [kind for kind in left if _takes_mapping(kind) is isinstance(data, dict)] or left
    for kind in fitting[:-1]:
        try:
            return _value(kind, data, where)
        except ConfigError:
            continue
    return _value(fitting[-1], data, where)


def _takes_mapping(kind: Any) -> bool:
    return is_dataclass(kind) or get_origin(kind) is Mapping


def _plain(kind: type, data: Any, where: str) -> Any:
    number_wanted = kind in (int, float)
    good = isinstance(data, int | float if kind is float else kind)
    if not good or (number_wanted and isinstance(data, bool)):
        raise ConfigError(
            f"expected {kind.__name__}, found {data!r}", where=where, remedy="correct the value"
        )
    if kind is float:
        if not math.isfinite(data):
            raise ConfigError(f"{data} is not finite", where=where, remedy="give a number")
        return float(data)
    return data


def _check_range(value: Any, metadata: Mapping[str, Any], where: str) -> None:
    if "lower" not in metadata or value is None:  # None: the field is optional
        return
    if not metadata["lower"] <= value <= metadata["upper"]:
        raise ConfigError(
            f"{value:g} is out of range", where=where,
            remedy=f"give a number from {metadata['lower']:g} to {metadata['upper']:g}",
        )


def _below(where: str, key: object) -> str:
    return ".".join(part for part in (where, str(key)) if part)
