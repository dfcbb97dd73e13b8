"""What the clients of a trial do: several connections, one operation at a time
on any of them, each with what it does to the model.
"""

from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack

import smb2
from trial_model import cut, join, overwritten

M = 1 << 20
NAMES = (['f%d' % i for i in range(9)] +
         ['with blank', 'ümlaut', "it's", '#hash', 'n' * 120, '日本語'])
DIRS = ['d0', 'd1', 'd2', 'dir with blank']
SIZES = (0, 1, 100, 4096, 4097, 50000, 70000, 300000, M, M + 1, 2 * M + 4711)
SOME_TIME = 130000000000000000
KINDS = ('ea', 'hidden', 'written', 'stream', 'acl')
ATTRIBUTES = smb2.READ | 0x110 | 0x40000    # attributes, eas, the ACL


class Wrong(Exception):
    """A client was served as it must not be."""


def windows(path):
    return path.replace('/', '\\')


class Op:
    """run(client) does it, after(model) says what it does, paths are those
    that look different afterwards, reads those that must stay as they are."""

    def __init__(self, text, paths, run, after, reads=(), is_tree=False):
        self.text = text
        self.paths = paths
        self.run = run
        self.after = after
        self.reads = list(reads)
        self.is_tree = is_tree    # of a directory with all that is in it
        self.sets_only = False    # nothing but attributes
        self.makes_two = False    # it may be there under both names
        self.takes_streams = False    # of what it removes, before it does
        self.is_of_empty_dir = False    # that is made, or removed


# --- making one up ---------------------------------------------------------------

