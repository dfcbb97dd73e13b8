#!/bin/bash
# One command from a fresh checkout to a built MRMR: installs what is missing
# (deps.sh), prepares Samba's headers (samba-headers.sh), configures when
# needed, builds.
#
#   make.sh [-o DIR] [-jN] [-v] [CONFIGURE OPTION]... [COMMAND]...
#
#   -o DIR    where to build; default bin/ at the top. Directories do not
#             disturb each other: keep one for each set of options
#   -jN, -v   for waf: N at a time, verbose
#   --targets=T,T,...  only these, by waf's names: mrmr, mrmr-admin, tools/...
#   options   as wscript has them: --without-samba, --sanitize, --debug,
#             --prefix=DIR, --modulesdir=DIR, ...
#   commands  test, bench, install, uninstall, dist, clean; default is build;
#             integration is all of that but the unit tests
#
#   make.sh                                  module, mrmr-admin, tests
#   make.sh -o bin-asan --sanitize test      the same under the sanitizers
#   make.sh -o bin-core --without-samba      no Samba needed
#
# Silent when all is well, apart from the first run, which says what takes
# long; a failing step shows its output. A second run at the same time in the
# same directory waits.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

# As for Samba's own configure (see samba-headers.sh): Debian's python3, and
# no search paths from the developer's shell.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset LIBRARY_PATH CPATH C_INCLUDE_PATH PYTHONPATH PYTHONHOME WAFLOCK
export PYTHONDONTWRITEBYTECODE=1

out=$top/bin
configure_options=()
build_options=()
commands=()
without_samba=no

while [ $# -gt 0 ]; do
	case $1 in
	-o)
		[ $# -ge 2 ] || { echo "make.sh: -o needs a directory" >&2; exit 64; }
		case $2 in
		/*) out=$2 ;;
		*) out=$PWD/$2 ;;
		esac
		shift
		;;
	-h | --help)
		sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	-j* | -v* | --targets=*) build_options+=("$1") ;;
	--without-samba)
		without_samba=yes
		configure_options+=("$1")
		;;
	-*) configure_options+=("$1") ;;
	*) commands+=("$1") ;;
	esac
	shift
done

log=

# Runs a step and keeps quiet about it unless it fails.
quietly() {
	local status=0

	"$@" >"$log" 2>&1 8>&- || status=$?
	if [ $status -ne 0 ]; then
		cat "$log" >&2
		exit $status
	fi
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo --preserve-env=WAFLOCK "$@"
	else
		echo "make.sh: installing needs root" >&2
		exit 70
	fi
}

if [ $without_samba = yes ]; then
	"$here/deps.sh" build
	samba=$("$here/samba-headers.sh" --waf-only)
else
	"$here/deps.sh" build headers run
	samba=$("$here/samba-headers.sh")
	configure_options+=("--samba-source=$samba")
fi

mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 8>"$out/.mrmr-lock"
flock 8
log=$out/.mrmr-log

# waf notes at the top where it was last configured to build. bin/ gets the
# usual name, so that waf by hand finds it; any other directory one of its own.
if [ "$out" != "$top/bin" ]; then
	WAFLOCK=.lock-waf$(printf %s "$out" | tr -c '[:alnum:]' _)
	export WAFLOCK
fi
waf=(/usr/bin/python3 "$samba/buildtools/bin/waf")
cd "$top"

# Configure again when the question is another than the last time, or a library
# has come that something was left out without.
libraries=
for library in cmocka smbclient libssh fuse3; do
	! pkg-config --exists "$library" || libraries="$libraries $library"
done
question=$(printf '%s\n' "${configure_options[@]}" "$samba" "$libraries" \
	"$(cat wscript "$samba/.mrmr-recipe" | cksum)")
if [ ! -f "${WAFLOCK:-.lock-wscript}" ] || [ ! -d "$out/c4che" ] ||
	[ "$(cat "$out/.mrmr-configured" 2>/dev/null)" != "$question" ]; then
	rm -f "$out/.mrmr-configured"
	quietly "${waf[@]}" configure -o "$out" "${configure_options[@]}"
	printf '%s\n' "$question" >"$out/.mrmr-configured"
fi

if [ ${#commands[@]} -eq 0 ]; then
	commands=(build)
fi
for command in "${commands[@]}"; do
	case $command in
	build | integration | clean)
		quietly "${waf[@]}" "$command" "${build_options[@]}"
		;;
	install | uninstall)
		quietly "${waf[@]}" build "${build_options[@]}"
		as_root "${waf[@]}" "$command" 8>&-
		;;
	test | bench)
		# building is quiet, the results are not
		quietly "${waf[@]}" build "${build_options[@]}"
		"${waf[@]}" "$command" "${build_options[@]}" 8>&-
		;;
	*)
		"${waf[@]}" "$command" 8>&-
		;;
	esac
done
