#!/usr/bin/env python3
"""Plants one fault at a time in a copy of the CUDA kernels and asks which layer of the tests notices.

    tests/mutation/cuda.py --tests PATH [--only NUMBER,...] [--layers plain,check,ptx] [--ptx BUILD] [--table FILE] [--jobs N]
    tests/mutation/cuda.py --texts

PATH is the built kernels_cuda. Only the families that a fault touches are compiled and linked anew. The layers: plain
emulation in the orders greedy, reverse and random; the check build; and, with --ptx, the PTX that nvcc makes of it, interpreted:
BUILD is a build folder with nvcc's module and the stand-in for libcudart (tools/check's build/gcc). --texts looks for the texts alone. A fault that no layer catches, whose text is gone, or that does not compile is a failure of this script.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from run import find

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRODUCT, REDUCE, CHANNELS, ELEMENTS = (f'kernels/cuda/{f}.h' for f in ('product', 'reduce', 'channels', 'elementwise'))
FAMILIES = ('conv', 'eltwise', 'explain', 'filters', 'gemm', 'norm', 'optim', 'pool', 'reduce', 'resize', 'softmax')
CONV, ELTWISE, EXPLAIN, FILTERS, GEMM, NORM, OPTIM, POOL, SUMS, RESIZE, SOFTMAX = (f'kernels/{f}/cuda.cu' for f in FAMILIES)
BF16, LARGE = {'VITRINE_CUDA_MATH': 'bf16'}, {'VITRINE_CUDA_LARGE_FROM': '0'}

# File, text, replacement, what it is, slots that are run, families to compile (those of the file if empty), environment.
FAULTS = [
    (PRODUCT, '    if constexpr (Raw) wait_copies<0>();\n    sync_threads();\n', '    if constexpr (Raw) wait_copies<0>();\n', 'product: no barrier between slices', 'gemm', ['gemm'], {}),
    (PRODUCT, '    if constexpr (Raw) wait_copies<0>();\n', '', 'product: no wait for the copies', 'gemm', ['gemm'], {}),
    (PRODUCT, 'if constexpr (Raw) wait_copies<0>();', 'if constexpr (Raw) wait_copies<1>();', 'product: a wait for one group too few', 'gemm', ['gemm'], {}),
    (PRODUCT, 'a.copy(k + T::tile_k, last, a_slices[turn ^ 1]);', 'a.copy(k + T::tile_k, last, a_slices[turn]);', 'product: the next slice overwrites the one in use', 'gemm', ['gemm'], {}),
    (PRODUCT, 'a.store(next_a, a_slices[turn ^ 1]);\n        b.store', 'a.store(next_a, a_slices[turn]);\n        b.store', 'product: substituted slice stored in the one in use', 'gemm', ['gemm'], {}),
    (PRODUCT, '    commit_copies();\n    } else {\n      a.fetch(first', '    } else {\n      a.fetch(first', 'product: the first group of copies is not closed', 'gemm', ['gemm'], {}),
    (PRODUCT, 'return r < rows ? data + r * row_stride : nullptr;', 'return data + r * row_stride;', 'product: no guard of rows (what is read goes nowhere)', 'gemm', ['gemm'], {}),
    (PRODUCT, 'f(depth_ + j * depth_step, row_, k < last ?', 'f(depth_ + j * depth_step, row_, k <= last ?', 'product: guard of the depth off by one', 'gemm', ['gemm'], {}),
    (PRODUCT, 'if (r < m) part.store(r, column, sum[i][4 * hn + j]);', 'if (r <= m) part.store(r, column, sum[i][4 * hn + j]);', 'product: one row too many is stored', 'gemm', ['gemm'], {}),
    (PRODUCT, 'static constexpr int row_step = Operand::depth_first ? product_threads / Depth : 0;', 'static constexpr int row_step = Operand::depth_first ? product_threads / Depth / 2 : 0;', 'product: wrong stride of rows in a slice', 'gemm', ['gemm'], {}),
    (PRODUCT, 'values[j++] = p ? substituted(operand_.sub, *p) : 0.0f;', 'values[j++] = p ? *p : 0.0f;', 'product: operands go in without their substitution', 'gemm', ['gemm'], {}),
    (PRODUCT, 'if (place.row >= m || place.column >= n) return;\n  const SliceLoader', 'if (place.row >= m || place.column + static_cast<int>(threadIdx.x) % 64 >= n) return;\n  const SliceLoader', 'product: threads outside leave before the barrier', 'gemm', ['gemm'], {}),
    (PRODUCT, '(i / 4 * T::threads_m + tm) * 4 + i % 4;\n        if (r < m) part.store(', '(i / 4 + tm) * 4 + i % 4;\n        if (r < m) part.store(', 'product: rows of the large tile at a wrong distance', 'gemm', ['gemm'], LARGE),
    (PRODUCT, '[warp_row + i * 16 + lane % 16]', '[warp_row + i * 16 + lane % 8]', 'tensor cores: rows of a matrix twice', 'gemm', ['gemm'], BF16),
    (PRODUCT, 'y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]', 'y[j / 2][j % 2 * 2 + 1], y[j / 2][j % 2 * 2]', 'tensor cores: halves of the depth swapped', 'gemm', ['gemm'], BF16),
    (PRODUCT, 'k += depth, turn ^= 1) {\n    sync_threads();', 'k += depth, turn ^= 1) {', 'tensor cores: no barrier between slices', 'gemm', ['gemm'], BF16),
    (PRODUCT, 'return (u + 0x7fffu + (u >> 16 & 1)) >> 16;', 'return u >> 16;', 'tensor cores: bf16 cut off instead of rounded', 'gemm', ['gemm'], BF16),
    (PRODUCT, 'word_pitch = 20;', 'word_pitch = 18;', 'tensor cores: rows of a slice not aligned', 'gemm', ['gemm'], BF16),
    (GEMM, 'p.aligned = g.ldc % 4 == 0 && ', 'p.aligned = ', 'gemm: vector stores to rows that are not aligned', 'gemm', [], {}),
    (GEMM, 'v + substituted(bias_sub, bias[c])', 'v + bias[c]', 'gemm: bias without its substitution', 'gemm', [], {}),
    (CONV, '-y.tap_step};', 'y.tap_step};', 'convolution, way back: taps in the wrong direction', 'conv_backward_data', [], {}),
    (CONV, 'c.taps = (kernel - k + step - 1) / step;', 'c.taps = (kernel - k) / step;', 'convolution, way back: the last tap of a class forgotten', 'conv_backward_data', [], {}),
    (CONV, 'if (p.bias) p.bias += g * max_m;', '', 'convolution: bias of group 0 for all', 'conv_forward', [], {}),
    (CONV, 'max_m * max_n + split * copy;', 'max_m * max_n;', 'convolution: parts of a split sum in one place', 'conv_backward_weights', [], {}),
    (CONV, 'p.first_pixel + chunk < p.last_pixel ? p.first_pixel + chunk : p.last_pixel', 'p.first_pixel + chunk', 'convolution: the last part reads beyond its pixels', 'conv_backward_weights', [], {}),
    (CONV, 'i < pixels ? row : nowhere', 'row', 'convolution: no guard of pixels', 'conv_forward', [], {}),
    (CONV, 'p.group.aligned = pixels % 4 == 0 && ', 'p.group.aligned = ', 'convolution: vector stores across images', 'conv_forward', [], {}),
    (REDUCE, '  sync_threads();\n  T total', '  T total', 'block sum: no barrier before the parts are read', 'stats', ['reduce'], {}),
    (REDUCE, '  sync_threads();  // before the next call overwrites the parts\n', '', 'block sum: no barrier after the parts were read', 'stats', ['reduce'], {}),
    (REDUCE, 'for (int bits = 16; bits > 0; bits /= 2) v = op', 'for (int bits = 8; bits > 0; bits /= 2) v = op', 'warp sum: half of the lanes', 'stats', ['reduce'], {}),
    (REDUCE, 'shuffle_xor(v, bits)', 'shuffle_xor(v, bits, 0xffffu)', 'warp sum: wrong mask', 'dot', ['reduce'], {}),
    (REDUCE, 'if (threadIdx.x % 32 == 0) parts', 'parts', 'block sum: all lanes write one place (the same value)', 'dot', ['reduce'], {}),
    (REDUCE, 'for (int w = 1; w < Threads / 32; ++w)', 'for (int w = 1; w < Threads / 32 - 1; ++w)', 'block sum: the last warp forgotten', 'dot', ['reduce'], {}),
    (SUMS, 'const std::int64_t stride = std::int64_t{gridDim.x} * reduce_block;', 'const std::int64_t stride = reduce_block;', 'sum: blocks read the same', 'dot', [], {}),
    (SUMS, 'if (threadIdx.x == 0) out[std::int64_t{blockIdx.x} * Terms::value_count + k] = total;', 'out[std::int64_t{blockIdx.x} * Terms::value_count + k] = total;', 'sum: all threads write the result (the same value)', 'dot', [], {}),
    (CHANNELS, 'q += std::int64_t{e.splits} * reduce_block)', 'q += reduce_block)', 'channel sum: parts read the same', 'channel_sum', ['reduce'], {}),
    (CHANNELS, '(image * channels + channel) * pixels', '(channel * channels + image) * pixels', 'channel sum: image and channel swapped', 'channel_sum', ['reduce'], {}),
    (ELEMENTS, 'i < n; i += stride) f(i);', 'i <= n; i += stride) f(i);', 'elementwise: one element too many', 'scale', ['eltwise'], {}),
    (ELEMENTS, 'std::int64_t{gridDim.x} * elementwise_block;', 'elementwise_block;', 'elementwise: the grid strides by one block (elements twice)', 'scale', ['eltwise'], {}),
    (ELEMENTS, 'put(float& to, float value, bool add) { to = add ? to + value : value; }', 'put(float& to, float value, bool add) { to = to + (add ? value : value - to); }', 'elementwise: old content is read where it must not be', 'scale', ['eltwise'], {}),
    (ELTWISE, 'words[w] >> 8', 'words[3 - w] >> 8', 'dropout: words in the wrong order', 'dropout', [], {}),
    (ELTWISE, 'if (at < 0 || at >= n) continue;', 'if (at >= n) continue;', 'dropout: no guard before the first element', 'dropout', [], {}),
    (ELTWISE, 'to += static_cast<std::int64_t>(at) * c.dst_stride[d];', 'to += static_cast<std::int64_t>(at) * c.src_stride[d];', 'copy: wrong strides', 'copy', [], {}),
    (ELTWISE, 'case Map::relu: return v < 0 ? 0.0f : v;', 'case Map::relu: return v > 0 ? v : 0.0f;', 'relu: NaN becomes 0', 'map_forward', [], {}),
    (NORM, 'around = squares - sum * mean;', 'around = squares - mean * mean;', 'batch norm: wrong variance', 'batch_norm_forward', [], {}),
    (NORM, 'static_cast<std::size_t>(a.last - a.first) * 2 * sizeof(float));', 'static_cast<std::size_t>(a.last - a.first) * sizeof(float));', 'batch norm: workspace too small', 'batch_norm_backward', [], {}),
    (NORM, 'for (std::int64_t k = c > after ? c - after : 0;', 'for (std::int64_t k = c - after;', 'LRN: channels below 0', 'lrn_backward', [], {}),
    (POOL, 'return {from, to < out ? to : out - 1};', 'return {from, to};', 'pool, way back: windows beyond the last one', 'max_pool_scatter', [], {}),
    (POOL, 'if (switches[o] == ty * b.span + tx) sum += y[o];', 'if (switches[o] == ty * b.span + tx) sum = y[o];', 'pool, way back: overlapping windows overwrite', 'max_pool_scatter', [], {}),
    (POOL, 'offset >= 0 && t * step == offset && t >= w.first', 'offset >= 0 && t >= w.first', 'pool, way back: taps between dilated ones', 'avg_pool_backward', [], {}),
    (POOL, ' && !(v != v && best == best)) continue;', ') continue;', 'max pool: NaN does not win', 'max_pool_forward', [], {}),
    (SOFTMAX, '    sum = warp_reduce(sum, Sum());\n    for (std::int64_t j = lane; j < k; j += 32) to[j] /= sum;', '    for (std::int64_t j = lane; j < k; j += 32) to[j] /= sum;', 'softmax: each lane its own sum', 'softmax_forward', [], {}),
    (SOFTMAX, 'if (lane == 0) loss[row] = k > 0 ? l : 0.0;', 'loss[row] = k > 0 ? l : 0.0;', 'cross-entropy: all lanes write the loss (the same value)', 'cross_entropy', [], {}),
    (SOFTMAX, 'row += std::int64_t{gridDim.x} * softmax_rows)', 'row += gridDim.x)', 'softmax: rows twice, by two blocks', 'softmax_forward', [], {}),
    (OPTIM, 'g = o.nesterov ? g + o.momentum * b : b;', 'g = o.nesterov ? b + o.momentum * b : b;', 'sgd: Nesterov from the buffer', 'sgd', [], {}),
    (EXPLAIN, 'sign = v < 0 ? -1.0f : 1.0f, magnitude', 'sign = v <= 0 ? -1.0f : 1.0f, magnitude', 'quotient: sgn(0) = -1', 'relevance_quotient', [], {}),
    (EXPLAIN, 'factor * substituted(sub, x[i]) * c[i]', 'factor * x[i] * c[i]', 'product rule: input without its substitution', 'relevance_product', [], {}),
    (FILTERS, '    sync_threads();  // before the next call overwrites the winners\n', '', 'peak: no barrier before the next map', 'template_gate', [], {}),
    (FILTERS, 'b.value == a.value && b.place < a.place', 'b.value == a.value && b.place > a.place', 'peak: the last of equal ones', 'template_gate', [], {}),
    (FILTERS, 'return image() * channels + filter(); }', 'return filter() * channels + image(); }', 'filters: image and filter swapped', 'filter_state', [], {}),
    (FILTERS, 'workspace(count * 4 * sizeof(double)', 'workspace(count * 3 * sizeof(double)', 'filters: workspace too small', 'filter_state', [], {}),
    (FILTERS, 'for (std::int64_t t = threadIdx.x; t <= shape.places; t += map_block)', 'for (std::int64_t t = threadIdx.x; t < shape.places; t += map_block)', 'filter loss: no score of the negative template', 'filter_loss', [], {}),
    (RESIZE, 'if (tap(middle).at[1] < p)\n        low', 'if (tap(middle).at[1] <= p)\n        low', 'resize, way back: the first reader forgotten', 'resize_backward', [], {}),
]
ORDERS = ('greedy', 'reverse', 'random')
FLAGS = ['-std=c++20', '-O1', '-fPIC', '-ffp-contract=off', '-mavx2', '-mfma', '-w']
CHECK = ['-fsanitize=thread', '-fno-tree-vectorize']


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def compile_family(source, objects, family, layer):
    """None, or what the compiler says."""
    stub = os.path.join(objects, f'{family}.{layer}.cpp')
    with open(stub, 'w') as f:
        f.write(f'#include "kernels/{family}/cuda.cu"\n')
    done = run(['g++'] + FLAGS + (CHECK if layer == 'check' else []) + ['-g1', '-I', source, '-c', stub, '-o', stub[:-4] + '.o'])
    return done.stdout if done.returncode else None


def compile_rest(objects):
    for name in ('failure', 'module', 'emulator/emulator', 'emulator/heap', 'emulator/plain', 'emulator/check'):
        done = run(['g++'] + FLAGS + ['-O2', '-I', ROOT, '-c', os.path.join(ROOT, 'kernels/cuda', name + '.cpp'), '-o', os.path.join(objects, os.path.basename(name) + '.o')])
        if done.returncode:
            sys.exit(done.stdout)


def link(base, own, families, layer, module):
    files = [os.path.join(own if f in families else base, f'{f}.{layer}.o') for f in FAMILIES]
    files += [os.path.join(base, f + '.o') for f in ('failure', 'module', 'emulator', 'heap', 'check' if layer == 'check' else 'plain')]
    done = run(['g++', '-shared', '-o', module] + files)
    if done.returncode:
        sys.exit(done.stdout)


def noticed(tests, module, slots, environment, order, every=1):
    """What the run says when it fails, or ''."""
    try:
        done = run([tests, f'--module={module}', f'-sc={slots}', f'--every={every}'], env={**os.environ, **environment, 'VITRINE_EMULATOR_ORDER': order}, timeout=300)
    except subprocess.TimeoutExpired:
        return 'does not end'
    if done.returncode == 0:
        return ''
    for line in done.stdout.splitlines():
        if line.startswith('the device failed: '):
            return line[len('the device failed: '):]
    return 'wrong result' if done.returncode == 1 else f'ends by signal {-done.returncode}'


def interpreted(build):
    return {'LD_LIBRARY_PATH': os.path.join(build, 'tests/cuda'), 'VITRINE_CUDNN': 'off', 'VITRINE_STANDIN_ORDER': 'greedy', 'VITRINE_STANDIN_SEED': '3'}


def ptx_module(source, own, families, build, module):
    """nvcc's module with these families made from `source`, for PTX alone; None, or what a compiler says."""
    objects = {os.path.basename(f): f for f in glob.glob(os.path.join(build, 'kernels/cuda/libvitrine_cuda.so.p/*.o'))}
    commands = json.load(open(os.path.join(build, 'compile_commands.json')))
    for family in families:
        entry = next(e for e in commands if e['file'].endswith(f'kernels/{family}/cuda.cu') and 'libvitrine_cuda.so.p' in e['output'])
        made = f'{own}/{family}.ptx.o'
        words, command, skip = shlex.split(entry['command']), [], False
        for word in words:
            if skip or re.match(r'-gencode|-M[DFQ]|-o$|-c$', word) or word == entry['file'] or word == entry['output']:
                skip = word in ('-MF', '-MQ', '-o')
                continue
            command.append(word)
            if os.path.basename(word) == 'nvcc':
                command += ['-I', source]  # before the original's headers
        target = re.findall(r'compute_(\d+),code=compute', entry['command'])[-1]
        done = run(command + [f'-gencode=arch=compute_{target},code=compute_{target}', '-c', f'{source}/kernels/{family}/cuda.cu', '-o', made], cwd=entry['directory'])
        if done.returncode:
            return done.stdout
        name = os.path.basename(entry['output'])
        objects[name] = made
    done = run(['g++', '-shared', '-o', module] + list(objects.values()) + ['-L' + os.path.join(build, 'tests/cuda'), '-l:libcudart.so.13', '-ldl'])
    return done.stdout if done.returncode else None


