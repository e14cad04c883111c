#!/usr/bin/env python3
"""Makes the golden maps of real architectures, as make.py does of small ones: ONNX files and what peers say of them.

Networks in the style of torchvision's, with seeded random weights and batch normalisation that matters, go to ONNX by
PyTorch's exporters (one is written by hand as tf2onnx writes them). Zennit, Captum and SHAP explain in float64 the same
function, rewritten so that they are right (peer_of). Each folder NET/ gets model.onnx, input.npy, other.npy, logits.npy,
maps.npy and index.json. Needs torch, zennit >= 0.5.1, captum, shap, onnx, onnxscript, onnxruntime, numpy:

    python3 make_networks.py tests/golden/networks
"""
import contextlib
import copy
import json
import logging
import operator
import os
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import shap
import torch
from onnx import TensorProto, helper, numpy_helper
from shap.explainers._deep import deep_pytorch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval
from captum.attr import (Deconvolution, GuidedBackprop, InputXGradient, IntegratedGradients, LayerActivation, LayerAttribution,
                         LayerGradCam, Occlusion, Saliency)
from zennit.attribution import Gradient
from zennit.composites import (EpsilonAlpha2Beta1, EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat,
                               ExcitationBackprop, LayerMapComposite, layer_map_base)
from zennit.core import Hook
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, Norm, Pass, WSquare, ZPlus
from zennit.types import BatchNorm, Linear as AnyLinear


# ---- Networks

class LrnNode(torch.autograd.Function):
    """Local response normalisation as one ONNX node, which the exporter would write as a dozen."""

    @staticmethod
    def forward(ctx, x, size, alpha, beta, k):
        return F.local_response_norm(x, size, alpha, beta, k)

    @staticmethod
    def symbolic(g, x, size, alpha, beta, k):
        return g.op('LRN', x, size_i=size, alpha_f=alpha, beta_f=beta, bias_f=k)


class Lrn(nn.LocalResponseNorm):
    def forward(self, x):
        return LrnNode.apply(x, self.size, self.alpha, self.beta, self.k) if torch.onnx.is_in_onnx_export() else super().forward(x)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's asymmetric padding (left, right, top, bottom) inside, so that rules see no padding."""

    def __init__(self, *args, same, **kwargs):
        super().__init__(*args, **kwargs)
        self.same = same

    def forward(self, x):
        return super().forward(F.pad(x, self.same))


class SamePool(nn.MaxPool2d):
    def __init__(self, *args, same):
        super().__init__(*args)
        self.same = same

    def forward(self, x):
        return super().forward(F.pad(x, self.same, value=-1e30))


def conv_bn(c, out, kernel=1, stride=1, padding=0, groups=1, act=nn.ReLU, eps=1e-5):
    conv = nn.Conv2d(c, out, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out, eps), *([act()] if act else []))


