"""A small SMB2 client for tests: everything that libsmbclient hides is in the
test's hands. Several requests under way at a time, leases and oplocks that a
test breaks when it likes, announced sizes, locks, server-side copies.

    c = smb2.Client('pool')                 # as the first user
    f = c.create('dir\\\\file', disposition=smb2.OPEN_IF, allocation=1 << 20)
    waiting = [c.write_send(f, data, offset) for ...]
    for w in waiting:
        c.write_recv(w)
    c.close(f)

Where and who comes from the environment, as in smbpy.py. An answer that is not
success is smb2.Error, whose `status` is a number and `name` like
'NT_STATUS_DISK_FULL'. Dialect 2.1: no signing, no encryption.
"""

import os
import select
import socket
import struct
import time
import uuid

from samba import credentials
from samba import gensec
from samba import ntstatus
from samba.samba3 import param

NAMES = {getattr(ntstatus, name): name for name in dir(ntstatus)
         if name.startswith('NT_STATUS_')}

READ = 0x00120089
WRITE = 0x00120116
DELETE = 0x00010000
READ_ATTRIBUTES = 0x80
ALL = 0x001f01ff
MAXIMUM = 0x02000000

SUPERSEDE, OPEN, CREATE, OPEN_IF, OVERWRITE, OVERWRITE_IF = range(6)

SHARE_NONE = 0
SHARE_ALL = 7

DIRECTORY = 0x1
NON_DIRECTORY = 0x40
DELETE_ON_CLOSE = 0x1000
OPEN_REPARSE_POINT = 0x200000

OPLOCK_NONE, OPLOCK_II, OPLOCK_EXCLUSIVE, OPLOCK_BATCH = 0, 1, 8, 9
OPLOCK_LEASE = 0xff
LEASE_R, LEASE_H, LEASE_W = 1, 2, 4

LOCK_SHARED, LOCK_EXCLUSIVE, LOCK_UNLOCK, LOCK_NOWAIT = 1, 2, 4, 16

STATUS_PENDING = 0x103
STATUS_MORE_PROCESSING = 0xc0000016
STATUS_NO_MORE_FILES = 0x80000006
STATUS_BUFFER_OVERFLOW = 0x80000005

HEADER = struct.Struct('<4sHHIHHIIQIIQ16s')


class Error(Exception):
    def __init__(self, status, what=''):
        self.status = status
        self.name = NAMES.get(status, '0x%08x' % status)
        super().__init__('%s: %s' % (what, self.name) if what else self.name)


class File:
    """What an open returned."""

    def __init__(self, name, body):
        self.name = name
        (_, self.oplock, _, self.action, self.created, self.accessed,
         self.written, self.changed, self.allocation, self.size,
         self.attributes, _, self.id, offset, length) = struct.unpack(
             '<HBBIQQQQQQII16sII', body[:88])
        self.contexts = {}
        data = body[offset - 64:offset - 64 + length] if length else b''
        while data:
            (following, name_at, name_len, _, value_at,
             value_len) = struct.unpack('<IHHHHI', data[:16])
            self.contexts[data[name_at:name_at + name_len]] = \
                data[value_at:value_at + value_len]
            data = data[following:] if following else b''

    @property
    def lease(self):
        """The state of the lease that came with it, or None."""
        value = self.contexts.get(b'RqLs')
        return struct.unpack('<I', value[16:20])[0] if value else None


