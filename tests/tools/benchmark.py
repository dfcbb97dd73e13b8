"""What the benchmarks of tests/bench share: options, and where results go."""

import argparse
import json
import os
import sys

import guest_memory
import testpool
from tables import markdown, plain_text


def parser():
    """With what all of them take; --help is the text at their beginning."""
    made = argparse.ArgumentParser(add_help=False)
    made.add_argument('--build')
    made.add_argument('--markdown')
    made.add_argument('--json')
    made.add_argument('-h', '--help', action='store_true')
    return made


def parse(made, text):
    options = made.parse_args()
    if options.help:
        print(text.strip())
        sys.exit(0)
    return options


def prepare(options):
    """Builds, unless there is something to be used; has memory at hand."""
    testpool.isolate()
    if not options.build:
        options.build = testpool.build(['bench'])
    options.build = os.path.abspath(options.build)
    guest_memory.keep()


class Results:
    """Tables, printed as they come, and numbers; for files at the end."""

    def __init__(self, options):
        self.options = options
        self.texts = []

    def table(self, title, head, rows):
        print('\n%s\n\n%s' % (title, plain_text(head, rows)), flush=True)
        self.texts.append('%s\n\n%s\n' % (title, markdown(head, rows)))

    def save(self, numbers):
        if self.options.markdown:
            with open(self.options.markdown, 'w') as out:
                out.write('\n'.join(self.texts))
        if self.options.json:
            with open(self.options.json, 'w') as out:
                json.dump(numbers, out, indent=1)


def run(main):
    try:
        sys.exit(main())
    except testpool.Failure as problem:
        sys.exit('bench: %s' % problem)
