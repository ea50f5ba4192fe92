"""The openpi message format: the same bytes as `openpi-client`, and no pickles.

`GOLDEN` was written by `openpi_client.msgpack_numpy.packb` of openpi-client 0.1.2 from `VALUES`, in
a virtual environment of its own (openpi-client wants numpy below 2): one line a value,
``print(name, packb(value).hex())``.
"""

import pickle
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from hiwm_core.errors import WireError
from hiwm_core.wire_codec import pack, unpack

IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
VALUES: dict[str, Any] = {
    "observation": {
        "observation/image": IMAGE,
        "observation/state": np.array([0.5, -1.25, np.pi], np.float32),
        "prompt": "fold the towel",
    },
    "nested": {
        "images": {"cam_high": IMAGE.transpose(2, 0, 1), "cam_low": np.zeros((0, 4))},
        "state": np.array([1.5, -2.0]),
    },
    "reply": {
        "actions": np.array([[0.25, 1.0], [-0.5, 2.0]]),
        "server_timing": {"infer_ms": 12.5, "prev_total_ms": np.float32(0.5)},
        "ok": True, "none": None,
    },
    "scalars": [
        np.float32(1.5), np.float64(-2.25), np.int64(-7), np.uint8(255), np.bool_(True),
        3, -4, 2**40, 1.5, "é", b"\x00\xff",
    ],
    "other dtypes": {
        "i4": np.array([1, -2], np.int32), "f2": np.array([0.5], np.float16),
        "big": np.array([1, 2], ">i2"), "bool": np.array([True, False]),
        "text": np.array(["ab", "c"]), "zero_d": np.array(3.0, np.float32),
        "F": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    },
    "metadata": {"action_horizon": 16, "needs": ["image", "state"]},
}
GOLDEN = {
    "observation": (
        "83b16f62736572766174696f6e2f696d61676584c40b5f5f6e6461727261795f5fc3c40464617461c40c0001"
        "02030405060708090a0bc4056474797065a37c7531c405736861706593020203b16f62736572766174696f6e"
        "2f737461746584c40b5f5f6e6461727261795f5fc3c40464617461c40c0000003f0000a0bfdb0f4940c40564"
        "74797065a33c6634c40573686170659103a670726f6d7074ae666f6c642074686520746f77656c"
    ),
    "nested": (
        "82a6696d6167657382a863616d5f6869676884c40b5f5f6e6461727261795f5fc3c40464617461c40c000306"
        "090104070a0205080bc4056474797065a37c7531c405736861706593030202a763616d5f6c6f7784c40b5f5f"
        "6e6461727261795f5fc3c40464617461c400c4056474797065a33c6638c4057368617065920004a573746174"
        "6584c40b5f5f6e6461727261795f5fc3c40464617461c410000000000000f83f00000000000000c0c4056474"
        "797065a33c6638c40573686170659102"
    ),
    "reply": (
        "84a7616374696f6e7384c40b5f5f6e6461727261795f5fc3c40464617461c420000000000000d03f00000000"
        "0000f03f000000000000e0bf0000000000000040c4056474797065a33c6638c4057368617065920202ad7365"
        "727665725f74696d696e6782a8696e6665725f6d73cb4029000000000000ad707265765f746f74616c5f6d73"
        "83c40d5f5f6e7067656e657269635f5fc3c40464617461cb3fe0000000000000c4056474797065a33c6634a2"
        "6f6bc3a46e6f6e65c0"
    ),
    "scalars": (
        "9b83c40d5f5f6e7067656e657269635f5fc3c40464617461cb3ff8000000000000c4056474797065a33c6634"
        "cbc00200000000000083c40d5f5f6e7067656e657269635f5fc3c40464617461f9c4056474797065a33c6938"
        "83c40d5f5f6e7067656e657269635f5fc3c40464617461ccffc4056474797065a37c753183c40d5f5f6e7067"
        "656e657269635f5fc3c40464617461c3c4056474797065a37c623103fccf0000010000000000cb3ff8000000"
        "000000a2c3a9c40200ff"
    ),
    "other dtypes": (
        "87a2693484c40b5f5f6e6461727261795f5fc3c40464617461c40801000000feffffffc4056474797065a33c"
        "6934c40573686170659102a2663284c40b5f5f6e6461727261795f5fc3c40464617461c4020038c405647479"
        "7065a33c6632c40573686170659101a362696784c40b5f5f6e6461727261795f5fc3c40464617461c4040001"
        "0002c4056474797065a33e6932c40573686170659102a4626f6f6c84c40b5f5f6e6461727261795f5fc3c404"
        "64617461c4020100c4056474797065a37c6231c40573686170659102a47465787484c40b5f5f6e6461727261"
        "795f5fc3c40464617461c41061000000620000006300000000000000c4056474797065a33c5532c405736861"
        "70659102a67a65726f5f6484c40b5f5f6e6461727261795f5fc3c40464617461c40400004040c40564747970"
        "65a33c6634c405736861706590a14684c40b5f5f6e6461727261795f5fc3c40464617461c40c000001000200"
        "030004000500c4056474797065a33c6932c4057368617065920203"
    ),
    "metadata": (
        "82ae616374696f6e5f686f72697a6f6e10a56e6565647392a5696d616765a57374617465"
    ),
}


