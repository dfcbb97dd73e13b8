"""Many clients for a long time, with the protector at work, and a member that
vanishes half way: errors that a plain share would not give, memory, and the
latency of each request against a plain share's.

    tests/bench load [OPTION]...

  --minutes N      how long [10]
  --clients N      client processes [50]
  --rate R         requests that each client sends in a second, to each of the
                   two shares [2]
  --members N      of the pool [4]
  --parity N       [1]
  --seed N         [1]
  --keep           the member does not vanish
  --vfs "LIST"     other `vfs objects` [acl_xattr]
  --build DIR      use what was built in DIR [build now]
  --markdown FILE, --json FILE   the tables, and every number in them

Each client has a connection to the share `pool` and one to the share `plain` of
the same smbd, and sends each request to both, one after the other, in an order
that chance decides: so both meet the same machine, whatever else it does, the
protector included. Members and plain are each a tmpfs. Clients work in
directories of their own; what they read is compared with what they wrote.

What counts as an error is one that plain did not give to the same request, or
wrong bytes. When the member vanishes, files on it that were not protected at
that moment are lost, which a plain share's would be as well: `mrmr-admin what-if`
names them just before, and what is written from then until it has vanished
counts to them. They are counted on their own. The others have to be there: in
the last version, or, on the member that vanished, in an earlier one that was
written whole.

Exit status 1: there were errors.
"""

import collections
import json
import os
import pickle
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import benchmark    # noqa: E402
import testpool    # noqa: E402
import smb2    # noqa: E402
from tables import ratio    # noqa: E402

SHARES = ('pool', 'plain')
P99_OF_PLAIN = 1.3
SIZES = (100, 10240, 10240, 10240, 65536)
LARGE = 1 << 20
NUM_FILES = 40    # of a client at a time
# (what is asked for, how often)
MIX = (('create', 20), ('read', 30), ('overwrite', 8), ('append', 6),
       ('list', 8), ('stat', 12), ('rename', 6), ('delete', 8), ('large', 2))
EARLY, LATE = 'before', 'after'


def content(seed, size):
    return random.Random(seed).randbytes(size)


class Model:
    """What one client's files on a share are: name -> list of versions."""

    def __init__(self):
        self.versions = {}

    def wrote(self, name, data):
        self.versions[name] = [v for v in self.versions.get(name, [])[-3:]]
        self.versions[name].append((time.time(), data))

    def latest(self, name):
        return self.versions[name][-1][1]


