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
    'rotten-trash':
        'a pre-image of a file that is in the trash has gone bad, and is not '
        'repaired',
    'empty-again':
        'an empty file that was protected, and has been changed since, counts as '
        'never protected when it is rebuilt',
    'kept-for-nothing':
        'what a client that was killed had kept, and then not overwritten, is '
        'there until the file changes',
}
