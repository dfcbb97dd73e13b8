# encoding: utf-8
"""Runs the unit tests for "waf test": every program, two at a time or as many
as -j says; the output of those that fail, and counts at the end."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from waflib import Errors, Logs, Options, TaskGen

TIMEOUT_SECONDS = 900


@TaskGen.feature('unit_test')
@TaskGen.after_method('apply_link')
def remember_program(self):
    """Marks a program as a unit test."""
    if not hasattr(self.bld, 'unit_test_programs'):
        self.bld.unit_test_programs = []
    self.bld.unit_test_programs.append(self.link_task.outputs[0].abspath())


def run_program(path):
    """Returns path, exit status, output, seconds."""
    environment = dict(os.environ,
                       UBSAN_OPTIONS='print_stacktrace=1:halt_on_error=1')
    # A debugger of allocations that leaves by abort() is seen as a failure.
    environment.setdefault('ASAN_OPTIONS', 'abort_on_error=0:detect_leaks=1')
    started = time.monotonic()
    try:
        done = subprocess.run([path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=environment,
                              stdin=subprocess.DEVNULL,
                              timeout=TIMEOUT_SECONDS)
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        status = -1
        output = (error.stdout or b'') + b'\ntimed out\n'
    return (path, status, output.decode('utf-8', 'replace'),
            time.monotonic() - started)


def passed_in(output):
    """The number that cmocka reports: "[  PASSED  ] 7 test(s)."."""
    return sum(int(n) for n in
               re.findall(r'^\[  PASSED  \] (\d+) test', output, re.M))


def failed_in(output):
    return sum(int(n) for n in
               re.findall(r'^\[  FAILED  \] (\d+) test', output, re.M))


def skipped_in(output):
    """What a program could not do here, and why; in its own words, one a
    line: "[  SKIPPED ] what: why"."""
    return re.findall(r'^\[  SKIPPED \] (\S.*: .*)$', output, re.M)


def run_all(bld):
    programs = sorted(getattr(bld, 'unit_test_programs', []))
    if not programs:
        raise Errors.WafError('there are no unit tests to run')
    passed = failed = 0
    broken = []
    with ThreadPoolExecutor(max_workers=max(1, Options.options.jobs)) as pool:
        for path, status, output, seconds in pool.map(run_program, programs):
            name = os.path.basename(path)
            passed += passed_in(output)
            failed += failed_in(output)
            if status == 0:
                Logs.info('  ok      %-32s %4d tests %6.2f s', name,
                          passed_in(output), seconds)
                for what in skipped_in(output):
                    Logs.warn('  skipped %s', what)
                continue
            broken.append(name)
            Logs.error('  FAILED  %-32s (exit status %d)', name, status)
            sys.stderr.write(output)
    Logs.info('%d tests passed, %d failed; %d programs, %d failed',
              passed, failed, len(programs), len(broken))
    if broken:
        raise Errors.WafError('failed: ' + ' '.join(broken))
