"""The clients of a power cut: each works in a directory of its own, and notes
what it is about to do before it does it.
"""

import threading

import smb2
from trial_clients import close, windows
from trial_model import cut, overwritten

M = 1 << 20
SIZES = (0, 1, 100, 4096, 4097, 50000, 70000, 300000, M, M + 1, 2 * M + 4711)
NUM_NAMES = 14
MAX_BYTES = 4 * M


class Writer(threading.Thread):
    """Works until the power is off, or stop is set. A failure that cannot come
    from that is in `failure`."""

    def __init__(self, client, share, directory, rng, drives):
        super().__init__(daemon=True)
        self.client = client
        self.share = share
        self.directory = directory
        self.rng = rng
        self.drives = drives
        self.stop = threading.Event()
        self.failure = None
        self.count = 0

    def run(self):
        while not self.stop.is_set() and not self.drives.off.is_set():
            what = self.rng.choices([f for f, _ in self.KINDS],
                                    [w for _, w in self.KINDS])[0]
            try:
                what(self)
                self.count += 1
            except (smb2.Error, OSError) as error:
                if not self.drives.off.is_set():
                    self.failure = '%s: %s' % (what.__name__, error)
                return

    # --- names -------------------------------------------------------------------

    def dirs(self):
        return sorted(d for d in list(self.share.dirs)
                      if (d + '/').startswith(self.directory + '/'))

    def a_file(self):
        with self.share.lock:
            names = sorted(p for p in self.share.now
                           if p.startswith(self.directory + '/'))
        return self.rng.choice(names) if names else None

    def a_name(self):
        """Of no file."""
        with self.share.lock:
            path = '%s/f%d' % (self.rng.choice(self.dirs()),
                               self.rng.randrange(NUM_NAMES))
            return None if path in self.share.now else path

    def content_of(self, path):
        return self.share.now[path].last.content

    def note(self, what, *arguments):
        with self.share.lock:
            what(*arguments)

    def data(self):
        """No two are the same: what is reported could not be told apart."""
        size = self.rng.choice(SIZES)
        return bytes(size + self.rng.randrange(1 << 16)) \
            if self.rng.random() < 0.05 else self.rng.randbytes(size)

    # --- operations -----------------------------------------------------------------

    def put(self):
        path = self.a_name() if self.rng.random() < 0.7 else self.a_file()
        if path is None:
            return
        data = self.data()
        self.note(self.share.write, path, data)
        self.client.put(windows(path), data)

    def change(self, path, new, how):
        self.note(self.share.write, path, new)
        f = self.client.create(windows(path))
        try:
            how(f)
        finally:
            close(self.client, f)

    def overwrite(self):
        path = self.a_file()
        if path is None:
            return
        new = old = self.content_of(path)
        parts = []
        for _ in range(self.rng.choice((1, 1, 3, 6))):
            at = self.rng.randrange(len(old) + 5000)
            data = self.rng.randbytes(self.rng.choice(
                (1, 100, 5000, 70000, 300000)))
            if any(at < b + len(other) and b < at + len(data)
                   for b, other in parts):
                continue    # so that each byte is from before or after
            parts.append((at, data))
            new = overwritten(new, at, data)
        if len(new) > MAX_BYTES:
            return

        def how(f):
            for at, data in parts:
                self.client.write(f, data, at)
        self.change(path, new, how)

    def truncate(self):
        path = self.a_file()
        if path is None:
            return
        old = self.content_of(path)
        size = self.rng.randrange(len(old) + 10000)
        self.change(path, cut(old, size),
                    lambda f: self.client.set_end_of_file(f, size))

    def copy(self):
        """On the server, into a new file."""
        source, target = self.a_file(), self.a_name()
        if source is None or target is None or not self.content_of(source):
            return
        content = self.content_of(source)[:M]
        self.note(self.share.write, target, content, source)
        f = self.client.create(windows(source), access=smb2.READ)
        to = self.client.create(windows(target), disposition=smb2.OPEN_IF)
        self.client.copy_chunks(f, to, [(0, 0, len(content))])
        self.client.close(to)
        self.client.close(f)

    def remove(self):
        path = self.a_file()
        if path is not None:
            self.note(self.share.remove, path)
            self.client.unlink(windows(path))

    def rename(self):
        old = self.a_file()
        new = self.a_name() if self.rng.random() < 0.6 else self.a_file()
        if old is not None and new is not None and old != new:
            self.note(self.share.rename, old, new)
            self.client.rename(windows(old), windows(new), replace=True)

    def set_ea(self):
        path = self.a_file()
        if path is None:
            return
        self.note(self.share.set_attribute, path)
        f = self.client.create(windows(path), access=smb2.READ | 0x110)
        try:
            self.client.set_ea(f, 'COLOUR', b'%d' % self.rng.randrange(1000))
        finally:
            close(self.client, f)

    def make_dir(self):
        path = '%s/d%d' % (self.directory, self.rng.randrange(4))
        with self.share.lock:
            if path in self.share.dirs:
                return
            self.share.add_dir(path)
        self.client.mkdir(windows(path))

    def rename_dir(self):
        with self.share.lock:
            some = [d for d in self.dirs() if d != self.directory]
            new = '%s/d%d' % (self.directory, self.rng.randrange(4))
            if not some or new in self.share.dirs:
                return
            old = self.rng.choice(some)
            self.share.rename_dir(old, new)
        self.client.rename(windows(old), windows(new))

    KINDS = ((put, 8), (overwrite, 8), (truncate, 3), (copy, 2), (remove, 3),
             (rename, 4), (set_ea, 2), (make_dir, 1), (rename_dir, 1))
