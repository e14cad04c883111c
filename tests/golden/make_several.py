#!/usr/bin/env python3
"""Makes the ONNX files with several inputs or outputs, dense outputs and single logits that tests/io/onnx.cpp imports.

Expected outputs are onnxruntime's. OUT/ gets NAME.onnx and cases.safetensors with NAME/in/INPUT and NAME/out/OUTPUT as the
file has them, and refused-NAME.onnx. Needs onnx, onnxruntime, safetensors:

    python3 make_several.py tests/golden/several
"""
import os
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class File:
    def __init__(self):
        self.rng = np.random.default_rng(5)
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def random(self, *shape):
        return (self.rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5).astype(np.float32)

    def tensor(self, value, name=None):
        name = name or f'c{len(self.weights)}'
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def input(self, name, *dims, type=FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, type, ['N', *dims]))
        return name

    def output(self, name, *dims, type=FLOAT):
        self.outputs.append(helper.make_tensor_value_info(name, type, ['N', *dims]))

    def __call__(self, op, *inputs, out, **attributes):
        inputs = [i if isinstance(i, str) else self.tensor(i) for i in inputs]
        self.nodes.append(helper.make_node(op, inputs, [out], name=f'{op}_{len(self.nodes)}', **attributes))
        return out

    def model(self):
        graph = helper.make_graph(self.nodes, 'several', self.inputs, self.outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8, producer_name='')


def two_by_two(f):
    """An image gated by what is made of a vector; an input that nobody reads, a weight listed as an input; an output of
    whole numbers, and one that is another's copy."""
    image, side = f.input('image', 2, 6, 5), f.input('side.values', 3)
    f.input('extra', 2)
    w = f.tensor(f.random(4, 2, 3, 3), 'w')
    f.inputs.append(helper.make_tensor_value_info('w', FLOAT, [4, 2, 3, 3]))
    h = f('Relu', f('Conv', image, w, out='h0', pads=[1, 1, 1, 1]), out='h1')
    gate = f('Sigmoid', f('Gemm', side, f.random(3, 4), out='g0'), out='g1')
    gate = f('Unsqueeze', gate, np.array([2, 3]), out='g2')
    h = f('Flatten', f('MaxPool', f('Mul', h, gate, out='h2'), out='h3', kernel_shape=[2, 2], strides=[2, 2]), out='h4')
    f('Relu', f('Gemm', f('Concat', h, side, out='h5', axis=1), f.random(27, 5), f.random(5), out='h6'), out='code')
    f('Gemm', 'code', f.random(5, 4), f.random(4), out='scores')
    f('Identity', 'scores', out='copy')
    f('ArgMax', 'scores', out='label', axis=1)
    f.output('scores', 4), f.output('label', 1, type=INT64), f.output('code', 5), f.output('copy', 4)


def unet(f):
    x = f.input('x', 2, 8, 6)
    wide = f('Relu', f('Conv', x, f.random(4, 2, 3, 3), out='a', pads=[1, 1, 1, 1]), out='b')
    h = f('MaxPool', wide, out='c', kernel_shape=[2, 2], strides=[2, 2])
    h = f('ConvTranspose', f('Relu', h, out='d'), f.random(4, 3, 2, 2), out='e', strides=[2, 2])
    f('Conv', f('Concat', h, wide, out='g', axis=1), f.random(3, 7, 1, 1), f.random(3), out='map')
    f.output('map', 3, 8, 6)


def one_logit(f):
    """(N,1), and its probability as (N)."""
    x = f.input('x', 2, 4, 4)
    f('Gemm', f('Flatten', f('Relu', x, out='a'), out='b'), f.random(32, 1), f.random(1), out='logit')
    f('Sigmoid', f('Squeeze', 'logit', np.array([1]), out='c'), out='probability')
    f.output('probability'), f.output('logit', 1)


def sequence(f):
    """A place's numbers along a length: (N,K,L)."""
    x = f.input('x', 2, 9)
    f('Conv', f('Relu', f('Conv', x, f.random(4, 2, 3), out='a', pads=[1, 1]), out='b'), f.random(3, 4, 1), out='steps')
    f.output('steps', 3, 9)


def channels_last(f):
    """As tf2onnx writes segmentation: outputs are turned back, one of them before its activation."""
    x = f('Transpose', f.input('x', 4, 5, 2), out='a', perm=[0, 3, 1, 2])
    f('Transpose', f('Conv', x, f.random(3, 2, 3, 3), out='b', pads=[1, 1, 1, 1]), out='map', perm=[0, 2, 3, 1])
    f('Sigmoid', f('Transpose', f('Conv', x, f.random(2, 2, 1, 1), out='d'), out='e', perm=[0, 2, 3, 1]), out='mask')
    f.output('map', 4, 5, 3), f.output('mask', 4, 5, 2)


def two_channels_last(f):
    """Two images: what is made of the second is read as it is, and turned."""
    x = f('Transpose', f.input('x', 4, 5, 2), out='a', perm=[0, 3, 1, 2])
    y = f.input('y', 4, 5, 3)
    z = f('Conv', f('Transpose', y, out='b', perm=[0, 3, 1, 2]), f.random(2, 3, 1, 1), out='c')
    h = f('Mul', f('Conv', x, f.random(2, 2, 3, 3), out='d', pads=[1, 1, 1, 1]), z, out='e')
    f('Transpose', f('Relu', h, out='f'), out='map', perm=[0, 2, 3, 1])
    f('Relu', y, out='kept')
    f.output('map', 4, 5, 2), f.output('kept', 4, 5, 3)


def labels(f):
    f('ArgMax', f('Flatten', f.input('x', 2, 2, 2), out='a'), out='label', axis=1)
    f.output('label', 1, type=INT64)


def batches(f):
    f('Add', f.input('x', 2), f.input('y', 2), out='z')
    for k in range(2):
        f.inputs[k].type.tensor_type.shape.dim[0].dim_value = k + 1
    f.output('z', 2)


def dynamic(f):
    f('Add', f.input('x', 2), f.input('y', 'K'), out='z')
    f.output('z', 2)


def twice(f):
    f('Relu', f.input('x', 2), out='z')
    f.input('x', 2)
    f.output('z', 2)


def five(f):
    f('Reshape', f('Relu', f.input('x', 4, 2, 2), out='a'), np.array([0, 2, 2, 2, 2]), out='z')
    f.output('z', 2, 2, 2, 2)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for build in (two_by_two, unet, one_logit, sequence, channels_last, two_channels_last):
        f = File()
        build(f)
        name, model = build.__name__, f.model().SerializeToString()
        open(os.path.join(folder, name + '.onnx'), 'wb').write(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])
        given = {i.name: f.rng.standard_normal((3, *i.shape[1:])).astype(np.float32) for i in session.get_inputs()}
        for out, y in zip(session.get_outputs(), session.run(None, given)):
            if y.dtype == np.float32:
                tensors[f'{name}/out/{out.name}'] = np.ascontiguousarray(y)
        tensors.update({f'{name}/in/{key}': x for key, x in given.items()})
    save_file(tensors, os.path.join(folder, 'cases.safetensors'))
    for build in (labels, batches, dynamic, twice, five):
        f = File()
        build(f)
        open(os.path.join(folder, f'refused-{build.__name__}.onnx'), 'wb').write(f.model().SerializeToString())


if __name__ == '__main__':
    main(sys.argv[1])
