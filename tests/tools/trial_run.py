"""One trial: a pool, the model of its share, clients, faults, and what both say
to one another. What is done and looked at is in trial_harm.py, trial_check.py.
"""

import os
import random
import re
import signal
import subprocess
import threading
import time

import smb2
import trial_clients
from trial_faults import Faults
from trial_model import Model, difference, is_between

MEMBERS = 5
ROWS = 2
CLIENTS = 3
BLOCK = '1M'
ROOM = '96m'      # of a member


class Finding(Exception):
    """What must not be, in a line."""


class Trial:
    def __init__(self, world, seed, log, faults_build=None, rare=(),
                 known=(), kills_verbs=True):
        """faults_build: a build with fault points; rare: those of them that
        shall rather be used; known: what of trial_known is excused.
        kills_verbs: wherever they are by then, which is another place each
        time."""
        self.seed = seed
        self.out = log
        self.world = world
        self.known = known
        self.kills_verbs = kills_verbs
        self.only = ()           # what may happen; all
        self.model = Model()
        self.step = 0
        self.counts = {}         # what was done, how often
        self.rows = ROWS
        self.away = {}           # index of a member: how it left
        self.unsure = set()      # not as the model says while a member is away
        self.disturbed = False   # something may fail until the next check
        self.untold = False      # a killed smbd may have kept a name to itself
        self.is_odd = False      # the trash has what no client has deleted
        self.memory = {}         # of smbds, by pid, when they were new
        self.rng = random.Random(seed)
        self.maker = trial_clients.Maker(self.rng, self.another)
        # of a file whose member is away there are no hard links (limits.md)
        self.maker.may_link = lambda: not self.away
        self.faults = Faults(world.work.join('faults-%d' % seed), rare) \
            if faults_build else None
        members = [world.tmpfs(ROOM) for _ in range(MEMBERS)]
        self.pool = world.pool(members, parity=ROWS, protect='queue')
        self.environment = []
        if self.faults:
            self.pool.build_dir = faults_build
            # a part of the catalogue that is made anew takes several commits
            self.environment = ['MRMR_FAULT_FILE=' + self.faults.path,
                                'MRMR_FAULT_PART_BYTES=4000']
            if self.rng.random() < 0.5:
                # the catalogue is in several files then
                self.environment.append('MRMR_FAULT_STORE_BYTES=20000')
            os.environ.pop('MRMR_FAULT_STORE_BYTES', None)
            os.environ.update(item.split('=', 1) for item in self.environment)
        self.clients = [None] * CLIENTS
        self.first_members = list(members)
        self.start()
        with self.pool.config() as config:
            config['block_size'] = BLOCK
            config['placement'] = 'spread'
            config['trash_max_percent'] = 30
        self.pool.down()
        self.start()

    # --- words -----------------------------------------------------------------

    def say(self, text):
        self.out.write('%d %s\n' % (self.step, text))
        self.out.flush()

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def excuse(self, name, text):
        """It is known, or a finding."""
        if name not in self.known:
            raise Finding('%s: %s' % (name, text))
        self.count('known: ' + name)
        self.say('known: %s: %s' % (name, text))

    def begin(self, step):
        """What a step does depends on the seed and its number, not on what the
        ones before have met."""
        self.step = step
        self.rng.seed('%s/%d' % (self.seed, step))

    # --- the pool --------------------------------------------------------------

    def start(self):
        """quickstart.sh knows the members that the pool began with."""
        now = self.pool.members
        self.pool.members = self.first_members
        self.pool.up(vfs='streams_xattr acl_xattr',
                     environment=self.environment)
        self.pool.members = now
        self.memory.clear()

    def admin(self, *arguments, allowed=(0,), kill_after=None):
        """(status, output); the status is None if it was killed. Another
        status than those that are allowed is a finding, if nothing has
        disturbed it."""
        process = subprocess.Popen(
            [self.pool.env['MRMR_ADMIN'], *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        if kill_after is not None and self.kills_verbs:
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                process.kill()
        output = process.communicate()[0].decode(errors='replace')
        status = process.returncode
        self.say('mrmr-admin %s: status %d%s' % (
            ' '.join(arguments), status,
            ': ' + output[-600:] if status else ''))
        if status == -signal.SIGKILL:
            return None, output
        if status < 0:
            raise Finding('mrmr-admin %s died of signal %d: %s' %
                          (' '.join(arguments), -status, output[-300:]))
        if status not in allowed and not self.disturbed:
            raise Finding('mrmr-admin %s: status %d: %s' %
                          (' '.join(arguments), status, output[-500:]))
        return status, output

    def client(self, number=None):
        if number is None:
            number = self.rng.randrange(CLIENTS)
        if self.clients[number] is None:
            self.clients[number] = self.connect()
        return self.clients[number]

    def another(self, c):
        number = self.clients.index(c) if c in self.clients else 0
        return self.client((number + 1) % CLIENTS)

    def connect(self):
        for attempt in range(5):
            try:
                return self.pool.client(timeout=120)
            except (smb2.Error, OSError) as error:
                if not self.disturbed or attempt == 4:
                    raise Finding('no connection: %s' % error) from error
                time.sleep(0.2)

    def drop_dead(self):
        """Connections that are gone."""
        for number, c in enumerate(self.clients):
            if c is None:
                continue
            try:
                c.close(c.create('', access=smb2.READ_ATTRIBUTES,
                                 options=smb2.DIRECTORY))
            except smb2.Error:
                pass
            except OSError:
                self.say('connection %d is gone' % number)
                c.disconnect()
                self.clients[number] = None

    def connect_anew(self):
        """A new connection finishes what one that was killed has begun; those
        that are there do not. If a rename cannot be finished, as that is armed,
        the next one does it."""
        for _ in range(2):
            number = self.clients.index(None) if None in self.clients else 0
            if self.clients[number] is not None:
                self.clients[number].disconnect()
                self.clients[number] = None
            before = self.num_fired('replay-rename')
            self.client(number)
            if self.num_fired('replay-rename') == before:
                break
            self.say('  it could not be finished')

    def num_fired(self, point):
        return self.faults.counts(point)[1] if self.faults else 0

    def drop_all(self):
        for number, c in enumerate(self.clients):
            if c is not None:
                c.disconnect()
                self.clients[number] = None

    # --- operations ------------------------------------------------------------

    def may_use(self, path):
        return path not in self.unsure

    def operate(self, kill_after=None, op=None):
        op = op or self.maker.op(self.model, self.may_use)
        c = self.client()
        self.say(op.text)
        self.count('operation')
        failure = self.run_and_kill(op, c, kill_after) \
            if kill_after is not None else self.run(op, c)
        if kill_after is not None:
            self.drop_dead()
        self.take_over(op, failure)

    def together(self):
        """Several clients at the same time, each with files of its own."""
        ops, used = [], set()
        for _ in range(12):
            op = self.maker.op(self.model, self.may_use)
            mine = set(op.paths + op.reads)
            if op.is_tree or op.text.startswith('two ') or mine & used:
                continue
            used |= mine
            ops.append(op)
            if len(ops) == CLIENTS:
                break
        failures = [None] * len(ops)

        def work(i):
            failures[i] = self.run(ops[i], clients[i])
        clients = [self.client(i) for i in range(len(ops))]
        threads = [threading.Thread(target=work, args=(i,))
                   for i in range(len(ops))]
        self.say('together: ' + '; '.join(op.text for op in ops))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for op, failure in zip(ops, failures):
            self.count('operation')
            self.take_over(op, failure)

    def take_over(self, op, failure):
        before = self.model
        after = before.clone()
        op.after(after)
        if failure is None:
            self.model = after
            return
        self.say('  %s: %s' % (op.text, failure))
        if isinstance(failure, trial_clients.Wrong) or not self.disturbed:
            raise Finding('%s: %s' % (op.text, failure))
        self.drop_dead()
        self.resolve(op, before, after)

    def run(self, op, c):
        """Opening a file whose member is away is refused after a minute, and
        works when it is tried again (limits.md)."""
        for attempt in range(5):
            try:
                op.run(c)
                return None
            except (smb2.Error, OSError, trial_clients.Wrong) as error:
                failure = error
            if not self.away or getattr(failure, 'name', '') != \
                    'NT_STATUS_SHARING_VIOLATION':
                break
        return failure

    def run_and_kill(self, op, c, kill_after):
        failures = []
        pid = self.pool.smbd_of(c)
        worker = threading.Thread(
            target=lambda: failures.append(self.run(op, c)))
        worker.start()
        time.sleep(kill_after)
        try:
            os.kill(pid, signal.SIGKILL)
            self.say('  killed smbd')
        except ProcessLookupError:
            pass    # a fault has
        worker.join()
        return failures[0]

    def insist(self, what):
        """what(client), again if something that is armed fails it."""
        last = None
        for _ in range(5):
            try:
                return what(self.client())
            except (smb2.Error, OSError) as error:
                last = error
                self.drop_dead()
                time.sleep(0.2)
        raise last

    def look(self, path):
        try:
            return self.insist(lambda c: trial_clients.look(c, path))
        except (smb2.Error, OSError) as error:
            raise Finding('%s cannot be read: %s' % (path, error)) from error

    def clear(self, path, remove):
        """remove(client, windows path) of what is there; what it is then."""
        def what(c):
            if trial_clients.look(c, path)[0]:
                remove(c, trial_clients.windows(path))
        try:
            self.insist(what)
        except (smb2.Error, OSError) as error:
            raise Finding('%s cannot be removed: %s' % (path, error)) \
                from error
        return self.look(path)

    def resolve(self, op, before, after):
        """Nobody said whether op has happened: see, and take it over."""
        if op.sets_only:
            self.model = before
            path = op.paths[0]
            if path in before.dirs:
                before.dirs[path].clear()
            else:
                before.files[path].attributes.clear()
            return
        self.connect_anew()
        if op.is_tree:
            self.list_parents(op.paths)
        for path in op.paths:
            # smbd deletes what it had been told to, when it is opened next
            self.look(path)
        seen = {path: self.look(path) for path in op.paths}
        self.untold = True
        if op.makes_two and all(is_there for is_there, _ in seen.values()):
            self.say('  both names are there')
            seen[op.paths[1]] = self.clear(op.paths[1], smb2.Client.unlink)

        if op.is_of_empty_dir and seen[op.paths[0]] == (True, None):
            # it may be in the spine only, until it is listed (limits.md)
            seen[op.paths[0]] = self.clear(op.paths[0], smb2.Client.rmdir)

        def matches(model):
            tree = model.tree()
            return all(seen[path] == (path in tree, tree.get(path))
                       for path in op.paths)

        if matches(after):
            self.model = after
            self.say('  it was done')
        elif matches(before):
            self.model = before
            self.say('  it was not done')
            # a write that fails counts as one
            for path in set(op.paths) & set(before.files):
                before.files[path].forget('written')
                if op.takes_streams:
                    # smbd has them removed first, on a plain share too
                    before.files[path].forget('stream')
        elif self.had_no_links() and len(op.paths) == 2 and \
                matches(without(before, op.paths[1])):
            # what was to be replaced is in the trash (limits.md)
            self.model = without(before, op.paths[1])
            self.say('  it was done in part')
        else:
            self.model = self.between(op, before, after, seen)
            self.say('  it was done in part')

    def list_parents(self, paths):
        """A directory that is in the spine only goes when it is listed, and one
        that is on a member only comes (limits.md)."""
        for path in paths:
            parent = path.rpartition('/')[0]
            if self.look(parent)[0]:
                self.insist(lambda c, name=trial_clients.windows(parent):
                            c.names(name))

    def may_lose_attributes(self):
        """A file may not get what it was given while its member was away
        (limits.md)."""
        return self.faults is not None and re.search(
            'ghost-return#[0-9]+=(EIO|EROFS)', self.faults.armed or '')

    def had_no_links(self):
        """It was as on a file system without hard links."""
        return self.faults is not None and \
            'trash-link=EPERM' in (self.faults.armed or '')

    def between(self, op, before, after, seen):
        path = op.paths[0]
        is_there, content = seen[path]
        old = before.tree().get(path, b'')
        new = after.tree().get(path, b'')
        if len(op.paths) > 1 or not is_there or content is None or \
                old is None or new is None or \
                not is_between(content, old, new):
            raise Finding('%s was broken off, and now %s' % (
                op.text, '; '.join('%s is %s' % (p, describe(s))
                                   for p, s in seen.items())))
        model = before.clone()
        model.write(path, content)
        # it may be empty already, and have lost these
        model.files[path].forget('ea', 'stream', 'acl')
        return model

    # --- what is compared ------------------------------------------------------

    def expect(self, path):
        """Content and attributes through SMB. Unsure ones: any version since
        the protected one."""
        f = self.model.files[path]
        if path in self.unsure and not f.is_protected:
            try:
                is_there, got = trial_clients.look(self.client(), path)
            except smb2.Error:
                is_there, got = False, None
            if is_there and not f.may_come_back_as(got):
                raise Finding('%s, never protected: %s' % (
                    path, difference(got, f.content)))
            return
        try:
            is_there, got = trial_clients.look(self.client(), path)
        except (smb2.Error, OSError) as error:
            raise Finding('%s cannot be read: %s' % (path, error)) from error
        if not is_there:
            raise Finding('%s is not there: %s' % (path, self.who_sees(path)))
        if got is None:
            raise Finding('%s is a directory' % path)
        if path in self.unsure:
            if not f.may_come_back_as(got):
                raise Finding('%s is none of its %d versions; of the last: %s'
                              % (path, len(f.versions),
                                 difference(got, f.content)))
            return
        if got != f.content:
            old = [i for i, v in enumerate(f.versions) if v == got]
            raise Finding('%s: %s%s' % (
                path, difference(got, f.content),
                ' (version %d of %d)' % (old[0], len(f.versions))
                if old else ''))
        self.expect_attributes(path, f.attributes)

    def who_sees(self, path):
        """A sentence, for a finding."""
        found = []
        for number, c in enumerate(self.clients):
            try:
                found.append('%d: %s' % (number, c and trial_clients.look(
                    c, path)[0]))
            except (smb2.Error, OSError) as error:
                found.append('%d: %s' % (number, error))
        return 'it is on members %s; seen by clients %s' % (
            self.pool.where(path), ', '.join(found))

    def expect_attributes(self, path, wanted, is_dir=False):
        if not wanted:
            return
        try:
            wrong = trial_clients.attributes_of(self.client(), path, wanted,
                                                is_dir)
        except (smb2.Error, OSError) as error:
            raise Finding('attributes of %s: %s' % (path, error)) from error
        if wrong:
            raise Finding('; '.join(wrong))


def without(model, path):
    model = model.clone()
    if path in model.files:
        model.remove(path)
    return model


def describe(seen):
    is_there, content = seen
    if not is_there:
        return 'not there'
    return 'a directory' if content is None else \
        'a file of %d bytes' % len(content)


def summary(trial):
    fired = []
    if trial.faults:
        fired = sorted('%s %d/%d' % (point, shot, reached) for
                       point, (reached, shot) in trial.faults.table().items()
                       if shot)
    return ', '.join('%s %d' % item for item in sorted(trial.counts.items())) \
        + ('; fired: ' + ', '.join(fired) if fired else '')
