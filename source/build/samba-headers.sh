#!/bin/bash
# Prepares the Samba headers that the VFS module is compiled against, and
# prints the directory that holds them.
#
#   samba-headers.sh [--waf-only] [--full] [--quiet]
#
#   --waf-only  only Samba's copy of waf, which is enough for
#               "configure --without-samba"; nothing is configured
#   --full      keep the sources too (for reading), not only the headers
#   --quiet     no progress on stderr
#
# Debian has no package with Samba's internal headers, and a module must be
# built against exactly the smbd that will load it. So: take the source package
# of the installed version, configure it as Debian did (the flags decide what
# the structures look like), generate the headers that a build would generate,
# and compile nothing else. About a hundred seconds on two cores; the result
# is kept per version, and finding it again takes no time.
#
# The machine's own apt sources are used, with deb-src added, through a private
# list: /etc/apt is neither changed nor repeated here. Build dependencies that
# are missing are installed, which needs root or sudo.
#
# Environment: MRMR_CACHE, where to keep the result; default is
# $XDG_CACHE_HOME/mrmr, else ~/.cache/mrmr.
set -eu
set -o pipefail

here=$(cd "$(dirname "$0")" && pwd)

# A change in how the tree is made that old caches lack: count up.
recipe=2

# The interfaces that source/vfs knows (SMB_VFS_INTERFACE_VERSION).
vfs_interface_min=47
vfs_interface_max=50

# Unpacked and configured, before it is pruned.
need_mb=900

# Another python3 first on the PATH lacks the modules that Debian's has, and
# compilers obey variables that a developer may have set for something else.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unset LIBRARY_PATH CPATH C_INCLUDE_PATH LD_LIBRARY_PATH PYTHONPATH PYTHONHOME
unset DEB_BUILD_PROFILES DEB_BUILD_OPTIONS
unset CC CPP CFLAGS CPPFLAGS LDFLAGS MAKEFLAGS MAKELEVEL WAFLOCK
export PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8

waf_only=no
full=no
quiet=no
work=
log=

say() {
	[ "$quiet" = yes ] || echo "samba-headers: $*" >&2
}

fail() {
	echo "samba-headers: $*" >&2
	if [ -n "$log" ] && [ -s "$log" ]; then
		kept=$cache/samba-headers.log
		cp "$log" "$kept" && echo "samba-headers: the log is $kept" >&2
	fi
	exit 70
}

for arg in "$@"; do
	case $arg in
	--waf-only) waf_only=yes ;;
	--full) full=yes ;;
	--quiet) quiet=yes ;;
	*)
		echo "usage: samba-headers.sh [--waf-only] [--full] [--quiet]" >&2
		exit 64
		;;
	esac
done

cache=${MRMR_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or MRMR_CACHE}/.cache}/mrmr}

# source:Version, not Version: a rebuilt binary package (+b1) has the source of
# the one before.
version=$(dpkg-query -W -f '${db:Status-Status} ${source:Version}' samba \
	2>/dev/null | sed -n 's/^installed //p')
if [ -z "$version" ] && [ "$waf_only" = no ]; then
	fail "Samba is not installed, so there is no smbd to build a module for:" \
		"install the package samba (source/build/deps.sh run) and try again"
fi