class VggBn(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*conv_bn(3, 8, 3, 1, 1), *conv_bn(8, 8, 3, 1, 1), nn.MaxPool2d(2, 2),
                                      *conv_bn(8, 12, 3, 1, 1), *conv_bn(12, 12, 3, 1, 1), nn.MaxPool2d(2, 2))
        self.classifier = nn.Sequential(nn.Linear(12 * 4 * 5, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5))

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class Basic(nn.Module):
    def __init__(self, c, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = conv_bn(c, out, 1, stride, act=None) if stride > 1 or c != out else None

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, c, width, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.downsample = conv_bn(c, out, 1, stride, act=None) if stride > 1 or c != out else None

    def forward(self, x):
        y = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, kernel, layer1, layer2, out, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, kernel, 1, kernel // 2, bias=False), nn.BatchNorm2d(8)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = nn.Sequential(*layer1), nn.Sequential(*layer2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(out, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class Inception(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.branch1 = conv_bn(c, 4, eps=1e-3)
        self.branch2 = nn.Sequential(conv_bn(c, 4, eps=1e-3), conv_bn(4, 6, 3, 1, 1, eps=1e-3))
        self.branch3 = nn.Sequential(conv_bn(c, 3, eps=1e-3), conv_bn(3, 4, 5, 1, 2, eps=1e-3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_bn(c, 2, eps=1e-3))

    def forward(self, x):
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.maxpool1 = conv_bn(3, 8, 3, 1, 1, eps=1e-3), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception2, self.maxpool2 = Inception(8), nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3 = Inception(16)
        self.avgpool, self.dropout, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Dropout(), nn.Linear(16, 6)

    def forward(self, x):
        x = self.inception2(self.maxpool1(self.conv1(x)))
        x = torch.flatten(self.avgpool(self.inception3(self.maxpool2(x))), 1)
        return self.fc(self.dropout(x))


class DenseLayer(nn.Module):
    def __init__(self, c, growth):
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(c), nn.ReLU()
        self.conv1, self.norm2, self.relu2 = nn.Conv2d(c, 2 * growth, 1, bias=False), nn.BatchNorm2d(2 * growth), nn.ReLU()
        self.conv2 = nn.Conv2d(2 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, features):
        x = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(nn.Module):
    def __init__(self, c, growth, layers):
        super().__init__()
        for i in range(layers):
            self.add_module(f'denselayer{i + 1}', DenseLayer(c + i * growth, growth))

    def forward(self, x):
        features = [x]
        for layer in self.children():
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(*conv_bn(3, 8, 3, 1, 1), nn.MaxPool2d(2, 2), DenseBlock(8, 4, 2),
                                      nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1, bias=False), nn.AvgPool2d(2, 2),
                                      DenseBlock(8, 4, 2), nn.BatchNorm2d(16))
        self.relu, self.avgpool, self.classifier = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(16, 5)

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.relu(self.features(x))), 1))


class SqueezeExcite(nn.Module):
    def __init__(self, c, squeeze):
        super().__init__()
        self.avgpool, self.fc1, self.relu = nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, squeeze, 1), nn.ReLU()
        self.fc2, self.gate = nn.Conv2d(squeeze, c, 1), nn.Hardsigmoid()

    def forward(self, x):
        return x * self.gate(self.fc2(self.relu(self.fc1(self.avgpool(x)))))


