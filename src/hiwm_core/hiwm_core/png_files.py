"""PNG files that hiwm writes carry a mark, so that a command replaces only its own pictures."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hiwm_core.atomic_files import replace_file

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEY, _VALUE = "Software", "hiwm"
_MARK = f"tEXt{_KEY}\0{_VALUE}".encode()
_HEAD_BYTES = 256  # the mark follows the header


def write_png(path: Path, image: Image.Image) -> None:
    """Write a marked PNG atomically; raises OSError."""
    mark = PngInfo()
    mark.add_text(_KEY, _VALUE)
    replace_file(path, lambda file: image.save(file, "PNG", optimize=True, pnginfo=mark))


def is_png(path: Path) -> bool:
    """Return whether a file is a PNG, with or without the mark."""
    return _head(path).startswith(_SIGNATURE)


def is_marked_png(path: Path) -> bool:
    """Return whether a file is a PNG that `write_png` wrote."""
    return is_png(path) and _MARK in _head(path)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
