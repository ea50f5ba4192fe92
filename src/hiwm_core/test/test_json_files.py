"""A JSON file holds an object, or is named with its remedy."""

from pathlib import Path

import pytest

from hiwm_core.errors import StoreError
from hiwm_core.json_files import read_object


def test_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1]}')
    assert read_object(path, "remove it") == {"a": [1]}


@pytest.mark.parametrize(
    "content", [b"", bytes(20), b'{"a": ', b"\xff", b"[]", b"null", b"5", b"[" * 100_000]
)
def test_anything_else_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="remove it") as caught:
        read_object(path, "remove it")
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read_object(tmp_path / "a.json", "remove it")