# The epoch's colon does not belong into the name of a directory.
name=samba-${version#*:}
[ -n "$version" ] || name=samba-any
target=$cache/$name
waf_target=$target-waf

# Complete, and made by this recipe? (A tree gets its name only when it is.)
ready() {
	[ -f "$1/.mrmr-recipe" ] &&
		[ "$(cat "$1/.mrmr-recipe")" = "$2" ]
}

have() {
	if [ "$waf_only" = no ] && [ "$full" = no ]; then
		ready "$target" "$recipe headers" || ready "$target" "$recipe full"
	elif [ "$waf_only" = no ]; then
		ready "$target" "$recipe full"
	else
		ready "$waf_target" "$recipe waf"
	fi
}

print_if_ready() {
	if [ "$waf_only" = yes ] && [ -f "$target/.mrmr-recipe" ]; then
		echo "$target"
		exit 0
	fi
	have || return 0
	if [ "$waf_only" = yes ]; then
		echo "$waf_target"
	else
		echo "$target"
	fi
	exit 0
}

print_if_ready

mkdir -p "$cache" || fail "cannot create $cache: choose another place with MRMR_CACHE"
exec 9>"$cache/.lock"
if ! flock -n 9; then
	say "another run is preparing headers in $cache, waiting for it"
	flock 9
fi
print_if_ready

free_mb=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
if [ "$free_mb" -lt "$need_mb" ]; then
	fail "$cache has $free_mb MB free and $need_mb MB are needed: make room," \
		"or choose another place with MRMR_CACHE"
fi

"$here/deps.sh" headers >&2 || fail "tools for the source package are missing"

# What an earlier run that was killed left behind; nobody else is here.
rm -rf "$cache"/.making-*
work=$(mktemp -d "$cache/.making-XXXXXX")
log=$work/log
: >"$log"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

run_logged() {
	echo "+ $*" >>"$log"
	# fd 9 is the lock: what is started here must not keep it
	"$@" >>"$log" 2>&1 9>&-
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		fail "root is needed to install Samba's build dependencies, and" \
			"there is no sudo: run this once as root"
	fi
}

# --- the source package -----------------------------------------------------

# A copy of the machine's apt sources in which every "deb" is also a "deb-src",
# in both formats that apt knows. ("deb" stays: the build dependencies come from
# the same lists, and the machine's own may be absent.)
make_apt_lists() {
	local list parts f
	mkdir -p "$work/apt/parts" "$work/apt/lists/partial"
	list=$(apt-config shell f Dir::Etc::SourceList/f)
	parts=$(apt-config shell d Dir::Etc::SourceParts/d)
	eval "list=${list#f=} parts=${parts#d=}"
	for f in "$list" "$parts"/*.list; do
		[ -f "$f" ] || continue
		sed -nE 's/^[[:space:]]*deb([[:space:]].*)/deb\1\ndeb-src\1/p' "$f" |
			grep -v '[[:space:]]cdrom:' \
				>"$work/apt/parts/$(basename "$f" .list).list" || true
	done
	for f in "$parts"/*.sources; do
		[ -f "$f" ] || continue
		sed -E 's/^[Tt]ypes:.*/Types: deb deb-src/' "$f" \
			>"$work/apt/parts/$(basename "$f")"
	done
	grep -qsE '^(deb-src|Types:)' "$work"/apt/parts/* ||
		fail "apt has no package sources: add the Debian archive to" \
			"/etc/apt/sources.list and try again"
	apt_options=(
		-o "Dir::Etc::SourceList=/dev/null"
		-o "Dir::Etc::SourceParts=$work/apt/parts"
		-o "Dir::State::Lists=$work/apt/lists"
		# never the machine's: they are an index of the machine's lists
		-o "Dir::Cache::pkgcache="
		-o "Dir::Cache::srcpkgcache="
		-o "Acquire::Retries=2"
		-o "Acquire::http::Timeout=30"
	)
	# apt's unprivileged user cannot write to a cache in root's home
	[ "$(id -u)" -ne 0 ] || apt_options+=(-o "APT::Sandbox::User=root")
}

# The list of some third party may fail without harm: what counts is whether
# the source of this version was found, so only that is judged.
fetch_source() {
	local want=samba${version:+=$version}
	local network='Could not resolve|Could not connect|Connection (failed|timed out|refused)|Temporary failure|Network is unreachable|Unable to connect'

	say "reading the package lists"
	run_logged apt-get "${apt_options[@]}" update || true
	say "fetching the source of $want"
	if ! (cd "$work" && run_logged apt-get "${apt_options[@]}" source \
		--only-source --download-only "$want"); then
		if grep -qE "$network" "$log"; then
			fail "cannot reach the package archive to fetch the source of" \
				"$want: check the network, then try again"
		fi
		if grep -qE 'No space left' "$log"; then
			fail "no space left in $cache: make room, or choose another" \
				"place with MRMR_CACHE"
		fi
		if grep -qE '404 +Not Found' "$log"; then
			fail "the package archive lists the source of $want but does" \
				"not have all its files: try again later, or with" \
				"another mirror in the apt sources"
		fi
		fail "the package archive has no source of $want: the installed" \
			"Samba is older or newer than what the apt sources offer;" \
			"upgrade it (apt-get update, apt-get install samba) and try again"
	fi
	(cd "$work" && run_logged dpkg-source --no-check -x samba_*.dsc src) ||
		fail "cannot unpack the source of $want"
	[ -x "$work/src/buildtools/bin/waf" ] ||
		fail "the source of $want has no buildtools/bin/waf: this version" \
			"of Samba is not supported"
}

# apt chose; make sure that it is what was asked for, and what runs here.
check_version() {
	local got smbd_version source_version interface

	got=$(dpkg-parsechangelog -l "$work/src/debian/changelog" -S Version)
	[ "$got" = "$version" ] ||
		fail "asked for Samba $version and got $got: check the apt sources"

	# "Version 4.17.12-Debian"
	smbd_version=$(smbd --version 2>/dev/null | sed -nE 's/^Version ([0-9.]+).*/\1/p')
	source_version=$(awk -F= '/^SAMBA_VERSION_(MAJOR|MINOR|RELEASE)=/ {
		v = v (v == "" ? "" : ".") $2 } END { print v }' "$work/src/VERSION")
	[ "$smbd_version" = "$source_version" ] ||
		fail "smbd on the PATH is ${smbd_version:-unknown}, the package samba" \
			"is $source_version: remove the one that is not from the package"

	interface=$(sed -nE 's/^#define SMB_VFS_INTERFACE_VERSION ([0-9]+).*/\1/p' \
		"$work/src/source3/include/vfs.h")
	if [ -z "$interface" ] || [ "$interface" -lt $vfs_interface_min ] ||
		[ "$interface" -gt $vfs_interface_max ]; then
		fail "Samba $version has VFS interface ${interface:-unknown}; this" \
			"module is written for $vfs_interface_min to" \
			"$vfs_interface_max: use a Samba from 4.17 to 4.22"
	fi
}

# --- the headers ------------------------------------------------------------

# What Debian's packagers call a build for a release before 13, such as that of
# its backports: other dependencies, and other flags.
choose_profile() {
	local profile=pkg.samba.before-trixie

	if grep -q "$profile" "$work/src/debian/control" &&
		dpkg --compare-versions "$(. /etc/os-release &&
			echo "${VERSION_ID:-99}")" lt 13; then
		export DEB_BUILD_PROFILES=$profile
	fi
}

