"""A tree of all kinds of files, made through SMB, and what it is compared by:
on the members (bytes, mode, owner, times, extended attributes) and through SMB
(bytes, streams, extended attributes, ACL).
"""

import collections
import hashlib
import os
import stat
import struct

import smb2

ODD = ['with blank', ' in front', '.hidden', '._apple', 'per%cent', 'a&b;c$d',
       "it's", '#hash', '{braces}', '[brackets]', 'ümlaut', 'u\u0308mlaut',
       'Ελληνικά', '日本語', 'emoji \U0001f600', 'UPPER', 'lower.Lower', '~',
       'n' * 200, '-rf', '$(touch x)', 'dots...x', '\u200bzero width']

Entry = collections.namedtuple(
    'Entry', 'mode uid gid size mtime_ns digest xattrs')


def windows(path):
    return path.replace('/', '\\')


# --- making it ----------------------------------------------------------------

def sizes(random, count, large_bytes):
    """From nothing to large, most of them small."""
    special = [0, 0, 1, 511, 4095, 4096, 4097, 65536, 1 << 20, (4 << 20) - 1,
               4 << 20, (4 << 20) + 1, 9 << 20, large_bytes]
    for i in range(count):
        if i < len(special):
            yield special[i]
        else:
            yield int(2 ** random.uniform(0, 17 if i % 40 else 20))


def make(client, random, files, large_bytes):
    """Returns what read_through() takes: {path: {what: value}}"""
    seen = {}
    dirs = ['']
    for i, name in enumerate(ODD + ['d%02d' % i for i in range(30)]):
        parent = random.choice(dirs[-8:])
        path = (parent + '/' + name).lstrip('/')
        if len(path) < 700:
            client.mkdir(windows(path))
            dirs.append(path)
    for i, size in enumerate(sizes(random, files, large_bytes)):
        name = 'f%05d' % i
        if i % 50 < len(ODD) and i // 50 % 4 == 0:
            name = '%s %d' % (ODD[i % 50], i)
        path = (random.choice(dirs) + '/' + name).lstrip('/')
        content = random.randbytes(size)
        if i % 17 == 5:
            content = bytes(size)    # zeros
        client.put(windows(path), content)
        seen[path] = decorate(client, path, i)
        seen[path]['digest'] = hashlib.sha256(content).digest()
    return seen


def decorate(client, path, i):
    """Streams, extended attributes, an ACL, times: on some."""
    what = {'streams': {}, 'eas': {}, 'acl': None}
    name = windows(path)
    if i % 23 == 3:
        content = b'stream of %d ' % i * (1 + i % 90)
        client.put(name + ':second', content)
        what['streams']['second'] = content
    if i % 19 and i % 29 and i % 31:
        return what
    f = client.create(name)
    try:
        if i % 19 == 0:
            client.set_ea(f, 'COLOUR', b'blue %d' % i)
            what['eas']['COLOUR'] = b'blue %d' % i
        if i % 29 == 0:
            client.set_security(f, everyone_reads(client.security(f)))
            what['acl'] = client.security(f, 4)
        if i % 31 == 0:
            # since 1601, in 100 ns; hidden
            client.set_times(f, written=126000000000000000 + i * 10 ** 9,
                             attributes=2)
    finally:
        client.close(f)
    return what


def everyone_reads(descriptor):
    """Its ACL with one more entry: S-1-1-0 may read."""
    at, = struct.unpack('<I', descriptor[16:20])
    revision, _, length, count, _ = struct.unpack('<BBHHH',
                                                  descriptor[at:at + 8])
    entries = descriptor[at + 8:at + length]
    sid = struct.pack('<BB', 1, 1) + bytes((0, 0, 0, 0, 0, 1)) + bytes(4)
    entry = struct.pack('<BBHI', 0, 0, 8 + len(sid), 0x00120089) + sid
    acl = struct.pack('<BBHHH', revision, 0, 8 + len(entries) + len(entry),
                      count + 1, 0) + entries + entry
    # self-relative, with an ACL, which inherits nothing from above
    return struct.pack('<BBHIIII', 1, 0, 0x8000 | 0x1000 | 0x4, 0, 0, 0,
                       20) + acl


# --- comparing it ---------------------------------------------------------------

def xattrs_of(path):
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)}


def entry_of(path):
    st = os.lstat(path)
    digest = None
    if stat.S_ISREG(st.st_mode):
        with open(path, 'rb') as text:
            digest = hashlib.sha256(text.read()).digest()
    return Entry(st.st_mode, st.st_uid, st.st_gid,
                 st.st_size if digest else 0,
                 st.st_mtime_ns if digest else 0, digest, xattrs_of(path))


def of_member(root):
    """{path: Entry}, without .mrmr."""
    found = {}
    for top, dirs, files in os.walk(root):
        if top == root:
            dirs[:] = [name for name in dirs
                       if name not in ('.mrmr', 'lost+found')]
        for name in dirs + files:
            path = os.path.join(top, name)
            found[os.path.relpath(path, root)] = entry_of(path)
    return found


def differences(there, wanted):
    """Sentences."""
    found = ['%s is not there' % path for path in wanted
             if path not in there]
    found += ['%s is there, and was not' % path for path in there
              if path not in wanted]
    for path in wanted:
        if path not in there:
            continue
        for field, got, was in zip(Entry._fields, there[path], wanted[path]):
            if got != was:
                found.append('%s: %s is %.200r, was %.200r' % (path, field,
                                                              got, was))
    return found


def read_through(client, seen):
    """Every file through SMB; sentences about what is not as make() saw it."""
    wrong = []
    for path, what in seen.items():
        try:
            name = windows(path)
            if hashlib.sha256(client.get(name)).digest() != what['digest']:
                wrong.append('%s: other bytes' % path)
            for stream, content in what['streams'].items():
                if client.get(name + ':' + stream) != content:
                    wrong.append('%s: other bytes in a stream' % path)
            if not what['eas'] and what['acl'] is None:
                continue
            f = client.create(name, access=smb2.READ)
            try:
                eas = client.eas(f)
                for ea, value in what['eas'].items():
                    if eas.get(ea) != value:
                        wrong.append('%s: the EA %s is %r' % (path, ea,
                                                              eas.get(ea)))
                if what['acl'] not in (None, client.security(f, 4)):
                    wrong.append('%s: another ACL' % path)
            finally:
                client.close(f)
        except smb2.Error as error:
            wrong.append('%s: %s' % (path, error))
    return wrong
