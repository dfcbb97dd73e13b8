"""The two that bench_parity.py compares: SnapRAID with 4 data and 2 parity
drives, and a pool of 6 members with parity for 2. Every drive is a tmpfs.

Both have the same methods, so that the benchmark can treat them alike:

    make()       drives with nothing on them
    fill(data)   files straight onto the drives
    find()       learn of them; None if sync does that itself
    sync()       make the parity
    scrub()      read and verify all data and all parity
    lose()       a drive is gone, an empty one is there; the lost bytes
    rebuild()    recreate what was on it
    check(data)  are all files there, and right
    parity()     bytes of parity
    tear_down()

find() to rebuild() are commands that are timed: each returns a Timing.
"""

import json
import os
import subprocess
import threading
import time

import testpool


class Memory(threading.Thread):
    """The most that a process has at one time, in bytes, looked at every 20 ms,
    without the files that it maps."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.peak_bytes = 0
        self.ended = threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.02):
            try:
                with open('/proc/%d/status' % self.pid) as text:
                    kib = [int(line.split()[1]) for line in text
                           if line.startswith('RssAnon:')]
            except OSError:
                return
            self.peak_bytes = max([self.peak_bytes] + [k * 1024 for k in kib])

    def end(self):
        self.ended.set()
        self.join()
        return self.peak_bytes


class Timing:
    """Of a command: seconds by the clock, and of processors; memory in bytes."""

    def __init__(self, command, log, ok=(0,), **options):
        with open(log, 'ab') as out:
            begin = time.monotonic()
            process = subprocess.Popen(command, stdout=out, stderr=out,
                                       stdin=subprocess.DEVNULL, **options)
            memory = Memory(process.pid)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds = time.monotonic() - begin
            self.memory_bytes = memory.end()
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        if process.returncode not in ok:
            with open(log, errors='replace') as text:
                raise testpool.Failure('%s: status %d\n%s' % (
                    ' '.join(command), process.returncode,
                    text.read()[-3000:]))


class Data:
    """Files of one size with different bytes, in directories of 1,000: pieces
    of one random string, each from another place on."""

    def __init__(self, count, size_bytes):
        self.count = count
        self.size_bytes = size_bytes
        self.total_bytes = count * size_bytes
        spare = max(1 << 24, 2 * count)
        # odd, so that no block of one is a block of another
        self.step = (spare // count - 1) | 1
        self.string = memoryview(os.urandom(size_bytes + spare))

    def path(self, i):
        return 'd%03d/f%06d' % (i // 1000, i)

    def content(self, i):
        at = i * self.step
        return self.string[at:at + self.size_bytes]

    def fill(self, roots):
        """File i onto drive i modulo their number."""
        for i in range(self.count):
            full = os.path.join(roots[i % len(roots)], self.path(i))
            if i % 1000 < len(roots):
                os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'wb', buffering=0) as out:
                out.write(self.content(i))

    def check(self, roots):
        """All must be there, with their bytes; where, does not matter."""
        for i in range(self.count):
            found = [root for root in roots
                     if os.path.exists(os.path.join(root, self.path(i)))]
            if len(found) != 1:
                raise testpool.Failure('%s is there %d times' % (
                    self.path(i), len(found)))
            with open(os.path.join(found[0], self.path(i)), 'rb') as text:
                if text.read() != self.content(i):
                    raise testpool.Failure('%s has other bytes than before'
                                           % self.path(i))


def allocated(path):
    """Bytes that a file, or all files below a directory, take."""
    if os.path.isfile(path):
        return os.stat(path).st_blocks * 512
    return sum(os.stat(os.path.join(top, name)).st_blocks * 512
               for top, _, names in os.walk(path) for name in names)


def contained(path):
    """The bytes in all files below a directory."""
    return sum(os.stat(os.path.join(top, name)).st_size
               for top, _, names in os.walk(path) for name in names)


class Side:
    def __init__(self, work, name, drive_mib):
        self.work = work
        self.directory = work.join(name)
        os.makedirs(self.directory)
        self.drive_mib = drive_mib
        self.log = os.path.join(self.directory, 'log')

    def drive(self, name, mib=None):
        """Mounted anew if it is there; so it is empty."""
        path = os.path.join(self.directory, name)
        if path in self.work.mounts:
            subprocess.run(['umount', path], check=True)
            self.work.mounts.remove(path)
        os.makedirs(path, exist_ok=True)
        self.work.mount('-t', 'tmpfs', '-o',
                        'mode=755,size=%dm' % (mib or self.drive_mib),
                        'mrmr-' + name, path)
        return path

    def tear_down(self):
        """Frees the memory."""
        for path in [path for path in self.work.mounts
                     if path.startswith(self.directory + '/')]:
            subprocess.run(['umount', path], check=True)
            self.work.mounts.remove(path)


class SnapRaid(Side):
    name = 'SnapRAID'

    def __init__(self, work, drive_mib, parity_mib, block_kib):
        super().__init__(work, 'snapraid', drive_mib)
        self.parity_mib = max(parity_mib, drive_mib)
        self.block_kib = block_kib
        self.config = os.path.join(self.directory, 'snapraid.conf')

    def make(self):
        self.data = [self.drive('d%d' % i) for i in (1, 2, 3, 4)]
        self.parities = [self.drive('p%d' % i, self.parity_mib)
                         for i in (1, 2)]
        lines = ['blocksize %d' % self.block_kib,
                 'parity %s/snapraid.parity' % self.parities[0],
                 '2-parity %s/snapraid.2-parity' % self.parities[1]]
        lines += ['content %s/snapraid.content' % path
                  for path in self.parities + self.data[1:2]]
        lines += ['data %s %s/' % (os.path.basename(path), path)
                  for path in self.data]
        with open(self.config, 'w') as out:
            out.write('\n'.join(lines) + '\n')

    def command(self, *arguments):
        return Timing(['snapraid', '-c', self.config, '-q'] + list(arguments),
                      self.log)

    def fill(self, data):
        data.fill(self.data)

    def find(self):
        return None

    def sync(self):
        return self.command('sync')

    def scrub(self):
        return self.command('-p', 'full', 'scrub')

    def lose(self):
        lost = contained(self.data[0])
        self.drive('d1')
        return lost

    def rebuild(self):
        return self.command('-d', 'd1', 'fix')

    def check(self, data):
        data.check(self.data)

    def parity(self):
        return sum(os.stat(os.path.join(path, name)).st_size
                   for path in self.parities for name in os.listdir(path)
                   if name.endswith('parity'))


class Mrmr(Side):
    name = 'MRMR'

    def __init__(self, work, drive_mib, build_dir):
        super().__init__(work, 'mrmr', drive_mib)
        self.admin = os.path.join(build_dir, 'mrmr-admin')
        self.config = os.path.join(self.directory, 'mrmr.json')

    def make(self):
        self.members = [self.drive('m%d' % i) for i in range(6)]
        self.state = self.drive('state')
        if os.path.exists(self.config):
            os.unlink(self.config)
        self.command('--quiet', '--yes', 'init', '--parity', '2',
                     '--state-dir', os.path.join(self.state, 'pool'),
                     *self.members)
        # the files that an empty pool has
        self.command('scan', '--no-sync')
        self.command('sync')
        self.empty_bytes = self.catalogue_and_parts()

    def command(self, *arguments, ok=(0,)):
        return Timing([self.admin, '-c', self.config] + list(arguments),
                      self.log, ok)

    def fill(self, data):
        data.fill(self.members)

    def find(self):
        return self.command('scan', '--no-sync', ok=(0, 1))

    def sync(self):
        return self.command('sync')

    def scrub(self):
        return self.command('scrub', '--percent', '100')

    def lose(self):
        """The config still has the member, whose mount point is empty."""
        lost = self.members[0]
        total = contained(lost) - os.stat(
            os.path.join(lost, '.mrmr', 'mrmr.db')).st_size
        subprocess.run(['umount', lost], check=True)
        self.work.mounts.remove(lost)
        return total

    def rebuild(self):
        new = self.drive('new')
        timing = self.command('--yes', 'rebuild', self.members[0], '--onto',
                              new)
        self.members[0] = new
        return timing

    def check(self, data):
        data.check(self.members)
        done = subprocess.run([self.admin, '-c', self.config, '--json',
                               'check'], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise testpool.Failure('mrmr-admin check: status %d\n%s' % (
                done.returncode, done.stdout[-3000:]))
        json.loads(done.stdout)

    def parity(self):
        return sum(contained(os.path.join(member, '.mrmr', 'parity'))
                   for member in self.members)

    def catalogue_and_parts(self):
        parts = [os.path.join(member, '.mrmr', 'mrmr.db')
                 for member in self.members]
        return (allocated(os.path.join(self.state, 'pool', 'catalogue')),
                sum(allocated(part) for part in parts))

    def metadata(self):
        """Bytes of the catalogue, and of the parts of all members, that came
        with the files."""
        return tuple(now - empty for now, empty in
                     zip(self.catalogue_and_parts(), self.empty_bytes))
