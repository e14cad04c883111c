#!/usr/bin/env python3
"""Makes the ONNX files that tests/io/onnx.cpp imports: each operator that the importer knows, in the forms that it has in
opsets 7 to 18, in tiny graphs of parallel branches; and files that must be refused.

Expected outputs are onnxruntime's (the ONNX reference implementation's where that refuses an old form). OUT/ gets
NAME.onnx, cases.safetensors with NAME.input and NAME.output, and refused/NAME.onnx. Needs onnx, onnxruntime, safetensors:

    python3 make_operators.py tests/golden/operators
"""
import os
import sys
import zlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

CASES = {}


def case(name, *opsets, image=(3, 4, 3), batch='N'):
    """Registers a function that is given a Graph and the input's name and returns the branches' outputs."""
    def register(build):
        for opset in opsets or (13,):
            CASES[f'{name}-{opset}' if len(opsets) > 1 else name] = (build, opset, image, batch)
        return build
    return register


class Graph:
    def __init__(self, name, opset, image, batch):
        self.name, self.opset, self.image, self.batch = name, opset, image, batch
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.weights, self.inputs = [], [], []

    def random(self, *shape):
        return (self.rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5).astype(np.float32)

    def tensor(self, value, name=None):
        """The name of an initializer; whole numbers become int64."""
        if not isinstance(value, np.ndarray):
            value = np.array(value)
            value = value.astype(np.int64 if value.dtype.kind == 'i' else np.float32)
        name = name or f'c{len(self.weights)}'
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def __call__(self, op, *inputs, out=1, name=None, **attributes):
        index = len(self.nodes)
        inputs = ['' if i is None else i if isinstance(i, str) else self.tensor(i) for i in inputs]
        outputs = [f't{index}.{k}' if out > 1 else f't{index}' for k in range(out)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f'{op}_{index}' if name is None else name, **attributes))
        return outputs[0] if out == 1 else outputs

    # Forms that differ from opset to opset.
    def axes(self, op, x, axes, **attributes):
        last = 13 if op in ('Squeeze', 'Unsqueeze') else 18  # the first in which axes are an input
        return self(op, x, axes, **attributes) if self.opset >= last else self(op, x, axes=axes, **attributes)

    def clip(self, x, low=None, high=None):
        if self.opset >= 11:
            return self('Clip', x, *([None if v is None else float(v) for v in (low, high)]))
        return self('Clip', x, **{k: float(v) for k, v in (('min', low), ('max', high)) if v is not None})

    def slice(self, x, starts, ends, axes=None, steps=None):
        if self.opset >= 10:
            return self('Slice', x, starts, ends, axes, steps)
        return self('Slice', x, starts=starts, ends=ends, **({} if axes is None else {'axes': axes}))

    def pad(self, x, pads, value=None):
        if self.opset >= 11:
            return self('Pad', x, pads, *([] if value is None else [float(value)]))
        return self('Pad', x, pads=pads, **({} if value is None else {'value': float(value)}))

    def conv(self, x, channels, out, kernel=(3, 2), bias=True, groups=1, **attributes):
        w = [self.random(out, channels // groups, *kernel)] + ([self.random(out)] if bias else [])
        return self('Conv', x, *w, group=groups, **attributes)

    def model(self, outputs):
        """Branches end in vectors, which are joined."""
        flat = [self('Flatten', o, axis=1) for o in outputs]
        y = self('Concat', *flat, axis=1) if len(flat) > 1 else flat[0]
        self.nodes[-1].output[0] = 'y'
        x = helper.make_tensor_value_info('x', TensorProto.FLOAT, [self.batch, *self.image])
        graph = helper.make_graph(self.nodes, self.name, [x, *self.inputs], [helper.make_tensor_value_info('y', TensorProto.FLOAT, [self.batch, None])], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', self.opset)], ir_version=8, producer_name='')


# ---- Layers

@case('conv', 7, image=(4, 6, 5))
def _(g, x):
    yield g.conv(x, 4, 3)
    yield g.conv(x, 4, 3, pads=[1, 0, 2, 1], bias=False)
    yield g.conv(x, 4, 3, strides=[2, 1], dilations=[1, 2], kernel_shape=[3, 2])
    yield g.conv(x, 4, 6, groups=2, pads=[1, 1, 1, 1], strides=[2, 3])
    yield g.conv(x, 4, 8, groups=4, auto_pad='NOTSET')
    # The bias as an Add behind it: as (C,1,1), as (1,C,1,1), and one that two nodes read, so that it stays.
    yield g('Add', g.conv(x, 4, 3, bias=False), g.random(3, 1, 1))
    yield g('Add', g.random(1, 3, 1, 1), g.conv(x, 4, 3, bias=False))
    y = g.conv(x, 4, 3, bias=False)
    yield g('Add', y, g.random(3, 1, 1))
    yield g('Relu', y)


for size in ((5, 4), (6, 7)):
    @case(f'conv-auto-pad-{size[0]}x{size[1]}', image=(2, *size))
    def _(g, x):
        for auto in ('SAME_UPPER', 'SAME_LOWER', 'VALID'):
            for stride in (1, 2, 3):
                yield g.conv(x, 2, 1, kernel=(3, 2), auto_pad=auto, strides=[stride, stride])

    @case(f'pool-auto-pad-{size[0]}x{size[1]}', image=(2, *size))
    def _(g, x):
        for op in ('MaxPool', 'AveragePool'):
            for auto in ('SAME_UPPER', 'SAME_LOWER', 'VALID'):
                for stride in (1, 2):
                    yield g(op, x, kernel_shape=[3, 2], auto_pad=auto, strides=[stride, stride])
        yield g('AveragePool', x, kernel_shape=[3, 2], auto_pad='SAME_UPPER', count_include_pad=1)


@case('conv-1d', 11, image=(3, 9))
def _(g, x):
    yield g.conv(x, 3, 4, kernel=(3,), pads=[1, 2], strides=[2])
    yield g.conv(x, 3, 3, kernel=(2,), auto_pad='SAME_LOWER', groups=3)
    yield g('MaxPool', x, kernel_shape=[3], strides=[2], pads=[1, 0])
    yield g('AveragePool', x, kernel_shape=[2], ceil_mode=1, strides=[2])
    yield g('GlobalAveragePool', x)
    yield g('BatchNormalization', x, g.random(3), g.random(3), g.random(3), abs(g.random(3)))
    yield g('ReduceMean', x, axes=[2], keepdims=0)
    yield g('Add', x, g.random(3, 1))
    yield g('Transpose', x, perm=[0, 2, 1])
    yield g.slice(x, [1], [8], [2], [3])


@case('conv-transpose', 7, image=(4, 4, 3))
def _(g, x):
    def deconv(out=2, groups=1, bias=True, kernel=(3, 2), **attributes):
        w = [g.random(4, out // groups, *kernel)] + ([g.random(out)] if bias else [])
        return g('ConvTranspose', x, *w, group=groups, **attributes)
    yield deconv()
    yield deconv(bias=False, strides=[2, 3], pads=[1, 0, 0, 1])
    yield deconv(strides=[2, 2], output_padding=[1, 0], dilations=[1, 2])
    yield deconv(out=6, groups=2, strides=[2, 1])
    yield deconv(out=4, groups=4, kernel=(2, 2), strides=[2, 2])
    yield g('Add', deconv(bias=False), g.random(2, 1, 1))
    yield deconv(auto_pad='VALID', strides=[2, 2])


@case('conv-transpose-same', 11, image=(2, 4, 3))
def _(g, x):
    for auto in ('SAME_UPPER', 'SAME_LOWER'):
        for stride in (1, 2):
            yield g('ConvTranspose', x, g.random(2, 1, 3, 2), auto_pad=auto, strides=[stride, stride])
    yield g('ConvTranspose', x, g.random(2, 1, 3, 2), output_shape=[8, 7], strides=[2, 2])


@case('gemm', 7, 9, 11, image=(6,))
def _(g, x):
    yield g('Gemm', x, g.random(6, 4), g.random(4))
    yield g('Gemm', x, g.random(4, 6), g.random(1, 4), transB=1, alpha=0.5, beta=2.0)
    yield g('Gemm', x, g.random(4, 6), 0.25, transB=1, beta=3.0)
    yield g('Gemm', x, g.random(6, 4), g.random(1))
    if g.opset >= 11:
        yield g('Gemm', x, g.random(6, 4), alpha=-1.5, beta=0.5)
        yield g('Add', g('Gemm', x, g.random(6, 4), alpha=2.0, beta=0.5), g.random(4))


@case('matmul', 7, image=(6,))
def _(g, x):
    yield g('MatMul', x, g.random(6, 4))
    yield g('Add', g('MatMul', x, g.random(6, 4)), g.random(4))
    yield g('Add', g.random(1, 4), g('MatMul', x, g.random(6, 4)))
    yield g('Add', g('MatMul', x, g.random(6, 4)), 0.5)
    yield g('MatMul', x, g('Transpose', g.random(4, 6), perm=[1, 0]))
    y = g('MatMul', x, g.random(6, 1))
    yield g('Add', y, g.random(1))


@case('batch-normalization', 7, 9, 15)
def _(g, x):
    def norm(x, **attributes):
        return g('BatchNormalization', x, g.random(3), g.random(3), g.random(3), abs(g.random(3)) + 0.1, **attributes)
    yield norm(x)
    yield norm(x, epsilon=0.1, momentum=0.8)
    if g.opset < 9:
        yield norm(x, spatial=1)
    yield norm(g('GlobalAveragePool', x))
    if g.opset >= 9:
        yield norm(g('Flatten', g('GlobalAveragePool', x)), epsilon=1e-3)


@case('lrn', 7, image=(6, 3, 2))
def _(g, x):
    yield g('LRN', x, size=3)
    yield g('LRN', x, size=5, alpha=0.5, beta=0.6, bias=1.5)
    yield g('LRN', x, size=9, alpha=2.0)


@case('lrn-even', 13, image=(6, 3, 2))
def _(g, x):
    yield g('LRN', x, size=4, alpha=0.5, beta=0.6, bias=1.5)
    yield g('LRN', x, size=2, alpha=0.7)


# ---- Activations

@case('activations', 7)
def _(g, x):
    for op in ('Relu', 'LeakyRelu', 'Elu', 'Sigmoid', 'Tanh', 'HardSigmoid', 'Softplus', 'Neg'):
        yield g(op, x)
    yield g('LeakyRelu', x, alpha=0.3)
    yield g('Elu', x, alpha=0.5)
    yield g('HardSigmoid', x, alpha=0.3, beta=0.4)
    yield g('PRelu', x, 0.2)
    yield g('PRelu', x, np.full((3, 1, 1), 0.15, np.float32))
    yield g('PRelu', x, np.full((1,), 0.35, np.float32))


@case('activations-new', 20)
def _(g, x):
    yield g('HardSwish', x)
    yield g('Gelu', x)
    yield g('Gelu', x, approximate='tanh')
    yield g('Mish', x)


@case('clip', 7, 10, 11, 12)
def _(g, x):
    yield g.clip(x, -0.5, 0.75)
    yield g.clip(x, low=0)
    yield g.clip(x, low=-0.2)
    yield g.clip(x, high=0.3)
    yield g.clip(x, 0, 6)
    yield g.clip(x)
    yield g.clip(x, -np.inf, 0.5)
    if g.opset >= 8:
        yield g('Min', x, 0.4)
        yield g('Max', np.float32([-0.4]), x)
        yield g('Max', g('Min', 6.0, x), 0.0)
    if g.opset >= 11:
        yield g('Clip', x, g('Constant', value_float=-0.1) if g.opset >= 12 else -0.1, g('Cast', np.float64(0.7).reshape(()), to=1))


@case('gelu', 13)
def _(g, x):
    half = lambda a: g('Mul', a, 0.5)
    erf = lambda: g('Add', g('Erf', g('Div', x, 2 ** 0.5)), 1.0)
    yield half(g('Mul', x, erf()))
    yield g('Mul', half(x), erf())
    yield g('Mul', x, half(erf()))
    yield g('Mul', x, g('Add', half(g('Erf', g('Mul', x, 0.5 ** 0.5))), 0.5))
    yield g('Mul', g('Constant', value=numpy_helper.from_array(np.float32(0.5))), g('Mul', erf(), x))
    # By tanh, its cube by Pow and by products; the exponent a float or a whole number.
    inner = lambda cube: g('Tanh', g('Mul', g('Add', x, g('Mul', cube, 0.044715)), (2 / np.pi) ** 0.5))
    yield g('Mul', half(x), g('Add', inner(g('Pow', x, 3.0)), 1.0))
    yield half(g('Mul', x, g('Add', 1.0, inner(g('Mul', x, g('Mul', x, x))))))
    if g.opset >= 13:
        yield g('Mul', x, half(g('Add', inner(g('Pow', x, 3)), 1.0)))
    # Quick GELU is another function.
    yield g('Mul', x, g('Sigmoid', g('Mul', x, 1.702)))


@case('swish', 13)
def _(g, x):
    yield g('Mul', x, g('Sigmoid', x))
    yield g('Mul', g('Sigmoid', x), x)
    # Read by somebody else, too.
    s = g('Sigmoid', x)
    yield s
    yield g('Mul', s, x)
    # Alike, but other functions.
    yield g('Mul', x, g('Sigmoid', g('Mul', x, 1.2)))
    yield g('Mul', g('Mul', x, g('Sigmoid', x)), 1.01)
    yield g('Mul', g('Tanh', x), g('Sigmoid', x))
    yield g('Mul', x, g('Sigmoid', g('Add', x, 1e-3)))
    yield g('Mul', g('Conv', x, g.random(3, 3, 1, 1)), g('Sigmoid', x))


@case('hard-swish', 7, 13)
def _(g, x):
    six = lambda: g.clip(g('Add', x, 3.0), 0, 6)
    yield g('Mul', x, g('HardSigmoid', x, alpha=1 / 6, beta=0.5))
    yield g('Mul', x, g('Div', six(), 6.0))
    yield g('Div', g('Mul', x, six()), 6.0)
    yield g('Mul', g('Mul', x, six()), 1 / 6)
    yield g('Div', six(), 6.0)
    if g.opset >= 13:
        yield g('Mul', x, g('Div', g('Min', g('Max', g('Add', 3.0, x), 0.0), 6.0), 6.0))
    # Alike, but other functions.
    yield g('Mul', x, g('HardSigmoid', x))
    yield g('Div', g('Mul', x, g.clip(g('Add', x, 3.0), 0, 5)), 6.0)
    yield g('Div', six(), 5.0)


@case('mish', 13)
def _(g, x):
    yield g('Mul', x, g('Tanh', g('Softplus', x)))


@case('softmax', 11, 13, image=(4, 2, 3))
def _(g, x):
    pooled = g('GlobalAveragePool', x)
    v = g('Flatten', pooled)
    yield g('Softmax', v)
    yield g('Softmax', v, axis=1)
    yield g('Softmax', v, axis=-1)
    yield g('Softmax', pooled, axis=1)


@case('functions', 12)
def _(g, x):
    for op in ('Exp', 'Abs', 'Softsign', 'Celu', 'Selu', 'ThresholdedRelu'):
        yield g(op, x)
    above = g('Add', g('Abs', x), 0.5)
    for op in ('Log', 'Sqrt', 'Reciprocal'):
        yield g(op, above)
    yield g('Celu', x, alpha=0.7)
    yield g('Selu', x, alpha=1.2, gamma=0.9)
    yield g('ThresholdedRelu', x, alpha=0.3)
    yield g('Pow', x, 3.0)
    yield g('Pow', above, -0.5)
    yield g('Pow', x, 1.0)
    yield g('PRelu', x, g.random(3, 1, 1))
    yield g('PRelu', x, g.random(1, 3, 1, 1))
    yield g('PRelu', x, g.random(3))
    yield g('PRelu', x, g.random(4, 1))
    yield g('PRelu', g('Flatten', x), g.random(36))
    yield g('Exp', g('Reshape', x, [0, 3, 2, 2, 3]))
    # log(1 + e^(2x))/2 with a threshold, as an exporter spells it.
    twice = g('Mul', x, 2.0)
    soft = g('Div', g('Softplus', twice), 2.0)
    yield g('Where', g('Greater', twice, 20.0), x, soft)
    yield g('Where', g('LessOrEqual', twice, 20.0), soft, x)


@case('softmax-inside', 11, 13, image=(4, 2, 3))
def _(g, x):
    v = g('Flatten', x)
    for axis in (1, 2, 3, -1, -3):
        yield g('Softmax', x, axis=axis)
        yield g('LogSoftmax', x, axis=axis)
    yield g('Log', g('Softmax', v, axis=1))
    yield g('Mul', g('Softmax', v, axis=1), 2.0)
    yield g('Softmax', g('Reshape', x, [0, 2, 2, 2, 3]), axis=2)


@case('broadcast', 13)
def _(g, x):
    pooled, rows = g('GlobalAveragePool', x), g('ReduceMean', x, axes=[3])
    for op in ('Add', 'Sub', 'Mul', 'Div'):
        y = g('Add', g('Abs', x), 0.5) if op == 'Div' else x
        yield g(op, x, g('Add', g('Abs', pooled), 0.5))
        yield g(op, pooled, y)
        yield g(op, rows, y)
        yield g(op, g('Add', pooled, 3.0), g('Add', rows, 3.0) if op != 'Div' else g('Add', g('Abs', rows), 0.5))
        yield g(op, x, g.random(3, 4, 3) + 3)
        yield g(op, x, g.random(1, 3, 4, 3) + 3)
        yield g(op, g.random(4, 3), y)
        yield g(op, x, g.random(4, 1) + 3)
        yield g(op, x, g.random(3, 1, 3) + 3)
        yield g(op, pooled, g.random(1, 3, 2, 4) + 3)
        yield g(op, 1.5, y)
        yield g(op, g('Reshape', x, [0, 3, 2, 2, 3]), g.random(2, 1, 1) + 3)
        yield g(op, g('Reshape', x, [0, 3, 2, 2, 3]), g('Reshape', g('Add', g('Abs', pooled), 0.5), [0, 3, 1, 1, 1]))
    yield g('Sum', x, pooled, rows)
    yield g('Expand', pooled, [1, 3, 4, 3])
    yield g('Relu', g('Expand', pooled, [3, 4, 3]))
    yield g('Mul', g('Expand', pooled, [1, 3, 4, 3]), 2.0)
    yield g('Where', np.arange(12).reshape(4, 3) % 3 == 1, x, pooled)
    yield g('Where', np.arange(3).reshape(1, 3, 1, 1) == 1, 0.25, x)


@case('extremes', 13)
def _(g, x):
    pooled, y = g('GlobalAveragePool', x), g('Transpose', g('Transpose', x, perm=[0, 2, 1, 3]), perm=[0, 2, 1, 3])
    for op in ('Max', 'Min'):
        yield g(op, x, g('Mul', x, -0.5))
        yield g(op, x, pooled, g('Mul', x, -1.0))
        yield g(op, g('Flatten', x), g('Flatten', g('Neg', x)))


@case('reductions-any', 13, image=(3, 4, 5))
def _(g, x):
    y = g('Add', g('Abs', x), 0.5)
    for op in ('ReduceMean', 'ReduceMax', 'ReduceMin', 'ReduceL1', 'ReduceL2', 'ReduceSumSquare', 'ReduceLogSum', 'ReduceLogSumExp'):
        for axes in ([1], [2], [3], [1, 2], [1, 3], [2, 3], [1, 2, 3], [-1]):
            yield g(op, y if op == 'ReduceLogSum' else x, axes=axes, keepdims=1)
            if len(axes) < 3:
                yield g(op, y if op == 'ReduceLogSum' else x, axes=axes, keepdims=0)
    yield g('ReduceSum', x, [1, 3])
    yield g('ReduceSum', x, [1, 2, 3])
    yield g('ReduceProd', x, axes=[1])
    yield g('ReduceProd', x, axes=[3], keepdims=0)
    yield g('ReduceMean', g('Reshape', x, [0, 3, 2, 2, 5]), axes=[2, 4])


@case('views', 13, image=(8, 4, 6))
def _(g, x):
    yield g('DepthToSpace', x, blocksize=2)
    yield g('DepthToSpace', x, blocksize=2, mode='CRD')
    yield g('SpaceToDepth', x, blocksize=2)
    yield g('Tile', x, [1, 2, 1, 3])
    yield g('Gather', x, [0, 2, 4], axis=1)
    yield g('Gather', x, np.array([[3, 0], [1, 1]]), axis=2)
    yield g('Gather', x, np.array(-1), axis=3)
    yield g('Gather', x, [0, 1, 1, 2, 2, 3], axis=2)
    yield g('Slice', x, [5, -1], [0, -9], [3, 1], [-2, -1])
    six = g('Reshape', x, [0, 2, 4, 2, 2, 3, 2])
    for perm in ([0, 6, 5, 4, 3, 2, 1], [0, 2, 4, 6, 1, 3, 5], [0, 1, 3, 2, 5, 4, 6]):
        yield g('Relu', g('Reshape', g('Transpose', six, perm=perm), [0, -1]))
    yield g('Transpose', g('Relu', six), perm=[0, 3, 1, 2, 5, 4, 6])
    for mode in ('reflect', 'edge'):
        yield g('Pad', x, [0, 0, 2, 3, 0, 0, 1, 2], mode=mode)
        yield g('Pad', x, [0, 2, 0, 0, 0, 1, 0, -1], mode=mode)
    yield g('Pad', x, [0, 1, 2, 0, 0, 0, 1, 1], 0.75)
    yield g('Conv', g('Pad', x, [0, 0, 1, 1, 0, 0, 1, 1], -1.0), g.random(2, 8, 3, 3))


@case('concat-constant', 13, batch=1)
def _(g, x):
    yield g('Concat', x, g.random(1, 2, 4, 3), axis=1)
    yield g('Concat', g.random(1, 3, 1, 3), x, axis=2)


@case('views-wrapped', 19, image=(8, 4, 6))
def _(g, x):
    yield g('Pad', x, [0, 0, 2, 3, 0, 0, 1, 2], mode='wrap')
    yield g('Pad', x, [0, 0, 5, 0, 0, 0, 3, 0], mode='wrap')


@case('resize-any', 13, 19, image=(2, 5, 4))
def _(g, x):
    kinds = ['half_pixel', 'asymmetric', 'align_corners', 'pytorch_half_pixel'] + (['half_pixel_symmetric'] if g.opset >= 19 else [])
    for kind in kinds:
        for scales in ([1, 1, 2, 1.5], [1, 1, 0.6, 0.8]):
            yield g('Resize', x, None, np.float32(scales), mode='cubic', coordinate_transformation_mode=kind)
            yield g('Resize', x, None, np.float32(scales), mode='linear', coordinate_transformation_mode=kind)
            # The symmetric kind puts places onto borders, where the last bit decides.
            for way in ('floor', 'ceil', 'round_prefer_floor', 'round_prefer_ceil') if kind != 'half_pixel_symmetric' else ():
                yield g('Resize', x, None, np.float32(scales), mode='nearest', coordinate_transformation_mode=kind, nearest_mode=way)
    yield g('Resize', x, None, np.float32([1, 1, 2, 1.5]), mode='cubic', cubic_coeff_a=-0.5, exclude_outside=1)


@case('norms', 17, image=(6, 3, 4))
def _(g, x):
    yield g('InstanceNormalization', x, g.random(6), g.random(6))
    yield g('InstanceNormalization', g('Reshape', x, [0, 2, -1]), g.random(2), g.random(2), epsilon=1e-3)
    for axis in (1, 2, 3, -1):
        size = (6, 3, 4)[axis - 1 if axis > 0 else axis:]
        yield g('LayerNormalization', x, g.random(*size), g.random(*size), axis=axis)
        yield g('LayerNormalization', x, g.random(*size), axis=axis, epsilon=1e-2)
    yield g('LayerNormalization', g('Flatten', x), g.random(72), g.random(72))
    yield g('MeanVarianceNormalization', g('Reshape', x, [0, 6, 3, 4]), axes=[2, 3])


@case('group-norm', 21, image=(6, 3, 4))
def _(g, x):
    yield g('GroupNormalization', x, g.random(6), g.random(6), num_groups=3)
    yield g('GroupNormalization', x, g.random(6), g.random(6), num_groups=1, epsilon=1e-3)


@case('matmul-maps', 13, image=(3, 4, 5))
def _(g, x):
    yield g('MatMul', x, g.random(5, 2))
    yield g('Add', g('MatMul', x, g.random(5, 2)), g.random(2))
    yield g('MatMul', g.random(2, 4), x)
    yield g('MatMul', g('Reshape', x, [0, 12, 5]), g.random(5, 3))
    yield g('MatMul', g('Reshape', x, [0, 3, 2, 2, 5]), g.random(5, 3))


@case('quantised', 13)
def _(g, x):
    w = np.random.default_rng(3).integers(-100, 100, (4, 3, 1, 1)).astype(np.int8)
    yield g('Conv', x, g('DequantizeLinear', w, np.array(0.01, np.float32), np.array(3, np.int8)))
    yield g('Conv', x, g('DequantizeLinear', w, np.float32([0.01, 0.02, 0.03, 0.04]), np.zeros(4, np.int8), axis=0))


@case('lrn-by-parts', 13, image=(6, 3, 2))
def _(g, x):
    square = g('Unsqueeze', g('Mul', x, x), [1])
    mean = g('Squeeze', g('AveragePool', square, kernel_shape=[3, 1, 1], pads=[1, 0, 0, 1, 0, 0], count_include_pad=1), [1])
    yield g('Div', x, g('Pow', g('Add', g('Mul', mean, 0.5), 1.0), 0.75))


# ---- Pools

@case('max-pool', 8, 10, image=(2, 7, 6))
def _(g, x):
    yield g('MaxPool', x, kernel_shape=[2, 3])
    yield g('MaxPool', x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2])
    yield g('MaxPool', x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1])
    if g.opset >= 10:
        yield g('MaxPool', x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
        yield g('MaxPool', x, kernel_shape=[3, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
        yield g('MaxPool', x, kernel_shape=[3, 2], dilations=[2, 3], strides=[1, 2], pads=[1, 1, 2, 0])


@case('average-pool', 7, 10, image=(2, 7, 6))
def _(g, x):
    yield g('AveragePool', x, kernel_shape=[2, 3])
    for count in (0, 1):
        yield g('AveragePool', x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 2], count_include_pad=count)
        if g.opset >= 10:
            yield g('AveragePool', x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=count)
            yield g('AveragePool', x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=count)


@case('average-pool-19', 19, image=(2, 7, 6))
def _(g, x):
    yield g('AveragePool', x, kernel_shape=[2, 2], dilations=[1, 1])
    for count in (0, 1):
        yield g('AveragePool', x, kernel_shape=[3, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=count)


@case('global-pools', 7)
def _(g, x):
    yield g('GlobalAveragePool', x)
    yield g('GlobalMaxPool', x)


@case('reduce-mean', 7, 11, 18)
def _(g, x):
    yield g.axes('ReduceMean', x, [2, 3], keepdims=0)
    yield g.axes('ReduceMean', x, [2, 3])
    if g.opset >= 11:
        yield g.axes('ReduceMean', x, [-1, -2], keepdims=1)
    # As it stands in networks that keep NHWC inside.
    last = g('Transpose', x, perm=[0, 2, 3, 1])
    yield g.axes('ReduceMean', last, [1, 2], keepdims=0)
    yield g.axes('ReduceMean', last, [1, 2], keepdims=1)
    gate = g('Sigmoid', g.axes('ReduceMean', last, [1, 2], keepdims=1))
    yield g('Mul', last, gate)
    # One after the other.
    yield g.axes('ReduceMean', g.axes('ReduceMean', x, [3], keepdims=0), [2], keepdims=0)
    yield g.axes('ReduceMean', g.axes('ReduceMean', x, [2]), [3])
    yield g.axes('ReduceMean', x, [3])
    yield g.axes('ReduceMean', x, [2], keepdims=0)


@case('reductions', 12, 18)
def _(g, x):
    total = lambda x, axes, **more: g('ReduceSum', x, axes, **more) if g.opset >= 13 else g('ReduceSum', x, axes=axes, **more)
    yield g.axes('ReduceMax', x, [2, 3], keepdims=0)
    yield g.axes('ReduceMax', x, [-2, -1])
    yield total(x, [2, 3], keepdims=0)
    yield total(x, [3])
    # Over channels, as spatial attention does.
    both = g('Concat', g.axes('ReduceMean', x, [1]), g.axes('ReduceMax', x, [1]), total(x, [1]), axis=1)
    yield both
    yield g('Mul', x, g('Sigmoid', g.conv(both, 3, 1, kernel=(1, 1))))
    yield g.axes('ReduceMean', x, [1], keepdims=0)
    yield g.axes('ReduceMax', g('Flatten', x), [1])
    yield g.axes('ReduceMean', g('Reshape', x, [0, 3, 12]), [1])


# ---- Arithmetic

@case('constants', 7)
def _(g, x):
    vector = g('Flatten', g('GlobalAveragePool', x))
    for op in ('Add', 'Sub', 'Mul', 'Div'):
        yield g(op, x, 0.7)
        yield g(op, x, np.float32([1.3]).reshape(1, 1, 1))
        yield g(op, x, g.random(3, 1, 1) + np.float32(3))
        yield g(op, g('Relu', x), g.random(1, 3, 1, 1) + np.float32(2))
        yield g(op, vector, g.random(3) + np.float32(2))
        yield g(op, vector, g.random(1, 3) + np.float32(2))
        if op != 'Div':
            yield g(op, 1.5, x)
            yield g(op, g.random(3, 1, 1), x)
            yield g(op, g.random(1, 3), vector)


@case('constant-folding', 13)
def _(g, x):
    yield g('Mul', x, g('Reshape', g('Div', g('Sqrt', np.float32([4, 9, 16])), g('Exp', g('Neg', g.random(3)))), [3, 1, 1]))
    yield g('Conv', x, g('Mul', g.random(2, 3, 1, 1), g('Unsqueeze', g.random(2), [1, 2, 3])))
    yield g('Add', x, g('Unsqueeze', g('Gather', g.random(5), [0, -1, 2]), [1, 2]))
    yield g('Add', x, g('ConstantOfShape', [3, 1, 1], value=numpy_helper.from_array(np.float32([0.5]))))
    yield g('Add', x, g('Slice', g.random(3, 4, 2), [1, 0], [4, 1], [1, 2], [3, 1]))
    yield g('Add', x, g('Slice', g.random(5, 2, 1), [-1, 2 ** 40], [-(2 ** 63), 0], [0, 1], [-2, -3]))
    # As PyTorch turns its order of pads around.
    pads = g('Concat', [1, 2, 0, 1], g('ConstantOfShape', g('Sub', [8], [4]), value=numpy_helper.from_array(np.int64([0]))), axis=0)
    back = g('Slice', g('Reshape', pads, [-1, 2]), [-1], [-(2 ** 63) + 1], [0], [-1])
    yield g('Pad', x, g('Cast', g('Reshape', g('Transpose', back, perm=[1, 0]), [-1]), to=7), 0.0, mode='constant')
    yield g('Add', x, g('Concat', g.random(1, 1, 1), g.random(2, 1, 1), axis=-3))
    yield g('Add', x, g('Squeeze', g.random(1, 3, 1, 1), [0]))
    yield g('Add', x, g('Transpose', g.random(1, 1, 3), perm=[2, 0, 1]))
    yield g('Sub', x, g('Pow', np.float32([[[2]]]), 3.0))


@case('tensors', 13)
def _(g, x):
    y, z = g('Relu', x), g('Tanh', x)
    yield g('Add', y, z)
    yield g('Sub', y, z)
    yield g('Mul', y, z)
    yield g('Mul', x, x)
    yield g('Add', x, x)
    yield g('Sum', x)
    yield g('Sum', x, y)
    yield g('Sum', x, y, z, x)
    gate = g('Sigmoid', g('Conv', g('GlobalAveragePool', x), g.random(3, 3, 1, 1)))
    yield g('Mul', gate, x)
    yield g('Mul', x, gate)
    yield g('Mul', y, g('HardSigmoid', g.conv(x, 3, 1, kernel=(1, 1))))
    # A gate that is a vector first.
    v = g('Sigmoid', g('Gemm', g('Flatten', g('GlobalAveragePool', x)), g.random(3, 3), g.random(3)))
    yield g('Mul', x, g.axes('Unsqueeze', v, [2, 3]))
    yield g('Mul', x, g('Expand', g.axes('Unsqueeze', v, [2, 3]), g('Shape', x)))
    yield g('Mul', g('Expand', gate, [1, 3, 4, 3]), x)
    yield g('Relu', g('Expand', x, [1, 1, 3]))
    yield g('Pow', x, 2.0)
    yield g('Mul', x, g('Reshape', v, [-1, 3, 1, 1]))


# ---- Views

@case('concat', 7, 11)
def _(g, x):
    y = g('Relu', x)
    yield g('Concat', x, y, axis=1)
    yield g('Concat', x, y, axis=2)
    yield g('Concat', x, y, x, axis=3)
    yield g('Concat', x, axis=1)
    if g.opset >= 11:
        yield g('Concat', x, y, axis=-1)
        yield g('Concat', x, y, axis=-3)
    yield g('Concat', g('Flatten', x), g('Flatten', y), axis=1)


@case('flatten', 9, 11, image=(3, 2, 4))
def _(g, x):
    yield g('Flatten', x)
    yield g('Flatten', x, axis=1)
    if g.opset >= 11:
        yield g('Flatten', x, axis=-3)
    yield g('Flatten', g('Flatten', x))
    yield g('Flatten', g('GlobalAveragePool', x))


@case('reshape', 7, 13, 14)
def _(g, x):
    yield g('Reshape', x, [0, -1])
    yield g('Reshape', x, [-1, 36])
    yield g('Reshape', x, [0, 3, 12])
    yield g('Reshape', x, [0, 0, -1])
    yield g('Reshape', x, [0, 4, 1, 9])
    yield g('Reshape', g('Reshape', x, [0, 9, -1]), [-1, 3, 4, 3])
    yield g('Relu', g('Reshape', g('Reshape', x, [-1, 36]), [0, 2, 3, 6]))
    yield g('Reshape', g('Reshape', x, [0, -1, 1, 1]), [0, 3, 4, 3])
    if g.opset >= 14:
        yield g('Reshape', x, [-1, 3, 12], allowzero=1)


@case('reshape-fixed', 13, batch=1)
def _(g, x):
    yield g('Reshape', x, [1, 36])
    yield g('Reshape', x, [1, -1])
    yield g('Reshape', x, [1, 3, 12])
    yield g('Reshape', x, [-1, 3, 12])
    yield g('Flatten', x)
    yield g('Resize', x, None, None, [1, 3, 8, 6], mode='nearest', coordinate_transformation_mode='asymmetric', nearest_mode='floor')
    size = g('Shape', x)
    yield g('Reshape', x, g('Concat', g('Slice', size, [0], [1]), [-1], axis=0))


@case('reshape-computed', 11, 13, 15)
def _(g, x):
    size = g('Shape', x)
    at = lambda k: g.axes('Unsqueeze', g('Gather', size, np.array(k)), [0])
    yield g('Reshape', x, g('Concat', at(0), [-1], axis=0))
    yield g('Reshape', x, g('Concat', g('Slice', size, [0], [2], [0]), g.axes('Unsqueeze', g('Mul', g('Gather', size, np.array(2)), g('Gather', size, np.array(-1))), [0]), axis=0))
    yield g('Reshape', x, g('Concat', at(0), at(2), at(3), at(1), axis=0))
    yield g('Reshape', x, g('Cast', g('Concat', g('Cast', at(0), to=6), g('Cast', [9, 4], to=6), axis=0), to=7))
    half = g('Div', g('Gather', size, np.array(2)), np.array(2))
    yield g('Reshape', x, g('Concat', at(0), [-1], g.axes('Unsqueeze', half, [0]), axis=0))
    yield g('Slice', x, [0], g.axes('Unsqueeze', half, [0]), [2])
    if g.opset >= 15:
        yield g('Reshape', x, g('Concat', g('Shape', x, end=1), [3], [-1], axis=0))
        yield g('Reshape', x, g('Concat', g('Shape', x, start=0, end=-2), [12], axis=0))


@case('squeeze', 7, 11, 13)
def _(g, x):
    p = g('GlobalAveragePool', x)
    yield g.axes('Squeeze', p, [2, 3])
    if g.opset >= 11:
        yield g.axes('Squeeze', p, [-1, -2])
        yield g.axes('Unsqueeze', g.axes('Squeeze', p, [3]), [-1])
    v = g('Flatten', p)
    yield g.axes('Unsqueeze', v, [2, 3])
    yield g('Relu', g.axes('Unsqueeze', v, [1]))
    yield g('Mul', x, g.axes('Unsqueeze', g.axes('Unsqueeze', v, [2]), [3]))


@case('squeeze-all', 13, image=(3, 1, 1))
def _(g, x):
    yield g('Relu', x)
    yield g('Squeeze', g('Tanh', x), [2, 3])


@case('transpose', 7)
def _(g, x):
    for perm in ([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 3, 2, 1], [0, 1, 2, 3]):
        yield g('Transpose', x, perm=perm)
    yield g('Transpose', g('Flatten', x), perm=[0, 1])
    yield g('Transpose', g('Reshape', x, [0, 3, 12]), perm=[0, 2, 1])


@case('nhwc', 13, image=(4, 5, 3))
def _(g, x):
    y = g('Transpose', x, perm=[0, 3, 1, 2])
    y = g('Relu', g.conv(y, 3, 4, auto_pad='SAME_UPPER', strides=[2, 2]))
    yield g('ReduceMean', g('Transpose', y, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)


@case('channel-shuffle', 13, image=(6, 2, 3))
def _(g, x):
    def shuffled(x, groups, last):
        y = g('Transpose', g('Reshape', x, [0, groups, 6 // groups, 2, 3]), perm=[0, 2, 1, 3, 4])
        return g('Reshape', y, last)
    yield shuffled(x, 2, [0, 6, 2, 3])
    yield shuffled(x, 3, [0, -1, 2, 3])
    yield g('Conv', shuffled(shuffled(x, 2, [-1, 6, 2, 3]), 2, [0, 6, 2, 3]), g.random(2, 6, 1, 1))
    # A space-to-depth of one axis, and views that only pass through more dimensions.
    yield g('Reshape', g('Transpose', g('Reshape', x, [0, 6, 1, 2, 3]), perm=[0, 2, 1, 3, 4]), [0, 6, 2, 3])
    yield g('Reshape', g('Unsqueeze', x, [2]), [0, 6, 6])
    yield g('Flatten', g('Transpose', g('Reshape', x, [0, 3, 2, 2, 3]), perm=[0, 3, 4, 1, 2]))
    yield g('Squeeze', g('Unsqueeze', x, [1]), [1])


@case('slice', 7, 10, 13)
def _(g, x):
    yield g.slice(x, [1], [3], [1])
    yield g.slice(x, [0, 1, 1, -2], [2 ** 31 - 1, 3, 4, -1])
    yield g.slice(x, [-2], [2 ** 63 - 1], [2])
    yield g.slice(x, [1, 1], [4, 2 ** 63 - 1], [2, 3])
    yield g.slice(x, [0], [-1], [3])
    yield g.slice(x, [0], [100], [2])
    if g.opset >= 10:
        yield g.slice(x, [0], [2 ** 31 - 1], [2], [2])
        yield g.slice(x, [-1], [-(2 ** 63)], [3], [-1])
        yield g.slice(x, [100], [0], [2], [-2])
        yield g.slice(x, [-1], [-100], [-3], [-2])
        yield g.slice(x, [2], [0], [-1], [-1])
        yield g.slice(x, [0, 0], [4, 3], [2, 3], [3, 2])
    yield g.slice(g('Flatten', x), [7], [21], [1])


@case('split', 7, 11, 13, 18, image=(6, 4, 3))
def _(g, x):
    sizes = lambda x, s, axis: (g('Split', x, s, axis=axis, out=len(s)) if g.opset >= 13 else g('Split', x, split=s, axis=axis, out=len(s)))
    number = lambda n: {'num_outputs': n} if g.opset >= 18 else {}
    yield from g('Split', x, axis=1, out=2, **number(2))
    yield from sizes(x, [1, 3, 2], 1)
    yield from g('Split', x, axis=2, out=2, **number(2))
    if g.opset >= 11:
        yield from sizes(x, [2, 1], -1)
    if g.opset >= 18:
        yield from g('Split', g.slice(x, [0], [5], [1]), axis=1, out=3, num_outputs=3)
    a, b = g('Split', x, axis=1, out=2, **number(2))
    yield g('Mul', a, g('Sigmoid', b))


@case('pad', 7, 11, 18)
def _(g, x):
    yield g.pad(x, [0, 0, 1, 2, 0, 0, 0, 1])
    yield g.pad(x, [0, 1, 0, 0, 0, 2, 1, 0], 0)
    yield g.pad(x, [0, 0, -1, 1, 0, 0, -2, -1])
    if g.opset >= 11:
        yield g('Pad', x, [0, 0, 1, 1, 0, 0, 1, 1], None)
    if g.opset >= 18:
        yield g('Pad', x, [1, 2, 0, -1], None, [-1, 2])
        yield g('Pad', x, [2, 1], 0.0, [1])
    # Before a convolution: its padding, unless it has another reader, a negative size or other channels.
    conv = lambda p, c=3, **a: g.conv(p, c, 2, **a)
    yield conv(g.pad(x, [0, 0, 1, 2, 0, 0, 0, 1]))
    yield conv(g.pad(x, [0, 0, 1, 2, 0, 0, 0, 1]), pads=[1, 1, 0, 0], strides=[2, 2])
    yield conv(g.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]), auto_pad='VALID')
    yield conv(g.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]), auto_pad='SAME_UPPER', strides=[2, 2])
    yield conv(g.pad(x, [0, 1, 1, 1, 0, 0, 1, 1]), 4)
    yield conv(g.pad(x, [0, 0, 1, 1, 0, 0, -1, 1]))
    p = g.pad(x, [0, 0, 1, 1, 0, 0, 1, 1])
    yield conv(p)
    yield p
    yield g('MaxPool', g.pad(g('Relu', x), [0, 0, 0, 0, 0, 0, 1, 1]), kernel_shape=[2, 2])


@case('pad-1d', 13, image=(3, 6))
def _(g, x):
    yield g.pad(x, [0, 1, 2, 0, 0, 1])
    yield g.conv(g.pad(x, [0, 0, 2, 0, 0, 1]), 3, 2, kernel=(3,))


@case('upsample', 7, 9, image=(2, 3, 4))
def _(g, x):
    up = lambda scales, mode: g('Upsample', x, np.float32(scales), mode=mode) if g.opset >= 9 else g('Upsample', x, scales=scales, mode=mode)
    for mode in ('nearest', 'linear'):
        yield up([1.0, 1.0, 2.0, 3.0], mode)
        yield up([1.0, 1.0, 1.5, 1.25], mode)


@case('resize-10', 10, image=(2, 3, 4))
def _(g, x):
    for mode in ('nearest', 'linear'):
        yield g('Resize', x, np.float32([1, 1, 2, 2]), mode=mode)
        yield g('Resize', x, np.float32([1, 1, 1.7, 0.6 if mode == 'linear' else 1.3]), mode=mode)


@case('resize', 11, 18, image=(1, 3, 4))
def _(g, x):
    roi = np.zeros(0, np.float32) if g.opset < 13 else None
    none = np.zeros(0, np.float32) if g.opset < 13 else None  # an empty tensor stood for absent scales
    for place in ('half_pixel', 'pytorch_half_pixel', 'asymmetric', 'align_corners'):
        for scales in ([1, 1, 2, 2], [1, 1, 1.5, 2.5], [1, 1, 0.7, 0.5]):
            yield g('Resize', x, roi, np.float32(scales), mode='linear', coordinate_transformation_mode=place)
    for sizes in ([6, 8], [5, 7], [2, 3], [1, 1]):
        shape = g('Concat', g('Slice', g('Shape', x), [0], [2]), sizes, axis=0)
        for place in ('half_pixel', 'pytorch_half_pixel', 'asymmetric', 'align_corners')[:4 if sizes[0] > 1 else 1]:
            yield g('Resize', x, roi, none, shape, mode='linear', coordinate_transformation_mode=place)
        yield g('Resize', x, roi, none, shape, mode='nearest', coordinate_transformation_mode='asymmetric', nearest_mode='floor')
        yield g('Resize', x, roi, none, shape, mode='nearest')
    for scales in ([1, 1, 2, 3], [1, 1, 1.6, 0.7]):
        yield g('Resize', x, roi, np.float32(scales), mode='nearest', coordinate_transformation_mode='asymmetric', nearest_mode='floor')
        yield g('Resize', x, roi, np.float32(scales), mode='nearest')
    yield g('Resize', x, roi, np.float32([1, 1, 2, 3]), mode='nearest', coordinate_transformation_mode='half_pixel', nearest_mode='round_prefer_ceil')
    # As tf2onnx and PyTorch compute sizes.
    extent = g('Slice', g('Shape', x), [2], [4])
    double = g('Cast', g('Floor', g('Mul', g('Cast', extent, to=1), np.float32([2, 2]))), to=7)
    yield g('Resize', x, roi, none, g('Concat', g('Slice', g('Shape', x), [0], [2]), double, axis=0), mode='linear', coordinate_transformation_mode='pytorch_half_pixel')
    if g.opset >= 18:
        yield g('Resize', x, None, np.float32([2, 2]), axes=[2, 3], mode='linear')
        yield g('Resize', x, None, None, [6, 5], axes=[3, 2], mode='nearest')


# ---- What does nothing, and where numbers come from

@case('identities', 7, 12, 13)
def _(g, x):
    yield g('Identity', x)
    yield g('Relu', g('Identity', g('Identity', x)))
    yield g('Dropout', x, 0.3, np.array(False)) if g.opset >= 12 else g('Dropout', x, ratio=0.3)
    yield g('Dropout', g('Relu', x))
    yield g('Cast', g('Cast', x, to=11), to=1)
    yield g('Conv', x, g('Identity', g.random(2, 3, 1, 1)))


@case('constant-forms', 12, 13)
def _(g, x):
    yield g('Add', x, g('Constant', value=numpy_helper.from_array(g.random(3, 1, 1))))
    yield g('Mul', x, g('Constant', value_float=1.5))
    yield g('Add', g('Flatten', g('GlobalAveragePool', x)), g('Constant', value_floats=[0.1, 0.2, 0.3]))
    yield g('Reshape', x, g('Constant', value_ints=[0, -1]))
    yield g('Reshape', x, g('Concat', g.axes('Unsqueeze', g('Constant', value_int=0), [0]), g('Constant', value_ints=[12, 3]), axis=0))


@case('weight-types', 13)
def _(g, x):
    def typed(name, kind, values, dims):
        g.weights.append(helper.make_tensor(name, kind, dims, values))
        return name
    w = g.random(2, 3, 1, 1)
    yield g('Conv', x, typed('floats', TensorProto.FLOAT, w.ravel(), w.shape))
    for kind, dtype in ((TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64), (TensorProto.BFLOAT16, ml_dtypes.bfloat16)):
        yield g('Conv', x, g('Cast', g.tensor(g.random(2, 3, 1, 1).astype(dtype)), to=1))
        yield g('Conv', x, g('Cast', typed(f'typed{kind}', kind, g.random(2, 3, 1, 1).ravel().astype(dtype), w.shape), to=1))
    for kind, dtype in ((TensorProto.INT8, np.int8), (TensorProto.UINT8, np.uint8), (TensorProto.INT16, np.int16), (TensorProto.INT32, np.int32), (TensorProto.INT64, np.int64)):
        whole = g.rng.integers(0 if dtype == np.uint8 else -100, 100, (2, 3, 1, 1))
        for form in (g.tensor(whole.astype(dtype)), typed(f'whole{kind}', kind, whole.ravel().tolist(), w.shape)):
            yield g('Conv', x, g('Mul', g('Cast', form, to=1), 0.01))
    yield g('Mul', x, g('Cast', np.array([True, False, True]).reshape(3, 1, 1), to=1))


@case('weights-as-inputs', 7)
def _(g, x):
    y = g.conv(x, 3, 2)
    for t in g.weights:
        g.inputs.append(helper.make_tensor_value_info(t.name, t.data_type, t.dims))
    yield y


@case('nameless', 13)
def _(g, x):
    y = g('Relu', g.conv(x, 3, 2, name=''), name='')
    y = g('Add', g('Conv', y, g.random(2, 2, 1, 1), name=''), g.random(2, 1, 1), name='')
    yield g('MaxPool', y, kernel_shape=[2, 2], name='')


@case('names', 13)
def _(g, x):
    # Names that Vitrine's own file gives to other things.
    y = g('Relu', g.conv(x, 3, 3, name='input'), name='images')
    y = g('Clip', y, 0.0, 0.5, name='a')
    y = g('Add', y, g.random(3, 1, 1), name='a.low')
    yield g('Mul', y, g('Sigmoid', y, name='b.gate'), name='b')
    yield g('Relu', y, name='b.gate.weight')


# ---- What must be refused

def refused(folder):
    def save(name, build, opset=13, image=(3, 4, 3), change=None):
        g = Graph(name, opset, image, 'N')
        model = g.model(list(build(g, 'x')))
        if change:
            change(model)
        open(os.path.join(folder, name + '.onnx'), 'wb').write(model.SerializeToString())

    def several(g, x):
        yield g('LSTM', x, g.random(1, 4, 3), g.random(1, 4, 1), hidden_size=1, name='recurrent')
        yield g('Relu', g('Erf', x, name='error'))  # what hangs on a problem is none of its own
        yield g('NonZero', x, name='')
        yield g('Einsum', g('GRU', x, name='hidden'), equation='nchw->n', name='hidden-behind')
        yield g('MatMul', x, g('Transpose', x, perm=[0, 1, 3, 2]), name='attention')
        yield g('Conv', g('Unsqueeze', x, [2]), g.random(2, 3, 1, 1, 1), name='volume')
        yield g('Gather', x, [5], axis=1, name='outside')
        yield g('Where', x, x, x, name='choice')
        yield g('DepthToSpace', x, blocksize=2, name='blocks')
        yield g('Tile', x, [2, 1, 1, 1], name='batch-repeated')
        yield g('If', x, name='branch')
        yield g('Dropout', x, 0.5, np.array(True), name='training')
        yield g('BatchNormalization', x, g.random(3), g.random(3), g.random(3), abs(g.random(3)), training_mode=1, name='statistics')
        yield g('Add', x, g('Flatten', x), name='unequal')
        yield g('Mul', g('Flatten', g('GlobalAveragePool', x)), g('GlobalAveragePool', x), name='other-rank')
        yield g('Add', x, np.ones((1, 1, 1, 1, 1), np.float32), name='more-dimensions')
        yield g('Gemm', g('Flatten', x), g.random(36, 4), g.random(4, 1), name='column-bias')
        yield g('Concat', x, g('Flatten', x), axis=1, name='ranks')
        yield g('Reshape', x, [6, -1], name='mixes')
        yield g('Transpose', x, name='reversed')
        yield g('Pad', x, [0, 0, 1, 1, 0, 0, 1, 1], np.zeros(0, np.float32), name='no-value')
        yield g('Clip', x, np.zeros(2, np.float32), name='two-bounds')
        yield g('Conv', x, x, name='dynamic-weight')
        yield g('Conv', x, name='no-weight')
        yield g('Clip', name='no-input')
        yield g('Slice', x, [0], [3], [0], name='batch-slice')
        yield g('Split', x, [1, 2 ** 62, 2 ** 62], axis=1, out=3, name='long-split')[0]
        yield g('Slice', x, [0], [2 ** 63 - 1], [2], [0], name='no-step')
        yield g('ReduceMean', x, axes=[0, 1], name='over-batch')
        yield g('MaxPool', x, kernel_shape=[2 ** 40, 1], name='huge-kernel')
        pooled = g('GlobalAveragePool', x)
        yield g('Mul', g('Expand', pooled, [1, 3, 4, 3]), pooled, name='both-small')
    save('several', several)

    def spatial(g, x):
        yield g('BatchNormalization', x, g.random(3), g.random(3), g.random(3), abs(g.random(3)), spatial=0, name='each-place')
        yield g('BatchNormalization', x, g.random(3), g.random(3), g.random(3), abs(g.random(3)), out=5, name='outputs')[0]
    save('batch-norm-7', spatial, opset=7)

    # Constants that grow: 64 elements doubled again and again, and a shape that is far too large.
    def growing(g, x):
        c = g.random(64)
        for _ in range(50):
            c = g('Concat', c, c, axis=0)
        yield g('Add', x, c)
    save('growing', growing)
    save('large', lambda g, x: [g('Add', x, g('ConstantOfShape', [2 ** 30], name='fill'))])
    save('large-scale', lambda g, x: [g('Mul', g('Flatten', x), 2.0)], image=(1024, 1024, 1024))
    save('large-pads', lambda g, x: [g('Pad', g('Pad', x, [0, 0, 2 ** 27, 2 ** 27, 0, 0, 0, 0]), [0, 2 ** 27, 0, 0, 0, 0, 0, 0])])
    save('no-elements', lambda g, x: [g('Conv', x, np.zeros((0, 3, 1, 1), np.float32), name='empty')])
    # Constants that would have fewer elements than their shapes say.
    def product(g, x, part):
        return [g('Gemm', g('Flatten', x), g('Concat', g.random(2, 5), part, axis=0, name='rows'))]
    save('parts-unequal', lambda g, x: product(g, x, g.random(2, 3)), image=(1, 2, 2))
    save('gather-by-floats', lambda g, x: product(g, x, g('Gather', g.random(4, 5), np.float32([0, 1]), name='picked')), image=(1, 2, 2))
    save('large-windows', lambda g, x: [g('MaxPool', x, kernel_shape=[2 ** 15, 1], dilations=[2 ** 27, 1], pads=[2 ** 27, 0, 2 ** 27, 0])])

    def node(model, name):
        return next(n for n in model.graph.node if n.name == name)

    def linear(g, x):
        yield g('Gemm', g('Flatten', x, name='flat'), g.tensor(g.random(12, 4), 'w'), name='fc')

    def changed(name, change, build=linear, image=(3, 2, 2)):
        save(name, build, change=change, image=image)

    def with_weight(f):
        return lambda m: f(m.graph.initializer[0])

    def dims(*d):
        def f(t):
            del t.dims[:]
            t.dims.extend(d)
        return with_weight(f)

    changed('cycle', lambda m: node(m, 'flat').input.__setitem__(0, 'y'))
    changed('twice-made', lambda m: node(m, 'fc').output.__setitem__(0, node(m, 'flat').output[0]))
    changed('twice-stored', lambda m: m.graph.initializer.append(m.graph.initializer[0]))
    changed('dims-huge', dims(2 ** 62, 4))
    changed('dims-many', dims(*[2 ** 20] * 9))
    changed('dims-overflow', dims(*[4000] * 7))
    changed('dims-negative', dims(-1, 4))
    changed('dims-other', dims(12, 5))
    changed('type', with_weight(lambda t: setattr(t, 'data_type', TensorProto.STRING)))
    changed('infinite', with_weight(lambda t: setattr(t, 'raw_data', np.full((12, 4), np.inf, np.float32).tobytes())))
    changed('opset-5', lambda m: setattr(m.opset_import[0], 'version', 5))
    changed('opset-absent', lambda m: m.ClearField('opset_import'))
    changed('no-output', lambda m: m.graph.ClearField('output'))
    changed('output-unmade', lambda m: setattr(m.graph.output[0], 'name', 'nowhere'))
    changed('output-input', lambda m: setattr(m.graph.output[0], 'name', 'x'), image=(3,))
    changed('dynamic-size', lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].ClearField('dim_value'))
    changed('no-outputs-of-node', lambda m: node(m, 'fc').ClearField('output'))
    changed('nul-name', lambda m: (setattr(node(m, 'fc'), 'name', 'fc\0a')))

    def external(**entries):
        def f(t):
            t.ClearField('raw_data')
            t.data_location = TensorProto.EXTERNAL
            for key, value in entries.items():
                t.external_data.add(key=key, value=value)
        return with_weight(f)

    # tests/io/onnx.cpp copies these beside weights.bin, which it writes.
    for name, location in (('external', 'weights.bin'), ('external-absolute', '/etc/passwd'), ('external-parent', '../weights.bin'),
                           ('external-inside-parent', 'a/../../weights.bin'), ('external-link', 'link.bin'), ('external-missing', 'missing.bin'),
                           ('external-folder', '.')):
        changed(name, external(location=location))
    changed('external-offset', external(location='weights.bin', offset='64', length='192'))
    changed('external-late', external(location='weights.bin', offset='9999999999999'))
    changed('external-length', external(location='weights.bin', length='191'))
    changed('external-text', external(location='weights.bin', offset='a'))

    # Messages inside messages: deeper than anything that is read.
    inner = b''
    for _ in range(2000):
        size = len(inner) + 1 + (1 if len(inner) < 128 else 2 if len(inner) < 16384 else 3)
        def varint(v):
            out = b''
            while v > 127:
                out, v = out + bytes([v & 127 | 128]), v >> 7
            return out + bytes([v])
        attribute = b'\x32' + varint(len(inner)) + inner          # AttributeProto.g
        graph_node = b'\x2a' + varint(len(attribute)) + attribute  # NodeProto.attribute
        inner = b'\x0a' + varint(len(graph_node)) + graph_node     # GraphProto.node
    open(os.path.join(folder, 'deep.onnx'), 'wb').write(b'\x08\x08\x3a' + varint(len(inner)) + inner)


def main(folder):
    os.makedirs(os.path.join(folder, 'refused'), exist_ok=True)
    tensors = {}
    for name, (build, opset, image, batch) in CASES.items():
        g = Graph(name, opset, image, batch)
        model = g.model(list(build(g, 'x')))
        data = model.SerializeToString()
        x = (g.rng.standard_normal((2, *image)) * 2).astype(np.float32)
        parts = [x] if batch == 'N' else [x[:1], x[1:]]
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            session = onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])
            y = np.concatenate([session.run(None, {'x': p})[0] for p in parts])
        except Exception as e:
            print(f'{name}: by the reference implementation, as onnxruntime says: {str(e)[:160]}')
            # Its LRN visits as many channels as there are images, so they are repeated.
            many = [np.concatenate([p] * 3) if batch == 'N' else p for p in parts]
            y = np.concatenate([ReferenceEvaluator(model).run(None, {'x': p})[0] for p in many])[:2]
        assert np.isfinite(y).all(), name
        tensors[name + '.input'], tensors[name + '.output'] = x, y.astype(np.float32)
        open(os.path.join(folder, name + '.onnx'), 'wb').write(data)
    save_file(tensors, os.path.join(folder, 'cases.safetensors'))
    refused(os.path.join(folder, 'refused'))
    print(len(CASES), 'cases')


if __name__ == '__main__':
    main(sys.argv[1])
