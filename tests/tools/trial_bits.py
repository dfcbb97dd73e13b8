"""Bits that turn, in a trial's files, parity, pre-images, trash and records; and
programs on the server that write to a member.
"""

import json
import os
import time

import smb2
from trial_check import check, check_content, files_below, protect_all
from trial_clients import KINDS, NAMES, windows
from trial_members import (LEAVE_SECONDS, arm, come_back, disarm, go,
                           paths_on, present, return_all, run_recover)
from trial_run import Finding


def flip(trial, path, num=1):
    """The times stay."""
    st = os.stat(path)
    with open(path, 'r+b') as data:
        for _ in range(num):
            at = trial.rng.randrange(st.st_size)
            data.seek(at)
            byte = data.read(1)[0]
            data.seek(at)
            data.write(bytes([byte ^ (1 << trial.rng.randrange(8))]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    trial.say('turned %d bits, of byte %d or so, of %s' % (num, at, path))


def found_below(top):
    return sorted(path for path in files_below(top) if os.path.getsize(path))


def data_of(trial, member):
    """Files that are in a stripe; of several names, scrub repairs none
    (limits.md)."""
    return sorted(trial.pool.on(member, path)
                  for path in paths_on(trial, member)
                  if trial.model.files[path].content.strip(b'\0') and
                  os.stat(trial.pool.on(member, path)).st_nlink == 1)


def flip_and_repair(trial):
    """Of files and parity, on as many members as may be lost; scrub mends all
    of it."""
    return_all(trial)
    check(trial)
    for member in trial.rng.sample(present(trial),
                                   trial.rng.randint(1, trial.rows)):
        kinds = [data_of(trial, member),
                 found_below(trial.pool.on(member, '.mrmr/parity'))]
        some = trial.rng.choice([kind for kind in kinds if kind] or [[]])
        for path in trial.rng.sample(some, min(len(some), 2)):
            flip(trial, path)
    # the bad copies are in the trash then
    trial.is_odd = True
    arm(trial, ('repair-', 'scrub-', 'decode-', 'live-'), 0.5)
    if trial.disturbed:
        trial.admin('scrub', '--repair', allowed=(0, 1),
                    kill_after=None if trial.faults.aim else
                    trial.rng.choice((None, None, 0.05, 0.2)))
        disarm(trial)
    trial.admin('scrub', '--repair', allowed=(0, 1) if trial.disturbed
                else (0,))
    check_content(trial)


def flip_parity_and_leave(trial):
    """Parity of a member is bad, and another one is away: all is served."""
    if trial.rows < 2:
        return
    return_all(trial)
    check(trial)
    bad, gone = trial.rng.sample(present(trial), 2)
    found = found_below(trial.pool.on(bad, '.mrmr/parity'))
    for path in trial.rng.sample(found, min(len(found), 5)):
        flip(trial, path, 3)
    go(trial, gone)
    check_content(trial)
    come_back(trial)
    trial.admin('scrub', '--repair', allowed=(0, 1))
    trial.admin('scrub', '--deep')
    check(trial)


def flip_what_was_kept(trial):
    """Pre-images or trash of one member; with another one away, all that was
    protected is there."""
    return_all(trial)
    if trial.untold:
        check(trial)
    member = trial.rng.choice(present(trial))
    # what has another name, too, is not only in the trash
    found = [path for kind in ('undo', 'trash') for path in
             found_below(trial.pool.on(member, '.mrmr/' + kind))
             if os.stat(path).st_nlink == 1]
    if not found or trial.rows < 2:
        return
    trial.is_odd = True
    flip(trial, trial.rng.choice(found))
    other = trial.rng.choice([i for i in present(trial) if i != member])
    go(trial, other)
    check_content(trial)
    come_back(trial)
    check_content(trial)
    disarm(trial)
    trial.admin('sync', allowed=(0, 1))
    trial.admin('scrub', '--repair', allowed=(0, 1))
    # a file in the trash of which a pre-image has gone bad is protected as it is
    protect_all(trial)
    trial.disturbed = False
    trial.admin('scrub')
    check(trial)


def flip_records(trial):
    """Of a member's part of the catalogue, which is made anew; or the catalogue
    itself: until recover has made it anew, a verb may refuse."""
    return_all(trial)
    check(trial)
    if trial.rng.random() < 0.5:
        member = trial.rng.choice(present(trial))
        flip(trial, trial.pool.on(member, '.mrmr/mrmr.db'),
             trial.rng.choice((1, 20)))
        trial.disturbed = True
        for _ in range(trial.rng.randrange(4)):
            trial.operate()
        trial.admin('sync', allowed=(0, 1))
        # what nobody has met of it, a scrub does
        trial.admin('scrub', allowed=(0, 1))
        # the damaged one is put aside for a person to see
        aside = trial.pool.on(member, '.mrmr/mrmr.db.damaged')
        if os.path.exists(aside):
            trial.count('damaged part seen')
            os.unlink(aside)
        trial.disturbed = False
        protect_all(trial)
        check_content(trial)
        return
    flip(trial, os.path.join(trial.pool.directory, 'state', 'catalogue',
                             '0.tdb'), trial.rng.choice((1, 20)))
    trial.disturbed = True
    for verb in (('check',), ('sync',), ('status',)):
        trial.admin(*verb, allowed=(0, 1, 2))
    check_content(trial)
    trial.drop_all()
    trial.pool.down()
    run_recover(trial)
    trial.start()
    check(trial)


def hide_chain(trial, path):
    """Bits turn where a tdb file leads to a chain of records: they are lost. (Its
    header has the number of chains at 36; a free list, then the chains, begin at
    168.)"""
    with open(path, 'r+b') as data:
        num = int.from_bytes(data.read(40)[36:40], 'little')
        data.seek(172)
        heads = data.read(4 * num)
        chain = trial.rng.choice([i for i in range(num)
                                  if any(heads[4 * i:4 * i + 4])])
        data.seek(172 + 4 * chain)
        data.write(bytes(4))
    trial.say('chain %d of %s is lost' % (chain, path))


def lose_records(trial):
    """The catalogue does not know any more what it knew, and nobody is told; whatever
    goes on with it, recover brings back all that was protected."""
    return_all(trial)
    check(trial)
    hide_chain(trial, os.path.join(trial.pool.directory, 'state', 'catalogue',
                                   '0.tdb'))
    trial.disturbed = True
    for verb in trial.rng.sample(
            (('check',), ('sync',), ('sync', '--scan'), ('status',), ('scan',),
             ('scrub', '--repair'), ('--yes', 'trash', 'purge')), 3):
        for _ in range(trial.rng.randrange(4)):
            trial.operate()
        trial.admin(*verb, allowed=(0, 1, 2))
    check_content(trial)
    trial.drop_all()
    trial.pool.down()
    run_recover(trial)
    trial.untold = True
    trial.start()
    check(trial)


# --- a program on the server ------------------------------------------------------

def edit_behind(trial):
    """On a member itself; scan finds it."""
    return_all(trial)
    member = trial.rng.choice(present(trial))
    paths = sorted(paths_on(trial, member))
    trial.rng.shuffle(paths)
    for path in paths[:2]:
        full = trial.pool.on(member, path)
        kind = trial.rng.choice(('changed', 'rewritten', 'removed', 'appended',
                                 'renamed'))
        trial.say('%s behind it: %s' % (kind, full))
        if kind == 'removed':
            os.unlink(full)
            trial.model.remove(path)
        elif kind == 'renamed':
            new = trial.model.free_name(trial.rng, NAMES,
                                        os.path.dirname(path))
            if new is not None:
                os.rename(full, trial.pool.on(member, new))
                trial.model.rename(path, new)
        else:
            old = trial.model.files[path].content
            size = trial.rng.choice((1, 5000, 100000))
            data = trial.rng.randbytes(len(old) if kind == 'rewritten'
                                       else size)
            with open(full, 'ab' if kind == 'appended' else 'wb') as out:
                out.write(data)
            trial.model.write(path, old + data if kind == 'appended'
                              else data)
    path = trial.maker.any_dir(trial.model)
    if path and not any(trial.model.below(path)) and trial.rng.random() < 0.5:
        remove_everywhere(trial, path)
    path = trial.model.free_name(trial.rng, NAMES, trial.maker.any_dir(
        trial.model))
    if path is not None:
        data = trial.maker.data()
        trial.pool.make(member, path, data)
        trial.model.write(path, data)
        trial.say('made behind it: %s on %d' % (path, member))
    trial.disturbed = True
    status, _ = trial.admin('scan', allowed=(0, 1))
    trial.untold = trial.untold or status != 0
    # which member has a directory is remembered for a second
    time.sleep(LEAVE_SECONDS)
    check_content(trial)


def remove_everywhere(trial, path):
    """An empty directory goes on all members; whoever lists it next notices."""
    for top in trial.pool.members:
        if os.path.isdir(os.path.join(top, path)):
            os.rmdir(os.path.join(top, path))
    trial.model.remove_dir(path)
    trial.say('removed everywhere: %s' % path)
    arm(trial, ('prune',))


def prune(trial):
    return_all(trial)
    check(trial)
    op = trial.maker.make_dir(trial.model, trial.may_use)
    if op is None:
        return
    trial.operate(op=op)
    if op.paths[0] in trial.model.dirs:
        remove_everywhere(trial, op.paths[0])
    time.sleep(LEAVE_SECONDS)
    check_content(trial)


def comes_first(trial, a, b):
    """In the config: a rebuilt member is at its end."""
    with open(trial.pool.config_path) as text:
        order = [m['mount_point'] for m in json.load(text)['mounts']]
    return order.index(trial.pool.members[a]) < \
        order.index(trial.pool.members[b])


def twice(trial):
    """A name is on two members: the first has it; and when it is removed or
    replaced, the other one does not come to light."""
    return_all(trial)
    check(trial)
    path = trial.maker.any_file(trial.model, trial.may_use)
    if path is None:
        return
    here = trial.pool.where(path)[0]
    there = trial.rng.choice([i for i in present(trial) if i != here])
    data = trial.rng.randbytes(5000)
    trial.pool.make(there, path, data)
    trial.say('%s is on %d and %d' % (path, here, there))
    trial.is_odd = True
    time.sleep(LEAVE_SECONDS)
    if comes_first(trial, there, here):
        trial.model.write(path, data)
        trial.model.files[path].forget(*KINDS)
    trial.expect(path)
    new = trial.model.free_name(trial.rng, NAMES, '')
    other = trial.maker.any_file(trial.model, lambda p: p != path)
    arm(trial, ('unlink-loser', 'rename-loser', 'rename-trash', 'trash'))
    way = trial.rng.randrange(3)
    if trial.faults and trial.faults.is_aimed_at(('rename-loser',)):
        way = 0
    if way == 0 and new is not None:
        rename(trial, path, new)
        path = new
    elif way == 1 and other is not None:
        rename(trial, other, path)
    remove(trial, path)
    disarm(trial)
    trial.drop_dead()
    trial.untold = True
    time.sleep(LEAVE_SECONDS)
    check(trial)


def undone(trial):
    """The removal of a file is undone, as a power cut may do, and another one has
    its name by now: it goes to the trash again."""
    return_all(trial)
    check(trial)
    path = trial.maker.any_file(trial.model, trial.may_use)
    if path is None:
        return
    here = trial.pool.where(path)[0]
    behind = [i for i in present(trial) if comes_first(trial, here, i)]
    st = os.stat(trial.pool.on(here, path))
    if st.st_nlink > 1 or not behind:
        return    # with further names, in the trash say, it is a person's business
    remove(trial, path)
    if path in trial.model.files:
        return
    data = trial.rng.randbytes(5000)
    trial.pool.make(trial.rng.choice(behind), path, data)
    trial.model.write(path, data)
    trial.admin('sync', '--scan', allowed=(0, 1))
    for trashed in found_below(trial.pool.on(here, '.mrmr/trash')):
        if os.stat(trashed).st_ino == st.st_ino:
            os.rename(trashed, trial.pool.on(here, path))
            trial.say('%s is back on %d' % (path, here))
            break
    trial.is_odd = True
    arm(trial, ('back-',))
    trial.admin('scan', allowed=(0, 1))
    disarm(trial)
    trial.drop_dead()
    trial.untold = True
    time.sleep(LEAVE_SECONDS)
    check(trial)


def rename(trial, old, new):
    for _ in range(3):
        try:
            trial.client().rename(windows(old), windows(new), replace=True)
        except (smb2.Error, OSError) as error:
            trial.say('renaming: %s' % error)
            trial.drop_dead()
        if not trial.look(old)[0]:
            trial.model.rename(old, new)
            return
        disarm(trial)
    raise Finding('%s cannot be renamed' % old)


def remove(trial, path):
    for _ in range(3):
        try:
            trial.client().unlink(windows(path))
        except (smb2.Error, OSError) as error:
            trial.say('removing: %s' % error)
            trial.drop_dead()
        if not trial.look(path)[0]:
            trial.model.remove(path)
            return
        disarm(trial)
    raise Finding('%s cannot be removed' % path)


def cut_much(trial):
    """More is cut than may be kept (undo_max_bytes): what that costs in
    redundancy is mended by the next sync."""
    return_all(trial)
    check(trial)
    set_undo_max(trial, '1M')
    for path, f in sorted(trial.model.files.items()):
        if len(f.content) > 2 << 20:
            op = trial.maker.changed('cut %s to 5' % path, path, f.content,
                                     f.content[:5],
                                     lambda c, f: c.set_end_of_file(f, 5))
            arm(trial, ('undo-lost',))
            trial.take_over(op, trial.run(op, trial.client()))
            disarm(trial)
            trial.drop_dead()
            break
    check(trial)
    set_undo_max(trial, '64M')


def set_undo_max(trial, text):
    with trial.pool.config() as config:
        config['undo_max_bytes'] = text
    trial.drop_all()
    trial.admin('sync', allowed=(0, 1))
