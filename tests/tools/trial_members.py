"""Members of a trial's pool: they leave and return, are lost and rebuilt, join;
the state directory is lost; the redundancy changes.
"""

import hashlib
import json
import os
import shutil
import time

import smb2
import trial_clients
from trial_check import check, check_content, protect_all
from trial_run import ROOM, Finding

LEAVE_SECONDS = 1.6    # until every smbd has noticed
MOST_MEMBERS = 7


def arm(trial, about=(), chance=1):
    """Something goes wrong soon; at times only, unless it is aimed at."""
    if not trial.faults or (trial.rng.random() >= chance and
                            not trial.faults.is_aimed_at(about)):
        return
    choice = trial.faults.choose(trial.rng, about)
    if choice is not None:
        arm_choice(trial, choice)


def arm_choice(trial, choice):
    trial.disturbed = True
    trial.faults.arm(choice)
    trial.say('armed ' + trial.faults.armed)


def arm_another(trial, about=()):
    """If what is armed has fired."""
    if trial.faults and not trial.faults.is_waiting():
        arm(trial, about)


def disarm(trial):
    if trial.faults:
        trial.faults.disarm()


def paths_on(trial, member):
    return [path for path in trial.model.files
            if member in trial.pool.where(path)]


def marker(trial, member):
    return trial.pool.on(member, '.mrmr/config.json')


def present(trial):
    return [i for i in range(len(trial.pool.members)) if i not in trial.away]


# --- away, and back ---------------------------------------------------------------

def depend(trial, member):
    """What is on it, and may not be as the model says while it is away."""
    for path in paths_on(trial, member):
        if not trial.model.files[path].is_sure:
            trial.unsure.add(path)


def go(trial, member, ways=('marker', 'marker', 'eject')):
    """Its marker goes, or it is ejected; every smbd has noticed."""
    depend(trial, member)
    way = trial.rng.choice(ways)
    trial.away[member] = way
    trial.say('member %d leaves (%s); %d files are unsure' % (
        member, way, len(trial.unsure)))
    if way == 'eject':
        trial.admin('eject', trial.pool.members[member], allowed=(0, 1))
    else:
        os.rename(marker(trial, member), marker(trial, member) + '.away')
    time.sleep(LEAVE_SECONDS)


def come_back(trial):
    for member, way in trial.away.items():
        if way == 'eject':
            for _ in range(3):
                status, _ = trial.admin('attach', trial.pool.members[member])
                if status == 0:
                    break
        else:
            os.rename(marker(trial, member) + '.away', marker(trial, member))
    trial.say('members %s return' % sorted(trial.away))
    if trial.may_lose_attributes():
        for path, f in trial.model.files.items():
            if not f.settled and not is_present(trial, path):
                f.attributes.clear()
    # the copy of a file that was written elsewhere goes to the trash
    trial.is_odd = True
    trial.away.clear()
    trial.unsure.clear()
    time.sleep(LEAVE_SECONDS)


def state_of(member):
    """All that is on it, but for when it was read."""
    found = {}
    for top, dirs, files in os.walk(member):
        for name in dirs + files:
            path = os.path.join(top, name)
            st = os.lstat(path)
            found[path] = (st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns,
                           st.st_ctime_ns)
    return found


def leave(trial):
    """A member is away. Nothing is written to it (a mount point that nothing
    is mounted on must not be filled)."""
    if len(trial.away) >= trial.rows:
        return return_all(trial)
    if trial.untold or trial.rng.random() < 0.6:
        check(trial)
    ask = trial.rng.random() < 0.3
    member = trial.rng.choice(present(trial))
    said = ask_what_if(trial, member) if ask else None
    go(trial, member)
    if said:
        compare_what_if(trial, *said)
    check_content(trial)
    state = None
    if not trial.pool.protectors():
        state = state_of(trial.pool.members[member])
    is_wrong = trial.rng.random() < 0.6
    about = ('absent-', 'ghosts-', 'intent-', 'decode-', 'rename-', 'unlink',
             'move-')
    is_aimed = trial.faults and trial.faults.is_aimed_at(about)
    for _ in range(14 if is_aimed else trial.rng.randrange(0, 14)):
        if is_wrong or is_aimed:
            arm_another(trial, about)
        trial.operate(op=of_absent(trial) if is_aimed else None)
    if trial.rng.random() < 0.4:
        sync_while_away(trial)
    if state is not None and state != state_of(trial.pool.members[member]):
        now = state_of(trial.pool.members[member])
        raise Finding('written to a member that is away: %s' % sorted(
            p for p in set(now) | set(state)
            if now.get(p) != state.get(p))[:4])


