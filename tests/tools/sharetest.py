"""What the integration tests in Python share: members, a pool over them, and
checks. A test begins with

    #!/usr/bin/python3
    # What is tested, in a sentence.
    # timeout: 600           (seconds; this is the default)
    import os, sys
    sys.path.insert(0, os.path.join(os.path.dirname(
        os.path.abspath(__file__)), '..', 'tools'))
    import sharetest
    from sharetest import ok, equal, refused

    def a_file_can_be_written(world):
        pool = world.pool('q', [world.tmpfs('a'), world.loop('b', '64M')])
        pool.up()
        with pool.client() as c:
            c.put('x', b'hello')
            equal(c.get('x'), b'hello', 'it can be read')

    sharetest.main(a_file_can_be_written, ...)

It runs in namespaces of its own (testpool.isolate). Every check prints a line
"ok - ..." or "not ok - ..."; one that fails does not end the test, and an
exception ends only the function it came from. Arguments name the functions to
run; default is all.
"""

import contextlib
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
import testpool    # noqa: E402

NAME = os.path.basename(sys.argv[0]).replace('.test', '')
counts = {True: 0, False: 0}
current = ['']


# --- checks ------------------------------------------------------------------

def report(good, description, *details):
    counts[bool(good)] += 1
    print('%s - %s: %s: %s' % ('ok' if good else 'not ok', NAME, current[0],
                               description), flush=True)
    if not good:
        for detail in details:
            for line in str(detail).splitlines()[-30:]:
                print('# ' + line[:400], flush=True)
    return bool(good)


def ok(condition, description, *details):
    return report(condition, description, *details)


def equal(got, wanted, description):
    return report(got == wanted, description, 'got:    %.300r' % (got,),
                  'wanted: %.300r' % (wanted,))


def refused(description, statuses, function, *arguments, **named):
    """function must fail with one of the statuses, given without NT_STATUS_
    and separated by blanks."""
    try:
        result = function(*arguments, **named)
    except Exception as error:    # smb2.Error, or what went wrong
        name = getattr(error, 'name', repr(error))
        return report(name.replace('NT_STATUS_', '') in statuses.split(),
                      description, 'got:    %s' % error,
                      'wanted: %s' % statuses)
    return report(False, description, 'it succeeded: %.200r' % (result,),
                  'wanted: %s' % statuses)


def works(description, function, *arguments, **named):
    """What function returns; None if it fails, which fails the check."""
    try:
        result = function(*arguments, **named)
    except Exception as error:
        report(False, description, repr(error), traceback.format_exc())
        return None
    report(True, description)
    return result


def same_bytes(got, wanted, description):
    """For content that is too long to print."""
    where = 'got %d bytes, wanted %d' % (len(got), len(wanted))
    if got != wanted:
        at = next((i for i in range(0, min(len(got), len(wanted)), 4096)
                   if got[i:i + 4096] != wanted[i:i + 4096]), None)
        where += ', the first difference is in the 4096 bytes at %s' % at
    return report(got == wanted, description, where)


def eventually(seconds, function, *arguments):
    """What it returns once that is true. A machine that stands still, or is
    slow, takes none of the time: no try is left out for that."""
    left = seconds
    while True:
        begin = time.monotonic()
        try:
            result = function(*arguments)
        except Exception:
            result = None
        if result or left < 0:
            return result
        time.sleep(0.1)
        left -= min(time.monotonic() - begin, 0.5)


def run(*command, **options):
    """A command; its output. Fails if that fails, unless check=False."""
    options.setdefault('check', True)
    check = options.pop('check')
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          errors='replace', stdin=subprocess.DEVNULL,
                          **options)
    if check and done.returncode != 0:
        raise testpool.Failure('%s: status %d\n%s' % (
            ' '.join(command), done.returncode, done.stdout))
    return done.stdout


# --- the pool ----------------------------------------------------------------

# A file with rwx for its owner gives the owner every right, without ACLs too.
CONF = '''[global]
    create mask = 0755
    force create mode = 0700
'''


