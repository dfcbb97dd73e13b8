"""The cost of a pool at the client: the same load on a plain share, on a pool,
and on Samba over mergerfs.

    tests/bench share [OPTION]...

  --members LIST   members of the pool; a table for each number [3,12]
  --rounds N       [5]
  --clients LIST   client processes [1,4]
  --files N        10 KB files per client [1000]
  --dirs N         directories they are spread over, per client [1]
  --big N          MiB of the big files, of all clients together [512]
  --big-times N    how often they are written and read in a round: it takes half a
                   second, and its rate scatters by a tenth [10]
  --huge-dir N     entries of the directory that is listed alone, 0: none
                   [100000]
  --shares LIST    [plain,pool,mergerfs]
  --no-pin         let the scheduler place the client and smbd; else, with one
                   client, each has a processor of its own
  --vfs "LIST"     other `vfs objects`, on all shares [none: with nothing else
                   there, what mrmr costs shows most]
  --build DIR      use what was built in DIR [build now]
  --stand-in       no pool: `pool` is a plain share too, so every ratio should
                   be near 1; shows how much of the rest is noise
  --markdown FILE, --json FILE   the tables, and every single number

All shares belong to one smbd. Every member, and the plain share, is a tmpfs of
its own, so that no disk hides what the software costs; smbd's databases and
the pool's state lie on another. In a round, every kind of operation is done on
one share after the other before the next kind begins, and the order of the
shares is another in each round (as it is, turned around, with the next one
first, ...). The tables show medians over the rounds: rates, which include
the client's work, and the processor time of the server's processes (smbd,
mergerfs) per operation, which does not and is the steadier number. A ratio is
the median of the ratios within the rounds, as its two sides were measured one
after the other. mergerfs is mounted as its manual recommends when no mmap is
needed (Samba needs none).
"""

import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import benchmark    # noqa: E402
import testpool    # noqa: E402
from tables import ratio    # noqa: E402

FILE_PHASES = ['create', 'list', 'stat', 'read', 'rename', 'unlink']
BIG_PHASES = ['write', 'readbig']
NAMES = {'create': 'create /s', 'list': 'list entries/s', 'stat': 'stat /s',
         'read': 'open-read /s', 'rename': 'rename /s', 'unlink': 'unlink /s',
         'write': 'write MiB/s', 'readbig': 'read MiB/s',
         'dir': 'list entries/s'}

# What the pool must reach: of plain (by number of members), and of mergerfs.
OF_PLAIN = {'small': {3: 0.90, 12: 0.85}, 'big': 0.97, 'dir': 0.80}
OF_MERGERFS = {'create': 2.2, 'rename': 2.2, 'list': 5.0, 'dir': 5.0}

CPUS = sorted(os.sched_getaffinity(0))

MERGERFS = ('allow_other,use_ino,cache.files=off,dropcacheonclose=true,'
            'category.create=mfs,minfreespace=16M')


def target_of_plain(phase, members):
    if phase == 'dir':
        return OF_PLAIN['dir']
    if phase in BIG_PHASES:
        return OF_PLAIN['big']
    return OF_PLAIN['small'][3 if members <= 3 else 12]