def brink(trial):
    """As many are away as may be, and clients change what is on the others: what
    is away is computed of what is kept there."""
    return_all(trial)
    check(trial)
    for member in trial.rng.sample(present(trial), trial.rows):
        go(trial, member)
    for _ in range(trial.rng.randrange(3, 12)):
        kind = trial.rng.choice(('truncate', 'truncate', 'overwrite', 'pieces',
                                 'supersede', 'remove', 'replace'))
        trial.operate(op=getattr(trial.maker, kind)(
            trial.model, lambda path: is_present(trial, path)))
    check_content(trial)
    if trial.rng.random() < 0.5:
        return_all(trial)


def of_absent(trial):
    """What is done to a file whose member is away."""
    def is_away(path):
        return trial.may_use(path) and not is_present(trial, path)

    kind = trial.rng.choice(('remove', 'rename', 'replace', 'over', 'overwrite',
                             'attributes'))
    if kind == 'over':
        return trial.maker.replace(trial.model, is_away,
                                   lambda path: is_present(trial, path))
    return getattr(trial.maker, kind)(trial.model, is_away)


def remove_dir_while_away(trial):
    """An empty directory, also on a member that is away: it does not return with
    that."""
    return_all(trial)
    check(trial)
    op = trial.maker.make_dir(trial.model, trial.may_use)
    if op is None:
        return
    path = op.paths[0]
    trial.operate(op=op)
    for number in range(6):
        trial.operate(op=trial.maker.put_at('%s/%d' % (path, number)))
    for name, _ in sorted((p, f) for p, f in trial.model.files.items()
                          if p.startswith(path + '/')):
        trial.operate(op=trial.maker.remove_at(name))
    having = trial.pool.where(path)
    if path not in trial.model.dirs or not having:
        return
    go(trial, trial.rng.choice(having))
    arm(trial, ('rmdir-',))
    trial.operate(op=trial.maker.remove_dir_at(path))
    disarm(trial)
    trial.drop_dead()
    return_all(trial)


def is_present(trial, path):
    return trial.may_use(path) and any(
        member in present(trial) for member in trial.pool.where(path))


def killed_and_gone(trial):
    """The protector dies somewhere, and at once as many members are away as may
    be: what was protected before is there."""
    if not trial.faults:
        return
    return_all(trial)
    check(trial)
    for _ in range(trial.rng.randrange(2, 9)):
        trial.operate()
    # half of them in a commit, of which there are several
    about, most = trial.rng.choice(
        ((('catalog-',), 8), (('protect-', 'stripes-', 'blob-', 'mend-'), 2)))
    some = [p for p in trial.faults.points if p.startswith(about) and
            'kill' in trial.faults.actions[p]]
    arm_choice(trial, [(trial.rng.choice(some), 'kill',
                        trial.rng.randint(1, most))])
    trial.admin('sync', allowed=(0, 1))
    disarm(trial)
    for member in trial.rng.sample(present(trial), trial.rows):
        go(trial, member, ('marker',))
    check_content(trial)
    return_all(trial)


def sync_while_away(trial):
    """What is on members that are there is protected then."""
    status, _ = trial.admin('sync', allowed=(0, 1))
    if status != 0 or trial.untold:
        return
    for member in present(trial):
        for path in paths_on(trial, member):
            if path not in trial.unsure:
                trial.model.files[path].report_protected()


def return_all(trial):
    if not trial.away:
        return
    arm(trial, ('ghost', 'replay-', 'intent-', 'mirror', 'dir'), 0.4)
    come_back(trial)
    check_content(trial)
    if trial.rng.random() < 0.5:
        check(trial)


# --- what-if ------------------------------------------------------------------------

def catalogue(trial):
    """What the catalogue is, in short."""
    with open(os.path.join(trial.pool.directory, 'state', 'catalogue',
                           '0.tdb'), 'rb') as data:
        return hashlib.sha256(data.read()).digest()


def ask_what_if(trial, member):
    """What is said would be lost, and would go back to what it was; and what
    the catalogue was then."""
    disarm(trial)
    before = catalogue(trial)
    status, output = trial.admin('--json', 'what-if', '--lose',
                                 trial.pool.members[member],
                                 allowed=(0, 1, 2))
    if status not in (0, 1, 2):
        return None
    said = json.loads(output)
    lost = {item['path'] for item in said['lost'] if not item['in_trash']}
    reverted = {item['path'] for item in said['reverted']}
    return member, lost, reverted, before


