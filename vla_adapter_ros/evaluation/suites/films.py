# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Films of the first episodes that a policy did not solve: what it saw at its queries.

Between two queries nothing is rendered, so a film has one picture for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.film import side_by_side, write_gif
from vla_adapter_ros.evaluation.suites.policies import Answering, Benchmark
from vla_adapter_ros.evaluation.suites.pool import Asked, Finished

HEIGHT = 160  # of a view [px]
RATE = 5.0  # pictures a second, about twice the robot's speed

Key = tuple[int, ...]


class Films:
    """Keeps the pictures of running episodes, and writes the first failures.

    Args:
        folder: for the films; made when there is one.
        count: how many to write, with those that are there already; 0: none.
        benchmark: which pictures of an observation the policy sees.
        key: numbers of the episode that a request or a question is about.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        benchmark: Benchmark,
        key: Callable[[Mapping[str, Any]], Key],
    ) -> None:
        self._folder, self._benchmark, self._key = folder, benchmark, key
        self._left = max(0, count - len(list(folder.glob('*.gif'))))
        self._frames: dict[Key, tuple[int, list[np.ndarray]]] = {}

    def watching(self, policy: Answering) -> Callable[[Sequence[Asked]], Sequence[np.ndarray]]:
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
            _, frames = self._frames.pop(key, (0, []))
            failed = episode.over is not None and not episode.over.get('success')
            if frames and failed and self._left:
                self._folder.mkdir(parents=True, exist_ok=True)
                name = '-'.join(f'{number:02d}' for number in key)
                write_gif(self._folder / f'{name}.gif', frames, RATE)
                self._left -= 1
            yield episode

    def _keep(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        key, attempt = self._key(header), header['attempt']
        if self._frames.get(key, (attempt,))[0] != attempt:  # of a worker that died
            del self._frames[key]
        _, frames = self._frames.setdefault(key, (attempt, []))
        seen = self._benchmark.observation(arrays, header['instruction'])
        views = [np.asarray(seen.images[name]) for name in seen.images]
        frames.append(side_by_side(views, header['instruction'], HEIGHT))
