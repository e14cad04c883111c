#!/usr/bin/env python3
"""The program on a device against the program on the CPU: LeNet trained for 20 steps, explained by every rule and method; networks
with the other ops; what it says where there is no device. Standard library only.

    device.py PROGRAM SOURCE_ROOT MODULE [--short] [--device cuda:N] [--cudnn DOUBLE]

MODULE is the back end's file (VITRINE_CUDA_LIBRARY), or `installed` for the one that the program finds. The environment goes
on to the program, so a stand-in for libcudart is chosen by LD_LIBRARY_PATH. --short: fewer and smaller cases, for interpreters.
--cudnn: the test double of cuDNN (cudnn_double.cpp), which must be called, and must get all its descriptors back.
Everything must agree within 1e-4 of the largest value: sums run in other orders on a device.
"""
import concurrent.futures
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

options = sys.argv[4:]
PROGRAM, ROOT, MODULE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3]
SHORT = '--short' in options
DEVICE = options[options.index('--device') + 1] if '--device' in options else 'cuda'
ENVIRONMENT = dict(os.environ)
CUDNN = os.path.abspath(options[options.index('--cudnn') + 1]) if '--cudnn' in options else None
if CUDNN:
    ENVIRONMENT.update(VITRINE_CUDNN_LIBRARY=CUDNN, VITRINE_CUDNN_DOUBLE_REPORT='1')
if MODULE != 'installed':
    ENVIRONMENT['VITRINE_CUDA_LIBRARY'] = os.path.abspath(MODULE)
GOLDEN = ROOT + '/tests/golden/'
BOUND = 1e-4
passed = failed = 0
worst = (0.0, '')


def run(*args, environment=None):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=500, env=environment or ENVIRONMENT)


def check(condition, what):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print('FAILED:', what, flush=True)


def write_npy(path, shape, kind, values):
    header = str({'descr': kind, 'fortran_order': False, 'shape': tuple(shape)})
    header += ' ' * (63 - (10 + len(header)) % 64) + '\n'
    with open(path, 'wb') as f:
        f.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + struct.pack(f"<{len(values)}{'f' if kind == '<f4' else 'q'}", *values))


def read_npy(path):
    data = open(path, 'rb').read()
    size = struct.unpack('<H', data[8:10])[0]
    return eval(data[10:10 + size])['shape'], struct.unpack(f'<{(len(data) - 10 - size) // 4}f', data[10 + size:])


def read_tensors(path):
    data = open(path, 'rb').read()
    size = struct.unpack('<Q', data[:8])[0]
    out = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != '__metadata__':
            first, last = entry['data_offsets']
            out[name] = struct.unpack(f'<{(last - first) // 4}f', data[8 + size + first:8 + size + last])
    return out


def compare(what, got, want, bound=BOUND, least=0.0):
    global worst
    check(len(got) == len(want), f'{what}: {len(got)} values, expected {len(want)}')
    largest = max(least, *map(abs, want))
    difference = max(abs(a - b) if a == a else float('inf') for a, b in zip(got, want)) / largest if largest > 0 else max(map(abs, got))
    worst = max(worst, (difference, what))
    check(largest > 0, f'{what}: is all zero, which says nothing')
    check(difference <= bound, f'{what}: differs by {difference:.3g} of the largest value, allowed are {bound:g}')


def on_both(what, *args, name=''):
    """One explanation, prediction, on the CPU and on the device."""
    outputs = []
    for device in ('cpu', DEVICE):
        path = f'{name or what}.{device}.npy'.replace('/', '_').replace(' ', '_').replace(':', '_')
        r = run(*args, '--output', path, '--device', device)
        if r.returncode != 0:
            return what, f'on {device}: exit status {r.returncode}: {r.stderr.strip()}', None
        outputs.append(read_npy(path)[1])
    return what, outputs[1], outputs[0]


def compare_all(cases):
    # Two at a time: processes of their own.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for what, got, want in pool.map(lambda c: on_both(*c), cases):
            if want is None:
                check(False, f'{what}: {got}')
            else:
                compare(what, got, want)


def first_images(path, n, to):
    shape, values = read_npy(path)
    each = len(values) // shape[0]
    write_npy(to, (n, *shape[1:]), '<f4', values[:n * each])
    return to


