"""Which PNG files hiwm takes for its own."""

from pathlib import Path

import pytest
from PIL import Image

from hiwm_core.png_files import is_marked_png, is_png, write_png


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_written_picture_is_marked(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    write_png(path, Image.new(mode, (3, 2)))
    assert is_png(path) and is_marked_png(path)
    with Image.open(path) as image:
        assert (image.size, image.mode, image.format) == ((3, 2), mode, "PNG")


def test_other_files_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    assert is_png(path) and not is_marked_png(path)
    for content in (b"", b"notes", b"tEXtSoftware\0hiwm"):
        path.write_bytes(content)
        assert not is_png(path) and not is_marked_png(path)
    assert not is_png(tmp_path) and not is_png(tmp_path / "none")
