#!/usr/bin/env python3
# encoding: utf-8
"""How MRMR is built. source/build/make.sh does all of this in one command; by
hand, with the waf that lies in Samba's own source (Debian has no waf package):

    SAMBA=$(source/build/samba-headers.sh)
    WAF="/usr/bin/python3 $SAMBA/buildtools/bin/waf"
    $WAF configure --samba-source=$SAMBA     (or --without-samba)
    $WAF build
    $WAF test                                unit tests
    $WAF install                             as root; uninstall takes it away

What comes out, in bin/ or where -o says:

    libmrmr-core.a   the core: no Samba in it, and the same for the next three
    mrmr.so          the VFS module: source/vfs + core, in Samba's vfs directory
    mrmr-admin       the command: source/admin + core
    mrmr-remote      the helper that speaks SMB and SFTP: source/remote + core
    unit/ tools/ fuzz/  one program per file of tests/unit, tests/tools and
                     fuzz_*.c of tests/fuzz

Sources are found by pattern, so a new file needs no line here. Two checks stand
in for rules that a compiler does not know: the core is compiled without Samba's
include path, and the finished module may only want symbols that smbd has
(source/build/check_symbols.py).
"""

import os
import re
import subprocess
import sys

from waflib import Build, Context, Errors, Logs

sys.path.insert(0, os.path.join(Context.run_dir, 'source', 'build'))
sys.dont_write_bytecode = True
import check_symbols    # noqa: E402
import unit_tests       # noqa: E402

APPNAME = 'mrmr'
VERSION = '0.1.0'

top = '.'
out = 'bin'

# The layers of the core, lowest first; a folder that is not there yet is fine.
CORE_LAYERS = ['base', 'parity', 'catalog', 'member', 'pool', 'protect']

CFLAGS = '''
    -std=gnu11 -fPIC -pthread -g -fstack-protector-strong
    -Wall -Wextra -Werror
    -Wmissing-prototypes -Wstrict-prototypes -Wold-style-definition -Wshadow
    -Wpointer-arith -Wwrite-strings -Wvla -Wformat-security -Wundef
    -Wno-unused-parameter
'''.split()
# -Wno-unused-parameter: the operations of a table share one signature.

FUZZ_FLAGS = '''
    -fsanitize=address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer
'''.split()

DEFINES = ['_GNU_SOURCE=1']

# What Samba's own modules are compiled with. Its directories are given as
# system directories (-isystem): the warnings above are for our code.
SAMBA_DEFINES = '''
    _SAMBA_BUILD_=4 HAVE_CONFIG_H=1 _XOPEN_SOURCE_EXTENDED=1
    __STDC_WANT_LIB_EXT1__=1 _REENTRANT vfs_mrmr_init=samba_init_module
'''.split()

# Each is looked for in the generated tree, then in the source. lib/util is not
# among them: its signal.h would hide the system's.
SAMBA_INCLUDE_ROOTS = '''
    source3 source3/include include lib lib/replace lib/talloc lib/tevent .
    librpc source4
'''.split()


# --- options and configure ---------------------------------------------------

def options(opt):
    opt.load('compiler_c')
    group = opt.add_option_group('MRMR options')
    group.add_option('--samba-source', metavar='DIR', default=None,
                     help='configured Samba source, as prepared by '
                          'source/build/samba-headers.sh')
    group.add_option('--without-samba', action='store_true', default=False,
                     help='build the core, mrmr-admin and the tests only')
    group.add_option('--modulesdir', metavar='DIR', default=None,
                     help="where mrmr.so goes [the vfs directory of the "
                          "installed smbd]")
    group.add_option('--debug', action='store_true', default=False,
                     help='no optimisation, for a debugger')
    group.add_option('--sanitize', action='store_true', default=False,
                     help='address and undefined behaviour sanitizers')
    group.add_option('--sanitize-threads', action='store_true', default=False,
                     help='the thread sanitizer, for the unit tests')
    group.add_option('--fuzz', action='store_true', default=False,
                     help='nothing but the targets of tests/fuzz, with '
                          'libFuzzer and both sanitizers; needs clang')
    group.add_option('--with-faults', action='store_true', default=False,
                     help='named points that tests can make fail '
                          '(include/mrmr/fault.h); never for a release')


