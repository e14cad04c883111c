#!/usr/bin/env python3
"""Makes the golden maps that tests/interp/golden.cpp compares with.

Small networks with seeded random weights, explained by Zennit, Captum and SHAP in float64, stored as float32.
Each folder NET/ gets model.safetensors (Vitrine's own format, written here by hand), input.npy, logits.npy and one file a
map; index.json lists method, settings and file. Needs torch, zennit >= 0.5.1, captum, shap, safetensors, numpy:

    python3 make.py tests/golden/maps
"""
import json
import os
import sys

import numpy as np
import shap
import torch
from torch import nn
from captum.attr import (DeepLift, Deconvolution, GuidedBackprop, InputXGradient, IntegratedGradients, LayerAttribution,
                         LayerGradCam, Occlusion, Saliency)
from safetensors.numpy import save_file
from zennit.attribution import Gradient
from zennit.composites import (EpsilonAlpha2Beta1, EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat,
                               ExcitationBackprop, LayerMapComposite, layer_map_base)
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZPlus
from zennit.types import Convolution, Linear as AnyLinear

CONV = dict(stride_h=1, stride_w=1, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0, dilation_h=1, dilation_w=1, groups=1, bias=True)
WINDOW = dict(pad_top=0, pad_left=0, pad_bottom=0, pad_right=0, dilation_h=1, dilation_w=1, ceil_mode=False)


class Net(nn.Module):
    """A graph of nodes, run in order; every use of an op is a module of its own, as the peers' hooks need it."""

    def __init__(self, image, seed):
        super().__init__()
        self.image, self.nodes, self.mods, self.shapes = image, [], nn.ModuleDict(), {}
        self.generator = torch.Generator().manual_seed(seed)
        self.shapes['input'] = torch.zeros(1, *image)

    def add(self, name, op, inputs, module, attributes=None):
        for p in module.parameters():
            fan_in = p[0].numel() if p.dim() > 1 else 1
            scale = (2.0 / fan_in) ** 0.5 if p.dim() > 1 else 0.1
            p.data = torch.randn(p.shape, generator=self.generator) * scale
        self.nodes.append(dict(name=name, op=op, **{'in': inputs}, attributes=attributes or {},
                               parameters=[f'{name}.{k}' for k, _ in module.named_parameters()]))
        self.mods[name.replace('.', '_')] = module
        self.shapes[name] = self.apply_node(self.nodes[-1], self.shapes)
        return name

    def conv(self, name, x, out, kernel, stride=1, padding=0, groups=1):
        c = self.shapes[x].shape[1]
        a = dict(CONV, out=out, kernel_h=kernel, kernel_w=kernel, stride_h=stride, stride_w=stride, groups=groups,
                 pad_top=padding, pad_left=padding, pad_bottom=padding, pad_right=padding)
        return self.add(name, 'conv2d', [x], nn.Conv2d(c, out, kernel, stride, padding, groups=groups), a)

    def linear(self, name, x, out):
        return self.add(name, 'linear', [x], nn.Linear(self.shapes[x].shape[1], out), dict(out=out, bias=True))

    def pool(self, name, x, kind, kernel, stride, padding=0):
        a = dict(WINDOW, kernel_h=kernel, kernel_w=kernel, stride_h=stride, stride_w=stride, pad_top=padding, pad_left=padding,
                 pad_bottom=padding, pad_right=padding)
        if kind == 'avg':
            return self.add(name, 'avg_pool', [x], nn.AvgPool2d(kernel, stride, padding), dict(a, count_padding=True))
        return self.add(name, 'max_pool', [x], nn.MaxPool2d(kernel, stride, padding), a)

    def act(self, name, x, kind='relu'):
        module = {'relu': nn.ReLU(), 'tanh': nn.Tanh(), 'sigmoid': nn.Sigmoid(), 'leaky_relu': nn.LeakyReLU(0.1)}[kind]
        return self.add(name, kind, [x], module, dict(slope=0.1) if kind == 'leaky_relu' else {})

    def apply_node(self, node, values):
        module, args = self.mods[node['name'].replace('.', '_')], [values[i] for i in node['in']]
        if node['op'] == 'add':
            return module(torch.stack(args, -1))
        if node['op'] == 'concat':
            return torch.cat(args, 1)
        return module(*args)

    def forward(self, x):
        values = {'input': x}
        for node in self.nodes:
            values[node['name']] = self.apply_node(node, values)
        return values[self.nodes[-1]['name']]

    def save(self, path):
        graph = dict(format='vitrine/1', architecture=os.path.basename(os.path.dirname(path)), input=list(self.image),
                     output=self.nodes[-1]['name'], nodes=self.nodes, preparation=dict(mean=[], std=[]), classes=[], notes={})
        tensors = {}
        for node in self.nodes:
            for name, p in self.mods[node['name'].replace('.', '_')].named_parameters():
                tensors[f"{node['name']}.{name}"] = p.detach().float().numpy().copy()
        save_file(tensors, path, metadata={'vitrine': json.dumps(graph)})


