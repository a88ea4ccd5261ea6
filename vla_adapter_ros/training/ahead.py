# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Batches prepared one step ahead, beside the computation of the present one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

SamplesT = TypeVar('SamplesT')


class BatchesAhead(Generic[SamplesT]):
    """Brings the next batch to the device while the present one is computed.

    On a GPU, copies and augmentation run on a stream of their own. On a CPU the order is the same
    and nothing runs beside.

    Args:
        samples: what is prepared, in order.
        prepare: makes a batch (nested dicts of tensors) of samples and their number; whatever it
            draws must follow from the number.
        device: of the batches.
    """

    def __init__(
        self, samples: Iterator[SamplesT], prepare: Callable[[SamplesT, int], dict[str, Any]],
        device: torch.device,
    ) -> None:  # fmt: skip
        self._samples, self._prepare, self._device = samples, prepare, device
        self._streams = getattr(torch, device.type)  # torch.cpu has streams that do nothing
        self._stream = self._streams.Stream()
        self._stream.wait_stream(self._streams.current_stream(device))
        self._number = 0
        self._next: dict[str, Any] | Exception | None = None

    def fill(self) -> None:
        """Prepare the next batch, if there is one; what fails is raised when it is taken."""
        try:
            samples = next(self._samples, None)
            if samples is None:
                return
            with self._streams.stream(self._stream):
                self._next = self._prepare(samples, self._number)
        except Exception as error:  # it belongs to a later step
            self._next = error
        self._number += 1

    def take(self) -> dict[str, Any]:
        """Return the next batch, for use on the device's present stream.

        Raises:
            StopIteration: there is none left.
        """
        if self._next is None:
            self.fill()
        batch, self._next = self._next, None
        if batch is None:
            raise StopIteration
        if isinstance(batch, Exception):
            raise batch
        current = self._streams.current_stream(self._device)
        current.wait_stream(self._stream)
        for tensor in _tensors(batch):
            if tensor.is_cuda:  # its memory is the other stream's, and must outlive this step
                tensor.record_stream(current)
        return batch


def _tensors(batch: dict[str, Any]) -> Iterator[Tensor]:
    for value in batch.values():
        if isinstance(value, dict):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value
