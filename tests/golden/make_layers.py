#!/usr/bin/env python3
"""Makes small networks of layers that real files have, for tests/interp/layers.cpp: functions, norms, views, padding,
resampling, reductions, softmax inside, products with maps; each by PyTorch's older exporter and, as NAME-new, by its new
one. Weights are seeded.

OUT/ gets NAME.onnx and cases.safetensors with NAME.input, NAME.output (onnxruntime's) and NAME.gradient (of the sum over
images of output 1, by PyTorch in double precision). Needs torch, torchvision, onnx, onnxscript, onnxruntime, safetensors:

    python3 make_layers.py tests/golden/layers [NAME...]
"""
import io
import logging
import os
import sys
import warnings
import zlib

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional as F

NETS = {}
# Exported by the older exporter with a branch (If), which Vitrine does not take.
ONLY_NEW = ('response-norm',)
# The new exporter moves the batch to pick by indices (GatherND).
ONLY_OLD = ('signal-upsampled',)


class Do(nn.Module):
    """A function as a layer."""
    def __init__(self, f, *parts):
        super().__init__()
        self.f, self.parts = f, nn.ModuleList(parts)

    def forward(self, x):
        return self.f(x, *self.parts)


def conv(i, o, k=3, **a):
    return nn.Conv2d(i, o, k, **a)


def net(name, *layers, image=(3, 8, 8), stem=4, opset=17):
    """A convolution, the layers, and a linear layer."""
    NETS[name] = (layers, image, stem, opset)


def f(name, function, **a):
    net(name, Do(function), **a)


# Functions
for name in ('Softsign', 'CELU', 'SELU', 'ELU', 'Softplus', 'Mish', 'SiLU', 'GELU', 'Hardswish', 'LogSigmoid', 'Tanhshrink', 'ReLU6'):
    net(name.lower(), getattr(nn, name)())
net('softplus-beta', nn.Softplus(beta=3))
net('prelu', nn.PReLU(4), conv(4, 4), nn.PReLU())
f('exp', lambda x: torch.exp(x))
f('log', lambda x: torch.log(1 + x.abs()))
f('sqrt', lambda x: torch.sqrt(x * x + 0.5))
f('power', lambda x: x.pow(3) + (x.abs() + 1).pow(-1.5))
f('reciprocal', lambda x: 1 / (1 + x.abs()))

