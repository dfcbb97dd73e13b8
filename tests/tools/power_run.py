"""A pool that lives through one power cut after the other: clients and the
protector work, the power goes, and what comes up again is compared with what
was promised (power_model.py).
"""

import fcntl
import os
import random
import subprocess
import threading
import time

import catalog_reader
import smb2
import trial_clients
from power_clients import Writer
from power_drives import PowerPool
from power_model import Share
from sharetest import complaints

MEMBERS = 5
ROWS = 2
WRITERS = 2
KINDS = ('ext4', 'xfs', 'btrfs')
COUNTS = ('cuts', 'operations', 'promises kept', 'members lost',
          'state directories lost')
CUT_SECONDS = 20         # then it happens, however few writes come


class Finding(Exception):
    """What must not be, in a line."""


class PowerTrial(PowerPool):
    def __init__(self, world, seed, log):
        self.seed = seed
        self.out = log
        self.number = 0
        self.begin = time.monotonic()
        self.counts = {}
        self.share = Share()
        self.rng = random.Random(seed)
        kinds = list(KINDS) + [self.rng.choice(KINDS)
                               for _ in range(MEMBERS - len(KINDS))]
        self.rng.shuffle(kinds)
        super().__init__(world, kinds, self.rng.choice(KINDS), ROWS)
        self.say('file systems: ' + self.kinds())
        self.pool.up(vfs='streams_xattr')
        with self.pool.config() as config:
            config['block_size'] = '1M'
            config['placement'] = 'spread'
            config['trash_max_percent'] = 30
        self.pool.restart()
        self.make_dirs()

    # --- words -------------------------------------------------------------------

    def kinds(self):
        return '%s, state on %s' % (' '.join(d.kind for d in self.members),
                                    self.state.kind)

    def say(self, text):
        self.out.write('%d %.1f %s\n' % (
            self.number, time.monotonic() - self.begin, text))
        self.out.flush()

    def count(self, what, number=1):
        self.counts[what] = self.counts.get(what, 0) + number

    def admin(self, *arguments, allowed=(0,)):
        done = subprocess.run([self.pool.env['MRMR_ADMIN'], *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              errors='replace')
        self.say('mrmr-admin %s: status %d: %s' % (
            ' '.join(arguments), done.returncode, done.stdout[-1500:]))
        if done.returncode not in allowed:
            raise Finding('mrmr-admin %s: status %d: %s' % (
                ' '.join(arguments), done.returncode, done.stdout[-600:]))
        return done.returncode

    # --- the life before the cut ---------------------------------------------------

    def make_dirs(self):
        with self.pool.client() as c:
            for name in ['still'] + ['w%d' % i for i in range(WRITERS)]:
                c.mkdir(name)
                self.share.add_dir(name)
            for i in range(20):
                c.put('still\\f%d' % i, self.rng.randbytes(
                    self.rng.choice((1, 3000, 50000, 300000, 1 << 20))))
        self.settle()

    def protected_now(self):
        """{path: SHA-256 of its extents}, of the catalogue as it is in this
        moment: what is in there has happened."""
        folder = os.path.join(self.state.path, 'catalogue')
        with open(os.path.join(folder, '0.tdb'), 'rb') as first:
            fcntl.flock(first, fcntl.LOCK_SH)
            if any(name.endswith('.journal') for name in os.listdir(folder)):
                return {}
            nodes = catalog_reader.Catalogue(folder, '0.tdb').nodes()
        paths = {1: ''}

        def path_of(number):
            if number not in paths:
                paths[number] = None    # the trash, and what is below it
                if number in nodes and nodes[number]['names']:
                    parent, name = nodes[number]['names'][0]
                    above = path_of(parent)
                    if above is not None:
                        paths[number] = (above + '/' if above else '') + \
                            os.fsdecode(name)
            return paths[number]
        return {path_of(n): [x['sha256'] for x in e['extents']]
                for n, e in nodes.items() if e['kind'] == 2 and
                path_of(n) is not None and
                e['size'] == sum(x['len'] for x in e['extents']) and
                all(x['state'] in (1, 2) for x in e['extents'])}

    def watch(self, stop):
        """Notes what is reported, as long as it is before the cut."""
        while not stop.is_set() and not self.drives.off.is_set():
            begin = time.monotonic()
            try:
                catalogue = self.protected_now()
            except (AssertionError, OSError) as error:
                self.say('the catalogue cannot be read now: %r' % error)
                continue
            if not self.drives.is_on():
                return
            self.share.report(catalogue)
            self.count('looks')
            # the clients are in this process as well
            time.sleep(0.05 + time.monotonic() - begin)

    def sync(self, stop):
        """Beside the protector, which waits until files are quiet."""
        while not stop.is_set() and not self.drives.off.is_set():
            done = subprocess.run([self.pool.env['MRMR_ADMIN'], 'sync'],
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            if not self.drives.off.is_set() and done.returncode not in (0, 1):
                self.say('sync: status %d: %s' % (done.returncode,
                                                  done.stdout))
            self.count('syncs')

    def work_until_cut(self):
        """What had been promised when the power went."""
        stop = threading.Event()
        writers = []
        for i in range(WRITERS):
            writers.append(Writer(
                self.pool.client(timeout=60), self.share, 'w%d' % i,
                random.Random('%s/%d/%d' % (self.seed, self.number, i)),
                self.drives))
        threads = writers + [threading.Thread(target=self.watch,
                                              args=(stop,), daemon=True)]
        if self.rng.random() < 0.8:
            threads.append(threading.Thread(target=self.sync, args=(stop,),
                                            daemon=True))
        for thread in threads:
            thread.start()
        time.sleep(self.rng.choice((0.2, 0.5, 1, 2, 4)) *
                   self.rng.uniform(0.5, 1.5))
        writes = self.rng.choice((0, 1, 2, 5, 20, 60, 200))
        percent = self.rng.choice((100, 100, 0, 50, 90, 10))
        self.drives.cut(writes, self.rng.randrange(1 << 60), percent)
        if not self.drives.off.wait(CUT_SECONDS):
            self.drives.cut(0, self.rng.randrange(1 << 60), percent)
            self.drives.off.wait()
        promised = self.share.promised()
        stop.set()
        self.pool.down()
        for thread in threads:
            thread.join()
        for writer in writers:
            self.count('operations', writer.count)
            if writer.failure:
                raise Finding('before the cut, ' + writer.failure)
        self.say('the power went after %d more writes, with %d %% of the '
                 'cache' % (writes, percent))
        return promised

    # --- and after it ------------------------------------------------------------------

    def come_up(self):
        """Without some of the members, and perhaps without what was in the
        state directory."""
        self.say('unmount')
        self.boot()
        lost = self.rng.sample(self.members, self.rng.choice(
            (0, 1, ROWS, ROWS, ROWS)))
        loses_state = self.rng.random() < 0.2
        self.say('lost: %s%s' % (' '.join(d.name for d in lost),
                                 ', and the state directory'
                                 if loses_state else ''))
        if loses_state:
            self.drives.make_anew(self.state)
        self.mount_but(lost)
        if loses_state:
            self.count('state directories lost')
            self.admin('--yes', 'recover', allowed=(0, 1))
        self.count('members lost', len(lost))
        self.say('up')
        self.pool.up()
        self.say('is up')
        return lost

    def members_return(self, lost):
        """While smbd runs, or while it does not."""
        runs = self.rng.random() < 0.5
        if not runs:
            self.pool.down()
        for drive in lost:
            self.drives.mount(drive)
        if not runs:
            self.pool.up()
        if not self.all_are_online():
            raise Finding('not all members are online')

    def seen(self):
        """{path: content, None if it cannot be read, or for directories}"""
        with self.pool.client(timeout=120) as c:
            found = {}
            for path, attributes in trial_clients.tree(c).items():
                if attributes & 0x10:
                    continue
                try:
                    found[path] = c.get(trial_clients.windows(path))
                except smb2.Error as error:
                    self.say('%s: %s' % (path, error))
                    found[path] = None
            return found

    def attributes(self, c, path):
        f = c.create(trial_clients.windows(path), access=smb2.READ)
        try:
            return (c.eas(f).get('COLOUR'), c.basic(f)[2])
        finally:
            c.close(f)

    def compare(self, promised, lost=()):
        """As soon as smbd runs. What cannot be read, or is not there, has time
        until the protector has scanned: what clients renamed last has another
        name on its drive than in the catalogue (docs/limits.md)."""
        wrong, missing = self.differences(promised)
        if missing and not wrong:
            self.say('after the scan? ' + '; '.join(m[0] for m in missing))
            self.count('after the scan', len(missing))
            self.admin('sync', allowed=(0, 1))
            wrong, missing = self.differences(promised)
        # if its member is lost, another file may have the one name that the
        # catalogue has of it; and it is shown when its member is back. Or what
        # it replaced is back, on a member that comes first (docs/limits.md)
        hidden = [text for text, taken in missing
                  if taken and (lost or any(len(self.holders(p)) > 1
                                            for p in taken))]
        missing = [text for text, _ in missing if text not in hidden]
        for text in hidden:
            self.say('its name is taken: ' + text)
        self.count('names taken', len(hidden))
        if wrong or missing:
            raise Finding('; '.join((wrong + missing)[:5]))
        self.count('promises kept', sum(story.is_firm for story in promised) -
                   len(hidden))

    def differences(self, promised):
        """Sentences: what is wrong; and what is not to be had, each with
        the names of it that another file has."""
        found = self.seen()
        on_members = {p for p in found if self.is_on_a_member(p)}
        stories = {}
        wrong = []
        missing = []
        for story in promised:
            for path in story.paths:
                stories.setdefault(path, []).append(story)
        for story in promised:
            there = [p for p in sorted(story.paths) if p in found]
            fits = [p for p in there
                    if story.may_be(found[p], p not in on_members)]
            if fits or story.may_be_gone:
                if fits and story.is_settled:
                    wrong += self.wrong_attributes(story, fits[0])
                continue
            text = '%s; but %s' % (story, '; '.join(
                '%s: %s' % (p, story.why_not(found[p])) for p in there)
                or 'it is not there')
            taken = {p for p in there if found[p] is not None and
                     any(other is not story and other.explains(found[p])
                         for other in stories[p])}
            if any(found[p] is not None for p in there if p not in taken):
                self.leave(story, [found[p] for p in there])
                wrong.append(text)
            else:
                missing.append((text, taken))
        for path, content in found.items():
            if path not in stories:
                wrong.append('%s is there, and was never written' % path)
            elif content is not None and not any(
                    s.explains(content) for s in stories[path]):
                self.leave(stories[path][0], [content])
                wrong.append('%s has bytes that nobody wrote: %s' % (
                    path, '; '.join(s.why_not(content)
                                    for s in stories[path])))
        return wrong, missing

    def leave(self, story, contents):
        """For who looks into it: what there should be, and what there is."""
        folder = self.world.work.join('found')
        os.makedirs(folder, exist_ok=True)
        number = len(os.listdir(folder))
        for what, some in (('state', [s.content for s in story.states]),
                           ('got', contents)):
            for i, content in enumerate(some):
                with open(os.path.join(folder, '%d.%s.%d' % (number, what, i)),
                          'wb') as out:
                    out.write(content or b'')

    def wrong_attributes(self, story, path):
        with self.pool.client() as c:
            got = self.attributes(c, path)
        if got == story.attributes:
            return []
        return ['%s: its EA and time are %r, and were %r' % (
            path, got, story.attributes)]

    def settle(self):
        """All is protected, proven, and what is there is remembered."""
        for attempt in range(4):
            if self.admin('sync', allowed=(0, 1)) == 0:
                break
            time.sleep(0.5)
        else:
            # one that another one hides is pending
            if self.remove_doubles():
                return self.settle()
            raise Finding('sync leaves something')
        if self.remove_doubles():
            return self.settle()
        self.admin('check')
        self.admin('scrub')
        self.verify()
        on_members = self.pool.union()
        found = self.seen()
        for path in sorted(set(found) | set(on_members)):
            if on_members.get(path, b'') is not None and \
                    found.get(path) != on_members.get(path):
                raise Finding('%s is not in the share as it is on its member'
                              % path)
        before = self.share
        self.share = Share()
        with self.pool.client() as c:
            for path, attributes in trial_clients.tree(c).items():
                if attributes & 0x10:
                    self.share.add_dir(path)
            for path, content in found.items():
                self.share.adopt(path, content, self.attributes(c, path),
                                 before if self.has_old_bytes(path) else None)

    def has_old_bytes(self, path):
        """Is it where a file may have bytes behind its end?"""
        return any(d.kind == 'btrfs' and
                   os.path.lexists(os.path.join(d.path, path))
                   for d in self.members)

    def holders(self, path):
        return [d.name for d in self.members
                if os.path.lexists(os.path.join(d.path, path))]

    def remove_doubles(self):
        """What was removed on one member, and made again on another, may be on
        both after a cut. The share has been compared: the rest is a person's
        business (docs/limits.md), and this one's name is removed."""
        holders = {}
        for drive in self.members:
            for path, content in self.pool.tree(drive.path).items():
                if content is not None:
                    holders.setdefault(path, []).append(drive.name)
        doubles = {p: h for p, h in holders.items() if len(h) > 1}
        with self.pool.client() as c:
            for path, members in doubles.items():
                self.say('%s is on %s' % (path, ' '.join(members)))
                self.count('names there twice')
                c.unlink(trial_clients.windows(path))
        if doubles:
            self.drives.flush()    # or they are back after the next cut
        return len(doubles)

    def verify(self):
        """A tool that computes each extent from the rest of its stripe."""
        done = subprocess.run(
            [os.path.join(self.pool.build_dir, 'tools', 'protectedfile'),
             self.pool.config_path, 'verify'], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Finding('verify: %s' % done.stdout[-600:])

    def one(self, number):
        """A cut, and all that must be true after it."""
        self.number = number
        self.rng.seed('%s/%d' % (self.seed, number))
        promised = self.work_until_cut()
        lost = self.come_up()
        self.compare(promised, lost)
        self.say('compared')
        if lost:
            self.members_return(lost)
            self.say('are back')
            self.compare(promised)
            self.say('compared')
        self.settle()
        found = complaints(self.world.work)
        if found:
            raise Finding(found[0])
        self.count('cuts')
