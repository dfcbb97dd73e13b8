"""What happens to a pool in a trial, besides clients: killed processes, fault
points, members that leave, return and are lost, bits that turn, programs that
write to a member, and the verbs of mrmr-admin.
"""

import json
import os
import shutil
import signal
import time

from trial_check import check, check_content
from trial_clients import NAMES
from trial_model import join
from trial_run import MEMBERS, ROWS, Finding

LEAVE_SECONDS = 1.6    # until every smbd has noticed


# --- processes --------------------------------------------------------------------

def kill_smbd(trial):
    trial.disturbed = True
    trial.operate(kill_after=trial.rng.choice((0, 0.002, 0.01, 0.05)))


def kill_protector(trial):
    for pid in trial.pool.protectors():
        try:
            os.kill(pid, signal.SIGKILL)
            trial.say('killed the protector')
        except ProcessLookupError:
            pass


def arm(trial, about=()):
    """Something goes wrong soon."""
    choice = trial.faults.choose(trial.rng, about) if trial.faults else None
    if choice is None:
        return
    trial.disturbed = True
    trial.faults.arm(*choice)
    trial.say('armed ' + trial.faults.armed)


def go_wrong(trial):
    """While clients work, the protector protects, or a verb runs."""
    arm(trial)
    for _ in range(trial.rng.randrange(2, 7)):
        trial.operate()
    if trial.rng.random() < 0.3:
        time.sleep(2.3)
    if trial.rng.random() < 0.7:
        trial.admin(trial.rng.choice(('sync', 'sync', 'scan', 'scrub')),
                    allowed=(0, 1))


def run_verb(trial):
    verbs = [('sync',), ('scan',), ('scrub',), ('scrub', '--repair'),
             ('scrub', '--deep'), ('check',), ('status',), ('sync', '--scan'),
             ('trash', 'list'), ('--yes', 'trash', 'purge'),
             ('scan', '--deep'), ('what-if', '--lose', trial.rng.choice(
                 trial.pool.members))]
    kill_after = None
    if trial.rng.random() < 0.3:
        kill_after = trial.rng.uniform(0, 0.15)
    trial.admin(*trial.rng.choice(verbs), allowed=(0, 1, 2),
                kill_after=kill_after)


# --- members ----------------------------------------------------------------------

def paths_on(trial, member):
    return [path for path in trial.model.files
            if member in trial.pool.where(path)]


def marker(trial, member):
    return trial.pool.on(member, '.mrmr/config.json')


def leave(trial):
    """A member is away; what was not protected as it is, is not sure."""
    if len(trial.away) >= ROWS:
        return return_all(trial)
    here = [i for i in range(MEMBERS) if i not in trial.away]
    member = trial.rng.choice(here)
    if trial.untold or trial.rng.random() < 0.6:
        check(trial)
    paths = paths_on(trial, member)
    trial.away[member] = paths
    for path in paths:
        f = trial.model.files[path]
        if not f.is_protected or f.versions != [f.content] or not f.settled:
            trial.unsure.add(path)
    trial.say('member %d leaves, with %d files, %d of them unsure' % (
        member, len(paths), len(trial.unsure)))
    os.rename(marker(trial, member), marker(trial, member) + '.away')
    time.sleep(LEAVE_SECONDS)
    check_content(trial)
    if trial.rng.random() < 0.5:
        arm(trial, ('absent-', 'ghosts-', 'intent-', 'decode-'))
    for _ in range(trial.rng.randrange(0, 12)):
        trial.operate()
    if trial.rng.random() < 0.3:
        trial.admin('sync', allowed=(0, 1))


def return_all(trial):
    if not trial.away:
        return
    if trial.rng.random() < 0.4:
        arm(trial, ('ghost', 'replay-', 'intent-', 'mirror', 'dir'))
    for member in trial.away:
        os.rename(marker(trial, member) + '.away', marker(trial, member))
    trial.say('members %s return' % sorted(trial.away))
    trial.away.clear()
    trial.unsure.clear()
    time.sleep(LEAVE_SECONDS)
    check_content(trial)


def is_member(trial, path):
    with open(trial.pool.config_path) as text:
        return path in [m['mount_point'] for m in json.load(text)['mounts']]


def lose(trial):
    """A member is gone for good, and rebuilt."""
    return_all(trial)
    check(trial)
    member = trial.rng.randrange(MEMBERS)
    gone = trial.pool.members[member]
    trial.say('member %d is lost: %s' % (member, gone))
    for entry in os.scandir(gone):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    time.sleep(LEAVE_SECONDS)
    check_content(trial)
    new = trial.world.tmpfs('96m')
    for attempt in range(6):
        kill_after = None
        if attempt < 3 and trial.rng.random() < 0.5:
            kill_after = trial.rng.uniform(0.01, 0.3)
        elif attempt < 3:
            arm(trial, ('rebuild-', 'decode-', 'blob-', 'catalog-'))
        elif trial.faults:
            trial.faults.disarm()
        _, output = trial.admin('--yes', 'rebuild', gone, '--onto', new,
                                     allowed=(0, 1), kill_after=kill_after)
        # killed after its end, it has said nothing
        if not is_member(trial, gone):
            break
    else:
        raise Finding('rebuild does not come to its end: %s' % output[-300:])
    trial.pool.members[member] = new
    os.system('umount -l ' + gone)
    time.sleep(LEAVE_SECONDS)
    check(trial)