def try_fault(number, base, folder, arguments):
    path, old, new, what, slots, families, environment = FAULTS[number - 1]
    families = families or [path.split('/')[1]]
    own = os.path.join(folder, str(number))
    source = own + '/source'
    shutil.copytree(os.path.join(ROOT, 'kernels'), source + '/kernels')
    full = os.path.join(source, path)
    text = open(full).read()
    with open(full, 'w') as f:
        begin, end = find(text, old)
        f.write(text[:begin] + new + text[end:])
    result = {}
    # Emulated tensor cores and checked products are slow; what they can see shows in some of the cases.
    for layer in [l for l in ('plain', 'check') if l in arguments.layers]:
        for family in families:
            error = compile_family(source, own, family, layer)
            if error:
                return number, what, path, {'broken': error[-600:]}
        module = f'{own}/{layer}.so'
        link(base, own, families, layer, module)
        every = 6 if environment == BF16 else 3 if slots.startswith('conv') or slots == 'gemm' and layer == 'check' else 1
        every *= 2 if layer == 'check' and slots.startswith('conv') else 1
        for order in ORDERS if layer == 'plain' else ('greedy',):
            result[order if layer == 'plain' else layer] = noticed(arguments.tests, module, slots, environment, order, every)
    if 'ptx' in arguments.layers:
        module = f'{own}/ptx.so'
        error = ptx_module(source, own, families, arguments.ptx, module)
        if error:
            return number, what, path, {'broken': error[-600:]}
        result['ptx'] = noticed(arguments.tests, module, slots, {**environment, **interpreted(arguments.ptx)}, 'greedy', 8 if slots.startswith('conv') or slots == 'gemm' else 2)
    shutil.rmtree(own)
    return number, what, path, result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--tests')
    parser.add_argument('--only')
    parser.add_argument('--ptx')
    parser.add_argument('--layers')
    parser.add_argument('--table')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--texts', action='store_true')
    arguments = parser.parse_args()
    lost = [f'{path}: the text of "{what}" is not there' for path, old, _, what, *_ in FAULTS if not find(open(os.path.join(ROOT, path)).read(), old)]
    if lost or arguments.texts:
        sys.exit('\n'.join(lost) or 0)
    arguments.tests = os.path.abspath(arguments.tests)
    arguments.ptx = os.path.abspath(arguments.ptx) if arguments.ptx else None
    arguments.layers = (arguments.layers or 'plain,check' + (',ptx' if arguments.ptx else '')).split(',')
    chosen = [int(n) for n in arguments.only.split(',')] if arguments.only else range(1, len(FAULTS) + 1)
    folder = tempfile.mkdtemp(prefix='vitrine-cuda-mutation-')
    base = folder + '/base'
    os.mkdir(base)
    if arguments.layers != ['ptx']:
        compile_rest(base)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        here = [layer for layer in ('plain', 'check') if layer in arguments.layers]
        for error in pool.map(lambda job: compile_family(ROOT, base, *job), [(f, layer) for f in FAMILIES for layer in here]):
            if error:
                sys.exit(error)
        # Without a fault nothing must be noticed.
        for layer in here:
            link(base, base, [], layer, f'{base}/{layer}.so')
            said = noticed(arguments.tests, f'{base}/{layer}.so', 'scale,stats,softmax_forward', {}, 'greedy')
            if said:
                sys.exit(f'without a fault, the {layer} build says: {said}')
        if 'ptx' in arguments.layers:
            said = noticed(arguments.tests, os.path.join(arguments.ptx, 'kernels/cuda/libvitrine_cuda.so'), 'gemm,stats,softmax_forward', interpreted(arguments.ptx), 'greedy', 8)
            if said:
                sys.exit(f'without a fault, the interpreted PTX says: {said}')
        missed, rows = 0, []
        for number, what, path, result in pool.map(lambda n: try_fault(n, base, folder, arguments), chosen):
            if 'broken' in result:
                print(f'{number:3} BROKEN  {what}: does not compile\n{result["broken"]}', flush=True)
                missed += 1
                continue
            caught = any(result.values())
            missed += not caught
            where = [k for k, v in result.items() if v]
            print(f'{number:3} {"caught " if caught else "MISSED "} {what}  [{", ".join(where)}]', flush=True)
            cell = lambda key: 'yes' if result.get(key) else 'no' if key in result else ''
            rows.append(f'| {number} | {path.removeprefix("kernels/")} | {what} | ' + ' | '.join(cell(k) for k in ORDERS + ('check', 'ptx')) + f' | {result.get("check", "").split(", in ")[0]} |')
    if arguments.table:
        with open(arguments.table, 'w') as f:
            f.write('| | file | fault | greedy | reverse | random | check | PTX | what the check build says |\n| ---: | --- | --- | --- | --- | --- | --- | --- | --- |\n' + '\n'.join(rows) + '\n')
    print(f'{len(list(chosen)) - missed} caught, {missed} missed')
    shutil.rmtree(folder)
    sys.exit(missed > 0)


if __name__ == '__main__':
    main()
