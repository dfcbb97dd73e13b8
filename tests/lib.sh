# What the integration tests share; a test begins with
#
#	#!/bin/bash
#	# What is tested, in a sentence.
#	# timeout: 600           (seconds; this is the default)
#	. "$(dirname "$0")/../lib.sh"
#
# From there on it runs in mount and process namespaces of its own: whatever
# happens, no mount, no process and no loop device outlives it. It has a
# directory, $T, on a tmpfs, which is seen by every smbd that it starts.
#
#	a=$(tmpfs a 64m)                 a file system of its own at $T/a
#	b=$(loop_fs b 256m ext4)         the same on a loop device (xfs, btrfs)
#	pool_up --member "$a" --member "$b" --plain "$T/plain"
#	check "a file can be written" smb pool "put /etc/hostname x"
#	is "$(cat "$a/x")" "$(cat /etc/hostname)" "it is on member a"
#	pool_up --vfs "streams_xattr"    the same pool, smbd with other modules
#	finish
#
# pool_up takes the options of examples/quickstart.sh (there is no protector
# without --protect queue) and sets what its env file has (MRMR_PORT, MRMR_USER,
# MRMR_ADMIN, ...). Each check prints a line "ok - ..." or "not ok - ..."; the
# test goes on after a failure.

set -eu -o pipefail

test_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

if [ "${MRMR_TEST_ISOLATED:-}" != yes ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "$0: needs root (private namespaces and mounts)" >&2
		exit 70
	fi
	if [ -z "${MRMR_BUILD:-}" ]; then
		"$test_top/source/build/deps.sh" test
		"$test_top/source/build/make.sh"
		MRMR_BUILD=$test_top/bin
	fi
	export MRMR_BUILD MRMR_TEST_ISOLATED=yes
	exec unshare --mount --propagation private --pid --fork --kill-child \
		--mount-proc -- "$BASH" "$0" "$@"
fi

test_name=$(basename "$0" .test)
test_passed=0
test_failed=0
test_cleaned=

T=$(mktemp -d "${TMPDIR:-/tmp}/mrmr-XXXXXX")
chmod 0755 "$T"
mount -t tmpfs -o mode=0755,size=4g mrmr-test "$T"
mount --make-shared "$T"
D=$T/q    # of the pool that pool_up makes; a test may set another

# --- file systems ------------------------------------------------------------

# The name, then a size for mount(8).
tmpfs() {
	mkdir -p "$T/$1"
	mount -t tmpfs -o "mode=0755,size=${2:-1g}" "mrmr-$1" "$T/$1"
	echo "$T/$1"
}

# The name, a size for truncate(1), the type. The image is $T/NAME.img, and
# unmounting frees the device.
loop_fs() {
	local name=$1 size=${2:-256m} type=${3:-ext4}
	mkdir -p "$T/$name"
	truncate -s "$size" "$T/$name.img"
	case $type in
	ext4) mkfs.ext4 -q -F -m 0 "$T/$name.img" ;;
	*) "mkfs.$type" -q -f "$T/$name.img" ;;
	esac >&2
	mount -o loop "$T/$name.img" "$T/$name"
	echo "$T/$name"
}

# --- the pool ----------------------------------------------------------------

pool_up() {
	# shellcheck disable=SC2086 # a list of options
	"$test_top/examples/quickstart.sh" up --dir "$D" \
		--module-dir "$MRMR_BUILD" --protect no \
		${MRMR_TEST_QUICKSTART:-} "$@" \
		>"$T/quickstart.log" 2>&1 || {
		sed 's/^/# /' "$T/quickstart.log"
		echo "not ok - $test_name: the pool did not start"
		test_failed=$((test_failed + 1))
		exit 1
	}
	set -a
	. "$D/env"
	set +a
}

pool_down() {
	"$test_top/examples/quickstart.sh" down --dir "$D" >/dev/null
}

