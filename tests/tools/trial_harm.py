"""What happens to a pool in a trial, besides clients: killed processes, fault
points, the verbs of mrmr-admin; and, in trial_members.py and trial_bits.py,
members that leave, return and are lost, and bits that turn. A new verb or mishap
is a function, and a line in STEPS.
"""

import json
import os
import signal
import time

import smb2
import trial_clients
from trial_bits import (cut_much, edit_behind, flip_and_repair,
                        flip_parity_and_leave, flip_records,
                        flip_what_was_kept, lose_records, prune, twice, undone)
from trial_check import check, check_content
from trial_members import (add, arm, arm_another, arm_choice, brink,
                           change_parity, come_back, disarm, give_up, go,
                           is_present, killed_and_gone, leave, lose, present,
                           recover, remove_dir_while_away, return_all)
from trial_model import difference
from trial_run import Finding


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


def go_wrong(trial):
    """While clients work, the protector protects, or a verb runs."""
    for _ in range(trial.rng.randrange(2, 9)):
        arm_another(trial)
        trial.operate()
    if trial.rng.random() < 0.3:
        time.sleep(2.3)
    for _ in range(trial.rng.randrange(4)):
        arm_another(trial)
        trial.admin(trial.rng.choice(('sync', 'sync', 'scan', 'scrub')),
                    allowed=(0, 1))


def provoke(trial):
    """A rare point, and clients that do what leads there."""
    if not trial.faults:
        return
    if not trial.away and trial.rng.random() < 0.7:
        check(trial)
    choice, kinds = trial.faults.choose_provoked(trial.rng)
    arm_choice(trial, choice)
    for kind in kinds:
        for _ in range(10):
            op = getattr(trial.maker, kind)(trial.model, trial.may_use)
            if op is not None:
                trial.operate(op=op)
                break
        if not trial.faults.is_waiting():
            trial.count('provoked')
            break
    if trial.rng.random() < 0.5:
        # a new connection finishes what was broken off
        trial.drop_all()
        trial.operate()


def together(trial):
    is_wrong = trial.rng.random() < 0.4
    for _ in range(trial.rng.randrange(1, 5)):
        if is_wrong:
            arm_another(trial)
        trial.together()


# --- verbs ------------------------------------------------------------------------

def run_verb(trial):
    """Any, at any time, killed at times."""
    member = trial.rng.choice(trial.pool.members)
    verbs = [('sync',), ('scan',), ('scrub',), ('scrub', '--repair'),
             ('scrub', '--deep'), ('check',), ('status',), ('sync', '--scan'),
             ('status', '--full'), ('trash', 'list'),
             ('--yes', 'trash', 'purge'), ('scan', '--deep'),
             ('scan', '--no-sync'), ('scan', member),
             ('what-if', '--lose', member), ('config', 'check'),
             ('scrub', '--percent', '30'), ('scrub', '--older-than', '1'),
             ('--yes', 'trash', 'purge', '--older-than', '0')]
    dry = [('--dry-run', 'sync'), ('--dry-run', 'scan'),
           ('--dry-run', '--yes', 'trash', 'purge')]
    refused = [('init', '--parity', '1', member), ('add', member),
               ('rebuild', member), ('attach', member)]
    kill_after = None
    if trial.rng.random() < 0.3:
        kill_after = trial.rng.uniform(0, 0.15)
    some = trial.rng.choices((verbs, dry, refused), (8, 1, 1))[0]
    verb = trial.rng.choice(some)
    if some is refused:
        if trial.away:
            return
        status, _ = trial.admin(*verb, allowed=(0, 1, 64, 65, 70))
        if status == 0 and verb[0] != 'attach':
            raise Finding('mrmr-admin %s was not refused' % ' '.join(verb))
        return
    if 'purge' in verb and kill_after is None and not trial.away:
        trial.model.graves.clear()
        trial.is_odd = True    # what was not purged, if anything
        if trial.rng.random() < 0.5:
            arm(trial, ('purge-',))
    trial.admin(*verb, allowed=(0, 1, 2), kill_after=kill_after)


def where(trial):
    """As the members say."""
    if trial.away:
        return
    for path in trial.rng.sample(sorted(trial.model.files),
                                 min(3, len(trial.model.files))):
        status, output = trial.admin('--json', 'where', path, allowed=(0, 1))
        if status != 0:
            continue
        got = [trial.pool.members.index(copy['name'])
               for copy in json.loads(output)['copies']]
        if got != trial.pool.where(path):
            raise Finding('where %s: %s, and it is on %s' % (
                path, got, trial.pool.where(path)))