def configure(conf):
    if conf.options.fuzz:
        conf.env.CC = conf.find_program('clang')
    conf.load('compiler_c')
    conf.find_program('pkg-config', var='PKGCONFIG')
    if conf.options.samba_source and conf.options.without_samba:
        conf.fatal('--samba-source and --without-samba exclude each other')
    if not conf.options.samba_source and not conf.options.without_samba:
        conf.fatal('no Samba source to build the module against: say '
                   '--samba-source=$(source/build/samba-headers.sh), or '
                   '--without-samba for the core alone')

    configure_flags(conf)
    configure_libraries(conf)
    configure_directories(conf)
    if not conf.options.without_samba:
        configure_samba(conf)


def configure_flags(conf):
    env = conf.env
    env.append_value('CFLAGS', CFLAGS)
    env.append_value('DEFINES', DEFINES)
    env.append_value('LINKFLAGS', ['-pthread', '-Wl,-z,relro,-z,now',
                                   '-Wl,--as-needed'])
    if conf.options.debug:
        env.append_value('CFLAGS', ['-O0', '-g3'])
    elif (conf.options.sanitize or conf.options.sanitize_threads or
          conf.options.fuzz):
        env.append_value('CFLAGS', ['-O1'])
    else:
        # fortify needs the optimiser, and hides accesses from the sanitizers
        env.append_value('CFLAGS', ['-O2'])
        env.append_value('DEFINES', ['_FORTIFY_SOURCE=2'])
    if conf.options.sanitize and conf.options.sanitize_threads:
        conf.fatal('--sanitize and --sanitize-threads exclude each other')
    sanitize = []
    if conf.options.sanitize:
        sanitize = ['-fsanitize=address,undefined',
                    '-fno-sanitize-recover=undefined',
                    '-fno-omit-frame-pointer']
    if conf.options.sanitize_threads:
        sanitize = ['-fsanitize=thread', '-fno-omit-frame-pointer']
    if sanitize:
        env.append_value('CFLAGS', sanitize)
        env.append_value('LINKFLAGS', sanitize)
    env.FUZZ = bool(conf.options.fuzz)
    if env.FUZZ:
        # another compiler warns of other things; the usual one is the judge
        env.CFLAGS = [flag for flag in env.CFLAGS if flag != '-Werror']
        env.append_value('CFLAGS', FUZZ_FLAGS + [
            '-fsanitize=fuzzer-no-link', '-Wno-missing-field-initializers'])
        env.append_value('LINKFLAGS', FUZZ_FLAGS)
    if conf.options.with_faults:
        env.append_value('DEFINES', ['MRMR_WITH_FAULTS=1'])


def configure_libraries(conf):
    """Every USE name here is a word for `use`. The last ones may be absent:
    what needs them is then left out, and the build says so. (make.sh knows
    these by name, and configures again once they are there.)"""
    def package(name, use, mandatory=True):
        conf.check_cfg(package=name, args=['--cflags', '--libs'],
                       uselib_store=use, mandatory=mandatory,
                       errmsg='not found (source/build/deps.sh build)')

    package('jansson', 'JANSSON')
    package('popt', 'POPT')
    package('talloc', 'TALLOC')
    package('tdb', 'TDB')
    package('libcrypto', 'CRYPTO')
    package('libxxhash', 'XXHASH')
    # Debian's ISA-L has no .pc file
    conf.check_cc(lib='isal', header_name='isa-l.h', uselib_store='ISAL',
                  msg="Checking for 'isa-l'",
                  errmsg='not found (source/build/deps.sh build)')
    package('cmocka', 'CMOCKA', mandatory=False)
    package('smbclient', 'SMBCLIENT', mandatory=False)
    package('libssh', 'LIBSSH', mandatory=False)
    package('fuse3', 'FUSE', mandatory=False)
    conf.env.CORE_USE = ['JANSSON', 'TALLOC', 'TDB', 'CRYPTO', 'XXHASH',
                         'ISAL']