class Bench:
    def __init__(self, work, options, members):
        self.options = options
        self.members = members
        # the one before this may have pinned this process, and so mergerfs
        os.sched_setaffinity(0, CPUS)
        self.directory = work.join('s%d' % members)
        os.mkdir(self.directory)
        name = os.path.join('s%d' % members, '%s')
        # The shares are as big as one another: a member has its part.
        roots = [work.tmpfs(name % ('member%d' % i), size='6g')
                 for i in range(members)]
        plain = work.tmpfs(name % 'plain', size='16g')
        self.fill([plain])
        # a stand-in is a plain share over its first member
        self.fill(roots[:1] if options.stand_in else roots)
        conf = None
        if 'mergerfs' in options.shares:
            conf = self.mount_mergerfs(work, name)
        self.pool = work.pool(name % 'q', members=roots, plain=plain,
                              build_dir=options.build,
                              stand_in=options.stand_in)
        self.pool.up(vfs=options.vfs, conf=conf)
        self.password_file = work.write(name % 'password',
                                        self.pool.env['MRMR_PASSWORD'] + '\n')
        self.smbload = os.path.join(options.build, 'tools', 'smbload')
        # (phase, clients) -> share -> list of smbload's numbers
        self.results = {}
        self.warm_up()

    def fill(self, roots):
        """The directory with many entries, spread over the roots."""
        count = self.options.huge_dir
        for root in roots:
            os.chmod(root, 0o777)
            if count:
                os.mkdir(os.path.join(root, 'huge'))
        for i in range(count):
            path = os.path.join(roots[i % len(roots)], 'huge', 'f%07d' % i)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))

    def mount_mergerfs(self, work, name):
        roots = [work.tmpfs(name % ('merged%d' % i), size='6g')
                 for i in range(self.members)]
        self.fill(roots)
        target = work.join(name % 'mergerfs')
        os.mkdir(target)
        subprocess.run(['mergerfs', '-o', MERGERFS, ':'.join(roots), target],
                       check=True)
        work.mounts.append(target)
        return work.write(name % 'mergerfs.conf', '''
[mergerfs]
    path = %s
    read only = no
    vfs objects = %s
''' % (target, self.options.vfs))

    def warm_up(self):
        """A short round that does not count."""
        self.load(self.options.shares, 1, FILE_PHASES + BIG_PHASES,
                  '--files', '100')
        self.results = {}

    def load(self, shares, clients, phases, *more):
        command = [self.smbload, '--user', self.pool.env['MRMR_USER'],
                   '--password-file', self.password_file,
                   '--phases', ','.join(phases), '--clients', str(clients),
                   '--cpu', 'smbd,mergerfs'] + list(more)
        for share in shares:
            command.append('smb://127.0.0.1:%s/%s%s' % (
                self.pool.env['MRMR_PORT'], share,
                '/huge' if phases == ['dir'] else ''))
        self.pin(clients)
        done = subprocess.run(command, timeout=3600,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=dict(os.environ,
                                                  HOME=self.directory))
        if done.returncode != 0:
            raise testpool.Failure('smbload failed: ' + done.stderr)
        for share, line in zip(shares, done.stdout.splitlines()):
            for phase, numbers in json.loads(line).items():
                by_share = self.results.setdefault((phase, clients), {})
                by_share.setdefault(share, []).append(numbers)

    def pin(self, clients):
        """One client and its smbd: whether the scheduler puts them on one
        processor or on two changes the rates by half, at random. So each gets
        its own; smbd's children inherit it from their parent."""
        cpus = CPUS
        alone = self.options.pin and clients == 1 and len(cpus) > 1
        os.sched_setaffinity(self.pool.main_pid(), cpus[:1] if alone else cpus)
        os.sched_setaffinity(0, cpus[1:2] if alone else cpus)

    def order(self, number):
        """Each share comes first, in the middle and last as often as others."""
        shares = self.options.shares
        first = number // 2 % len(shares)
        shares = shares[first:] + shares[:first]
        return shares[::-1] if number % 2 else shares

    def round(self, number):
        options = self.options
        shares = self.order(number)
        for clients in options.clients:
            self.load(shares, clients, FILE_PHASES,
                      '--files', str(options.files),
                      '--dirs', str(options.dirs),
                      '--repeat', str(max(1, 20000 // options.files)))
            for time in range(options.big_times if options.big else 0):
                self.load(self.order(number * options.big_times + time),
                          clients, BIG_PHASES, '--files', '0',
                          '--big', str(options.big // clients))
        if options.huge_dir:
            self.load(shares, 1, ['dir'], '--entries', str(options.huge_dir))

    def medians(self, phase, clients, key):
        """share -> median over the rounds"""
        return {share: statistics.median(n[key] for n in numbers)
                for share, numbers in self.results[phase, clients].items()}

    def ratio(self, phase, clients, key, one, other):
        """The median of the ratios of two shares within the rounds."""
        by_share = self.results[phase, clients]
        return statistics.median(a[key] / b[key] for a, b in
                                 zip(by_share[one], by_share[other]))

    def phases(self, clients):
        for phase in FILE_PHASES + BIG_PHASES + ['dir']:
            if (phase, clients) in self.results:
                name = NAMES[phase]
                if phase == 'dir':
                    name += ' of %d' % self.options.huge_dir
                yield phase, name

    def rate_rows(self, clients):
        """A row per phase: name, a median per share, the two ratios with
        their targets."""
        rows = []
        for phase, name in self.phases(clients):
            medians = self.medians(phase, clients, 'rate')
            row = [name] + ['%.0f' % medians[share]
                            for share in self.options.shares]
            if 'pool' in medians and 'plain' in medians:
                row.append(ratio(
                    self.ratio(phase, clients, 'rate', 'pool', 'plain'),
                    target_of_plain(phase, self.members)))
            if 'pool' in medians and 'mergerfs' in medians:
                row.append(ratio(
                    self.ratio(phase, clients, 'rate', 'pool', 'mergerfs'),
                    OF_MERGERFS.get(phase, 1.0)))
            rows.append(row)
        return rows

    def cpu_rows(self, clients):
        rows = []
        for phase, name in self.phases(clients):
            medians = self.medians(phase, clients, 'cpu_us')
            row = [name.replace(' /s', '').replace('/s', '')]
            row += ['%.1f' % medians[share] for share in self.options.shares]
            for other in ('plain', 'mergerfs'):
                if 'pool' in medians and other in medians:
                    row.append('%.2f' % self.ratio(phase, clients, 'cpu_us',
                                                   'pool', other))
            rows.append(row)
        return rows

    def head(self):
        head = ['operation'] + list(self.options.shares)
        if 'pool' in head and 'plain' in head:
            head.append('pool/plain')
        if 'pool' in head and 'mergerfs' in head:
            head.append('pool/mergerfs')
        return head


def numbers(text):
    return [int(word) for word in text.split(',')]


def main():
    parser = benchmark.parser()
    parser.add_argument('--members', type=numbers, default=[3, 12])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--clients', type=numbers, default=[1, 4])
    parser.add_argument('--files', type=int, default=1000)
    parser.add_argument('--dirs', type=int, default=1)
    parser.add_argument('--big', type=int, default=512)
    parser.add_argument('--big-times', type=int, default=10)
    parser.add_argument('--huge-dir', type=int, default=100000)
    parser.add_argument('--shares', type=lambda text: text.split(','),
                        default=['plain', 'pool', 'mergerfs'])
    parser.add_argument('--vfs', default='')
    parser.add_argument('--no-pin', dest='pin', action='store_false')
    parser.add_argument('--stand-in', action='store_true')
    options = benchmark.parse(parser, __doc__)
    benchmark.prepare(options)
    results = benchmark.Results(options)
    raw = []
    for members in options.members:
        with testpool.Workspace() as work:
            bench = Bench(work, options, members)
            for number in range(options.rounds):
                print('# %d members, round %d of %d'
                      % (members, number + 1, options.rounds),
                      file=sys.stderr, flush=True)
                bench.round(number)
        for clients in options.clients:
            title = '%d members, %d client%s, medians of %d rounds' % (
                members, clients, 's' if clients > 1 else '', options.rounds)
            for what, rows in (('rates', bench.rate_rows(clients)),
                               ("the server's processor time in microseconds "
                                'per operation', bench.cpu_rows(clients))):
                results.table('%s: %s' % (title, what), bench.head(), rows)
            raw.append({'members': members, 'clients': clients, 'results': {
                phase: by_share
                for (phase, n), by_share in bench.results.items()
                if n == clients}})
    results.save(raw)
    return 0


if __name__ == '__main__':
    benchmark.run(main)
