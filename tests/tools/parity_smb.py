"""What bench_parity.py measures through SMB: a pool of 6 members with parity
for 2, each a tmpfs, and one client at a time.

  close   seconds from the close of one file of 10 KB, on an idle pool, until
          `mrmr-admin check` finds it in a stripe that is whole
  lost    MiB/s of reading a file from the beginning to the end: while its
          member is there, and for the first time after it has gone
  busy    files of 10 KB made a second, and MiB/s of writing a large file, with
          nothing to protect, and while the protector works through a backlog
"""

import json
import os
import re
import subprocess
import sys
import time

import testpool
from parity_sides import Data

SETTLE_SECONDS = 2    # MRMR_SETTLE_NS_DEFAULT
MIB = 1 << 20


class Share:
    def __init__(self, work, options, name, member_mib):
        self.work = work
        self.options = options
        self.members = [work.tmpfs('%s.m%d' % (name, i), '%dm' % member_mib)
                        for i in range(6)]
        self.pool = work.pool(name, members=self.members, parity=2,
                              build_dir=options.build, protect='queue')
        self.pool.up(vfs='')
        os.environ.update(self.pool.env)
        self.directory = self.pool.directory
        self.admin = self.pool.env['MRMR_ADMIN']

    def down(self):
        self.pool.down()
        self.work.pools.remove(self.pool)
        for member in self.members:
            subprocess.run(['umount', member], check=True)
            self.work.mounts.remove(member)

    def ask(self, *arguments):
        """What a verb prints as JSON, if it does not fail."""
        done = subprocess.run([self.admin, '--json'] + list(arguments),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode > 1:
            raise testpool.Failure('mrmr-admin %s: status %d\n%s%s' % (
                ' '.join(arguments), done.returncode, done.stdout,
                done.stderr))
        return json.loads(done.stdout)

    def sync(self):
        self.ask('sync')

    def smbclient(self, commands):
        done = subprocess.run(
            ['smbclient', '-s', self.pool.env['MRMR_SMB_CONF'], '-A',
             self.pool.env['MRMR_AUTH'], '-p', self.pool.env['MRMR_PORT'],
             '//127.0.0.1/pool', '-c', commands], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0 or 'NT_STATUS' in done.stdout:
            raise testpool.Failure('smbclient -c "%s": %s' % (commands,
                                                             done.stdout))
        return done.stdout

    def own(self, member):
        """What was made behind smbd's back is the share's user's."""
        st = os.stat(member)
        for top, dirs, files in os.walk(member):
            if top == member:
                dirs.remove('.mrmr')
            for name in dirs + files:
                os.lchown(os.path.join(top, name), st.st_uid, st.st_gid)


def protected_bytes(share):
    """Of files in stripes that have all they should."""
    check = share.ask('check')
    return check['there_bytes'] if check['exit_status'] == 0 else -1


def close_to_protected(work, options):
    """Seconds, one for each try."""
    import smb2
    share = Share(work, options, 'close', 256)
    seconds = []
    with smb2.Client('pool', user=share.pool.env['MRMR_USER'],
                     password=share.pool.env['MRMR_PASSWORD']) as client:
        for i in range(options.tries):
            share.sync()
            time.sleep(1)
            wanted = protected_bytes(share) + 10240
            client.put('f%d' % i, os.urandom(10240))
            begin = time.monotonic()
            while protected_bytes(share) < wanted:
                if time.monotonic() - begin > 60:
                    raise testpool.Failure(
                        'a file was not protected a minute after its close')
                time.sleep(0.02)
            seconds.append(time.monotonic() - begin)
    share.down()
    return seconds


def read_rate(share, path):
    """Of smbclient's get, which has many reads under way: MiB/s."""
    text = share.smbclient('get %s /dev/null' % path.replace('/', '\\'))
    return float(re.search(r'\(([\d.]+) KiloBytes/sec\)', text).group(1)) / 1024


def lost_reads(work, options):
    """[(healthy, lost)]: MiB/s of a file each time."""
    size = options.lost_file * MIB
    count = 6 * options.rounds
    data = Data(count, size)
    share = Share(work, options, 'lost',
                  options.lost_file * options.rounds * 2 + 64)
    data.fill(share.members)
    for member in share.members:
        share.own(member)
    share.ask('scan', '--no-sync')
    share.sync()
    paths = [data.path(i) for i in range(0, count, 6)]
    read_rate(share, data.path(1))    # warms up
    healthy = [read_rate(share, path) for path in paths]
    subprocess.run(['umount', '-l', share.members[0]], check=True)
    work.mounts.remove(share.members[0])
    time.sleep(2)    # until every smbd has noticed
    lost = [read_rate(share, path) for path in paths]
    for i, path in zip(range(0, count, 6), paths):
        copy = work.join('copy')
        share.smbclient('get %s %s' % (path.replace('/', '\\'), copy))
        with open(copy, 'rb') as text:
            if text.read() != data.content(i):
                raise testpool.Failure('a lost file was read wrong')
        os.unlink(copy)
    work.mounts.append(work_mount_again(share))
    share.down()
    return list(zip(healthy, lost))


def work_mount_again(share):
    """Something that can be unmounted where the lost member was."""
    member = share.members[0]
    subprocess.run(['mount', '-t', 'tmpfs', 'mrmr-none', member], check=True)
    return member


class Load:
    """smbload on the pool; the backlog is made behind smbd's back, where smbd
    does not wait for it."""

    def __init__(self, share, options):
        self.share = share
        self.options = options
        self.password = share.work.write('password',
                                         share.pool.env['MRMR_PASSWORD']
                                         + '\n')

    def run(self):
        """{phase: rate}"""
        options = self.options
        done = subprocess.run(
            [os.path.join(options.build, 'tools', 'smbload'),
             '--user', self.share.pool.env['MRMR_USER'],
             '--password-file', self.password, '--phases',
             'create,unlink,write',
             '--files', str(options.busy_files),
             '--big', str(options.busy_write),
             'smb://127.0.0.1:%s/pool' % self.share.pool.env['MRMR_PORT']],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, HOME=self.share.directory))
        if done.returncode != 0:
            raise testpool.Failure('smbload failed: ' + done.stderr)
        return {phase: numbers['rate'] for phase, numbers
                in json.loads(done.stdout.splitlines()[0]).items()}

    def beside_protector(self, number):
        """The same while it works; it must work from before to after."""
        share = self.share
        data = Data(24, max(1, self.options.backlog // 24) * MIB)
        roots = [os.path.join(member, 'backlog%d' % number)
                 for member in share.members]
        data.fill(roots)
        for member in share.members:
            share.own(member)
        share.ask('scan', '--no-sync')
        with open(os.path.join(share.directory, 'sync.log'), 'ab') as log:
            protector = subprocess.Popen([share.admin, 'sync',
                                          '--background'], stdout=log,
                                         stderr=log, stdin=subprocess.DEVNULL)
            time.sleep(0.5)
            rates = self.run()
            overlap = protector.poll() is None
            status = protector.wait()
        if status not in (0, 1):
            raise testpool.Failure('mrmr-admin sync --background: status %d'
                                   % status)
        for root in roots:
            subprocess.run(['rm', '-rf', root], check=True)
        share.ask('scan', '--no-sync')
        share.sync()
        if not overlap:
            print('# the protector was done before the load: a larger '
                  '--backlog is needed', file=sys.stderr)
            return None
        return rates


def busy_share(work, options):
    """[({phase: rate} idle, the same while the protector works)]; rounds in
    which it was done too soon are left out."""
    share = Share(work, options, 'busy',
                  (options.backlog + options.busy_write) // 2 + 512)
    load = Load(share, options)
    load.run()
    share.sync()
    rounds = []
    for number in range(options.rounds):
        idle = load.run()
        share.sync()
        busy = load.beside_protector(number)
        if busy is not None:
            rounds.append((idle, busy))
    share.down()
    return rounds
