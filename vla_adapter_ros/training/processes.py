# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What the processes of a run agree on, apart from gradients.

Gradients are summed in the group of the launcher, whose timeout (NCCL: 10 minutes) tells that a
process hangs. Decoding a dataset, saving, or rolling out in simulation is work of the first
process alone and takes longer; the others wait for it here, in a group of CPUs of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed

LONGEST_WORK = timedelta(hours=24)  # of the first process alone


class Processes:
    """The processes of a run.

    Args:
        accelerator: an `accelerate.Accelerator`.
    """

    def __init__(self, accelerator: Any) -> None:
        self.rank, self.count = int(accelerator.process_index), int(accelerator.num_processes)
        self._group = None
        if self.count > 1:
            self._group = distributed.new_group(backend='gloo', timeout=LONGEST_WORK)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Return a context that the first process runs before the others do."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self._group is not None:
            distributed.barrier(self._group)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of an array (float64) over the processes."""
        total = torch.as_tensor(values, dtype=torch.float64).clone()
        if self._group is not None:
            distributed.all_reduce(total, group=self._group)
        return total.numpy()
