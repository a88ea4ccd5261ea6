# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Open-loop error of a checkpoint on a dataset: predicted chunks against recorded ones.

python -m vla_adapter_ros.evaluation.open_loop CHECKPOINT DATASET --output report/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def plot_chunks(
    recorded: np.ndarray, predicted: np.ndarray, names: Sequence[str], path: Path, title: str
) -> None:
    """Draw one episode: what was recorded, and every K-th predicted chunk, per action dimension.

    Args:
        recorded: (T, K, A) chunks of the dataset.
        predicted: (T, K, A) chunks of the policy.
        names: A names.
        path: PNG to write.
        title: above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    length, chunk, size = recorded.shape
    figure = Figure(figsize=(10, 1.6 * size), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(size, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(title)
    for dim, axis in enumerate(axes):
        for start in range(0, length, chunk):
            steps = np.arange(start, start + chunk) + 1
            label = start == 0
            axis.plot(steps, recorded[start, :, dim], 'k-', lw=1.5,
                      label='recorded' if label else None)
            axis.plot(steps, predicted[start, :, dim], 'r.-', lw=1,
                      label='predicted' if label else None)
        axis.set_ylabel(names[dim], fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, loc='upper right')
    axes[-1].set_xlabel('step')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