def restore(trial):
    """A deleted file gets a name again, with bytes that it had."""
    return_all(trial)
    arm(trial, ('restore-',), 0.5)
    status, output = trial.admin('--json', 'trash', 'list')
    if status != 0:
        return
    # what has another name would be one file with two then
    items = [item for item in json.loads(output)['items'] if os.stat(
        os.path.join(item['name'], '.mrmr', 'trash',
                     item['trash_path'])).st_nlink == 1]
    new = trial.model.free_name(trial.rng, trial_clients.NAMES, '')
    if not items or new is None:
        return
    items.sort(key=lambda item: (item['path'], item['trash_path']))
    item = trial.rng.choice(items)
    status, _ = trial.admin('trash', 'restore', '--to', new,
                            item['trash_path'], allowed=(0, 1),
                            kill_after=trial.rng.choice(
                                (None, None, None, 0.01)))
    # a killed one may have done it without telling
    trial.untold = trial.untold or trial.disturbed or status is None
    disarm(trial)
    trial.drop_dead()
    is_there, content = trial.look(new)
    if not is_there and not trial.disturbed:
        time.sleep(1.2)
        is_there, content = trial.look(new)
    if is_there:
        was = trial.model.graves.get(item['path'], set())
        if content is None or (not trial.is_odd and content not in was):
            raise Finding('%s was restored, and is none of the %d things that '
                          'were deleted under its name' % (item, len(was)))
        trial.model.write(new, content)
        # it may have been hidden when it was deleted
        trial.model.files[new].set('hidden', trial.insist(
            lambda c: trial_clients.is_hidden(c, new)))
        trial.count('restored')
    check_content(trial)


# --- a full pool ------------------------------------------------------------------

def fill(trial):
    """Until the disk is full; all of that goes again."""
    return_all(trial)
    if trial.rng.random() < 0.5:
        check(trial)
    # nothing but the room is short until it is full
    disarm(trial)
    trial.drop_dead()
    c = trial.client()
    names = []
    size = trial.rng.choice((1 << 20, 3 << 20, 700000))
    data = trial.rng.randbytes(size)
    folder = 'filled'
    if folder in trial.model.names():
        return
    c.mkdir(folder)
    for number in range(600):
        name = '%s\\%d' % (folder, number)
        mine = number.to_bytes(8, 'big') + data[number:] + data[:number]
        try:
            f = c.create(name, disposition=smb2.CREATE)
            try:
                c.write(f, mine)
            finally:
                trial_clients.close(c, f)
        except smb2.Error as error:
            if error.name != 'NT_STATUS_DISK_FULL':
                raise Finding('filling: %s' % error) from error
            trial.say('full after %d files' % number)
            break
        names.append((name, mine))
        if number % 40 == 39 and trial.rng.random() < 0.5:
            trial.admin('sync', allowed=(0, 1))
    arm(trial, ('squeeze-', 'stripes-', 'blob-', 'catalog-file-new'), 0.5)
    trial.admin('sync', allowed=(0, 1))
    disarm(trial)
    trial.drop_dead()
    for name, mine in trial.rng.sample(names, min(5, len(names))):
        got = trial.client().get(name)
        if got != mine:
            raise Finding('%s has other bytes' % name)
    empty(trial, folder)
    check(trial)


def move_on(trial):
    """A file grows until its member is full, and goes on on another."""
    return_all(trial)
    check(trial)
    folder = 'moves'
    if folder in trial.model.names():
        return
    c = trial.client()
    c.mkdir(folder)
    name = folder + '\\grows'
    whole = trial.rng.randbytes(1 << 20)
    c.put(name, whole)
    if trial.rng.random() < 0.5:
        trial.admin('sync', allowed=(0, 1))
    member = trial.pool.where(folder + '/grows')[0]
    st = os.statvfs(trial.pool.members[member])
    trial.pool.make(member, folder + '/ballast',
                    bytes(max(0, st.f_bavail * st.f_frsize - (6 << 20))))
    arm(trial, ('move-', 'trash', 'name-make'))
    try:
        f = c.create(name)
        try:
            for _ in range(20):
                piece = trial.rng.randbytes(1 << 20)
                c.write(f, piece, len(whole))
                whole += piece
        finally:
            trial_clients.close(c, f)
    except (smb2.Error, OSError) as error:
        trial.say('it has grown to %d, then %s' % (len(whole), error))
        if not trial.disturbed:
            raise Finding('a file cannot move on: %s' % error) from error
    disarm(trial)
    trial.drop_dead()
    is_there, got = trial.look(folder + '/grows')
    if not is_there or got[:len(whole)] != whole:
        raise Finding('a file that grew is %s' % (
            'not there' if not is_there else 'another: ' +
            difference(got, whole)))
    if trial.pool.where(folder + '/grows') != [member]:
        trial.count('moved')
    empty(trial, folder)
    trial.untold = True
    check(trial)


def empty(trial, folder):
    """With all that is in it; and it goes."""
    c = trial.client()
    for entry in c.names(folder):
        c.unlink(folder + '\\' + entry)
    c.rmdir(folder)
    trial.model.graves.clear()
    trial.is_odd = True
    trial.admin('--yes', 'trash', 'purge', allowed=(0, 1))


