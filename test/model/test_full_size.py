# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""At the released size: loading costs what reading costs, and the session saves what it claims."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from support.float32_rounding import FULL_SIZE
from support.model_cases import relative_error
from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.evaluation.measure import count_flops
from vla_adapter_ros.inference.reference import ReferenceForward
from vla_adapter_ros.inference.session import InferenceSession
from vla_adapter_ros.model.vla import VLAAdapter

pytestmark = [
    pytest.mark.slow(reason="networks of the paper's size: minutes, and gigabytes of memory"),
    pytest.mark.timeout(900),
]

LOAD = """
import json, re, sys
import torch
import transformers.models.qwen2.modeling_qwen2
from vla_adapter_ros.model.vla import VLAAdapter



def peak():  # of this program alone; getrusage would count the parent's pages before exec
    return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024


def read():  # bytes read by calls; a mapped file is not
    return int(re.search(r'rchar: (\\d+)', open('/proc/self/io').read())[1])


base = peak()
start = read()
model = VLAAdapter.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
read = read() - start
weights = sum(p.numel() * p.element_size() for p in model.parameters())
for parameter in model.parameters():  # bring every page in
    parameter.detach().view(-1)[::1024].float().sum().item()
print(json.dumps({'read': read, 'weights': weights, 'peak': peak(), 'base': base}))
"""


@pytest.fixture(scope='module')
def full_model():
    torch.manual_seed(0)
    return VLAAdapter.from_config(VLAAdapterConfig.full(), dtype=torch.bfloat16)


def full_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(1, 12, 224, 224, generator=generator)
    ids = torch.randint(0, 151000, (1, 48), generator=generator)
    return pixels, ids, torch.rand(1, 8, generator=generator)


def test_loading_peaks_at_little_more_than_the_weights(full_model, tmp_path):
    full_model.save_pretrained(tmp_path)
    command = [sys.executable, '-c', LOAD, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    print(figures)
    assert figures['weights'] > 2.7e9
    assert figures['peak'] <= 1.3 * figures['weights']
    assert figures['read'] <= 1.1 * figures['weights']  # each weight once, at most


def test_session_gives_the_released_forms_actions_with_less_arithmetic(full_model):
    model = full_model.float()
    pixels, ids, proprio = full_inputs()
    session, released = InferenceSession(model), ReferenceForward(model)
    prompt = session.prompt(ids)
    with torch.inference_mode():
        wanted, actions = released(pixels, ids, proprio), session(pixels, prompt, proprio)
    assert relative_error(actions, wanted) < FULL_SIZE
    model = VLAAdapter.from_config(full_model.config, device='meta')
    session = InferenceSession(model, streams=False, absorb=True)
    released = ReferenceForward(model)
    inputs = [x.to('meta') for x in (pixels, ids, proprio)]
    with torch.inference_mode():
        needed = count_flops(lambda: session(inputs[0], session.prompt(inputs[1]), inputs[2]))
        upstream = count_flops(lambda: released(*inputs))
    print(f'{needed / 1e9:.0f} of {upstream / 1e9:.0f} GFLOP')
    assert needed <= 0.86 * upstream
