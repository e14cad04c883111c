#!/usr/bin/env python3
"""Makes what tests/models/architectures.cpp compares with: for torchvision's architectures the number of parameters, a hash of
the names and shapes in the state dict, and for some the logits that planted weights give. Needs torch, torchvision, numpy:

    python3 make_state_dicts.py tests/golden/state_dicts.json
"""
import json
import sys

import numpy as np
import torch
import torchvision.models as tv

MASK = (1 << 64) - 1


def fnv(text, h=0xcbf29ce484222325):
    for b in text.encode():
        h = (h ^ b) * 0x100000001b3 & MASK
    return h


def mixed(x):
    """SplitMix64's finaliser on an array of uint64: the test has the same."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def planted(name, shape):
    """Uniform values that depend on the name and the index alone: weights with variance 2/fan-in, statistics near 0 and 1."""
    n = int(np.prod(shape))
    with np.errstate(over='ignore'):
        bits = mixed(np.uint64(fnv(name)) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, n + 1, dtype=np.uint64))
    u = (bits >> np.uint64(40)).astype(np.float64) / (1 << 24)
    if name == 'image':
        v = 2 * u - 1
    elif name.endswith('running_var'):
        v = 0.75 + 0.5 * u
    elif len(shape) > 1:
        v = (2 * u - 1) * np.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith('weight'):
        v = 0.5 + u
    else:
        v = 0.2 * (u - 0.5)
    return torch.tensor(v.astype(np.float32).reshape(shape))


NETS = ['alexnet', 'vgg11', 'vgg13', 'vgg16', 'vgg19', 'vgg11_bn', 'vgg13_bn', 'vgg16_bn', 'vgg19_bn', 'googlenet', 'resnet18', 'resnet34',
        'resnet50', 'resnet101', 'resnet152', 'densenet121']
RUN = ['googlenet', 'resnet18', 'resnet50', 'densenet121']


def main(path):
    out = {}
    for name in NETS:
        extra = {'aux_logits': True, 'init_weights': False, 'transform_input': False} if name == 'googlenet' else {}
        with torch.device('meta'):
            net = getattr(tv, name)(**extra)
        lines = sorted(f'{k} {tuple(v.shape)}'.replace(' ', '').replace(',)', ')') for k, v in net.state_dict().items() if not k.endswith('num_batches_tracked'))
        entry = {'parameters': sum(p.numel() for p in net.parameters()), 'tensors': len(lines), 'hash': str(fnv('\n'.join(lines)))}
        if name in RUN:
            net = getattr(tv, name)(num_classes=10, **extra)
            state = net.state_dict()
            net.load_state_dict({k: v if k.endswith('num_batches_tracked') else planted(k, tuple(v.shape)) for k, v in state.items()})
            net.double().eval()
            x = planted('image', (1, 3, 96, 64)).double()
            entry['logits'] = net(x).detach().flatten().tolist()
        out[name] = entry
        print(name, entry)
    json.dump(out, open(path, 'w'), indent=1)


if __name__ == '__main__':
    main(sys.argv[1])
