#!/usr/bin/python3
"""How large and how fast is the catalogue?   tests/bench catalogue [OPTION]...

Makes the catalogue of a pool that does not exist in a folder of its own, with
tests/tools/catalog_bench.c, which says what the columns are. No root.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def main():
    parser = argparse.ArgumentParser(
        prog='tests/bench catalogue', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--full', action='store_true',
                        help='10 million small files, and 25 million blocks '
                             'of large ones (100 TB); 6 GB of disk')
    parser.add_argument('--files', type=int, help='small files [1000000]')
    parser.add_argument('--blocks', type=int,
                        help='blocks of large files [2500000]')
    parser.add_argument('--folder', default='/var/tmp',
                        help='where to make it [%(default)s]')
    parser.add_argument('--json', action='store_true')
    parser.add_argument('--build', default='bin-core',
                        help='where to build [%(default)s]')
    args = parser.parse_args()
    files = args.files or (10000000 if args.full else 1000000)
    blocks = args.blocks or (25000000 if args.full else 2500000)

    need = 250 * files + 150 * blocks + (1 << 28)
    if shutil.disk_usage(args.folder).free < 2 * need:
        print('catalogue: %s must have %d MB free (--folder)'
              % (args.folder, 2 * need >> 20), file=sys.stderr)
        return 70
    subprocess.run([os.path.join(TOP, 'source/build/make.sh'), '-o',
                    args.build, '--without-samba'], check=True)
    folder = tempfile.mkdtemp(prefix='mrmr-catalogue-', dir=args.folder)
    try:
        command = [os.path.join(TOP, args.build, 'tools/catalog_bench'),
                   '--files', str(files), '--blocks', str(blocks)]
        command += ['--json'] if args.json else []
        return subprocess.run(command + [folder],
                              preexec_fn=lambda: os.nice(19)).returncode
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    sys.exit(main())
