# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Camera streams as H.264 files: write, join without re-encoding, read any frame.

Frame i of a file is shown at exactly i / fps, so a frame is found by its index. There are no
B-frames (streaming viewers need none) and a key frame every second frame, so that a random frame
costs at most two decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_adapter_ros.errors import DatasetError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

CODEC = 'libx264'
CODEC_NAME = 'h264'
PIXEL_FORMAT = 'yuv420p'
KEY_FRAME_EVERY = 2  # [frames]
# How far before a frame decoding starts, tried in this order.
START_EARLIER = (0, 16, 300)  # [frames]
# Simulated views at 480x480: 42 dB, 6 kB a frame.
QUALITY = 20
# Beside `veryfast`: two thirds of the time; camera images with noise have the same size and PSNR,
# simulated ones are 0.5 dB better and a third larger.
PRESET = 'superfast'


def converter(pixel_format: str) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Return a function that converts frames, in one thread: several processes do so at a time.

    One for all frames of a file: with one each, setting it up costs a third of the conversion.
    """
    import av
    from av.video.reformatter import VideoReformatter

    # Before 17, which lerobot 0.6 asks for, PyAV knows no other number.
    newer = int(av.__version__.partition('.')[0]) >= 17
    options: dict[str, Any] = {'threads': 1} if newer else {}
    return partial(VideoReformatter().reformat, format=pixel_format, **options)


class VideoWriter:
    """Writes (H, W, 3) uint8 RGB frames to one MP4 file.

    Args:
        path: file to write.
        fps: frames per second, an integer.
        quality: constant rate factor, 0 (lossless) to 51.

    Raises:
        DatasetError: a frame of another size than the first, or of an odd size.
    """

    def __init__(self, path: Path, fps: int, quality: int = QUALITY) -> None:
        import av

        self._path = path
        self._fps = fps
        self._quality = quality
        self._container = av.open(str(path), 'w', format='mp4')
        self._stream: Any = None
        self._convert = converter(PIXEL_FORMAT)
        self.frames = 0

    def write(self, frame: np.ndarray) -> None:
        """Append one frame."""
        import av

        height, width = frame.shape[:2]
        if self._stream is None:
            self._stream = self._open_stream(width, height)
        if (self._stream.width, self._stream.height) != (width, height):
            raise DatasetError(
                f'{self._path.name}: frame {self.frames} is {width}x{height}, '
                f'the frames before are {self._stream.width}x{self._stream.height}'
            )
        # A view of the frame, which lives until it is converted.
        pixels = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(frame), format='rgb24')
        converted = self._convert(pixels)
        converted.pts = self.frames
        converted.time_base = Fraction(1, self._fps)
        self._container.mux(self._stream.encode(converted))
        self.frames += 1

    def _open_stream(self, width: int, height: int) -> Any:
        if width % 2 or height % 2:
            raise DatasetError(
                f'{self._path.name}: images are {width}x{height}; video needs an even width and '
                'height: choose another image size or image storage'
            )
        # One thread: the bytes do not depend on the machine, and collectors run in parallel.
        options = {
            'crf': str(self._quality),
            'g': str(KEY_FRAME_EVERY),
            'bf': '0',
            'preset': PRESET,
            # Nothing is looked at ahead: a frame goes in, the last one comes out.
            'tune': 'zerolatency',
            'threads': '1',
        }
        stream: Any = self._container.add_stream(CODEC, rate=self._fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
        stream.time_base = Fraction(1, self._fps)
        return stream

    def close(self) -> None:
        """Write what is pending and the file's index."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def codec_settings(path: Path) -> bytes:
    """Return what a decoder must know of a file; only files of equal settings can be joined.

    It differs between qualities and between builds of the encoder.
    """
    import av

    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.extradata or b''


def check_joined(target: Path, parts: Sequence[Path], fps: int) -> None:
    """Compare the first frame of each part with that of the joined file.

    Raises:
        DatasetError: a part is not readable in the joined file as it was alone.
    """
    joined, first = VideoReader(target, fps), 0
    for part in parts:
        alone = VideoReader(part, fps)
        if not np.array_equal(alone.frame(0), joined.frame(first)):
            raise DatasetError(f'video {target}: {part} reads differently in it than alone')
        first += alone.length
        alone.close()
    joined.close()


def join_videos(parts: Sequence[Path], target: Path, fps: int) -> None:
    """Join files of `VideoWriter` with equal `codec_settings` into one, packet by packet."""
    import av

    with av.open(str(target), 'w', format='mp4') as output:
        stream: Any = None
        first = 0
        for part in parts:
            with av.open(str(part)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = output.add_stream_from_template(video)
                    stream.time_base = video.time_base
                frame_ticks = int(1 / (fps * video.time_base))
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts += first * frame_ticks
                    packet.dts += first * frame_ticks
                    packet.stream = stream
                    output.mux(packet)
                first += video.frames


class VideoReader:
    """Reads frames of one file by index; keeps the file open and its position.

    Args:
        path: MP4 file with constant frame rate.
        fps: its frames per second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        import av

        self._convert = converter('rgb24')
        try:
            self._container: InputContainer = av.open(str(path))
        except (OSError, ValueError) as error:
            raise DatasetError(f'video {path}: cannot be opened: {error}') from error
        self._path = path
        self._stream = self._container.streams.video[0]
        # Files are read by several processes; one thread each.
        self._stream.thread_type = 'NONE'
        time_base = self._stream.time_base or Fraction(1, 90_000)
        self._ticks = 1 / (fps * float(time_base))
        start = self._stream.start_time
        self._start = start if start is not None else 0
        self._decoder: Any = None
        self._next = -1

    def frame(self, index: int) -> np.ndarray:
        """Return frame `index` as (H, W, 3) uint8 RGB.

        Raises:
            DatasetError: the file has no such frame, or is damaged.
        """
        # Reading on is cheaper than seeking while the frame lies before the next key frame.
        if 0 <= index - self._next < KEY_FRAME_EVERY and self._decoder is not None:
            decoded = self._read_until(index)
        else:
            # HEVC decoders drop frames behind the key frame that they start at: start earlier.
            tries = (self._seek_and_read(index, back) for back in START_EARLIER)
            decoded = next((frame for frame in tries if frame is not None), None)
        if decoded is None:
            self._decoder = None
            raise DatasetError(f'video {self._path}: has no frame {index}')
        return self._convert(decoded).to_ndarray()

    def _seek_and_read(self, index: int, back: int) -> av.VideoFrame | None:
        self._seek(max(0, index - back))
        return self._read_until(index)

    def _read_until(self, index: int) -> av.VideoFrame | None:
        """Return frame `index`, or None if the decoder does not give it."""
        try:
            for decoded in self._decoder:
                at = self._index(decoded)
                self._next = at + 1
                if at >= index:
                    return decoded if at == index else None
        except (OSError, ValueError) as error:
            raise DatasetError(f'video {self._path}: frame {index}: {error}') from error
        return None

    @property
    def length(self) -> int:
        """Number of frames."""
        return int(self._stream.frames)

    def _index(self, decoded: av.VideoFrame) -> int:
        return round(((decoded.pts or 0) - self._start) / self._ticks)

    def _seek(self, index: int) -> None:
        place = round(index * self._ticks) + self._start
        try:
            self._container.seek(place, stream=self._stream, backward=True)
        except (OSError, ValueError) as error:
            raise DatasetError(f'video {self._path}: frame {index}: {error}') from error
        self._decoder = self._container.decode(self._stream)
        self._next = -1

    def close(self) -> None:
        """Close the file."""
        self._container.close()
