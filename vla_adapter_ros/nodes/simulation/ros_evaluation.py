# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Episodes of `evaluation.simulate --ros`: one JSON line in, one JSON line an episode out.

`evaluation` must not import nodes, so it asks this command. The request is one line on standard
input, `{"settings": …, "jobs": […]}`, with EvaluationSettings and EpisodeJob as JSON. Each
episode is answered by `{"result": …, "film": […]}`: the dictionary of its EpisodeResult, and the
frames of a failure that was to be filmed (`evaluation.film.packed`). An error: `{"error": "…"}`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.film import packed
from vla_adapter_ros.evaluation.policies import RandomPolicy, checkpoint_folder
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.evaluation.simulate import EvaluationSettings
from vla_adapter_ros.simulation.tasks import make_task


def read_request(line: str) -> tuple[EvaluationSettings, list[EpisodeJob]]:
    """Return settings and jobs of a request line.

    Raises:
        VLAAdapterError: the request has another form, or the task does not exist.
    """
    try:
        request = json.loads(line)
        settings = EvaluationSettings.from_dict(request['settings'])
        jobs = [EpisodeJob(**job) for job in request['jobs']]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise VLAAdapterError(
            f'request: expected one JSON line with settings and jobs: {error!r}'
        ) from None
    for job in jobs:
        make_task(job.task)
    return settings, jobs


def policy_parameters(name: str) -> dict[str, Any]:
    """Return the policy node's parameters for a policy of `evaluation.policies`.

    Raises:
        VLAAdapterError: the policy does not exist, or a node cannot run it.
    """
    own = {
        'expert': 'expert',
        'zero': 'hold',
        'random': f'{RandomPolicy.__module__}:{RandomPolicy.__qualname__}',
    }
    if name in own:
        return {'policy': own[name]}
    if name.startswith('replay:'):
        raise VLAAdapterError(f'policy {name}: a node cannot know the episode; run it in process')
    return {'policy': 'checkpoint', 'checkpoint': str(checkpoint_folder(name).resolve())}


def run_episodes(
    settings: EvaluationSettings, jobs: Sequence[EpisodeJob]
) -> Iterator[tuple[EpisodeResult, list[np.ndarray]]]:
    """Run the jobs through the real nodes, in order; yields results and films.

    Raises:
        VLAAdapterError: ROS, the package's messages or a node is missing, or a node was lost.
    """
    policy = policy_parameters(settings.policy)
    try:
        from vla_adapter_ros.nodes.simulation.evaluation_rig import EvaluationRig
    except ImportError as error:
        raise VLAAdapterError(
            f'needs ROS 2 and the built package ({error}): make build, then . scripts/env.sh'
        ) from None
    with EvaluationRig(settings, policy) as rig:
        try:
            for job in jobs:
                result = rig.run(job)
                yield result, rig.film
        finally:
            # The nodes are stopped in their order, even if whoever asked insists.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def serve(requests: TextIO, answers: TextIO) -> int:
    """Answer one request; returns the exit status."""

    def say(data: dict[str, Any]) -> None:
        answers.write(json.dumps(data) + '\n')
        answers.flush()

    try:
        for result, film in run_episodes(*read_request(requests.readline())):
            kept = [] if result.success else packed(film)
            say({'result': result.to_dict(), 'film': kept})
    except VLAAdapterError as error:
        say({'error': str(error)})
        return 1
    return 0


def main(words: Sequence[str] | None = None) -> None:
    """Run the command."""
    argparse.ArgumentParser(
        prog='python -m vla_adapter_ros.nodes.simulation.ros_evaluation',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(words)
    # Only answers may go to standard output.
    os.environ['RCUTILS_LOGGING_USE_STDOUT'] = '0'
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(serve(sys.stdin, sys.stdout))
    except (KeyboardInterrupt, BrokenPipeError):
        # Whoever asked is gone; the nodes have been stopped.
        os._exit(130)


if __name__ == '__main__':
    main()
