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
ACTIONS = ERRORS + ('kill', 'kill', 'kill', 'delay')


def points():
    """All there are, by the source."""
    found = set()
    for top, _, names in os.walk(os.path.join(testpool.TOP, 'source')):
        for name in names:
            if name.endswith('.c'):
                with open(os.path.join(top, name)) as text:
                    found |= set(re.findall(
                        r'mrmr_fault\(\s*"([a-z0-9-]+)"\)', text.read()))
    return sorted(found)


class Faults:
    def __init__(self, path):
        self.path = path
        self.points = points()
        with open(path, 'wb') as out:
            out.write(bytes(LIST))
            for point in self.points:
                out.write(COUNT.pack(point.encode(), 0, 0))
        os.chmod(path, 0o666)
        with open(path, 'r+b') as table:
            self.map = mmap.mmap(table.fileno(), 0)
        self.armed = None

    def counts(self, point):
        """(reached, fired)"""
        at = LIST + self.points.index(point) * COUNT.size
        return COUNT.unpack(self.map[at:at + COUNT.size])[1:]

    def arm(self, point, action, nth):
        """At the nth time from now on that any process gets there."""
        item = '%s#%d=%s' % (point, self.counts(point)[0] + nth, action)
        self.map[1:len(item) + 2] = item[1:].encode() + b'\0\0'
        self.map[0:1] = item[0].encode()
        self.armed = item

    def disarm(self):
        self.map[0:1] = b'\0'
        self.armed = None

    def choose(self, rng, about=()):
        """One that begins with one of `about`, if it says so; else one that is
        reached. Those that never fired rather."""
        some = [p for p in self.points if p.startswith(about)] if about \
            else [p for p in self.points if self.counts(p)[0]]
        fresh = [p for p in some if not self.counts(p)[1]]
        if fresh and rng.random() < 0.7:
            some = fresh
        if not some:
            return None
        return (rng.choice(some), rng.choice(ACTIONS),
                rng.choice((1, 1, 1, 2, 3, 8)))

    def table(self):
        return {p: self.counts(p) for p in self.points}
