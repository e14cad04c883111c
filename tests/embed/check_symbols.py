#!/usr/bin/env python3
"""Holds the embedded library to what a bare machine has: no heap, no streams, no exceptions, nothing before main.

    check_symbols.py libvitrine_embedded.a
Exit status 77 (skipped) where nm or objdump is missing.
"""
import re
import shutil
import subprocess
import sys

# What a C library and a freestanding C++ run time give everywhere.
ALLOWED = re.compile(r'^(mem(cpy|move|set|cmp)|str(len|cmp)|(exp|log|sqrt|cos|sin|tanh|pow|fma|fmax|fmin|floor|ceil|fabs|expm1|log1p|erfc)f?'
                     r'|__cxa_pure_virtual|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__(add|sub|mul|div)[sd]f3)$')


def main(library):
    if not shutil.which('nm') or not shutil.which('objdump'):
        print('nm or objdump is missing: skipped')
        return 77
    defined, undefined = set(), {}
    member = ''
    for line in subprocess.run(['nm', library], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.endswith(':'):
            member = line[:-1]
        fields = line.split()
        if len(fields) == 2 and fields[0] in 'Uw':
            undefined.setdefault(fields[1], set()).add(member)
        elif len(fields) == 3:
            defined.add(fields[2])
    bad = {s: m for s, m in undefined.items() if s not in defined and not ALLOWED.match(s)}
    for symbol, members in sorted(bad.items()):
        name = subprocess.run(['c++filt', symbol], capture_output=True, text=True).stdout.strip() if shutil.which('c++filt') else symbol
        print(f'{name}: needed by {", ".join(sorted(members))}')
    sections = subprocess.run(['objdump', '-h', library], capture_output=True, text=True, check=True).stdout
    early = re.findall(r'\.(init_array|ctors)\S*', sections)
    if early:
        print(f'{len(early)} object(s) run code before main (static initialisers)')
    forbidden = [s for s in undefined if re.match(r'_Zn[wa]|_Zd[la]|malloc|free|__cxa_(throw|guard|atexit)|_ZSt\d*(cout|cerr)|_ZNSt8ios_base', s)]
    if forbidden:
        print('heap, exceptions or streams: ' + ', '.join(forbidden))
    print(f'{len(undefined)} undefined symbols seen, {len(bad)} not allowed')
    return 1 if bad or early or forbidden else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
