"""What the benchmarks print: tables as text and as Markdown, and ratios beside
their targets."""


def ratio(value, target):
    return '%.2f (%s %.2f)' % (value, '>=' if value >= target else 'below',
                               target)


def at_most(value, target, form='%.2f'):
    return '%s (%s %s)' % (form % value,
                           '<=' if value <= target else 'above',
                           form % target)


def markdown(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |',
             '|---' + '|--:' * (len(head) - 1) + '|']
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    return '\n'.join(lines)


def plain_text(head, rows):
    widths = [max(len(row[i]) for row in [head] + rows)
              for i in range(len(head))]
    return '\n'.join('  '.join(
        [row[0].ljust(widths[0])]
        + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
        for row in [head] + rows)
