#!/usr/bin/env python3
"""The program from outside: good calls give what the contract says; bad ones give one sentence, the right exit status (2
usage, 1 input) and leave nothing behind. Standard library only.

    cli.py PROGRAM SOURCE_ROOT
"""
import fcntl
import hashlib
import json
import os
import pty
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import zlib

PROGRAM, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
MAPS = ROOT + '/tests/golden/maps/lenet/'
MODEL, INPUT = MAPS + 'model.safetensors', MAPS + 'input.npy'
NETWORKS = ROOT + '/tests/golden/networks/'
passed = failed = 0


def run(*args, **options):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=120, **options)


def check(condition, what):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print('FAILED:', what)


def npy(path, shape, kind, values):
    header = str({'descr': kind, 'fortran_order': False, 'shape': tuple(shape)})
    header += ' ' * (63 - (10 + len(header)) % 64) + '\n'
    code = {'<f4': 'f', '<i8': 'q'}[kind]
    with open(path, 'wb') as f:
        f.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + struct.pack(f'<{len(values)}{code}', *values))


def read_npy(path):
    data = open(path, 'rb').read()
    size = struct.unpack('<H', data[8:10])[0]
    header = eval(data[10:10 + size])
    return header['shape'], struct.unpack(f"<{(len(data) - 10 - size) // 4}f", data[10 + size:])


def refused(status, word, *args, **options):
    before = sorted(os.listdir('.'))
    r = run(*args, **options)
    line = r.stderr.strip()
    check(r.returncode == status, f'{args}: exit status {r.returncode}, expected {status}: {line}')
    check(line.startswith('vitrine: ') and '\n' not in line, f'{args}: not one sentence: {line!r}')
    check(word in line, f'{args}: {word!r} is not in {line!r}')
    check(sorted(os.listdir('.')) == before, f'{args}: left {set(os.listdir(".")) - set(before)}')


def good_calls():
    r = run('predict', MODEL, '--input', INPUT, '--output', 'y.npy')
    check(r.returncode == 0 and read_npy('y.npy')[0] == (3, 5), 'predict gives (N,K)')
    expected = read_npy(MAPS + 'logits.npy')[1]
    check(max(abs(a - b) for a, b in zip(read_npy('y.npy')[1], expected)) < 1e-4, 'predict gives the stored logits')
    check('0.' in run('predict', MODEL, '--input', INPUT).stdout, 'predict prints probabilities')
    for method in (m['name'] for m in json.loads(run('methods', '--json').stdout)):
        if method == 'cam':  # this network does not end in a global average
            refused(2, 'no global average', 'explain', MODEL, '--input', INPUT, '--method', method, '--output', 'r.npy')
            continue
        few = ('--features', 'grid:8,8') if method == 'shapley' else ()
        r = run('explain', MODEL, '--input', INPUT, '--method', method, '--output', 'r.npy', *few)
        check(r.returncode == 0 and read_npy('r.npy')[0] == (3, 1, 16, 16), f'{method}: relevance of the shape of X: {r.stderr}')
        check(any(v != 0 for v in read_npy('r.npy')[1]), f'{method}: relevance is not all zero')
    shapley = ('explain', MODEL, '--input', INPUT, '--method', 'kernel-shap', '--features', 'grid:8,4', '--features-out', 'v.npy', '--output', 'r.npy')
    check(run(*shapley).returncode == 0 and read_npy('v.npy')[0] == (3, 8), 'values per feature')
    check(abs(sum(read_npy('v.npy')[1]) - sum(read_npy('r.npy')[1])) < 1e-3, 'which the map spreads')
    refused(2, 'grid', *shapley[:7], 'hexagons', '--output', 'none.npy')
    refused(2, 'gives features no values', 'explain', MODEL, '--input', INPUT, '--method', 'gradient', '--features-out', 'none.npy')
    lists = {name: json.loads(run(name, '--json').stdout) for name in ('methods', 'rules', 'models', 'layers')}
    check(all(len(v) > 3 and all('name' in e for e in v) for v in lists.values()), 'lists as JSON')
    check(all(run(name).returncode == 0 for name in lists), 'lists for people')
    with open('c.json', 'w') as f:
        f.write(run('rules', '--composite', 'epsilon-gamma-box').stdout)
    run('explain', MODEL, '--input', INPUT, '--method', 'lrp', '--composite', 'c.json', '--output', 'a.npy')
    run('explain', MODEL, '--input', INPUT, '--method', 'lrp', '--set', 'composite=epsilon-gamma-box', '--output', 'b.npy')
    check(open('a.npy', 'rb').read() == open('b.npy', 'rb').read(), 'a composite that is printed and read again gives the same bits')
    r = run('inspect', MODEL, '--nodes', '--walk', 'lrp', '--batch', '4', '--chart', 'plan.svg')
    check(r.returncode == 0 and 'runs + relu1' in r.stdout and 'skipped: signal to conv1' in r.stdout and 'epsilon' in r.stdout, 'inspect --nodes')
    check(open('plan.svg').read().startswith('<svg') and 'signal of conv1' in open('plan.svg').read(), 'inspect --chart')
    for walk in ('inference', 'gradient', 'deconvnet', 'guided-backprop', 'deeplift', 'training'):
        check(run('inspect', MODEL, '--nodes', '--walk', walk).returncode == 0, f'inspect --nodes --walk {walk}')
    refused(2, 'walk', 'inspect', MODEL, '--nodes', '--walk', 'backwards')
    refused(2, 'nodes', 'inspect', MODEL, '--chart', 'plan.svg')
    r = run('inspect', MODEL, '--plan')
    check(r.returncode == 0 and 'conv1' in r.stdout and 'inference' in r.stdout, 'inspect --plan')

    run('explain', MODEL, '--input', INPUT, '--method', 'lrp', '--set', 'composite=uniform-epsilon', '--target', 2, '--output', 'a.npy', '--ledger', 'l.json')
    ledger = json.load(open('l.json'))
    nodes = ledger['nodes']
    check([n['node'] for n in nodes][0] == 'conv1' and nodes[0]['rule'] == 'epsilon', 'the ledger names nodes and rules')
    check(abs(nodes[-1]['out']['sum'] - sum(i['score'] for i in ledger['images'])) < 1e-4, 'the ledger starts with the scores')
    check(abs(nodes[0]['in']['sum'] - sum(read_npy('a.npy')[1])) < 1e-3, 'the ledger ends with the relevance')
    run('explain', MODEL, '--input', INPUT, '--method', 'lrp', '--set', 'composite=uniform-epsilon', '--target', 2, '--rule', 'conv1=flat', '--output', 'b.npy')
    check(read_npy('a.npy')[1] != read_npy('b.npy')[1], '--rule changes the map')
    check('conv1' in run('explain', MODEL, '--input', INPUT, '--method', 'lrp', '--ledger', '-').stdout, 'the ledger as a table')
    r = run('explain', MODEL, '--input', INPUT, '--method', 'gradient', '--method', 'lrp', '--image', 'p.png')
    check(r.returncode == 0 and open('p.png', 'rb').read(8) == b'\x89PNG\r\n\x1a\n', 'methods side by side as a PNG')
    r = run('explain', MODEL, '--input', INPUT, '--method', 'gradient')
    check('input.gradient.png' in r.stdout and os.path.exists('input.gradient.png'), 'without --output a picture is made and named')
    r = run('data', 'partshapes:kind3,test=3,size=32', '--out', 'pictures', '--pictures', 3, '--sheet', 'sheet.png')
    check(r.returncode == 0 and len(os.listdir('pictures')) == 3 and os.path.exists('sheet.png'), 'data writes pictures')
    for isa in ('ref', 'avx2', 'avx512'):
        check(run('predict', MODEL, '--input', INPUT, env={**os.environ, 'VITRINE_ISA': isa}).returncode == 0, f'VITRINE_ISA={isa}')
    for variable in ('VITRINE_REPORT', 'VITRINE_CUDA_REPORT'):
        r = run('predict', MODEL, '--input', INPUT, env={**os.environ, variable: '1'})
        lines = [line for line in r.stderr.split('\n') if line.startswith('vitrine: conv_forward ')]
        check(len(lines) == len(set(lines)) and (any('; Winograd' in line for line in lines) or not lines), f'{variable}=1 prints ways and refusals, each once: {r.stderr!r}')
    check('conv_forward' not in run('predict', MODEL, '--input', INPUT).stderr, 'no report unless asked for')


