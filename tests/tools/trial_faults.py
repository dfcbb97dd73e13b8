"""The fault points of a build --with-faults (include/mrmr/fault.h), for all
processes of a pool: what shall happen at which, and how often each was reached.
"""

import mmap
import os
import re
import struct

import testpool

LIST = 4096
COUNT = struct.Struct('<48sQQ')
ONCE = '!'
AT_ONCE = 12
ERRORS = ('EIO', 'ENOSPC', 'EROFS')
ACTIONS = {'': ERRORS + ('kill', 'kill', 'kill', 'delay'),
           '_length': ('short', 'short', 'kill', 'delay'),
           '_flip': ('flip',)}

# What is only reached when something else has failed, every time or the nth.
AFTER = {'rename-undo': ('rename-replace', 'EIO', None),
         'rename-moved': ('trash-link', 'EPERM', None),
         'rename-spine-undo': ('rename-directory', 'EIO', None),
         'rename-directory-undo': ('rename-directory', 'EIO', 2),
         'repair-row': ('scrub-blob', 'EIO', None),
         'catalog-redo': ('catalog-journaled', 'kill', 1),
         'replay-rename': ('rename-directory', 'kill', 1)}

# Reached only in what arms one of them itself.
ELSEWHERE = ('absent-', 'ghost', 'rebuild-', 'recover-', 'restore-', 'repair-',
             'squeeze-', 'move-', 'replay-', 'purge-', 'undo-lost',
             'unlink-loser', 'rename-loser')

# What clients do to get there (Maker's methods), one after the other, once what
# there was is protected.
PROVOKED = {'rename-directory': ('rename_dir',) * 2,
            'rename-spine': ('rename_dir',) * 2,
            'intent-': ('rename_dir', 'replace', 'rename_dir'),
            'replay-rename': ('rename_dir', 'make_dir'),
            'replay-rmdir': ('make_dir', 'put', 'remove_dir', 'put'),
            'rmdir-': ('make_dir', 'remove_dir', 'remove_dir'),
            'mkdir-': ('make_dir',) * 2,
            'dir': ('make_dir', 'put', 'put', 'put', 'attributes_of_dir'),
            'mirror': ('attributes_of_dir',) * 3,
            'link': ('linked',) * 2,
            'rename-linked': ('replace',) * 5,
            'rename-moved': ('replace',) * 5,
            'rename-': ('replace', 'rename', 'replace'),
            'trash-link': ('supersede', 'linked', 'remove'),
            'trash': ('remove', 'replace'),
            'unlink': ('put', 'remove', 'remove'),
            'undo-': ('overwrite', 'truncate', 'supersede', 'pieces'),
            'copy': ('copy',) * 3}


def points():
    """{all there are, by the source: what can happen there}"""
    found = {}
    for top, _, names in os.walk(os.path.join(testpool.TOP, 'source')):
        for name in names:
            if name.endswith('.c'):
                with open(os.path.join(top, name)) as text:
                    for kind, point in re.findall(
                            r'(?:mrmr_fault|stopped)(|_length|_flip)\(\s*'
                            r'"([a-z0-9-]+)"', text.read()):
                        found[point] = ACTIONS[kind]
    return dict(sorted(found.items()))


class Faults:
    def __init__(self, path, rare=()):
        """rare: points that shall rather be used."""
        self.path = path
        self.rare = set(rare)
        self.actions = points()
        self.points = list(self.actions)
        with open(path, 'wb') as out:
            out.write(bytes(LIST))
            for point in self.points:
                out.write(COUNT.pack(point.encode(), 0, 0))
        os.chmod(path, 0o666)
        with open(path, 'r+b') as table:
            self.map = mmap.mmap(table.fileno(), 0)
        self.armed = None
        self.waits = None
        self.aim = None      # the point that is to be reached by this step

    def counts(self, point):
        """(reached, fired)"""
        at = LIST + self.points.index(point) * COUNT.size
        return COUNT.unpack(self.map[at:at + COUNT.size])[1:]

    def arm(self, choice):
        """At the nth time from now on that any process gets there. Of several,
        the first that happens disarms the others."""
        text = ','.join('%s#%d=%s' % (point, self.counts(point)[0] + nth,
                                      action) for point, action, nth in choice)
        before, action, first = AFTER.get(choice[0][0], (None, '', None))
        if first:
            before += '#%d' % (self.counts(before)[0] + first)
        text = '%s=%s,%s' % (before, action, text) if before else ONCE + text
        self.map[1:len(text) + 1] = text[1:].encode() + b'\0'
        self.map[0:1] = text[0].encode()
        self.armed = text
        self.waits = [(point, self.counts(point)[1])
                      for point, _, _ in choice]

    def is_waiting(self):
        """Something is armed, and nothing of it has fired."""
        return bool(self.armed) and all(
            self.counts(point)[1] == before for point, before in self.waits)

    def disarm(self):
        self.map[0:1] = b'\0'
        self.armed = None

    def choose(self, rng, about=()):
        """Some: of those that begin with one of `about`, if it says so; else of
        those that clients, the protector and scans reach. Rather those that
        never fired here, and of these the rare ones. Mostly of one kind, as what
        is reached first, like reading, is always of the same one. If it is
        aimed at one, and `about` has it: that one, and nothing else."""
        if self.is_aimed_at(about):
            return [(self.aim, rng.choice(self.actions[self.aim]), 1)]
        fresh = [kind for kind in about if any(
            p.startswith(kind) and not self.counts(p)[1] for p in self.points)]
        if fresh and rng.random() < 0.7:
            about = (rng.choice(fresh),)
        some = [p for p in self.points if p.startswith(about)] if about \
            else [p for p in self.points if not p.startswith(ELSEWHERE)]
        if not some:
            return None
        rng.shuffle(some)
        if rng.random() < 0.85:
            some.sort(key=lambda p: (self.counts(p)[1] > 0,
                                     p not in self.rare))
        if some[0] in AFTER:
            return [(some[0], rng.choice(self.actions[some[0]]), 1)]
        return [(point, rng.choice(self.actions[point]),
                 rng.choice((1, 1, 1, 2, 3, 8)))
                for point in some if point not in AFTER][:AT_ONCE]

    def is_aimed_at(self, about):
        return self.aim is not None and bool(about) and \
            self.aim.startswith(tuple(about))

    def choose_aim(self, rng, some):
        """Of those that begin with one of `some`: one that never fired here;
        rather a rare one."""
        left = [p for p in self.points if p.startswith(tuple(some)) and
                not self.counts(p)[1]]
        rng.shuffle(left)
        left.sort(key=lambda p: p not in self.rare)
        return left[0] if left else None

    def choose_provoked(self, rng):
        """(what to arm, what clients are to do)"""
        some = [p for p in self.points
                if p.startswith(tuple(PROVOKED)) and
                (p in AFTER or not p.startswith(ELSEWHERE))]
        rng.shuffle(some)
        some.sort(key=lambda p: (self.counts(p)[1] > 0, p not in self.rare))
        point = some[0]
        kinds = PROVOKED[max((key for key in PROVOKED
                              if point.startswith(key)), key=len)]
        return [(point, rng.choice(self.actions[point]), 1)], kinds

    def table(self):
        return {p: self.counts(p) for p in self.points}
