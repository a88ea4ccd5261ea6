# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Counts the operations that a call issues: on a GPU each is a kernel to launch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# They move no data.
FREE = (
    aten._unsafe_view, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty,
    aten.detach, aten.lift_fresh, aten.new_empty_strided, aten.promote_types,
)  # fmt: skip
# They give a view where they can, and a copy elsewhere. In inference mode they arrive whole.
VIEW_OR_COPY = (aten.contiguous, aten.flatten, aten.reshape, aten.to)


class KernelCount(TorchDispatchMode):
    """Counts operations by name, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """All operations."""
        return sum(self.by_name.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kind, result = func.overloadpacket, func(*args, **(kwargs or {}))
        if kind is aten.scaled_dot_product_attention and result.is_meta:
            # As flash attention lays its result out: heads beside each other.
            result = result.transpose(1, 2).contiguous().transpose(1, 2)
        copied = kind in VIEW_OR_COPY and not _shares(args[0], result)
        free = func.is_view or kind in (*FREE, *VIEW_OR_COPY)
        if copied or not free:
            self.by_name[str(kind).removeprefix('aten.')] += 1
        return result


def _shares(before: torch.Tensor, after: torch.Tensor) -> bool:
    return before.untyped_storage()._cdata == after.untyped_storage()._cdata
