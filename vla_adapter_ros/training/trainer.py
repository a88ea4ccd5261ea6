# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The training loop. One process or many: accelerate places, wraps and synchronises the model.

Everything random in a step (noise, dropout, augmentation, images) is seeded by (seed, step,
micro-step), and the order of samples is a function of (seed, step) too. A resumed run therefore
needs no saved generator state and repeats exactly what an uninterrupted one does.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from vla_adapter_ros.errors import CheckpointError, VLAAdapterError, readable
from vla_adapter_ros.training.ahead import BatchesAhead
from vla_adapter_ros.training.checkpoints.peft_state import from_peft
from vla_adapter_ros.training.checkpoints.resume_state import (
    check_tensors,
    load_adam,
    read_state,
)
from vla_adapter_ros.training.checkpoints.run_folder import STATE_FILE, RunFolder
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.training.experiments.grounding.loss import grounding_loss, scene_scores
from vla_adapter_ros.training.metrics import PhaseTimer, RunLog, peak_flops, peak_memory_gb
from vla_adapter_ros.training.optimizer import (
    WeightAverage,
    make_optimizer,
    parameter_groups,
    rate_factor,
    set_rate,
    trainable,
)
from vla_adapter_ros.training.processes import Processes
from vla_adapter_ros.training.progress import ProgressBar
from vla_adapter_ros.training.stop_signals import StopSignals

Batch = dict[str, Any]


class TrainingError(VLAAdapterError):
    """A run cannot continue: diverged, out of memory, or not resumable as requested."""


class TrainingStopped(TrainingError):
    """A run was asked to end, and has saved its last step."""


class Batches(Protocol):
    """The data interface of the trainer."""

    def training(self, first_step: int) -> Iterator[Batch]:
        """Yield micro-batches of this process forever, from optimiser step `first_step` on."""
        ...

    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        """Bring a batch to the device and augment it there, from torch's generator."""
        ...


class LossModule(nn.Module):
    """Gives the model's loss through `forward`, where DDP and autocast hook in.

    Args:
        model: the network.
        grounding: weight of the loss of the batch's `scenes`, if it has some.
    """

    def __init__(self, model: nn.Module, grounding: float = 0.0) -> None:
        super().__init__()
        self.model, self._grounding = model, grounding
        self.metrics: dict[str, torch.Tensor] = {}  # of the last batch, detached

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        loss, self.metrics = self.model.compute_loss(batch)
        if (scenes := batch.get('scenes')) is not None:
            scores = scene_scores(self.model, scenes)
            loss = loss + self._grounding * grounding_loss(scores, scenes['points'])
        return loss


@dataclass
class Hooks:
    """Functions that the trainer calls at certain steps, with the step number.

    Attributes:
        write_checkpoint: writes the self-describing checkpoint into a folder.
        validate: returns named errors; `l1` among them decides which checkpoint is best.
        simulate: returns named success rates.
    """

    write_checkpoint: Callable[[Path, int], None]
    validate: Callable[[int], dict[str, float]] | None = None
    simulate: Callable[[int], dict[str, float]] | None = None


@dataclass
class _Window:
    """Losses, their parts and norms since the last log line."""

    losses: list[torch.Tensor] = field(default_factory=list)
    parts: dict[str, list[torch.Tensor]] = field(default_factory=lambda: defaultdict(list))
    norms: list[torch.Tensor] = field(default_factory=list)
    steps: int = 0


