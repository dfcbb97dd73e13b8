"""Drives whose power can be cut, all at one instant (powercut.c): a file system
on each, on a loop device with direct I/O; and a pool on such drives.
"""

import os
import queue
import subprocess
import threading
import uuid

from sharetest import eventually, run

SIZES = {'ext4': 160, 'xfs': 320, 'btrfs': 288}    # MiB; XFS wants 300
MAKE = {'ext4': ['mkfs.ext4', '-q', '-F', '-m', '0'],
        'xfs': ['mkfs.xfs', '-q', '-f'],
        'btrfs': ['mkfs.btrfs', '-q', '-f']}
ANSWER_SECONDS = 120


class Drive:
    """Its file system is mounted at path, or path is an empty directory."""

    def __init__(self, name, kind, path):
        self.name = name
        self.kind = kind
        self.path = path
        self.is_mounted = False
        os.makedirs(path)


class Drives:
    def __init__(self, work, build_dir, all_drives):
        self.images = work.join('images')
        self.behind = work.join('behind')    # with the cache before it
        self.all = all_drives
        os.mkdir(self.images)
        os.mkdir(self.behind)
        for drive in self.all:
            image = os.path.join(self.images, drive.name)
            with open(image, 'wb') as out:
                out.truncate(SIZES[drive.kind] << 20)
            run(*MAKE[drive.kind], image)
        self.answers = queue.Queue()
        self.lock = threading.Lock()
        self.off = threading.Event()
        self.process = subprocess.Popen(
            [os.path.join(build_dir, 'tools', 'powercut'), self.behind,
             self.images], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        work.mounts.append(self.behind)
        threading.Thread(target=self.listen, daemon=True).start()
        self.answers.get(timeout=ANSWER_SECONDS)    # it is there
        for drive in self.all:
            self.mount(drive)
            lost_and_found = os.path.join(drive.path, 'lost+found')
            if os.path.isdir(lost_and_found):
                os.rmdir(lost_and_found)

    # --- the program -------------------------------------------------------------

    def listen(self):
        for line in self.process.stdout:
            word = line.split()[0]
            if word == 'off':
                self.off.set()
            else:
                self.answers.put(word)

    def ask(self, command):
        with self.lock:
            self.process.stdin.write(command + '\n')
            self.process.stdin.flush()
            return self.answers.get(timeout=ANSWER_SECONDS)

    def cut(self, writes, seed, percent):
        """After so many further writes; off is set when it has happened."""
        self.ask('cut %d %d %d' % (writes, seed, percent))

    def is_on(self):
        """If so, whatever was seen before this was asked was so before a cut."""
        return self.ask('state') == 'is-on'

    def power_on(self):
        """Nothing may be mounted."""
        self.ask('on')
        self.off.clear()

    # --- file systems --------------------------------------------------------------

    def device(self, drive):
        return run('losetup', '--direct-io=on', '-f', '--show',
                   os.path.join(self.behind, drive.name)).strip()

    def mount(self, drive):
        if drive.is_mounted:
            return
        assert not os.listdir(drive.path), \
            'something was written to the place of a drive that is not there'
        device = self.device(drive)
        try:
            run('mount', '-t', drive.kind, device, drive.path)
            drive.is_mounted = True
        finally:
            run('losetup', '-d', device)    # when it is not mounted any more

    def unmount_all(self):
        for drive in self.all:
            self.unmount(drive)

    def unmount(self, drive):
        if drive.is_mounted:
            run('umount', drive.path)
            drive.is_mounted = False

    def flush(self):
        for drive in self.all:
            if drive.is_mounted:
                run('sync', '-f', drive.path)

    def make_anew(self, drive):
        """As a new drive: empty."""
        device = self.device(drive)
        try:
            run(*MAKE[drive.kind], device)
        finally:
            run('losetup', '-d', device)

    def close(self):
        for drive in self.all:
            if drive.is_mounted:
                subprocess.run(['umount', '-l', drive.path])
        self.process.stdin.close()
        self.process.wait()


class PowerPool:
    """A pool whose members, and state directory, are on such drives; down."""

    def __init__(self, world, kinds, state_kind, rows):
        self.world = world
        self.members = [Drive('m%d' % i, kind,
                              world.work.join(world.fresh('m')))
                        for i, kind in enumerate(kinds)]
        self.pool = world.pool([d.path for d in self.members], parity=rows,
                               protect='queue')
        # where quickstart.sh puts the state directory
        self.state = Drive('state', state_kind,
                           os.path.join(self.pool.directory, 'state'))
        self.drives = Drives(world.work, world.build_dir,
                             self.members + [self.state])
        self.new_boot()
        # by that, quickstart.sh knows a directory that is its own
        os.makedirs(os.path.join(self.pool.directory, 'run'))
        open(os.path.join(self.pool.directory, 'run', 'lock'), 'w').close()

    def new_boot(self):
        """What tells processes that the machine was started anew."""
        of_kernel = '/proc/sys/kernel/random/boot_id'
        own = self.world.work.join('boot_id')
        is_first = not os.path.exists(own)
        with open(own, 'w') as out:
            out.write('%s\n' % uuid.uuid4())
        if is_first:
            self.world.work.mount('--bind', own, of_kernel)

    def write_something(self, drive):
        """So that a cut need not wait for others to write. Is it off?"""
        name = os.path.join(drive.path, '.mrmr', 'something')
        subprocess.run(['dd', 'if=/dev/zero', 'of=' + name, 'bs=1', 'count=1',
                        'conv=fsync'], stderr=subprocess.DEVNULL)
        return self.drives.off.wait(1)

    def boot(self):
        """After a cut; all processes have ended. Nothing is mounted yet."""
        self.drives.unmount_all()
        self.drives.power_on()
        self.new_boot()

    def mount_but(self, lost):
        for drive in self.drives.all:
            if drive not in lost:
                self.drives.mount(drive)

    def all_are_online(self):
        return eventually(60, lambda: run(
            self.pool.env['MRMR_ADMIN'], 'status', '--quick', '--json',
            check=False).count('"online"') == len(self.members))

    def is_on_a_member(self, path):
        return any(os.path.lexists(os.path.join(d.path, path))
                   for d in self.members)

    def close(self):
        self.pool.down()
        self.drives.close()