# A command where the users of the pool's smbd are known: net, smbstatus, ...
pool_run() {
	"$test_top/examples/quickstart.sh" run --dir "$D" "$@"
}

# A share and commands for smbclient, as the first user; smb_as USER%PASSWORD
# is anyone.
smb() {
	local share=$1 commands=$2
	shift 2
	smbclient -s "$MRMR_SMB_CONF" -A "$MRMR_AUTH" -p "$MRMR_PORT" \
		"//127.0.0.1/$share" -c "$commands" "$@"
}

smb_as() {
	local who=$1 share=$2 commands=$3
	shift 3
	smbclient -s "$MRMR_SMB_CONF" -U "$who" -p "$MRMR_PORT" \
		"//127.0.0.1/$share" -c "$commands" "$@"
}

admin() {
	"$MRMR_ADMIN" "$@"
}

smbd_log() {
	cat "$D/log/smbd.log" 2>/dev/null || true
}

# --- checks ------------------------------------------------------------------

pass() {
	test_passed=$((test_passed + 1))
	echo "ok - $test_name: $1"
}

# A description, then lines that say more.
flunk() {
	test_failed=$((test_failed + 1))
	echo "not ok - $test_name: $1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" | tail -n 30 | sed 's/^/# /'
}

# check DESCRIPTION COMMAND...: the command must succeed.
check() {
	local description=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	if [ $status -eq 0 ]; then
		pass "$description"
	else
		flunk "$description" "$* (status $status)" "$output"
	fi
}

# check_fails DESCRIPTION COMMAND...: it must fail, by itself.
check_fails() {
	local description=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	if [ $status -ne 0 ] && [ $status -lt 126 ]; then
		pass "$description"
	else
		flunk "$description" "$* (status $status)" "$output"
	fi
}

# is GOT WANTED DESCRIPTION
is() {
	if [ "$1" = "$2" ]; then
		pass "$3"
	else
		flunk "$3" "got:    $1" "wanted: $2"
	fi
}

# like TEXT PATTERN DESCRIPTION (extended regular expression)
like() {
	if grep -qE -- "$2" <<<"$1"; then
		pass "$3"
	else
		flunk "$3" "no match for: $2" "in: $1"
	fi
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
	local tenths=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $tenths -gt 0 ] || return 1
		tenths=$((tenths - 1))
		sleep 0.1
	done
}

# --- the end -----------------------------------------------------------------

# smbd must have survived, and no sanitizer may have complained.
check_smbd() {
	local found
	found=$(grep -hE 'INTERNAL ERROR|PANIC' "$T"/*/log/smbd.log 2>/dev/null || true)
	if [ -n "$found" ]; then
		flunk "smbd crashed" "$found"
	fi
	found=$(cat "$T"/*/log/sanitizer.* 2>/dev/null || true)
	if [ -n "$found" ]; then
		flunk "a sanitizer complained" "$found"
	fi
}

test_cleanup() {
	local dir
	[ -z "$test_cleaned" ] || return 0
	test_cleaned=yes
	for dir in "$T"/*/run/smbd; do
		[ -e "$dir" ] || continue
		dir=${dir%/run/smbd}
		"$test_top/examples/quickstart.sh" down --dir "$dir" \
			>/dev/null 2>&1 || true
		if [ -n "${MRMR_TEST_LOGS:-}" ]; then
			cp -r "$dir/log" "$MRMR_TEST_LOGS/$test_name.$(basename "$dir")" \
				2>/dev/null || true
		fi
	done
	cd /
	# the mounts below go with the namespace; the directory would stay
	umount -R "$T" 2>/dev/null || umount -R -l "$T" || true
	rmdir "$T" || true
}
trap test_cleanup EXIT
# as the first process of its namespace, it gets only what it handles
trap 'exit 130' INT
trap 'exit 143' TERM HUP

finish() {
	check_smbd
	test_cleanup
	[ "$test_failed" -eq 0 ] && [ "$test_passed" -gt 0 ]
	exit
}
