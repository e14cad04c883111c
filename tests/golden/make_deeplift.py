#!/usr/bin/env python3
"""Makes tests/golden/maps/reveal: contributions by the DeepLIFT authors' own code (kundajelab/deeplift 0.6.13 or newer with
TensorFlow 2): Rescale, RevealCancel everywhere, and the genomics default (Rescale after convolutions, RevealCancel after
dense layers). float32, as that code computes. Run: python3 make_deeplift.py tests/golden/maps
"""
import json
import os
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import numpy as np
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
sys.modules['tensorflow'] = tf  # the code was written for TensorFlow 1
from deeplift import layers as L
from deeplift.layers import ConvMxtsMode, DenseMxtsMode, NonlinearMxtsMode, PoolMode
from deeplift.models import GraphModel
from safetensors.numpy import save_file

MODES = {'rescale': (NonlinearMxtsMode.Rescale,) * 2, 'reveal-cancel': (NonlinearMxtsMode.RevealCancel,) * 2,
         'genomics-default': (NonlinearMxtsMode.Rescale, NonlinearMxtsMode.RevealCancel)}


def main(folder):
    path = os.path.join(folder, 'reveal')
    os.makedirs(path, exist_ok=True)
    rng = np.random.default_rng(7)
    w = {'conv1': rng.normal(0, .3, (6, 2, 3, 3)), 'conv2': rng.normal(0, .2, (8, 6, 3, 3)), 'fc1': rng.normal(0, .2, (10, 128)), 'fc2': rng.normal(0, .4, (4, 10))}
    w = {k: v.astype('f4') for k, v in w.items()}
    b = {k: rng.normal(0, .1, v.shape[0]).astype('f4') for k, v in w.items()}
    conv = dict(stride_h=1, stride_w=1, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0, dilation_h=1, dilation_w=1, groups=1, bias=True, kernel_h=3, kernel_w=3)
    pool = dict(kernel_h=2, kernel_w=2, stride_h=2, stride_w=2, pad_top=0, pad_left=0, pad_bottom=0, pad_right=0, dilation_h=1, dilation_w=1, ceil_mode=False, count_padding=True)

    def node(name, op, x, attributes):
        parameters = [f'{name}.weight', f'{name}.bias'] if name in w else []
        return dict(name=name, op=op, **{'in': [x]}, parameters=parameters, attributes=attributes)
    nodes = [node('conv1', 'conv2d', 'input', dict(conv, out=6)), node('relu1', 'relu', 'conv1', {}), node('pool1', 'avg_pool', 'relu1', pool),
             node('conv2', 'conv2d', 'pool1', dict(conv, out=8)), node('relu2', 'relu', 'conv2', {}), node('flatten', 'flatten', 'relu2', {}),
             node('fc1', 'linear', 'flatten', dict(out=10, bias=True)), node('relu3', 'relu', 'fc1', {}), node('fc2', 'linear', 'relu3', dict(out=4, bias=True))]
    graph = dict(format='vitrine/1', architecture='reveal', input=[2, 14, 14], output='fc2', nodes=nodes, preparation=dict(mean=[], std=[]), classes=[], notes={})
    tensors = {}
    for k in w:
        tensors[k + '.weight'], tensors[k + '.bias'] = w[k], b[k]
    save_file(tensors, os.path.join(path, 'model.safetensors'), metadata={'vitrine': json.dumps(graph)})

    x = rng.normal(0, 1, (3, 2, 14, 14)).astype('f4')
    other = (np.roll(x, 1, 0) * 0.5).astype('f4')
    last = lambda v: v.transpose(0, 2, 3, 1)
    # The flattened order is (channel, row, column) here and (row, column, channel) there.
    fc1 = w['fc1'].reshape(10, 8, 4, 4).transpose(2, 3, 1, 0).reshape(128, 10)
    index, stack, target = [], [], 2
    for name, (after_conv, after_dense) in MODES.items():
        chain = [L.Input(batch_shape=(None, 14, 14, 2), name='input')]

        def append(layer):
            layer.set_inputs(chain[-1])
            chain.append(layer)
        c = lambda k: L.Conv2D(kernel=w[k].transpose(2, 3, 1, 0), bias=b[k], strides=(1, 1), padding='VALID', data_format='channels_last', conv_mxts_mode=ConvMxtsMode.Linear, name=k)
        d = lambda k, kernel: L.Dense(kernel=kernel, bias=b[k], dense_mxts_mode=DenseMxtsMode.Linear, name=k)
        append(c('conv1'))
        append(L.ReLU(nonlinear_mxts_mode=after_conv, name='relu1'))
        append(L.AvgPool2D(pool_size=(2, 2), strides=(2, 2), padding='VALID', data_format='channels_last', name='pool1'))
        append(c('conv2'))
        append(L.ReLU(nonlinear_mxts_mode=after_conv, name='relu2'))
        append(L.Flatten(name='flatten'))
        append(d('fc1', fc1))
        append(L.ReLU(nonlinear_mxts_mode=after_dense, name='relu3'))
        append(d('fc2', w['fc2'].T))
        chain[-1].build_fwd_pass_vars()
        model = GraphModel(name_to_layer={layer.name: layer for layer in chain}, input_layer_names=['input'])
        contribs = model.get_target_contribs_func(find_scores_layer_name='input', pre_activation_target_layer_name='fc2')
        for base, extra in ((np.zeros_like(x), {}), (other, {'baseline': 'other.npy'})):
            r = np.array(contribs(task_idx=target, input_data_list=[last(x)], input_references_list=[last(base)], batch_size=3, progress_update=None))
            index.append(dict(method='deeplift', settings={'rule': name}, **extra))
            stack.append(r.transpose(0, 3, 1, 2).astype('f4'))
    h = x
    def conv2d(v, k):
        windows = np.lib.stride_tricks.sliding_window_view(v, (3, 3), (2, 3))
        return np.einsum('nchwij,ocij->nohw', windows, w[k]) + b[k][:, None, None]
    h = np.maximum(conv2d(h, 'conv1'), 0).reshape(3, 6, 6, 2, 6, 2).mean((3, 5))
    h = np.maximum(conv2d(h, 'conv2'), 0).reshape(3, -1)
    logits = np.maximum(h @ w['fc1'].T + b['fc1'], 0) @ w['fc2'].T + b['fc2']
    np.save(os.path.join(path, 'input.npy'), x)
    np.save(os.path.join(path, 'other.npy'), other)
    np.save(os.path.join(path, 'logits.npy'), logits.astype('f4'))
    np.save(os.path.join(path, 'maps.npy'), np.stack(stack))
    json.dump(dict(targets=[target] * 3, maps=index), open(os.path.join(path, 'index.json'), 'w'), indent=1)
    print('reveal', len(index), 'maps')


if __name__ == '__main__':
    main(sys.argv[1])
