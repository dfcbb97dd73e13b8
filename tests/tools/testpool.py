"""What the test programs in Python share: a place of their own with tmpfs
members, and a private smbd over them (by examples/quickstart.sh).

    import testpool
    testpool.isolate()                     # first thing in main()
    with testpool.Workspace() as work:
        members = [work.tmpfs('m%d' % i) for i in (1, 2, 3)]
        pool = work.pool('q', members=members, plain=work.tmpfs('plain'))
        pool.up(vfs='streams_xattr')
        ...

isolate() starts the program again in mount and process namespaces of its own.
Mounts made there never show on the machine, and when the program ends, however
it ends, the kernel ends every process and undoes every mount in them.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
QUICKSTART = os.path.join(TOP, 'examples', 'quickstart.sh')
SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin'


class Failure(Exception):
    """Something that a person must be told, without a traceback."""


def isolate():
    """Needs root. Returns in the new namespaces."""
    os.environ['PATH'] = SYSTEM_PATH
    if os.environ.get('MRMR_TEST_ISOLATED') != 'yes':
        if os.geteuid() != 0:
            sys.exit('%s: needs root (private namespaces and mounts)'
                     % os.path.basename(sys.argv[0]))
        os.environ['MRMR_TEST_ISOLATED'] = 'yes'
        os.execvp('unshare', ['unshare', '--mount', '--propagation', 'private',
                              '--pid', '--fork', '--kill-child',
                              '--mount-proc', '--',
                              sys.executable] + sys.argv)
    program = os.fork()
    if program != 0:
        be_init(program)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))


def be_init(program):
    """What smbd starts, and does not wait for, is the init's to wait for: some
    hundred protectors in a trial, which all who look for processes would find."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda n, _: os.kill(program, n))
    while True:
        pid, status = os.wait()
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def end_all():
    """Ends what still runs in the namespace."""
    if os.getppid() != 1 or os.environ.get('MRMR_TEST_ISOLATED') != 'yes':
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN) # the init sends it on
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(-1, number)
        except ProcessLookupError:
            return
        time.sleep(0.2)


def build(purposes, options=()):
    """Installs and builds; returns the directory of what was built."""
    tools = os.path.join(TOP, 'source', 'build')
    subprocess.run([os.path.join(tools, 'deps.sh')] + list(purposes),
                   check=True)
    subprocess.run([os.path.join(tools, 'make.sh')] + list(options),
                   check=True)
    return os.path.join(TOP, 'bin')