class Worker:
    def __init__(self, number, options, password, directory, begin):
        self.number = number
        self.options = options
        self.dice = random.Random(options.seed * 1000 + number)
        self.directory = directory
        self.begin = begin
        self.end = begin + options.minutes * 60
        self.clients = {share: smb2.Client(share, user='mrmr',
                                           password=password, timeout=120)
                        for share in SHARES}
        self.model = Model()    # the same on both shares
        self.last = 0
        self.lost = None        # names that were on the member that vanished
        self.unprotected = set()
        self.vanished_at = None
        # (part, share, what) -> seconds
        self.times = collections.defaultdict(list)
        self.errors = []
        self.expected = 0

    def name(self, i):
        return 'c%d\\d%d\\f%d' % (self.number, i % 4, i)

    def prepare(self):
        for client in self.clients.values():
            client.mkdir('c%d' % self.number)
            for d in range(4):
                client.mkdir('c%d\\d%d' % (self.number, d))

    # --- requests; each returns what both shares have to agree in ------------

    def put(self, c, name, data, at=0, disposition=smb2.OPEN_IF):
        f = c.create(name, disposition=disposition)
        c.write(f, data, at)
        c.close(f)

    def choose(self):
        """what, name, function(client)"""
        names = list(self.model.versions)
        what = self.dice.choices([w for w, _ in MIX],
                                 [n for _, n in MIX])[0]
        if not names or (what == 'create' and len(names) >= NUM_FILES):
            what = 'delete' if len(names) >= NUM_FILES else 'create'
        if what in ('create', 'large'):
            self.last += 1
            name = self.name(self.last)
            data = content(self.dice.random(), LARGE if what == 'large'
                           else self.dice.choice(SIZES))
            return what, name, data, lambda c: self.put(
                c, name, data, disposition=smb2.CREATE)
        name = self.dice.choice(names)
        if what == 'read':
            return what, name, None, lambda c: c.get(name)
        if what in ('overwrite', 'append'):
            # whole, so that any version is one that was written
            old = self.model.latest(name)
            piece = content(self.dice.random(), 4096)
            at = len(old) if what == 'append' else self.dice.randrange(
                len(old))
            data = old[:at] + piece + old[at + len(piece):]
            return what, name, data, lambda c: self.put(
                c, name, piece, at, disposition=smb2.OPEN)
        if what == 'list':
            at = name.rsplit('\\', 1)[0]
            return what, name, None, lambda c: c.names(at)
        if what == 'stat':
            def stat(c):
                f = c.create(name, access=smb2.READ_ATTRIBUTES)
                c.close(f)
                return f.size
            return what, name, None, stat
        if what == 'rename':
            self.last += 1
            new = self.name(self.last)
            return what, name, new, lambda c: c.rename(name, new)
        return what, name, None, lambda c: c.unlink(name)

    # --- what came of it -----------------------------------------------------

    def look_for_loss(self):
        path = os.path.join(self.directory, 'lost.json')
        if self.lost is None and os.path.exists(path):
            with open(path) as text:
                told = json.load(text)
            self.lost = set(told['lost'])
            self.unprotected = set(told['unprotected'])
            self.vanished_at = told['at']
            self.asked_at = told['asked_at']

    def was_lost(self, name):
        return self.lost is not None and name in self.lost

    def may_be_lost(self, name):
        """It was on the member that has vanished, not protected."""
        if self.lost is None or name not in self.model.versions:
            return self.lost is None and self.is_going()
        return name in self.unprotected or any(
            self.asked_at - 5 <= when <= self.vanished_at + 2
            for when, _ in self.model.versions[name])

    def is_going(self):
        return os.path.exists(os.path.join(self.directory, 'going'))

    def is_right(self, name, data):
        versions = [v for _, v in self.model.versions[name]]
        if data == versions[-1]:
            return True
        return self.was_lost(name) and data in versions

    def judge(self, what, name, answers):
        ours, theirs = answers['pool'], answers['plain']
        if isinstance(theirs, Exception):
            self.note('plain itself: %s %s: %s' % (what, name, theirs))
            return
        self.look_for_loss()
        if isinstance(ours, Exception):
            if self.may_be_lost(name):
                self.expected += 1
            else:
                self.note('%s %s: %s' % (what, name, ours))
        elif what == 'read' and not self.is_right(name, ours):
            if self.may_be_lost(name):
                self.expected += 1
            else:
                self.note('%s %s: wrong bytes' % (what, name))
        elif what == 'list' and ours != theirs:
            missing = set(theirs) ^ set(ours)
            at = name.rsplit('\\', 1)[0]
            if all(self.may_be_lost(at + '\\' + n) for n in missing):
                self.expected += 1
            else:
                self.note('list %s: %s' % (at, sorted(missing)[:5]))
        elif what == 'stat' and ours != theirs and not (
                self.was_lost(name) or self.may_be_lost(name)):
            self.note('stat %s: %d, not %d' % (name, ours, theirs))

    def note(self, error):
        self.errors.append('%.1f s, client %d: %s' % (
            time.time() - self.begin, self.number, error))

    def learn(self, what, name, data, answers):
        model = self.model.versions
        if any(isinstance(a, Exception) for a in answers.values()):
            # not the same on both any more: done without
            model.pop(name, None)
            for client in self.clients.values():
                for leftover in {name, data if what == 'rename' else name}:
                    try:
                        client.unlink(leftover)
                    except smb2.Error:
                        pass
        elif what == 'rename':
            model[data] = model.pop(name)
            for names in (self.lost, self.unprotected):
                if names is not None and name in names:
                    names.add(data)
        elif what == 'delete':
            del model[name]
        elif data is not None:
            if self.was_lost(name):
                # computed in its protected version, and changed
                self.model.versions.pop(name)
                for client in self.clients.values():
                    client.unlink(name)
                self.lost.discard(name)
            else:
                self.model.wrote(name, data)

    def step(self):
        what, name, data, function = self.choose()
        answers = {}
        for share in self.dice.sample(SHARES, 2):
            start = time.monotonic()
            try:
                answers[share] = function(self.clients[share])
            except smb2.Error as error:
                answers[share] = error
            took = time.monotonic() - start
            part = LATE if self.is_going() else EARLY
            self.times[part, share, what].append(took)
        self.judge(what, name, answers)
        self.learn(what, name, data, answers)

    def run(self):
        self.prepare()
        interval = 1 / self.options.rate
        due = self.begin + self.dice.random() * interval
        while due < self.end:
            time.sleep(max(0, due - time.time()))
            self.step()
            due = max(due + interval, time.time() - 5)
        with open(os.path.join(self.directory,
                               'client%d' % self.number), 'wb') as out:
            pickle.dump((dict(self.times), self.errors, self.expected), out)


