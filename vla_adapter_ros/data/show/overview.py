# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Figures of a dataset, and warnings about what will hurt training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vla_adapter_ros.data.episodes import EpisodeSource, StatesActions, count_marks
from vla_adapter_ros.data.statistics import summarise

# The action changes less than this in an idle frame [rad, open fraction].
IDLE_CHANGE = 1e-3


@dataclass
class Overview:
    """Figures of a dataset; `lines` is for people.

    Attributes:
        lengths: (E,) frames of each episode.
        seconds: of all episodes together.
        tasks: instruction → number of episodes.
        names: of the action dimensions.
        state, actions: per-dimension statistics.
        idle: fraction of frames in which the action does not change.
        marks: of the episodes: True (success), False (failure) or None.
        warnings: to be read before training.
    """

    lengths: np.ndarray
    seconds: float
    tasks: Counter[str]
    names: tuple[str, ...]
    state: dict[str, list[float]]
    actions: dict[str, list[float]]
    idle: float
    marks: list[bool | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the overview as text."""
        head = [
            f'{len(self.lengths)} episodes, {int(self.lengths.sum())} frames, '
            f'{self.seconds / 60:.1f} min; '
            f'{self.lengths.min()} to {self.lengths.max()} frames an episode',
            f'{100 * self.idle:.1f} % of the frames are idle (the action does not change)',
            f'marks: {count_marks(self.marks)}',
            f'{len(self.tasks)} instructions:',
            *(f'  {count:5} x {text}' for text, count in self.tasks.most_common(20)),
        ]
        if len(self.tasks) > 20:
            head.append(f'        and {len(self.tasks) - 20} more')
        return head + self._table() + [f'warning: {warning}' for warning in self.warnings]

    def _table(self) -> list[str]:
        rows = [f'{"":14}{"min":>9}{"q01":>9}{"mean":>9}{"q99":>9}{"max":>9}{"std":>9}']
        for kind, values in (('state', self.state), ('action', self.actions)):
            for i in range(len(values['min'])):
                name = self.names[i] if i < len(self.names) else str(i)
                numbers = (values[k][i] for k in ('min', 'q01', 'mean', 'q99', 'max', 'std'))
                rows.append(f'{kind:7}{name[:7]:7}' + ''.join(f'{n:9.3f}' for n in numbers))
        return rows


def overview_of(source: EpisodeSource) -> Overview:
    """Return figures and warnings of a dataset; reads no images."""
    vectors = [source.states_actions(number) for number in range(len(source.episodes))]
    lengths = np.array([episode.length for episode in source.episodes])
    changes = [np.abs(np.diff(v.actions, axis=0)).max(axis=1, initial=0) for v in vectors]
    frames = np.concatenate(changes)
    overview = Overview(
        lengths=lengths,
        seconds=float(lengths.sum() / source.fps),
        tasks=Counter(episode.instruction for episode in source.episodes),
        names=source.names,
        state=summarise(np.concatenate([v.state for v in vectors])),
        actions=summarise(np.concatenate([v.actions for v in vectors])),
        idle=float((frames < IDLE_CHANGE).mean()) if len(frames) else 0.0,
        marks=[episode.success for episode in source.episodes],
    )
    overview.warnings = [*_value_warnings(overview), *_contract_warnings(source, vectors)]
    if overview.idle > 0.5:
        overview.warnings.append(
            'more than half of the frames are idle: convert with --no-op-filter'
        )
    return overview


def _value_warnings(overview: Overview) -> list[str]:
    found = []
    for kind, values in (('state', overview.state), ('action', overview.actions)):
        for i, (low, high) in enumerate(zip(values['min'], values['max'], strict=True)):
            name = overview.names[i] if i < len(overview.names) else str(i)
            if low == high:
                found.append(f'{kind} {name} is {low:g} in every frame')
            elif not np.isfinite([low, high]).all():
                found.append(f'{kind} {name} is not finite in some frame')
    return found


def _contract_warnings(source: EpisodeSource, vectors: list[StatesActions]) -> list[str]:
    """Return where targets leave the contract's limits or move faster than it allows."""
    contract = source.contract
    if contract is None or source.action_kind != 'joint_target':
        return []
    found = []
    for number, item in enumerate(vectors):
        key = source.episodes[number].key
        outside = (item.actions < contract.lower - 1e-3) | (item.actions > contract.upper + 1e-3)
        speed = np.abs(np.diff(item.actions, axis=0)) * source.fps
        fast = speed > contract.max_velocity * 1.05
        # A gripper target jumps between open and closed; the controller makes a motion of it.
        fast[:, -1] = False
        for what, places in (('leaves its limits', outside), ('is faster than allowed', fast)):
            if places.any():
                frame, joint = np.argwhere(places)[0]
                found.append(
                    f'{key}: frame {frame}: the target of {contract.names[joint]} {what} '
                    f'({int(places.any(axis=1).sum())} frames)'
                )
    return found[:20]
