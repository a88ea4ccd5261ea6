# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What runs of vla-eval were promised: the rest of each chunk, one action at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_adapter_ros.evaluation.suites.policies import Answering
from vla_adapter_ros.evaluation.vla_eval.forms import Form

# CALVIN begins its next task within an episode; the chunk was for the task before.
RESTART = 'episode_restart'


class Sessions:
    """Asks a policy and hands out its chunks.

    Args:
        form: of the benchmark.
        policy: that answers.
        open_loop: actions of a chunk that are executed before the next query.
        cameras: how many the policy has.
    """

    def __init__(self, form: Form, policy: Answering, open_loop: int, cameras: int) -> None:
        self._form, self._policy = form, policy
        self._open_loop, self._cameras = open_loop, cameras
        self._left: dict[str, deque[np.ndarray]] = {}

    def begin(self, session: str) -> None:
        """Forget what an earlier episode of a session left."""
        self._left.pop(session, None)

    def promised(self, session: str, sent: Mapping[str, Any]) -> np.ndarray | None:
        """Return the next action (7,) of the chunk, or None: the policy must be asked."""
        if sent.get(RESTART):
            self.begin(session)
        left = self._left.get(session)
        return left.popleft() if left else None

    def ask(self, sessions: Sequence[str], sent: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
        """Ask the policy for chunks; return the first action (7,) of each.

        Raises:
            VLAAdapterError: an observation is not of this benchmark, or actions are not finite.
        """
        questions = [
            (
                {'instruction': str(each.get('task_description', ''))},
                self._form.arrays_of(each, self._cameras),
            )
            for each in sent
        ]
        first = []
        for session, chunk in zip(sessions, self._policy(questions), strict=True):
            actions = chunk[: self._open_loop].astype(np.float32)
            self._left[session] = deque(actions[1:])
            first.append(actions[0])
        return first
