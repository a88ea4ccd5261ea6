# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an evaluation was made with, and its episodes while it runs, so that it can be resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.policies import checkpoint_folder, is_baseline
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.weights.directory import checkpoint_fingerprint, read_checkpoint_metadata
from vla_adapter_ros.weights.metadata import software_versions
from vla_adapter_ros.weights.released import checkpoint_name

EPISODES = 'episodes.jsonl'
BEGINNING = b'{"made_with": '


def provenance(policy: str, robot: str) -> dict[str, Any]:
    """Return what a policy's figures depend on beside the settings, as JSON data.

    Args:
        policy: name, see `policies.make_policy`.
        robot: contract of the policies that have none of their own.

    Raises:
        VLAAdapterError: no such policy.
    """
    made: dict[str, Any] = {'versions': software_versions('numpy', 'mujoco', 'torch')}
    if is_baseline(policy):
        return made | {'robot': robot}
    folder = checkpoint_folder(policy)
    return made | {
        'checkpoint': checkpoint_name(folder),
        'fingerprint': checkpoint_fingerprint(folder),
        'robot': read_checkpoint_metadata(folder).robot.get('name', robot),
    }


class EpisodeLog:
    """The episodes of an evaluation, a JSON line each, written as they end.

    Lines of other settings, versions or checkpoints, and damaged ones, are passed over.

    Raises:
        VLAAdapterError: a file of that name is there, and no such log.

    Attributes:
        done: job without its film → result, of an earlier run.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / EPISODES
        self._key = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:16]
        self.done: dict[tuple[str, int, str | None], EpisodeResult] = {}
        found = self._path.read_bytes() if self._path.is_file() else b''
        if not BEGINNING.startswith(found[: len(BEGINNING)]):
            raise VLAAdapterError(
                f'{self._path}: no log of evaluation.simulate; remove it or choose another --out'
            )
        if found and not found.endswith(b'\n'):
            found = found[: found.rfind(b'\n') + 1]
            self._path.write_bytes(found)
        for line in found.splitlines():
            with contextlib.suppress(Exception):  # see `readable`
                data = json.loads(line)
                if data['made_with'] == self._key:
                    result = EpisodeResult.from_dict(data['result'])
                    self.done[result.task, result.seed, data['target']] = result

    def find(self, job: EpisodeJob) -> EpisodeResult | None:
        """Return a job's result of an earlier run."""
        return self.done.get((job.task, job.seed, job.target))

    def add(self, job: EpisodeJob, result: EpisodeResult) -> None:
        """Write a result."""
        line = {'made_with': self._key, 'target': job.target, 'result': result.to_dict()}
        with self._path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')
