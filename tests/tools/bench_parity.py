"""Parity: how fast it is computed, verified and used, and how much space it
takes, beside SnapRAID on the same data.

    tests/bench parity [OPTION]...

  --rounds N       [3]
  --sets LIST      big (256 MiB files), small (10 KB files) [big,small]
  --big-bytes N    MiB of the big files [4096]
  --small-files N  [100000]
  --build DIR      use what was built in DIR [build now]
  --markdown FILE, --json FILE   the tables, and every single number

SnapRAID has 4 data and 2 parity drives, MRMR 6 members with parity 2; each drive
is a tmpfs of its own, the data is the same, spread evenly, and lies on the
drives before anything begins. In a round, each step is done by one after the
other, and the order is turned around from round to round:

  sync     from nothing to all protected (mrmr-admin scan and sync; snapraid sync)
  scrub    all of it verified (mrmr-admin scrub --percent 100; snapraid -p full)
  rebuild  a drive is emptied and comes back: mrmr-admin rebuild onto an empty
           drive; snapraid fix. The drives hold different amounts, so the rates
           are what is compared: bytes of files brought back in a second.
  space    bytes of parity, and of what has to be kept beside it

Every rebuilt file is compared with the original. Rates are bytes of files per
second; the ratio is MRMR's to SnapRAID's.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import testpool    # noqa: E402
from bench_share import markdown, plain_text    # noqa: E402

ROWS = 2
UNITS = 6
TARGETS = {'sync': 2.0, 'scrub': 1.2, 'rebuild': 2.0}
SMALL_BYTES = 10 * 1024


def run(command, may_be=(0,)):
    """The seconds that a command takes."""
    begin = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    seconds = time.monotonic() - begin
    if done.returncode not in may_be:
        raise testpool.Failure('%s: status %d\n%s' % (
            ' '.join(command), done.returncode, done.stdout[-4000:]))
    return seconds


def tree_bytes(root):
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            total += os.lstat(os.path.join(directory, name)).st_size
    return total


class Files:
    """The same files for both, with a seed, so that they need not be kept."""

    def __init__(self, kind, options):
        self.kind = kind
        if kind == 'big':
            self.size = 256 << 20
            self.count = max(1, options.big_bytes // 256)
        else:
            self.size = SMALL_BYTES
            self.count = options.small_files

    def name(self, i):
        if self.kind == 'big':
            return 'movies/m%03d.bin' % i
        return 'docs/d%03d/f%06d.txt' % (i // 1000, i)

    def write(self, path, i):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        rng = random.Random(i)
        with open(path, 'wb') as out:
            left = self.size
            while left > 0:
                block = rng.randbytes(min(left, 1 << 20))
                # what follows is a shifted copy: quick, and no two alike
                for shift in range(min(16, -(-left // len(block)))):
                    piece = block[shift:] + block[:shift]
                    out.write(piece[:left])
                    left -= min(left, len(piece))

    def lay_out(self, drives):
        """Drive by drive; which has which."""
        where = {}
        for i in range(self.count):
            drive = drives[i % len(drives)]
            self.write(os.path.join(drive, self.name(i)), i)
            where.setdefault(drive, []).append(i)
        return where

    def check(self, root_of, numbers, work):
        original = os.path.join(work, 'original')
        for i in numbers:
            self.write(original, i)
            with open(original, 'rb') as a, open(root_of(i), 'rb') as b:
                while True:
                    x, y = a.read(1 << 20), b.read(1 << 20)
                    if x != y:
                        raise testpool.Failure('%s came back wrong'
                                               % self.name(i))
                    if not x:
                        break
        os.unlink(original)

    @property
    def total(self):
        return self.size * self.count


class SnapRaid:
    name = 'snapraid'

    def __init__(self, work, files, number):
        base = 'sr%d' % number
        os.mkdir(work.join(base))
        self.work = work
        self.files = files
        self.drives = [work.tmpfs('%s/d%d' % (base, i), size='7g')
                       for i in range(UNITS - ROWS)]
        self.parity = [work.tmpfs('%s/p%d' % (base, i), size='16g')
                       for i in range(ROWS)]
        self.content = work.join(base + '/content')
        lines = ['parity %s/parity' % self.parity[0],
                 '2-parity %s/parity' % self.parity[1],
                 'content %s' % self.content,
                 'content %s/content' % self.drives[0],
                 'content %s/content' % self.drives[1],
                 'autosave 0']
        lines += ['data d%d %s' % (i, drive)
                  for i, drive in enumerate(self.drives)]
        self.conf = work.write(base + '/conf', '\n'.join(lines) + '\n')
        self.where = files.lay_out(self.drives)

    def command(self, *words):
        return ['snapraid', '--conf', self.conf, '--quiet'] + list(words)

    def sync(self):
        return run(self.command('sync'))

    def scrub(self):
        return run(self.command('-p', 'full', 'scrub'))

    def rebuild(self):
        drive = self.drives[-1]
        numbers = self.where[drive]
        for entry in os.scandir(drive):
            shutil.rmtree(entry.path)
        seconds = run(self.command('-d', 'd%d' % (len(self.drives) - 1),
                                   'fix'))
        self.files.check(lambda i: os.path.join(drive, self.files.name(i)),
                         numbers, self.work.path)
        return seconds, len(numbers) * self.files.size

    def space(self):
        parity = sum(tree_bytes(path) for path in self.parity)
        return parity, os.path.getsize(self.content)


class Mrmr:
    name = 'mrmr'

    def __init__(self, work, files, number, build):
        base = 'mr%d' % number
        os.mkdir(work.join(base))
        self.work = work
        self.files = files
        self.admin = os.path.join(build, 'mrmr-admin')
        self.drives = [work.tmpfs('%s/m%d' % (base, i), size='7g')
                       for i in range(UNITS)]
        self.spare = work.tmpfs(base + '/spare', size='7g')
        self.state = work.join(base + '/state')
        self.config = work.join(base + '/config.json')
        self.where = files.lay_out(self.drives)
        run(self.command('init', '--parity', str(ROWS), '--state-dir',
                         self.state, *self.drives))

    def command(self, *words):
        return [self.admin, '-c', self.config, '--quiet', '--yes'] + list(words)

    def sync(self):
        return (run(self.command('scan', '--no-sync'))
                + run(self.command('sync', '--settle', '0')))

    def scrub(self):
        return run(self.command('scrub', '--percent', '100'))

    def rebuild(self):
        drive = self.drives[-1]
        numbers = self.where[drive]
        subprocess.run(['umount', drive], check=True)
        self.work.mounts.remove(drive)
        seconds = run(self.command('rebuild', drive, '--onto', self.spare))
        self.files.check(lambda i: os.path.join(self.spare,
                                                self.files.name(i)),
                         numbers, self.work.path)
        return seconds, len(numbers) * self.files.size

    def space(self):
        parity = sum(tree_bytes(os.path.join(path, '.mrmr', 'parity'))
                     for path in self.drives)
        return parity, tree_bytes(os.path.join(self.state, 'catalogue'))


def drop(work):
    """What a round has mounted."""
    for target in reversed(work.mounts[1:]):
        subprocess.run(['umount', '-l', target], check=True)
    del work.mounts[1:]


def one_round(work, kind, number, options):
    files = Files(kind, options)
    systems = [SnapRaid(work, files, number),
               Mrmr(work, files, number, options.build)]
    if number % 2:
        systems.reverse()
    results = {system.name: {} for system in systems}
    for step in ('sync', 'scrub'):
        for system in systems:
            results[system.name][step] = (files.total
                                          / getattr(system, step)())
    for system in systems:
        results[system.name]['space'] = system.space()
    for system in systems:
        seconds, size = system.rebuild()
        results[system.name]['rebuild'] = size / seconds
    results['total'] = files.total
    drop(work)
    return results


def table(kind, rounds):
    rows = []
    for step in ('sync', 'scrub', 'rebuild'):
        ours = statistics.median(r['mrmr'][step] for r in rounds)
        theirs = statistics.median(r['snapraid'][step] for r in rounds)
        ratio = statistics.median(r['mrmr'][step] / r['snapraid'][step]
                                  for r in rounds)
        rows.append([step + ' MB/s', '%.0f' % (theirs / 1e6),
                     '%.0f' % (ours / 1e6), '%.2f (%s %.1f)' % (
                         ratio, '>=' if ratio >= TARGETS[step] else 'below',
                         TARGETS[step])])
    last = rounds[-1]
    ideal = last['total'] * ROWS / (UNITS - ROWS)
    theirs, ours = last['snapraid']['space'], last['mrmr']['space']
    rows.append(['parity, of the ideal', '%.2f' % (theirs[0] / ideal),
                 '%.3f' % (ours[0] / ideal),
                 '%s 1.10' % ('<=' if ours[0] <= 1.10 * ideal else 'above')])
    rows.append(['catalogue, bytes a file',
                 '%.0f' % (theirs[1] / last['count']),
                 '%.0f' % (ours[1] / last['count']), ''])
    return ['', 'SnapRAID', 'MRMR', 'MRMR/SnapRAID'], rows


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--sets', type=lambda text: text.split(','),
                        default=['big', 'small'])
    parser.add_argument('--big-bytes', type=int, default=4096)
    parser.add_argument('--small-files', type=int, default=100000)
    parser.add_argument('--build')
    parser.add_argument('--markdown')
    parser.add_argument('--json')
    parser.add_argument('-h', '--help', action='store_true')
    options = parser.parse_args()
    if options.help:
        print(__doc__.strip())
        return 0

    testpool.isolate()
    if not options.build:
        options.build = testpool.build(['bench'])
    options.build = os.path.abspath(options.build)
    texts, raw = [], {}
    for kind in options.sets:
        rounds = []
        for number in range(options.rounds):
            print('# %s files, round %d of %d' % (kind, number + 1,
                                                  options.rounds),
                  file=sys.stderr, flush=True)
            with testpool.Workspace() as work:
                rounds.append(one_round(work, kind, number, options))
            rounds[-1]['count'] = Files(kind, options).count
        head, rows = table(kind, rounds)
        files = Files(kind, options)
        title = '%d files of %s, medians of %d rounds' % (
            files.count, '256 MiB' if kind == 'big' else '10 KiB',
            options.rounds)
        print('\n%s\n\n%s' % (title, plain_text(head, rows)), flush=True)
        texts.append('%s\n\n%s\n' % (title, markdown(head, rows)))
        raw[kind] = rounds
    if options.markdown:
        with open(options.markdown, 'w') as out:
            out.write('\n'.join(texts))
    if options.json:
        with open(options.json, 'w') as out:
            json.dump(raw, out, indent=1)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except testpool.Failure as problem:
        sys.exit('bench: %s' % problem)
