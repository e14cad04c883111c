#!/usr/bin/env python3
"""Asks two builds of the program the same questions, and holds every answer of one against the other's, bit for bit.

    tests/compare/same_bits.py OLD NEW [--folder DIR] [--isa ref,avx2,avx512] [--device cpu] [--images N]

OLD and NEW are two `vitrine` programs. NEW trains small networks on built-in data (once; they stay in the folder); then
every method with its settings explains a few images on every network, and predictions, evaluations and reports are made.
Prints what differs and ends with a count; the exit status is 1 if anything does.
"""
import argparse
import json
import os
import subprocess
import sys

NETWORKS = {
    'cnn6': ['train', 'cnn6', '--data', 'partshapes:code9,train=400,test=60', '--epochs', '1', '--optimizer', 'adamw'],
    'resnet20': ['train', 'resnet20', '--data', 'partshapes:code9,size=32,train=200,test=40', '--epochs', '1'],
    'lenet5': ['train', 'lenet5', '--data', 'relations:order,train=200,test=40', '--epochs', '1'],
    'densenet-bc-100': ['train', 'densenet-bc-100', '--data', 'partshapes:code9,size=32,train=16,test=16', '--epochs', '1', '--batch', '8'],
}
METHODS = [
    ('gradient',), ('input-x-gradient',), ('guided-backprop',), ('deconvnet',), ('grad-cam',), ('guided-grad-cam',),
    ('integrated-gradients', 'steps=7'), ('integrated-gradients', 'steps=4', 'quadrature=trapezoid'),
    ('smoothgrad', 'samples=5'), ('smoothgrad', 'samples=4', 'of=lrp', 'statistic=square'),
    ('occlusion', 'window=8', 'stride=8'), ('occlusion', 'window=8', 'stride=8', 'recompute=all', 'fill=0.3'),
    ('deeplift',), ('deeplift', 'rule=reveal-cancel'),
] + [('lrp', 'composite=' + c) for c in (
    'epsilon-plus', 'epsilon-plus-flat', 'epsilon-gamma-box', 'epsilon-alpha2-beta1', 'epsilon-alpha2-beta1-flat',
    'excitation-backprop', 'uniform-zero', 'uniform-epsilon', 'uniform-gamma', 'uniform-alpha-beta', 'uniform-z-plus',
    'uniform-z-box', 'uniform-w-square', 'uniform-flat')] + [('lrp', 'bias=shared'), ('lrp', 'batch-norm=keep')]


def run(program, arguments, isa):
    done = subprocess.run([program] + arguments, capture_output=True, env={**os.environ, 'VITRINE_ISA': isa})
    return done.returncode, done.stdout, done.stderr


def prepare(new, folder, images):
    os.makedirs(folder, exist_ok=True)
    for name, command in NETWORKS.items():
        model = os.path.join(folder, name + '.safetensors')
        if not os.path.exists(model):
            subprocess.run([new] + command + ['--out', model], check=True, capture_output=True)
        spec = command[command.index('--data') + 1]
        pictures = os.path.join(folder, name + '-pictures')
        if not os.path.isdir(pictures):
            subprocess.run([new, 'data', spec, '--out', pictures, '--pictures', str(images)], check=True, capture_output=True)
    filters = os.path.join(folder, 'filters.safetensors')
    if not os.path.exists(filters):
        subprocess.run([new, 'train', 'vgg-mini', '--data', 'partshapes:kind3,train=300,test=60', '--epochs', '1', '--interpretable', 'relu6',
                        '--out', filters], check=True, capture_output=True)
    rules, renn = os.path.join(folder, 'order.rules'), os.path.join(folder, 'renn.safetensors')
    if not os.path.exists(renn):
        with open(rules, 'w') as f:
            f.write('pattern disk\npattern square\nrule order: disk if exists square right_of\n')
        subprocess.run([new, 'train', 'renn', '--rules', rules, '--data', 'relations:order,train=200,test=60', '--epochs', '1',
                        '--local-epochs', '1', '--out', renn], check=True, capture_output=True)


def questions(folder, device):
    """Name, arguments; {out} stands for a file of relevance."""
    for name, command in NETWORKS.items():
        model, pictures = (os.path.join(folder, name + end) for end in ('.safetensors', '-pictures'))
        spec = command[command.index('--data') + 1]
        yield f'{name} predict', ['predict', model, '--input', pictures, '--output', '{out}', '--device', device]
        yield f'{name} eval', ['eval', model, '--data', spec, '--device', device]
        for method, *settings in METHODS:
            base = ['explain', model, '--input', pictures, '--method', method, '--output', '{out}', '--device', device]
            for s in settings:
                base += ['--set', s]
            yield f'{name} {method} {" ".join(settings)}', base
            if method in ('deeplift', 'integrated-gradients'):
                yield f'{name} {method} {" ".join(settings)} blur', base + ['--baseline', 'blur', '--target', '1']
    yield 'filters', ['filters', os.path.join(folder, 'filters.safetensors'), '--data', 'partshapes:kind3,train=300,test=60', '--json',
                      '--device', device]
    yield 'renn', ['renn', os.path.join(folder, 'renn.safetensors'), '--data', 'relations:order,train=200,test=60', '--input',
                   os.path.join(folder, 'lenet5-pictures'), '--json', '--device', device]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('old')
    parser.add_argument('new')
    parser.add_argument('--folder', default='/tmp/vitrine-same-bits')
    parser.add_argument('--isa', default='ref,avx2,avx512')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--images', type=int, default=5)
    parser.add_argument('--only', default='')
    o = parser.parse_args()
    prepare(o.new, o.folder, o.images)
    asked = different = 0
    for isa in o.isa.split(','):
        for name, arguments in questions(o.folder, o.device):
            if o.only not in name:
                continue
            answers = []
            for k, program in enumerate((o.old, o.new)):
                out = os.path.join(o.folder, f'out{k}.npy')
                if os.path.exists(out):
                    os.remove(out)
                code, said, error = run(program, [a.replace('{out}', out) for a in arguments], isa)
                answers.append((code, said.replace(out.encode(), b''), error if code else b'',
                                open(out, 'rb').read() if os.path.exists(out) else b''))
            asked += 1
            if answers[0] != answers[1]:
                different += 1
                parts = [p for p, a, b in zip(('status', 'output', 'error', 'relevance'), *answers) if a != b]
                print(f'{isa} {name}: {", ".join(parts)} differ')
                for a in answers:
                    print('   ', a[0], (a[2] or a[1])[-160:])
    print(f'{asked} questions, {different} answered differently')
    sys.exit(different > 0)


if __name__ == '__main__':
    main()