def lenet(n):
    h = n.pool('pool1', n.act('relu1', n.conv('conv1', 'input', 6, 5)), 'max', 2, 2)
    h = n.pool('pool2', n.act('relu2', n.conv('conv2', h, 8, 3)), 'max', 2, 2)
    h = n.add('flatten', 'flatten', [h], nn.Flatten())
    h = n.act('relu3', n.linear('fc1', h, 12))
    n.linear('fc2', h, 5)


def residual(n):
    h = n.act('relu1', n.conv('conv1', 'input', 6, 3, 1, 1))
    h = n.pool('pool1', h, 'max', 2, 2)
    b = n.conv('conv3', n.act('relu2', n.conv('conv2', h, 6, 3, 1, 1)), 6, 3, 1, 1)
    h = n.act('relu3', n.add('add', 'add', [b, h], Sum()))
    w = n.act('relu4', n.conv('conv4', h, 8, 3, 2, 1, groups=2))
    p = n.pool('pool2', h, 'avg', 2, 2)
    h = n.add('concat', 'concat', [w, p], nn.Identity(), dict(axis=1))
    h = n.add('gap', 'adaptive_avg_pool', [h], nn.AdaptiveAvgPool2d(1), dict(out_h=1, out_w=1))
    h = n.add('flatten', 'flatten', [h], nn.Flatten())
    n.linear('fc', h, 4)


def smooth(n):
    h = n.pool('pool1', n.act('tanh1', n.conv('conv1', 'input', 5, 3), 'tanh'), 'avg', 2, 2)
    h = n.act('leaky', n.conv('conv2', h, 6, 3, 1, 1), 'leaky_relu')
    h = n.add('flatten', 'flatten', [h], nn.Flatten())
    h = n.act('sigmoid', n.linear('fc1', h, 9), 'sigmoid')
    n.linear('fc2', h, 4)


def overlapping(n):
    h = n.act('relu1', n.conv('conv1', 'input', 4, 5, 2, 2))
    h = n.pool('pool1', h, 'max', 3, 2, 1)
    h = n.act('relu2', n.conv('conv2', h, 8, 3, 1, 1))
    h = n.add('flatten', 'flatten', [h], nn.Flatten())
    n.linear('fc', h, 6)


NETS = {'lenet': (lenet, (1, 16, 16), 1), 'residual': (residual, (3, 12, 12), 2), 'smooth': (smooth, (2, 12, 12), 3),
        'overlapping': (overlapping, (3, 14, 14), 4)}


def zennit_map(net, x, target, composite):
    """Relevance with the target's logit as the seed."""
    def seed(out):
        r = torch.zeros_like(out)
        r[torch.arange(len(out)), target] = out[torch.arange(len(out)), target].detach()
        return r
    with Gradient(net, composite) as attributor:
        return attributor(x.clone().requires_grad_(), seed)[1].detach()


def uniform(rule):
    return LayerMapComposite([(AnyLinear, rule)] + layer_map_base(stabilizer=1e-6))


