"""Videos of LeRobot sets: frame k is shown at k / fps exactly, so that any one can be looked up."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from hiwm_core.errors import BagError

CODECS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
# Every second frame is whole, as in LeRobot's own sets: a frame is found without reading others.
_KEY_FRAMES = 2
# Constant rate factors: H.264's default, and those of LeRobot for AV1.
_QUALITY = {"h264": "23", "hevc": "25", "av1": "30"}
_SPEED = {"h264": {"preset": "veryfast"}, "hevc": {"preset": "veryfast"}, "av1": {"preset": "10"}}
# A frame belongs to the time that is asked for if it is nearer than this share of a period.
_NEAR = 0.25


def pixel_format(width: int, height: int) -> str:
    """Return the pixel format of a size: the usual one halves both sides of the colours."""
    return "yuv444p" if width % 2 or height % 2 else "yuv420p"


class VideoWriter:
    """Appends images to a new MP4 file."""

    def __init__(
        self, path: Path, *, fps: int, width: int, height: int, codec: str, pix_fmt: str
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._size = (width, height)
        self._base = Fraction(1, fps)
        self._container = av.open(str(path), "w", format="mp4")
        stream = cast(VideoStream, self._container.add_stream(
            CODECS[codec], rate=fps,
            options={
                "g": str(_KEY_FRAMES), "crf": _QUALITY[codec], **_SPEED[codec],
                # Frames in order of time; else a player starts behind zero.
                **({"bf": "0"} if codec != "av1" else {}),
            },
        ))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = self._base
        stream.codec_context.thread_count = 2
        self._stream = stream

    def append(self, images: NDArray[np.uint8]) -> None:
        """Write images [T, H, W, 3] rgb."""
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self.frames, self._base
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

    def close(self) -> None:
        """Write what is left, and the file's index."""
        self._container.mux(self._stream.encode())
        self._container.close()


def read_frames(path: Path, start_s: float, count: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` images [H, W, 3] rgb, from `start_s` on.

    Raises:
        BagError: the file is missing, cannot be decoded, or lacks a frame at its time.
    """
    if not path.is_file():
        raise BagError(
            "the video is missing", where=str(path),
            remedy="download the whole data set: its videos are files of their own (git lfs pull)",
        )
    given = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 2
            assert stream.time_base is not None
            container.seek(max(0, int(start_s / stream.time_base)), stream=stream, backward=True)
            for frame in container.decode(stream):
                if given == count:
                    break
                at = float(frame.pts * stream.time_base) - start_s if frame.pts is not None else 0.0
                if at < (given - _NEAR) / fps:
                    continue
                if at > (given + _NEAR) / fps:
                    raise _no_frame(path, given, start_s, fps)
                given += 1
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except (av.FFmpegError, IndexError) as error:
        raise BagError(
            f"the video cannot be decoded: {error}", where=str(path),
            remedy="download it again; files of git lfs may be pointers (git lfs pull)",
        ) from None
    if given < count:
        raise _no_frame(path, given, start_s, fps)


def _no_frame(path: Path, frame: int, start_s: float, fps: float) -> BagError:
    return BagError(
        f"no frame at {start_s + frame / fps:.4f} s (frame {frame} of the episode, {fps:g} fps)",
        where=str(path),
        remedy="the video does not fit the table; download or export the set again",
    )
