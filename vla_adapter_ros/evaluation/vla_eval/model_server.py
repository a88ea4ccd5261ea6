# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy as a model server of vla-eval, which must be installed where this is imported.

`vla-eval serve` and `vla-eval test` run this file as a script: their configuration names it as
`script`, and under `args` what `VLAAdapterServer` takes.
"""

from __future__ import annotations

from typing import Any

from vla_eval import specs
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer

from vla_adapter_ros.evaluation.suites.policies import CheckpointPolicy, make_policy
from vla_adapter_ros.evaluation.vla_eval.forms import form_of
from vla_adapter_ros.evaluation.vla_eval.sessions import Sessions


class VLAAdapterServer(PredictModelServer):
    """Serves one policy to one benchmark.

    Args:
        checkpoint: folder or Hub address, or `zero`.
        benchmark: a name in `benchmarks.yaml`.
        statistics_key: of a checkpoint that holds several; '': its only ones.
        device: see `EngineSettings`, as `dtype`.
        dtype: precision.
        open_loop: actions of a chunk that are executed before the next query.
        batch: most observations of parallel runs that the policy computes at once.

    Raises:
        VLAAdapterError: the policy cannot be loaded, or does not fit the benchmark.
    """

    def __init__(
        self,
        checkpoint: str,
        benchmark: str,
        statistics_key: str = '',
        device: str = 'auto',
        dtype: str = 'auto',
        open_loop: int = 8,
        batch: int = 1,
    ) -> None:
        super().__init__(max_batch_size=batch)
        self._form = form_of(benchmark)
        policy = make_policy(
            self._form.benchmark(), checkpoint, statistics_key or None, device, dtype, batch
        )
        cameras = len(self._form.views)
        if isinstance(policy, CheckpointPolicy):
            cameras = policy.cameras
        self._wrist = cameras > 1
        self._sessions = Sessions(self._form, policy, open_loop, cameras)

    def get_observation_params(self) -> dict[str, Any]:
        """Return what the benchmark is asked for."""
        return {**self._form.params, **(self._form.wrist_params if self._wrist else {})}

    def get_action_spec(self) -> dict[str, specs.DimSpec]:
        """Return the form of the actions, as the benchmark names it."""
        names = ('position', 'rotation', 'gripper')
        return {
            name: getattr(specs, constant)
            for name, constant in zip(names, self._form.specs, strict=True)
        }

    def get_observation_spec(self) -> dict[str, specs.DimSpec]:
        """Return which images it needs."""
        views = self._form.views[: 2 if self._wrist else 1]
        return {'language': specs.LANGUAGE, **dict.fromkeys(views, specs.IMAGE_RGB)}

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        """Begin an episode without what the last one left."""
        self._sessions.begin(ctx.session_id)
        await super().on_episode_start(config, ctx)

    async def on_observation(self, obs: dict[str, Any], ctx: SessionContext) -> None:
        """Answer from the chunk that is being executed, else ask the policy."""
        action = self._sessions.promised(ctx.session_id, obs)
        if action is None:
            await super().on_observation(obs, ctx)
        else:
            await ctx.send_action({'actions': action})

    def predict_batch(
        self, obs_batch: list[dict[str, Any]], ctx_batch: list[SessionContext]
    ) -> list[dict[str, Any]]:
        """Return the first action of a new chunk for each observation."""
        sessions = [ctx.session_id for ctx in ctx_batch]
        return [{'actions': action} for action in self._sessions.ask(sessions, obs_batch)]


if __name__ == '__main__':
    from vla_eval.model_servers.serve import run_server

    run_server(VLAAdapterServer)