def bad_calls():
    explain = ('explain', MODEL, '--input', INPUT, '--output', 'bad.npy', '--method')
    refused(2, "unknown method 'shap'", *explain, 'shap')
    refused(2, 'epsilonn', *explain, 'lrp', '--set', 'epsilonn=1')
    refused(2, 'epsilon=x', *explain, 'lrp', '--set', 'epsilon=x')
    refused(2, 'alpha - beta', *explain, 'lrp', '--set', 'composite=uniform-alpha-beta', '--set', 'alpha=3', '--set', 'beta=1')
    refused(2, 'key=value', *explain, 'lrp', '--set', 'epsilon')
    refused(2, 'twice', *explain, 'lrp', '--set', 'epsilon=1', '--set', 'epsilon=2')
    refused(2, 'nope', *explain, 'grad-cam', '--set', 'node=nope')
    refused(2, 'target 99', *explain, 'gradient', '--target', 99)
    refused(2, 'class number', *explain, 'gradient', '--target', 'cat')
    refused(2, 'magic', *explain, 'lrp', '--rule', 'conv1=magic')
    refused(2, 'expected one of', 'rules', '--composite', 'best')
    refused(2, 'takes no --composite', *explain, 'gradient', '--composite', 'c.json')
    refused(1, 'missing.json', *explain, 'lrp', '--composite', 'missing.json')
    open('bad.json', 'w').write(open('c.json').read().replace('dense', 'dence'))
    refused(1, "bad.json: entry 3: 'ops' has 'dence'", *explain, 'lrp', '--composite', 'bad.json')
    refused(2, 'matches no node', *explain, 'lrp', '--rule', 'conv7=epsilon')
    refused(2, '--method deeplift', *explain, 'lrp', '--rule', 'pool1=rescale')
    refused(2, 'conv1', *explain, 'lrp', '--rule', 'conv1=pass')
    refused(2, 'grey', *explain, 'deeplift', '--baseline', 'grey')
    refused(2, 'no baseline', *explain, 'lrp', '--baseline', 'blur')
    refused(2, 'no ledger', 'explain', MODEL, '--input', INPUT, '--method', 'occlusion', '--ledger', '-')
    refused(2, 'lenet99', 'train', 'lenet99', '--data', 'partshapes', '--out', 'm.safetensors')
    refused(2, 'optimizer', 'train', 'cnn6', '--data', 'partshapes', '--out', 'm.safetensors', '--optimizer', 'lion')
    refused(2, 'schedule', 'train', 'cnn6', '--data', 'partshapes:train=8,test=8', '--out', 'm.safetensors', '--schedule', 'sometimes')
    refused(2, 'unknown data set', 'train', 'cnn6', '--data', 'imagenet:x', '--out', 'm.safetensors')
    refused(2, '.safetensors', 'train', 'cnn6', '--data', 'partshapes', '--out', 'm.bin')
    refused(2, 'VITRINE_ISA', 'methods', env={**os.environ, 'VITRINE_ISA': 'sse'})
    refused(2, 'epochs', 'train', 'cnn6', '--data', 'partshapes', '--out', 'm.safetensors', '--epochs', 0)
    refused(2, 'vitrine --help', 'explode')
    refused(2, 'required', 'explain', MODEL)

    refused(1, 'nowhere', 'eval', 'nowhere.safetensors', '--data', 'partshapes')
    refused(1, 'train-images', 'train', 'lenet5', '--data', 'mnist:.', '--out', 'm.safetensors')
    refused(1, 'does not exist', 'train', 'cnn6', '--data', 'partshapes', '--out', 'no/m.safetensors')
    refused(1, 'cannot be', 'explain', MODEL, '--input', INPUT, '--method', 'gradient', '--output', 'no/r.npy')
    refused(1, 'is a folder', 'predict', MODEL, '--input', INPUT, '--output', '.')
    refused(1, 'images of', 'eval', MODEL, '--data', 'partshapes')
    npy('wrong.npy', (1, 3, 16, 16), '<f4', [0.0] * 768)
    refused(1, '(1,3,16,16)', 'predict', MODEL, '--input', 'wrong.npy')
    npy('nan.npy', (1, 1, 16, 16), '<f4', [float('nan')] * 256)
    refused(1, 'not finite', 'explain', MODEL, '--input', 'nan.npy', '--method', 'gradient', '--output', 'bad.npy')
    whole = open(INPUT, 'rb').read()
    for name, data in (('short.npy', whole[:-5]), ('long.npy', whole + b'x'), ('empty.npy', b''), ('no.npy', b'hello')):
        open(name, 'wb').write(data)
        refused(1, name, 'predict', MODEL, '--input', name)
    weights = open(MODEL, 'rb').read()
    lying = struct.pack('<Q', 1 << 60) + weights[8:]
    for k, data in enumerate((weights[:-4], weights + b'....', weights[:40], lying, b'\x02\0\0\0\0\0\0\0{}', weights.replace(b'conv2d', b'conv9d'), weights.replace(b'kernel_h', b'kernel_x'))):
        open(f'bad{k}.safetensors', 'wb').write(data)
        refused(1, f'bad{k}.safetensors', 'inspect', f'bad{k}.safetensors')
    open('bad.png', 'wb').write(b'\x89PNG\r\n\x1a\n' + b'\0' * 40)
    refused(1, 'bad.png', 'predict', MODEL, '--input', 'bad.png')
    os.mkdir('nothing')
    refused(1, 'nothing', 'predict', MODEL, '--input', 'nothing')
    # A disk that is full: the largest allowed file is smaller than the result.
    script = f'trap "" XFSZ; ulimit -f 1; exec {PROGRAM} explain {MODEL} --input {INPUT} --method gradient --output full.npy'
    before = sorted(os.listdir('.'))
    r = subprocess.run(['bash', '-c', script], capture_output=True, text=True)
    check(r.returncode == 1 and 'full.npy' in r.stderr and sorted(os.listdir('.')) == before, f'a full disk: {r.returncode} {r.stderr}')


def close(a, b, tolerance=1e-4):
    return len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) <= tolerance * max(map(abs, b))


def stored(path):
    """The float32 tensors of a .safetensors: name -> (shape, values)."""
    data = open(path, 'rb').read()
    size = struct.unpack('<Q', data[:8])[0]
    tensors = {}
    for name, t in json.loads(data[8:8 + size]).items():
        begin, end = t['data_offsets']
        tensors[name] = tuple(t['shape']), struct.unpack(f'<{(end - begin) // 4}f', data[8 + size + begin:8 + size + end])
    return tensors


