"""What a benchmark in a virtual machine has to know of its memory.

A guest may tell its host which memory is free, and the host takes it: the first
use of such a page then costs many times what using it costs (one was measured:
360 MiB/s of writing to a tmpfs, and 3,000 afterwards), and which command meets it
is chance. keep() has the kernel tell nothing more, until this program ends, and
uses all free memory once, before anything is measured.
"""

import atexit
import mmap
import sys

ORDER = '/sys/module/page_reporting/parameters/page_reporting_order'
NEVER = 11    # pieces of 2^11 pages and more; the kernel keeps none so large
SPARE_BYTES = 1 << 30


def available_bytes():
    with open('/proc/meminfo') as text:
        for line in text:
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) * 1024
    return 0


def use_once():
    size = available_bytes() - SPARE_BYTES
    if size > 0:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
                  | mmap.MAP_POPULATE).close()


def set_order(order):
    with open(ORDER, 'w') as out:
        out.write('%d\n' % order)


def keep():
    """Nothing to do where memory is the machine's own."""
    try:
        with open(ORDER) as text:
            before = int(text.read())
    except (OSError, ValueError):
        return
    try:
        set_order(NEVER)
    except OSError as error:
        print('# free memory goes back to the host (%s: %s): expect noise'
              % (ORDER, error.strerror), file=sys.stderr)
        return
    atexit.register(set_order, before)
    print('# using all memory once', file=sys.stderr, flush=True)
    use_once()
