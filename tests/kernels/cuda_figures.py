#!/usr/bin/env python3
"""Holds how well the warps of the main CUDA kernels use memory: sectors of global memory and passes over the banks of shared
memory, by source line, as the check build counts them, against limits.

    cuda_figures.py KERNELS_CUDA MODULE [--print]
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Kernel, text of the source line, memory, access: at most so many times what the bytes need.
G, F, D, W = ('GemmProblem<true, false>', 'ForwardProblem', 'DataProblem', 'WeightsProblem')
COPY, A, B = 'copy_async(&slice[k][r], p)', 'const float4 v = load4(&a[k]', 'const float4 v = load4(&b[k]'
LIMITS = [('product_kernel<Tile<%s>, %s, true>' % (t, p), *rest)
          for t, p, reads, writes in (('16, 1, 1, 16', G, 1, 1.5), ('16, 1, 1, 16', F, 1.5, 2), ('8, 1, 1, 16', D, 1.5, 2), ('16, 1, 1, 16', W, 1.4, 2.4))
          # Borders of images read less than whole sectors; slices are written across, at a pitch that is not odd.
          for rest in ((COPY, 'global', 'read', reads), (COPY, 'shared', 'write', writes), (A, 'shared', 'read', 1), (B, 'shared', 'read', 1),
                       ('store4(to, v)', 'global', 'write', 1))] + [
    ('elementwise_kernel<Scale>', 'put(y[i], a * x[i], add)', 'global', 'read', 1),
    ('elementwise_kernel<Scale>', 'put(float& to', 'global', 'write', 1),
    ('softmax_forward_kernel', 'm = x[j]', 'global', 'read', 1),
    ('softmax_forward_kernel', 'to[j] /= sum', 'global', 'write', 1),
    ('reduce_kernel<StatsTerms>', 'const float f = x[i];', 'global', 'read', 1),
    ('reduce_kernel<StatsTerms>', 'total = op(total, parts[w])', 'shared', 'read', 1),
    ('channel_reduce_kernel<ChannelSumTerms>', 'static_cast<double>(x[i])', 'global', 'read', 1),
    ('elementwise_kernel<AvgPoolForward>', 'sum += x[', 'global', 'read', 2),  # every second column at a time
]


def main():
    binary, module = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'figures')
        done = subprocess.run([binary, '--module=' + module, '-tc=the main kernels on even sizes'], env={**os.environ, 'VITRINE_EMULATOR_PROFILE': path}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        lines = [line.rstrip('\n').split('\t') for line in open(path)]
    failed = False
    used = set()
    print('| kernel | line | memory | access | requests | of what the bytes need | limit |\n| --- | --- | --- | --- | ---: | ---: | ---: |')
    for kernel, place, memory, access, requests, actual, ideal in lines:
        file, number = re.match(r'(.*):(\d+)', place).groups() if ':' in place else (place, 0)
        full = os.path.join(ROOT, 'kernels', file)
        text = open(full).read().splitlines()[int(number) - 1].strip() if os.path.exists(full) and int(number) else place
        ratio = int(actual) / max(1, int(ideal))
        limit = ''
        for i, (k, t, m, a, most) in enumerate(LIMITS):
            if kernel.startswith(k) and t in text and (m, a) == (memory, access):
                used.add(i)
                limit = most
                failed |= ratio > most * 1.001
        if limit != '' or '--print' in sys.argv:
            print(f'| {kernel[:70]} | {place} `{text[:60]}` | {memory} | {access} | {requests} | {ratio:.2f} | {limit} |')
    for i, limit in enumerate(LIMITS):
        if i not in used:
            print('nothing was counted for', limit)
            failed = True
    sys.exit(failed)


if __name__ == '__main__':
    main()