def several():
    """Several inputs and outputs, dense outputs, single logits."""
    folder = ROOT + '/tests/golden/several/'
    two = folder + 'two_by_two.onnx'
    if 'no ONNX' in run('inspect', two).stderr:
        print('skipped: this build knows no ONNX')
        return
    cases = stored(folder + 'cases.safetensors')
    for name, (shape, values) in cases.items():
        npy(name.replace('/', '-') + '.npy', shape, '<f4', values)
    image, side = 'two_by_two-in-image.npy', 'side.values=two_by_two-in-side.values.npy'

    def gives(case, output, *args):
        r = run('predict', *args, '--output', 'y.npy')
        check(r.returncode == 0, f'{args}: {r.stderr}')
        shape, values = cases[f'{case}/out/{output}']
        found = read_npy('y.npy')
        check(found[0] == shape and close(found[1], values), f'{args}: {output} of {case}')

    for inputs in ((image, side), (side, image), ('image=' + image, side)):
        gives('two_by_two', 'scores', two, *(a for i in inputs for a in ('--input', i)))
    gives('two_by_two', 'code', two, '--input', image, '--input', side, '--output-name', 'code')
    r = run('inspect', two)
    check('input image (N,2,6,5), the main one' in r.stdout and 'input side.values (N,3)' in r.stdout and
          '= scores (N,4), the main one' in r.stdout and "left out: input 'extra'" in r.stdout, 'inspect shows inputs and outputs')
    r = run('import', two, '--out', 'two.safetensors', '--input-name', 'side.values', '--output-name', 'code')
    check(r.returncode == 0 and "left out: input 'extra' (no node reads it); output 'label'" in r.stdout, f'import says what it leaves out: {r.stderr}')
    gives('two_by_two', 'code', 'two.safetensors', '--input', side[len('side.values='):], '--input', 'image=' + image)
    gives('unet', 'map', folder + 'unet.onnx', '--input', 'unet-in-x.npy')
    gives('one_logit', 'logit', folder + 'one_logit.onnx', '--input', 'one_logit-in-x.npy', '--output-name', 'logit')
    gives('one_logit', 'probability', folder + 'one_logit.onnx', '--input', 'one_logit-in-x.npy')
    gives('sequence', 'steps', folder + 'sequence.onnx', '--input', 'sequence-in-x.npy')
    for output in ('map', 'mask'):
        gives('channels_last', output, folder + 'channels_last.onnx', '--input', 'channels_last-in-x.npy', '--output-name', output)
    gives('two_channels_last', 'kept', folder + 'two_channels_last.onnx', '--input', 'x=two_channels_last-in-x.npy', '--input', 'y=two_channels_last-in-y.npy',
          '--output-name', 'kept')
    check('probability 0.' in run('predict', folder + 'one_logit.onnx', '--input', 'one_logit-in-x.npy', '--output-name', 'logit').stdout, 'one logit is a probability')
    check('(3,8,6) from' in run('predict', folder + 'unet.onnx', '--input', 'unet-in-x.npy').stdout, 'dense outputs print their shape')

    refused(2, "input 'side.values' is not given: the network takes 2 inputs", 'predict', two, '--input', image)
    refused(2, "main input 'image' is missing", 'predict', two, '--input', side)
    refused(2, "input 'image' is there already", 'predict', two, '--input', image, '--input', image)
    refused(2, "no input is called 'other': the inputs are image, side.values", 'predict', two, '--input', image, '--input', 'other=' + image)
    refused(1, '(3,2,6,5), expected (N,3,1,1) or (N,3)', 'predict', two, '--input', image, '--input', 'side.values=' + image)
    npy('four.npy', (4, 3), '<f4', [0.0] * 12)
    refused(1, "input 'side.values' has 4 values, expected 1 or 3", 'predict', two, '--input', image, '--input', 'side.values=four.npy')
    refused(2, 'pictures are for the main input', 'predict', two, '--input', image, '--input', 'side.values=a.png')
    refused(2, 'no output is called', 'predict', two, '--input', image, '--input', side, '--output-name', 'label')
    refused(1, 'which have no gradient', 'import', two, '--out', 'm.safetensors', '--output-name', 'label')


def networks():
    """Networks made elsewhere: ONNX and state dicts in and out, what travels with them, arrays in the file's order."""
    onnx, x = NETWORKS + 'resnet-basic/model.onnx', NETWORKS + 'resnet-basic/input.npy'
    r = run('inspect', onnx)
    if 'no ONNX' in r.stderr:
        print('skipped: this build knows no ONNX')
        return
    expected = read_npy(NETWORKS + 'resnet-basic/logits.npy')[1]
    run('predict', onnx, '--input', x, '--output', 'y.npy')
    check(close(read_npy('y.npy')[1], expected), 'predict takes .onnx directly')
    open('names.txt', 'w').write('ant\nbee\ncat\ndog\neel\n')
    r = run('import', onnx, '--out', 'net.safetensors', '--classes', 'names.txt', '--scale', 255, '--mean', '104,117,124', '--order', 'bgr', '--resize', 24)
    check(r.returncode == 0 and '5 classes' in r.stdout, f'import: {r.stderr}')
    run('predict', 'net.safetensors', '--input', x, '--output', 'y.npy')
    check(close(read_npy('y.npy')[1], expected), 'an imported network gives the same')
    run('data', 'partshapes:kind3,test=2,size=32', '--out', 'photos', '--pictures', 2)
    r = run('predict', 'net.safetensors', '--input', 'photos')
    check(r.returncode == 0 and len(r.stdout.splitlines()) == 2 and any(n in r.stdout for n in ('ant', 'bee', 'cat', 'dog', 'eel')), 'predict on photos prints names')
    check(run('explain', 'net.safetensors', '--input', 'photos', '--method', 'lrp', '--image', 'lrp.png').returncode == 0, 'explain on photos')
    for out in ('again.onnx', 'state.safetensors'):
        check(run('export', 'net.safetensors', '--out', out).returncode == 0, f'export to {out}')
    run('predict', 'again.onnx', '--input', x, '--output', 'y.npy')
    check(close(read_npy('y.npy')[1], expected), 'an exported network gives the same')
    check(run('predict', 'again.onnx', '--input', 'photos').stdout == r.stdout, 'what travels with a network survives ONNX')
    r = run('explain', onnx, '--input', x, '--method', 'grad-cam', '--set', 'node=/layer1/layer1.0/relu/Relu', '--output', 'cam.npy')
    check(r.returncode == 0, f'nodes have their ONNX names: {r.stderr}')

    # A file that takes (N,H,W,C) takes and gives arrays in that order; (N,C,H,W) stays possible.
    nhwc, x = NETWORKS + 'nhwc/model.onnx', NETWORKS + 'nhwc/input.npy'
    (n, c, h, w), values = read_npy(x)
    turned = [values[((i * c + k) * h + y) * w + z] for i in range(n) for y in range(h) for z in range(w) for k in range(c)]
    npy('turned.npy', (n, h, w, c), '<f4', turned)
    for name in (x, 'turned.npy'):
        run('predict', nhwc, '--input', name, '--output', 'y.npy')
        check(close(read_npy('y.npy')[1], read_npy(NETWORKS + 'nhwc/logits.npy')[1]), 'NHWC networks take both orders')
    run('explain', nhwc, '--input', x, '--method', 'lrp', '--output', 'a.npy')
    run('explain', nhwc, '--input', 'turned.npy', '--method', 'lrp', '--output', 'b.npy')
    (shape, a), (turned_shape, b) = read_npy('a.npy'), read_npy('b.npy')
    check(shape == (n, c, h, w) and turned_shape == (n, h, w, c), 'relevance has the shape of X')
    check(b == tuple(a[((i * c + k) * h + y) * w + z] for i in range(n) for y in range(h) for z in range(w) for k in range(c)), 'and its order')

    whole = open(onnx, 'rb').read()
    for k, data in enumerate((whole[:-9], whole[:1000], b'', b'hello', whole.replace(b'MaxPool', b'MaxPoll'))):
        open(f'bad{k}.onnx', 'wb').write(data)
        refused(1, f'bad{k}.onnx', 'inspect', f'bad{k}.onnx')
    refused(1, "(MaxPoll) is of an operator that is not supported", 'inspect', 'bad4.onnx')
    for k in range(5):
        os.remove(f'bad{k}.onnx')
    refused(2, 'weights_only=True', 'import', 'net.pt', '--out', 'm.safetensors')
    refused(2, '--model', 'import', 'net.bin2', '--out', 'm.safetensors')
    refused(2, 'one or 3', 'import', onnx, '--mean', '1,2', '--out', 'm.safetensors')
    refused(2, 'above 0', 'import', onnx, '--std', '0', '--out', 'm.safetensors')
    refused(2, "unknown model 'resnet21'", 'import', 'state.safetensors', '--model', 'resnet21', '--out', 'm.safetensors')
    refused(1, "no tensor 'linear.weight'", 'import', 'state.safetensors', '--model', 'resnet20', '--out', 'm.safetensors')
    open('three.txt', 'w').write('a\nb\nc\n')
    refused(1, 'names 3 classes', 'import', onnx, '--classes', 'three.txt', '--out', 'm.safetensors')
    refused(2, '.onnx or .safetensors', 'export', 'net.safetensors', '--out', 'net.pb')
    refused(2, 'part of node', 'explain', onnx, '--input', NETWORKS + 'resnet-basic/input.npy', '--method', 'lrp', '--rule', '*bn1*=pass', '--output', 'bad.npy')
    check(run('explain', onnx, '--input', NETWORKS + 'resnet-basic/input.npy', '--method', 'lrp', '--set', 'batch-norm=keep', '--rule', '*bn1*=pass', '--output', 'r.npy').returncode == 0,
          'a batch norm that is kept can have a rule')


