# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Video files made of parts of others: linked, copied packet by packet, or encoded again."""

from __future__ import annotations

import errno
import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_adapter_ros.data.lerobot import layout
from vla_adapter_ros.data.lerobot.video import VideoReader, VideoWriter

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer

MEGABYTE = 1_000_000
# Decoding order and order of showing differ by less.
_EARLIER = 16  # [frames]
# A second encoding adds its error to the first one's: it is made better by this [rate factor].
_BETTER = 6


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that never changes a second name, or copy it to where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)


class VideoFiles:
    """Writes the video files of one feature.

    Args:
        folder: the new dataset.
        key: the feature.
        fps: frames per second.
        quality: constant rate factor of the dataset; what is encoded again is better.
    """

    def __init__(self, folder: Path, key: str, fps: float, quality: int) -> None:
        self._folder, self._key, self._fps, self._quality = folder, key, fps, quality
        self._number = -1
        self._output: Any = None
        self._stream: Any = None
        self._kind: tuple[object, ...] = ()
        self._bytes = self._frames = self._last = 0

    def link(self, source: Path) -> int:
        """Take a whole file; return its number."""
        self.close()
        link_or_copy(source, self._next_file())
        return self._number

    def copy(self, source: Path, first: int, length: int) -> tuple[int, int] | None:
        """Copy frames without encoding them again.

        Returns:
            The number of the file and where they begin there, or None if they cannot be copied:
            they do not begin with a key frame, or others need them.
        """
        import av

        with av.open(str(source)) as container:
            packets = _packets(container, first, length, self._fps)
            if packets is None:
                return None
            return self._number_and_frame(container.streams.video[0], packets, length)

    def encode(self, source: Path, first: int, length: int) -> tuple[int, int]:
        """Encode frames again; returns as `copy`."""
        part = self._folder / f'.{self._key}.mp4'
        rate: Any = Fraction(self._fps).limit_denominator(1001)
        reader = VideoReader(source, self._fps)
        with VideoWriter(part, rate, max(0, self._quality - _BETTER)) as writer:
            for frame in range(first, first + length):
                writer.write(reader.frame(frame))
        reader.close()
        place = self.copy(part, 0, length)
        part.unlink()
        assert place is not None, 'a file of our writer begins with a key frame'
        return place

    def close(self) -> None:
        """Finish the file."""
        if self._output is not None:
            self._output.close()
            self._output = None

    def _next_file(self) -> Path:
        self._number += 1
        place = layout.file_place(self._number)
        file = self._folder / layout.VIDEO_PATH.format(video_key=self._key, **place)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _number_and_frame(
        self, video: Any, packets: list[Packet], length: int
    ) -> tuple[int, int]:
        ticks = 1 / (self._fps * float(video.time_base))
        start = packets[0].pts or 0
        size = sum(packet.size for packet in packets)
        kind = _kind(video, packets[0])
        shift = round(self._frames * ticks) - start
        fits = kind == self._kind and self._bytes + size <= layout.VIDEO_FILE_MB * MEGABYTE
        if self._output is None or not fits or (packets[0].dts or 0) + shift <= self._last:
            self._open(video, kind)
            shift = -start
        for packet in packets:
            packet.pts = (packet.pts or 0) + shift
            packet.dts = self._last = (packet.dts or 0) + shift
            packet.stream = self._stream
            self._output.mux(packet)
        self._bytes += size
        self._frames += length
        return self._number, self._frames - length

    def _open(self, video: Any, kind: tuple[object, ...]) -> None:
        import av

        self.close()
        self._output = av.open(str(self._next_file()), 'w', format='mp4')
        # Opaque: without an encoder of the codec's name; AV1 is decoded by one of another name.
        self._stream = self._output.add_stream_from_template(video, opaque=True)
        self._stream.time_base = video.time_base
        self._kind, self._bytes, self._frames = kind, 0, 0


def _kind(video: Any, first: Packet) -> tuple[object, ...]:
    """Return what must be equal for packets to lie in one file."""
    codec = video.codec_context
    delay = (first.pts or 0) - (first.dts or 0)
    size = codec.width, codec.height, codec.pix_fmt
    return codec.name, codec.extradata, size, video.time_base, delay


def _packets(
    container: InputContainer, first: int, length: int, fps: float
) -> list[Packet] | None:
    """Return the packets of frames that can be decoded without any other, or None."""
    video = container.streams.video[0]
    ticks = 1 / (fps * float(video.time_base or 1))
    start = video.start_time or 0
    container.seek(round(max(0, first - _EARLIER) * ticks) + start, stream=video, backward=True)
    found: list[Packet] = []
    for packet in container.demux(video):
        if packet.pts is None or packet.dts is None:
            continue
        index = round((packet.pts - start) / ticks)
        if index >= first + length:
            # In the order of decoding: what comes later may need this one.
            break
        if found or (packet.is_keyframe and index == first):
            # Earlier ones behind the key frame belong to what was before it.
            if index >= first:
                found.append(packet)
            if len(found) == length:
                return found
    return None
