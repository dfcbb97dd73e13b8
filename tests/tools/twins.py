"""Tests of access: the shares `pool` and `plain` with the same files on them,
and two users who work in the same smbd. What one of them tries on the pool has
to come to the same as on plain.

    twins = Twins(world, 'streams_xattr')
    names = tree(twins)
    compare_users(twins, names, look, 'what another user sees is the same')
"""

import os
import re
import socket
import stat
import struct

import smb2
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from sharetest import equal, eventually, ok, run

OWNER, OTHER = 'mrmr', 'other'
ROOT = 0


# --- two users in one smbd ----------------------------------------------------

class Users(smb2.Client):
    """Both users' sessions on one connection, which one smbd serves; requests
    are those of the user who acts."""

    def __init__(self, pool, share):
        os.environ['MRMR_SMB_CONF'] = pool.env['MRMR_SMB_CONF']
        super().__init__(share, user=OWNER, password=pool.password(OWNER),
                         port=pool.env['MRMR_PORT'])
        self.sessions = {OWNER: (self.session, self.tree)}
        self.session = self.tree = 0
        self.log_in(OTHER, pool.password(OTHER))
        self.connect_tree(share)
        self.sessions[OTHER] = (self.session, self.tree)

    def act(self, user):
        self.session, self.tree = self.sessions[user]
        return self


def outcome(function, *arguments, **named):
    try:
        return function(*arguments, **named)
    except smb2.Error as error:
        return error.name.replace('NT_STATUS_', '')


def with_handle(c, name, access, function, **named):
    f = c.create(name, access=access, **named)
    try:
        return function(f)
    finally:
        c.close(f)


ACCESSES = {
    'read': 0x1, 'write': 0x2, 'append': 0x4, 'read eas': 0x8,
    'write eas': 0x10, 'execute': 0x20, 'delete child': 0x40,
    'read attributes': 0x80, 'write attributes': 0x100, 'delete': 0x10000,
    'read control': 0x20000, 'write dac': 0x40000, 'write owner': 0x80000,
    'system security': 0x1000000, 'generic read': 0x80000000,
    'generic write': 0x40000000, 'generic all': 0x10000000,
}


def look(c, name):
    """All that the user who acts can learn of a name without changing it:
    {attempt: what came of it}."""
    found = {}
    for what, access in ACCESSES.items():
        found['open to ' + what] = outcome(with_handle, c, name, access,
                                           lambda f: 'opened')
    found['granted'] = outcome(
        with_handle, c, name, smb2.MAXIMUM,
        lambda f: struct.unpack('<I', c.query(f, 1, 8)[:4])[0])
    found['content'] = outcome(with_handle, c, name, 0x1,
                               lambda f: outcome(c.read, f))
    found['seen'] = outcome(with_handle, c, name, 0x80,
                            lambda f: (f.attributes, None if f.attributes & 16
                                       else f.size))
    found['rights'] = outcome(with_handle, c, name, 0x20000,
                              lambda f: c.security(f))
    found['streams'] = outcome(with_handle, c, name, 0x80,
                               lambda f: None if f.attributes & 16
                               else outcome(c.streams, f))
    found['attributes'] = outcome(with_handle, c, name, 0x88,
                                  lambda f: outcome(c.eas, f))
    found['entries'] = outcome(lambda: sorted(
        (entry, None if attributes & 16 else size, attributes)
        for entry, size, attributes, _ in c.entries(name)))
    found['stream'] = outcome(c.get, name + ':of-the-owner')

    def copy(f):
        with_handle(c, 'top\\of-other\\copy', 0x3, lambda to: c.copy_chunks(
            f, to, [(0, 0, 10)]), disposition=smb2.OVERWRITE_IF)
        copied = c.get('top\\of-other\\copy')
        c.unlink('top\\of-other\\copy')
        return copied
    found['copy'] = outcome(with_handle, c, name, 0x21, copy)
    found['snapshot'] = outcome(with_handle, c,
                                '@GMT-2026.01.01-00.00.00\\' + name, 0x1,
                                lambda f: outcome(c.read, f))
    return found


