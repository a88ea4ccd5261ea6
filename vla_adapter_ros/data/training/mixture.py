# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Samples several datasets as one, in a fixed shuffled order that can start anywhere.

The order is a function of the seed and the position alone. It has no state: a run that
resumes at step s draws exactly what it would have drawn, with any number of workers, and every
rank draws its own part of each batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.data.training.dataset import STATISTICS_CHUNKS, Batch, Dataset
from vla_adapter_ros.errors import DatasetError
from vla_adapter_ros.processing.statistics import Statistics, VectorStatistics

# The fractions of the mixture are exact over this many draws.
BLOCK = 4096


@dataclass
class Mixture:
    """Datasets and the fraction of samples drawn from each.

    Attributes:
        datasets: at least one; equal images, actions and cameras.
        weights: of each; empty: its number of observations. They need not sum to 1.
    """

    datasets: Sequence[Dataset]
    weights: Sequence[float] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not self.datasets:
            raise DatasetError('mixture: no datasets')
        self.weights = list(self.weights) or [float(len(d)) for d in self.datasets]
        if len(self.weights) != len(self.datasets) or min(self.weights) <= 0:
            raise DatasetError(
                f'mixture: got weights {list(self.weights)}, expected {len(self.datasets)} above 0'
            )
        first = self.datasets[0]
        for other in self.datasets[1:]:
            for what in ('cameras', 'action_space', 'action_dim', 'chunk_size'):
                mine, theirs = getattr(first, what), getattr(other, what)
                if mine != theirs:
                    raise DatasetError(
                        f'mixture: {what} is {mine!r} in {first.name!r}, '
                        f'{theirs!r} in {other.name!r}'
                    )
        names = [d.name for d in self.datasets]
        if len(set(names)) != len(names):
            raise DatasetError(f'mixture: names must be unique, got {names}')

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)

    def batch(self, which: np.ndarray, indices: np.ndarray) -> Batch:
        """Return the observations `indices` of the datasets `which`, in this order."""
        order = np.argsort(which, kind='stable')
        parts = []
        for number in np.unique(which):
            part = self.datasets[number].batch(indices[which == number])
            parts.append((number, part))
        if len(parts) == 1:
            parts[0][1].datasets[:] = parts[0][0]
            return parts[0][1]
        back = np.argsort(order, kind='stable')
        texts = [text for _, part in parts for text in part.instructions]
        return Batch(
            images=np.concatenate([p.images for _, p in parts])[back],
            proprioception=np.concatenate([p.proprioception for _, p in parts])[back],
            actions=np.concatenate([p.actions for _, p in parts])[back],
            is_pad=np.concatenate([p.is_pad for _, p in parts])[back],
            instructions=[texts[i] for i in back],
            datasets=np.concatenate([np.full(len(p.rows), n) for n, p in parts])[back],
            rows=np.concatenate([p.rows for _, p in parts])[back],
        )

    def statistics(self) -> dict[str, Statistics]:
        """Return the statistics of each dataset, by name."""
        return {d.name: d.statistics() for d in self.datasets}

    def joint_statistics(self, key: str) -> Statistics:
        """Return statistics over all datasets together, for one policy of one robot.

        Of very many chunks evenly spaced ones are taken, as in `Dataset.statistics`.
        """
        step = -(-len(self) // STATISTICS_CHUNKS)
        chunks = [d.chunks(np.arange(0, len(d), step)) for d in self.datasets]
        actions = np.concatenate([values[~pad] for values, pad in chunks])
        mask = np.ones(actions.shape[-1], bool)
        mask[-1] = False
        state = np.concatenate([d.states() for d in self.datasets])
        return Statistics(
            key, VectorStatistics.from_data(actions, mask), VectorStatistics.from_data(state),
            len(self), sum(len(d.selected) for d in self.datasets),
        )  # fmt: skip


class BatchOrder:
    """Which observations make which batch; stateless.

    Args:
        mixture: the datasets.
        batch_size: observations of one rank in one batch.
        rank, world: number of this process, and of all.
        seed: of the order.
        end_weight: how often observations at an episode's end are drawn, relative to others.
    """

    def __init__(
        self,
        mixture: Mixture,
        batch_size: int,
        *,
        rank: int = 0,
        world: int = 1,
        seed: int = 0,
        end_weight: float = 1.0,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world:
            raise DatasetError(f'batches: got size {batch_size}, rank {rank} of {world}')
        self._size, self._rank, self._world, self._seed = batch_size, rank, world, seed
        fractions = np.array(mixture.weights) / sum(mixture.weights)
        self._quota = _apportion(fractions, BLOCK)
        self._streams = [
            _Stream(_weights(d, end_weight), (seed, number))
            for number, d in enumerate(mixture.datasets)
        ]
        self._total = sum(stream.epoch_size for stream in self._streams)
        self._block: tuple[int, np.ndarray, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> float:
        """Batches (of all ranks) after which as many draws were made as there are samples."""
        return self._total / (self._size * self._world)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the dataset numbers (B,) and the observations in them (B,) of batch `step`."""
        first = (step * self._world + self._rank) * self._size
        draws = np.arange(first, first + self._size)
        which = np.empty(self._size, np.int64)
        indices = np.empty(self._size, np.int64)
        for block in np.unique(draws // BLOCK):
            sets, places = self._plan(int(block))
            inside = draws // BLOCK == block
            offsets = draws[inside] % BLOCK
            which[inside] = sets[offsets]
            for number in np.unique(which[inside]):
                chosen = np.flatnonzero(inside)[which[inside] == number]
                positions = places[draws[chosen] % BLOCK] + int(block) * self._quota[number]
                indices[chosen] = self._streams[number].at(positions)
        return which, indices

    def _plan(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the dataset of each draw of a block, and its place among that dataset's draws."""
        if self._block is None or self._block[0] != block:
            sets = np.repeat(np.arange(len(self._quota)), self._quota)
            np.random.default_rng((self._seed, block, 1)).shuffle(sets)
            places = np.empty(BLOCK, np.int64)
            for number in range(len(self._quota)):
                mine = sets == number
                places[mine] = np.arange(mine.sum())
            self._block = (block, sets, places)
        return self._block[1], self._block[2]

    def steps(self, start: int = 0, stop: int | None = None) -> Iterator[int]:
        """Yield step numbers from `start` on, forever if `stop` is None."""
        step = start
        while stop is None or step < stop:
            yield step
            step += 1


class _Stream:
    """An endless shuffled draw from one dataset; each epoch draws every sample by its weight."""

    def __init__(self, weights: np.ndarray, seed: tuple[int, int]) -> None:
        self._cumulative = np.cumsum(weights)
        self._seed = seed
        self.epoch_size = max(1, round(float(self._cumulative[-1])))
        self._epochs: dict[int, np.ndarray] = {}

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Return the samples drawn at the given positions of the stream."""
        epochs = positions // self.epoch_size
        samples = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            samples[chosen] = self._epoch(int(epoch))[positions[chosen] % self.epoch_size]
        return samples

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            generator = np.random.default_rng((*self._seed, epoch))
            # Evenly spaced marks on the summed weights: weight 1 is drawn exactly once.
            marks = (np.arange(self.epoch_size) + generator.random()) / self.epoch_size
            marks *= self._cumulative[-1]
            order = np.searchsorted(self._cumulative, marks, 'right')
            order = np.minimum(order, len(self._cumulative) - 1)
            # Two are enough: a batch spans at most the end of one epoch and the next.
            while len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = generator.permutation(order)
        return self._epochs[epoch]


def _weights(dataset: Dataset, end_weight: float) -> np.ndarray:
    return np.where(dataset.at_end, end_weight, 1.0)


def _apportion(fractions: np.ndarray, total: int) -> np.ndarray:
    """Return positive integers near fractions · total that sum to total."""
    exact = fractions * total
    counts = np.maximum(np.floor(exact).astype(np.int64), 1)
    for _ in range(int(total - counts.sum())):
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(counts)] -= 1
    return counts