def configure_directories(conf):
    env = conf.env
    env.SBINDIR = os.path.join(env.PREFIX, 'sbin')
    env.LIBEXECDIR = os.path.join(env.PREFIX, 'libexec', 'mrmr')
    env.MANDIR = os.path.join(env.PREFIX, 'share', 'man')
    env.DOCDIR = os.path.join(env.PREFIX, 'share', 'doc', 'mrmr')
    env.UNITDIR = os.path.join(env.PREFIX, 'lib', 'systemd', 'system')
    for name, value in [('MRMR_VERSION', VERSION),
                        ('MRMR_SBINDIR', env.SBINDIR),
                        ('MRMR_LIBEXECDIR', env.LIBEXECDIR)]:
        env.append_value('DEFINES', ['%s="%s"' % (name, value)])


def configure_samba(conf):
    env = conf.env
    source = os.path.abspath(os.path.expanduser(conf.options.samba_source))
    generated = os.path.join(source, 'bin', 'default')
    if not os.path.exists(os.path.join(generated, 'include', 'config.h')):
        conf.fatal('%s is no configured Samba source: let '
                   'source/build/samba-headers.sh make one' % source)

    env.SAMBA_DEFINES = SAMBA_DEFINES
    env.SAMBA_CFLAGS = []
    for root in SAMBA_INCLUDE_ROOTS:
        for base in (generated, source):
            env.SAMBA_CFLAGS += ['-isystem',
                                 os.path.normpath(os.path.join(base, root))]
    conf.check_cc(fragment='''
                    #include "includes.h"
                    #include "smbd/smbd.h"
                    #if SMB_VFS_INTERFACE_VERSION < 47
                    #error too old
                    #endif
                    int main(void) { return 0; }
                  ''',
                  cflags=env.SAMBA_CFLAGS, defines=SAMBA_DEFINES,
                  msg="Checking for Samba's headers",
                  errmsg='do not compile: remove %s and run '
                         'source/build/samba-headers.sh again' % source)

    conf.find_program('smbd', var='SMBD',
                      path_list=['/usr/sbin', '/usr/local/sbin',
                                 '/usr/local/samba/sbin'])
    conf.find_program('nm', var='NM')
    conf.find_program('ldd', var='LDD')
    env.VFSDIR = conf.options.modulesdir or vfs_directory(conf)
    conf.msg("Samba's vfs directory", env.VFSDIR)
    env.BUILD_MODULE = True


def vfs_directory(conf):
    listing = conf.cmd_and_log(conf.env.SMBD + ['-b'], quiet=True)
    for line in listing.splitlines():
        words = line.split()
        if words and words[0] == 'MODULESDIR:':
            return os.path.join(words[1], 'vfs')
    conf.fatal('smbd -b does not say where its modules are: say --modulesdir')


# --- build -------------------------------------------------------------------

def build(bld):
    build_without_unit_tests(bld)
    if not bld.env.FUZZ:
        build_unit_tests(bld)


def build_without_unit_tests(bld):
    build_core(bld)
    build_verbs(bld)
    build_fuzz(bld)
    if bld.env.FUZZ:
        return
    build_programs(bld)
    if bld.env.BUILD_MODULE:
        build_module(bld)
    build_tools(bld)
    build_units(bld)
    install_documents(bld)


def build_core(bld):
    sources = []
    for layer in CORE_LAYERS:
        sources += bld.path.ant_glob('source/%s/*.c' % layer)
    bld.stlib(target='mrmr-core',
              source=sources,
              includes='include',
              export_includes='include',
              # inside smbd, our names are nobody else's business
              cflags=['-fvisibility=hidden'],
              use=bld.env.CORE_USE)


def build_module(bld):
    sources = bld.path.ant_glob('source/vfs/*.c')
    if not sources:
        return
    # Samba's libraries are not linked: the symbols come from the smbd that
    # loads the module, so the module survives an update of Samba's packages.
    # samba_init_module is all it shows to smbd (mrmr.map).
    symbols = bld.path.find_resource('source/build/mrmr.map')
    module = bld.shlib(target='mrmr',
                       features='check_symbols',
                       source=sources,
                       defines=bld.env.SAMBA_DEFINES,
                       cflags=bld.env.SAMBA_CFLAGS,
                       linkflags=['-Wl,--version-script=%s'
                                  % symbols.abspath()],
                       use=['mrmr-core'] + bld.env.CORE_USE,
                       install_path=bld.env.VFSDIR)
    # loaded by name: mrmr.so, not libmrmr.so
    module.env = bld.env.derive()
    module.env.cshlib_PATTERN = '%s.so'
    bld.add_manual_dependency(sources[0], symbols)