def everyone():
    sd = security.descriptor()
    ace = security.ace()
    ace.trustee = security.dom_sid('S-1-1-0')
    ace.access_mask = smb2.ALL
    sd.dacl_add(ace)
    return ndr_pack(sd)


def change(c, name):
    """All that the user who acts can do to a name."""
    base = name.split('\\')[-1]
    mine = 'top\\of-other\\'
    found = {}

    def tries(what, function, *arguments, **named):
        result = outcome(function, *arguments, **named)
        if what == 'rename over' and result == 'DIRECTORY_NOT_EMPTY':
            result = 'OBJECT_NAME_COLLISION'    # of the directory it is in
        found[what] = result if isinstance(result, str) else 'done'

    tries('rights', with_handle, c, name, 0x40000,
          lambda f: c.set_security(f, everyone()))
    tries('owner', with_handle, c, name, 0x80000,
          lambda f: set_owner(c, f))
    tries('times', with_handle, c, name, 0x100,
          lambda f: c.set_times(f, written=116444736000000000))
    tries('hidden', with_handle, c, name, 0x100,
          lambda f: c.set_times(f, attributes=2))
    tries('attribute', with_handle, c, name, 0x10,
          lambda f: c.set_ea(f, 'user.x', b'x'))
    tries('stream', c.put, name + ':mine', b'stream')
    tries('child', c.put, name + '\\child', b'child')
    tries('child directory', c.mkdir, name + '\\directory')
    tries('link', with_handle, c, name, 0x80,
          lambda f: c.link_to(f, mine + 'link-' + base))
    if not isinstance(outcome(c.get, mine + 'link-' + base), str):
        found['linked'] = outcome(c.get, mine + 'link-' + base)
        found['unlinked'] = outcome(c.unlink, mine + 'link-' + base)
    tries('link over', with_handle, c, mine + 'own', 0x80,
          lambda f: c.link_to(f, name, replace=True))
    tries('write', with_handle, c, name, 0x2,
          lambda f: c.write(f, b'written'))
    tries('append', with_handle, c, name, 0x4,
          lambda f: c.write(f, b'appended', 100))
    tries('truncate', with_handle, c, name, 0x2,
          lambda f: c.set_end_of_file(f, 3))
    for disposition in (smb2.CREATE, smb2.OPEN_IF, smb2.OVERWRITE,
                        smb2.OVERWRITE_IF, smb2.SUPERSEDE):
        tries('disposition %d' % disposition, with_handle, c, name, 0x3,
              lambda f: f.action, disposition=disposition)
    tries('rename over', rename_over, c, mine + 'own', name)
    tries('rename', c.rename, name, mine + 'moved-' + base)
    tries('rename back', c.rename, mine + 'moved-' + base, name)
    tries('delete', c.unlink, name)
    tries('delete at the end', with_handle, c, name, 0x10000,
          lambda f: 0, options=smb2.DELETE_ON_CLOSE)
    tries('remove', c.rmdir, name)
    tries('make', c.put, name, b'anew')
    tries('make a directory', c.mkdir, name)
    return found



def rename_over(c, own, name):
    c.put(own, b'own')
    c.rename(own, name, True)


def set_owner(c, f):
    sd = security.descriptor()
    sd.owner_sid = own_sid(c)
    c.set_security(f, ndr_pack(sd), what=1)


def own_sid(c):
    f = c.create('top\\of-other', access=0x20000)
    sd = ndr_unpack(security.descriptor, c.security(f))
    c.close(f)
    return sd.owner_sid


# --- the same files on both shares ----------------------------------------------