def compare_what_if(trial, member, lost, reverted, before):
    """Nothing more is lost than it said; and if nobody has protected anything
    since, nothing less."""
    seen = {}
    for path in sorted(paths_on(trial, member)):
        try:
            seen[path] = trial_clients.look(trial.client(), path)
        except smb2.Error:
            seen[path] = (False, None)
    is_still = before == catalogue(trial)
    for path, (is_there, got) in seen.items():
        if is_there and got == trial.model.files[path].content:
            if path in lost and is_still and got:
                raise Finding('what-if says that %s would be lost, and it is '
                              'there' % path)
        elif path not in lost and path not in reverted and not trial.untold:
            raise Finding('what-if does not say that %s would be lost: it %s' %
                          (path, 'has other bytes' if is_there
                           else 'cannot be had'))
    trial.count('compared with what-if')


# --- lost, and rebuilt --------------------------------------------------------------

def is_member(trial, path):
    with open(trial.pool.config_path) as text:
        return path in [m['mount_point'] for m in json.load(text)['mounts']]


def wipe(trial, top):
    """The marker first: of a member that is there, what is missing was deleted."""
    os.unlink(os.path.join(top, '.mrmr', 'config.json'))
    time.sleep(LEAVE_SECONDS)
    for entry in os.scandir(top):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    trial.say('all in %s is lost' % top)


def lose(trial):
    """Members are gone for good, and rebuilt; another one may be away."""
    return_all(trial)
    check(trial)
    num = 1 if trial.rng.random() < 0.6 else trial.rows
    num = min(num, trial.rows)
    gone = [trial.pool.members[i] for i in trial.rng.sample(
        range(len(trial.pool.members)), num)]
    for path in gone:
        wipe(trial, path)
    if num < trial.rows and trial.rng.random() < 0.3:
        go(trial, trial.rng.choice([
            i for i in present(trial) if trial.pool.members[i] not in gone]))
    time.sleep(LEAVE_SECONDS)
    check_content(trial)
    rebuild_all(trial, gone)
    trial.is_odd = True
    if trial.away:
        come_back(trial)
    check(trial)


def give_up(trial):
    """A member is lost before all was protected: what was comes back as it
    was, what was not is given up."""
    return_all(trial)
    check(trial)
    for _ in range(trial.rng.randrange(1, 9)):
        trial.operate()
    member = trial.rng.choice(present(trial))
    gone = trial.pool.members[member]
    depend(trial, member)
    wipe(trial, gone)
    time.sleep(LEAVE_SECONDS)
    check_content(trial)
    new = trial.world.tmpfs(ROOM)
    for attempt in range(5):
        if attempt in (1, 2):
            arm(trial, ('rebuild-', 'catalog-'))
        words = ['--accept-loss'] if attempt else []
        trial.admin('--yes', 'rebuild', gone, '--onto', new, *words,
                    allowed=(0, 1, 2))
        disarm(trial)
        if not is_member(trial, gone):
            break
    else:
        raise Finding('%s cannot be given up' % gone)
    trial.pool.members[member] = new
    os.system('umount -l ' + gone)
    trial.drop_dead()
    time.sleep(LEAVE_SECONDS)
    for path in sorted(trial.unsure):
        f = trial.model.files[path]
        is_there, content = trial.look(path)
        if is_there and f.may_come_back_as(content):
            f.write(content)
            f.forget(*trial_clients.KINDS)
        elif is_there or f.is_protected:
            raise Finding('%s, of which a version was protected, is %s' % (
                path, 'none of those' if is_there else 'not there'))
        else:
            trial.model.remove(path)
    trial.unsure.clear()
    trial.is_odd = True
    trial.untold = True
    check(trial)