def build_verbs(bld):
    """mrmr-admin without its main(), which a fuzz target calls as well."""
    bld.objects(target='mrmr-verbs',
                source=bld.path.ant_glob('source/admin/*.c',
                                         excl='source/admin/main.c'),
                includes='include', use=['POPT'] + bld.env.CORE_USE)


def build_programs(bld):
    bld.program(target='mrmr-admin', source='source/admin/main.c',
                includes='include',
                use=['mrmr-verbs', 'mrmr-core', 'POPT'] + bld.env.CORE_USE,
                install_path=bld.env.SBINDIR)

    # Never part of the module: libsmbclient must not be loaded into smbd.
    remote = bld.path.ant_glob('source/remote/*.c')
    if remote and not (bld.env.LIB_SMBCLIENT and bld.env.LIB_LIBSSH):
        Logs.warn('mrmr-remote is left out: it needs libsmbclient and libssh '
                  '(source/build/deps.sh build)')
    elif remote:
        bld.program(target='mrmr-remote', source=remote, includes='include',
                    use=['mrmr-core', 'SMBCLIENT', 'LIBSSH']
                    + bld.env.CORE_USE,
                    install_path=bld.env.LIBEXECDIR)


def build_unit_tests(bld):
    """Each tests/unit/test_*.c is a program."""
    if not bld.env.LIB_CMOCKA:
        Logs.warn('the unit tests are left out: they need cmocka '
                  '(source/build/deps.sh build)')
        return
    for source in bld.path.ant_glob('tests/unit/test_*.c'):
        bld.program(target='unit/' + stem(source), source=[source],
                    includes='include tests/unit',
                    defines=['MRMR_TESTS="%s"' % bld.path.find_node(
                        'tests').abspath()],
                    use=['mrmr-unit', 'mrmr-core', 'CMOCKA']
                    + bld.env.CORE_USE,
                    features='unit_test', install_path=None)


def build_tools(bld):
    """Each tests/tools/*.c is a program, and preload_*.c become libraries for
    LD_PRELOAD. Some make pools as the unit tests do."""
    use = ['mrmr-core'] + bld.env.CORE_USE
    if bld.env.LIB_CMOCKA:
        bld.stlib(target='unit/mrmr-unit', name='mrmr-unit',
                  source=bld.path.ant_glob('tests/unit/*.c',
                                           excl='tests/unit/test_*.c'),
                  includes='include', use=['CMOCKA'] + use)
    for source in bld.path.ant_glob('tests/tools/*.c'):
        build_tool(bld, source, use)


def build_fuzz(bld):
    """Each tests/fuzz/fuzz_*.c is a target; what is not named so is shared by
    those that include its header. Without libFuzzer they are fed with the files
    that are named to them."""
    use = ['mrmr-core', 'POPT'] + bld.env.CORE_USE
    if not bld.env.FUZZ:
        bld.objects(target='fuzz-replay', source='tests/fuzz/replay.c',
                    includes='include')
        use.append('fuzz-replay')
    for source in bld.path.ant_glob('tests/fuzz/fuzz_*.c'):
        included = re.findall('"([a-z_]+)\\.h"', source.read())
        sources = [source] + [shared for shared in bld.path.ant_glob(
            'tests/fuzz/*.c', excl='tests/fuzz/fuzz_*.c')
            if stem(shared) in included]
        flags = []
        verbs = []
        if 'mrmr_admin_main' in source.read():
            sources.append('source/admin/main.c')
            flags = ['-Dmain=mrmr_admin_main', '-Wno-missing-prototypes']
            verbs = ['mrmr-verbs']
        bld.program(target='fuzz/' + stem(source)[len('fuzz_'):],
                    source=sources, use=verbs + use, cflags=flags,
                    includes='include source/catalog tests/fuzz',
                    linkflags=['-fsanitize=fuzzer'] if bld.env.FUZZ else [],
                    install_path=None)