class Twins:
    """The shares `pool` and `plain` with the same files on them."""

    def __init__(self, world, vfs, parity=0, sections='', members=None,
                 options=''):
        self.world = world
        self.outside = world.path + '/' + world.fresh('outside')
        self.write_outside()
        self.plain_root = world.tmpfs(name='plain')
        if members is None:
            members = [world.tmpfs() for _ in range(3)]
        self.pool = world.pool(members, plain=self.plain_root,
                               users=(OWNER, OTHER), parity=parity)
        directory = self.pool.directory
        conf = '''
    map to guest = bad user
    guest account = nobody
    mangled names = yes
''' + options
        for name, lines in re.findall(r'\[(.*?)\]\n(.*?)(?=\n\[|\Z)', sections,
                                      re.S):
            for share, path, mrmr in (
                    ('pool', directory + '/state/spine',
                     'mrmr\n    mrmr:config = %s/mrmr.json\n'
                     '    mrmr:protect = no' % directory),
                    ('plain', self.plain_root, '')):
                conf += '''
[%s-%s]
    path = %s
    vfs objects = %s %s
%s
''' % (share, name, path, vfs, mrmr, lines)
        self.pool.up(vfs=vfs, conf=conf)
        with self.pool.config() as config:
            config['placement'] = 'spread'
        self.pool.restart()
        st = os.stat(self.pool.spine)
        self.uids = {OWNER: st.st_uid, ROOT: 0, 'group': st.st_gid}
        with open(directory + '/users') as lines:
            for line in lines:
                self.uids[line.split(':')[0]] = int(line.split(':')[1])
        self.number = 0

    def write_outside(self):
        with open(self.outside, 'w') as out:
            out.write('outside of the share')
        os.chmod(self.outside, 0o666)

    def roots(self):
        return self.pool.members + [self.pool.spine, self.plain_root]

    def directory(self, path, mode, owner=OWNER, gid=None):
        """On all members, in the spine, and on plain."""
        for root in self.roots():
            full = os.path.join(root, path)
            os.makedirs(full, exist_ok=True)
            os.chown(full, self.uids[owner],
                     self.uids['group'] if gid is None else gid)
            os.chmod(full, mode)

    def places(self, path, member=None):
        if member is None:
            member = self.number % len(self.pool.members)
            self.number += 1
        return [os.path.join(root, path)
                for root in (self.pool.members[member], self.plain_root)]

    def own(self, full, mode, owner, gid):
        os.lchown(full, self.uids[owner],
                  self.uids['group'] if gid is None else gid)
        if not os.path.islink(full):
            os.chmod(full, mode)

    def file(self, path, mode, owner=OWNER, gid=None, content=None,
             member=None):
        content = content or ('secret of %s' % path).encode()
        for full in self.places(path, member):
            with open(full, 'wb') as out:
                out.write(content)
            self.own(full, mode, owner, gid)

    def symlink(self, path, target, member=None):
        for full in self.places(path, member):
            os.symlink(target, full)
            self.own(full, 0, OWNER, None)

    def special(self, path, mode, device=0, member=None):
        for full in self.places(path, member):
            if stat.S_ISSOCK(mode):
                s = socket.socket(socket.AF_UNIX)
                s.bind(full)
                s.close()
                os.chmod(full, stat.S_IMODE(mode))
            else:
                os.mknod(full, mode, device)
                os.chmod(full, stat.S_IMODE(mode))

    def acl(self, path, *entries):
        """setfacl -m on what is there, on both."""
        for root in self.roots():
            full = os.path.join(root, path)
            if os.path.lexists(full):
                run('setfacl', '-m', ','.join(
                    e.replace('other:', 'u:%d:' % self.uids[OTHER], 1)
                    if e.startswith('other:') else e for e in entries), full)