def recover(trial):
    """The state directory is lost."""
    return_all(trial)
    check(trial)
    trial.drop_all()
    trial.pool.down()
    state = os.path.join(trial.pool.directory, 'state')
    for name in os.listdir(state):
        path = os.path.join(state, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    trial.say('the state directory is lost')
    for attempt in range(4):
        kill_after = None
        if attempt < 2 and trial.rng.random() < 0.4:
            kill_after = trial.rng.uniform(0.01, 0.3)
        elif attempt < 2:
            arm(trial, ('recover-', 'catalog-', 'guard-'))
        elif trial.faults:
            trial.faults.disarm()
        status, output = trial.admin('--yes', 'recover', allowed=(0, 1),
                                     kill_after=kill_after)
        if status in (0, 1):
            break
    else:
        raise Finding('recover does not come to its end: %s' % output[-300:])
    trial.start()
    check(trial)


# --- bits -------------------------------------------------------------------------

def flip(trial, path):
    """The times stay."""
    st = os.stat(path)
    at = trial.rng.randrange(st.st_size)
    with open(path, 'r+b') as data:
        data.seek(at)
        byte = data.read(1)[0]
        data.seek(at)
        data.write(bytes([byte ^ (1 << trial.rng.randrange(8))]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    trial.say('turned a bit of byte %d of %s' % (at, path))


def found_below(top):
    return [path for path in
            (os.path.join(folder, name) for folder, _, names in os.walk(top)
             for name in names) if os.path.getsize(path)]


def flip_and_repair(trial):
    """Of files and parity, on one or two members; scrub mends all of it."""
    return_all(trial)
    check(trial)
    for member in trial.rng.sample(range(MEMBERS), trial.rng.choice((1, ROWS))):
        kinds = [sorted(trial.pool.on(member, path)
                        for path in paths_on(trial, member)
                        if trial.model.files[path].content.strip(b'\0')),
                 sorted(found_below(trial.pool.on(member, '.mrmr/parity')))]
        some = trial.rng.choice([kind for kind in kinds if kind] or [[]])
        for path in trial.rng.sample(some, min(len(some), 2)):
            flip(trial, path)
    if trial.rng.random() < 0.5:
        arm(trial, ('repair-', 'scrub-', 'decode-', 'live-'))
        trial.admin('scrub', '--repair', allowed=(0, 1))
        if trial.faults:
            trial.faults.disarm()
    trial.admin('scrub', '--repair', allowed=(0, 1) if trial.disturbed
                else (0,))
    check_content(trial)


def flip_what_was_kept(trial):
    """Pre-images or trash of one member; with another one away, all that was
    protected is there."""
    return_all(trial)
    if trial.untold:
        check(trial)
    member = trial.rng.randrange(MEMBERS)
    found = sorted(found_below(trial.pool.on(member, '.mrmr/undo')) +
                   found_below(trial.pool.on(member, '.mrmr/trash')))
    if not found:
        return
    flip(trial, trial.rng.choice(found))
    other = (member + trial.rng.randrange(1, MEMBERS)) % MEMBERS
    for path in paths_on(trial, other):
        f = trial.model.files[path]
        if not f.is_protected or f.versions != [f.content] or not f.settled:
            trial.unsure.add(path)
    trial.away[other] = []
    trial.say('member %d leaves' % other)
    os.rename(marker(trial, other), marker(trial, other) + '.away')
    time.sleep(LEAVE_SECONDS)
    check_content(trial)
    return_all(trial)
    trial.admin('sync', allowed=(0, 1))
    status, _ = trial.admin('scrub', '--repair', allowed=(0, 1))
    if status == 1:
        # what was overwritten and then deleted is not repaired (limits.md)
        trial.admin('--yes', 'trash', 'purge')
    check(trial)


# --- a program on the server ------------------------------------------------------

def edit_behind(trial):
    """On a member itself; scan finds it."""
    return_all(trial)
    member = trial.rng.randrange(MEMBERS)
    paths = sorted(paths_on(trial, member))
    trial.rng.shuffle(paths)
    for path in paths[:2]:
        full = trial.pool.on(member, path)
        kind = trial.rng.choice(('changed', 'removed', 'appended'))
        trial.say('%s behind it: %s' % (kind, full))
        if kind == 'removed':
            os.unlink(full)
            trial.model.remove(path)
        else:
            data = trial.rng.randbytes(trial.rng.choice((1, 5000, 100000)))
            with open(full, 'ab' if kind == 'appended' else 'wb') as out:
                out.write(data)
            old = trial.model.files[path].content
            trial.model.write(path, old + data if kind == 'appended'
                              else data)
    path = trial.model.free_name(trial.rng, NAMES, trial.maker.any_dir(
        trial.model))
    if path is not None:
        data = trial.maker.data()
        trial.pool.make(member, path, data)
        trial.model.write(path, data)
        trial.say('made behind it: %s on %d' % (join('', path), member))
    trial.disturbed = True
    trial.admin('scan', allowed=(0, 1))
    # which member has a directory is remembered for a second
    time.sleep(LEAVE_SECONDS)
    check_content(trial)


STEPS = [(kill_smbd, 5), (kill_protector, 3), (go_wrong, 12), (run_verb, 6),
         (leave, 4), (return_all, 2), (flip_and_repair, 2),
         (flip_what_was_kept, 2), (edit_behind, 2), (lose, 1), (recover, 1),
         (check, 4)]


def one(trial):
    """A step: mostly clients."""
    if trial.rng.random() < 0.55:
        for _ in range(trial.rng.randrange(1, 8)):
            trial.operate()
        if trial.rng.random() < 0.2:
            time.sleep(trial.rng.uniform(0, 2.5))    # a protector may begin
        return
    harm = trial.rng.choices([h for h, _ in STEPS], [w for _, w in STEPS])[0]
    trial.count(harm.__name__)
    trial.say('-- ' + harm.__name__)
    harm(trial)