class Maker:
    def __init__(self, rng, another):
        self.rng = rng
        self.another = another    # client: another connection than this one
        self.may_link = lambda: True

    def any_file(self, model, may_use):
        paths = sorted(p for p in model.files if may_use(p))
        return self.rng.choice(paths) if paths else None

    def any_dir(self, model):
        return self.rng.choice(sorted(model.dirs))

    def op(self, model, may_use):
        """may_use(path): is the file one that the model is sure of?"""
        kinds = ((self.put, 7), (self.overwrite, 4), (self.append, 2),
                 (self.truncate, 3), (self.rename, 5), (self.replace, 3),
                 (self.remove, 3), (self.linked, 1), (self.copy, 3), (self.locked, 1),
                 (self.contended, 1), (self.attributes, 4),
                 (self.attributes_of_dir, 1), (self.make_dir, 2),
                 (self.rename_dir, 2), (self.remove_dir, 1),
                 (self.supersede, 2), (self.pieces, 3))
        for _ in range(50):
            kind = self.rng.choices([k for k, _ in kinds],
                                    [w for _, w in kinds])[0]
            op = kind(model, may_use)
            if op is not None:
                return op
        return self.put(model, lambda path: True)

    def data(self):
        size = self.rng.choice(SIZES)
        if self.rng.random() < 0.1:
            return bytes(size)
        return self.rng.randbytes(size)

    def put(self, model, may_use):
        path = model.free_name(self.rng, NAMES, self.any_dir(model))
        return self.put_at(path) if path is not None else None

    def put_at(self, path):
        data = self.data()
        return Op('create %s (%d)' % (path, len(data)), [path],
                  lambda c: c.put(windows(path), data,
                                  disposition=smb2.CREATE),
                  lambda m: m.write(path, data))

    def supersede(self, model, may_use):
        path = self.any_file(model, may_use)
        if path is None:
            return None
        data = self.data()
        bits = hidden_bit(model.files[path].attributes)

        def after(m):
            m.write(path, data)
            m.files[path].forget('ea', 'stream', 'acl')

        def run(c):
            try:
                c.put(windows(path), data, attributes=bits)
            except smb2.Error as error:
                # it may be hidden, and that not be known any more
                if error.name != 'NT_STATUS_ACCESS_DENIED' or bits:
                    raise
                c.put(windows(path), data, attributes=2)
        return Op('put over %s (%d)' % (path, len(data)), [path], run, after)

    def changed(self, text, path, old, new, change):
        def run(c):
            f = c.create(windows(path))
            try:
                change(c, f)
            finally:
                close(c, f)
        return Op(text, [path], run, lambda m: m.write(path, new))

    def overwrite(self, model, may_use):
        path = self.any_file(model, may_use)
        if path is None:
            return None
        old = model.files[path].content
        at = self.rng.randrange(len(old) + 5000)
        data = self.rng.randbytes(self.rng.choice((1, 100, 5000, 70000, M)))
        return self.changed('write %s at %d (%d)' % (path, at, len(data)),
                            path, old, overwritten(old, at, data),
                            lambda c, f: c.write(f, data, at))

    def pieces(self, model, may_use):
        """Several writes under way at a time."""
        path = self.any_file(model, may_use)
        if path is None:
            return None
        old = new = model.files[path].content
        parts = []
        at = 0
        for _ in range(self.rng.randrange(2, 6)):
            at += self.rng.randrange(0, M)
            parts.append((at, self.rng.randbytes(self.rng.randrange(1, 70000))))
            new = overwritten(new, *parts[-1])
            at += len(parts[-1][1])

        def change(c, f):
            numbers = [c.write_send(f, data, at) for at, data in parts]
            for number in numbers:
                c.write_recv(number, f)
        return self.changed('write %s in %d pieces' % (path, len(parts)),
                            path, old, new, change)

    def append(self, model, may_use):
        path = self.any_file(model, may_use)
        if path is None or len(model.files[path].content) > 4 * M:
            return None
        old = model.files[path].content
        data = self.data()
        return self.changed('append to %s (%d)' % (path, len(data)), path,
                            old, old + data,
                            lambda c, f: c.write(f, data, len(old)))

    def truncate(self, model, may_use):
        path = self.any_file(model, may_use)
        if path is None:
            return None
        old = model.files[path].content
        size = self.rng.randrange(len(old) + 10000)
        return self.changed('cut %s to %d' % (path, size), path, old,
                            cut(old, size),
                            lambda c, f: c.set_end_of_file(f, size))

    def locked(self, model, may_use):
        path = self.any_file(model, may_use)
        if path is None:
            return None
        old = model.files[path].content
        data = self.rng.randbytes(3000)

        def change(c, f):
            c.lock(f, 0, 3000)
            c.write(f, data, 0)
            c.lock(f, 0, 3000, smb2.LOCK_UNLOCK)
        return self.changed('lock and write %s' % path, path, old,
                            overwritten(old, 0, data), change)

    def contended(self, model, may_use):
        """A client has locked it; another one must wait for that."""
        path = self.any_file(model, may_use)
        if path is None:
            return None
        old = model.files[path].content
        data = self.rng.randbytes(3000)

        def change(c, f):
            other = self.another(c)
            g = other.create(windows(path))
            try:
                c.lock(f, 0, 3000)
                try:
                    other.write(g, b'not now', 10)
                except smb2.Error as error:
                    if error.name != 'NT_STATUS_FILE_LOCK_CONFLICT':
                        raise
                else:
                    try:
                        c.basic(f)
                    except (smb2.Error, OSError):
                        # killed, and its lock has gone with it
                        other.write(g, old[:17], 0)
                        other.set_end_of_file(g, len(old))
                        raise
                    raise Wrong('%s is locked, and could be written' % path)
                c.lock(f, 0, 3000, smb2.LOCK_UNLOCK)
                other.write(g, data, 0)
            finally:
                close(other, g)
        return self.changed('two lock and write %s' % path, path, old,
                            overwritten(old, 0, data), change)

    def copy(self, model, may_use):
        """On the server; over a file that is there, or to a new one."""
        source = self.any_file(model, may_use)
        if source is None or not model.files[source].content:
            return None
        content = model.files[source].content[:M]
        target = self.any_file(model, may_use)
        if target == source or self.rng.random() < 0.5:
            target = model.free_name(self.rng, NAMES, self.any_dir(model))
        if target is None:
            return None
        at = self.rng.choice((0, 0, 77, 4096))
        old = model.files[target].content if target in model.files else b''

        def run(c):
            f = c.create(windows(source), access=smb2.READ)
            try:
                to = c.create(windows(target), disposition=smb2.OPEN_IF)
                try:
                    c.copy_chunks(f, to, [(0, at, len(content))])
                finally:
                    close(c, to)
            finally:
                close(c, f)
        return Op('copy %s to %s' % (source, target), [target], run,
                  lambda m: m.write(target, overwritten(old, at, content)),
                  reads=[source])

    def rename(self, model, may_use):
        old = self.any_file(model, may_use)
        new = model.free_name(self.rng, NAMES, self.any_dir(model))
        if old is None or new is None:
            return None
        return Op('rename %s to %s' % (old, new), [old, new],
                  lambda c: c.rename(windows(old), windows(new)),
                  lambda m: m.rename(old, new))

    def linked(self, model, may_use):
        """A second name, and the first one goes."""
        old = self.any_file(model, may_use)
        if old is None or not self.may_link():
            return None
        new = model.free_name(self.rng, NAMES, self.any_dir(model))
        if new is None:
            return None

        def run(c):
            f = c.create(windows(old), access=smb2.READ | smb2.DELETE)
            try:
                c.link_to(f, windows(new))
            finally:
                close(c, f)
            c.unlink(windows(old))

        def after(m):
            m.rename(old, new)
            # smbd removes the streams of what it deletes, on a plain share too
            m.files[new].forget('stream')
        op = Op('link %s to %s, and remove the first' % (old, new), [old, new],
                run, after)
        op.makes_two = True
        op.takes_streams = True
        return op

    def replace(self, model, may_use, may_go=None):
        """may_go(path): may it be replaced? As may_use by default."""
        old = self.any_file(model, may_use)
        new = self.any_file(model, may_go or may_use)
        if old is None or new is None or old == new:
            return None
        return Op('rename %s over %s' % (old, new), [old, new],
                  lambda c: c.rename(windows(old), windows(new), replace=True),
                  lambda m: m.rename(old, new))

    def remove(self, model, may_use):
        path = self.any_file(model, may_use)
        return self.remove_at(path) if path is not None else None

    def remove_at(self, path):
        op = Op('remove %s' % path, [path],
                lambda c: c.unlink(windows(path)), lambda m: m.remove(path))
        op.takes_streams = True
        return op

    def attributes(self, model, may_use):
        path = self.any_file(model, may_use)
        if path is None:
            return None
        kind = self.rng.choice(KINDS)
        number = self.rng.randrange(1000)
        value = {'ea': b'value %d' % number, 'hidden': bool(number & 1),
                 'written': SOME_TIME + number * 10 ** 9,
                 'stream': self.rng.randbytes(number),
                 'acl': number}[kind]
        said = {}

        def run(c):
            if kind == 'stream':
                c.put(windows(path) + ':note', value,
                      attributes=hidden_bit(model.files[path].attributes))
                return
            f = c.create(windows(path), access=ATTRIBUTES)
            try:
                if kind == 'ea':
                    c.set_ea(f, 'COLOUR', value)
                elif kind == 'hidden':
                    c.set_times(f, attributes=2 if value else 0x80)
                elif kind == 'acl':
                    set_acl(c, f, value)
                    said['acl'] = acl(c, f)
                else:
                    c.set_times(f, written=value)
            finally:
                close(c, f)

        def after(m):
            m.files[path].set(kind, said.get(kind, value))
            if kind == 'stream':
                m.files[path].forget('written')
        op = Op('set %s of %s' % (kind, path), [path], run, after)
        op.sets_only = True
        return op

    def attributes_of_dir(self, model, may_use):
        path = self.any_dir(model)
        if not path:
            return None
        kind = self.rng.choice(('ea', 'hidden', 'acl'))
        number = self.rng.randrange(1000)
        value = {'ea': b'value %d' % number, 'hidden': bool(number & 1),
                 'acl': number}[kind]
        said = {}

        def run(c):
            f = c.create(windows(path), access=ATTRIBUTES,
                         options=smb2.DIRECTORY)
            try:
                if kind == 'ea':
                    c.set_ea(f, 'COLOUR', value)
                elif kind == 'hidden':
                    c.set_times(f, attributes=2 if value else 0x10)
                else:
                    set_acl(c, f, value)
                    said['acl'] = acl(c, f)
            finally:
                close(c, f)

        def after(m):
            m.dirs[path][kind] = said.get(kind, value)
        op = Op('set %s of the directory %s' % (kind, path), [path], run, after)
        op.sets_only = True
        return op

    def make_dir(self, model, may_use):
        path = model.free_name(self.rng, DIRS, self.any_dir(model))
        if path is None or path.count('/') > 3:
            return None
        op = Op('mkdir %s' % path, [path],
                lambda c: c.mkdir(windows(path)),
                lambda m: m.make_dir(path), is_tree=True)
        op.is_of_empty_dir = True
        return op

    def rename_dir(self, model, may_use):
        old = self.any_dir(model)
        files, _ = model.below(old)
        if not old or not all(may_use(path) for path in files):
            return None
        new = model.free_name(self.rng, DIRS, self.any_dir(model))
        if new is None or new.startswith(old + '/') or new.count('/') > 3:
            return None
        return Op('rename the directory %s to %s' % (old, new), [old, new],
                  lambda c: c.rename(windows(old), windows(new)),
                  lambda m: m.rename_dir(old, new), is_tree=True)

    def remove_dir(self, model, may_use):
        path = self.any_dir(model)
        files, dirs = model.below(path)
        if not path or files or dirs:
            return None
        return self.remove_dir_at(path)

    def remove_dir_at(self, path):
        op = Op('rmdir %s' % path, [path],
                lambda c: c.rmdir(windows(path)),
                lambda m: m.remove_dir(path), is_tree=True)
        op.is_of_empty_dir = True
        return op


