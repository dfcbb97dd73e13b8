"""What MRMR is known not to do as it should, and is to be mended: a trial that
meets one of these goes on, and counts it. Nothing else is excused, and
`tests/trial --strict` excuses nothing.

(What docs/limits.md states for good is not here: the model knows it. It is
said where the model does so.)
"""

KNOWN = {}
