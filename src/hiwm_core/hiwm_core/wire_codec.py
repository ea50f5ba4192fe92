"""The message format of the openpi websocket protocol: msgpack with numpy arrays, never a pickle.

An array is a map with bytes keys: ``{b"__ndarray__": True, b"data", b"dtype", b"shape"}``, in C
order. A numpy scalar is ``{b"__npgeneric__": True, b"data", b"dtype"}``. Both sides of every
server of policies and world models use this module. ``test_wire_codec.py`` compares the bytes with
those of ``openpi-client``.
"""

import math
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from hiwm_core.errors import WireError

_WHERE = "msgpack message"
# Booleans, integers, floats, bytes and text. Objects would need a pickle.
_KINDS = frozenset("biufSU")
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"

# What other encodings put into a map, and what they are called.
_FOREIGN: tuple[tuple[frozenset[Any], str], ...] = (
    (frozenset({b"nd", b"type", b"data"}), "the msgpack-numpy package"),
    (frozenset({"nd", "type", "data"}), "the msgpack-numpy package"),
    (frozenset({"__ndarray__"}), "openpi with text keys, as a client in another language makes it"),
    (frozenset({"__npgeneric__"}), "openpi with text keys"),
    (frozenset({"__ndarray_class__"}), "GR00T, with arrays as .npy files"),
)


def pack(value: Any) -> bytes:
    """Return a value as msgpack bytes.

    Args:
        value: maps, lists, text, bytes, numbers, None, and numpy arrays and scalars of booleans,
            integers, floats or text.

    Raises:
        WireError: something else, such as an array of objects.
    """
    try:
        return bytes(msgpack.packb(value, default=_encode))
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(
            f"cannot be sent: {error}", where=_WHERE, remedy="send numbers, text and plain arrays"
        ) from error


def unpack(data: bytes) -> Any:
    """Return the value of msgpack bytes; its arrays are read-only views of ``data``.

    Raises:
        WireError: a pickle, another encoding (named), an array of objects, an array whose data do
            not match its shape, or no msgpack at all.
    """
    _refuse_pickle(data)
    try:
        return msgpack.unpackb(data, object_hook=_decode, ext_hook=_refuse_extension)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(
            f"{len(data)} bytes starting with {bytes(data[:12])!r} are not msgpack ({error})",
            where=_WHERE, remedy="use a server and a client of the openpi protocol",
        ) from error


def _encode(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a value of type {type(value).__name__}")
    if value.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {value.dtype}")
    if isinstance(value, np.ndarray):
        return {
            _ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}


def _decode(value: dict[Any, Any]) -> Any:
    if _ARRAY in value:
        return _array(value)
    if _SCALAR in value:
        return _dtype(value).type(value.get(b"data"))
    for keys, encoding in _FOREIGN:
        if keys <= value.keys():
            raise WireError(
                f"an array in the encoding of {encoding}", where=_WHERE,
                remedy="send arrays as openpi-client does",
            )
    return value


def _array(value: dict[Any, Any]) -> NDArray[Any]:
    data, shape, dtype = value.get(b"data"), value.get(b"shape"), _dtype(value)
    if not isinstance(data, bytes) or not isinstance(shape, list) or not all(
        isinstance(size, int) and size >= 0 for size in shape
    ):
        raise WireError(
            f"an array without bytes or with shape {shape!r}", where=_WHERE,
            remedy="send arrays as openpi-client does",
        )
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise WireError(
            f"an array of shape {shape} and type {dtype} has {len(data)} bytes, not {expected}",
            where=_WHERE, remedy="send the array's data in C order",
        )
    return np.ndarray(shape, dtype, data)


def _dtype(value: dict[Any, Any]) -> np.dtype[Any]:
    name = value.get(b"dtype")
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in _KINDS:
        raise WireError(
            f"an array of type {name!r}", where=_WHERE,
            remedy="send booleans, integers, floats or text; objects and pickles are refused",
        )
    return dtype


def _refuse_pickle(data: bytes) -> None:
    # A pickle of protocol 2 to 5 starts with these two bytes. In msgpack they would be an empty
    # map with something after it.
    if len(data) > 1 and data[0] == 0x80 and data[1] in (2, 3, 4, 5):
        raise WireError(
            "a pickle, which could run any code here", where=_WHERE,
            remedy="use a server of the openpi protocol; LeRobot's own asynchronous server is "
            "none: run serve_lerobot in its environment instead",
        )


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise WireError(
        f"a msgpack extension of type {code}", where=_WHERE,
        remedy="send arrays as openpi-client does",
    )
