# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How many kernels one call of the released network launches."""

from __future__ import annotations

import torch

from support.kernels import KernelCount
from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.inference.joined import join_language_layers
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model.vla import VLAAdapter


def test_a_call_of_the_pro_network_launches_at_most_1200_kernels():
    model = VLAAdapter.from_config(VLAAdapterConfig.full(), device='meta')
    join_language_layers(model.decoder)
    session = InferenceSession(model, streams=False)
    prompt = session.prompt(torch.zeros(1, 48, dtype=torch.long, device='meta'))
    pixels = torch.empty(1, 12, 224, 224, device='meta')
    proprio = torch.empty(1, 8, device='meta')
    with KernelCount() as count:
        session(pixels, prompt, proprio)
    print(count.total, count.by_name.most_common(12))
    # The released form issues 3,160. A policy block has eleven, a layer of the language model 16.
    assert 1000 < count.total <= 1200
