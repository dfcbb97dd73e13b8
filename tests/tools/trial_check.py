"""What must be true whenever a trial is quiet (design: the invariants)."""

import json
import os
import subprocess
import sys
import time

import smb2
import testpool
import trial_clients
from sharetest import eventually
from trial_run import Finding

READER = os.path.join(testpool.TOP, 'tests', 'tools', 'catalog_reader.py')
MORE_MEMORY = 48 << 20       # than when it was new: that is a leak
DESCRIPTORS_PER_MEMBER = 80  # 64 directories that were used last, and some
DESCRIPTORS = 150            # of smbd itself, and of directories of the spine


def check(trial):
    """Nothing is going wrong any more; then everything must be right."""
    if trial.faults:
        trial.faults.disarm()
    trial.drop_dead()
    trial.count('check')
    check_content(trial)
    if trial.away:
        trial.disturbed = False
        return
    protect_all(trial)
    trial.disturbed = False
    check_content(trial)
    check_members(trial)
    check_redundancy(trial)
    check_leftovers(trial)
    check_descriptors(trial)
    check_memory(trial)


def protect_all(trial):
    """What failed while a fault was armed is tried again by the next. Of a name
    that a killed smbd has just changed, a scan must tell (limits.md)."""
    options = ['--scan'] if trial.untold else []
    trial.untold = False
    for attempt in range(4):
        status, output = trial.admin('sync', *options, allowed=(0, 1))
        if status == 0:
            break
        time.sleep(0.5)
    else:
        raise Finding('sync leaves something: %s' % output[-400:])
    for f in trial.model.files.values():
        f.report_protected()


# --- what clients see -------------------------------------------------------------

def check_content(trial):
    """Names, content and attributes through SMB. What a fault point fails is
    looked at again, without any."""
    if trial.faults and trial.faults.armed:
        try:
            compare_content(trial)
            return
        except (Finding, smb2.Error, OSError) as error:
            trial.say('looking again: %s' % error)
            trial.faults.disarm()
            trial.drop_dead()
    compare_content(trial)


def compare_content(trial):
    try:
        listed = trial_clients.tree(trial.client())
    except (smb2.Error, OSError) as error:
        raise Finding('it cannot be listed: %s' % error) from error
    may_lack = {path for path in trial.unsure
                if not trial.model.files[path].is_protected}
    more = set(listed) - trial.model.names()
    if more:
        raise Finding('listed, and should not be: %s' % sorted(more))
    less = trial.model.names() - set(listed) - may_lack
    if less:
        raise Finding('not listed: %s' % sorted(less))
    for path in sorted(trial.model.names()):
        if bool(listed.get(path, 0) & 0x10) != (path in trial.model.dirs):
            raise Finding('%s is listed as %s' % (
                path, 'a file' if path in trial.model.dirs
                else 'a directory'))
    for path in sorted(trial.model.files):
        if path in listed or path not in may_lack:
            trial.expect(path)
    for path, attributes in sorted(trial.model.dirs.items()):
        trial.expect_attributes(path, attributes, is_dir=True)


# --- what is on the members -------------------------------------------------------

def check_members(trial):
    """Plain files: each on one member, whole, and nothing else."""
    try:
        union = trial.pool.union()
    except AssertionError as error:
        raise Finding(str(error)) from error
    wanted = trial.model.tree()
    for path in sorted(set(union) | set(wanted)):
        if path not in wanted:
            raise Finding('on a member, and should not be: %s' % path)
        if path not in union:
            raise Finding('on no member: %s' % path)
        if union[path] != wanted[path]:
            raise Finding('on its member, %s has other bytes' % path)