def tree(twins, member=None):
    """Files and directories of all sorts; the names of them."""
    t = twins
    t.directory('top', 0o755)
    t.directory('top/of-other', 0o755, owner=OTHER)
    t.directory('top/private', 0o700)
    t.directory('top/private/public', 0o777)
    t.directory('top/xonly', 0o711)
    t.directory('top/ronly', 0o744)
    t.directory('top/wonly', 0o733)
    t.directory('top/sticky', 0o1777)
    t.directory('top/open', 0o777)
    t.directory('top/roots', 0o700, owner=ROOT, gid=0)
    t.directory('top/refused', 0o777)
    t.acl('top/refused', 'other:---')
    t.directory('top/granted', 0o700)
    t.acl('top/granted', 'other:r-x')
    t.directory('top/inherit', 0o2775, gid=t.uids['group'])
    names = []
    for top in ('private', 'private/public', 'xonly', 'ronly', 'wonly',
                'sticky', 'open', 'roots', 'refused', 'granted'):
        for kind, mode, owner, gid in (
                ('open', 0o666, OWNER, 0), ('readable', 0o644, OWNER, 0),
                ('private', 0o600, OWNER, 0), ('writable', 0o622, OWNER, 0),
                ('of-other', 0o600, OTHER, 0), ('of-root', 0o600, ROOT, 0)):
            path = 'top/%s/%s' % (top, kind)
            t.file(path, mode, owner=owner, gid=gid, member=member)
            if top in ('open', 'private', 'refused') or kind in (
                    'readable', 'private', 'of-other'):
                names.append(path)
        if top != 'private/public':
            names.append('top/' + top)
    for kind, mode, owner, gid in (
            ('group', 0o640, OWNER, None), ('no-group', 0o640, OWNER, 0),
            ('setuid', 0o4755, OWNER, 0), ('setgid', 0o2755, OWNER, 0),
            ('setuid-writable', 0o6777, ROOT, 0), ('execute', 0o711, OWNER, 0),
            ('none', 0, OWNER, 0), ('none-of-other', 0, OTHER, 0),
            ('acl-refused', 0o666, OWNER, 0),
            ('acl-granted', 0o600, OWNER, 0),
            ('acl-masked', 0o600, OWNER, 0)):
        t.file('top/open/' + kind, mode, owner=owner, gid=gid, member=member)
        names.append('top/open/' + kind)
    t.acl('top/open/acl-refused', 'other:---')
    t.acl('top/open/acl-granted', 'other:r--')
    t.acl('top/open/acl-masked', 'other:rwx', 'm::---')
    for kind, target in (
            ('to-private', '../private/readable'),
            ('to-private-directory', '../private'),
            ('to-public', '../private/public/open'),
            ('to-open', 'open'), ('to-roots', '../roots/open'),
            ('outside', t.outside), ('up', '../../../' + os.path.basename(
                t.outside)), ('root', '/'), ('dangling', 'nothing'),
            ('loop', 'loop'), ('proc', '/proc/self/root/etc/hostname'),
            ('fd', '/proc/self/fd/1')):
        t.symlink('top/open/link-' + kind, target, member=member)
        names.append('top/open/link-' + kind)
    names += ['top/open/link-to-private-directory/' + n
              for n in ('readable', 'public/open', 'new')]
    for kind, mode, device in (
            ('fifo', stat.S_IFIFO | 0o666, 0),
            ('socket', stat.S_IFSOCK | 0o666, 0),
            ('null', stat.S_IFCHR | 0o666, os.makedev(1, 3)),
            ('disk', stat.S_IFBLK | 0o666, os.makedev(7, 200))):
        t.special('top/open/' + kind, mode, device, member=member)
        names.append('top/open/' + kind)
    names += ['top/private/nothing', 'top/private/public/nothing',
              'top/roots/nothing', 'top/sticky/nothing', 'top/inherit/new',
              'top/open/nothing', 'top']
    return [name.replace('/', '\\') for name in names]


def warm(c, names):
    """The owner looks at everything, as the same smbd's client: what it
    remembers of that must not be of use to the other."""
    c.act(OWNER)
    held = []
    for name in names:
        outcome(c.names, name)
        outcome(c.get, name)
        f = outcome(c.create, name, access=0x80)
        if not isinstance(f, str):
            held.append(f)
    return held


def is_no(result):
    return isinstance(result, str) and result not in ('opened', 'done')


