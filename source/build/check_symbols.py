# encoding: utf-8
"""The last step of linking mrmr.so: can smbd load it?

The module is linked without Samba's libraries, so the linker leaves open what
it does not find. A name that smbd does not export would be noticed only when
a client connects, and then it costs the share. Here it fails the build, with
the name.
"""

import re

from waflib import Logs, Task, TaskGen


@TaskGen.feature('check_symbols')
@TaskGen.after_method('apply_link')
def add_check(self):
    self.create_task('check_symbols', self.link_task.outputs[0],
                     self.path.find_or_declare(self.target + '.symbols'))


class check_symbols(Task.Task):
    """Compares what the module lacks with what will be in the process: smbd,
    the libraries smbd loads, and the libraries that the module itself names."""
    color = 'YELLOW'
    vars = ['SMBD', 'NM', 'LDD']

    def keyword(self):
        return 'Checking symbols of'

    def run(self):
        module = self.inputs[0].abspath()
        smbd = self.env.SMBD[0]
        provided = set()
        for path in {smbd} | self.libraries(smbd) | self.libraries(module):
            provided |= self.symbols(path, '--defined-only')
        missing = sorted(self.symbols(module, '--undefined-only') - provided)
        if missing:
            Logs.error('%s cannot be loaded by %s, which does not export: %s',
                       self.inputs[0].name, smbd, ' '.join(missing))
            return 1
        self.outputs[0].write('nothing missing\n')
        return 0

    def output_of(self, command):
        return self.generator.bld.cmd_and_log(command, quiet=True)

    def libraries(self, path):
        # "libtdb.so.1 => /lib/.../libtdb.so.1 (0x...)", "/lib64/ld-... (0x...)"
        found = re.findall(r'(/\S+) \(0x', self.output_of(self.env.LDD + [path]))
        return set(found)

    def symbols(self, path, which):
        names = set()
        command = self.env.NM + ['-D', '-P', which, path]
        for line in self.output_of(command).splitlines():
            name, kind = line.split()[:2]
            # a weak symbol may be missing
            if which == '--undefined-only' and kind in 'wv':
                continue
            names.add(name.split('@')[0])
        return names
