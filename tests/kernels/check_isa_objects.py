#!/usr/bin/env python3
"""A library for one instruction set must define exactly one global symbol and no weak one: the linker may keep a weak
function for the whole program, and then code for a wide machine runs on a narrow one. Exit 77: nm is missing."""
import shutil
import subprocess
import sys

nm = shutil.which('nm') or shutil.which('llvm-nm')
if not nm:
    sys.exit(77)
failed = False
for library in sys.argv[1:]:
    lines = subprocess.run([nm, library], check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = [line.split()[-2:] for line in lines if len(line.split()) >= 2 and not line.endswith(':')]
    weak = [name for kind, name in symbols if kind in 'vVwWu']
    shared = [name for kind, name in symbols if kind.isupper() and kind not in 'UVWN']
    if weak or len(shared) != 1:
        print(f'{library}: weak {weak}, global {shared}')
        failed = True
sys.exit(1 if failed else 0)