def compare(pool, plain, names, attempt, description, may_be_less=False,
            same_errors=True):
    """The same attempts by two clients, name by name. may_be_less: the pool
    may refuse what plain allows. same_errors: what both refuse must have the
    same reason. Returns what plain said."""
    differ = []
    counts = {True: 0, False: 0}
    said = {}
    for name in names:
        ours, theirs = attempt(pool, name), attempt(plain, name)
        said[name] = theirs
        for what in sorted(set(ours) | set(theirs)):
            a, b = ours.get(what), theirs.get(what)
            counts[is_no(a)] += 1
            if a != b and not (may_be_less and (a is None or is_no(a))) and \
                    not (is_no(a) and is_no(b) and not same_errors):
                differ.append('%s: %s: pool %.150r, plain %.150r' % (
                    name, what, a, b))
    ok(not differ, description, *differ)
    ok(min(counts.values()) >= 5,
       'some is refused, and some is not: ' + description, counts)
    return said


def compare_users(twins, names, attempt, description, may_be_less=False,
                  shares=('pool', 'plain')):
    """The same by OTHER, in smbds that serve OWNER as well."""
    pool, plain = [Users(twins.pool, share) for share in shares]
    with pool, plain:
        answers = set()
        for c in (pool, plain):
            held = warm(c, names)
            c.act(OTHER)
            answers |= {outcome(c.read, f, 10) for f in held[:5]}
            c.act(OWNER)
            for f in held:
                c.close(f)
            c.act(OTHER)
        equal(answers, {'FILE_CLOSED'},
              "another user's handle is of no use: " + description)
        return compare(pool, plain, names, attempt, description, may_be_less)


def same_files(twins, description):
    """What is left on both, with owners and modes."""
    def looked_at(roots):
        found = {}
        for root in roots:
            for top, dirs, files in os.walk(root):
                if top == root:
                    dirs[:] = [d for d in dirs
                               if d not in ('.mrmr', 'lost+found')]
                for name in dirs + files:
                    full = os.path.join(top, name)
                    path = os.path.relpath(full, root)
                    st = os.lstat(full)
                    content = None
                    if stat.S_ISREG(st.st_mode):
                        with open(full, 'rb') as data:
                            content = data.read()
                    elif stat.S_ISLNK(st.st_mode):
                        content = os.readlink(full)
                    xattrs = {n: os.getxattr(full, n, follow_symlinks=False)
                              for n in os.listxattr(full,
                                                    follow_symlinks=False)
                              if n not in ('user.DOSATTRIB',
                                           'security.NTACL')}
                    found[path] = (oct(st.st_mode), st.st_uid, st.st_gid,
                                   content, xattrs)
        return found
    ours = looked_at(twins.pool.members)
    theirs = looked_at([twins.plain_root])
    differ = ['%s: pool %.200r, plain %.200r' % (path, ours.get(path),
                                                theirs.get(path))
              for path in sorted(set(ours) | set(theirs))
              if ours.get(path) != theirs.get(path)]
    ok(not differ, description, *differ)


# --- a drive that is away --------------------------------------------------------

class Away:
    """Twins whose files are all on the first of three drives, and protected;
    the drive can be pulled."""

    def __init__(self, world, vfs):
        drives = [world.loop('64M') for _ in range(3)]
        self.world = world
        self.image = drives[0][1]
        self.twins = Twins(world, vfs, parity=1,
                           members=[path for path, _ in drives])
        self.pool = self.twins.pool
        self.names = tree(self.twins, member=0)
        self.sync()

    def sync(self):
        self.pool.admin('sync', '--scan')

    def pull(self):
        """Before clients connect: for a moment, an smbd that has looked at
        the drive goes on with the file system that it holds, and what a
        client makes there then goes with the drive."""
        run('umount', '-l', self.pool.members[0])
        ok(eventually(60, lambda: 'away' in self.pool.admin(
            'status', '--quick', '--json', check=False)), 'the drive is away')

    def put_back(self):
        self.world.mount_loop(self.image, self.pool.members[0])

    def is_back(self, c):
        c.names('top')
        return 'away' not in self.pool.admin('status', '--quick', '--json',
                                             check=False) and \
            not os.listdir(self.pool.directory + '/state/ghosts')
