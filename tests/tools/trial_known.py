"""What MRMR is known not to do as it should, and is to be mended: a trial that
meets one of these goes on, and counts it. Nothing else is excused, and
`tests/trial --strict` excuses nothing.

(What docs/limits.md states for good is not here: the model knows it. It is
said where the model does so.)
"""

KNOWN = {
    'name-of-away':
        'a name that was taken of a file whose member is away is not protected '
        'until the member is back: the catalogue has it for the other',
    'written-elsewhere':
        'a file of a member that is away was written, and so is on another one; '
        'when that leaves before the protector came, it is not shown',
    'dir-returns':
        'an empty directory that was removed while a member was away returns '
        'with the member',
    'rotten-trash':
        'a pre-image of a file that is in the trash has gone bad, and is not '
        'repaired',
}
