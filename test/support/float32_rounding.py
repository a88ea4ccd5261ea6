# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How far float32 arithmetic can move a network's results: the bound of comparisons in float32.

A CPU may add the terms of a product in any order, fuse multiplications with additions and take
its own exponential, so two correct float32 runs differ, and a network of 24 layers amplifies
that. The bound is found, not chosen: the network runs in float64 while every single result is
moved, up or down at random, by as much as float32 can move it (Monte Carlo arithmetic):

- A sum of n products by u·sqrt(n·(p1² + … + pn²)), u = 2⁻²⁴ the unit roundoff. Each of its n - 1
  additions errs by at most u times a partial sum, in a sign of its own. Partial sums of products
  of mixed signs grow as sqrt(k), so that the errors add up, root mean square, to 1/sqrt(6) of
  this when one follows the other, and to less when they are added in blocks. (Those of one sign
  reach sqrt(n)/3 of it, one after the other, which no library does for long sums.)
- Layer norms, softmaxes and other sums by 4u of the largest result in the row.
- All else by 2u of the result: u for arithmetic, 2u for elementary functions good to one unit in
  the last place.
- Weights and inputs by u: `normal_numbers` is off by 0.9u, root mean square.
- The rotary tables, float32 on every path, by one unit in the last place of each power, cosine
  and sine; their multiplications and divisions have one correct result.

How the network spreads that is measured, stage by stage. `DRAWS` such runs give the largest
deviation each; other roundings are other draws from the same or a narrower distribution, for
which `MARGIN` leaves room.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from support.model_cases import relative_error, tiny_inputs, tiny_model

UNIT_ROUNDOFF = 2.0**-24
DRAWS = 3
MARGIN = 3.0
# Two float32 ways of computing the actions of the released size, which is too large for float64.
# Those of the small network are 3e-5 from the exact ones at most (`tiny_stages`), with sums of
# 128 terms at most; the error of a sum grows with the root of its terms, and here they are 4864.
FULL_SIZE = 2 * 3e-5 * (4864 / 128) ** 0.5
# From float32's unit roundoff to bfloat16's; to first order errors grow by the same factor.
BFLOAT16 = 2.0**16
# Two ways of computing the same in float64 differ by 1e-13 here, and by 1e-7 as soon as anything
# on the way is rounded to float32.
IN_FLOAT64 = 1e-10

aten = torch.ops.aten
PRODUCTS = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.convolution, aten.linear)
ROWS = (aten.native_layer_norm, aten._softmax, aten.sum, aten.mean)
TABLES = (aten.pow, aten.cos, aten.sin)
COPIES = (
    aten._to_copy, aten.clone, aten.cat, aten.stack, aten.index, aten.embedding, aten.where,
    aten.flip, aten.roll,
)  # fmt: skip

Stages = dict[str, Tensor]


class Signs:
    """±1 at random, cut out of one long draw; one for every result would take most of the time."""

    LONGEST = 1 << 21

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(0, 2, (2 * self.LONGEST,), generator=self.generator)
        self.drawn = drawn.double().mul_(2).sub_(1)

    def like(self, x: Tensor) -> Tensor:
        assert x.numel() <= self.LONGEST
        start = int(torch.randint(0, self.LONGEST, (1,), generator=self.generator))
        return self.drawn[start : start + x.numel()].view(x.shape).to(x.dtype)


class StaysWide(TorchFunctionMode):
    """Keeps float64 where a layer (transformers' RMS norm) asks for float32."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        narrow = func is Tensor.float or (func is Tensor.to and args[1] is torch.float32)
        if narrow and args[0].dtype == torch.float64:
            return args[0]
        return func(*args, **(kwargs or {}))


def in_float64(model: nn.Module) -> nn.Module:
    """The network in float64, with the rotary tables of float32: those were recorded."""
    getattr(model, 'policy', model).network.rope_dtype = 'float32'
    return model.double()


def doubled(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}


class MovedResults(TorchDispatchMode):
    """Moves every result of float64 arithmetic as far as float32 arithmetic might."""

    def __init__(self, signs: Signs) -> None:
        super().__init__()
        self.signs = signs

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.is_view or func._schema.is_mutable:
            return result
        if isinstance(result, tuple | list):
            return type(result)((self.moved(func, args, result[0]), *result[1:]))
        return self.moved(func, args, result)

    def moved(self, func, args, result):
        kind = func.overloadpacket
        if not isinstance(result, Tensor) or not result.is_floating_point() or kind in COPIES:
            return result
        signs = self.signs.like(result)
        if result.dtype == torch.float32:
            # The tables. A power of zero is one, exactly.
            room = 2 * UNIT_ROUNDOFF * result.abs() * (kind in TABLES) * (result != 1)
        elif kind in PRODUCTS:
            squares = [a.square() if isinstance(a, Tensor) else a for a in args]
            terms = args[1][0].numel() if kind in (aten.convolution, aten.linear) else 0
            terms = terms or [a for a in args if isinstance(a, Tensor)][-1].shape[-2]
            room = UNIT_ROUNDOFF * (terms * func(*squares)).sqrt()
        elif kind in ROWS:
            room = 4 * UNIT_ROUNDOFF * result.abs().amax(dim=-1, keepdim=True)
        else:
            return result * (1 + 2 * UNIT_ROUNDOFF * signs)  # as a product: a mask's -inf stays
        return result + room * signs


@contextmanager
def moved_weights(model: nn.Module, signs: Signs):
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1 + UNIT_ROUNDOFF * signs.like(p))
        yield
    finally:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(kept[name])


@contextmanager
def one_thread():
    """Many small operations: on a busy machine threads wait for each other at every one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def float64_stages(
    model: nn.Module, call: Callable[..., Stages], *inputs: Tensor
) -> tuple[Stages, dict[str, float]]:
    """The stages that `call(*inputs)` gives, from `model` in float64, and float32's bound on each.

    The bound is relative: largest deviation over largest value, as `relative_error` counts.
    """
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    with sdpa_kernel(SDPBackend.MATH), StaysWide(), one_thread():
        exact = call(*inputs)
        assert {x.dtype for x in exact.values()} <= {torch.float64, torch.int64}
        largest = dict.fromkeys(exact, 0.0)
        for seed in range(DRAWS):
            signs = Signs(seed)
            near = [
                x * (1 + UNIT_ROUNDOFF * signs.like(x)) if x.is_floating_point() else x
                for x in inputs
            ]
            with moved_weights(model, signs), MovedResults(signs):
                moved = call(*near)
            for name, value in moved.items():
                assert value.isfinite().all(), name
                largest[name] = max(largest[name], relative_error(value, exact[name]))
    return exact, {name: MARGIN * value for name, value in largest.items()}


def float64_actions(
    model: nn.Module, pixels: Tensor, ids: Tensor, proprio: Tensor
) -> tuple[Tensor, float]:
    """Actions (B, K, A) of a float32 `VLAAdapter` in float64, and float32's bound on them."""
    wide = in_float64(deepcopy(model))
    exact, bounds = float64_stages(
        wide, lambda *x: {'actions': wide(x[0], x[1], x[2])}, pixels, ids, proprio
    )
    return exact['actions'], bounds['actions']


@cache
def tiny_stages() -> tuple[Stages, dict[str, float]]:
    """The recorded case in float64, of every position: both the same on every CPU."""
    model, inputs = in_float64(tiny_model('pro')), tiny_inputs()

    def run(*values: Tensor) -> Stages:
        actions, stages = model(**dict(zip(inputs, values)), return_stages=True)
        return stages | {'normalized_actions': actions}

    return float64_stages(model, run, *inputs.values())
