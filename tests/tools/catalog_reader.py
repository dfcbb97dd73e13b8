#!/usr/bin/python3
"""Reads a catalogue, or the part of a member, and prints what is in it.

    catalog_reader.py FOLDER [NAME]      NAME is 0.tdb, or mrmr.db of a part

It shares no code with MRMR and follows docs/catalogue.md: what it prints is
compared with what MRMR reads, so that the page and the code say the same. It
needs the C libraries that MRMR needs as well (libtdb, libxxhash), and only
reads.
"""

import ctypes
import os
import struct
import sys

tdb = ctypes.CDLL('libtdb.so.1', use_errno=True)
xxh = ctypes.CDLL('libxxhash.so.0')
libc = ctypes.CDLL(None)


class TdbData(ctypes.Structure):
    _fields_ = [('dptr', ctypes.c_void_p), ('dsize', ctypes.c_size_t)]

    def take(self):
        if not self.dptr:
            return None
        data = ctypes.string_at(self.dptr, self.dsize)
        libc.free(ctypes.c_void_p(self.dptr))
        return data


tdb.tdb_open.restype = ctypes.c_void_p
tdb.tdb_open.argtypes = [ctypes.c_char_p] + [ctypes.c_int] * 4
tdb.tdb_firstkey.restype = TdbData
tdb.tdb_firstkey.argtypes = [ctypes.c_void_p]
tdb.tdb_nextkey.restype = TdbData
tdb.tdb_nextkey.argtypes = [ctypes.c_void_p, TdbData]
tdb.tdb_fetch.restype = TdbData
tdb.tdb_fetch.argtypes = [ctypes.c_void_p, TdbData]
tdb.tdb_close.argtypes = [ctypes.c_void_p]
xxh.XXH3_64bits.restype = ctypes.c_uint64
xxh.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
xxh.XXH3_64bits_withSeed.restype = ctypes.c_uint64
xxh.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t,
                                     ctypes.c_uint64]


def xxh3(data, seed=None):
    if seed is None:
        return xxh.XXH3_64bits(data, len(data))
    return xxh.XXH3_64bits_withSeed(data, len(data), seed)


# --- numbers and bytes in records ---------------------------------------------

class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def bytes(self, n):
        assert n <= self.left(), 'a record is too short'
        self.at += n
        return self.data[self.at - n:self.at]

    def fixed(self, n):
        return int.from_bytes(self.bytes(n), 'little')

    def varint(self):
        n = shift = 0
        while True:
            byte = self.fixed(1)
            n |= (byte & 0x7f) << shift
            if byte < 0x80:
                return n & (1 << 64) - 1
            shift += 7

    def signed(self):
        n = self.varint()
        return n >> 1 ^ -(n & 1)


def varint(n):
    out = b''
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def key(kind, *numbers):
    return kind.encode() + b''.join(varint(n) for n in numbers)


# --- the store ------------------------------------------------------------------

def read_file(path):
    """All records of one tdb file, with their checksums looked at."""
    records = {}
    # TDB_SEQNUM | TDB_INCOMPATIBLE_HASH | TDB_NOLOCK
    handle = tdb.tdb_open(path.encode(), 0, 128 | 2048 | 4, os.O_RDONLY, 0)
    assert handle, '%s: not a tdb file' % path
    at = tdb.tdb_firstkey(handle)
    while at.dptr:
        name = ctypes.string_at(at.dptr, at.dsize)
        value = tdb.tdb_fetch(handle, at).take()
        following = tdb.tdb_nextkey(handle, at)
        libc.free(ctypes.c_void_p(at.dptr))
        at = following
        body, stored = value[:-4], int.from_bytes(value[-4:], 'little')
        assert xxh3(body, xxh3(name)) & 0xffffffff == stored, 'checksum'
        records[name] = body
    tdb.tdb_close(handle)
    return records


def read_store(folder, name):
    records = read_file(os.path.join(folder, name))
    own = Reader(records.pop(b'\0'))
    instance = own.fixed(8)
    live = [own.varint() for _ in range(own.varint())]
    files = [records]
    for i in range(1, len(live)):
        files.append(read_file(os.path.join(
            folder, '%s.%d.%016x' % (name, i, instance))))
    journal = os.path.join(folder, '%s.%016x.journal' % (name, instance))
    assert not os.path.exists(journal), 'a commit is not finished'
    everything = {}
    for i, part in enumerate(files):
        assert live[i] == sum(len(k) + len(v) + 32 for k, v in part.items())
        assert not everything.keys() & part.keys()
        everything.update(part)
    return everything


