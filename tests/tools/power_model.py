"""What a share may have after a power cut.

Of each file there is a story: the states (path and content) that it was in,
from the last one of which MRMR said that it is protected. A state is noted
before the operation that leads to it begins. What must hold afterwards:

- Nothing has happened since that report: the file is there, under its path, with
  these bytes.
- It was changed since: the plain file may have any mixture of what was written,
  as on any file system without an fsync. But if its member is lost as well, it
  comes back as one version: the protected one, or a later one.
- It was renamed since: it has one of these names. So it was if it was written to after
  that, and reported then: the catalogue has both, and of the names the disk may have the
  old one only.
- It was removed or replaced since: it may be gone.
- It was never reported, or it was empty then: nothing is promised.
- Whatever is there under a name is what a file of that name may have.
- A file that was cut off, and is longer again, may have old bytes behind where it
  ended: btrfs lets them come back. In the rest of the block, as it writes the zeros
  that belong there later than the length. And all that was cut off, as the length
  may be on the drive before the extents are gone, which are never removed then.
  What is copied of such a file, to any drive, has them as well.

A directory that is renamed may be under either name afterwards, on each of its
members: so a name is one in a folder, and a folder has all the names that it has
had. A file that was made in it under its new name may be under the old one.
"""

import collections
import hashlib
import threading

from trial_model import cut, difference

WINDOW = 4096    # a block, too
GRID = 1 << 20

# path None: gone. folder: what its directory has been called
State = collections.namedtuple('State', 'path content folder')


class Story:
    def __init__(self, path, content, folder, attributes=None, tails=()):
        self.states = [State(path, content, folder)]
        self.earlier = []    # before the report: only their names may come back
        self.tails = list(tails)    # (offset, bytes): of what was cut off there
        # of an empty one there is nothing to be had
        self.is_reported = attributes is not None and content != b''
        self.attributes = attributes    # at the report
        self.is_settled = attributes is not None
        self.hashes = {}

    @property
    def last(self):
        return self.states[-1]

    def add(self, path, content, folder):
        self.tails += tail(self.last.content, len(content))
        self.states.append(State(path, content, folder))
        self.is_settled = False

    def report(self, path, hashes):
        """The catalogue has that file with these SHA-256 of its extents: the
        first state that is the same is protected. True if there is one. Its name
        is not: the catalogue may know of a rename that is not on the disk."""
        for i, state in enumerate(self.states):
            if state.path == path and state.content and \
                    self.hashes_of(state.content) == hashes:
                while i > 0 and self.states[i - 1].content == state.content:
                    i -= 1
                self.earlier += self.states[:i]
                del self.states[:i]
                self.is_reported = True
                return True
        return False

    def hashes_of(self, content):
        key = id(content)    # contents live as long as the story
        if key not in self.hashes:
            self.hashes[key] = content, [
                hashlib.sha256(content[at:at + GRID]).digest()
                for at in range(0, len(content), GRID)]
        return self.hashes[key][1]

    def copy(self):
        other = Story(*self.states[0])
        other.states = [State(s.path, s.content, list(s.folder))
                        for s in self.states]
        other.earlier = [State(s.path, s.content, list(s.folder))
                         for s in self.earlier]
        other.is_reported = self.is_reported
        other.attributes = self.attributes
        other.is_settled = self.is_settled
        other.tails = list(self.tails)
        return other

    # --- after the cut -------------------------------------------------------------

    @property
    def is_firm(self):
        """Its bytes are what they were at the report."""
        first = self.states[0].content
        return self.is_reported and all(
            s.path is not None and s.content == first for s in self.states)

    @property
    def may_be_gone(self):
        return not self.is_reported or any(s.path is None for s in self.states)

    @property
    def paths(self):
        return {folder + s.path[s.path.rindex('/'):]
                for s in self.earlier + self.states if s.path is not None
                for folder in s.folder}

    def may_be(self, content, is_lost):
        """Could it have this content? is_lost: its member is."""
        versions = [s.content for s in self.states]
        if self.is_reported and (is_lost or self.is_firm):
            return content in versions or not self.is_firm and any(
                is_version(content, v, self.tails) for v in versions[1:])
        return content is None or is_mixture(content, versions, self.tails)

    def explains(self, content):
        """Could these bytes, under its name, be its own?"""
        return is_mixture(content, [s.content for s in self.states],
                          self.tails)

    def tails_of(self, size):
        """What may be on the disk behind its end, if it is of this size."""
        older = [(max(at, size), rest[max(0, size - at):])
                 for at, rest in self.tails]
        return [t for t in older if t[1]] + [
            (size, s.content[size:]) for s in self.states
            if len(s.content) > size]

    def why_not(self, content):
        if content is None:
            return 'it cannot be read'
        return difference(content, self.last.content)

    def __str__(self):
        return '%s: %s' % (
            'reported' if self.is_reported else 'never reported',
            ', then '.join('%s (%d bytes, %s)' % (
                s.path or 'gone', len(s.content),
                hashlib.sha256(s.content).hexdigest()[:8])
                for s in self.states))