def close(c, f):
    """Of a connection that is gone there is nothing to close."""
    try:
        c.close(f)
    except (smb2.Error, OSError):
        pass


def hidden_bit(attributes):
    """A hidden file is only overwritten by who says that it is one."""
    return 2 if attributes.get('hidden') else 0


def acl(c, f):
    """Of a file: as the server says it is, as text."""
    found = ndr_unpack(security.descriptor, c.security(f, 4))
    return found.as_sddl(security.dom_sid('S-1-5-21-1-2-3'))


def set_acl(c, f, number):
    """The owner may do all; all, and somebody else, may read."""
    owner = ndr_unpack(security.descriptor, c.security(f, 1)).owner_sid
    some = security.descriptor.from_sddl(
        'D:(A;;0x001f01ff;;;%s)(A;;FR;;;WD)(A;;FR;;;S-1-5-21-1-2-3-%d)' %
        (owner, 1000 + number), security.dom_sid('S-1-5-21-1-2-3'))
    c.set_security(f, ndr_pack(some))


# --- looking -----------------------------------------------------------------------

GONE = ('NT_STATUS_OBJECT_NAME_NOT_FOUND', 'NT_STATUS_OBJECT_PATH_NOT_FOUND')


def look(c, path):
    """(is there, content or None for a directory); smb2.Error if unreadable"""
    try:
        f = c.create(windows(path), access=smb2.READ)
    except smb2.Error as error:
        if error.name in GONE:
            return (False, None)
        raise
    try:
        return (True, None if f.attributes & 0x10 else c.read(f))
    finally:
        close(c, f)


