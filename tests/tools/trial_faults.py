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
ERRORS = ('EIO', 'ENOSPC', 'EROFS')
ACTIONS = {'': ERRORS + ('kill', 'kill', 'kill', 'delay'),
           '_length': ('short', 'short', 'kill', 'delay'),
           '_flip': ('flip',)}

# What is only reached when something else has failed.
AFTER = {'rename-undo': 'rename-replace',
         'rename-spine-undo': 'rename-directory',
         'rename-directory-undo': 'rename-directory',
         'repair-row': 'scrub-blob'}

# Reached only in what arms one of them itself.
ELSEWHERE = ('absent-', 'ghost', 'rebuild-', 'recover-', 'restore-', 'repair-',
             'squeeze-', 'move-', 'replay-', 'purge-', 'undo-lost',
             'unlink-loser', 'rename-loser', 'catalog-redo', 'prune')


def points():
    """{all there are, by the source: what can happen there}"""
    found = {}
    for top, _, names in os.walk(os.path.join(testpool.TOP, 'source')):
        for name in names:
            if name.endswith('.c'):
                with open(os.path.join(top, name)) as text:
                    for kind, point in re.findall(
                            r'mrmr_fault(|_length|_flip)\(\s*'
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

    def counts(self, point):
        """(reached, fired)"""
        at = LIST + self.points.index(point) * COUNT.size
        return COUNT.unpack(self.map[at:at + COUNT.size])[1:]

    def arm(self, point, action, nth):
        """At the nth time from now on that any process gets there."""
        item = '%s#%d=%s' % (point, self.counts(point)[0] + nth, action)
        if point in AFTER:
            item += ',%s=EIO' % AFTER[point]
        self.map[1:len(item) + 2] = item[1:].encode() + b'\0\0'
        self.map[0:1] = item[0].encode()
        self.armed = item
        self.waits = (point, self.counts(point)[1])

    def is_waiting(self):
        """Something is armed, and has not fired."""
        if not self.armed:
            return False
        point, before = self.waits
        return self.counts(point)[1] == before

    def disarm(self):
        self.map[0:1] = b'\0'
        self.armed = None

    def choose(self, rng, about=()):
        """One that begins with one of `about`, if it says so; else one that
        clients, the protector and scans reach. Rather those that never fired
        here, and of these the rare ones."""
        some = [p for p in self.points if p.startswith(about)] if about \
            else [p for p in self.points
                  if self.counts(p)[0] and not p.startswith(ELSEWHERE)]
        for fewer in ([p for p in some if not self.counts(p)[1]],
                      [p for p in some if not self.counts(p)[1] and
                       p in self.rare]):
            if fewer and rng.random() < 0.85:
                some = fewer
        if not some:
            return None
        point = rng.choice(some)
        return (point, rng.choice(self.actions[point]),
                rng.choice((1, 1, 1, 2, 3, 8)))

    def table(self):
        return {p: self.counts(p) for p in self.points}