def check_redundancy(trial):
    """As the product says, and as a tool that reads and decodes all says."""
    trial.admin('check')
    done = subprocess.run(
        [os.path.join(trial.pool.build_dir, 'tools', 'protectedfile'),
         trial.pool.config_path, 'verify'], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Finding('verify: %s' % done.stderr.decode(errors='replace')
                      [-600:])
    lose = trial.rng.sample(trial.pool.members, trial.rows)
    _, output = trial.admin('--json', 'what-if', '--lose', ','.join(lose))
    lost = json.loads(output)
    if lost['num_lost'] or lost['num_reverted']:
        raise Finding('what-if %s: %s' % (lose, output[-400:]))
    _, output = trial.admin('--json', 'status', '--quick')
    status = json.loads(output)
    for key in ('pending_files', 'unprotected_bytes', 'no_room_files',
                'unreadable_files', 'short_stripes', 'degraded_bytes',
                'at_risk_bytes', 'lost_bytes'):
        if status[key]:
            raise Finding('all is protected, and status has %s %s' %
                          (key, status[key]))


def read_catalogue(trial):
    """What a reader that shares no code with MRMR says; a protector may be in
    the middle of a commit."""
    folder = os.path.join(trial.pool.directory, 'state', 'catalogue')
    for _ in range(5):
        done = subprocess.run([sys.executable, READER, folder],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode == 0:
            return done.stdout
        time.sleep(1)
    raise Finding('catalog_reader.py: %s' % done.stderr[-600:])


def files_below(top):
    return [os.path.join(at, name) for at, _, names in os.walk(top)
            for name in names]


def preimages_left(trial, member):
    """What was overwritten and then deleted is in both."""
    def left():
        kept = {'%x' % os.stat(path).st_ino for path in
                files_below(os.path.join(member, '.mrmr', 'trash'))}
        return [path for path in
                files_below(os.path.join(member, '.mrmr', 'undo'))
                if os.path.basename(os.path.dirname(path)) not in kept]
    if not eventually(30, lambda: not left()):
        raise Finding('left over: %s' % left()[:5])


def check_leftovers(trial):
    """Only what is named is in .mrmr. A protector that was started meanwhile may
    be in the middle of something."""
    trial.admin('scan')
    found = ['']

    def is_tidy():
        found[0] = leftovers(trial)
        return not found[0]
    if not eventually(30, is_tidy):
        raise Finding(found[0] or 'the leftovers cannot be looked at')
    for member in trial.pool.members:
        preimages_left(trial, member)


def leftovers(trial):
    """A sentence, or nothing."""
    ids, rows = {}, set()
    for line in read_catalogue(trial).splitlines():
        words = line.split()
        if words[0] == 'member':
            ids[int(words[1])] = words[2]
        elif words[0] == 'row':
            rows.add((ids[int(words[3])], words[7]))
    there = set()
    for member in trial.pool.members:
        with open(os.path.join(member, '.mrmr', 'config.json')) as text:
            mount_id = json.load(text)['mount_id'].replace('-', '')
        left = files_below(os.path.join(member, '.mrmr', 'rebuild'))
        left += [name for name in os.listdir(os.path.join(member, '.mrmr'))
                 if name not in PRIVATE and not name.startswith('mrmr.db')]
        if left:
            return 'left over: %s' % left[:5]
        for at, _, names in os.walk(os.path.join(member, '.mrmr', 'parity')):
            there |= {(mount_id, name.removesuffix('.blob'))
                      for name in names}
    if there != rows:
        return 'parity blocks that nobody names: %s; that are named and not ' \
            'there: %s' % (sorted(there - rows)[:3], sorted(rows - there)[:3])
    for folder in ('intents', 'staging', 'ghosts'):
        left = files_below(os.path.join(trial.pool.directory, 'state', folder))
        if left:
            return 'left in %s: %s' % (folder, left[:5])
    return ''


PRIVATE = ('config.json', 'parity', 'trash', 'undo', 'rebuild', 'reserve',
           'deduplicated')


# --- leaks ------------------------------------------------------------------------

def open_on_members(trial, pid):
    """Files of members, and folders of pre-images; of directories it keeps some,
    for the next time."""
    folder = '/proc/%d/fd' % pid
    found = []
    for fd in os.listdir(folder):
        path = os.path.join(folder, fd)
        try:
            target = os.readlink(path)
            is_dir = os.path.isdir(path)
        except OSError:
            continue
        found += [target for member in trial.pool.members
                  if (target.startswith(member + '/') and not is_dir and
                      not target.startswith(member + '/.mrmr/')) or
                  target.startswith(member + '/.mrmr/undo/')]
    return found


def smbds(trial):
    """(connection, pid of its smbd)"""
    return [(c, trial.pool.smbd_of(c)) for c in trial.clients if c is not None]


def check_descriptors(trial):
    """No handle is open: no smbd has a file of a member open. What siblings are
    read by, for files of a member that is away, is kept for some seconds."""
    most = DESCRIPTORS + DESCRIPTORS_PER_MEMBER * len(trial.pool.members)
    for c, pid in smbds(trial):
        if not eventually(60, lambda: c.names() is not None and
                          not open_on_members(trial, pid)):
            raise Finding('smbd has %s open, and no client has' %
                          open_on_members(trial, pid)[:3])
        num = len(os.listdir('/proc/%d/fd' % pid))
        if num > most:
            raise Finding('smbd has %d descriptors' % num)


def memory_of(pid):
    """In bytes, of its own."""
    with open('/proc/%d/smaps_rollup' % pid) as lines:
        return sum(int(line.split()[1]) << 10 for line in lines
                   if line.startswith('Private_'))


def check_memory(trial):
    """What is computed is kept for some seconds after it was read. The sanitizers
    keep what was freed."""
    if os.environ.get('MRMR_TEST_QUICKSTART'):
        return
    for c, pid in smbds(trial):
        first = trial.memory.setdefault(pid, memory_of(pid))
        if not eventually(60, lambda: c.names() is not None and
                          memory_of(pid) < first + MORE_MEMORY):
            raise Finding('smbd has %d MiB, had %d when it was new' % (
                memory_of(pid) >> 20, first >> 20))