def maps_of(name, net, x, target):
    """(method, settings, extra command line, map)"""
    low, high = float(x.min()) - 0.25, float(x.max()) + 0.25
    t = torch.tensor(target)
    base = torch.zeros_like(x)
    other = torch.roll(x, 1, 0) * 0.5
    yield 'gradient', {}, {}, Saliency(net).attribute(x, t, abs=False)
    yield 'input-x-gradient', {}, {}, InputXGradient(net).attribute(x, t)
    for steps in (10, 50):
        yield 'integrated-gradients', {'steps': steps}, {}, IntegratedGradients(net).attribute(x, base, t, n_steps=steps, method='gausslegendre')
    for rule in ('left', 'right', 'middle'):
        yield ('integrated-gradients', {'steps': 12, 'quadrature': 'midpoint' if rule == 'middle' else rule}, {'baseline': 'other.npy'},
               IntegratedGradients(net).attribute(x, other, t, n_steps=12, method='riemann_' + rule))
    if name != 'smooth':
        yield 'guided-backprop', {}, {}, GuidedBackprop(net).attribute(x, t)
        yield 'deconvnet', {}, {}, Deconvolution(net).attribute(x, t)
    node = {'lenet': 'relu2', 'residual': 'relu3', 'smooth': 'leaky', 'overlapping': 'relu2'}[name]
    cam = LayerGradCam(net, net.mods[node]).attribute(x, t, relu_attributions=True)
    wide = LayerAttribution.interpolate(cam, x.shape[2:], 'bilinear')
    yield 'grad-cam', {'node': node}, {}, wide.expand(x.shape)
    if name != 'smooth':
        near = LayerAttribution.interpolate(cam, x.shape[2:], 'nearest')
        yield 'guided-grad-cam', {'node': node, 'upsample': 'nearest'}, {}, GuidedBackprop(net).attribute(x, t) * near
    yield ('occlusion', {'window': '5x4', 'stride': '3x2', 'fill': '0.5'}, {},
           Occlusion(net).attribute(x, (x.shape[1], 5, 4), strides=(x.shape[1], 3, 2), baselines=0.5, target=t))
    # Both peers lose contributions where pool windows overlap, and Captum also at a pool behind a ReLU: there the law
    # (completeness) is the test, not the peer. SHAP is right on the networks with disjoint pools.
    if name != 'overlapping':
        def one_by_one(b):
            out = []
            for i in range(len(x)):
                if name == 'smooth':
                    out.append(DeepLift(net).attribute(x[i:i + 1], b[i:i + 1], t[i:i + 1]))
                else:
                    values = shap.DeepExplainer(net, b[i:i + 1]).shap_values(x[i:i + 1], check_additivity=True)
                    out.append(torch.tensor(np.asarray(values)[..., target[i]]))
            return torch.cat(out)
        yield 'deeplift', {}, {}, one_by_one(base)
        yield 'deeplift', {}, {'baseline': 'other.npy'}, one_by_one(other)
    composites = {
        'epsilon-plus': EpsilonPlus(), 'epsilon-plus-flat': EpsilonPlusFlat(),
        'epsilon-gamma-box': EpsilonGammaBox(low=torch.full_like(x, low), high=torch.full_like(x, high)),
        'epsilon-alpha2-beta1': EpsilonAlpha2Beta1(), 'epsilon-alpha2-beta1-flat': EpsilonAlpha2Beta1Flat(),
        'excitation-backprop': ExcitationBackprop(),
        'uniform-epsilon': uniform(Epsilon(epsilon=0.25)), 'uniform-gamma': uniform(Gamma(gamma=0.5)),
        'uniform-alpha-beta': uniform(AlphaBeta(alpha=3, beta=2)), 'uniform-z-plus': uniform(ZPlus()),
        'uniform-w-square': uniform(WSquare()), 'uniform-flat': uniform(Flat()),
    }
    settings = {'epsilon-gamma-box': {'low': low, 'high': high}, 'uniform-epsilon': {'epsilon': 0.25},
                'uniform-gamma': {'gamma': 0.5}, 'uniform-alpha-beta': {'alpha': 3, 'beta': 2}}
    for key, composite in composites.items():
        yield 'lrp', {'composite': key, **settings.get(key, {})}, {}, zennit_map(net, x, target, composite)


def main(folder):
    for name, (build, image, seed) in NETS.items():
        path = os.path.join(folder, name)
        os.makedirs(path, exist_ok=True)
        net = Net(image, seed)
        build(net)
        net.save(os.path.join(path, 'model.safetensors'))
        net.double().eval()
        x = torch.randn(3, *image, generator=torch.Generator().manual_seed(seed + 100)).float().double()
        logits = net(x).detach()
        target = logits.argmax(1).tolist()
        target[1] = (target[1] + 1) % logits.shape[1]
        np.save(os.path.join(path, 'input.npy'), x.float().numpy())
        np.save(os.path.join(path, 'other.npy'), (torch.roll(x, 1, 0) * 0.5).float().numpy())
        np.save(os.path.join(path, 'logits.npy'), logits.float().numpy())
        # One file: maps stacked in the order of the index. Images have different targets, so each is explained by itself.
        index, stack = [], []
        for i, (method, settings, extra, r) in enumerate(maps_of(name, net, x, target)):
            index.append(dict(method=method, settings={k: str(v) for k, v in settings.items()}, **extra))
            stack.append(r.detach().float().numpy())
        np.save(os.path.join(path, 'maps.npy'), np.stack(stack))
        json.dump(dict(targets=target, maps=index), open(os.path.join(path, 'index.json'), 'w'), indent=1)
        print(name, len(index), 'maps, logits', np.round(logits.numpy(), 3).tolist())


if __name__ == '__main__':
    main(sys.argv[1])