# --- the catalogue ---------------------------------------------------------------

class Catalogue:
    def __init__(self, folder, name):
        self.records = read_store(folder, name)
        self.is_part = name != '0.tdb'
        r = Reader(self.records[b'h'])
        assert r.bytes(7) == b'mrmrcat' and r.varint() == 1
        assert r.fixed(1) == self.is_part
        self.pool, self.self_id = r.bytes(16), r.bytes(16)
        self.seed = r.fixed(8)
        self.sequence = r.varint()
        self.next_id, self.next_stripe = r.varint(), r.varint()
        self.next_class, self.num_members = r.varint(), r.varint()
        self.num_blobs, self.num_blob_buckets = r.varint(), r.varint()
        self.log_first, self.log_items = r.varint(), r.varint()
        self.member = r.varint()
        assert r.left() == 0

    def of_kind(self, kind):
        return {k: v for k, v in self.records.items() if k[:1] == kind}

    # directories

    def bucket_of(self, h, num):
        power = 1 << num.bit_length() - 1
        bucket = h & 2 * power - 1
        return bucket if bucket < num else h & power - 1

    def entries(self, dir_id):
        first = self.records.get(key('d', dir_id, 0))
        if first is None:
            return
        r = Reader(first)
        num_entries, num_buckets = r.varint(), r.varint()
        count = 0
        for number in range(num_buckets):
            if number > 0:
                r = Reader(self.records[key('d', dir_id, number)])
                assert r.varint() == 0
            while r.left() > 0:
                entry = self.entry(r.bytes(r.varint()))
                h = xxh3(entry['name'], self.seed ^ dir_id) & 0xffffffff
                assert self.bucket_of(h, num_buckets) == number
                entry['hash'] = h
                count += 1
                yield entry
        assert count == num_entries

    def entry(self, raw):
        r = Reader(raw)
        flags = r.fixed(2)
        e = {'id': r.varint(), 'name': r.bytes(r.varint()),
             'kind': flags & 7}
        if e['kind'] == 0:
            assert r.left() == 0
            return e
        e['has_links'] = bool(flags & 8)
        e['member'] = r.varint() if flags & 0x10 else 0xffff
        e['inode'] = r.varint() if flags & 0x20 else 0
        e['size'] = r.varint()
        e['mtime'] = struct.unpack('<q', r.bytes(8))[0]
        e['mode'], e['uid'], e['gid'] = r.varint(), r.varint(), r.varint()
        e['device'] = r.varint() if flags & 0x40 else 0
        e['grid'] = r.varint() if flags & 0x80 else 0
        e['generation'] = r.varint() if flags & 0x100 else 0
        e['sequence'] = r.varint() if flags & 0x8000 else 0
        where = flags >> 9 & 3
        e['xattrs'] = b''
        if where == 1:
            e['xattrs'] = r.bytes(r.varint())
        elif where == 2:
            shared = Reader(self.records[b'x' + r.bytes(16)])
            assert shared.varint() > 0
            e['xattrs'] = shared.bytes(shared.left())
        elif where == 3:
            e['xattrs'] = self.records[key('y', e['id'])]
        e['target'] = r.bytes(r.varint()) if flags & 0x800 else b''
        if flags & 0x1000:
            e['target'] = self.records[key('t', e['id'])]
        e['extents'] = []
        if flags & 0x2000:
            e['extents'] = [self.extent(r, no_extent(), e['size'])]
        elif flags & 0x4000:
            num, protected = r.varint(), r.varint()
            e['extents'] = self.chunks(e['id'], num, e['grid'])
            assert protected == sum(x['len'] for x in e['extents']
                                    if x['state'] in (1, 2))
        assert r.left() == 0
        return e

    def chunks(self, node, num, grid):
        extents = []
        for chunk in range((num + 63) // 64):
            r = Reader(self.records[key('e', node, chunk)])
            before = no_extent()
            for _ in range(min(64, num - 64 * chunk)):
                x = self.extent(r, before, grid)
                extents.append(x)
                before = dict(x, stripe=x['stripe'] if x['state'] == 2
                              else before['stripe'])
            assert r.left() == 0
        return extents

    def extent(self, r, before, full):
        flags = r.fixed(1)
        x = no_extent()
        x['state'] = flags & 3
        x['sequence'] = before['sequence'] if flags & 0x40 else r.varint()
        x['len'] = full & 0xffffffff if flags & 4 else r.varint()
        if flags & 0x10:
            x['sha256'], x['sum'] = before['sha256'], before['sum']
        elif not flags & 8:
            x['sha256'], x['sum'] = r.bytes(32), r.fixed(8)
        if x['state'] == 2:
            x['stripe'] = before['stripe'] + r.signed()
            x['slot'] = r.fixed(1)
            x['offset'] = 0 if flags & 0x20 else r.varint()
        return x

    # ids, links

    def place(self, node):
        r = Reader(self.records[key('i', node // 64)])
        mask = r.fixed(8)
        dir_id = 0
        for i in range(64):
            if mask >> i & 1:
                dir_id += r.signed()
                h = r.fixed(4)
                if i == node % 64:
                    return dir_id, h
        raise AssertionError('no such id')

    def links(self, node):
        r = Reader(self.records[key('l', node)])
        names = []
        while r.left() > 0:
            names.append((r.varint(), r.bytes(r.varint())))
        return names

    def id_of_inode(self, member, inode):
        r = Reader(self.records[key('o', member, inode // 64)])
        node = 0
        while r.left() > 0:
            low = r.fixed(1)
            node += r.signed()
            if low == inode % 64:
                return node
        raise AssertionError('no such inode')

    def numbers(self, which):
        """The set of numbers (pages that there are)."""
        found = set()
        for k, v in self.of_kind(b'b').items():
            r = Reader(k[1:])
            if r.varint() != which:
                continue
            base = r.varint() * 4096
            found |= {base + i for i in range(8 * len(v))
                      if v[i // 8] >> i % 8 & 1}
        return found

    def nodes(self):
        """All of them, by id, with all names."""
        nodes = {}
        dirs = [0]
        links = {}
        while dirs:
            dir_id = dirs.pop()
            for e in self.entries(dir_id):
                if e['kind'] == 0:
                    links.setdefault(e['id'], set()).add((dir_id, e['name']))
                    continue
                assert self.place(e['id']) == (dir_id, e['hash'])
                e['names'] = [(dir_id, e['name'])]
                nodes[e['id']] = e
                if e['kind'] == 1:
                    dirs.append(e['id'])
            if dir_id == 0:
                dirs.append(2)      # the trash, which is no node
        pages = set()
        for e in nodes.values():
            pages.add(e['id'] // 64)
            if e['has_links']:
                further = self.links(e['id'])
                assert set(further) == links[e['id']]
                e['names'] += further
            if e['inode']:
                assert self.id_of_inode(e['member'], e['inode']) == e['id']
        assert pages == self.numbers(1)
        return nodes

    # stripes

    def stripes(self):
        found = {}
        pages = set()
        for k, v in self.of_kind(b's').items():
            page = Reader(k[1:]).varint()
            pages.add(page)
            r = Reader(v)
            while r.left() > 0:
                number = page * 8 + r.fixed(1)
                value = r.bytes(r.varint())
                if not value:
                    value = self.records[key('w', number)]
                found[number] = self.stripe(Reader(value))
        assert pages == self.numbers(2)
        return found

    def stripe(self, r):
        flags = r.fixed(1)
        s = {'day': r.fixed(2) if flags & 1 else 0,
             'sequence': r.varint() if flags & 2 else 0}
        s['class'], s['position'] = r.varint(), r.varint()
        s['slots'], s['rows'] = [], []
        node = last = 0
        for _ in range(r.varint()):
            slot = {'slot': r.fixed(1), 'member': r.varint(), 'pieces': []}
            num = r.varint()
            for _ in range(num or 1):
                if num == 0:
                    length, index = last, r.varint()
                else:
                    n = r.varint()
                    length, index = n >> 1, r.varint() if n & 1 else 0
                node += r.signed()
                slot['pieces'].append((node, index, length))
            last = slot['len'] = sum(p[2] for p in slot['pieces'])
            s['slots'].append(slot)
        longest = max([slot['len'] for slot in s['slots']] + [0])
        for _ in range(r.varint()):
            row = {'row': r.fixed(1)}
            n = r.varint()
            row['member'] = n >> 1
            row['len'] = longest if n & 1 else r.varint()
            row['sha256'], row['sum'] = r.bytes(32), r.fixed(8)
            s['rows'].append(row)
        assert r.left() == 0
        return s

    def check_classes(self, stripes):
        numbers = set()
        for k, v in self.of_kind(b'c').items():
            number = Reader(k[1:]).varint()
            numbers.add(number // 1)
            r = Reader(v)
            num = r.varint()
            members = []
            while r.left() > 0:
                members.append(r.varint())
            packed = b''.join(varint(m) for m in members)
            assert Reader(self.records[b'k' + packed]).varint() == number
            for position in range(num):
                chunk = self.records[key('j', number, position // 128)]
                at = position % 128 * 5
                s = stripes[int.from_bytes(chunk[at:at + 5], 'little')]
                assert (s['class'], s['position']) == (number, position)
                assert members == sorted({x['member'] for x in
                                          s['slots'] + s['rows']})
        assert numbers == self.numbers(3)
        assert numbers == {s['class'] for s in stripes.values()}

    def check_blobs(self, stripes):
        expected = []
        for number, s in stripes.items():
            hashes = {row['sha256'] for row in s['rows']}
            expected += [(h[:4], number) for h in hashes]
        found = []
        for bucket in range(self.num_blob_buckets):
            value = self.records.get(key('p', bucket))
            if value is None:
                assert bucket == 0
                continue
            r = Reader(value)
            for _ in range(r.varint()):
                h, number = r.bytes(4), r.varint()
                assert self.bucket_of(int.from_bytes(h, 'little'),
                                      self.num_blob_buckets) == bucket
                found.append((h, number))
        assert sorted(found) == sorted(expected)
        assert len(found) == self.num_blobs

    def check_sums(self, nodes, stripes):
        sums = {}

        def add(member, *numbers):
            for m in {member, 0xffff}:
                total = sums.setdefault(m, [0] * 9)
                for i, n in numbers:
                    total[i] += n

        for e in nodes.values():
            if e['kind'] != 2:
                continue
            if e['names'][0][0] == 2:
                add(e['member'], (3, e['size']))
            else:
                add(e['member'], (0, 1), (1, e['size']),
                    (2, sum(x['len'] for x in e['extents']
                            if x['state'] in (1, 2))))
        for s in stripes.values():
            add(0xffff, (8, 1))
            for slot in s['slots']:
                add(slot['member'], (4, 1), (5, slot['len']))
            for row in s['rows']:
                add(row['member'], (6, 1), (7, row['len']))
        for k, v in self.of_kind(b'z').items():
            r = Reader(v)
            member = Reader(k[1:]).varint()
            assert [r.varint() for _ in range(9)] == sums.pop(member, [0] * 9)
        assert not any(any(total) for total in sums.values())


def no_extent():
    return {'state': 0, 'len': 0, 'sha256': bytes(32), 'sum': 0, 'stripe': 0,
            'slot': 0, 'offset': 0, 'sequence': 0}


# --- printing -----------------------------------------------------------------------

def text(name):
    return name.hex()


def dump(cat):
    for number in range(cat.num_members):
        print('member %d %s' % (number, cat.records[key('m', number)].hex()))
        assert Reader(cat.records[b'u' + cat.records[key('m', number)]]) \
            .varint() == number
    for k, v in sorted(cat.of_kind(b'n').items()):
        print('note %s %s' % (text(k[1:]), v[1:].hex()))
    nodes = cat.nodes()
    for number, e in sorted(nodes.items()):
        print('node %d kind %d member %d inode %d size %d mtime %d mode %o '
              'uid %d gid %d device %d grid %d generation %d xattrs %s '
              'target %s' % (
                  number, e['kind'], e['member'], e['inode'], e['size'],
                  e['mtime'], e['mode'], e['uid'], e['gid'], e['device'],
                  e['grid'], e['generation'], e['xattrs'].hex(),
                  text(e['target'])))
        for dir_id, name in e['names']:
            print(' name %d %s' % (dir_id, text(name)))
        for x in e['extents']:
            print(' extent %d len %d sha256 %s sum %016x stripe %d slot %d '
                  'offset %d' % (x['state'], x['len'], x['sha256'].hex(),
                                 x['sum'], x['stripe'], x['slot'],
                                 x['offset']))
    stripes = cat.stripes()
    for number, s in sorted(stripes.items()):
        print('stripe %d day %d' % (number, s['day']))
        for slot in s['slots']:
            print(' slot %d member %d len %d' % (slot['slot'], slot['member'],
                                                 slot['len']))
            for piece in slot['pieces']:
                print('  piece %d %d %d' % piece)
        for row in s['rows']:
            print(' row %d member %d len %d sha256 %s sum %016x' % (
                row['row'], row['member'], row['len'], row['sha256'].hex(),
                row['sum']))
    cat.check_classes(stripes)
    cat.check_blobs(stripes)
    cat.check_sums(nodes, stripes)


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 64
    dump(Catalogue(sys.argv[1], sys.argv[2] if len(sys.argv) > 2
                   else '0.tdb'))
    return 0


if __name__ == '__main__':
    sys.exit(main())