def pictures(count, shape, classes, seed):
    """Noise with a bright square whose place is the class."""
    rng = random.Random(seed)
    c, h, w = shape
    x, y = [], []
    for i in range(count):
        label = i % classes
        image = [rng.gauss(0, 0.3) for _ in range(c * h * w)]
        top, left = label // 5 * (h // 2 - 2) + 2, label % 5 * (w // 6)
        for k in range(c):
            for row in range(top, top + h // 3):
                for column in range(left, left + w // 5):
                    image[(k * h + row) * w + column] += 1
        x += image
        y.append(label)
    return x, y


def trained(architecture, shape, images, *args, bound=BOUND, classes=10):
    """Trains on both; every tensor must agree. The model trained on the CPU."""
    x, y = pictures(images, shape, classes, 1)
    write_npy('X.npy', (images, *shape), '<f4', x)
    write_npy('Y.npy', (images,), '<i8', y)
    files = []
    for device in ('cpu', DEVICE):
        files.append(f'{architecture}.{device}.safetensors'.replace(':', '_'))
        r = run('train', architecture, '--data', 'npy:X.npy,Y.npy', '--out', files[-1], '--device', device, *args)
        check(r.returncode == 0, f'train {architecture} on {device}: exit status {r.returncode}: {r.stderr.strip()}')
        if r.returncode != 0:
            return None
        check(not os.path.exists(files[-1] + '.state'), f'train {architecture} on {device}: left its state')
    want, got = map(read_tensors, files)
    check(want.keys() == got.keys(), f'train {architecture}: other tensors')
    # The bias of a convolution before a batch norm has no gradient but roundoff: nothing counts below 1e-4 of the weights.
    least = 1e-4 * max(max(map(abs, v)) for v in want.values())
    for name in want:
        compare(f'train {architecture}: {name}', got[name], want[name], bound, least)
    return files[0]


def lenet():
    # Of every ten images of a class one is kept for testing: 160 make ten steps an epoch.
    if SHORT:
        model = trained('lenet5', (1, 28, 28), 20, '--epochs', '1', '--batch', '8', '--lr', '0.01', classes=2)
    else:
        model = trained('lenet5', (1, 28, 28), 160, '--epochs', '2', '--batch', '15', '--lr', '0.01')
    if model is None:
        return
    if not SHORT:
        trained('lenet5', (1, 28, 28), 40, '--epochs', '1', '--batch', '12', '--optimizer', 'adamw', '--ema', '0.9', bound=2e-3, classes=3)
    model = GOLDEN + 'maps/lenet/model.safetensors'
    one = first_images(GOLDEN + 'maps/lenet/input.npy', 1 if SHORT else 2, 'one.npy')
    explain = lambda what, *args: (what, 'explain', model, '--input', one, *args)
    lrp = lambda what, *args: explain('lrp ' + what, '--method', 'lrp', *args)
    composites = ['epsilon-plus', 'epsilon-plus-flat', 'epsilon-gamma-box', 'epsilon-alpha2-beta1', 'epsilon-alpha2-beta1-flat', 'excitation-backprop', 'uniform-zero', 'uniform-epsilon',
                  'uniform-gamma', 'uniform-alpha-beta', 'uniform-z-plus', 'uniform-z-box', 'uniform-w-square', 'uniform-flat']
    if SHORT:
        composites = ['epsilon-gamma-box', 'epsilon-alpha2-beta1-flat', 'uniform-w-square']
    cases = [('predict', 'predict', model, '--input', one)]
    cases += [lrp(c, '--set', 'composite=' + c, *(['--set', 'epsilon=0.1'] if 'zero' not in c else [])) for c in composites]
    cases += [lrp('bias ' + b, '--set', 'bias=' + b) for b in (['shared'] if SHORT else ['dropped', 'shared'])]
    cases += [explain(m, '--method', m) for m in (['gradient', 'guided-backprop', 'grad-cam', 'deeplift'] if SHORT else
                                                  ['gradient', 'input-x-gradient', 'guided-backprop', 'deconvnet', 'grad-cam', 'guided-grad-cam', 'deeplift'])]
    cases += [explain('deeplift reveal-cancel', '--method', 'deeplift', '--set', 'rule=reveal-cancel', '--baseline', 'mean')]
    if not SHORT:
        cases += [lrp('clip', '--set', 'stabilise=clip'), lrp('norm', '--rule', 'conv*=norm', '--rule', 'relu*=pass'), lrp('rules', '--rule', 'conv1=z-box', '--rule', 'fc*=epsilon:epsilon=0.1'),
                  explain('deeplift genomics-default', '--method', 'deeplift', '--set', 'rule=genomics-default', '--baseline', 'blur'),
                  explain('integrated-gradients', '--method', 'integrated-gradients', '--set', 'steps=4'),
                  explain('smoothgrad', '--method', 'smoothgrad', '--set', 'samples=2', '--set', 'of=lrp'),
                  explain('occlusion', '--method', 'occlusion', '--set', 'window=14', '--set', 'stride=7')]
    compare_all(cases)
    ledgers = []
    for device in ('cpu', DEVICE):
        r = run('explain', model, '--input', one, '--method', 'lrp', '--set', 'composite=epsilon-gamma-box', '--ledger', 'ledger.json', '--output', 'r.npy', '--device', device)
        check(r.returncode == 0, f'ledger on {device}: {r.stderr.strip()}')
        ledgers.append(json.load(open('ledger.json'))['nodes'] if r.returncode == 0 else [])
    for want, got in zip(*ledgers):
        for key in ('out', 'in'):
            compare(f"ledger of {want['node']}", [got[key]['sum'], got[key]['abs_sum']], [want[key]['sum'], want[key]['abs_sum']])


def other_ops():
    networks = GOLDEN + 'networks/'
    methods = [('gradient', []), ('lrp', ['--set', 'composite=epsilon-plus-flat', '--set', 'epsilon=0.01']), ('lrp', ['--set', 'batch-norm=keep', '--set', 'epsilon=0.01']), ('deeplift', [])]
    if SHORT:
        methods = [methods[2]]
    cases = []
    for name in sorted(os.listdir(networks)):
        model = f'{networks}{name}/model.onnx'
        inputs = f'{networks}{name}/input.npy'
        if not os.path.exists(model) or not os.path.exists(inputs):
            continue
        one = first_images(inputs, 1, f'{name}.npy')
        for method, settings in methods:
            cases.append((f'{name} {method} {" ".join(settings[1::2])}', 'explain', model, '--input', one, '--method', method, *settings))
    check(len(cases) >= 6, 'the golden networks are not there')
    compare_all(cases)
    if not SHORT:
        trained('resnet8', (3, 16, 16), 24, '--epochs', '1', '--batch', '11', '--lr', '0.01', bound=1e-3, classes=2)


def recorded():
    """Work that repeats becomes a graph: from its third step on training launches graphs, and its numbers do not change."""
    x, y = pictures(40, (1, 12, 12), 2, 3)
    write_npy('X.npy', (40, 1, 12, 12), '<f4', x)
    write_npy('Y.npy', (40,), '<i8', y)
    files = []
    for graphs in ('on', 'off'):
        files.append(f'graphs-{graphs}.safetensors')
        r = run('train', 'resnet-mini', '--data', 'npy:X.npy,Y.npy', '--out', files[-1], '--device', DEVICE, '--epochs', '1', '--batch', '4', '--lr', '0.01',
                environment={**ENVIRONMENT, 'VITRINE_CUDA_GRAPHS': graphs, 'VITRINE_STANDIN_REPORT': '1'})
        check(r.returncode == 0, f'train with graphs {graphs}: {r.stderr.strip()}')
        found = re.search(r'(\d+) graphs launched with (\d+) pieces of work.* (\d+) allocations left', r.stderr)
        check(found is not None, f'train with graphs {graphs}: the stand-in reports {r.stderr.strip()!r}')
        if found:
            number, pieces = int(found[1]), int(found[2])
            # Nine steps, each forward and back, but the first of each; evaluation has one batch.
            check(number == 16 and pieces > 100 if graphs == 'on' else number == 0, f'graphs {graphs}: {number} launched with {pieces} pieces of work')
    a, b = map(read_tensors, files)
    check(a == b, 'training gives other numbers when its work is recorded')
    one = GOLDEN + 'maps/lenet/input.npy'
    shape, _ = read_npy(one)
    r = run('explain', GOLDEN + 'maps/lenet/model.safetensors', '--input', one, '--method', 'integrated-gradients', '--set', 'steps=150', '--output', 'ig.npy', '--device', DEVICE,
            environment={**ENVIRONMENT, 'VITRINE_STANDIN_REPORT': '1'}) if not SHORT else None
    if r is not None:
        check(re.search(r'[1-9]\d* graphs launched', r.stderr) is not None, f'explain records nothing: {r.stderr.strip()!r}')


def several_inputs():
    """What is given beside the main input, over batches of which later ones are recorded work."""
    rng = random.Random(7)
    count = 3 if SHORT else 260
    for name, shape in (('image', (2, 6, 5)), ('side', (3,))):
        size = 1
        for d in shape:
            size *= d
        write_npy(name + '.npy', (count, *shape), '<f4', [rng.gauss(0, 1) for _ in range(count * size)])
    two = ('predict', GOLDEN + 'several/two_by_two.onnx', '--input', 'image.npy', '--input', 'side.values=side.npy')
    compare_all([('two inputs', *two), ('two inputs, another output', *two, '--output-name', 'code')])


def cudnn_called():
    r = run('explain', GOLDEN + 'networks/vgg-bn/model.onnx', '--input', GOLDEN + 'networks/vgg-bn/input.npy', '--method', 'lrp', '--output', 'c.npy', '--device', DEVICE, environment={**ENVIRONMENT, 'VITRINE_CUDA_REPORT': '1'})
    check('0 descriptors left' in r.stderr, f'cuDNN: {r.stderr.strip()[-300:]!r}')
    for name in ('convolution with bias', 'convolution backward data'):
        check(name in r.stderr, f'cuDNN: no {name}: {r.stderr.strip()[-300:]!r}')
    check('own kernel; cuDNN: tells no switches' in r.stderr, f'no refusal is reported: {r.stderr.strip()[-300:]!r}')
    x, y = pictures(20, (3, 16, 16), 2, 3)
    write_npy('X.npy', (20, 3, 16, 16), '<f4', x)
    write_npy('Y.npy', (20,), '<i8', y)
    r = run('train', 'resnet8', '--data', 'npy:X.npy,Y.npy', '--out', 'cudnn.safetensors', '--device', DEVICE, '--epochs', '1', '--batch', '9')
    for name in ('convolution backward filter', 'batch norm forward', 'batch norm backward', '0 descriptors left'):
        check(name in r.stderr, f'cuDNN, training: no {name}: {r.stderr.strip()[-300:]!r}')
    # cuDNN's sums are rounded elsewhere, so an activation at zero may fall to the other side, which changes one term of a few
    # hundred in a bias; cudnn.cpp holds the single slots to roundoff.
    trained('resnet8', (3, 16, 16), 20, '--epochs', '1', '--batch', '9', '--lr', '0.01', bound=2e-2, classes=2)
    # What cuDNN refuses is not called.
    off = run('predict', GOLDEN + 'maps/lenet/model.safetensors', '--input', 'one.npy', '--device', DEVICE, environment={**ENVIRONMENT, 'VITRINE_CUDNN': 'off'})
    check(off.returncode == 0 and 'double' not in off.stderr, f'VITRINE_CUDNN=off: {off.stderr.strip()!r}')


def tells():
    def refused(word, *args, **environment):
        before = sorted(os.listdir('.'))
        r = run(*args, environment={**ENVIRONMENT, **environment})
        line = r.stderr.strip().split('\n')[-1]
        check(r.returncode == 1 and line.startswith('vitrine: ') and word in line, f'{args}: exit status {r.returncode}, {r.stderr.strip()!r}, expected {word!r}')
        check(sorted(os.listdir('.')) == before, f'{args}: left {set(os.listdir(".")) - set(before)}')

    model, one = GOLDEN + 'maps/lenet/model.safetensors', GOLDEN + 'maps/lenet/input.npy'
    refused('cannot be opened', 'predict', model, '--input', one, '--device', 'cuda', VITRINE_CUDA_LIBRARY='/nowhere/lib.so')
    refused('cannot be opened', 'train', 'lenet5', '--data', 'partshapes', '--out', 'never.safetensors', '--device', 'cuda', VITRINE_CUDA_LIBRARY=os.path.abspath(__file__))
    refused('--device cuda:999', 'explain', model, '--input', one, '--method', 'lrp', '--output', 'never.npy', '--device', 'cuda:999')
    r = run('predict', model, '--input', one, '--device', 'gpu')
    check(r.returncode == 2 and 'expected cpu, cuda or cuda:N' in r.stderr, f'--device gpu: {r.returncode} {r.stderr}')
    r = run('inspect', model, '--plan', '--device', DEVICE)
    check(r.returncode == 0 and 'training step' in r.stdout, f'inspect: {r.returncode} {r.stderr}')


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    tells()
    lenet()
    if not CUDNN:
        other_ops()
        several_inputs()
    else:
        cudnn_called()
    if 'VITRINE_STANDIN_SEED' in ENVIRONMENT:
        recorded()
print(f'{passed} passed, {failed} failed; largest difference {worst[0]:.2g} of the largest value ({worst[1]})')
sys.exit(1 if failed else 0)
