"""Pictures as an MP4 file, H.264."""

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

# Constant rate factor of libx264: 18 is visually lossless, 23 its default.
_QUALITY = "18"


def write_video(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: float) -> None:
    """Write pictures [H, W, 3] rgb, all of one size with even sides, as a video.

    The file appears when it is complete; whatever stops the writing leaves none.

    Args:
        path: of the file, `.mp4`.
        pictures: at least one.
        fps: pictures per second.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with av.open(str(partial), "w", format="mp4") as container:
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
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
