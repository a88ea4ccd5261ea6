# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Films of the first episodes that a policy did not solve: what it saw at its queries.

Between two queries nothing is rendered, so a film has one picture for each. Of a chain of tasks it
shows the last, which was not solved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.film import side_by_side, write_gif
from vla_adapter_ros.evaluation.suites.policies import Answering, Benchmark
from vla_adapter_ros.evaluation.suites.pool import Asked, Asking, Finished

HEIGHT = 160  # of a view [px]
RATE = 5.0  # pictures a second, about twice the robot's speed

Key = tuple[int, ...]


@dataclass
class _Running:
    """What was seen of one attempt at one task."""

    part: tuple[int, str]
    queries: int = 0
    frames: list[np.ndarray] = field(default_factory=list)


class Films:
    """Keeps the pictures of running episodes, and writes the first failures.

    Args:
        folder: for the films; made when there is one.
        count: how many to write, with those that are there already; 0: none.
        benchmark: which pictures of an observation the policy sees.
        key: numbers of the episode that a request or a question is about.
        solved: whether an episode was solved, by the worker's account.
        every: of how many queries one is shown.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        benchmark: Benchmark,
        key: Callable[[Mapping[str, Any]], Key],
        solved: Callable[[Mapping[str, Any]], bool],
        every: int = 1,
    ) -> None:
        self._folder, self._benchmark, self._key = folder, benchmark, key
        self._solved, self._every = solved, every
        self._left = max(0, count - len(list(folder.glob('*.gif'))))
        self._running: dict[Key, _Running] = {}

    def watching(self, policy: Answering) -> Asking:
        """Return the policy, with its questions filmed."""

        def ask(questions: Sequence[Asked]) -> Sequence[np.ndarray]:
            if self._left:
                for header, arrays in questions:
                    self._keep(header, arrays)
            return policy(questions)

        return ask

    def written(self, episodes: Iterator[Finished]) -> Iterator[Finished]:
        """Pass on the episodes that end, and write the film of a failure."""
        for episode in episodes:
            key = self._key(episode.request)
            running = self._running.pop(key, None)
            failed = episode.over is not None and not self._solved(episode.over)
            if running is not None and failed and self._left:
                self._folder.mkdir(parents=True, exist_ok=True)
                name = '-'.join(f'{number:02d}' for number in key)
                write_gif(self._folder / f'{name}.gif', running.frames, RATE)
                self._left -= 1
            yield episode

    def _keep(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        key, part = self._key(header), (header['attempt'], header['instruction'])
        running = self._running.get(key)
        if running is None or running.part != part:  # a worker died, or the next task begins
            running = self._running[key] = _Running(part)
        if running.queries % self._every == 0:
            seen = self._benchmark.observation(arrays, header['instruction'])
            views = [np.asarray(seen.images[name]) for name in seen.images]
            running.frames.append(side_by_side(views, header['instruction'], HEIGHT))
        running.queries += 1
