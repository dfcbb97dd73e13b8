"""What MRMR is known not to do as it should, and is to be mended: a trial that
meets one of these goes on, and counts it. Nothing else is excused, and
`tests/trial --strict` excuses nothing.

(What docs/limits.md states for good is not here: the model knows it. It is
said where the model does so.)
"""

KNOWN = {
    'empty-again':
        'an empty file that was protected, and has been changed since, counts as '
        'never protected when it is rebuilt',
    'kept-for-nothing':
        'what a client that was killed had kept, and then not overwritten, is '
        'there until the file changes',
}