class Client:
    def __init__(self, share, user=None, password=None, port=None,
                 timeout=30, guid=None):
        self.sock = socket.create_connection(
            ('127.0.0.1', int(port or os.environ['MRMR_PORT'])))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.next_id = 0
        self.session = 0
        self.tree = 0
        self.buffer = bytearray()
        self.answers = {}
        self.breaks = []    # (lease key or file id, new state)
        self.guid = guid or uuid.uuid4().bytes
        self.negotiate()
        self.log_in(user or os.environ['MRMR_USER'],
                    password or os.environ['MRMR_PASSWORD'])
        self.connect_tree(share)

    # --- requests and answers ------------------------------------------------

    def send(self, command, body, charge=1, credits=64):
        number = self.next_id
        self.next_id += charge
        header = HEADER.pack(b'\xfeSMB', 64, charge, 0, command, credits, 0, 0,
                             number, 0xfeff, self.tree, self.session,
                             bytes(16))
        packet = header + body
        self.sock.sendall(struct.pack('>I', len(packet)) + packet)
        return number

    def fill(self, count, seconds):
        """Until so many bytes are in the buffer; what came stays in it."""
        while len(self.buffer) < count:
            if not select.select([self.sock], [], [], seconds)[0]:
                raise TimeoutError('no answer')
            part = self.sock.recv(1 << 20)
            if not part:
                raise ConnectionError('the server closed the connection')
            self.buffer += part

    def receive(self, seconds):
        self.fill(4, seconds)
        length = struct.unpack('>I', self.buffer[:4])[0]
        self.fill(4 + length, seconds)
        with memoryview(self.buffer) as got:
            packet = bytes(got[4:4 + length])
        del self.buffer[:4 + length]
        (_, _, _, status, command, _, flags, following, number, _, tree,
         session, _) = HEADER.unpack(packet[:64])
        assert following == 0
        body = packet[64:]
        if number == 0xffffffffffffffff:
            self.take_break(body)
        elif status != STATUS_PENDING:
            self.answers[number] = (status, body, tree, session)

    def take_break(self, body):
        size = struct.unpack('<H', body[:2])[0]
        if size == 44:
            _, _, flags, key, _, state = struct.unpack('<HHI16sII', body[:32])
            self.breaks.append((key, state))
            if flags & 1:
                self.send(18, struct.pack('<HHI16sIQ', 36, 0, 0, key, state,
                                          0))
        else:
            _, level, _, _, fid = struct.unpack('<HBBI16s', body[:24])
            self.breaks.append((fid, level))
            self.send(18, struct.pack('<HBBI16s', 24, level, 0, 0, fid))

    def wait(self, number, ok=(0,), what='', timeout=None):
        """A machine that stands still meanwhile takes none of the time."""
        left = timeout or self.timeout
        while number not in self.answers:
            begin = time.monotonic()
            try:
                self.receive(min(max(left, 0), 1))
            except TimeoutError:
                if left <= 1:
                    raise
            left -= min(time.monotonic() - begin, 1)
        status, body, tree, session = self.answers.pop(number)
        self.last = (tree, session)
        if status not in ok:
            raise Error(status, what)
        self.status = status
        return body

    def poll(self, seconds=0):
        """Take what has come: breaks, answers."""
        deadline = time.monotonic() + max(seconds, 0.01)
        try:
            while True:
                self.receive(max(deadline - time.monotonic(), 0))
        except TimeoutError:
            pass

    def has_answer(self, number):
        self.poll()
        return number in self.answers

    # --- beginning and end ---------------------------------------------------

    def negotiate(self):
        body = struct.pack('<HHHHI16sQH', 36, 1, 1, 0, 4, self.guid, 0,
                           0x0210)
        answer = self.wait(self.send(0, body), what='negotiate')
        self.max_read, self.max_write = struct.unpack('<II', answer[32:40])

    def log_in(self, user, password):
        lp = param.get_context()
        lp.load(os.environ['MRMR_SMB_CONF'])
        creds = credentials.Credentials()
        creds.guess(lp)
        creds.set_username(user)
        creds.set_password(password)
        creds.set_kerberos_state(credentials.DONT_USE_KERBEROS)
        auth = gensec.Security.start_client(
            {'lp_ctx': lp, 'target_hostname': '127.0.0.1'})
        auth.set_credentials(creds)
        auth.start_mech_by_name('ntlmssp')
        token = b''
        while True:
            _, token = auth.update(token)
            body = struct.pack('<HBBIIHHQ', 25, 0, 1, 0, 0, 88, len(token),
                               0) + token
            answer = self.wait(self.send(1, body, credits=512),
                               ok=(0, STATUS_MORE_PROCESSING), what='log in')
            self.session = self.last[1]
            if self.status == 0:
                return
            at, length = struct.unpack('<HH', answer[4:8])
            token = answer[at - 64:at - 64 + length]

    def connect_tree(self, share):
        path = ('\\\\127.0.0.1\\' + share).encode('utf-16-le')
        body = struct.pack('<HHHH', 9, 0, 72, len(path)) + path
        self.wait(self.send(3, body), what='connect to ' + share)
        self.tree = self.last[0]

    def disconnect(self):
        """As a client that crashes does."""
        self.sock.close()

    def log_off(self):
        self.wait(self.send(4, struct.pack('<HH', 4, 0)))
        self.wait(self.send(2, struct.pack('<HH', 4, 0)))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    # --- files ---------------------------------------------------------------

    def create_send(self, name, access=ALL, disposition=OPEN, options=0,
                    share=SHARE_ALL, attributes=0, allocation=None,
                    oplock=OPLOCK_NONE, lease=None, lease_key=None,
                    durable=False, reconnect=None, eas=None,
                    snapshot=None):
        contexts = []
        if allocation is not None:
            contexts.append((b'AlSi', struct.pack('<Q', allocation)))
        if lease is not None:
            oplock = OPLOCK_LEASE
            contexts.append((b'RqLs', struct.pack('<16sIIQ', lease_key, lease,
                                                  0, 0)))
        if durable:
            contexts.append((b'DHnQ', bytes(16)))
        if reconnect is not None:
            contexts.append((b'DHnC', reconnect.id))
        if eas:
            contexts.append((b'ExtA', eas))
        if snapshot is not None:
            contexts.append((b'TWrp', struct.pack('<Q', snapshot)))
        encoded = name.encode('utf-16-le') if isinstance(name, str) else name
        buffer = encoded + bytes(-len(encoded) % 8)
        contexts_at = 64 + 56 + len(buffer) if contexts else 0
        packed = b''
        for i, (tag, value) in enumerate(contexts):
            one = struct.pack('<HHHHI', 16, 4, 0, 24, len(value))
            one += tag + bytes(4) + value
            if i < len(contexts) - 1:
                one += bytes(-(len(one) + 4) % 8)
                packed += struct.pack('<I', len(one) + 4) + one
            else:
                packed += struct.pack('<I', 0) + one
        body = struct.pack('<HBBIQQIIIIIHHII', 57, 0, oplock, 2, 0, 0, access,
                           attributes, share, disposition, options, 120,
                           len(encoded), contexts_at, len(packed))
        return self.send(5, body + (buffer + packed or b'\0'))

    def create(self, name, **arguments):
        timeout = arguments.pop('timeout', None)
        body = self.wait(self.create_send(name, **arguments),
                         what='open %r' % name, timeout=timeout)
        return File(name, body)

    def close(self, f):
        return self.wait(self.close_send(f), what='close %r' % f.name)

    def close_send(self, f):
        return self.send(6, struct.pack('<HHI16s', 24, 0, 0, f.id))

    def flush(self, f):
        self.wait(self.send(7, struct.pack('<HHI16s', 24, 0, 0, f.id)),
                  what='flush %r' % f.name)

    def write_send(self, f, data, offset):
        body = struct.pack('<HHIQ16sIIHHI', 49, 112, len(data), offset, f.id,
                           0, 0, 0, 0, 0) + (bytes(data) or b'\0')
        return self.send(9, body, charge=max(1, (len(data) + 65535) // 65536))

    def write_recv(self, number, f=None, timeout=None):
        body = self.wait(number, what='write %r' % f.name if f else 'write',
                         timeout=timeout)
        return struct.unpack('<I', body[4:8])[0]

    def write(self, f, data, offset=0):
        done = 0
        while done < len(data):
            piece = data[done:done + (1 << 20)]
            got = self.write_recv(self.write_send(f, piece, offset + done), f)
            if got == 0:
                raise Error(ntstatus.NT_STATUS_DISK_FULL, 'write 0')
            done += got
        return done

    def read_send(self, f, length, offset):
        body = struct.pack('<HBBIQ16sIIIHHB', 49, 0x50, 0, length, offset,
                           f.id, 0, 0, 0, 0, 0, 0)
        return self.send(8, body, charge=max(1, (length + 65535) // 65536))

    def read_recv(self, number):
        body = self.wait(number, what='read')
        at, length = body[2], struct.unpack('<I', body[4:8])[0]
        return body[at - 64:at - 64 + length]

    def read(self, f, length=None, offset=0):
        data = bytearray()
        while length is None or len(data) < length:
            want = 1 << 20
            if length is not None:
                want = min(want, length - len(data))
            try:
                part = self.read_recv(self.read_send(f, want,
                                                     offset + len(data)))
            except Error as error:
                if error.name == 'NT_STATUS_END_OF_FILE':
                    break
                raise
            data += part
            if not part:
                break
        return bytes(data)

    def lock_send(self, f, offset, length, flags=LOCK_EXCLUSIVE | LOCK_NOWAIT):
        body = struct.pack('<HHI16sQQII', 48, 1, 0, f.id, offset, length,
                           flags, 0)
        return self.send(10, body)

    def lock(self, f, offset, length, flags=LOCK_EXCLUSIVE | LOCK_NOWAIT):
        self.wait(self.lock_send(f, offset, length, flags), what='lock')

    def ioctl(self, f, code, data=b'', max_out=4096,
              ok=(0, STATUS_BUFFER_OVERFLOW)):
        body = struct.pack('<HHI16sIIIIIIII', 57, 0, code, f.id,
                           120 if data else 0, len(data), 0, 0, 0, max_out, 1,
                           0)
        answer = self.wait(self.send(11, body + (data or b'\0')), ok=ok,
                           what='ioctl 0x%x' % code)
        at, length = struct.unpack('<II', answer[32:40])
        return answer[at - 64:at - 64 + length] if length else b''

    def copy_chunks(self, source, target, chunks):
        """Server-side: [(source offset, target offset, length)]."""
        key = self.ioctl(source, 0x00140078, max_out=32)[:24]
        data = key + struct.pack('<II', len(chunks), 0)
        for source_at, target_at, length in chunks:
            data += struct.pack('<QQII', source_at, target_at, length, 0)
        answer = self.ioctl(target, 0x001480f2, data, max_out=12)
        return struct.unpack('<III', answer)

    # --- attributes ----------------------------------------------------------

    def query(self, f, info_type, info_class, length=65536, additional=0,
              data=b''):
        body = struct.pack('<HBBIHHIII16s', 41, info_type, info_class, length,
                           104 if data else 0, 0, len(data), additional, 0,
                           f.id)
        answer = self.wait(self.send(16, body + data),
                           what='query %d/%d' % (info_type, info_class))
        at, size = struct.unpack('<HI', answer[2:8])
        return answer[at - 64:at - 64 + size]

    def set(self, f, info_type, info_class, data, additional=0):
        self.wait(self.set_send(f, info_type, info_class, data, additional),
                  what='set %d/%d' % (info_type, info_class))

    def set_send(self, f, info_type, info_class, data, additional=0):
        body = struct.pack('<HBBIHHI16s', 33, info_type, info_class,
                           len(data), 96, 0, additional, f.id)
        return self.send(17, body + data)

    def set_end_of_file(self, f, size):
        self.set(f, 1, 20, struct.pack('<Q', size))

    def set_allocation(self, f, size):
        self.set(f, 1, 19, struct.pack('<Q', size))

    def set_delete(self, f, delete=True):
        self.set(f, 1, 13, struct.pack('<B', delete))

    def rename_to(self, f, name, replace=False):
        encoded = name.encode('utf-16-le')
        self.set(f, 1, 10, struct.pack('<B7xQI', replace, 0, len(encoded))
                 + encoded)

    def link_to(self, f, name, replace=False):
        encoded = name.encode('utf-16-le')
        self.set(f, 1, 11, struct.pack('<B7xQI', replace, 0, len(encoded))
                 + encoded)

    def set_times(self, f, created=0, accessed=0, written=0, changed=0,
                  attributes=0):
        self.set(f, 1, 4, struct.pack('<QQQQII', created, accessed, written,
                                      changed, attributes, 0))

    def basic(self, f):
        """created, accessed, written, changed, attributes"""
        return struct.unpack('<QQQQI', self.query(f, 1, 4)[:36])

    def standard(self, f):
        """allocation, size, links, delete pending, is directory"""
        return struct.unpack('<QQIBB', self.query(f, 1, 5)[:22])

    def file_number(self, f):
        return struct.unpack('<Q', self.query(f, 1, 6)[:8])[0]

    def eas(self, f):
        """{name: value}"""
        try:
            data = self.query(f, 1, 15)
        except Error as error:
            if error.name in ('NT_STATUS_NO_EAS_ON_FILE',
                              'NT_STATUS_NO_MORE_EAS'):
                return {}
            raise
        found = {}
        while data:
            following, _, name_len, value_len = struct.unpack('<IBBH',
                                                              data[:8])
            name = data[8:8 + name_len]
            if name:
                at = 8 + name_len + 1
                found[name.decode()] = data[at:at + value_len]
            data = data[following:] if following else b''
        return found

    def set_ea(self, f, name, value):
        name = name.encode()
        self.set(f, 1, 15, struct.pack('<IBBH', 0, 0, len(name), len(value))
                 + name + b'\0' + value)

    def streams(self, f):
        """{name: size}"""
        data = self.query(f, 1, 22)
        found = {}
        while data:
            following, name_len, size, _ = struct.unpack('<IIQQ', data[:24])
            name = data[24:24 + name_len].decode('utf-16-le')
            found[name] = size
            data = data[following:] if following else b''
        return found

    def short_name(self, f):
        data = self.query(f, 1, 21)
        length = struct.unpack('<I', data[:4])[0]
        return data[4:4 + length].decode('utf-16-le')

    def space(self):
        """total, free for the caller, free (all in bytes)"""
        root = self.create('', access=READ_ATTRIBUTES, options=DIRECTORY)
        total, caller, free, sectors, size = struct.unpack(
            '<QQQII', self.query(root, 2, 7))
        self.close(root)
        return tuple(n * sectors * size for n in (total, caller, free))

    def security(self, f, what=7):
        return self.query(f, 3, 0, additional=what)

    def set_security(self, f, data, what=4):
        self.set(f, 3, 0, data, additional=what)

    # --- by name -------------------------------------------------------------

    def entries(self, name='', pattern='*'):
        """[(name, size, attributes, file number)] without . and .."""
        return [entry[:4] for entry in self.listing(name, pattern)]

    def listing(self, name='', pattern='*'):
        """[(name, size, attributes, file number, size of its EAs)]"""
        d = self.create(name, access=READ, options=DIRECTORY)
        found = []
        pattern = pattern.encode('utf-16-le')
        first = True
        while True:
            body = struct.pack('<HBBI16sHHI', 33, 37, 0 if first else 0, 0,
                               d.id, 96, len(pattern), 65536) + pattern
            try:
                answer = self.wait(self.send(14, body), what='list %r' % name)
            except Error as error:
                if error.status == STATUS_NO_MORE_FILES or \
                        error.name == 'NT_STATUS_NO_SUCH_FILE':
                    break
                self.close(d)
                raise
            first = False
            at, length = struct.unpack('<HI', answer[2:8])
            data = answer[at - 64:at - 64 + length]
            while data:
                following = struct.unpack('<I', data[:4])[0]
                size, = struct.unpack('<Q', data[40:48])
                attributes, name_len, eas = struct.unpack('<III', data[56:68])
                number, = struct.unpack('<Q', data[96:104])
                entry = data[104:104 + name_len].decode('utf-16-le',
                                                        'surrogatepass')
                if entry not in ('.', '..'):
                    found.append((entry, size, attributes, number, eas))
                data = data[following:] if following else b''
        self.close(d)
        return found

    def names(self, name='', pattern='*'):
        return sorted(entry[0] for entry in self.entries(name, pattern))

    def put(self, name, data, **arguments):
        arguments.setdefault('disposition', OVERWRITE_IF)
        f = self.create(name, **arguments)
        try:
            self.write(f, data)
        finally:
            self.close(f)

    def get(self, name):
        f = self.create(name, access=READ)
        try:
            return self.read(f)
        finally:
            self.close(f)

    def exists(self, name):
        try:
            self.close(self.create(name, access=READ_ATTRIBUTES))
            return True
        except Error as error:
            if error.name in ('NT_STATUS_OBJECT_NAME_NOT_FOUND',
                              'NT_STATUS_OBJECT_PATH_NOT_FOUND',
                              'NT_STATUS_NO_SUCH_FILE'):
                return False
            raise

    def mkdir(self, name):
        self.close(self.create(name, disposition=CREATE, options=DIRECTORY))

    def unlink(self, name):
        f = self.create(name, access=DELETE, options=NON_DIRECTORY)
        self.set_delete(f)
        self.close(f)

    def rmdir(self, name):
        f = self.create(name, access=DELETE, options=DIRECTORY)
        try:
            self.set_delete(f)
        finally:
            self.close(f)

    def rename(self, old, new, replace=False):
        f = self.create(old, access=DELETE | READ_ATTRIBUTES)
        try:
            self.rename_to(f, new, replace)
        finally:
            self.close(f)

    def number_of(self, name):
        f = self.create(name, access=READ_ATTRIBUTES)
        try:
            return self.file_number(f)
        finally:
            self.close(f)