class Workspace:
    """A tmpfs that everything lies on; what is mounted below it is seen by
    every smbd (the mount is shared, whatever the machine's own root is)."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix='mrmr-')
        self.mounts = []
        self.pools = []
        self.closing = False

    def __enter__(self):
        os.chmod(self.path, 0o755)
        self.mount('-t', 'tmpfs', '-o', 'mode=755,size=2g', 'mrmr-test',
                   self.path)
        subprocess.run(['mount', '--make-shared', self.path], check=True)
        return self

    def __exit__(self, *_):
        self.closing = True
        for pool in self.pools:
            pool.down()
        end_all()
        self.unmount(0)
        os.rmdir(self.path)

    def unmount(self, keep):
        """All that was mounted, but for the first ones."""
        for target in reversed(self.mounts[keep:]):
            if subprocess.run(['umount', target],
                              stderr=subprocess.DEVNULL).returncode != 0:
                # busy, or gone with its FUSE process
                subprocess.run(['umount', '-l', target],
                               stderr=subprocess.DEVNULL)
        del self.mounts[keep:]

    def join(self, name):
        return os.path.join(self.path, name)

    def mount(self, *arguments):
        subprocess.run(['mount'] + list(arguments), check=True)
        self.mounts.append(arguments[-1])

    def tmpfs(self, name, size='2g'):
        """A file system of its own, mounted at the path that is returned."""
        path = self.join(name)
        os.mkdir(path)
        self.mount('-t', 'tmpfs', '-o', 'mode=755,size=' + size,
                   'mrmr-' + name, path)
        return path

    def write(self, name, text):
        path = self.join(name)
        with open(path, 'w') as out:
            out.write(text)
        return path

    def pool(self, name, **settings):
        pool = Pool(self.join(name), **settings)
        self.pools.append(pool)
        return pool


class Pool:
    """A private smbd with the shares `pool` and perhaps `plain`."""

    def __init__(self, directory, members, plain=None, build_dir=None,
                 stand_in=False, parity=1, users=('mrmr',), smbd=None,
                 protect='no'):
        self.directory = directory
        self.members = members
        self.plain = plain
        self.build_dir = build_dir
        self.stand_in = stand_in
        self.parity = parity
        self.protect = protect    # mrmr:protect: is a protector started
        self.users = users
        self.smbd = smbd
        self.env = {}
        self.running = False

    def up(self, vfs=None, conf=None, environment=()):
        """Starts it, or starts it again if anything is different."""
        command = [QUICKSTART, 'up', '--dir', self.directory]
        if self.stand_in:
            command += ['--stand-in', self.members[0]]
        else:
            command += ['--module-dir', self.build_dir,
                        '--parity', str(self.parity),
                        '--protect', self.protect]
            for member in self.members:
                command += ['--member', member]
        if self.plain:
            command += ['--plain', self.plain]
        for user in self.users:
            command += ['--user', user]
        if self.smbd:
            command += ['--smbd', self.smbd]
        if vfs is not None:
            command += ['--vfs', vfs]
        if conf is not None:
            command += ['--conf', conf]
        for setting in environment:
            command += ['--env', setting]
        self.running = True
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Failure('quickstart.sh up failed:\n' + done.stdout)
        with open(os.path.join(self.directory, 'env')) as lines:
            for line in lines:
                name, value = line.rstrip('\n').split('=', 1)
                self.env[name] = shlex.split(value)[0] if value else ''

    def down(self):
        if self.running:
            self.running = False
            subprocess.run([QUICKSTART, 'down', '--dir', self.directory],
                           stdout=subprocess.DEVNULL)

    def main_pid(self):
        with open(os.path.join(self.directory, 'run', 'smbd')) as line:
            return int(line.read().split()[0])

    def protectors(self):
        """The processes of this pool that protect in the background."""
        config = os.path.join(self.directory, 'mrmr.json').encode()
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/cmdline' % pid, 'rb') as line:
                    words = line.read().split(b'\0')
            except OSError:
                continue
            if b'--background' in words and config in words:
                found.append(int(pid))
        return found

    def run(self, command, **options):
        """A command where the users of this smbd are known."""
        return subprocess.run([QUICKSTART, 'run', '--dir', self.directory]
                              + command, **options)

    def password(self, user):
        with open(os.path.join(self.directory, 'users')) as lines:
            for line in lines:
                name, _, password = line.rstrip('\n').split(':', 2)
                if name == user:
                    return password
        raise KeyError(user)

    def grant(self, user, *privileges):
        self.run(['net', '-s', self.env['MRMR_SMB_CONF'], 'sam', 'rights',
                  'grant', user] + list(privileges), check=True,
                 stdout=subprocess.DEVNULL)

    def log(self):
        """smbd's log so far."""
        path = os.path.join(self.directory, 'log', 'smbd.log')
        try:
            with open(path, errors='replace') as text:
                return text.read()
        except FileNotFoundError:
            return ''

    def roots(self):
        """Where the files of the share `pool` lie, with its spine."""
        if self.stand_in:
            return self.members[:1]
        return list(self.members) + [os.path.join(self.directory, 'state',
                                                  'spine')]

    def wipe(self):
        """Empties both shares, behind smbd's back; nobody is connected."""
        for root in self.roots() + ([self.plain] if self.plain else []):
            for entry in os.scandir(root):
                if entry.name in ('.mrmr', 'lost+found'):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