install_build_deps() {
	(cd "$work/src" && dpkg-checkbuilddeps -B >>"$log" 2>&1) && return 0
	say "installing Samba's build dependencies"
	(cd "$work/src" && run_logged as_root env DEBIAN_FRONTEND=noninteractive \
		NEEDRESTART_SUSPEND=1 SYSTEMD_OFFLINE=1 RUNLEVEL=1 \
		DEB_BUILD_PROFILES="${DEB_BUILD_PROFILES:-}" \
		apt-get "${apt_options[@]}" build-dep -y --no-install-recommends \
		--no-remove --arch-only .) ||
		fail "cannot install Samba's build dependencies"
}

# The flags come from debian/rules itself, by letting make read it; the recipe's
# shell removes the quotes, so each line is one argument.
configure_samba() {
	local flags=() line

	cat >"$work/flags.mk" <<-'END'
		include debian/rules
		.PHONY: print-config-args
		print-config-args: ; @printf '%s\n' ${config-args}
	END
	(cd "$work/src" && make -s -f "$work/flags.mk" print-config-args) \
		>"$work/flags" 2>>"$log" 9>&- ||
		fail "cannot read the configure flags from debian/rules"
	while IFS= read -r line; do
		[ -z "$line" ] || flags+=("$line")
	done <"$work/flags"
	[ ${#flags[@]} -gt 0 ] ||
		fail "debian/rules of Samba $version keeps its configure flags in an" \
			"unknown place: samba-headers.sh must be taught where"
	say "configuring (about a minute)"
	(cd "$work/src" && run_logged ./buildtools/bin/waf configure "${flags[@]}") ||
		fail "Samba's configure failed"
	# as debian/rules does: the build is not to see the embedded one
	if grep -q 'rm -f third_party/heimdal/lib/gssapi/gssapi.h' \
		"$work/src/debian/rules"; then
		rm -f "$work/src/third_party/heimdal/lib/gssapi/gssapi.h"
	fi
}

# Debian's smbd is built without valgrind. Where it happens to be installed,
# configure notices, and the headers would need it wherever they are used.
forget_valgrind() {
	sed -i '/VALGRIND/d' "$work/src/bin/default/include/config.h"
}

# The targets that only generate. smbd's globals.h reaches so many of the IDL
# files that all of them are made; it is seconds.
header_targets() {
	local idl='librpc/idl/wscript_build source3/librpc/idl/wscript_build'

	cd "$work/src"
	# shellcheck disable=SC2086 # two words
	sed 's/#.*//' $idl | grep -oE '[A-Za-z0-9_]+\.idl' | sed 's/\.idl$//' |
		tr '[:lower:]' '[:upper:]' | sort -u | sed 's/^/PIDL_/'
	# 4.17 names the error tables so; later versions have one for all
	if grep -q hresult_generated libcli/util/wscript_build; then
		echo hresult_generated
	fi
	for target in ntstatus_generated werror_generated; do
		! grep -q "$target" libcli/util/wscript_build || echo $target
	done
	printf '%s\n' s3_param_proto_h param_local.h param_global.h \
		param_functions.h
}

generate_headers() {
	local targets

	targets=$(header_targets | paste -sd,) ||
		fail "cannot list the headers to generate"
	say "generating headers"
	(cd "$work/src" && run_logged ./buildtools/bin/waf build \
		--targets="$targets") ||
		fail "generating Samba's headers failed"
}

# Keeps what a compiler and waf read. Tens of megabytes instead of hundreds.
prune() {
	local src=$work/src

	if [ "$waf_only" = yes ]; then
		mkdir "$work/pruned"
		(cd "$src" && cp -a --parents buildtools third_party/waf COPYING \
			"$work/pruned")
		rm -rf "$src"
		mv "$work/pruned" "$src"
		return
	fi
	if [ "$full" = yes ]; then
		find "$src/bin" -name '*.o' -delete
		return
	fi
	find "$src" -not -type d \
		-not -path "$src/buildtools/*" -not -path "$src/third_party/waf/*" \
		-not -path "$src/debian/changelog" -not -path "$src/debian/rules" \
		-not -name '*.h' -not -name '*.inc' -not -name '*.def' \
		-not -name COPYING -not -name VERSION -delete
	find "$src" -depth -type d -empty -delete
}

# Better here than as an error in the middle of the module's build.
probe() {
	local d flags=()

	for d in source3 source3/include include lib lib/replace lib/talloc \
		lib/tevent . librpc source4; do
		flags+=(-I"bin/default/$d" -I"$d")
	done
	cat >"$work/probe.c" <<-'END'
		#include "includes.h"
		#include "smbd/smbd.h"
		#include "smbd/globals.h"
		#include "system/filesys.h"
	END
	(cd "$work/src" && run_logged gcc -fsyntax-only -w -D_SAMBA_BUILD_=4 \
		-DHAVE_CONFIG_H=1 -D_GNU_SOURCE=1 -D_XOPEN_SOURCE_EXTENDED=1 \
		-D__STDC_WANT_LIB_EXT1__=1 -D_REENTRANT "${flags[@]}" \
		"$work/probe.c") ||
		fail "the headers of Samba $version were made but do not compile"
}

publish() {
	local kind=$1 to=$2

	echo "$recipe $kind" >"$work/src/.mrmr-recipe"
	if [ -e "$to" ]; then
		mv "$to" "$work/old"
	fi
	mv "$work/src" "$to"
	rm -f "$cache/samba-headers.log"
	echo "$to"
}

make_apt_lists
fetch_source
if [ "$waf_only" = yes ]; then
	prune
	publish waf "$waf_target"
	exit 0
fi
check_version
choose_profile
install_build_deps
configure_samba
generate_headers
forget_valgrind
prune
probe
if [ "$full" = yes ]; then
	publish full "$target"
else
	publish headers "$target"
fi