def purge(trial):
    """What was deleted goes from the trash, by a verb or by itself."""
    return_all(trial)
    for _ in range(3):
        op = trial.maker.remove(trial.model, trial.may_use)
        if op is not None:
            trial.operate(op=op)
    trial.admin('sync', allowed=(0, 1))
    trial.model.graves.clear()
    trial.is_odd = True    # what was not purged, if anything
    if trial.rng.random() < 0.5 or \
            (trial.faults and trial.faults.is_aimed_at(('purge-',))):
        arm(trial, ('purge-',))
        trial.admin('--yes', 'trash', 'purge', allowed=(0, 1))
    else:
        time.sleep(1.1)    # older than now
        set_trash_days(trial, 0)
        arm(trial, ('trash-',))
        trial.admin('sync', allowed=(0, 1))
        set_trash_days(trial, None)
    check(trial)


def set_trash_days(trial, days):
    with trial.pool.config() as config:
        config.pop('trash_days', None)
        if days is not None:
            config['trash_days'] = days


def anew_and_gone(trial):
    """Files of a member that is away are written to, so they are on others, one of
    which leaves before they are protected there; the first is back. What the
    files were stays in its trash."""
    return_all(trial)
    check(trial)
    first = trial.rng.choice(present(trial))
    go(trial, first)
    for _ in range(4):
        trial.operate(op=trial.maker.overwrite(
            trial.model, lambda path: trial.may_use(path) and
            not is_present(trial, path)))
    if trial.rows > 1:
        go(trial, trial.rng.choice(present(trial)))
    left, unsure = dict(trial.away), set(trial.unsure)
    trial.away = {first: left.pop(first)}
    come_back(trial)
    trial.away, trial.unsure = left, unsure
    time.sleep(1.1)    # the trash is older than now
    set_trash_days(trial, 0)
    arm(trial, ('was-',))
    trial.admin('sync', allowed=(0, 1))
    set_trash_days(trial, None)
    disarm(trial)
    trial.drop_dead()
    check_content(trial)
    return_all(trial)
    check(trial)


# --- fault points that one step leads to --------------------------------------------

def there_and_back(trial):
    return_all(trial)
    leave(trial)
    return_all(trial)


LEADS = {'absent-': leave, 'ghosts-': leave, 'ghost-': there_and_back,
         'rebuild-': lose, 'rebuild-give-up': give_up, 'recover-': recover,
         'restore-': restore, 'repair-': flip_and_repair,
         'rmdir-removed': remove_dir_while_away,
         'replay-rmdir': remove_dir_while_away,
         'scrub-blob': flip_and_repair, 'squeeze-': fill,
         'catalog-file-new': fill, 'catalog-refresh': lose,
         'move-': move_on, 'purge-': purge,
         'trash-left': purge, 'trash-committed': purge,
         'trash-unlink': purge, 'undo-lost': cut_much,
         'unlink-loser': twice, 'rename-loser': twice, 'prune': prune,
         'back-': undone, 'was-': anew_and_gone}


def aim(trial):
    """At a point that has not fired here, and that one step leads to."""
    if not trial.faults:
        return
    point = trial.faults.choose_aim(trial.rng, LEADS)
    if point is None:
        return
    trial.faults.aim = point
    trial.say('aimed at ' + point)
    try:
        LEADS[max((key for key in LEADS if point.startswith(key)),
                  key=len)](trial)
    finally:
        trial.faults.aim = None
    if trial.faults.counts(point)[1]:
        trial.count('aim reached')


STEPS = [(kill_smbd, 5), (kill_protector, 3), (go_wrong, 12), (provoke, 12),
         (aim, 8),
         (run_verb, 6), (together, 5), (where, 1), (restore, 2), (purge, 1),
         (leave, 4), (brink, 2), (killed_and_gone, 2), (return_all, 2),
         (flip_and_repair, 2), (flip_what_was_kept, 2), (flip_records, 1.5),
         (lose_records, 1.5),
         (flip_parity_and_leave, 1), (edit_behind, 2), (lose, 1),
         (give_up, 1), (recover, 1), (add, 1), (change_parity, 1),
         (twice, 1), (undone, 0.5), (anew_and_gone, 0.5), (cut_much, 0.5),
         (fill, 0.4),
         (move_on, 0.7), (check, 4)]


def one(trial):
    """A step: mostly clients."""
    if trial.rng.random() < 0.5:
        for _ in range(trial.rng.randrange(1, 8)):
            trial.operate()
        if trial.rng.random() < 0.2:
            time.sleep(trial.rng.uniform(0, 2.5))    # a protector may begin
        return
    some = [(harm, weight) for harm, weight in STEPS
            if not trial.only or harm.__name__ in trial.only]
    do(trial, trial.rng.choices([h for h, _ in some], [w for _, w in some])[0])


def do(trial, harm):
    trial.count(harm.__name__)
    trial.say('-- ' + harm.__name__)
    harm(trial)