# Norms
net('instance-norm', nn.InstanceNorm2d(4, affine=True), nn.ReLU())
net('instance-norm-plain', nn.InstanceNorm2d(4), nn.ReLU())
net('group-norm', nn.GroupNorm(2, 4), nn.ReLU())
net('layer-norm', nn.LayerNorm([4, 6, 6]), nn.ReLU())
net('layer-norm-channels', Do(lambda x, n: n(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(4)), nn.ReLU())
net('layer-norm-vector', nn.Flatten(), nn.LayerNorm(144), nn.ReLU())
net('response-norm', nn.LocalResponseNorm(3, alpha=0.5), nn.ReLU())

# Views and padding
net('pixel-shuffle', nn.PixelShuffle(2), nn.ReLU())
net('pixel-unshuffle', nn.PixelUnshuffle(2), nn.ReLU())
net('channel-shuffle', nn.ChannelShuffle(2), nn.ReLU())
net('reflect', nn.ReflectionPad2d((1, 2, 2, 1)), nn.ReLU())
net('replicate', nn.ReplicationPad2d((1, 2, 2, 1)), nn.ReLU())
net('circular', nn.Conv2d(4, 4, 3, padding=1, padding_mode='circular'), nn.ReLU())
net('constant-pad', nn.ConstantPad2d((1, 2, 0, 1), 0.7), nn.ReLU())
f('tile', lambda x: torch.relu(x.repeat(1, 2, 1, 2)))
f('expand', lambda x: torch.relu(x.mean((2, 3), keepdim=True).expand(-1, -1, 3, 2)))
f('flip', lambda x: torch.relu(x.flip(3)) + x)
f('slices', lambda x: torch.relu(x[:, ::2, 1::2, :4]))
f('index', lambda x: torch.relu(x.index_select(1, torch.tensor([3, 0, 1, 1]))))
f('six-dimensions', lambda x: torch.relu(x.reshape(-1, 2, 2, 2, 3, 6).permute(0, 3, 5, 1, 4, 2).flatten(1)))
f('stack', lambda x: torch.relu(torch.stack([x, -x], 2).flatten(1, 2)))

# Resampling
net('bicubic', nn.Upsample(scale_factor=2, mode='bicubic'), nn.ReLU())
net('bicubic-aligned', nn.Upsample(size=(5, 9), mode='bicubic', align_corners=True), nn.ReLU())
net('bilinear-smaller', Do(lambda x: F.interpolate(x, size=(4, 3), mode='bilinear')), nn.ReLU())
net('nearest-odd', Do(lambda x: F.interpolate(x, size=(9, 7), mode='nearest')), nn.ReLU())

# Sums, products, reductions
f('add-broadcast', lambda x: torch.relu(x + x.mean((2, 3), keepdim=True)))
f('mul-broadcast', lambda x: torch.relu(x * x.mean(1, keepdim=True)))
f('outer-sum', lambda x: torch.relu(x.mean(2, keepdim=True) + x.mean(3, keepdim=True)))
f('div', lambda x: x / (1 + x.abs().sum(1, keepdim=True)))
f('norm', lambda x: x / (x.pow(2).sum(1, keepdim=True) + 0.1).sqrt())
f('maxout', lambda x: torch.maximum(x[:, :2], x[:, 2:]))
f('minimum', lambda x: torch.minimum(x, x.mean((2, 3), keepdim=True)))
f('maximum-channel', lambda x: x.amax(1, keepdim=True) - x)
f('std-pool', lambda x: x.std((2, 3)))
f('log-sum-exp', lambda x: x.logsumexp((2, 3)))
f('mean-image', lambda x: torch.relu(x - torch.linspace(-1, 1, 144).reshape(1, 4, 6, 6)))
f('coordinates', lambda x: torch.relu(x * torch.linspace(0, 1, 6).reshape(1, 1, 6, 1)))

# Softmax and products inside
f('softmax-channels', lambda x: x * x.softmax(1))
f('softmax-places', lambda x: (x * x.flatten(2).softmax(2).reshape(x.shape)).sum((2, 3)))
f('log-softmax', lambda x: x.log_softmax(1))
f('log-of-softmax', lambda x: x.mean((2, 3)).softmax(1).log())
net('linear-over-maps', nn.Linear(6, 5), nn.ReLU())
net('linear-over-channels', Do(lambda x, l: l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Linear(4, 5)), nn.ReLU())
net('where', Do(lambda x: torch.where(torch.arange(36).reshape(6, 6) % 3 == 1, x, -0.5 * x)))

# Signals (N,C,L)
net('signal', nn.Conv1d(4, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.PReLU(6), nn.AvgPool1d(2), image=(3, 20))
net('signal-upsampled', nn.Upsample(scale_factor=2, mode='linear'), nn.ReLU(), image=(3, 12))


class Block(nn.Module):
    """A ConvNeXt block."""
    def __init__(self):
        super().__init__()
        self.depth, self.norm, self.up, self.down = conv(4, 4, 5, padding=2, groups=4), nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.scale = nn.Parameter(torch.linspace(0.5, 1, 4).reshape(4, 1, 1))

    def forward(self, x):
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        return x + self.scale * self.down(F.gelu(self.up(y))).permute(0, 3, 1, 2)


class Excite(nn.Module):
    """Squeeze and excitation, as EfficientNet and MobileNetV3 have it."""
    def __init__(self):
        super().__init__()
        self.reduce, self.expand = conv(4, 2, 1), conv(2, 4, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


net('convnext-block', Block())
net('excite-block', Excite(), nn.Hardswish())


def make(name):
    layers, image, stem, opset = NETS[name]
    torch.manual_seed(zlib.crc32(name.encode()))
    first = nn.Conv1d(image[0], stem, 3) if len(image) == 2 else conv(image[0], stem)
    body = nn.Sequential(first, *layers, nn.Flatten())
    with torch.no_grad():
        features = body(torch.zeros(1, *image)).shape[1]
    model = nn.Sequential(*body, nn.Linear(features, 3))
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.ndim == 1:  # norms' scales and shifts that matter
                p.copy_(torch.rand(p.shape) + (0.5 if key.endswith('weight') else -0.5))
    return model.eval(), torch.randn(2, *image)


def exports(model, x, opset, kinds):
    for new in kinds:
        out = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                if new:
                    batch = torch.export.Dim('batch', min=1, max=64)
                    program = torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=({0: batch},), opset_version=20, verbose=False)
                    proto = program.model_proto
                else:
                    torch.onnx.export(model, (x,), out, dynamo=False, opset_version=opset, dynamic_axes={'x': {0: 'N'}, 'y': {0: 'N'}},
                                      input_names=['x'], output_names=['y'])
                    proto = onnx.load_from_string(out.getvalue())
        except Exception as e:
            print('  not exported', 'by the new exporter:' if new else ':', str(e).splitlines()[0][:100])
            continue
        for node in proto.graph.node:
            node.doc_string = ''
            del node.metadata_props[:]
        del proto.graph.value_info[:]
        for i in [*proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
            del i.metadata_props[:]
        yield new, proto


def main(folder):
    logging.disable(logging.WARNING)
    os.makedirs(folder, exist_ok=True)
    tensors, count = {}, 0
    if len(sys.argv) > 2:  # some networks anew
        tensors = {k: v for k, v in load_file(os.path.join(folder, 'cases.safetensors')).items()}
    for name in sys.argv[2:] or NETS:
        model, x = make(name)
        wide = x.double().requires_grad_()
        model.double()(wide)[:, 1].sum().backward()
        model.float()
        for new, proto in exports(model, x, NETS[name][3], [name in ONLY_NEW] if name in ONLY_NEW + ONLY_OLD else [False, True]):
            data = proto.SerializeToString()
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            session = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
            y = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
            assert np.isfinite(y).all() and np.abs(y - model(x).detach().numpy()).max() < 1e-4, name
            file = name + ('-new' if new else '')
            open(os.path.join(folder, file + '.onnx'), 'wb').write(data)
            tensors[file + '.input'], tensors[file + '.output'] = x.numpy(), y
            tensors[file + '.gradient'] = wide.grad.numpy().astype(np.float32)
            count += 1
    save_file(tensors, os.path.join(folder, 'cases.safetensors'))
    print(len(NETS), 'networks,', count, 'files')


if __name__ == '__main__':
    main(sys.argv[1])
