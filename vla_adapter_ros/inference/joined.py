# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Linear layers with the same input as one product: fewer, larger kernels on a GPU.

The layers stay where they are, with the same values, but their weights become views of the joined
ones: no memory is held twice, and what is saved keeps its names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla_adapter_ros.model.language import Decoder


def joined(rows: Sequence[Sequence[nn.Linear]]) -> tuple[Tensor, Tensor | None]:
    """Join the weights of each row's layers one below the other, and stack the rows.

    Args:
        rows: linear layers, of the same shapes in every row.

    Returns:
        Weights (rows, out, in) and biases (rows, out), None where the layers have none.
    """
    weights = _views([[layer.weight for layer in layers] for layers in rows])
    if rows[0][0].bias is None:
        return weights, None
    return weights, _views([[layer.bias for layer in layers] for layers in rows])


def _views(rows: Sequence[Sequence[nn.Parameter]]) -> Tensor:
    # A parameter made in inference mode takes no other kind of tensor, and the other way round.
    with torch.inference_mode(rows[0][0].is_inference()), torch.no_grad():
        whole = torch.stack([torch.cat([parameter.data for parameter in row]) for row in rows])
        for row, joint in zip(rows, whole):
            for parameter, part in zip(row, joint.split([len(parameter) for parameter in row])):
                parameter.data = part
    return whole


def join_language_layers(decoder: Decoder) -> None:
    """Let each layer compute query, key and value at once, and gate and up at once.

    Only for layers that are `nn.Linear` and stay so.
    """
    for layer in decoder.layers:
        attention, mlp = layer.self_attn, layer.mlp
        weight, bias = joined([[attention.q_proj, attention.k_proj, attention.v_proj]])
        attention.qkv_weight = weight[0]
        attention.qkv_bias = None if bias is None else bias[0]
        mlp.gate_up_weight = joined([[mlp.gate_proj, mlp.up_proj]])[0][0]