def tail(content, size):
    """Of a content that is cut off there: the rest of the block."""
    end = -(-size // WINDOW) * WINDOW
    rest = content[size:end]
    return [(size, rest)] if rest else []


def padded(tails, size):
    return [cut(bytes(at) + rest, size) for at, rest in tails if at < size]


def is_version(got, version, tails):
    """Is it that one, as it is if what was cut off before has come back?"""
    if got is None or len(got) != len(version):
        return False
    came_back = padded(tails, len(got))
    return bool(came_back) and all(
        byte == version[i] or
        version[i] == 0 and any(old[i] == byte for old in came_back)
        for i, byte in enumerate(got))


def is_mixture(got, versions, tails=()):
    """Is each byte that of a version, or zero? It may be cut off. If not: is it,
    if what was cut off before has come back?"""
    if len(got) > max(len(v) for v in versions):
        return False
    some = [cut(v, len(got)) for v in versions]
    if is_mixture_of(got, some):
        return True
    came_back = padded(tails, len(got))
    return bool(came_back) and is_mixture_of(got, some + came_back)


def is_mixture_of(got, versions):
    for at in range(0, len(got), WINDOW):
        end = at + WINDOW
        window = got[at:end]
        if any(v[at:end] == window for v in versions):
            continue
        if any(byte and all(v[at + i] != byte for v in versions)
               for i, byte in enumerate(window)):
            return False
    return True


class Share:
    """The stories of all files; what clients do is noted here first."""

    def __init__(self):
        self.lock = threading.RLock()
        self.stories = []
        self.now = {}        # path: story
        self.dirs = {}       # path: all that it has been called

    def add_dir(self, path):
        self.dirs[path] = [path]

    def folder(self, path):
        return self.dirs[path[:path.rindex('/')]]

    def adopt(self, path, content, attributes, before):
        """It is there, and all is protected. before: the share as it was, if its
        old bytes may come back."""
        tails = dict.fromkeys(
            t for other in (before.stories if before else ())
            if path in other.paths
            for t in other.tails_of(len(content)))
        story = Story(path, content, self.folder(path), attributes, tails)
        self.stories.append(story)
        self.now[path] = story

    # --- what clients do -------------------------------------------------------------

    def write(self, path, content, source=None):
        """source: a new file, copied of that one."""
        if path in self.now:
            self.now[path].add(path, content, self.folder(path))
        else:
            self.now[path] = Story(
                path, content, self.folder(path),
                tails=self.now[source].tails if source else ())
            self.stories.append(self.now[path])

    def remove(self, path):
        story = self.now.pop(path)
        story.add(None, story.last.content, [])

    def rename(self, old, new):
        if new in self.now:
            self.remove(new)
        story = self.now.pop(old)
        story.add(new, story.last.content, self.folder(new))
        self.now[new] = story

    def set_attribute(self, path):
        self.now[path].is_settled = False

    def rename_dir(self, old, new):
        for path in [d for d in self.dirs
                     if (d + '/').startswith(old + '/')]:
            now = new + path[len(old):]
            self.dirs[now] = self.dirs.pop(path)
            self.dirs[now].append(now)
        for path in [p for p in self.now if p.startswith(old + '/')]:
            self.rename(path, new + path[len(old):])

    # --- reports ----------------------------------------------------------------------

    def report(self, catalogue):
        """{path: SHA-256 of its extents} of what is protected."""
        count = 0
        with self.lock:
            for story in self.stories:
                count += any(story.report(path, catalogue[path])
                             for path in story.paths if path in catalogue)
        return count

    def promised(self):
        """A copy, of which nothing changes any more."""
        with self.lock:
            return [story.copy() for story in self.stories]
