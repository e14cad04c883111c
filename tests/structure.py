#!/usr/bin/env python3
"""Holds the sources to the rules of the house (CONTRIBUTING.md):

- includes go one way, kernels <- core <- layers <- models <- interp <- tools; interp/rules uses nothing above layers, and
  what the embedded library holds uses nothing of core/host;
- every public header compiles alone;
- methods (files of interp/ that define a MethodEntry) know no other method, print nothing, add no kernel, have at most
  300 lines and a test;
- C++ is formatted by clang-format 14 and has no line over 120 columns; functions over 60 lines are listed below;
- comments cite papers and pages of the repository, not documents that are elsewhere.

    structure.py SOURCE_ROOT COMPILER...
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

# Headers that need an instruction set.
INSTRUCTIONS = {'kernels/simd/avx2.h': ['-mavx2', '-mfma'], 'kernels/simd/avx512.h': ['-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mfma']}
# Plans know no run, and a run does not know how its plan was made.
PLANNING = ['core/plan/', 'core/run', 'core/measure', 'core/planner']
RANK = {name: k for k, name in enumerate(['kernels', 'core', 'layers', 'models', 'interp', 'tools'])}
SOURCE = ('.h', '.cpp', '.cu')

METHOD_FOLDERS = ('interp/data/', 'interp/space/', 'interp/predict/', 'interp/model/')
METHOD_LINES = 300
# Methods that are longer, and why.
LONG_METHODS = {
    'interp/space/filter_metrics.cpp': 'older than the limit: metrics, regions and study share the maps of one store',
}
# Methods whose test has not their name, and where it is.
METHODS_WITHOUT_TEST = {
    'deconvnet': 'tests/interp/golden.cpp compares it with its peers, promises.cpp tests its card',
    'guided_grad_cam': 'tests/interp/golden.cpp compares it with its peers, promises.cpp tests its card',
    'filter_metrics': 'tests/interp/filters.cpp tests the metrics that it reports',
    'rule_report': 'tests/interp/renn.cpp tests the report that it is made from',
}
# JSON in interp/ outside result/.
JSON_READERS = {'interp/runs/composite_file.cpp': 'composites are JSON files of users'}

LONGEST_FUNCTION = 60
# Functions that are longer, and why that is not mended by cutting them.
TABLE = 'one case per op of a format, each of a line or two'
OLDER = 'older than the limit, to be cut when it is next changed'
LONG_FUNCTIONS = {
    'core/host/io/safetensors.cpp Safetensors::parse': OLDER,
    'kernels/eltwise/generic.h map_forward': 'one case per function, each of a line or two',
    'kernels/eltwise/generic.h map_backward': 'one case per function, each of a line or two',
    'models/data/partshapes.cpp plan': 'one statement per draw, in the order of the draws',
    'models/onnx/evaluate.cpp value_of': TABLE,
    'models/onnx/export.cpp write': TABLE,
    'models/onnx/import.cpp Importer::converters': 'one line per operator',
    'models/onnx/import_views.cpp Importer::resize': OLDER,
    'tools/train.cpp add_train': 'one line per option',
}

# Texts of documents that are not in the repository.
ABSENT = re.compile(r'\b(attribution|model|data|methods?|rules?) spec(ification)?s?\b(?! (of|for)\b)|\bspec(ification)? [0-9]|\bC[0-9]+\.[0-9]+\b')


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        return f.read()


def source_files(root, tops):
    """Paths of C++ files below these folders, sorted."""
    found = []
    for top in tops:
        for folder, _, files in os.walk(os.path.join(root, top)):
            found += [os.path.relpath(os.path.join(folder, f), root) for f in files if f.endswith(SOURCE)]
    return sorted(found)


def check_includes(root, path, text):
    top = path.split(os.sep)[0]
    in_rules = path.startswith('interp/rules/')
    limit = RANK['layers'] if in_rules else RANK[top]
    embedded = in_rules or top in ('kernels', 'core', 'layers') and not path.startswith('core/host/')
    for target in re.findall(r'#include "([^"]+)"', text):
        if not os.path.exists(os.path.join(root, target)):
            yield f'{path} includes "{target}", which is no path from the root'
        if in_rules and target.startswith('interp/'):
            if not target.startswith('interp/rules/'):
                yield f'{path} includes {target}: interp/rules stands alone'
        elif RANK.get(target.split('/')[0], 99) > limit:
            yield f'{path} includes {target}, against the direction'
        if embedded and target.startswith('core/host/'):
            yield f'{path} includes {target}: the embedded library has no host'
        own, other = (next((k for k, p in enumerate(PLANNING) if x.replace('core/walk', 'core/run').startswith(p)), -1) for x in (path, target))
        if -1 < own < other:
            yield f'{path} includes {target}: planning goes {" <- ".join(PLANNING)}'


def check_headers_alone(root, compiler):
    """Compiles each header in a file of its own, twice: one that needs another, or cannot be included twice, shows."""
    x86 = os.uname().machine in ('x86_64', 'amd64')
    headers = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in source_files(root, RANK):
            text = read(root, path) if path.endswith('.h') else ''
            # The inside of the ONNX importer needs ONNX's headers, and says so by its arguments.
            if not text or '#include <onnx/' in text and not any('ONNX_ML' in a for a in compiler):
                continue
            if '#pragma once' not in text:
                yield f'{path} lacks #pragma once'
            if path.startswith('tools/') or path in INSTRUCTIONS and not x86:
                continue
            headers += 1
            source = os.path.join(folder, 'one.cpp')
            with open(source, 'w') as f:
                f.write(f'#include "{path}"\n#include "{path}"\n')
            done = subprocess.run(compiler + INSTRUCTIONS.get(path, []) + ['-std=c++20', '-fsyntax-only', '-I', root, source], capture_output=True, text=True)
            if done.returncode:
                yield f'{path} does not compile alone:\n{done.stderr[:400]}'
    print(f'{headers} headers compiled alone')


def without_comments(text):
    return re.sub(r'//[^\n]*', '', text)


def check_methods(root):
    """The rules of interp/README.md, "What a method must not do"."""
    method_of = {}
    for path in source_files(root, ['interp']):
        text, code = read(root, path), without_comments(read(root, path))
        for entry in re.findall(r'constinit const MethodEntry (\w+) =', text):
            method_of[entry] = path
        if not path.startswith('interp/result/'):
            if re.search(r'(?<!sn)\bv?f?printf\s*\(|<iostream>|std::c(out|err)\b|\bputs\s*\(', code):
                yield f'{path} prints: methods hand out an Answer or a Result'
            if 'nlohmann' in code and path not in JSON_READERS:
                yield f'{path} makes or reads JSON, which is for interp/result'
        if path.endswith('.cu') or re.search(r'__global__|<immintrin\.h>|"kernels/(cuda|simd|cudnn)/', code):
            yield f'{path} holds kernel code: kernels/ and ops do that'
    listed = re.findall(r'^  X\((\w+)\)', read(root, 'interp/methods.cpp'), re.M)
    for entry in sorted(set(method_of) ^ set(listed)):
        yield f'method {entry}: defined and listed in interp/methods.cpp must agree'
    files = set(method_of.values())
    for path in sorted(files):
        yield from check_method_file(root, path, files)
    tests = ''.join(read(root, p) for p in source_files(root, ['tests/interp', 'tests/methods']))
    for entry in sorted(method_of):
        own = os.path.exists(os.path.join(root, 'tests/methods', entry + '.cpp'))
        if not own and f'"{entry.replace("_", "-")}"' not in tests and entry not in METHODS_WITHOUT_TEST:
            yield f'method {entry} has no test: expected tests/methods/{entry}.cpp'


def check_method_file(root, path, files):
    text = read(root, path)
    if not path.startswith(METHOD_FOLDERS):
        yield f'{path} defines a method: expected in interp/ data/, space/, predict/ or model/'
    for target in re.findall(r'#include "([^"]+)"', text):
        if target.startswith(METHOD_FOLDERS) and target != path.removesuffix('.cpp') + '.h':
            yield f'{path} includes {target}: methods work with each other through make_attribution'
    lines = text.count('\n')
    if lines > METHOD_LINES and path not in LONG_METHODS:
        yield f'{path} has {lines} lines: a method has at most {METHOD_LINES}'


def functions(text):
    """(name, first line, lines) of every outermost function body of formatted code."""
    blank = lambda m: re.sub(r'[^\n]', ' ', m.group(0))
    clean = re.sub(r'R"(\w*)\(.*?\)\1"|"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])\'|//[^\n]*|^#[^\n]*(\\\n[^\n]*)*', blank, text, flags=re.S | re.M)
    line, head, open_blocks, inside = 1, '', [], 0
    for ch in clean:
        line += ch == '\n'
        if ch == '{':
            head = head.strip()
            type_or_scope = re.search(r'\b(namespace|class|struct|enum|union)\b[^()]*$', head)
            is_function = not inside and not type_or_scope and re.search(r'\)\s*(const|noexcept|override|final|->[^;{]*|:[^;]*|\s)*$', head)
            inside += bool(is_function)
            name = re.search(r'([\w:~]+)\s*\(', head)
            open_blocks.append((is_function, line, name.group(1) if name else '?'))
        elif ch == '}' and open_blocks:
            is_function, first, name = open_blocks.pop()
            if is_function:
                inside -= 1
                yield name, first, line - first + 1
        head = '' if ch in '{};' else head + ch


def check_length(root):
    long, listed = 0, set()
    for path in source_files(root, list(RANK) + ['tests']):
        text = read(root, path)
        for number, line in enumerate(text.split('\n'), 1):
            if len(line) > 120:
                yield f'{path}:{number} has {len(line)} columns: at most 120'
        if path.startswith('tests'):
            continue
        for name, first, lines in functions(text):
            if lines <= LONGEST_FUNCTION:
                continue
            long += 1
            listed.add(f'{path} {name}')
            if f'{path} {name}' not in LONG_FUNCTIONS:
                yield f'{path}:{first} {name} has {lines} lines: at most {LONGEST_FUNCTION}, or a reason in tests/structure.py'
    print(f'{long} functions over {LONGEST_FUNCTION} lines, each with a reason')
    for entry in sorted(set(LONG_FUNCTIONS) - listed):
        print(f'note: {entry} is short now; it can leave the list')


def check_format(root):
    tool = shutil.which('clang-format-14') or shutil.which('clang-format')
    version = subprocess.run([tool, '--version'], capture_output=True, text=True).stdout if tool else ''
    if 'version 14.' not in version:
        print('clang-format 14 is not there: format skipped')
        return
    paths = source_files(root, list(RANK) + ['tests'])
    done = subprocess.run([tool, '--dry-run', '--Werror', '--ferror-limit=1'] + paths, cwd=root, capture_output=True, text=True)
    for path in sorted(set(re.findall(r'^([^\s:]+):\d+:\d+: error', done.stderr, re.M))):
        yield f'{path} is not formatted: clang-format -i {path}'


def check_citations(root):
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith('.') and not (folder == root and f.startswith('build'))]
        for name in files:
            path = os.path.relpath(os.path.join(folder, name), root)
            if path == 'tests/structure.py' or path.startswith('tests/fuzz/corpus') or not name.endswith(SOURCE + ('.py', '.md', '.build', '.sh')):
                continue
            for number, line in enumerate(read(root, path).split('\n'), 1):
                if ABSENT.search(line):
                    yield f'{path}:{number} cites a document that is not here: {line.strip()[:100]}'


def main(root, compiler):
    errors = []
    for path in source_files(root, RANK):
        errors += check_includes(root, path, read(root, path))
    for check in (check_methods, check_length, check_format, check_citations):
        errors += check(root)
    errors += check_headers_alone(root, compiler)
    print('\n'.join(errors) or 'the rules of the house hold')
    sys.exit(bool(errors))


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
