"""The results of trials: a line of JSON for each, and tables of them."""

import fcntl
import json
import os
import random
import subprocess

import testpool
import trial_faults


def commit():
    """What is tried, if that is known."""
    done = subprocess.run(['git', '-C', testpool.TOP, 'rev-parse', '--short',
                           'HEAD'], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()


def append(path, result):
    with open(path, 'a') as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        out.write(json.dumps(result) + '\n')


def read(path):
    if not os.path.exists(path):
        return []
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def fired(results):
    """{point: (reached, fired)}, of all there are"""
    found = {point: [0, 0] for point in trial_faults.points()}
    for result in results:
        for point, counts in result.get('points', {}).items():
            if point in found:
                found[point][0] += counts[0]
                found[point][1] += counts[1]
    return found


def rarest(path, num, seed):
    """Points that fired least, by the results; of equals each seed has its
    own."""
    counts = fired(read(path))
    order = sorted(counts)
    random.Random(seed).shuffle(order)
    return sorted(order, key=lambda p: counts[p][1])[:num]


def total(result, *names):
    return sum(result.get('counts', {}).get(name, 0) for name in names)


def num_fired(result):
    return sum(1 for counts in result.get('points', {}).values() if counts[1])


def line(result):
    """For who waits for it."""
    said = ', '.join('%s %d' % item for item in
                     sorted(result.get('counts', {}).items()))
    if result['found']:
        return 'seed %d: FOUND: %s' % (result['seed'], result['found'])
    return 'seed %d: ok: %d steps, %d s: %s; %d fault points fired' % (
        result['seed'], result.get('done', 0), result['seconds'], said,
        num_fired(result))


COLUMNS = (
    ('seed', lambda r: r['seed']),
    ('steps', lambda r: r.get('done', 0)),
    ('operations', lambda r: total(r, 'operation')),
    ('kills', lambda r: total(r, 'kill_smbd', 'kill_protector') +
     total(r, 'killed')),
    ('away', lambda r: total(r, 'leave')),
    ('losses', lambda r: total(r, 'lose', 'recover')),
    ('flips', lambda r: total(r, 'flip_and_repair', 'flip_what_was_kept',
                              'flip_records', 'flip_parity_and_leave')),
    ('points fired', num_fired),
    ('result', lambda r: 'ok' if not r['found']
     else r['found'].replace('\n', ' ').replace('|', '/')[:120]))


def tables(path):
    """Markdown: the trials, and the fault points."""
    results = sorted(read(path), key=lambda r: r['seed'])
    lines = ['| ' + ' | '.join(name for name, _ in COLUMNS) + ' |',
             '|' + '---|' * len(COLUMNS)]
    for result in results:
        lines.append('| ' + ' | '.join(str(of(result))
                                       for _, of in COLUMNS) + ' |')
    known = {}
    for result in results:
        for name, num in result.get('counts', {}).items():
            if name.startswith('known: '):
                known[name] = known.get(name, 0) + num
    lines += ['', '%d trials, %d steps, %d operations, %d with a finding%s.' % (
        len(results), sum(r.get('done', 0) for r in results),
        sum(total(r, 'operation') for r in results),
        sum(1 for r in results if r['found']),
        ''.join('; %s: %d times' % item for item in sorted(known.items())))]
    counts = fired(results)
    lines += ['', '| fault point | reached | fired |', '|---|---|---|']
    lines += ['| %s | %d | %d |' % (point, reached, shot)
              for point, (reached, shot) in sorted(counts.items())]
    unvisited = [p for p, (_, shot) in sorted(counts.items()) if not shot]
    lines += ['', '%d points, never fired: %s' % (
        len(counts), ', '.join(unvisited) or 'none')]
    return '\n'.join(lines) + '\n'