class InvertedResidual(nn.Module):
    def __init__(self, c, wide, out, kernel, stride, act, squeeze=None):
        super().__init__()
        self.residual = stride == 1 and c == out
        self.block = nn.Sequential(conv_bn(c, wide, act=act), conv_bn(wide, wide, kernel, stride, kernel // 2, wide, act),
                                   *([SqueezeExcite(wide, squeeze)] if squeeze else []), conv_bn(wide, out, act=None))

    def forward(self, x):
        return x + self.block(x) if self.residual else self.block(x)


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv_bn(3, 8, 3, 2, 1, act=nn.Hardswish), InvertedResidual(8, 16, 8, 3, 1, nn.ReLU6),
                                      InvertedResidual(8, 16, 10, 5, 2, nn.Hardswish, 4),
                                      InvertedResidual(10, 16, 10, 3, 1, nn.Hardswish, 4), conv_bn(10, 16, act=nn.Hardswish))
        self.avgpool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Linear(16, 12), nn.Hardswish(), nn.Linear(12, 5))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class AlexNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 5, 1, 2), nn.ReLU(), Lrn(5, 0.5, 0.75, 2.0), nn.MaxPool2d(3, 2),
                                      nn.Conv2d(8, 12, 3, 1, 1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(12 * 5 * 4, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class Nhwc(nn.Module):
    """As Keras would build it: ZeroPadding2D, SAME convolutions and pools, a residual sum, a mean over positions."""

    def __init__(self):
        super().__init__()
        self.conv1, self.relu1 = SameConv(3, 6, 3, 2, same=(1, 1, 1, 1)), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = SameConv(6, 10, 3, 1, bias=False, same=(1, 1, 1, 1)), nn.BatchNorm2d(10, 1e-3), nn.ReLU()
        self.pool = SamePool(3, 2, same=(0, 1, 0, 1))
        self.conv3, self.relu3 = SameConv(10, 12, 4, 1, same=(1, 2, 1, 2)), nn.ReLU()
        self.conv4, self.relu4 = SameConv(12, 12, 3, 1, same=(1, 1, 1, 1)), nn.ReLU()
        self.conv5, self.relu5 = SameConv(12, 14, 3, 2, same=(0, 1, 1, 1)), nn.ReLU()
        self.avgpool, self.dense = nn.AdaptiveAvgPool2d(1), nn.Linear(14, 5)

    def forward(self, x):
        x = self.pool(self.relu2(self.bn2(self.conv2(self.relu1(self.conv1(x))))))
        x = self.relu3(self.conv3(x))
        x = self.relu5(self.conv5(self.relu4(self.conv4(x) + x)))
        return self.dense(torch.flatten(self.avgpool(x), 1))


def randomize(net, seed):
    """Weights, and batch normalisation as of a trained network, with a few negative scales."""
    g = torch.Generator().manual_seed(seed)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean = 0.3 * torch.randn(m.num_features, generator=g)
            m.running_var = 0.5 + torch.rand(m.num_features, generator=g)
            sign = 1 - 2.0 * (torch.rand(m.num_features, generator=g) < 0.12)
            m.weight.data = sign * (0.5 + torch.rand(m.num_features, generator=g))
            m.bias.data = 0.2 * torch.randn(m.num_features, generator=g)
        elif isinstance(m, (nn.Conv2d, nn.Linear)):
            m.weight.data = torch.randn(m.weight.shape, generator=g) * (2.0 / m.weight[0].numel()) ** 0.5
            if m.bias is not None:
                m.bias.data = 0.1 * torch.randn(m.bias.shape, generator=g)
    return net.eval()


def pictures(image, seed):
    """Two images: broad shapes and noise."""
    g = torch.Generator().manual_seed(seed)
    shapes = F.interpolate(torch.randn(2, image[0], 4, 4, generator=g), image[1:], mode='bicubic')
    return 1.5 * shapes + 0.5 * torch.randn(2, *image, generator=g)


# ---- ONNX

def script_export(opset, **options):
    """PyTorch's older exporter. It folds batch normalisation into convolutions unless it is to preserve training mode."""
    def export(net, x, path):
        torch.onnx.export(net, (x,), path, dynamo=False, opset_version=opset, input_names=['input'], output_names=['logits'],
                          dynamic_axes={'input': {0: 'batch'}, 'logits': {0: 'batch'}}, **options)
    return export


PRESERVE = dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)


def dynamo_export(net, x, path):
    torch.onnx.export(net, (x,), path, opset_version=18, input_names=['input'], output_names=['logits'], external_data=False,
                      dynamic_shapes=({0: torch.export.Dim('batch')},), verbose=False)


def hand_export(net, x, path):
    """Names, layout and operators of tf2onnx: an NHWC input that is transposed first, a Pad node, asymmetric pads, MatMul + Add."""
    weights = []

    def constant(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def conv(i, source, stride=1, pads=None):
        m, scope = net.get_submodule(f'conv{i}'), f'model/conv2d_{i}/Conv2D'
        inputs = [source, constant(f'{scope}/ReadVariableOp:0', m.weight.detach().numpy())]
        if m.bias is not None:
            inputs.append(constant(f'model/conv2d_{i}/BiasAdd/ReadVariableOp:0', m.bias.detach().numpy()))
        pads = pads or [m.same[2], m.same[0], m.same[3], m.same[1]]
        return helper.make_node('Conv', inputs, [f'{scope}:0'], f'{scope}', kernel_shape=m.kernel_size, strides=[stride] * 2,
                                pads=pads, dilations=[1, 1], group=1)

    def relu(i, source):
        return helper.make_node('Relu', [source], [f'model/re_lu_{i}/Relu:0'], f'model/re_lu_{i}/Relu')

    bn = [constant(f'model/bn_2/{k}:0', getattr(net.bn2, k).detach().numpy()) for k in ('weight', 'bias', 'running_mean', 'running_var')]
    nodes = [
        helper.make_node('Transpose', ['input_1'], ['pad__4:0'], 'pad__4', perm=[0, 3, 1, 2]),
        helper.make_node('Pad', ['pad__4:0', constant('const_pads', np.array([0, 0, 1, 1, 0, 0, 1, 1]))], ['pad:0'],
                         'model/zero_padding2d/Pad', mode='constant'),
        conv(1, 'pad:0', 2, [0, 0, 0, 0]), relu(1, 'model/conv2d_1/Conv2D:0'),
        conv(2, 'model/re_lu_1/Relu:0'),
        helper.make_node('BatchNormalization', ['model/conv2d_2/Conv2D:0', *bn], ['bn:0'], 'model/bn_2/FusedBatchNormV3', epsilon=1e-3),
        relu(2, 'bn:0'),
        helper.make_node('MaxPool', ['model/re_lu_2/Relu:0'], ['pool:0'], 'model/max_pooling2d/MaxPool', kernel_shape=[3, 3],
                         strides=[2, 2], pads=[0, 0, 1, 1]),
        conv(3, 'pool:0'), relu(3, 'model/conv2d_3/Conv2D:0'), conv(4, 'model/re_lu_3/Relu:0'),
        helper.make_node('Add', ['model/conv2d_4/Conv2D:0', 'model/re_lu_3/Relu:0'], ['add:0'], 'model/add/add'), relu(4, 'add:0'),
        conv(5, 'model/re_lu_4/Relu:0', 2), relu(5, 'model/conv2d_5/Conv2D:0'),
        helper.make_node('ReduceMean', ['model/re_lu_5/Relu:0'], ['mean:0'], 'model/global_average_pooling2d/Mean', axes=[2, 3], keepdims=0),
        helper.make_node('MatMul', ['mean:0', constant('model/dense/MatMul/ReadVariableOp:0', net.dense.weight.detach().numpy().T)],
                         ['matmul:0'], 'model/dense/MatMul'),
        helper.make_node('Add', ['matmul:0', constant('model/dense/BiasAdd/ReadVariableOp:0', net.dense.bias.detach().numpy())],
                         ['dense'], 'model/dense/BiasAdd'),
    ]
    n, c, h, w = x.shape
    graph = helper.make_graph(nodes, 'tf2onnx', [helper.make_tensor_value_info('input_1', TensorProto.FLOAT, ['unk__1', h, w, c])],
                              [helper.make_tensor_value_info('dense', TensorProto.FLOAT, ['unk__2', 5])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=7), path)


def strip(path):
    """Without documentation and metadata, which are most of such small files."""
    model = onnx.load(path)
    for field in ('metadata_props', 'value_info', 'doc_string'):
        model.graph.ClearField(field)
    del model.metadata_props[:]
    for message in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        message.ClearField('doc_string')
        message.ClearField('metadata_props')
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def run_onnx(path, x, node=None):
    """Logits, or what `node` gives."""
    model = onnx.load(path)
    source = model.graph.input[0]
    if node:
        output = next(n.output[0] for n in model.graph.node if n.name == node)
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    if source.type.tensor_type.shape.dim[3].dim_value == x.shape[1]:
        x = x.permute(0, 2, 3, 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {source.name: x.contiguous().numpy()})[-1]


# ---- Peers

class Windows(nn.Module):
    """Lays the windows of a max pool side by side, so that a disjoint pool follows: SHAP loses what overlapping windows share."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        k, s, (h, w) = self.pool.kernel_size, self.pool.stride, self.pool(x).shape[2:]
        left, right, top, bottom = getattr(self.pool, 'same', (self.pool.padding,) * 4)
        x = F.pad(x, (left, (w - 1) * s + k - left - x.shape[3], top, (h - 1) * s + k - top - x.shape[2]), value=-1e30)
        return x.unfold(2, k, s).unfold(3, k, s).transpose(3, 4).reshape(*x.shape[:2], h * k, w * k)


class Gate(nn.Module):
    """A product of a signal and its gate."""

    def forward(self, signal, gate):
        self.factors = signal.detach(), gate.detach()
        return signal * gate


class SignalTakesAll(Hook):
    """All relevance of a product goes to the signal."""

    def backward(self, module, grad_input, grad_output):
        return grad_output[0], torch.zeros_like(grad_input[1])


def half_split(module, grad_input, grad_output):
    """DeepLIFT multipliers of a product, a batch of actual and reference runs: each factor at the middle of the other."""
    signal, gate = (t.unflatten(0, (2, -1)).mean(0).repeat(2, 1, 1, 1) for t in module.factors)
    return grad_output[0] * gate, (grad_output[0] * signal).sum((2, 3), keepdim=True)


class Leaves(fx.Tracer):
    """Traces into every module that has children."""

    def is_leaf_module(self, module, name):
        return not list(module.children())


def peer_of(net):
    """The same function, so that the peers' hooks are right: every use of an op is a module of its own, registered in the
    order of execution; batch normalisation is folded into the convolution that it follows (Zennit's own merging leaves the
    factor 1/sqrt(1 + eps)); sums are over a stacked axis; max pools have disjoint windows."""
    graph, modules, root = Leaves().trace(net), dict(net.named_modules()), {}

    def insert(node, name, module, args):
        root[name] = module
        with graph.inserting_before(node):
            return graph.call_module(name, args)

    for node in list(graph.nodes):
        new = None
        if node.op == 'call_module':
            module, before = copy.deepcopy(modules[node.target]), node.args[0]
            if isinstance(module, nn.BatchNorm2d) and isinstance(root.get(before.name), nn.Conv2d) and len(before.users) == 1:
                root[before.name] = fuse_conv_bn_eval(root[before.name], module)
                new = before
            elif isinstance(module, nn.MaxPool2d):
                windows = insert(node, f'{node.name}_windows', Windows(module), (before,))
                new = insert(node, f'{node.name}_pool', nn.MaxPool2d(module.kernel_size), (windows,))
            else:
                root[node.name], node.target = module, node.name
        elif node.target is operator.add:
            with graph.inserting_before(node):
                stacked = graph.call_function(torch.stack, (node.args, -1))
            new = insert(node, f'{node.name}_sum', Sum(), (stacked,))
        elif node.target is operator.mul:
            new = insert(node, f'{node.name}_gate', Gate(), node.args)
        if new:
            node.replace_all_uses_with(new)
            graph.erase_node(node)
    return fx.GraphModule(root, graph).eval()


@contextlib.contextmanager
def identity_back(net):
    """Local response normalisation passes signals of reversed networks unchanged."""
    handles = [m.register_forward_hook(lambda m, x, y: x[0] + (y - x[0]).detach()) for m in net.modules() if isinstance(m, Lrn)]
    yield
    for handle in handles:
        handle.remove()


def zennit_map(net, x, target, composite):
    """Relevance with the target's logit as the seed."""
    def seed(out):
        r = torch.zeros_like(out)
        r[torch.arange(len(out)), target] = out[torch.arange(len(out)), target].detach()
        return r
    with Gradient(net, composite) as attributor:
        return attributor(x.clone().requires_grad_(), seed)[1].detach()


def deeplift_map(net, x, baseline, target):
    """SHAP's, image by image; contributions must sum to the difference of the scores."""
    out = []
    for i, t in enumerate(target):
        one, ref = x[i:i + 1], baseline[i:i + 1]
        values = shap.DeepExplainer(net, ref).shap_values(one, check_additivity=False)
        out.append(torch.tensor(np.asarray(values)[..., t]))
        difference = float(net(one)[0, t] - net(ref)[0, t])
        assert abs(float(out[-1].sum()) - difference) < (1e-6 if x.dtype == torch.double else 1e-3)
    return torch.cat(out)


def maps_of(net, x, other, target, low, high, rectifiers, cam):
    """(method, settings, extra keys, map)"""
    t = torch.tensor(target)
    base = torch.zeros_like(x)
    baselines = (base, {}), (other, {'baseline': 'other.npy'})
    yield 'gradient', {}, {}, Saliency(net).attribute(x, t, abs=False)
    yield 'input-x-gradient', {}, {}, InputXGradient(net).attribute(x, t)
    for b, extra in baselines:
        integrated = IntegratedGradients(net).attribute(x, b, t, n_steps=20, method='gausslegendre')
        yield 'integrated-gradients', {'steps': 20}, extra, integrated
    if rectifiers:
        with identity_back(net):
            yield 'guided-backprop', {}, {}, GuidedBackprop(net).attribute(x, t)
            yield 'deconvnet', {}, {}, Deconvolution(net).attribute(x, t)
    module, node = cam
    coarse = LayerGradCam(net, net.get_submodule(module)).attribute(x, t, relu_attributions=True)
    yield 'grad-cam', {'node': node}, {}, LayerAttribution.interpolate(coarse, x.shape[2:], 'bilinear').expand(x.shape)
    yield ('occlusion', {'window': '5x4', 'stride': '3x2', 'fill': '0.5'}, {},
           Occlusion(net).attribute(x, (x.shape[1], 5, 4), strides=(x.shape[1], 3, 2), baselines=0.5, target=t))
    if not any(isinstance(m, Lrn) for m in net.modules()):  # for which SHAP has no rule: its contributions do not sum up
        for b, extra in baselines:
            yield 'deeplift', {}, extra, deeplift_map(net, x, b, target)
    # Batch normalisation that follows no convolution: the epsilon rule on the affine map, in excitation backprop the gradient.
    excitation = [(Gate, SignalTakesAll()), (nn.LocalResponseNorm, Pass())]
    more = [(BatchNorm, Norm()), *excitation]

    def uniform(rule):
        return LayerMapComposite([*more, (AnyLinear, rule), *layer_map_base(stabilizer=1e-6)])

    box = dict(low=torch.full_like(x, low), high=torch.full_like(x, high))
    composites = {
        'epsilon-plus': EpsilonPlus(layer_map=more), 'epsilon-plus-flat': EpsilonPlusFlat(layer_map=more),
        'epsilon-gamma-box': EpsilonGammaBox(**box, layer_map=more),
        'epsilon-alpha2-beta1': EpsilonAlpha2Beta1(layer_map=more),
        'epsilon-alpha2-beta1-flat': EpsilonAlpha2Beta1Flat(layer_map=more),
        'excitation-backprop': ExcitationBackprop(layer_map=excitation),
        'uniform-epsilon': uniform(Epsilon(epsilon=0.25)), 'uniform-gamma': uniform(Gamma(gamma=0.5)),
        'uniform-alpha-beta': uniform(AlphaBeta(alpha=3, beta=2)), 'uniform-z-plus': uniform(ZPlus()),
        'uniform-w-square': uniform(WSquare()), 'uniform-flat': uniform(Flat()),
    }
    settings = {'epsilon-gamma-box': {'low': low, 'high': high}, 'uniform-epsilon': {'epsilon': 0.25},
                'uniform-gamma': {'gamma': 0.5}, 'uniform-alpha-beta': {'alpha': 3, 'beta': 2}}
    for key, composite in composites.items():
        yield 'lrp', {'composite': key, **settings.get(key, {})}, {}, zennit_map(net, x, target, composite)


# Network, image, seed (of those tried, one whose maps float32 can reach), exporter, the activation for Grad-CAM: the peer's
# module and the ONNX node.
NETS = {
    'vgg-bn': (VggBn, (3, 16, 20), 52, script_export(13, **PRESERVE), ('features_9', '/features/features.9/Relu')),
    'resnet-basic': (lambda: ResNet(5, [Basic(8, 8, 1)], [Basic(8, 12, 2), Basic(12, 12, 1)], 12, 5), (3, 16, 18), 25,
                     script_export(17, **PRESERVE), ('layer2_0_relu_1', '/layer2/layer2.0/relu_1/Relu')),
    'resnet-bottleneck': (lambda: ResNet(3, [Bottleneck(8, 4, 16, 1)], [Bottleneck(16, 6, 16, 2), Bottleneck(16, 6, 16, 1)], 16, 6),
                          (3, 18, 18), 24, dynamo_export, ('layer2_0_relu_2', 'node_relu_6')),
    'inception-like': (InceptionNet, (3, 16, 18), 72, script_export(14), ('conv1_2', '/conv1/conv1.2/Relu')),
    'densenet-like': (DenseNet, (3, 16, 18), 83, script_export(16), ('features_6', '/features/features.6/Relu')),
    'mobile': (Mobile, (3, 18, 16), 88, script_export(15), ('features_4_2', '/features/features.4/features.4.2/HardSwish')),
    'alexnet-lrn': (AlexNet, (1, 24, 22), 73, script_export(13), ('features_5', '/features/features.5/Relu')),
    'nhwc': (Nhwc, (3, 19, 20), 42, hand_export, ('relu4', 'model/re_lu_4/Relu')),
}


def main(folder):
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    deep_pytorch.op_handler.update({k: deep_pytorch.nonlinear_1d for k in ('ReLU6', 'Hardswish', 'Hardsigmoid')}, Gate=half_split)
    for name, (build, image, seed, export, cam) in NETS.items():
        path = os.path.join(folder, name)
        os.makedirs(path, exist_ok=True)
        file = os.path.join(path, 'model.onnx')
        net = randomize(build(), seed)
        x = pictures(image, seed + 100)
        other = torch.roll(x, 1, 0) * 0.5
        export(net, x, file)
        strip(file)
        peer = peer_of(copy.deepcopy(net).double())
        peer32 = copy.deepcopy(peer).float()
        logits = peer(x.double()).detach()
        activation = LayerActivation(peer, peer.get_submodule(cam[0])).attribute(x.double()).detach()
        for node, truth in ((None, logits), (cam[1], activation)):
            found = run_onnx(file, x, node)
            assert np.allclose(found, truth.numpy(), rtol=1e-5, atol=1e-5), f'{name}: ONNX Runtime differs at {node}'
        target = logits.argmax(1).tolist()
        target[1] = (target[1] + 1) % logits.shape[1]
        np.save(os.path.join(path, 'input.npy'), x.numpy())
        np.save(os.path.join(path, 'other.npy'), other.numpy())
        np.save(os.path.join(path, 'logits.npy'), logits.float().numpy())
        rectifiers = all(isinstance(m, nn.ReLU) for m in net.modules() if m.__module__ == nn.ReLU.__module__)
        more = float(x.min()) - 0.25, float(x.max()) + 0.25, rectifiers, cam
        index, stack, worst = [], [], 0
        for (method, settings, extra, r), (*_, single) in zip(maps_of(peer, x.double(), other.double(), target, *more),
                                                              maps_of(peer32, x, other, target, *more), strict=True):
            worst = max(worst, float((single - r).abs().max() / r.abs().max()))
            index.append(dict(method=method, settings={k: str(v) for k, v in settings.items()}, **extra))
            stack.append(r.detach().float().numpy())
        assert worst < 1e-4, f'{name}: float32 does not reach the maps'
        np.save(os.path.join(path, 'maps.npy'), np.stack(stack))
        json.dump(dict(targets=target, maps=index), open(os.path.join(path, 'index.json'), 'w'), indent=1)
        print(f'{name}: {len(index)} maps, {os.path.getsize(file)} bytes, float32 within {worst:.0e}, logits', np.round(logits.numpy(), 3).tolist())


if __name__ == '__main__':
    main(sys.argv[1])
