"""Pictures as an MP4 file, H.264."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from hiwm_core.atomic_files import replace_file

# Constant rate factor of libx264: 18 is visually lossless, 23 its default.
_QUALITY = "18"


def write_video(
    path: Path, pictures: Iterable[NDArray[np.uint8]], fps: float, comment: str = ""
) -> None:
    """Write pictures [H, W, 3] rgb, all of one size with even sides, as a video.

    The file appears when it is complete; whatever stops the writing leaves none.

    Args:
        path: of the file, `.mp4`.
        pictures: at least one.
        fps: pictures per second.
        comment: in the file's metadata.
    """
    replace_file(path, lambda file: _encode(file, pictures, fps, comment))


def _encode(
    file: BinaryIO, pictures: Iterable[NDArray[np.uint8]], fps: float, comment: str
) -> None:
    with av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = comment
        stream: VideoStream | None = None
        for picture in pictures:
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=Fraction(fps).limit_denominator(1000),
                    options={"crf": _QUALITY},
                )
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"  # what browsers and players show
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