def augmented_training():
    """Batch norm, every augmentation and the moving average: the same bits on any number of threads, stopped or not."""
    npy('x3.npy', (96, 3, 12, 12), '<f4', [((i * 7919) % 1000) / 500 - 1 for i in range(96 * 432)])
    npy('y3.npy', (96,), '<i8', [k % 3 for k in range(96)])
    train = ('train', 'resnet20', '--data', 'npy:x3.npy,y3.npy,x3.npy,y3.npy', '--epochs', 6, '--batch', 16, '--lr', 0.05, '--flip', '--crop-padding', 2, '--cutout', 4,
             '--label-smoothing', 0.1, '--mixup', 0.4, '--ema', 0.9, '--schedule', 'cosine+warmup:1')
    check(run(*train, '--out', 'a.safetensors', '--threads', 1).returncode == 0, 'training with everything')
    same = open('a.safetensors', 'rb').read()
    check(run(*train, '--out', 'r.safetensors', '--recompute').returncode == 0 and open('r.safetensors', 'rb').read() == same, '--recompute changes no bit')
    refused(2, 'recompute', 'train', 'cnn6', '--data', 'partshapes:train=8,test=8', '--out', 'm.safetensors', '--recompute', '--interpretable', 'conv6')
    stopped = False
    for attempt in range(100):
        p = subprocess.Popen([PROGRAM, *map(str, train), '--out', 'b.safetensors', '--threads', '2'] + (['--resume'] if stopped else []), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.1 + 0.02 * attempt)
        if not stopped:
            p.send_signal(signal.SIGINT)
        p.wait()
        if stopped or p.returncode == 0:
            break
        stopped = p.returncode == 130
    check(stopped, 'was stopped')
    check(open('b.safetensors', 'rb').read() == same, 'batch norm, augmentation and average: resumed equals never stopped, bit for bit')
    check(run(*train[:5], 3, *train[6:], '--out', 'c.safetensors').returncode == 0 and open('c.safetensors', 'rb').read() != same, 'a shorter run is another')


