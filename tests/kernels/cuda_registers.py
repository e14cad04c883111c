#!/usr/bin/env python3
"""What ptxas makes of the CUDA kernels: registers, shared memory, spills, and how many threads of a multiprocessor can be busy.

    cuda_registers.py [--architectures 75,80,86,89,90] [--main] [--no-spills]

Compiles kernels/*/cuda.cu by nvcc with -Xptxas=-v and prints a Markdown table, a line a kernel: for every architecture
registers, and spilled bytes where there are any; shared memory; occupancy on the last one. --main: the kernels that time is
spent in alone. --no-spills: fails if one of those spills. Exit 77: nvcc is missing.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAIN = ('product_kernel', 'tensor_kernel', 'reduce_kernel', 'channel_reduce_kernel', 'softmax_forward_kernel', 'depthwise')
# Of a multiprocessor: registers, shared memory, threads, blocks (CUDA C++ Programming Guide, technical specifications).
LIMITS = {75: (65536, 64 << 10, 1024, 16), 80: (65536, 164 << 10, 2048, 32), 86: (65536, 100 << 10, 1536, 16), 89: (65536, 100 << 10, 1536, 24), 90: (65536, 228 << 10, 2048, 32)}


def occupancy(architecture, registers, shared, threads):
    all_registers, all_shared, most, blocks = LIMITS[architecture]
    # Registers are given to warps in units of 256, shared memory in units of 128 bytes, and 1 KiB of it belongs to the system from 8.0 on.
    warps = threads // 32
    by_registers = all_registers // (-(-registers * 32 // 256) * 256) // warps
    by_shared = all_shared // (-(-(shared + (1024 if architecture >= 80 else 0)) // 128) * 128) if shared else blocks
    return min(by_registers, by_shared, most // threads, blocks) * threads / most


def readable(names):
    done = subprocess.run(['c++filt'], input='\n'.join(names), capture_output=True, text=True, check=True).stdout.splitlines()
    short = []
    for name in done:
        name = name.replace('vitrine::kernels::cuda::', '').replace('vitrine::kernels::', '')
        name = re.sub(r'^void ', '', name)
        depth = 0
        for i, c in enumerate(name):
            depth += (c == '<') - (c == '>')
            if c == '(' and depth == 0:
                name = name[:i]
                break
        short.append(name)
    return dict(zip(names, short))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--architectures', default='75,80,86,89,90')
    parser.add_argument('--main', action='store_true')
    parser.add_argument('--no-spills', action='store_true')
    arguments = parser.parse_args()
    nvcc = shutil.which('nvcc') or shutil.which('/usr/local/cuda/bin/nvcc')
    if not nvcc:
        sys.exit(77)
    architectures = [int(a) for a in arguments.architectures.split(',')]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(glob.glob(os.path.join(ROOT, 'kernels/*/cuda.cu'))):
            command = [nvcc, '-std=c++20', '-O2', '--fmad=false', '--expt-relaxed-constexpr', '-I', ROOT, '-Xptxas=-v', '-c', path, '-o', os.path.join(folder, 'o')]
            command += [f'-gencode=arch=compute_{a},code=sm_{a}' for a in architectures]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            entry = None
            for line in done.stderr.splitlines():
                if match := re.search(r"Compiling entry function '(\w+)' for 'sm_(\d+)'", line):
                    entry = found.setdefault(match[1], {}).setdefault(int(match[2]), {'spills': 0, 'shared': 0})
                elif match := re.search(r'(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads', line):
                    entry['spills'] = int(match[2]) + int(match[3])
                    entry['stack'] = int(match[1])
                elif match := re.search(r'Used (\d+) registers', line):
                    entry['registers'] = int(match[1])
                    if shared := re.search(r'(\d+) bytes smem', line):
                        entry['shared'] = int(shared[1])
    names = readable(sorted(found))
    spilled = False
    last = architectures[-1]
    print('| kernel | threads | ' + ' | '.join(f'sm_{a}' for a in architectures) + f' | stack | shared | occupancy sm_{last} |')
    print('| --- |' + ' ---: |' * (len(architectures) + 4))
    for mangled, name in sorted(names.items(), key=lambda item: item[1]):
        is_main = name.startswith(MAIN)
        if arguments.main and not is_main:
            continue
        threads = 128 if re.match(r'(softmax|log_softmax|cross_entropy|map_|template_gate|released_scores|paper_scores)\w*_kernel', name) else 256
        by = found[mangled]
        cells = []
        for a in architectures:
            e = by[a]
            cells.append(f'{e["registers"]}' + (f' ({e["spills"]} B spilled)' if e['spills'] else ''))
            spilled |= is_main and e['spills'] > 0
        e = by[last]
        print(f'| {name} | {threads} | ' + ' | '.join(cells) + f' | {e.get("stack", 0)} | {e["shared"]} | {occupancy(last, e["registers"], e["shared"], threads):.0%} |')
    sys.exit(arguments.no_spills and spilled)


if __name__ == '__main__':
    main()
