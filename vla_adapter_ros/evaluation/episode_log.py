# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an evaluation was made with, and its episodes while it runs, so that it can be resumed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.code_origin import code_fingerprint, code_revision
from vla_adapter_ros.evaluation.policies import checkpoint_folder, is_baseline
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.weights.directory import checkpoint_fingerprint, read_checkpoint_metadata
from vla_adapter_ros.weights.files import json_fingerprint
from vla_adapter_ros.weights.metadata import software_versions
from vla_adapter_ros.weights.released import checkpoint_name

EPISODES = 'episodes.jsonl'
REVISION = 'revision'
BEGINNING = b'{"made_with": '


def provenance(policy: str, robot: str, nodes: bool = False) -> dict[str, Any]:
    """Return what a policy's figures depend on beside the settings, as JSON data.

    Args:
        policy: name, see `policies.make_policy`.
        robot: contract of the nodes, and of the policies that have none of their own.
        nodes: whether its episodes run through the nodes.

    Raises:
        VLAAdapterError: no such policy or robot.
    """
    made: dict[str, Any] = {
        'versions': software_versions('numpy', 'mujoco', 'torch'),
        REVISION: code_revision(),
        'code': code_fingerprint(nodes),
    }
    own: dict[str, Any] = {}
    if not is_baseline(policy):
        folder = checkpoint_folder(policy)
        made |= {
            'checkpoint': checkpoint_name(folder),
            'fingerprint': checkpoint_fingerprint(folder),
        }
        own = read_checkpoint_metadata(folder).robot
    contract = resolve_contract(robot).to_dict() if nodes or not own else own
    return made | {'robot': contract.get('name', robot), 'contract': json_fingerprint(contract)}


def decisive(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `provenance` on which figures depend; the revision only names `code`."""
    return {key: value for key, value in made_with.items() if key != REVISION}


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
        self._key = json_fingerprint(made_with)
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
