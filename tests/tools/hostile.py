#!/usr/bin/env python3
"""Bad inputs, made here: each gets one sentence that fits its pattern, exit status 1 (input) or 2 (usage), and leaves no file
behind. Standard library only.

    hostile.py PROGRAM SOURCE_ROOT
"""
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor

PROGRAM, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
MODEL = ROOT + '/tests/golden/maps/lenet/model.safetensors'
INPUT = ROOT + '/tests/golden/maps/lenet/input.npy'
ONNX = ROOT + '/tests/fuzz/corpus/onnx/'
cases = []  # (number of the folder, name, arguments, pattern)


def bad(name, content, pattern, *call):
    """A file of these bytes, and a call in which {} stands for its name."""
    cases.append((name, {name: content}, [a.replace('{}', name) for a in call], pattern))


def call(pattern, *arguments, files=None):
    cases.append((' '.join(arguments[:2]), files or {}, list(arguments), pattern))


# Arrays.

def npy(header, data=b'', version=1):
    text = (header if isinstance(header, bytes) else header.encode())
    text += b' ' * (63 - (10 + len(text)) % 64) + b'\n'
    return b'\x93NUMPY' + bytes([version, 0]) + struct.pack('<H', len(text)) + text + data


def head(shape, descr='<f4', order=False):
    return str({'descr': descr, 'fortran_order': order, 'shape': shape})


def floats(count, **special):
    values = [0.0] * count
    for place, value in special.items():
        values[int(place[1:])] = value
    return struct.pack(f'<{count}f', *values)


def arrays():
    predict = ('predict', MODEL, '--input', '{}')
    whole = npy(head((1, 1, 16, 16)), floats(256))
    for size in (0, 1, 5, 6, 8, 9, 10, 30, 127, 128, 129, len(whole) - 1):
        bad(f'cut{size}.npy', whole[:size], r'cut\d+\.npy: .*(npy|NumPy|damaged|bytes|ends|header)', *predict)
    bad('more.npy', whole + b'\0' * 4, r'more\.npy: .*bytes', *predict)
    bad('magic.npy', b'\x94' + whole[1:], r'magic\.npy: .*(npy|NumPy)', *predict)
    bad('version.npy', npy(head((1, 1, 16, 16)), floats(256), 9), r'version\.npy: .*format 9', *predict)
    for i, descr in enumerate(('<f3', '<f16', '|O', '|V4', '<c8', '<U4', '<M8', '', 'f', '<i77777777777777777777')):
        bad(f'kind{i}.npy', npy(head((1, 1, 16, 16), descr), floats(256)), r'kind\d\.npy: .*(type|descr|numbers|header)', *predict)
    shapes = ((-1, 1, 16, 16), (2 ** 63, 1, 16, 16), (2 ** 62, 2, 16, 16), (2 ** 32, 2 ** 32, 1, 1), (10 ** 30,), (2 ** 40, 1, 16, 16), (2, 1, 16, 16))
    for i, shape in enumerate(shapes):
        bad(f'size{i}.npy', npy(head(shape), floats(256)), r'size\d\.npy: .*(shape|bytes|size|numbers|header)', *predict)
    for i, shape in enumerate(((), (256,), (1, 256), (1, 16, 17), (1, 1, 16, 17), (1, 3, 16, 16), (1, 1, 1, 16, 16), (0, 1, 16, 16))):
        count = 1
        for n in shape:
            count *= n
        bad(f'shape{i}.npy', npy(head(shape), floats(count)), r'shape\d\.npy: .*(shape|expected|no images|images)', *predict)
    for i, header in enumerate(('', '{', '{}', '[]', 'x' * 200, "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': 7, 'shape': (1,1,16,16)}", "{'descr': 4, 'fortran_order': False, 'shape': (1,)}",
                                "{'descr': '<f4', 'fortran_order': False, 'shape': 'x'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,16,16", b'\xff\xfe\0')):
        bad(f'header{i}.npy', npy(header, floats(256)), r'header\d+\.npy: .*(header|descr|shape|fortran)', *predict)
    for name, values in (('nan', floats(256, p7=float('nan'))), ('inf', floats(256, p7=float('inf'))), ('huge', struct.pack('<256f', *[3e38] * 256))):
        content = npy(head((1, 1, 16, 16)), values)
        bad(f'{name}.npy', content, r'(finite|nan|inf)', 'predict', MODEL, '--input', '{}', '--output', 'y.npy')
        for method in ('gradient', 'lrp', 'deeplift', 'occlusion', 'integrated-gradients'):
            bad(f'{name}-{method}.npy', content, r'(finite|nan|inf)', 'explain', MODEL, '--input', '{}', '--method', method, '--output', 'r.npy')