class Trainer:
    """Trains one model as configured.

    Args:
        config: the run.
        model: the network with its adaptation applied; trainable parameters have `requires_grad`.
        batches: the data.
        hooks: checkpoint writing, validation, simulation.
        accelerator: an `accelerate.Accelerator`.
        backbone_names: trainable parameters that get `optimizer.backbone_lr`.
        processes: of the run; None: those of the accelerator.
    """

    def __init__(
        self, config: TrainConfig, model: nn.Module, batches: Batches, hooks: Hooks,
        accelerator: Any, backbone_names: list[str] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.config, self.model, self.batches, self.hooks = config, model, batches, hooks
        self.accelerator = accelerator
        self.processes = processes or Processes(accelerator)
        self.step = 0
        self.named = trainable(model)
        groups = parameter_groups(self.named, config.optimizer, backbone_names or [])
        optimizer = make_optimizer(groups, config.optimizer, config.compute.fused_optimizer)
        self._loss = LossModule(model, config.grounding.weight)
        self._loss_module, self.optimizer = accelerator.prepare(self._loss, optimizer)
        self.average = WeightAverage(self.named, config.ema) if config.ema else None
        self.folder = RunFolder(Path(config.output_dir), config.save.keep_last)
        self._timer = PhaseTimer(accelerator.device.type == 'cuda')
        self._peak = peak_flops(accelerator.device, config.log)
        self._flops: float | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return bool(self.accelerator.is_main_process)

    def averaged(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which the model holds the weights to be used (averaged if any)."""
        return self.average.swapped() if self.average else contextlib.nullcontext()

    def train(self, log: RunLog) -> None:
        """Run until `config.steps`.

        Raises:
            TrainingError: the loss is not finite, or the memory does not suffice.
            TrainingStopped: SIGTERM came; the step is saved.
            CheckpointError: a checkpoint cannot be written.
        """
        self.model.train()
        signals = StopSignals()
        with signals, ProgressBar(self.config.steps, self.step, self.is_main) as bar:
            stream = self._batches_ahead()
            window = _Window()
            while self.step < self.config.steps:
                self._optimiser_step(stream, window)
                self.step += 1
                bar.advance()
                if self._due(self.config.log.every):
                    self._report(window, log, bar)
                    window = _Window()
                self._periodic(log, window, bar)
                self._obey(signals, log, window, bar)

    def _due(self, every: int) -> bool:
        last = self.step == self.config.steps
        return every > 0 and (self.step % every == 0 or last)

    def _batches_ahead(self) -> BatchesAhead[Any]:
        """Return the batches from this step on."""
        first = self.step

        def prepare(samples: Any, number: int) -> Batch:
            step, micro = divmod(number, self.config.accumulate)
            # Augmentation differs between processes; the latent noise must not (it is one draw
            # for the whole batch), so that two processes equal one with a doubled batch.
            self._seed(first + step, micro, self.accelerator.process_index + 1)
            return self.batches.prepare(samples, self.accelerator.device)

        samples = self.batches.training(first)
        return BatchesAhead(samples, prepare, self.accelerator.device)

    def _optimiser_step(self, stream: BatchesAhead[Any], window: _Window) -> None:
        rate = rate_factor(self.step, self.config.steps, self.config.schedule)
        set_rate(self.optimizer, rate)
        for micro in range(self.config.accumulate):
            loss, metrics = self._micro_step(stream, micro)
            window.losses.append(loss)
            for name, value in metrics.items():
                window.parts[name].append(value)
        clip = self.config.optimizer.clip_norm or math.inf
        norm = self.accelerator.clip_grad_norm_([p for _, p in self.named], clip)
        window.norms.append(norm.detach())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        self._timer.end('optimiser')
        window.steps += 1

    def _micro_step(
        self, stream: BatchesAhead[Any], micro: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        self._timer.start()
        batch = stream.take()
        if micro == 0:
            self._count_flops(batch)
        self._timer.end('data')
        self._seed(self.step, micro, 0)
        last = micro + 1 == self.config.accumulate
        sync = contextlib.nullcontext() if last else self.accelerator.no_sync(self._loss_module)
        with sync:
            loss = self._loss_module(batch)
            self._timer.end('forward')
            self.accelerator.backward(loss / self.config.accumulate)
        self._timer.end('backward')
        stream.fill()
        self._timer.end('data')
        return loss.detach(), self._loss.metrics

    def _seed(self, step: int, micro: int, stream: int) -> None:
        numbers = (self.config.seed, step, micro, stream)
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))

    def _count_flops(self, batch: Batch) -> None:
        """Count one forward and backward, apart from training: the counter changes rounding."""
        if self._flops is not None or self._peak is None:
            return
        from torch.utils.flop_counter import FlopCounterMode

        eager = torch.compiler.set_stance('force_eager')  # the counter sees single operations only
        with eager, FlopCounterMode(display=False) as counter:
            with self.accelerator.autocast():
                loss = LossModule(self.model)(batch)
            # Not `backward`: DDP would take this for its first step, and send other gradients.
            torch.autograd.grad(loss, [p for _, p in self.named], allow_unused=True)
        self._flops = float(counter.get_total_flops()) * self.config.accumulate

    def _report(self, window: _Window, log: RunLog, bar: ProgressBar) -> None:
        loss = self.accelerator.reduce(torch.stack(window.losses).mean(), 'mean').item()
        if not math.isfinite(loss):
            raise self._diverged(f'loss is {loss}')
        values = {
            'loss': loss,
            **{n: torch.stack(v).mean().item() for n, v in window.parts.items() if n != 'loss'},
            'gradient_norm': torch.stack(window.norms).mean().item(),
            'learning_rate': self.optimizer.param_groups[0]['lr'],
            'peak_memory_gb': peak_memory_gb(self.accelerator.device),
            **self._speed(window, bar),
        }
        log.write(self.step, values, 'train')
        bar.show(loss=loss, samples_per_s=values['samples_per_s'])

    def _speed(self, window: _Window, bar: ProgressBar) -> dict[str, float]:
        phases = self._timer.collect()
        seconds = bar.lap()
        samples = window.steps * self.config.accumulate * self.config.batch_size
        rate = samples * self.accelerator.num_processes / seconds
        values = {'samples_per_s': rate, 'step_s': seconds / window.steps}
        values |= {f'{name}_s': t / window.steps for name, t in phases.items()}
        if self._peak and self._flops:
            values['mfu'] = self._flops * window.steps / seconds / self._peak
        return values

    def _periodic(self, log: RunLog, window: _Window, bar: ProgressBar) -> None:
        save = self._due(self.config.save.every)
        validate = self.hooks.validate is not None and self._due(self.config.save.validate_every)
        simulate = self.hooks.simulate is not None and self._due(self.config.simulation.every)
        if not (save or validate or simulate):
            return
        self._check_finite(window, log, bar)
        if save:
            self.save()
            self.processes.wait()
        if validate and self.hooks.validate:
            with self.averaged():
                errors = self.hooks.validate(self.step)
            log.write(self.step, errors, 'validation')
            self._keep_best(errors['l1'])
        if simulate and self.hooks.simulate and self.is_main:
            with self.averaged():
                log.write(self.step, self.hooks.simulate(self.step), 'simulation')
        self.model.train()
        self._timer.collect()
        bar.lap()
        self.processes.wait()

    def _obey(
        self, signals: StopSignals, log: RunLog, window: _Window, bar: ProgressBar
    ) -> None:
        """Save or end the run if any process was asked to; all come to the same answer."""
        save, stop = self.processes.sum(np.array([signals.save, signals.stop])) > 0
        if not save:
            return
        signals.save = False
        self._check_finite(window, log, bar)
        if self.step not in self.folder.steps():
            self.save()
        self.processes.wait()
        if stop:
            raise TrainingStopped(
                f'stopped by SIGTERM; step {self.step} is saved, and the same command goes on '
                'from there'
            )

    def _keep_best(self, error: float) -> None:
        """Save this step if none had a lower validation error, and mark it best."""
        if not self.is_main or error >= self.folder.best_score():
            return
        if self.step not in self.folder.steps():
            self.save()
        self.folder.mark_best(self.folder.steps()[self.step], error)

    def _check_finite(self, window: _Window, log: RunLog, bar: ProgressBar) -> None:
        """Refuse to evaluate or save a diverged model: a finite loss may hide such weights."""
        bad = bool(window.losses) and not torch.stack(window.losses).isfinite().all()
        if self.processes.sum(np.array([bad])).any():  # in one process, so in all of them
            self._report(window, log, bar)  # raises
        bad = next((name for name, p in self.named if not bool(p.isfinite().all())), None)
        if bad is not None:
            raise self._diverged(f'{bad} is not finite')

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f'{what} at step {self.step}: the run has diverged; the last good checkpoint is '
            f'{self.folder.last() or "none"}; lower optimizer.lr or set optimizer.clip_norm=1'
        )

    def save(self) -> None:
        """Write a checkpoint of this step; only the first process does."""
        if not self.is_main:
            return

        def write(folder: Path) -> None:
            with self.averaged():
                self.hooks.write_checkpoint(folder, self.step)
            torch.save(self._state(), folder / STATE_FILE)

        self.folder.save(self.step, write)

    def _state(self) -> dict[str, Any]:
        return {
            'step': self.step,
            'trained': {name: p.detach() for name, p in self.named},
            'optimizer': self.optimizer.state_dict(),
            'average': self.average.model.state_dict() if self.average else None,
        }

    def resume(self, checkpoint: Path) -> None:
        """Continue from a checkpoint of this same run.

        Raises:
            TrainingError: the checkpoint does not hold this run's parameters.
            CheckpointError: its state is damaged.
        """
        where = f'resume {checkpoint}'
        with readable(where, CheckpointError):
            state = self._stored(checkpoint, where)
            load_adam(self.optimizer, state['optimizer'], where)
            if self.average is not None:
                means = self.average.model
                check_tensors(state['average'], means.state_dict(), f'{where}: average')
                means.load_state_dict(state['average'])
        with torch.no_grad():
            for name, parameter in self.named:
                parameter.copy_(state['trained'][name])
        self.step = int(state['step'])
        if self.is_main:
            print(f'resuming from {checkpoint} at step {self.step}', file=sys.stderr)

    def _stored(self, checkpoint: Path, where: str) -> dict[str, Any]:
        """Return a stored state whose weights are those of this run's parameters."""
        state = read_state(checkpoint, STATE_FILE)
        names = {id(parameter): name for name, parameter in self.named}
        groups = [[names[id(p)] for p in g['params']] for g in self.optimizer.param_groups]
        state = from_peft(state, groups)
        mine, theirs = {n for n, _ in self.named}, set(state['trained'])
        if mine != theirs:
            odd = sorted(map(str, mine ^ theirs))[0]
            raise TrainingError(
                f'{where}: it trains other parameters than this run (e.g. {odd}); '
                'use another output_dir, or save.resume=false to start over'
            )
        check_tensors(state['trained'], dict(self.named), f'{where}: trained')
        return state