class Pool(testpool.Pool):
    """As testpool.Pool, with what tests ask of it."""

    def up(self, vfs=None, conf=None, environment=(), build_dir=None):
        """conf: more lines for [global] of smb.conf, and shares."""
        if conf is not None or not self.env:
            path = self.directory + '.conf'
            with open(path, 'w') as out:
                out.write(CONF + (conf or ''))
            conf = path
        if build_dir:
            self.build_dir = build_dir
        everyones = shlex.split(os.environ.get('MRMR_TEST_QUICKSTART', ''))
        environment = [value for option, value
                       in zip(everyones, everyones[1:])
                       if option == '--env'] + list(environment)
        # the sanitizers know no other name for D than this
        if self.running:
            environment = environment or ['']
        super().up(vfs=vfs, conf=conf, environment=environment)
        os.environ.update(self.env)
        return self

    def restart(self, **options):
        self.down()
        return self.up(**options)

    def client(self, share='pool', user=None, **options):
        import smb2
        os.environ['MRMR_SMB_CONF'] = self.env['MRMR_SMB_CONF']
        return smb2.Client(share, user=user or self.env['MRMR_USER'],
                           password=self.password(user)
                           if user else self.env['MRMR_PASSWORD'],
                           port=self.env['MRMR_PORT'], **options)

    def smbclient(self, commands, share='pool', options=(), check=True):
        return run('smbclient', '-s', self.env['MRMR_SMB_CONF'], '-A',
                   self.env['MRMR_AUTH'], '-p', self.env['MRMR_PORT'],
                   *options, '//127.0.0.1/' + share, '-c', commands,
                   check=check)

    def admin(self, *arguments, check=True):
        return run(self.env['MRMR_ADMIN'], *arguments, check=check)

    @property
    def spine(self):
        return os.path.join(self.directory, 'state', 'spine')

    @property
    def config_path(self):
        return os.path.join(self.directory, 'mrmr.json')

    @contextlib.contextmanager
    def config(self):
        """The config as a dictionary, written back at the end."""
        with open(self.config_path) as text:
            config = json.load(text)
        yield config
        with open(self.config_path + '.new', 'w') as out:
            json.dump(config, out, indent=2)
        os.rename(self.config_path + '.new', self.config_path)

    def where(self, path):
        """The indexes of the members that have it."""
        return [i for i, member in enumerate(self.members)
                if os.path.lexists(os.path.join(member, path))]

    def put_on_all(self, c, directory):
        """Files f0, f1, ... of one byte, a dozen at least, until each member has
        one: with placement by lot, some number never is enough. How many."""
        for num in range(1, 200):
            c.put('%s\\f%d' % (directory, num - 1), b'x')
            if num >= 12 and len(self.where(directory.replace('\\', '/'))) == \
                    len(self.members):
                break
        return num

    def on(self, member, path):
        return os.path.join(self.members[member], path)

    def owned(self, path):
        """Gives what a test made on a member to the share's user."""
        st = os.stat(self.spine)
        for top, dirs, files in os.walk(path):
            for name in dirs + files:
                os.lchown(os.path.join(top, name), st.st_uid, st.st_gid)
        os.lchown(path, st.st_uid, st.st_gid)

    def make(self, member, path, data=b''):
        """A file on a member, made behind smbd's back; with its parents."""
        full = self.on(member, path)
        parent = os.path.dirname(path)
        self.make_dir(member, parent)
        with open(full, 'wb') as out:
            out.write(data)
        st = os.stat(self.spine)
        os.chown(full, st.st_uid, st.st_gid)
        os.chmod(full, 0o744)
        return full

    def make_dir(self, member, path):
        st = os.stat(self.spine)
        done = self.members[member]
        for name in path.split('/') if path else []:
            done = os.path.join(done, name)
            if not os.path.isdir(done):
                os.mkdir(done, 0o755)
                os.chown(done, st.st_uid, st.st_gid)
        return done

    def tree(self, root):
        """{path: content, or None for directories}, without .mrmr."""
        found = {}
        for top, dirs, files in os.walk(root):
            if top == root:
                for name in ('.mrmr', 'lost+found'):
                    if name in dirs:
                        dirs.remove(name)
            for name in dirs:
                path = os.path.join(top, name)
                found[os.path.relpath(path, root)] = None
            for name in files:
                path = os.path.join(top, name)
                if os.path.islink(path):
                    content = os.readlink(path).encode()
                else:
                    with open(path, 'rb') as data:
                        content = data.read()
                found[os.path.relpath(path, root)] = content
        return found

    def union(self):
        """All members' files; a file on two of them is an assertion."""
        found = {}
        for member in self.members:
            for path, content in self.tree(member).items():
                if path in found and (found[path] is not None or
                                      content is not None):
                    raise AssertionError('%s is there twice' % path)
                found[path] = content
        return found

    def smbd_of(self, client):
        """The process that serves a client; looked for once, as that takes long."""
        port = client.sock.getsockname()[1]
        if getattr(client, 'served_by', (0, 0))[0] == port:
            return client.served_by[1]
        inode = None
        with open('/proc/net/tcp') as table:
            for line in table:
                words = line.split()
                if words[2].endswith(':%04X' % port) and \
                        words[1].endswith(':%04X' %
                                          int(self.env['MRMR_PORT'])):
                    inode = words[9]
        target = 'socket:[%s]' % inode
        for fd in glob.glob('/proc/[0-9]*/fd/*'):
            try:
                if os.readlink(fd) == target:
                    client.served_by = (port, int(fd.split('/')[2]))
                    return client.served_by[1]
            except OSError:
                pass
        raise RuntimeError('no smbd has the socket')