# Model files.

def model_parts():
    data = open(MODEL, 'rb').read()
    size = struct.unpack('<Q', data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + data


def models():
    inspect = ('inspect', '{}')
    whole = open(MODEL, 'rb').read()
    for size in (0, 1, 7, 8, 9, 100, 1000, 2824, len(whole) - 4000, len(whole) - 1):
        bad(f'cut{size}.safetensors', whole[:size], r'cut\d+\.safetensors: .*(safetensors|header|bytes|ends|beyond)', *inspect)
    for i, length in enumerate((0, 2, 2 ** 31, 2 ** 63, 2 ** 64 - 1)):
        bad(f'length{i}.safetensors', struct.pack('<Q', length) + whole[8:], r'length\d\.safetensors: .*(header|JSON)', *inspect)
    for i, text in enumerate((b'', b'{', b'[]', b'7', b'null', b'{"a":1}', b'{"__metadata__":7}', b'\xff\xfe', b'[' * 100000, b'{"a":' * 50000)):
        bad(f'json{i}.safetensors', safetensors(text, b''), r'json\d\.safetensors: .*(JSON|header|metadata|model|tensor|object)', *inspect)

    def changed(name, change, pattern):
        header, data = model_parts()
        graph = json.loads(header['__metadata__']['vitrine'])
        change(header, graph)
        if '__metadata__' in header:
            header['__metadata__']['vitrine'] = json.dumps(graph)
        bad(name + '.safetensors', safetensors(header, data), pattern, *inspect)

    tensors = ((('dtype',), ('F3', '', 7, None)), (('shape',), ([7], [-6], [2 ** 62, 4], 'x', None, [1.5])),
               (('data_offsets',), ([0, 20], [-4, 20], [24, 0], [0, 2 ** 60], [0], 'x', None)))
    for (key,), values in tensors:
        for i, value in enumerate(values):
            changed(f'{key}{i}', lambda h, g: h['conv1.bias'].update({key: value}), r'(conv1\.bias|tensor|header|bytes)')
    changed('missing', lambda h, g: h.pop('conv1.weight'), r'gap at byte 24')
    changed('plain', lambda h, g: h.pop('__metadata__'), r'plain\.safetensors: .*(model|graph|metadata)')
    for i, (key, value) in enumerate((('format', 'vitrine/9'), ('format', 7), ('input', [1, 16]), ('input', [0, 16, 16]), ('input', [-1, 16, 16]), ('input', [2 ** 31, 2, 2]), ('input', 'x'),
                                      ('output', 'none'), ('output', 7), ('nodes', {}), ('nodes', [7]), ('nodes', []), ('classes', 7), ('classes', ['a']), ('classes', [1] * 5),
                                      ('preparation', 7), ('preparation', {'mean': ['x'], 'std': []}), ('preparation', {'mean': [1e300], 'std': [1]}), ('preparation', {'mean': [0], 'std': [0]}))):
        changed(f'{key}-{i}', lambda h, g: g.update({key: value}), key + r'|metadata|class names|node')
    for i, (key, value) in enumerate((('name', ''), ('name', 'relu1'), ('name', 'a\x1b[31m'), ('name', 7), ('op', 'none'), ('op', 7), ('in', []), ('in', ['none']), ('in', ['fc2']), ('in', 7),
                                      ('in', ['input', 'input']), ('attributes', 7), ('attributes', {}), ('parameters', []), ('parameters', ['fc1.weight', 'fc1.bias']), ('parameters', 7))):
        changed(f'node-{key}{i}', lambda h, g: g['nodes'][0].update({key: value}), r'node|conv1|metadata')
    for key in ('stride_h', 'pad_top', 'dilation_w', 'groups', 'out', 'kernel_h'):
        for i, value in enumerate((-1, 2 ** 40, 'x', None, 1e300)):
            changed(f'{key}-{i}', lambda h, g: g['nodes'][0]['attributes'].update({key: value}), r'(conv1|' + key + ')')
    for key in ('kernel_w', 'stride_w', 'dilation_h'):
        for i, value in enumerate((0, -1, 2 ** 31)):
            changed(f'pool-{key}-{i}', lambda h, g: g['nodes'][2]['attributes'].update({key: value}), r'(pool1|' + key + ')')


# ONNX: fields of the protocol-buffer format by hand.

def field(number, value):
    def varint(v):
        out = b''
        v &= 2 ** 64 - 1
        while v > 127:
            out, v = out + bytes([v & 127 | 128]), v >> 7
        return out + bytes([v])
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx_value(name, shape):
    dims = b''.join(field(1, field(1, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def onnx_node(op, inputs, output, attributes=b''):
    return field(1, b''.join(field(1, i) for i in inputs) + field(2, output) + field(3, 'n_' + output) + field(4, op) + attributes)


def onnx_ints(name, values):
    return field(5, field(1, name) + field(20, 7) + b''.join(field(8, v) for v in values))


def onnx_tensor(name, shape, raw, kind=1):
    return field(5, b''.join(field(1, n) for n in shape) + field(2, kind) + field(8, name) + field(9, raw))


def onnx_model(nodes, tensors=b'', shape=(1, 1, 8, 8), output='y', opset=13):
    graph = nodes + field(2, 'g') + tensors + field(11, onnx_value('x', shape)) + field(12, onnx_value(output, (1, 4)))
    return field(1, 8) + field(7, graph) + field(8, field(1, '') + field(2, opset))


def onnx():
    imported = ('import', '{}', '--out', 'm.safetensors')
    whole = open(ONNX + 'gemm-9.onnx', 'rb').read()
    for size in (0, 1, 2, 10, len(whole) // 4, len(whole) // 2, len(whole) - 1):
        bad(f'cut{size}.onnx', whole[:size], r'cut\d+\.onnx: .*(ONNX|damaged|graph|bytes)', *imported)
    weight = onnx_tensor('w', (2, 1, 3, 3), floats(18))
    conv = onnx_node('Conv', ('x', 'w'), 'y')
    graphs = {
        'unknown': (onnx_node('NoSuchOp', ('x',), 'y'), b'', r'NoSuchOp'),
        'nothing': (b'', b'', r'depend on its input'),
        'unnamed-input': (onnx_node('Relu', ('z',), 'y'), b'', r"z"),
        'cycle': (onnx_node('Relu', ('b',), 'a') + onnx_node('Relu', ('a',), 'b') + onnx_node('Relu', ('b',), 'y'), b'', r'n_a|n_b|cycle'),
        'twice': (onnx_node('Relu', ('x',), 'y') + onnx_node('Sigmoid', ('x',), 'y'), b'', r'y'),
        'no-weight': (conv, b'', r'w'),
        'short-weight': (conv, onnx_tensor('w', (2, 1, 3, 3), floats(17)), r'w'),
        'long-weight': (conv, onnx_tensor('w', (2, 1, 3, 3), floats(19)), r'w'),
        'negative-weight': (conv, onnx_tensor('w', (-2, 1, 3, 3), floats(18)), r'w'),
        'overflow-weight': (conv, onnx_tensor('w', (2 ** 62, 4, 3, 3), floats(18)), r'w'),
        'nan-weight': (conv, onnx_tensor('w', (2, 1, 3, 3), floats(18, p3=float('nan'))), r"w"),
        'double-weight': (conv, onnx_tensor('w', (2, 1, 3, 3), struct.pack('<18d', *[1e300] * 18), 11), r"w"),
        'text-weight': (conv, onnx_tensor('w', (2, 1, 3, 3), b'', 8), r'w'),
        'no-inputs': (onnx_node('Conv', (), 'y'), weight, r'Conv|n_y'),
        'stride': (onnx_node('Conv', ('x', 'w'), 'y', onnx_ints('strides', (0, 0))), weight, r'n_y|y'),
        'negative-pad': (onnx_node('Conv', ('x', 'w'), 'y', onnx_ints('pads', (-9, -9, -9, -9))), weight, r'n_y|y'),
        'huge-pad': (onnx_node('Conv', ('x', 'w'), 'y', onnx_ints('pads', (2 ** 40,) * 4)), weight, r'n_y|y'),
        'one-stride': (onnx_node('Conv', ('x', 'w'), 'y', onnx_ints('strides', (1,))), weight, r'n_y|y'),
        'kernel': (onnx_node('MaxPool', ('x',), 'y', onnx_ints('kernel_shape', (99, 99))), b'', r'n_y|y'),
        'no-kernel': (onnx_node('MaxPool', ('x',), 'y'), b'', r'n_y|y|kernel'),
        'divide': (onnx_node('Div', ('a', 'b'), 'c') + onnx_node('Reshape', ('x', 'c'), 'y'), onnx_tensor('a', (1,), struct.pack('<q', -2 ** 63), 7) + onnx_tensor('b', (1,), struct.pack('<q', -1), 7), r'n_c|n_y|c'),
        'by-zero': (onnx_node('Div', ('a', 'b'), 'c') + onnx_node('Reshape', ('x', 'c'), 'y'), onnx_tensor('a', (1,), struct.pack('<q', 7), 7) + onnx_tensor('b', (1,), struct.pack('<q', 0), 7), r'n_c|n_y|c'),
        'reshape': (onnx_node('Reshape', ('x', 'a'), 'y'), onnx_tensor('a', (2,), struct.pack('<2q', 1, 63), 7), r'n_y|y'),
        'control': (onnx_node('Relu', ('x',), '\x1b[2Jy'), b'', r'no text'),
    }
    for name, (nodes, tensors, pattern) in graphs.items():
        bad(name + '.onnx', onnx_model(nodes, tensors), name + r'\.onnx: .*(' + pattern + ')', *imported)
    for i, shape in enumerate(((1, -1, 8, 8), (1, 2 ** 31, 2 ** 31, 2), (1, 1, 2 ** 62, 8))):
        bad(f'input{i}.onnx', onnx_model(conv, weight, shape), r'input\d\.onnx: .*(input|size|shape)', *imported)
    for opset in (0, 1, 99, 2 ** 40):
        bad(f'opset{opset}.onnx', onnx_model(conv, weight, opset=opset), r'opset', *imported)


# Pictures.

def chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(width, height, data, depth=8, colour=0, packed=None):
    header = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(data) if packed is None else packed) + chunk(b'IEND', b'')


def pictures():
    predict = ('predict', MODEL, '--input', '{}')
    whole = png(16, 16, bytes(17 * 16))
    for size in (0, 1, 7, 8, 15, 20, 32, 33, 40, len(whole) - 12, len(whole) - 1):
        bad(f'cut{size}.png', whole[:size], r'cut\d+\.png: .*(picture|damaged)', *predict)
    for place in (12, 18, 24, 25, 30, 42, 47, len(whole) - 1, len(whole) - 5):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        bad(f'flip{place}.png', bytes(flipped), r'flip\d+\.png: .*(picture|damaged)', *predict)
    for i, (w, h) in enumerate(((0, 16), (16, 0), (70000, 1), (1, 200000), (2 ** 31 - 1, 2 ** 31 - 1), (65535, 65535), (2 ** 31, 1), (16, 17))):
        bad(f'size{i}.png', png(w, h, bytes(17 * 16)), r'size\d\.png: .*(picture|pixels|damaged)', *predict)
    bad('depth.png', png(16, 16, bytes(17 * 16), 7), r'depth\.png: .*(picture|damaged)', *predict)
    bad('colour.png', png(16, 16, bytes(17 * 16), 8, 5), r'colour\.png: .*(picture|damaged)', *predict)
    bad('palette.png', png(16, 16, bytes(17 * 16), 8, 3), r'palette\.png: .*(picture|damaged)', *predict)
    bad('filter.png', png(16, 16, b'\x09' * 17 * 16), r'filter\.png: .*damaged', *predict)
    bad('packed.png', png(16, 16, b'', packed=b'\x78\x9c\xff\xff\xff\xff'), r'packed\.png: .*damaged', *predict)
    start = b'\xff\xd8'

    def segment(marker, body):
        return bytes([0xff, marker]) + struct.pack('>H', len(body) + 2) + body

    frame = segment(0xc0, b'\x08\0\x10\0\x10\1\1\x11\0')
    for i, body in enumerate((b'', b'\xff', frame, frame + frame, segment(0xc4, bytes([0] + [255] * 16) + bytes(4080)), segment(0xc4, bytes([0, 3] + [0] * 15) + bytes(3)), segment(0xc4, b'\0'),
                              segment(0xda, b'\1\1\0\0\0\0') * 200, b'\xff\xc0\xff\xff', b'\xff\xc0\0\1', segment(0xc0, b'\x08\0\0\0\0\1\1\x11\0'), segment(0xc0, b'\x08\xff\xff\xff\xff\3' + b'\1\x44\0' * 3),
                              segment(0xdb, b'\x4f'))):
        bad(f'made{i}.jpg', start + body + b'\xff\xd9', r'made\d+\.jpg: .*(picture|pixels|damaged)', *predict)
    for name, content in (('text', b'hello'), ('gif', b'GIF89a' + bytes(40)), ('bmp', b'BM' + bytes(60)), ('tga', bytes(64))):
        bad(name + '.png', content, name + r'\.png: is no PNG or JPEG picture', *predict)


# Data sets, rules, composites, lists of names.

def texts():
    def idx(kind, sizes, data):
        return bytes([0, 0, kind, len(sizes)]) + b''.join(struct.pack('>I', n) for n in sizes) + data

    images, labels = idx(8, (2, 28, 28), bytes(2 * 784)), idx(8, (2,), bytes(2))
    kept = {'m/train-images-idx3-ubyte': images, 'm/train-labels-idx1-ubyte': labels, 'm/t10k-images-idx3-ubyte': images, 'm/t10k-labels-idx1-ubyte': labels}
    for i, content in enumerate((b'', b'\0', images[:8], images[:100], images + b'\0', idx(9, (2, 28, 28), bytes(1568)), idx(8, (2, 28), bytes(56)), idx(8, (2 ** 31, 2 ** 31, 4), b''), idx(8, (2, 0, 28), b''),
                                 idx(8, (3, 28, 28), bytes(3 * 784)), gzip.compress(images)[:25], b'\x1f\x8b' + bytes(40))):
        call(r'(idx|t10k)', 'data', 'mnist:m', files={**kept, 'm/t10k-images-idx3-ubyte': content})
    call(r'(unpack|gzip|larger|bytes)', 'data', 'mnist:m', files={**kept, 'm/t10k-images-idx3-ubyte': gzip.compress(bytes(160 << 20), 1)})
    for i, content in enumerate((b'', labels[:9], idx(8, (2,), b'\0\x0b'), idx(8, (3,), bytes(3)))):
        call(r'(idx|t10k|label)', 'data', 'mnist:m', files={**kept, 'm/t10k-labels-idx1-ubyte': content})
    for i, content in enumerate((b'', b'{', b'[]', b'7', b'null', b'{"x": 1}', b'{"rules": 7}', b'[{"rule": "none"}]', b'{"rules": [{"rule": "none"}]}', b'{"rules": [{"name": "conv1", "rule": "epsilon", "epsilon": "x"}]}',
                                 b'\xff\xfe', b'[' * 100000, b'{"rules": [7]}')):
        bad(f'rules{i}.json', content, r'rules\d+\.json', 'explain', MODEL, '--input', INPUT, '--method', 'lrp', '--output', 'r.npy', '--composite', '{}')
    for i, content in enumerate((b'', b'pattern', b'pattern a b', b'rule', b'rule x', b'rule x:', b'pattern a\nrule x: y if exists b', b'pattern a\nrule x: y if', b'pattern a\nrule x: y if exists a near a',
                                 b'pattern a\npattern a', b'pattern a\nrule x: y if ' + b'(' * 50000, b'pattern a\nrule x: y if ' + b'not ' * 50000 + b'exists a', b'\0\1\2', b'\xff\xfe',
                                 b'pattern a\nrule x: y if count a = 99999999999999999999', b'pattern a\nrule x: disk if exists a within(-1) a', b'pattern disk\nrule x: disk if exists disk weight nan')):
        bad(f'r{i}.rules', content, r'r\d+\.rules', 'train', 'renn', '--rules', '{}', '--data', 'relations:order', '--epochs', '1', '--out', 'r.safetensors')
    for i, content in enumerate((b'', b'file\n', b'file,class_index\nnone.png,0\n', b'file,class_index\nnone.png,-1\n', b'file,class_index\nnone.png,x\n', b'file,class_index\nnone.png,99999999999999999999\n', b'a,b\n1,2\n', b'\xff\xfe\0')):
        bad(f'list{i}.csv', content, r'(list\d\.csv|none\.png)', 'eval', MODEL, '--data', 'list:{}')
    for i, content in enumerate((b'', b'a\n', b'a\n' * 6, b'\xff\n' * 5)):
        bad(f'names{i}.txt', content, r'names\d\.txt', 'import', ONNX + 'gemm-9.onnx', '--classes', '{}', '--out', 'm.safetensors')


# Options.

def options():
    explain = ('explain', MODEL, '--input', INPUT, '--output', 'r.npy')
    for method, setting in (('gradient', 'none=1'), ('gradient', 'x'), ('integrated-gradients', 'steps=0'), ('integrated-gradients', 'steps=-1'), ('integrated-gradients', 'steps=x'), ('integrated-gradients', 'steps=1e99'),
                            ('integrated-gradients', 'steps=99999999999999999999'), ('smoothgrad', 'samples=0'), ('smoothgrad', 'samples=nan'), ('occlusion', 'window=0'), ('occlusion', 'window=-3'),
                            ('occlusion', 'window=99999999999'), ('occlusion', 'fill=nan'), ('occlusion', 'fill=inf'), ('occlusion', 'fill=3e38'), ('occlusion', 'fill=1e39'), ('lrp', 'composite=none')):
        call(r'setting|--set|composite|finite', *explain, '--method', method, '--set', setting)
    for rule in ('conv1', 'conv1=none', '=epsilon', 'none=epsilon', 'conv1=epsilon:epsilon=nan', 'conv1=epsilon:epsilon=x', 'conv1=epsilon:none=1', 'conv1=z-box:low=-1e39', 'conv1=z-box:low=nan',
                 'conv1=z-box:low=2,high=1', 'conv1=gamma:gamma=inf', 'conv1=alpha-beta:alpha=1e39'):
        call(r'rule', *explain, '--method', 'lrp', '--rule', rule)
    for target in ('5', '-1', '99999999999999999999', 'x', '1-', '-', '1-9', 'nan', 'label', '3.5', 'none.npy', 'positive'):
        call(r'target|none\.npy', *explain, '--method', 'gradient', '--target', target)
    for objective in ('none', 'conv1:', 'conv1:99', 'conv1:-1', 'conv1:0@', 'conv1:0@99,0', 'conv1:0@0', 'conv1:0@x,y', 'conv1:99999999999999999999', 'conv1:0@none.npy'):
        call(r'objective|none', *explain, '--method', 'gradient', '--objective', objective)
    for option, values in (('--threads', ('-1', '1025', 'x', '1e9')), ('--device', ('none', 'cuda:x', 'cuda:-1', '')), ('--memory', ('x', '-1', '0', '1T1', 'nan', '1K')), ('--pictures', ('0', '-1', 'x')),
                           ('--baseline', ('none', 'none.npy', '')), ('--images', ('-1', 'x')), ('--output-name', ('none',)), ('--score', ('none', 'probability')), ('--shard', ('0/2', '3/2', 'x', '1/0', '1/2'))):
        for value in values:
            extra = ('--method', 'lrp') if option == '--score' else ('--method', 'deeplift')
            call(option.strip('-').split('-')[0] + r'|memory|none\.npy', *explain, *extra, option, value)
    train = ('train', 'lenet5', '--data', 'relations:order,train=8', '--epochs', '1', '--out', 'm.safetensors')
    for option, values in (('--lr', ('nan', 'inf', '0', '-1', 'x')), ('--momentum', ('nan', '1', '-1')), ('--weight-decay', ('nan', '-1')), ('--ema', ('nan', '1')), ('--mixup', ('nan', '-1')),
                           ('--label-smoothing', ('nan', '1')), ('--batch', ('0', '-1', '99999999999')), ('--schedule', ('none', 'step:0', 'step:x', 'step:1,nan', 'step:inf', 'step:1e300', 'step:2', 'cosine+none', 'cosine+warmup:x', 'cosine+warmup:2')),
                           ('--optimizer', ('none',)), ('--seed', ('-1', 'x', '99999999999999999999')), ('--interpretable', ('none',)), ('--filter-weight', ('nan',))):
        for value in values:
            call(option.strip('-') + r'|node', *train, option, value)
    for value in ('1e39', 'nan', 'x', '1,2,3,4,5'):
        call(r'mean', 'import', ONNX + 'conv.onnx', '--mean', value, '--std', '1', '--out', 'm.safetensors')
    for spec in ('', 'none', 'none:x', 'mnist:none', 'folder:none', 'npy:none', 'npy:a,b', 'npy:none.npy,none.npy', 'partshapes:none', 'relations:none', 'partshapes:train=-1', 'relations:order,train=99999999999999999999'):
        call(re.escape(re.split('[:,]', spec)[0]) + r'|data set|^(none|a)(\.npy)?: (has neither|cannot be)', 'data', spec)
    named = ('predict', MODEL, '--input', INPUT)
    for pattern, *arguments in (('subcommand', 'none'), ('FILE is required', 'predict'), (r'none\.safetensors: cannot be opened', 'predict', 'none.safetensors', '--input', INPUT), ('--input', 'predict', MODEL),
                                (r'none\.npy: cannot be opened', 'predict', MODEL, '--input', 'none.npy'), ('/: is', 'predict', '/', '--input', INPUT), ('/dev/null', 'predict', MODEL, '--input', '/dev/null'),
                                ('/dev/null: is not a file', 'predict', '/dev/null', '--input', INPUT), ('none', 'study', 'none', MODEL, '--output', 'e'), ('data set', 'study', 'evaluation', MODEL, '--data', 'none', '--output', 'e'),
                                ('none: holds no part', 'merge', 'none'), ('data set|filter', 'filters', MODEL, '--data', 'none'), ('rule|renn', 'renn', MODEL, '--input', INPUT), ('ends in', 'export', MODEL, '--out', 'm.txt'),
                                ('none/m.onnx', 'export', MODEL, '--out', 'none/m.onnx'), ('none/y.npy', *named, '--output', 'none/y.npy'), ('ends in .npy', *named, '--output', 'y.txt')):
        call(pattern, *arguments)


def judge(case):
    name, files, arguments, pattern = case
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
            with open(os.path.join(folder, path), 'wb') as f:
                f.write(content)
        try:
            r = subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=30, cwd=folder, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return f'{name}: {arguments}: takes more than 30 seconds'
        left = {os.path.relpath(os.path.join(at, f), folder) for at, _, names in os.walk(folder) for f in names} - set(files)
    line = r.stderr.decode(errors='replace').strip()
    if os.environ.get('VITRINE_SHOW'):
        print(f'{r.returncode} {name}: {" ".join(arguments)[-60:]!r}: {line!r}')
    if r.returncode not in (1, 2):
        return f'{name}: {arguments}: exit status {r.returncode}: {line[-300:]}'
    if not line.startswith('vitrine: ') or any(ord(c) < 32 for c in line) or len(line) > 1000:
        return f'{name}: {arguments}: is not one sentence: {line[:300]!r}'
    if not re.search(pattern, line[len('vitrine: '):]):
        return f'{name}: {arguments}: {pattern!r} is not in {line[:300]!r}'
    return f'{name}: {arguments}: left {left}' if left else ''


arrays()
models()
onnx()
pictures()
texts()
options()
with ThreadPoolExecutor(2) as pool:
    failures = [f for f in pool.map(judge, cases) if f]
for f in failures:
    print('FAILED:', f)
print(f'{len(cases) - len(failures)} passed, {len(failures)} failed')
sys.exit(1 if failures else 0)
