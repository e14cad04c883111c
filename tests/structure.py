#!/usr/bin/env python3
"""Holds the sources to the one direction of includes, kernels <- core <- layers <- models <- interp <- tools. Two folders
are stricter: interp/rules uses nothing above layers, and what is not core/host uses nothing of core/host below models
(core and layers are what the embedded library holds). Compiles every public header alone.

    structure.py SOURCE_ROOT COMPILER...
"""
import os
import re
import subprocess
import sys
import tempfile

# Headers that need an instruction set.
INSTRUCTIONS = {'kernels/simd/avx2.h': ['-mavx2', '-mfma'], 'kernels/simd/avx512.h': ['-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mfma']}
RANK = {name: k for k, name in enumerate(['kernels', 'core', 'layers', 'models', 'interp', 'tools'])}


def main(root, compiler):
    errors, headers = [], []
    x86 = os.uname().machine in ('x86_64', 'amd64')
    for folder, _, files in os.walk(root):
        top = os.path.relpath(folder, root).split(os.sep)[0]
        if top not in RANK:
            continue
        for name in files:
            if not name.endswith(('.h', '.cpp', '.cu')):
                continue
            path = os.path.relpath(os.path.join(folder, name), root)
            text = open(os.path.join(root, path)).read()
            limit = RANK['layers'] if path.startswith('interp/rules/') else RANK[top]
            for target in re.findall(r'#include "(\w+)/', text):
                inside_rules = path.startswith('interp/rules/') and '#include "interp/rules/' in text and target == 'interp'
                if RANK.get(target, 99) > limit and not inside_rules:
                    errors.append(f'{path} includes {target}/, against the direction')
            embedded = top in ('kernels', 'core', 'layers') and not path.startswith('core/host/') or path.startswith('interp/rules/')
            for target in re.findall(r'#include "([^"]+)"', text):
                if embedded and target.startswith('core/host/'):
                    errors.append(f'{path} includes {target}: the embedded library has no host')
                if not os.path.exists(os.path.join(root, target)):
                    errors.append(f'{path} includes "{target}", which is no path from the root')
                if path.startswith('interp/rules/') and target.startswith('interp/') and not target.startswith('interp/rules/'):
                    errors.append(f'{path} includes {target}: interp/rules stands alone')
            # The inside of the ONNX importer needs ONNX's headers, and says so by its arguments.
            if name.endswith('.h') and ('#include <onnx/' not in text or any('ONNX_ML' in a for a in compiler)):
                if '#pragma once' not in text:
                    errors.append(f'{path} lacks #pragma once')
                if not path.startswith('tools/') and (x86 or path not in INSTRUCTIONS):
                    headers.append(path)
    with tempfile.TemporaryDirectory() as folder:
        # All in one file, twice: a header that needs another, or cannot be included twice, shows.
        for path in sorted(headers):
            source = os.path.join(folder, 'one.cpp')
            with open(source, 'w') as f:
                f.write(f'#include "{path}"\n#include "{path}"\n')
            done = subprocess.run(compiler + INSTRUCTIONS.get(path, []) + ['-std=c++20', '-fsyntax-only', '-I', root, source], capture_output=True, text=True)
            if done.returncode:
                errors.append(f'{path} does not compile alone:\n{done.stderr[:400]}')
    print('\n'.join(errors) or f'{len(headers)} headers compile alone; every include points the right way')
    sys.exit(bool(errors))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
