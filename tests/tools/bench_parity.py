"""What protection costs and what it takes back, beside SnapRAID on the same
machine in the same run.

    tests/bench parity [OPTION]...

  --parts LIST       of: encoder, large, small, close, lost, busy [all]
  --rounds N         [3]
  --sides LIST       for large and small: snapraid, mrmr [both]
  --large MIB        of large files in all [4096]; --large-file MIB each [256]
  --small N          small files [100000]; --small-bytes N each [10240]
  --large-block KIB  SnapRAID's block size [256, which is its default]
  --small-block KIB  the same for small files [256; 16 if memory is short]
  --tries N          close: files, one after the other [9]
  --lost-file MIB    lost: size of each file that is read [256]
  --busy-files N, --busy-write MIB        busy: the load [2000, 512]
  --backlog MIB      busy: what the protector has to do meanwhile [3072]
  --build DIR        use what was built in DIR [build now]
  --markdown FILE, --json FILE   the tables, and every single number

large and small: the same files on 4 data drives of SnapRAID with 2 parity
drives, and on 6 members of a pool with parity for 2. Every drive is a tmpfs of
its own, so that the software is measured, not a disk. A round is, for one and
then for the other: sync from nothing, a full scrub, and the loss and recreation
of one drive; then every file is compared. Who is first changes from round to
round. The tables show medians over the rounds.

What is compared is the time of the commands. SnapRAID's sync looks for the
files itself; MRMR's knows them from smbd, which is not there to tell: they are
found by `mrmr-admin scan --no-sync` before, which is timed, too ("scan and
sync"). A SnapRAID drive that is lost has files only, a member has files and
parity, both together as much as the files of one SnapRAID drive: the rate of
recreating counts the bytes that were on it. SnapRAID's blocks are those that it
takes by itself, of 256 KiB. A small file fills one, so that the parity of small
files is 25 times as large as they are, and the run needs 17 GB of free memory.
With less, or with --small-block 16, its blocks are as small as suits the files.

"of ideal" is parity that is there / data * 2/4. Catalogue bytes are what the
files of the state directory's catalogue grew by, on disk; they begin with some
room to grow into, which is shown, too.
"""

import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import benchmark    # noqa: E402
import parity_smb    # noqa: E402
import testpool    # noqa: E402
from parity_sides import Data, Mrmr, SnapRaid    # noqa: E402
from tables import at_most, ratio    # noqa: E402

MIB = 1 << 20

# MRMR's rate / SnapRAID's, at least
OF_SNAPRAID = {'sync': 2.0, 'scrub': 1.2, 'rebuild': 2.0}
OF_IDEAL_PARITY = {'large': 1.03, 'small': 1.10}
CATALOGUE_BYTES = {'large': 100, 'small': 250}    # per data block, per file
OF_ISAL = 0.9
OF_HEALTHY_READ = 0.6
OF_IDLE_SHARE = 0.75
SECONDS_AFTER_SETTLE = 1.0
PARTS = ['encoder', 'large', 'small', 'close', 'lost', 'busy']
BLOCK_BYTES = 4 * MIB    # MRMR's default