def training():
    values = [((i * 7919) % 1000) / 500 - 1 + (2 if (i // 256) % 2 else 0) for i in range(64 * 256)]
    npy('x.npy', (64, 1, 16, 16), '<f4', values)
    npy('y.npy', (64,), '<i8', [k % 2 for k in range(64)])
    train = ('train', 'lenet5', '--data', 'npy:x.npy,y.npy,x.npy,y.npy', '--epochs', 60, '--batch', 8, '--lr', 0.005)
    check(run(*train, '--out', 'one.safetensors', '--threads', 1).returncode == 0, 'training')
    check(not os.path.exists('one.safetensors.state'), 'a complete training leaves no state')
    r = run('eval', 'one.safetensors', '--data', 'npy:x.npy,y.npy')
    check('accuracy 1.0000' in r.stdout, f'two brightnesses are learnt: {r.stdout}')
    check(run(*train, '--out', 'two.safetensors', '--threads', 2).returncode == 0, 'training on two threads')
    same = open('one.safetensors', 'rb').read()
    check(open('two.safetensors', 'rb').read() == same, 'the number of threads changes no bit')
    stopped = 0
    for attempt in range(200):  # stop again and again, a little later each time
        p = subprocess.Popen([PROGRAM, *map(str, train), '--out', 'stop.safetensors'] + (['--resume'] if stopped else []), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.05 + 0.01 * attempt)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate()
        if p.returncode == 0:
            break
        if p.returncode != 130:
            check(p.returncode == -signal.SIGINT, f'stopping: {p.returncode} {err}')
            continue  # the signal came before the program was ready for it
        check('saved' in out and os.path.exists('stop.safetensors.state'), f'Ctrl-C saves: {out}')
        stopped += 1
        if stopped == 1:
            refused(2, 'other options', *train, '--out', 'stop.safetensors', '--resume', '--momentum', 0.5)
        if stopped == 3:
            check(run(*train, '--out', 'stop.safetensors', '--resume').returncode == 0, 'resuming')
            break
    check(stopped >= 1, 'was stopped at least once')
    check(open('stop.safetensors', 'rb').read() == same, 'stopped and resumed equals never stopped, bit for bit')
    refused(1, 'first node', *train[:-1], 1e6, '--out', 'nan.safetensors')
    refused(1, '--resume', *train, '--out', 'fresh.safetensors', '--resume')
    for option in ('--lr', '--momentum', '--weight-decay', '--ema', '--mixup', '--label-smoothing', '--filter-weight'):
        for value in ('nan', 'inf', '1e39'):
            refused(2, 'expected a number from', *train[:-2], option + '=' + value, '--out', 'nan.safetensors')


def unusual():
    os.mkfifo('pipe.npy')
    refused(1, 'pipe.npy: is not a file', 'predict', MODEL, '--input', 'pipe.npy')
    refused(1, 'pipe.npy: is not a file', 'predict', 'pipe.npy', '--input', INPUT)
    if b'__asan_init' not in open(PROGRAM, 'rb').read():  # the address sanitizer needs the address space
        few = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        refused(1, 'threads at most, expected 1024', 'predict', MODEL, '--input', INPUT, '--threads', 1024, preexec_fn=few)


def interpretable():
    data = 'partshapes:kind3,size=32,samples=1,train=24,test=12'
    train = ['train', 'cnn6', '--data', data, '--epochs', 1, '--batch', 8]
    r = run(*train, '--interpretable', 'relu5', '--interpretable', 'relu6+conv', '--out', 'filters.safetensors')
    check(r.returncode == 0, f'train --interpretable: {r.stderr}')
    r = run('filters', 'filters.safetensors', '--data', data, '--json', '--sheet', 'filters.png')
    report = json.loads(r.stdout)
    check(report['node'] == 'relu6.interpretable' and len(report['filters']) == 64, 'filters reports the last layer')
    check(0 <= report['part_interpretability'] <= 1 and os.path.getsize('filters.png') > 1000, 'filters: metrics and a sheet')
    check(run('filters', 'filters.safetensors', '--data', data, '--node', 'relu3').returncode == 0, 'filters of an ordinary node')
    run('data', data, '--out', 'pictures', '--pictures', 2)
    for method in ('gradient', 'lrp', 'deeplift', 'guided-backprop'):
        check(run('explain', 'filters.safetensors', '--input', 'pictures', '--method', method, '--output', 'r.npy').returncode == 0, f'{method} through gates')
    refused(2, 'no node is called', *train, '--interpretable', 'relu99', '--out', 'x.safetensors')
    refused(2, 'height and width', *train, '--interpretable', 'fc1', '--out', 'x.safetensors')
    refused(2, '--node', 'filters', MODEL, '--data', data)
    refused(1, 'the data has images of', 'filters', MODEL, '--data', 'relations:order,test=4', '--node', 'conv1')

    with open('order.rules', 'w') as f:
        f.write('pattern disk\npattern square\nrule order: disk if exists square right_of\n')
    with open('bad.rules', 'w') as f:
        f.write('pattern disk\nrule r: disk if exists square\n')
    renn = ['train', 'renn', '--data', 'relations:order,train=12,test=6', '--epochs', 1, '--local-epochs', 1, '--joint-epochs', 1]
    r = run(*renn, '--rules', 'order.rules', '--out', 'renn.safetensors')
    check(r.returncode == 0 and 'stage 3' in r.stdout, f'train renn: {r.stderr}')
    check(not [f for f in os.listdir('.') if 'stage' in f], 'finished stages are cleared away')
    report = json.loads(run('renn', 'renn.safetensors', '--data', 'relations:order,test=6', '--json').stdout)
    check([e['name'] for e in report['evidence']] == ['rule.order', 'direct.disk', 'direct.square'], 'renn names its evidence')
    total = sum(e['relevance'] for e in report['evidence']) + report['to_bias']
    check(abs(total - report['score']) < 1e-6 * max(1, abs(report['score'])), 'relevance of rules and detections, and of the bias, sums to the score')
    run('data', 'relations:order', '--out', 'scenes', '--pictures', 2)
    check('exists square right_of' in run('renn', 'renn.safetensors', '--input', 'scenes').stdout, 'renn proves')
    check(run('explain', 'renn.safetensors', '--input', 'scenes', '--method', 'lrp', '--output', 'r.npy').returncode == 0, 'renn is explained like any other')
    refused(1, 'bad.rules:2', *renn, '--rules', 'bad.rules', '--out', 'x.safetensors')
    refused(2, '--rules', *renn, '--out', 'x.safetensors')
    refused(2, 'tells no places', 'train', 'renn', '--rules', 'order.rules', '--data', data, '--out', 'x.safetensors')
    refused(2, 'carries no rules', 'renn', MODEL, '--data', data)

    r = run('data', 'partshapes:code9,size=32,samples=1,train=2,validation=0,test=2,interventions=1', '--files', '--out', 'parts')
    check(r.returncode == 0, f'data --files: {r.stderr}')
    files = json.load(open('parts/manifest.json'))['files']
    check(len(files) == 42 and all(hashlib.sha256(open('parts/' + f, 'rb').read()).hexdigest() == h for f, h in files.items()), 'the manifest has the digest of each file')
    refused(2, '--out', 'data', 'partshapes', '--files')
    refused(2, 'belongs to partshapes', 'data', 'relations', '--files', '--out', 'x')
    refused(2, 'boxes', 'eval', MODEL, '--data', 'partshapes:det')


def peak(*args):
    """The most memory that a call takes, in kB."""
    child = subprocess.Popen([PROGRAM, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    check(child.returncode == 0, f'{args}: exit status {child.returncode}')
    return usage.ru_maxrss


def many_images():
    """Explanations in parts: shards, merging, a kill, bounded memory."""
    shape, values = read_npy(INPUT)
    each = shape[1] * shape[2] * shape[3]

    def images(path, n):
        rows = [values[(k % shape[0]) * each:(k % shape[0] + 1) * each] for k in range(n)]
        npy(path, (n, *shape[1:]), '<f4', [v * (1 + k % 7) / 7 for k, row in enumerate(rows) for v in row])

    images('x200.npy', 200)
    base = ['explain', MODEL, '--input', 'x200.npy', '--method', 'lrp']
    check(run(*base, '--output', 'one.npy').returncode == 0, 'one array')
    check(run(*base, '--output', 'whole').returncode == 0, 'one folder')
    for k in range(1, 8):
        check(run(*base, '--output', 'shards', '--shard', f'{k}/7').returncode == 0, f'shard {k} of 7')
    for folder in ('whole', 'shards'):
        r = run('merge', folder)
        check(r.returncode == 0 and '200 images of 4 parts' in r.stdout, f'merge {folder}: {r.stdout} {r.stderr}')
        check(open(folder + '/relevance.npy', 'rb').read() == open('one.npy', 'rb').read(), f'{folder}: the bytes of one call')
    part = json.load(open('shards/part-00001-of-00004.json'))
    check(part['schema'] == 'vitrine-part/1' and part['rows'] == {'first': 64, 'count': 64} and len(part['names']) == len(part['targets']) ==
          len(part['scores']) == 64 and part['method'] == 'lrp' and len(part['model']['sha256']) == 64, 'a part says what it is')
    index = json.load(open('whole/relevance.json'))
    check(index['schema'] == 'vitrine-explanation/1' and len(index['scores']) == 200, 'the merged description')
    run(*base, '--ledger', 'l.json', '--output', 'ledgers')
    sums = json.load(open('ledgers/part-00000-of-00004.json'))['ledger']
    check(sums['images'] == 64 and sums['nodes'][0]['node'] == 'conv1', 'parts carry ledger sums and their counts')
    refused(1, 'other settings', *base, '--output', 'whole', '--set', 'composite=uniform-epsilon')
    refused(1, 'method lrp', 'explain', MODEL, '--input', 'x200.npy', '--method', 'gradient', '--output', 'whole')
    refused(2, '--shard 8/7', *base, '--output', 'whole', '--shard', '8/7')
    refused(2, '--shard', *base, '--output', 'r.npy', '--shard', '1/2')
    refused(1, 'holds no part', 'merge', '.')
    os.remove('shards/part-00002-of-00004.json')
    refused(1, 'part-00002-of-00004 is missing', 'merge', 'shards')
    check(run(*base, '--method', 'gradient', '--output', 'both').returncode == 0 and sorted(os.listdir('both')) == ['gradient', 'lrp'],
          'several methods: a folder each')
    refused(2, 'several methods need a folder', *base, '--method', 'gradient', '--output', 'r.npy')

    # Killed in the middle and started again: the same bytes, and what was finished is not made again.
    images('x2000.npy', 2000)
    slow = ['explain', MODEL, '--input', 'x2000.npy', '--method', 'smoothgrad', '--set', 'samples=16', '--threads', '1']
    check(run(*slow, '--output', 'unkilled').returncode == 0, 'a long explanation')
    child = subprocess.Popen([PROGRAM, *slow, '--output', 'killed'], stdout=subprocess.DEVNULL)
    while child.poll() is None and not any(f.endswith('.json') for f in (os.listdir('killed') if os.path.isdir('killed') else [])):
        time.sleep(0.01)
    child.kill()
    child.wait()
    done = {f: os.stat('killed/' + f).st_mtime_ns for f in os.listdir('killed') if f.endswith('.json')}
    check(0 < len(done) < 32, f'was killed in the middle: {len(done)} parts')
    check(run(*slow, '--output', 'killed').returncode == 0, 'started again')
    check(all(os.stat('killed/' + f).st_mtime_ns == t for f, t in done.items()), 'finished parts are left alone')
    names = sorted(f for f in os.listdir('killed') if not f.count('.npy.'))
    check(names == sorted(os.listdir('unkilled')) and all(open('killed/' + f, 'rb').read() == open('unkilled/' + f, 'rb').read() for f in names),
          'the same bytes as without a kill')

    images('x100.npy', 100)
    images('x10000.npy', 10000)
    if b'__asan_init' not in open(PROGRAM, 'rb').read():  # sanitizers keep what is freed
        few, many = (peak('explain', MODEL, '--input', f'x{n}.npy', '--method', 'lrp', '--output', f'm{n}') for n in (100, 10000))
        check(many < few + 3000, f'memory does not grow with the number of images: {few} and {many} kB')


def objectives_and_studies():
    explain = ['explain', MODEL, '--input', INPUT, '--output', 'r.npy', '--method']
    for target in ('2', 'predicted', '1-3', 'predicted-0'):
        check(run(*explain, 'gradient', '--target', target).returncode == 0, f'--target {target}')
    npy('targets.npy', (3,), '<i8', [0, 3, 1])
    r = run(*explain, 'lrp', '--target', 'targets.npy')
    check([line.split('target ')[1].split()[0] for line in r.stdout.splitlines()] == ['0', '3', '1'], f'a class per image: {r.stdout}')
    for objective in ('conv1', 'conv1:2', 'conv1:2@3,4'):
        for method in ('gradient', 'lrp', 'deeplift', 'occlusion', 'guided-backprop', 'integrated-gradients'):
            check(run(*explain, method, '--objective', objective).returncode == 0, f'{method} --objective {objective}')
    refused(2, '--target 9', *explain, 'gradient', '--target', '9x')
    refused(2, 'is no class', *explain, 'gradient', '--target', '9')
    refused(2, '--data', *explain, 'gradient', '--target', 'label')
    refused(2, 'name one', *explain, 'gradient', '--target', '1', '--objective', 'conv1')
    refused(2, 'channels 0 to', *explain, 'gradient', '--objective', 'conv1:99')
    refused(2, '--input or --data', 'explain', MODEL, '--method', 'lrp')
    refused(2, 'did you mean grad-cam?', *explain, 'grad-kam')
    methods = json.loads(run('methods', '--json').stdout)
    card = next(m for m in methods if m['name'] == 'integrated-gradients')
    check(card['axioms']['completeness'] and card['survey_aspect'] == 'explain_prediction' and card['forward_calls'] == 'steps + 2', 'cards as JSON')
    check({'evaluation', 'filter-metrics', 'rule-report'} <= {s['name'] for s in json.loads(run('studies', '--json').stdout)}, 'studies as JSON')

    data = 'partshapes:kind3,size=32,train=60,test=40'
    check(run('train', 'vgg-mini', '--data', data, '--epochs', 1, '--out', 'v.safetensors').returncode == 0, 'a small network')
    study = ['study', 'filter-metrics', 'v.safetensors', '--data', data, '--node', 'relu4', '--seed', '3', '--set', 'radius=2', '--output']
    r = run(*study, 'study')
    check(r.returncode == 0 and 'part_interpretability' in r.stdout, f'study: {r.stderr}')
    found = json.load(open('study/result.json'))
    check(list(found) == 'schema study settings seed version model data numbers tables curves maps pictures claims cost'.split(), 'keys of a result')
    check(found['schema'] == 'vitrine-result/1' and found['seed'] == 3 and found['settings']['radius'] == '2' and found['data']['n'] == 40 and
          set(found['numbers']['selectivity']) == {'value', 'n', 'low', 'high'} and
          found['tables']['filters']['columns'][0] == 'filter' and found['cost']['forward'] == 40, 'a result says what it is of')
    check(found['model']['sha256'] == hashlib.sha256(open('v.safetensors', 'rb').read()).hexdigest(), "the model's digest")
    page = open('study/index.html').read()
    check('<html' in page and 'http://' not in page.replace('http://www.w3.org', '') and 'https://' not in page and 'src="data:' in page,
          'a page that asks for nothing from outside')
    check({'filters.csv', 'regions.png'} <= set(os.listdir('study')), 'tables and pictures as files')
    for other in (['again'], ['cached', '--cache', 'kept'], ['cached2', '--cache', 'kept']):
        check(run(*study, *other).returncode == 0, f'study {other}')
        same = json.load(open(other[0] + '/result.json'))
        cost = same.pop('cost')
        check(same == {k: v for k, v in found.items() if k != 'cost'}, f'{other}: the same result')
    check(cost['forward'] == 0 and len(os.listdir('kept')) == 1, 'activations are kept and used again')
    old = json.loads(run('filters', 'v.safetensors', '--data', data, '--node', 'relu4', '--radius', '2', '--json').stdout)
    check(abs(old['selectivity'] - found['numbers']['selectivity']['value']) < 1e-12, 'filters and study filter-metrics agree')
    r = run('study', 'evaluation', 'v.safetensors', '--data', data, '--images', 30, '--output', 'ev')
    accuracy = json.load(open('ev/result.json'))['numbers']['accuracy']
    check(accuracy['n'] == 30 and accuracy['low'] <= accuracy['value'] <= accuracy['high'], 'accuracy with its interval')
    refused(2, 'did you mean evaluation?', 'study', 'evalution', 'v.safetensors', '--output', 'x')
    refused(2, '--data', 'study', 'evaluation', 'v.safetensors', '--output', 'x')
    refused(2, "no setting 'radius'", 'study', 'evaluation', 'v.safetensors', '--data', data, '--set', 'radius=1', '--output', 'x')
    check(run(*explain[:2], '--data', 'npy:none,none', '--method', 'lrp').returncode != 0, 'data that is not there')


def outputs():
    """What is no file is written through; a link's target is replaced; "-" is standard output."""
    explain = ('explain', MODEL, '--input', INPUT, '--method', 'gradient', '--output')
    run(*explain, 'file.npy')
    data = open('file.npy', 'rb').read()
    with open('shell.npy', 'wb') as shell:
        for out in ('-', '/dev/stdout'):
            r = subprocess.run([PROGRAM, *explain, out], capture_output=True)
            check(r.returncode == 0 and r.stdout == data and r.stderr, f'--output {out}: the array alone: {r.stderr}')
        r = subprocess.run([PROGRAM, *explain, '/dev/stdout'], stdout=shell, stderr=subprocess.DEVNULL)
    check(r.returncode == 0 and open('shell.npy', 'rb').read() == data, '--output /dev/stdout in a file')
    r = subprocess.run([PROGRAM, 'predict', MODEL, '--input', INPUT, '--output=-'], capture_output=True)
    check(r.returncode == 0 and r.stdout[:6] == b'\x93NUMPY', 'predict --output=-')
    os.symlink('behind.npy', 'same_link.npy')
    check(run(*explain, 'same_link.npy').returncode == 0 and os.path.islink('same_link.npy') and open('behind.npy', 'rb').read() == data, 'a link stays')
    os.mkfifo('fifo.npy')
    reader = subprocess.Popen(['cat', 'fifo.npy'], stdout=subprocess.PIPE)
    check(run(*explain, 'fifo.npy').returncode == 0 and reader.communicate()[0] == data, 'a pipe is written through')
    if os.path.exists('/dev/full'):
        refused(1, '/dev/full: cannot be written', *explain, '/dev/full')
        check(not os.path.isfile('/dev/full'), '/dev/full is no file')


def pictures():
    """A picture per image, or one that says how many it shows."""
    explain = ('explain', MODEL, '--input', INPUT, '--method', 'gradient')
    r = run(*explain, '--image', 'p.png', '--pictures', 2)
    check('the first 2 of 3 images' in r.stdout, f'a picture says how many images it shows: {r.stdout}')
    check('images)' not in run(*explain, '--image', 'p.png').stdout, 'a picture of all images')
    r = run(*explain, '--image', 'each-{number}.png')
    check('3 of 3 images' in r.stdout and all(os.path.exists(f'each-{k}.png') for k in range(3)), f'a picture per image: {r.stdout}')
    refused(2, '{number}', *explain, '--image', 'x{what}.png')
    refused(2, '--pictures', *explain, '--pictures', 0)


def on_terminal(columns, *args, **env):
    """What a terminal of so many columns is sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    process = subprocess.Popen([PROGRAM, *map(str, args)], stdout=theirs, stderr=theirs, env={**os.environ, 'TERM': 'xterm', **env})
    os.close(theirs)
    sent = b''
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        sent += piece
    process.wait()
    os.close(ours)
    return sent.decode()


def terminal():
    """Status lines are rewritten in place and fit; the preview keeps to NO_COLOR, TERM and the terminal's width."""
    for columns in (80, 40):
        sent = on_terminal(columns, 'train', 'lenet5', '--data', 'relations:order,train=3000,test=20', '--epochs', 1, '--out', 't.safetensors')
        lines = [re.sub('\x1b\\[[0-9;]*[A-Za-z]', '', line) for line in re.findall('\r\x1b\\[K([^\r\n]*)', sent)]
        status = [line for line in lines if line.startswith('epoch 1/1 ') and 'test accuracy' not in line]
        check(len(status) >= 2, f'{columns} columns: training shows where it is: {sent!r}')
        check(all(len(line) < columns for line in status), f'{columns} columns: status lines fit: {status[:2]}')
        check(sent.count('\n') <= 8, f'{columns} columns: no line per step: {sent!r}')
    explain = ('explain', MODEL, '--input', INPUT, '--method', 'gradient')
    blocks = lambda sent: [re.sub('\x1b\\[[0-9;]*m', '', line) for line in sent.split('\r\n') if '\x1b[' in line]
    wide = blocks(on_terminal(50, *explain))
    check(wide and all(len(line) <= 50 for line in wide), f'the preview fits: {[len(line) for line in wide]}')
    check(not blocks(on_terminal(80, *explain, NO_COLOR='1')), 'no preview under NO_COLOR')
    check(not blocks(on_terminal(80, *explain, TERM='dumb')), 'no preview on a dumb terminal')
    check(not blocks(on_terminal(80, *explain, '--image', 'p.png')), 'no preview if a picture is asked for')
    check(blocks(on_terminal(80, *explain, '--image', 'p.png', '--preview', NO_COLOR='1')), '--preview shows it')


def apart(a, b):
    """The largest difference, as a part of the largest value."""
    return max(abs(x - y) for x, y in zip(a, b)) / max(abs(y) for y in b)


def ties():
    """Strokes on a constant background: equal places tie in pools, and no instruction set's rounding chooses among them."""
    strokes = [1.0 if 5 < p // 20 < 14 and p % 20 == 6 + k % 7 + (p // 20) * (k % 3) // 6 else 0.25 for k in range(32) for p in range(400)]
    npy('strokes.npy', (32, 1, 20, 20), '<f4', strokes)
    npy('kinds.npy', (32,), '<i8', [k % 2 for k in range(32)])
    check(run('train', 'lenet5', '--data', 'npy:strokes.npy,kinds.npy,strokes.npy,kinds.npy', '--epochs', 2, '--out', 'ties.safetensors').returncode == 0, 'training on strokes')
    for method in ('gradient', 'lrp', 'deeplift', 'deconvnet', 'guided-backprop', 'grad-cam'):
        maps = []
        for isa in ('ref', 'avx2', 'avx512'):
            run('explain', 'ties.safetensors', '--input', 'strokes.npy', '--method', method, '--target', 1, '--output', 'r.npy', env={**os.environ, 'VITRINE_ISA': isa})
            maps.append(read_npy('r.npy')[1])
        check(max(apart(m, maps[0]) for m in maps[1:]) < 1e-5, f'{method}: one map at all instruction sets')


def shared_cases():
    """Small networks that users brought, with right values of another implementation; they are beside the project and no part of it."""
    cases = ROOT + '/../shared/cases/'
    if not os.path.isdir(cases):
        print('skipped: ../shared/cases is not there')
        return
    for folder in sorted(os.listdir(cases)):
        if not os.path.exists(cases + folder + '/right_output.npy') or run('import', cases + folder + '/model.onnx', '--out', 'case.safetensors').returncode:
            continue
        x = cases + folder + '/x.npy'
        check(run('predict', 'case.safetensors', '--input', x, '--output', 'y.npy').returncode == 0, f'{folder}: predict')
        check(apart(read_npy('y.npy')[1], read_npy(cases + folder + '/right_output.npy')[1]) < 1e-5, f'{folder}: output')
        score = ('--score', 'probability') if 'sigmoid' in folder else ()
        for name in os.listdir(cases + folder):
            if m := re.fullmatch(r'right_gradient_target(\d+)\.npy', name):
                run('explain', 'case.safetensors', '--input', x, '--method', 'gradient', '--target', m.group(1), *score, '--output', 'g.npy')
                check(apart(read_npy('g.npy')[1], read_npy(cases + folder + '/' + name)[1]) < 1e-5, f'{folder}: gradient')

    one = cases + '1_sigmoid_binary/'
    run('import', one + 'model.onnx', '--out', 'case.safetensors')
    check('one logit of two classes' in run('inspect', 'case.safetensors').stdout, 'the kind of an output is shown')
    r = run('predict', 'case.safetensors', '--input', one + 'x.npy')
    check('probability 0.4705 (positive) 0.5295 (negative)' in r.stdout, f'p and 1 - p: {r.stdout}')
    r = run('explain', 'case.safetensors', '--input', one + 'x.npy', '--method', 'lrp', '--set', 'composite=uniform-lrp-0', '--output', 'l.npy')
    check(apart(read_npy('l.npy')[1], read_npy(one + 'right_lrp0_of_the_logit.npy')[1]) < 1e-4 and 'final sigmoid' in r.stderr, f'the logit is explained, and it is said: {r.stderr}')
    run('explain', 'case.safetensors', '--input', one + 'x.npy', '--method', 'lrp', '--set', 'composite=uniform-lrp-0', '--target', 'negative', '--output', 'n.npy')
    check(list(read_npy('n.npy')[1]) == [-v for v in read_npy('l.npy')[1]], 'the negative class is a target')
    open('two.txt', 'w').write('cat\ndog\n')
    check(run('import', one + 'model.onnx', '--classes', 'two.txt', '--out', 'case.safetensors').returncode == 0, 'two names for one logit')
    r = run('eval', 'case.safetensors', '--data', f'npy:{one}x.npy,{one}labels.npy')
    check('accuracy 1.0000' in r.stdout, f'evaluation of one logit: {r.stdout}{r.stderr}')
    check(run('explain', 'case.safetensors', '--input', one + 'x.npy', '--method', 'guided-backprop', '--output', 'n.npy').returncode == 0, 'a last sigmoid is no hidden one')

    several = cases + '3_several_outputs/'
    r = run('import', several + 'model.onnx', '--out', 'case.safetensors')
    check("'/m.2/Gemm' is predicted and explained" in r.stdout, f'of several outputs the one with classes: {r.stdout}')
    r = run('explain', 'case.safetensors', '--input', several + 'x.npy', '--method', 'gradient', '--output', 'n.npy')
    check('of 2 outputs' in r.stderr, f'and it is said: {r.stderr}')
    check(read_npy('n.npy')[0] == read_npy(several + 'x.npy')[0], 'relevance of one output')
    box = cases + '6_box_outside/'
    run('import', box + 'model.onnx', '--out', 'case.safetensors')
    r = run('explain', 'case.safetensors', '--input', box + 'x.npy', '--method', 'lrp', '--set', 'composite=epsilon-gamma-box', '--output', 'n.npy')
    check('outside the box' in r.stderr, f'inputs outside the box are said: {r.stderr}')
    cam = cases + '7_gradcam_attention/'
    run('import', cam + 'model.onnx', '--out', 'case.safetensors')
    r = run('explain', 'case.safetensors', '--input', cam + 'x.npy', '--method', 'grad-cam', '--target', 0, '--output', 'n.npy')
    check(apart(read_npy('n.npy')[1], read_npy(cam + 'right_gradcam_of_last_maps_target0.npy')[1]) < 1e-5 and 'maps of /2/Mul' in r.stdout, f'Grad-CAM of the last maps, named: {r.stdout}')
    run('import', cases + '10_overflow/model.onnx', '--out', 'case.safetensors')
    for command in (('predict',), ('explain', '--method', 'gradient')):
        refused(1, 'not finite', command[0], 'case.safetensors', '--input', cases + '10_overflow/x.npy', *command[1:], '--output', 'none.npy')
    check(not os.path.exists('none.npy'), 'nothing is written where a number is not finite')


def png(path, width, height, data, damage=b''):
    """A grey picture; the checksum of the chunk named `damage` is wrong."""
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body) ^ (kind == damage))
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    open(path, 'wb').write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b''))


def jpeg_segment(marker, body):
    return bytes([0xff, marker]) + struct.pack('>H', len(body) + 2) + body


def hostile_files():
    """Pictures that are damaged or made to harm, names that command a terminal, folders that are no classes, data that is not finite."""
    png('good.png', 16, 16, b'\0' * 17 * 16)
    check(run('predict', MODEL, '--input', 'good.png').returncode == 0, 'a picture')
    for chunk in (b'IHDR', b'IDAT', b'IEND'):
        png('bad.png', 16, 16, b'\0' * 17 * 16, chunk)
        refused(1, 'checksum of chunk ' + chunk.decode(), 'predict', MODEL, '--input', 'bad.png')
    start = b'\xff\xd8' + jpeg_segment(0xe0, b'JFIF\0\1\1\0\0\1\0\1\0\0')
    for counts in ([255] * 16, [3] + [0] * 15, [1, 1, 1, 255] + [0] * 12):
        table = jpeg_segment(0xc4, bytes([0] + counts) + b'\0' * min(sum(counts), 60000))
        open('bad.jpg', 'wb').write(start + table + b'\xff\xd9')
        refused(1, 'more codes than there are', 'predict', MODEL, '--input', 'bad.jpg')
    open('bad.jpg', 'wb').write(start + jpeg_segment(0xda, b'\1\1\0\0\0\0') * 200 + b'\xff\xd9')
    refused(1, 'more than 100 scans', 'predict', MODEL, '--input', 'bad.jpg')

    for folder in ('set/\x1b[31mred', 'set/blue', 'set/.git', 'set/empty'):
        os.makedirs(folder)
    for place in ('set/\x1b[31mred/a.png', 'set/blue/b\x1b[2J.png', 'set/blue/.hidden.png'):
        png(place, 16, 16, b'\0' * 17 * 16)
    r = run('data', 'folder:set')
    check('2 test images' in r.stdout and '2 classes' in r.stdout, f'hidden and empty folders are no classes: {r.stdout}{r.stderr}')
    for call in (('predict', MODEL, '--input', 'set/blue'), ('predict', MODEL, '--input', 'no\x1b[31m.png'), ('explain', MODEL, '--method', 'gradient', '--input', 'set/blue')):
        r = run(*call)
        check('\x1b' not in r.stdout + r.stderr and '\\x1b' in r.stdout + r.stderr, f'names are escaped: {r.stdout}{r.stderr}')
    for part, classes in (('train', ('a', 'b', 'c')), ('test', ('a', 'c'))):
        for name in classes:
            os.makedirs(f'parts/{part}/{name}')
            png(f'parts/{part}/{name}/x.png', 16, 16, b'\0' * 17 * 16)
    r = run('data', 'folder:parts')
    check('2 test images' in r.stdout and '3 classes' in r.stdout, f'a test part may lack a class: {r.stdout}{r.stderr}')
    os.makedirs('parts/test/d')
    png('parts/test/d/x.png', 16, 16, b'\0' * 17 * 16)
    refused(1, 'is no class of the training part', 'data', 'folder:parts')

    npy('nan.npy', (2, 1, 16, 16), '<f4', [0.0] * 300 + [float('nan')] + [0.0] * 211)
    npy('labels.npy', (2,), '<i8', [0, 1])
    for call in (('eval', MODEL, '--data', 'npy:nan.npy,labels.npy'), ('train', 'lenet5', '--data', 'npy:nan.npy,labels.npy', '--out', 'none.safetensors')):
        refused(1, 'image 1 holds nan', *call)


def same_files():
    """What is read is not written over, and two results do not go to one file."""
    refused(2, "is written by --output as well", "explain", MODEL, "--input", INPUT, "--method", "gradient", "--output", "y.png", "--image", "y.png")
    for name, of in (('m.safetensors', MODEL), ('x.npy', INPUT)):
        open(name, 'wb').write(open(of, 'rb').read())
    before = open('x.npy', 'rb').read(), open('m.safetensors', 'rb').read()
    explain = ('explain', 'm.safetensors', '--input', 'x.npy', '--method', 'gradient')
    refused(2, 'would be overwritten', *explain, '--output', './x.npy')
    os.symlink('x.npy', 'read_link.npy')
    refused(2, 'would be overwritten', *explain, '--output', 'read_link.npy')
    refused(2, 'would be overwritten', *explain, '--output', 'm.safetensors')
    refused(2, 'would be overwritten', 'predict', 'm.safetensors', '--input', 'x.npy', '--output', 'x.npy')
    refused(2, 'would be overwritten', 'import', 'm.safetensors', '--out', 'm.safetensors')
    refused(2, 'ends in .npy', 'predict', 'm.safetensors', '--input', 'x.npy', '--output', 'y.txt')
    refused(2, 'ends in .png', *explain, '--image', 'y.gif')
    refused(2, 'ends in .json', *explain, '--ledger', 'y.csv')
    check((open('x.npy', 'rb').read(), open('m.safetensors', 'rb').read()) == before, 'inputs are as they were')
    os.remove('read_link.npy')


def memory():
    """A run that needs more than is allowed, or than there is, is refused before it begins."""
    explain = ('explain', MODEL, '--input', INPUT, '--method', 'gradient', '--output', 'm.npy')
    refused(1, 'but the limit is 2 KiB', *explain, '--memory', '2K')
    check(not os.path.exists('m.npy'), 'nothing is written')
    check(run(*explain, '--memory', '4M').returncode == 0, 'a limit that is enough')
    for size in ('0', 'nan', '-1G', 'many', '1e30'):
        refused(2, 'expected a size such as', *explain, '--memory', size)


def modules():
    """The module for devices is not taken from the current folder, however the program was found."""
    open('libvitrine_cuda.so', 'w').write('no library')
    path = {**os.environ, 'PATH': os.path.dirname(PROGRAM) + ':' + os.environ['PATH']}
    for program in (PROGRAM, os.path.basename(PROGRAM)):
        r = subprocess.run([program, 'predict', MODEL, '--input', INPUT, '--device', 'cuda'], capture_output=True, text=True, env=path)
        check(r.returncode == 1 and './libvitrine_cuda.so' not in r.stderr and os.getcwd() not in r.stderr, f'{program}: {r.stderr}')
    os.remove('libvitrine_cuda.so')


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    good_calls()
    bad_calls()
    several()
    networks()
    training()
    augmented_training()
    interpretable()
    many_images()
    objectives_and_studies()
    outputs()
    pictures()
    terminal()
    modules()
    memory()
    hostile_files()
    same_files()
    ties()
    shared_cases()
    unusual()
    os.chdir('/')
print(f'{passed} passed, {failed} failed')
sys.exit(failed > 0)