# --- memory -----------------------------------------------------------------------

def memory(pid, kinds=('Private_Dirty', 'Private_Clean')):
    """Its own memory in KiB, without what it shares with others; None if it
    has gone. The pages of files that it has mapped and nobody else count too;
    kinds=('Anonymous',) leaves them out."""
    try:
        with open('/proc/%d/smaps_rollup' % pid) as text:
            fields = dict(line.split(':', 1) for line in text
                          if line.count(':') == 1)
        return sum(int(fields[kind].split()[0]) for kind in kinds)
    except (OSError, KeyError, ValueError):
        return None


def children_of(pid):
    with open('/proc/%d/task/%d/children' % (pid, pid)) as text:
        return [int(word) for word in text.read().split()]


class Memory:
    def __init__(self, pool, begin):
        self.pool = pool
        self.begin = begin
        self.smbd = []         # (seconds, sum of all children, largest)
        self.protector = []    # (seconds, KiB, of it without mapped files)

    def sample(self):
        now = time.time() - self.begin
        sizes = [m for m in map(memory, children_of(self.pool.main_pid()))
                 if m is not None]
        if sizes:
            self.smbd.append((now, sum(sizes), max(sizes)))
        for pid in self.pool.protectors():
            sizes = memory(pid), memory(pid, ('Anonymous',))
            if None not in sizes:
                self.protector.append((now, *sizes))

    @staticmethod
    def highest(samples, index, since, until):
        found = [s[index] for s in samples if since <= s[0] < until]
        return max(found) / 1024 if found else 0

    def rows(self, total):
        """The highest in each quarter of the time, in MiB."""
        quarters = [(total * q / 4, total * (q + 1) / 4) for q in range(4)]
        return [[name] + ['%.1f' % self.highest(samples, index, *quarter)
                          for quarter in quarters]
                for name, samples, index in (
                    ('all smbds together', self.smbd, 1),
                    ('the largest smbd', self.smbd, 2),
                    ('the protector', self.protector, 1),
                    ('of it, its own data', self.protector, 2))]


# --- the run ----------------------------------------------------------------------

class Bench:
    def __init__(self, work, options):
        self.options = options
        self.work = work
        self.directory = work.join('load')
        os.mkdir(self.directory)
        members = [work.tmpfs('member%d' % i, size='4g')
                   for i in range(options.members)]
        self.pool = work.pool('q', members=members, plain=work.tmpfs('plain'),
                              build_dir=options.build, parity=options.parity,
                              protect='queue')
        self.pool.up(vfs=options.vfs)
        os.environ.update(self.pool.env)

    def admin(self, *arguments):
        done = subprocess.run([self.pool.env['MRMR_ADMIN'], *arguments],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        return done.stdout

    def write(self, name, what):
        path = os.path.join(self.directory, name)
        with open(path + '.new', 'w') as out:
            json.dump(what, out)
        os.rename(path + '.new', path)

    def vanish(self):
        """The last member goes, as a drive whose plug is pulled."""
        member = self.pool.members[-1]
        self.write('going', {})
        asked = time.time()
        unprotected = json.loads(self.admin('--json', 'what-if', '--lose',
                                            member))
        lost = []
        for top, dirs, files in os.walk(member):
            if top == member:
                dirs[:] = [d for d in dirs if d != '.mrmr']
            lost += [os.path.relpath(os.path.join(top, name), member)
                     for name in files]
        subprocess.run(['umount', '-l', member], check=True)
        self.write('lost.json', {
            'asked_at': asked, 'at': time.time(),
            'lost': [path.replace('/', '\\') for path in lost],
            'unprotected': [path.replace('/', '\\') for path in
                            names_in(unprotected)]})
        return len(lost)

    def run(self):
        options = self.options
        begin = time.time() + 2 + options.clients * 0.1
        total = options.minutes * 60
        children = []
        for number in range(options.clients):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    Worker(number, options, self.pool.env['MRMR_PASSWORD'],
                           self.directory, begin).run()
                    status = 0
                finally:
                    os._exit(status)
            children.append(pid)
        samples = Memory(self.pool, begin)
        self.num_lost = None
        next_word = begin
        while time.time() < begin + total:
            time.sleep(max(0, min(2, begin + total - time.time())))
            samples.sample()
            if self.num_lost is None and not options.keep and \
                    time.time() >= begin + total / 2:
                self.num_lost = self.vanish()
            if time.time() >= next_word:
                next_word += 60
                print('# %d s of %d' % (time.time() - begin, total),
                      file=sys.stderr, flush=True)
        failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
        return samples, len(failed)


def names_in(report):
    """The paths in what-if's report."""
    found = []
    for value in report.values():
        if isinstance(value, list):
            found += [entry['path'] if isinstance(entry, dict) else entry
                      for entry in value
                      if isinstance(entry, str) or 'path' in entry]
    return found


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] * 1000