def snapraid_parity_mib(data, block_kib):
    """Of one parity drive: each file of a data drive begins a new block."""
    blocks = -(-data.size_bytes // (block_kib * 1024))
    return -(-data.count // 4) * blocks * block_kib // 1024


def free_mib():
    """Of memory."""
    with open('/proc/meminfo') as lines:
        for line in lines:
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) // 1024
    return 0


def small_block_kib(data):
    """SnapRAID's default; less if its parity does not fit into the memory."""
    need_mib = 2 * snapraid_parity_mib(data, 256) + 4096
    if need_mib <= free_mib():
        return 256
    print('# %d MiB of free memory are too few for SnapRAID with its blocks of '
          '256 KiB: it takes 16' % need_mib, file=sys.stderr)
    return 16


class Sides:
    """large or small: both sides, round by round."""

    def __init__(self, work, options, part):
        self.options = options
        self.part = part
        if part == 'large':
            self.data = Data(max(1, options.large // options.large_file),
                             options.large_file * MIB)
            block_kib = options.large_block
        else:
            self.data = Data(options.small, options.small_bytes)
            block_kib = options.small_block or small_block_kib(self.data)
        self.block_kib = block_kib
        # a quarter of the files or somewhat more, and that in parity; small
        # files take whole pages
        stored = self.data.count * (self.data.size_bytes + 8192)
        drive_mib = 2 * stored // 4 // MIB + 2 * options.large_file + 64
        parity_mib = snapraid_parity_mib(self.data, block_kib) + 64
        self.sides = {'snapraid': lambda: SnapRaid(work, drive_mib, parity_mib,
                                                   block_kib),
                      'mrmr': lambda: Mrmr(work, drive_mib, options.build)}
        self.sides = {name: make() for name, make in self.sides.items()
                      if name in options.sides}
        self.numbers = {name: [] for name in self.sides}

    def round(self, number):
        order = list(self.sides)
        for name in order if number % 2 == 0 else order[::-1]:
            self.numbers[name].append(self.one(self.sides[name]))

    def one(self, side):
        """From nothing to a recreated drive: {what: number}"""
        side.make()
        side.fill(self.data)
        found = side.find()
        synced = side.sync()
        numbers = {'parity_bytes': side.parity()}
        if found is not None:
            catalogue, parts = side.metadata()
            numbers.update(catalogue_bytes=catalogue, part_bytes=parts,
                           empty_bytes=side.empty_bytes[0])
        scrubbed = side.scrub()
        lost_bytes = side.lose()
        rebuilt = side.rebuild()
        side.check(self.data)
        side.tear_down()
        total = self.data.total_bytes
        for what, timing, done in (('sync', synced, total),
                                   ('scrub', scrubbed, total),
                                   ('rebuild', rebuilt, lost_bytes)):
            numbers[what] = done / timing.seconds / MIB
            numbers[what + '_cpu'] = timing.cpu_seconds / (done / MIB) * 1e6
            numbers[what + '_memory'] = timing.memory_bytes / MIB
        seconds = synced.seconds + (found.seconds if found else 0)
        numbers['scan'] = total / seconds / MIB
        return numbers

    def median(self, name, key):
        return statistics.median(numbers[key]
                                 for numbers in self.numbers[name])

    def title(self):
        title = '%s: %d files of %s, medians of %d rounds' % (
            self.part, self.data.count,
            '%d MiB' % (self.data.size_bytes // MIB)
            if self.data.size_bytes >= MIB
            else '%d bytes' % self.data.size_bytes, self.options.rounds)
        if 'snapraid' in self.sides:
            title += ', SnapRAID with blocks of %d KiB' % self.block_kib
        return title

    def head(self):
        head = ['operation'] + [side.name for side in self.sides.values()]
        return head + (['MRMR/SnapRAID'] if len(self.sides) == 2 else [])

    def row(self, label, key, form, verdict=None):
        medians = {name: self.median(name, key) for name in self.sides}
        row = [label] + [form % medians[name] for name in self.sides]
        if len(self.sides) == 2:
            value = medians['mrmr'] / medians['snapraid']
            row.append(verdict(value) if verdict else '%.2f' % value)
        return row

    def speed_rows(self):
        rows = []
        for what, label in (('sync', 'sync MiB/s'),
                            ('scan', 'scan and sync MiB/s'),
                            ('scrub', 'scrub MiB/s'),
                            ('rebuild', 'rebuild MiB/s')):
            target = OF_SNAPRAID.get(what)
            rows.append(self.row(label, what, '%.0f', target and (
                lambda value, target=target: ratio(value, target))))
        for what in OF_SNAPRAID:
            rows.append(self.row('%s, processor us/MiB' % what, what + '_cpu',
                                 '%.0f'))
        for what in OF_SNAPRAID:
            rows.append(self.row(what + ', memory MiB', what + '_memory',
                                 '%.0f'))
        return rows

    def space_rows(self):
        """Each has a number per side; MRMR's with its target."""
        ideal = self.data.total_bytes * 2 / 4
        row = ['parity of ideal']
        for name in self.sides:
            value = self.median(name, 'parity_bytes') / ideal
            row.append('%.3f' % value if name != 'mrmr' else
                       at_most(value, OF_IDEAL_PARITY[self.part], '%.3f'))
        rows = [row]
        if 'mrmr' in self.sides:
            unit, count = 'file', self.data.count
            if self.part == 'large':
                unit = 'data block'
                count *= -(-self.data.size_bytes // BLOCK_BYTES)
            target = CATALOGUE_BYTES[self.part]
            empty = [''] * (len(self.sides) - 1)
            rows.append(['catalogue bytes per ' + unit] + empty + [at_most(
                self.median('mrmr', 'catalogue_bytes') / count, target,
                '%.0f')])
            rows.append(['catalogue of an empty pool, KiB'] + empty + [
                '%.0f' % (self.median('mrmr', 'empty_bytes') / 1024)])
            rows.append(["all members' parts, bytes per " + unit] + empty + [
                '%.0f' % (self.median('mrmr', 'part_bytes') / count)])
        return rows

    def tables(self):
        head = self.head()
        return [(self.title() + ': speed', head, self.speed_rows()),
                (self.title() + ': space', head[:len(self.sides) + 1],
                 self.space_rows())]


def encoder(options):
    """parity_bench's own numbers, beside ISA-L's."""
    done = subprocess.run([os.path.join(options.build, 'tools',
                                        'parity_bench'), '--json',
                           '--rounds', '25'], check=True,
                          stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [[line['shape'], '%.1f' % line['isal_gb_per_s'],
             '%.1f' % line['gb_per_s'], ratio(line['ratio'], OF_ISAL)]
            for line in lines if line['operation'] == 'encode']
    return [('the encoder alone, GB/s of data',
             ['data+parity', 'ec_encode_data', 'MRMR', 'MRMR/ISA-L'],
             rows)], lines


def close(work, options):
    seconds = parity_smb.close_to_protected(work, options)
    target = parity_smb.SETTLE_SECONDS + SECONDS_AFTER_SETTLE
    rows = [['median', at_most(statistics.median(seconds), target)],
            ['longest', '%.2f' % max(seconds)]]
    return [('from the close of a file of 10 KB to its protection, %d files'
             % len(seconds), ['', 'seconds'], rows)], seconds


def lost(work, options):
    pairs = parity_smb.lost_reads(work, options)
    healthy = statistics.median(pair[0] for pair in pairs)
    gone = statistics.median(pair[1] for pair in pairs)
    row = ['read MiB/s', '%.0f' % healthy, '%.0f' % gone,
           ratio(gone / healthy, OF_HEALTHY_READ)]
    return [('a file of %d MiB read through SMB, medians of %d files' % (
        options.lost_file, len(pairs)),
        ['operation', 'healthy', 'member away', 'away/healthy'], [row])], pairs


def busy(work, options):
    rounds = parity_smb.busy_share(work, options)
    if not rounds:
        raise testpool.Failure('in no round did the protector work as long '
                               'as the load: use a larger --backlog')
    rows = []
    for phase, label in (('create', 'create /s'), ('write', 'write MiB/s')):
        idle = statistics.median(pair[0][phase] for pair in rounds)
        working = statistics.median(pair[1][phase] for pair in rounds)
        rows.append([label, '%.0f' % idle, '%.0f' % working,
                     ratio(working / idle, OF_IDLE_SHARE)])
    return [('the share while the protector works, medians of %d rounds'
             % len(rounds),
             ['operation', 'idle', 'working', 'working/idle'], rows)], rounds


def run_part(work, options, part):
    """([(title, head, rows)], what was measured)"""
    if part == 'encoder':
        return encoder(options)
    if part in ('large', 'small'):
        sides = Sides(work, options, part)
        for number in range(options.rounds):
            print('# %s, round %d of %d' % (part, number + 1, options.rounds),
                  file=sys.stderr, flush=True)
            sides.round(number)
        return sides.tables(), sides.numbers
    print('# ' + part, file=sys.stderr, flush=True)
    return {'close': close, 'lost': lost, 'busy': busy}[part](work, options)


def words(text):
    return text.split(',')


def main():
    parser = benchmark.parser()
    parser.add_argument('--parts', type=words, default=PARTS)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--sides', type=words, default=['snapraid', 'mrmr'])
    parser.add_argument('--large', type=int, default=4096)
    parser.add_argument('--large-file', type=int, default=256)
    parser.add_argument('--small', type=int, default=100000)
    parser.add_argument('--small-bytes', type=int, default=10240)
    parser.add_argument('--large-block', type=int, default=256)
    parser.add_argument('--small-block', type=int)
    parser.add_argument('--tries', type=int, default=9)
    parser.add_argument('--lost-file', type=int, default=256)
    parser.add_argument('--busy-files', type=int, default=2000)
    parser.add_argument('--busy-write', type=int, default=512)
    parser.add_argument('--backlog', type=int, default=3072)
    options = benchmark.parse(parser, __doc__)
    for part in options.parts:
        if part not in PARTS:
            parser.error('--parts: there is no "%s"' % part)

    benchmark.prepare(options)
    results = benchmark.Results(options)
    raw = {}
    for part in options.parts:
        with testpool.Workspace() as work:
            tables, raw[part] = run_part(work, options, part)
        for title, head, rows in tables:
            results.table(title, head, rows)
    results.save(raw)
    return 0


if __name__ == '__main__':
    benchmark.run(main)