def rebuild_all(trial, gone):
    """In several attempts, some of which are disturbed. While others are gone
    as well, there may be too few members for all parity of one."""
    where = {}
    for path in gone:
        num_left = len(trial.pool.members) - len(gone)
        if num_left >= trial.rows + 2 and trial.rng.random() < 0.5:
            where[path] = ['--spread']
        else:
            where[path] = ['--onto', trial.world.tmpfs(ROOM)]
        if trial.rng.random() < 0.3:
            trial.admin('--dry-run', 'rebuild', path, *where[path],
                        allowed=(0, 1))
    output = ''
    for attempt in range(6):
        for path in [p for p in gone if is_member(trial, p)]:
            output = rebuild(trial, path, where[path], attempt < 3)
    left = [path for path in gone if is_member(trial, path)]
    if left:
        raise Finding('rebuild of %s does not come to its end: %s' % (
            left, output[-300:]))
    for path in gone:
        new = where[path][1:]
        if new and not is_member(trial, new[0]):
            raise Finding('%s was rebuilt, and %s is no member' %
                          (path, new[0]))
        at = trial.pool.members.index(path)
        trial.pool.members[at:at + 1] = new
        if not new:
            trial.away = {i - (i > at): way for i, way in trial.away.items()}
        os.system('umount -l ' + path)
    time.sleep(LEAVE_SECONDS)


def rebuild(trial, path, where, is_disturbed):
    """What it said, or nothing if it was killed."""
    kill_after = None
    if is_disturbed and trial.rng.random() < 0.5 and \
            not (trial.faults and trial.faults.aim):
        kill_after = trial.rng.uniform(0.01, 0.5)
    elif is_disturbed:
        arm(trial, ('rebuild-', 'decode-', 'blob-', 'catalog-'))
    _, output = trial.admin('--yes', 'rebuild', path, *where, allowed=(0, 1),
                            kill_after=kill_after)
    disarm(trial)
    return output


# --- joins --------------------------------------------------------------------------

def add(trial):
    """A member joins, with files on it or without."""
    if len(trial.pool.members) >= MOST_MEMBERS:
        return
    return_all(trial)
    new = trial.world.tmpfs(ROOM)
    member = len(trial.pool.members)
    trial.pool.members.append(new)
    path = trial.model.free_name(trial.rng, trial_clients.NAMES, '')
    if path is not None and trial.rng.random() < 0.5:
        data = trial.maker.data()
        trial.pool.make(member, path, data)
        trial.model.write(path, data)
        trial.say('it has %s already' % path)
    trial.pool.owned(new)
    trial.admin('--dry-run', 'add', new)
    if is_member(trial, new):
        raise Finding('add --dry-run has added %s' % new)
    disarm(trial)
    trial.admin('add', new)
    # its files are in the share when clients connect the next time
    trial.drop_all()
    trial.untold = True
    check(trial)


def change_parity(trial):
    """More rows, or fewer, or the same again."""
    return_all(trial)
    check(trial)
    rows = trial.rng.choice([n for n in (1, 2, 3)
                             if n <= len(trial.pool.members) - 2])
    with trial.pool.config() as config:
        config['parity_drives'] = rows
    trial.say('parity_drives is %d, was %d' % (rows, trial.rows))
    if trial.rng.random() < 0.5:
        arm(trial, ('stripes-', 'mend-', 'protect-', 'blob-', 'catalog-'))
        trial.admin('sync', allowed=(0, 1), kill_after=trial.rng.choice(
            (None, 0.05, 0.2)))
        trial.operate()
    disarm(trial)
    trial.drop_dead()
    trial.rows = rows
    protect_all(trial)
    check(trial)


# --- the state directory is lost ----------------------------------------------------

def recover(trial):
    """With all members there, or without as many as may be lost, which come
    later."""
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
    if trial.rng.random() < 0.6:
        for member in trial.rng.sample(present(trial), trial.rows):
            go(trial, member, ('marker',))
    run_recover(trial)
    trial.start()
    trial.untold = trial.untold or bool(trial.away)
    check(trial)
    return_all(trial)


def run_recover(trial):
    """Without as many members as may be lost, one more whose records cannot be read
    is one too many: then it is done again."""
    for attempt in range(4):
        kill_after = None
        if attempt < 2 and trial.rng.random() < 0.4 and \
                not (trial.faults and trial.faults.aim):
            kill_after = trial.rng.uniform(0.01, 0.3)
        elif attempt < 2:
            arm(trial, ('recover-', 'catalog-', 'guard-'))
        else:
            disarm(trial)
        status, output = trial.admin('--yes', 'recover', allowed=(0, 1),
                                     kill_after=kill_after)
        if status in (0, 1) and not (trial.away and 'are damaged' in output):
            break
    else:
        raise Finding('recover does not come to its end: %s' % output[-300:])
    disarm(trial)