def latency_rows(times, part):
    rows = []
    kinds = [what for what, _ in MIX] + ['all']
    for what in kinds:
        by_share = {share: [t for (p, s, w), values in times.items()
                            for t in values
                            if p == part and s == share and
                            what in (w, 'all')] for share in SHARES}
        if not all(by_share.values()):
            continue
        row = [what, str(len(by_share['pool']))]
        for share in ('plain', 'pool'):
            row += ['%.1f' % percentile(by_share[share], 0.5),
                    '%.1f' % percentile(by_share[share], 0.99)]
        row.append(ratio(percentile(by_share['plain'], 0.99) /
                         percentile(by_share['pool'], 0.99),
                         1 / P99_OF_PLAIN))
        rows.append(row)
    return rows


def report(bench, options, samples, num_failed):
    times = collections.defaultdict(list)
    errors, expected = [], 0
    for number in range(options.clients):
        path = os.path.join(bench.directory, 'client%d' % number)
        if os.path.exists(path):
            with open(path, 'rb') as data:
                its_times, its_errors, its_expected = pickle.load(data)
            for key, values in its_times.items():
                times[key] += values
            errors += its_errors
            expected += its_expected
    results = benchmark.Results(options)
    head = ['request', 'number', 'plain p50', 'plain p99', 'pool p50',
            'pool p99', 'plain/pool p99']
    tables = [('milliseconds, all members there', head,
               latency_rows(times, EARLY))]
    if bench.num_lost is not None:
        tables.append(('milliseconds, after a member with %d files has '
                       'vanished' % bench.num_lost, head,
                       latency_rows(times, LATE)))
    tables.append(('memory in MiB, the most in each quarter of the time',
                   ['of', '1st', '2nd', '3rd', '4th'],
                   samples.rows(options.minutes * 60)))
    for title, columns, rows in tables:
        results.table(title, columns, rows)
    line = ('%d clients, %g minutes, %d requests to each share; errors that '
            'plain did not give: %d; of files that were lost unprotected: %d; '
            'clients that could not go on: %d' % (
                options.clients, options.minutes,
                sum(len(v) for (_, s, _), v in times.items() if s == 'pool'),
                len(errors), expected, num_failed))
    print('\n' + line)
    for error in errors[:20]:
        print('    ' + error)
    results.texts.append(line + '\n')
    results.save({'tables': tables, 'errors': errors,
                  'lost_unprotected': expected, 'clients_failed': num_failed,
                  'smbd_kib': samples.smbd, 'protector_kib': samples.protector})
    return 1 if errors or num_failed else 0


def main():
    parser = benchmark.parser()
    parser.add_argument('--minutes', type=float, default=10)
    parser.add_argument('--clients', type=int, default=50)
    parser.add_argument('--rate', type=float, default=2)
    parser.add_argument('--members', type=int, default=4)
    parser.add_argument('--parity', type=int, default=1)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--keep', action='store_true')
    parser.add_argument('--vfs', default='acl_xattr')
    options = benchmark.parse(parser, __doc__)
    benchmark.prepare(options)
    with testpool.Workspace() as work:
        bench = Bench(work, options)
        return report(bench, options, *bench.run())


if __name__ == '__main__':
    benchmark.run(main)