def tree(c, path=''):
    """{path: attributes of it} of all that is listed."""
    found = {}
    for name, _, attributes, _ in c.entries(windows(path)):
        full = join(path, name)
        found[full] = attributes
        if attributes & 0x10:
            found.update(tree(c, full))
    return found


def is_hidden(c, path):
    f = c.create(windows(path), access=smb2.READ)
    try:
        return bool(c.basic(f)[4] & 2)
    finally:
        close(c, f)


def attributes_of(c, path, wanted, is_dir=False):
    """Sentences about what is not as it was set."""
    got = {}
    f = c.create(windows(path), access=smb2.READ,
                 options=smb2.DIRECTORY if is_dir else 0)
    try:
        basic = c.basic(f)
        got['hidden'] = bool(basic[4] & 2)
        got['written'] = basic[2]
        if 'ea' in wanted:
            got['ea'] = c.eas(f).get('COLOUR')
        if 'acl' in wanted:
            got['acl'] = acl(c, f)
    finally:
        close(c, f)
    if 'stream' in wanted:
        try:
            got['stream'] = c.get(windows(path) + ':note')
        except smb2.Error as error:
            got['stream'] = error.name
    return ['%s: %s is %.80r, was set to %.80r' % (path, name, got[name], value)
            for name, value in wanted.items() if got[name] != value]