# --- the world ---------------------------------------------------------------

class World:
    def __init__(self, work, build_dir):
        self.work = work
        self.build_dir = build_dir
        self.number = 0

    @property
    def path(self):
        return self.work.path

    def fresh(self, name):
        """A name that no other function has used."""
        self.number += 1
        return '%s%d' % (name, self.number)

    def tmpfs(self, size='512m', name='m'):
        return self.work.tmpfs(self.fresh(name), size)

    def loop(self, size='64M', kind='ext4', name='m', options=()):
        """A file system of its own on a loop device: (mount point, image)."""
        name = self.fresh(name)
        image = self.work.join(name + '.img')
        path = self.work.join(name)
        os.mkdir(path)
        with open(image, 'w') as out:
            out.truncate(int(size[:-1]) << 20)
        force = {'ext4': ['-q', '-F', '-m', '0'], 'vfat': []}.get(kind,
                                                                 ['-f'])
        run('mkfs.' + kind, *force, *options, image)
        self.mount_loop(image, path)
        return path, image

    def mount_loop(self, image, path):
        self.work.mount('-o', 'loop', image, path)

    def directory(self, name='m'):
        path = self.work.join(self.fresh(name))
        os.mkdir(path)
        return path

    def pool(self, members=None, plain=None, users=('mrmr',), **settings):
        members = members or [self.tmpfs() for _ in range(3)]
        pool = Pool(self.work.join(self.fresh('q')), members, plain,
                    self.build_dir, users=users, **settings)
        self.work.pools.append(pool)
        return pool

    def faults_build(self):
        """A build in which MRMR_FAULT works."""
        out = os.path.join(testpool.TOP, 'bin-faults')
        run(os.path.join(testpool.TOP, 'source', 'build', 'make.sh'), '-o',
            out, '--with-faults')
        return out


def complaints(work):
    """What smbd or a sanitizer said that must not be."""
    found = []
    for path in glob.glob(os.path.join(work.path, '*', 'log', '*')):
        if os.path.isdir(path):
            continue
        with open(path, errors='replace') as text:
            content = text.read()
        if os.path.basename(path).startswith('sanitizer'):
            found.append(content)
        else:
            found += re.findall('.*(?:INTERNAL ERROR|PANIC|smb_panic|'
                                'runtime error:).*', content)
    return found


def keep_logs(work):
    logs = os.environ.get('MRMR_TEST_LOGS')
    if not logs:
        return
    for path in glob.glob(os.path.join(work.path, '*', 'log')):
        name = '%s.%s' % (NAME, os.path.basename(os.path.dirname(path)))
        shutil.copytree(path, os.path.join(logs, name), dirs_exist_ok=True)


def main(*tests, expected_complaints=None):
    testpool.isolate()
    build_dir = os.environ.get('MRMR_BUILD') or testpool.build(['test'])
    wanted = sys.argv[1:]
    with testpool.Workspace() as work:
        world = World(work, build_dir)
        for test in tests:
            if wanted and test.__name__ not in wanted:
                continue
            current[0] = test.__name__.replace('_', ' ')
            num_mounts = len(work.mounts)
            begin = time.monotonic()
            try:
                test(world)
            except Exception as error:
                log = ''.join(pool.log() for pool in work.pools
                              if pool.running)
                report(False, 'could not go on: %r' % error,
                       traceback.format_exc(), log[-3000:])
            for pool in work.pools:
                pool.down()
            print('# %s: %.1f s' % (current[0], time.monotonic() - begin),
                  flush=True)
            found = [line for line in complaints(work)
                     if not expected_complaints or
                     not re.search(expected_complaints, line)]
            if found:
                report(False, 'smbd crashed, or a sanitizer complained',
                       *found)
            keep_logs(work)
            work.pools.clear()
            work.unmount(num_mounts)
            for path in glob.glob(os.path.join(work.path, '*', 'log')):
                shutil.rmtree(path)
            for path in glob.glob(os.path.join(work.path, '*.img')):
                os.unlink(path)
    sys.exit(0 if counts[True] and not counts[False] else 1)