def same(left: Any, right: Any) -> bool:
    """Compare values that contain arrays; a tuple is a list on the wire."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and bool(
            np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        )
    return bool(left == right)


@pytest.mark.parametrize("name", VALUES)
def test_values_are_packed_as_openpi_client_packs_them(name: str) -> None:
    assert pack(VALUES[name]).hex() == GOLDEN[name]


@pytest.mark.parametrize("name", VALUES)
def test_what_openpi_client_packed_is_read_back(name: str) -> None:
    assert same(VALUES[name], unpack(bytes.fromhex(GOLDEN[name])))


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False),
    st.text(), st.binary(),
    numpy_st.arrays(
        st.sampled_from([np.uint8, np.int32, np.float32, np.float64, np.bool_]),
        numpy_st.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
)


@given(st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
))
def test_every_value_comes_back(value: Any) -> None:
    assert same(value, unpack(pack(value)))


class Surprise:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


ARRAY = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2]}


@pytest.mark.parametrize(("data", "words"), [
    *((pickle.dumps(Surprise(), protocol), "a pickle") for protocol in (2, 3, 4, 5)),
    (msgpack.packb({b"nd": True, b"type": "O", b"kind": b"O", b"shape": [1],
                    b"data": pickle.dumps(Surprise())}), "the msgpack-numpy package"),
    (msgpack.packb({"nd": True, "type": "<f4", "shape": [1], "data": b"1234"}),
     "the msgpack-numpy package"),
    (msgpack.packb({"__ndarray__": True, "data": b""}), "text keys"),
    (msgpack.packb({"__ndarray_class__": True, "as_npy": b""}), "GR00T"),
    (msgpack.packb(ARRAY | {b"dtype": "|O"}), "|O"),
    (msgpack.packb(ARRAY | {b"dtype": "f4,f4"}), "f4,f4"),
    (msgpack.packb(ARRAY | {b"dtype": "float33"}), "float33"),
    (msgpack.packb(ARRAY | {b"shape": [3]}), "has 8 bytes, not 12"),
    (msgpack.packb(ARRAY | {b"shape": [-1, -2]}), "shape [-1, -2]"),
    (msgpack.packb(ARRAY | {b"data": "text"}), "without bytes"),
    (msgpack.packb({b"__npgeneric__": True, b"dtype": "<f4", b"data": "x"}), "not msgpack"),
    (msgpack.packb(msgpack.ExtType(78, b"")), "extension of type 78"),
    (b'{"actions": [[0.1]]}', "not msgpack"),
    (b"", "not msgpack"),
])
def test_other_encodings_are_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(WireError) as caught:
        unpack(data)
    assert words in str(caught.value)


@pytest.mark.parametrize(("value", "words"), [
    (np.array([None, 1], object), "array of object"), (np.zeros(2, complex), "complex128"),
    (np.zeros(1, "f4,f4"), "array of"), (Surprise(), "Surprise"), ({"a": {1, 2}}, "set"),
    (2**70, "cannot be sent"),
])
def test_only_plain_values_are_sent(value: Any, words: str) -> None:
    with pytest.raises(WireError) as caught:
        pack({"observation": value})
    assert words in str(caught.value)
