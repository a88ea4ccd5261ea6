# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""How many kernels one call of the released network launches."""

from __future__ import annotations

import torch

from support.kernels import KernelCount
from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.inference.joined import join_language_layers
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model.vla import VLAAdapter
from vla_adapter_ros.processing.images import ImageConfig
from vla_adapter_ros.processing.pixels import Pixels


def test_a_call_of_the_pro_network_launches_at_most_1200_kernels():
    """As a GPU's policy runs it (`cuda_graphs.py`): views in uint8, the network in bfloat16."""
    model = VLAAdapter.from_config(VLAAdapterConfig.full(), device='meta').to(torch.bfloat16)
    join_language_layers(model.decoder)
    pixels = Pixels(ImageConfig()).to('meta')
    assert pixels.cropped
    session = InferenceSession(model, streams=False, absorb=False, pixels=pixels)
    prompt = session.prompt(torch.zeros(1, 48, dtype=torch.long, device='meta'))
    views = torch.empty(1, 2, 224, 224, 3, dtype=torch.uint8, device='meta')
    proprio = torch.empty(1, 8, device='meta')
    with KernelCount() as count:
        actions = session(views, prompt, proprio).float()
    assert actions.shape == (1, 8, 7)
    print(count.total, count.by_name.most_common(12))
    # The released form issues 2,939. A policy block has eleven, a layer of the language model 16.
    assert 1000 < count.total <= 1200