def build_tool(bld, source, use):
    target = 'tools/' + stem(source)
    common = dict(source=[source], includes='include tests/tools tests/unit',
                  install_path=None)
    if '"protected.h"' in source.read():
        # it makes pools as the unit tests do
        if not bld.env.LIB_CMOCKA:
            Logs.warn('%s is left out: it needs cmocka '
                      '(source/build/deps.sh build)' % target)
            return
        use = ['mrmr-unit'] + use + ['CMOCKA']
    if source.name.startswith('preload_'):
        library = bld.shlib(target=target, lib=['dl'], **common)
        library.env = bld.env.derive()
        library.env.cshlib_PATTERN = '%s.so'
        return
    if 'libsmbclient.h' in source.read():
        if not bld.env.LIB_SMBCLIENT:
            Logs.warn('%s is left out: it needs libsmbclient '
                      '(source/build/deps.sh bench)' % target)
            return
        use = use + ['SMBCLIENT']
    if '<fuse.h>' in source.read():
        if not bld.env.LIB_FUSE:
            Logs.warn('%s is left out: it needs libfuse3 '
                      '(source/build/deps.sh test)' % target)
            return
        use = use + ['FUSE']
    bld.program(target=target, use=use, lib=['m'], **common)


def stem(node):
    return os.path.splitext(node.name)[0]


def build_units(bld):
    """Units for systemd, none of which is enabled by that."""
    folder = bld.path.find_dir('examples/systemd')
    hardening = folder.find_resource('hardening.conf').read().rstrip()
    for source in folder.ant_glob('*.service.in'):
        bld(features='subst', source=source,
            target='systemd/' + source.name[:-len('.in')],
            re_m4=re.compile('@(SBINDIR|HARDENING)@'),
            SBINDIR=bld.env.SBINDIR, HARDENING=hardening,
            install_path=bld.env.UNITDIR)
        bld.add_manual_dependency(source,
                                  folder.find_resource('hardening.conf'))
    bld.install_files(bld.env.UNITDIR, folder.ant_glob('*.timer'))


def install_documents(bld):
    bld.install_files(os.path.join(bld.env.MANDIR, 'man8'),
                      bld.path.ant_glob('docs/man/*.8'))
    # The same places to one another as here, so that links hold.
    bld.install_files(bld.env.DOCDIR, ['README.md', 'LICENSE'])
    bld.install_files(os.path.join(bld.env.DOCDIR, 'docs'),
                      bld.path.ant_glob('docs/*.md docs/*.svg'))
    examples = bld.path.find_dir('examples')
    # quickstart.sh builds, so it belongs to the source, as do the units.
    for node in examples.ant_glob('**/*', excl='quickstart.sh systemd/*'):
        bld.install_as(os.path.join(bld.env.DOCDIR, 'examples',
                                    node.path_from(examples)),
                       node, chmod=os.stat(node.abspath()).st_mode & 0o777)


# --- test, bench, dist -------------------------------------------------------

class IntegrationContext(Build.BuildContext):
    """builds everything but the unit tests"""
    cmd = 'integration'
    fun = 'build_without_unit_tests'


class TestContext(Build.BuildContext):
    """builds everything and runs the unit tests"""
    cmd = 'test'
    fun = 'test'


def test(ctx):
    build(ctx)
    ctx.add_post_fun(unit_tests.run_all)


class BenchContext(Build.BuildContext):
    """builds everything and runs the benchmark of the share (tests/bench)"""
    cmd = 'bench'
    fun = 'bench'


def bench(ctx):
    build(ctx)
    ctx.add_post_fun(run_benchmarks)


def run_benchmarks(ctx):
    script = ctx.path.find_resource('tests/bench')
    if not script:
        raise Errors.WafError('there is no tests/bench')
    status = subprocess.call([script.abspath(), 'share', '--build',
                              ctx.path.get_bld().abspath()],
                             cwd=ctx.path.abspath())
    if status:
        raise Errors.WafError('tests/bench failed (exit status %d)' % status)


def dist(ctx):
    """makes the tarball of what git tracks"""
    try:
        listing = subprocess.check_output(['git', 'ls-files', '-z'],
                                          cwd=ctx.path.abspath())
    except (OSError, subprocess.CalledProcessError):
        ctx.fatal('dist needs git and a git checkout')
    names = [n for n in listing.decode().split('\0') if n]
    if not names:
        ctx.fatal('git tracks no file here yet')
    ctx.algo = 'tar.xz'
    ctx.files = [n for n in map(ctx.path.find_node, names) if n]
