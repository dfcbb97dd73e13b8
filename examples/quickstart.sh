#!/bin/bash
# From a fresh checkout to a working share, and a tool for tests: a pool of
# members and a private smbd on 127.0.0.1 that serves it.
#
#   quickstart.sh up [OPTION]...     start (or start again, with what changed)
#   quickstart.sh down [--dir D]     stop; the members and all files stay
#   quickstart.sh status [--dir D]   is it running, and where
#   quickstart.sh run [--dir D] COMMAND...
#                  run a command where this smbd's users and modules are seen
#                  (net, pdbedit, smbstatus, ... with -s "$MRMR_SMB_CONF")
#
# Options of up; all but --dir are remembered in D, a later up needs none:
#   --dir D            where everything is kept [/srv/mrmr-quickstart]
#   --port P           TCP port on 127.0.0.1 [a free one]
#   --parity N         how many members may be lost [1]
#   --member PATH      a directory for the pool's files, with or without files
#                      in it already; repeat it [D/member1 to D/member3]
#   --protect MODE     mrmr:protect of the pool: queue, wait or no [queue]
#   --plain PATH       a second share, "plain", over PATH, without mrmr
# Mostly for tests:
#   --vfs "LIST"       `vfs objects` of the shares; the pool gets mrmr at its
#                      place [catia fruit streams_xattr acl_xattr]
#   --conf FILE        more lines for smb.conf, with their [section]s; they
#                      override the options for all; "" forgets them
#   --user NAME[:PASSWORD]   a user of this smbd; repeat it [mrmr]
#   --module-dir BUILD use what was built in BUILD, do not build or install
#   --smbd PATH        another smbd than the installed one
#   --env NAME=VALUE   into smbd's environment; repeat it; --env "" forgets;
#                      @D@ stands for D
#   --stand-in PATH    no pool: the share "pool" is plain too, over PATH, and
#                      nothing is built (to try the tests themselves)
#
# What the machine has is left alone: the users exist only inside a mount
# namespace of the private smbd, where copies of /etc/passwd and /etc/group,
# and of Samba's module directory with mrmr.so in it, lie over the real ones.
# Another smbd that runs here is never touched. Mounts that are made or undone
# later on the machine are seen inside as far as their parents are shared.
#
# D/env has what a script needs to connect: MRMR_URL, MRMR_USER, ...
set -eu -o pipefail

self=$(realpath "$0")
top=${self%/*/*}

# The administrator's PATH may put another python or samba first.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

default_vfs="catia fruit streams_xattr acl_xattr"
start_seconds=60     # how long smbd may take (much, under valgrind)

say() {
	echo "quickstart: $*"
}

fail() {
	echo "quickstart: $*" >&2
	exit 70
}

usage() {
	[ $# -eq 0 ] || echo "quickstart: $*" >&2
	echo "usage: quickstart.sh up|down|status|run [OPTION]..." \
		"(--help says more)" >&2
	exit 64
}

# --- what is remembered in D -------------------------------------------------

dir=/srv/mrmr-quickstart
port=
parity=1
members=()
plain=
vfs=$default_vfs
module_dir=
smbd=
smbd_env=()
stand_in=
protect=queue

remembered=(port parity members plain vfs module_dir smbd smbd_env stand_in
	protect)

save_options() {
	local text
	text=$'\n'$(declare -p "${remembered[@]}")
	# -g: it is read inside functions
	printf '%s\n' "${text//$'\n'declare -/$'\n'declare -g -}" \
		>"$dir/options.new"
	mv "$dir/options.new" "$dir/options"
}

# --- the processes of a private smbd -----------------------------------------

# A tenth of a second, without a process for it. Nothing ever comes from there.
nap() {
	read -r -t 0.1 -u "$nothing" || true
}

open_nothing() {
	[ -p "$dir/run/nothing" ] || mkfifo -m 0600 "$dir/run/nothing"
	exec {nothing}<>"$dir/run/nothing"
}

# Every process in the mount namespace of D's smbd has a mount there whose
# source is the tag, a random word: no other process can be mistaken for one of
# ours, whatever its name or number. They are left in the array inside.
find_inside() {
	local tag
	inside=()
	[ -s "$dir/run/tag" ] || return 0
	read -r tag <"$dir/run/tag"
	mapfile -t inside < <(grep -lsF -- "$tag" /proc/[0-9]*/mountinfo)
	inside=("${inside[@]#/proc/}")
	inside=("${inside[@]%/mountinfo}")
}

# Is the main smbd alive, and the one that was recorded? Its number is left in
# main_pid.
is_running() {
	local recorded
	main_pid=
	[ -s "$dir/run/smbd" ] || return 1
	read -r main_pid recorded <"$dir/run/smbd"
	find_start_time "$main_pid"
	[ -n "$start_time" ] && [ "$start_time" = "$recorded" ]
}

# Left in start_time, of a process that lives (a zombie does not); the name before
# it, in brackets, may have blanks.
find_start_time() {
	local line fields
	start_time=
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
	read -r -a fields <<<"${line##*) }"
	[ "${fields[0]}" = Z ] || start_time=${fields[19]}
}

wait_until_gone() {
	local tenths=$1
	while is_running || { find_inside && [ ${#inside[@]} -gt 0 ]; }; do
		if [ "$tenths" -eq 0 ]; then
			find_inside
			return 1
		fi
		tenths=$((tenths - 1))
		nap
	done
}

stop_smbd() {
	! is_running || kill -TERM "$main_pid" 2>/dev/null || true
	if ! wait_until_gone 50; then
		kill -TERM "${inside[@]}" 2>/dev/null || true
		if ! wait_until_gone 50; then
			kill -KILL "${inside[@]}" 2>/dev/null || true
			wait_until_gone 50 ||
				fail "some processes of $dir do not end: ${inside[*]}"
		fi
	fi
	rm -f "$dir/run/smbd" "$dir/run/tag" "$dir/run/started-with"
}

# --- preparing D -------------------------------------------------------------

# Of so many bytes, a multiple of four, in hex.
random_word() {
	local i
	for ((i = 0; i < $1; i += 4)); do
		printf '%08x' "$SRANDOM"
	done
}

check_dir() {
	case $dir in
	*[!A-Za-z0-9/._+@-]*)
		fail "$dir has a character that smb.conf would trip over:" \
			"choose another --dir"
		;;
	esac
	# Samba makes Unix sockets below it, whose names are limited to 107 bytes.
	[ ${#dir} -le 72 ] || fail "$dir is too long a name: choose a shorter --dir"
	if [ -e "$dir" ]; then
		[ -d "$dir" ] || fail "$dir is not a directory"
		[ -O "$dir" ] ||
			fail "$dir does not belong to root: choose another --dir"
		[ -e "$dir/run/lock" ] || [ -z "$(ls -A "$dir")" ] ||
			fail "$dir is not empty and no quickstart made it:" \
				"choose another --dir"
	fi
	local open d
	open=("$dir" "$dir"/run{,/ns}
		"$dir"/samba{,/lock,/state,/cache,/pid,/ncalrpc,/usershares})
	for d in "${open[@]}" "$dir/log" "$dir/samba/private"; do
		if [ ! -d "$d" ]; then
			install -d -m 0755 "${open[@]}"
			install -d -m 1777 "$dir/log"
			install -d -m 0700 "$dir/samba/private"
		fi
	done
}

# A uid that is free on this machine, in the range of ordinary users.
free_uid() {
	local uid=59000
	while getent passwd "$uid" >/dev/null || getent group "$uid" >/dev/null ||
		cut -d: -f2 "$dir/users" | grep -qx "$uid"; do
		uid=$((uid + 1))
	done
	echo "$uid"
}

# Adds what was asked for to D/users, which has a line NAME:UID:PASSWORD for each;
# a user that is there gets the password. The first one owns the directories that
# quickstart makes.
record_users() {
	local spec name password uid
	[ -e "$dir/users" ] || (umask 077 && : >"$dir/users")
	[ $# -gt 0 ] || [ -s "$dir/users" ] || set -- mrmr
	for spec in "$@"; do
		name=${spec%%:*}
		case $name in
		"" | root | *[!a-z0-9_-]*)
			fail "--user: \"$name\" will not do as a name: small letters," \
				"digits, - and _, and not root"
			;;
		esac
		IFS=: read -r _ uid password <<<"$(grep "^$name:" "$dir/users")"
		case $spec in
		*:*) password=${spec#*:} ;;
		esac
		[ -n "$password" ] || password=$(random_word 8)
		[ -n "$uid" ] || uid=$(id -u "$name" 2>/dev/null) || uid=$(free_uid)
		! grep -qxF -- "$name:$uid:$password" "$dir/users" || continue
		(
			umask 077
			# in its place if it is there, else at the end
			awk -F: -v name="$name" '
				$1 == name { getline < "/dev/stdin"; seen = 1 }
				{ print }
				END { if (!seen && (getline < "/dev/stdin") > 0) print }
			' "$dir/users" <<<"$name:$uid:$password" >"$dir/users.new"
		)
		mv "$dir/users.new" "$dir/users"
	done
	IFS=: read -r owner_name owner_uid owner_password <"$dir/users"
	owner_gid=$(id -g "$owner_name" 2>/dev/null) || owner_gid=$owner_uid
	(umask 077 && printf 'username=%s\npassword=%s\n' "$owner_name" \
		"$owner_password" >"$dir/auth")
}

as_owner() {
	setpriv --reuid "$owner_uid" --regid "$owner_gid" --clear-groups "$@"
}

# An empty directory is given to the share's user; what has files in it keeps
# its owner and mode.
prepare_root() {
	local path=$1 content
	[ -d "$path" ] || mkdir -p "$path"
	content=$(find "$path" -mindepth 1 -maxdepth 1 ! -name lost+found \
		! -name .mrmr -print -quit)
	if [ -z "$content" ] && [ -O "$path" ]; then
		install -d -o "$owner_uid" -g "$owner_gid" -m 0775 "$path"
	fi
	# who may write to what is in it may enter it, too
	as_owner test -w "$path/." && return
	as_owner test -x "$path" ||
		fail "the user $owner_name may not enter $path: one of the" \
			"directories above it is closed to others; choose another place"
	say "note: $owner_name may not write to $path (it has files and" \
		"belongs to $(stat -c %U:%G "$path")), so the share is" \
		"read-only there"
}

# The sockets that listen on a port.
listeners() {
	local hex file lines line fields
	listeners=()
	printf -v hex ':%04X' "$1"
	for file in /proc/net/tcp /proc/net/tcp6; do
		[ -e "$file" ] || continue
		mapfile -t lines <"$file"
		for line in "${lines[@]}"; do
			[[ $line == *"$hex "* ]] || continue
			read -r -a fields <<<"$line"
			# 0A: listening
			[[ ${fields[1]} != *"$hex" || ${fields[3]} != 0A ]] ||
				listeners+=("socket:[${fields[9]}]")
		done
	done
}

port_in_use() {
	listeners "$1"
	[ ${#listeners[@]} -gt 0 ]
}

smbd_listens() {
	local listener open
	listeners "$port"
	open=$(ls -l "/proc/$main_pid/fd" 2>/dev/null) || return 1
	for listener in "${listeners[@]}"; do
		[[ $open != *"$listener"* ]] || return 0
	done
	return 1
}

choose_port() {
	if [ -n "$port" ]; then
		! port_in_use "$port" || fail "port $port is in use: say another --port"
		return
	fi
	# below the range that the kernel hands out for outgoing connections
	port=$((20000 + SRANDOM % 10000))
	while port_in_use "$port"; do
		port=$((port + 1))
	done
}

build() {
	if [ -n "$stand_in" ]; then
		return
	fi
	if [ -z "$module_dir" ]; then
		"$top/source/build/make.sh" --targets=mrmr,mrmr-admin
		built=$top/bin
	else
		built=$module_dir
	fi
	for f in mrmr.so mrmr-admin; do
		[ -e "$built/$f" ] || fail "there is no $f in $built"
	done
	# Its name does not change with --module-dir, and it knows its config.
	cat >"$dir/mrmr-admin" <<-END
		#!/bin/sh
		MRMR_CONFIG=$(printf %q "$dir/mrmr.json")
		export MRMR_CONFIG
		exec $(printf %q "$built/mrmr-admin") "\$@"
	END
	chmod 0755 "$dir/mrmr-admin"
}

make_pool() {
	local m
	if [ -n "$stand_in" ]; then
		pool_path=$stand_in
		prepare_root "$pool_path"
		return
	fi
	pool_path=$dir/state/spine
	if [ -e "$dir/mrmr.json" ]; then
		return
	fi
	[ ${#members[@]} -gt 0 ] || members=("$dir"/member{1,2,3})
	for m in "${members[@]}"; do
		prepare_root "$m"
	done
	"$dir/mrmr-admin" --quiet --yes init --parity "$parity" \
		--state-dir "$dir/state" "${members[@]}" ||
		fail "the pool could not be made"
	# the share's root looks like the members' roots
	if [ "$(stat -c %u "$pool_path")" -eq 0 ]; then
		chown --reference="${members[0]}" "$pool_path"
		chmod --reference="${members[0]}" "$pool_path"
	fi
}

# mrmr comes after the modules that translate names, streams and ACLs, and
# before those that do I/O on the descriptors themselves.
with_mrmr() {
	local before="" after="" module
	for module in $1; do
		case $module in
		mrmr) echo "$1"; return ;;
		io_uring | aio_pthread | aio_fork | btrfs) after="$after $module" ;;
		*) before="$before $module" ;;
		esac
	done
	echo "${before# }${before:+ }mrmr$after"
}

without_mrmr() {
	local module rest=
	for module in $1; do
		[ "$module" = mrmr ] || rest="$rest $module"
	done
	echo "${rest# }"
}

write_smb_conf() {
	local s=$dir/samba
	{
		cat <<-END
		# Written by quickstart.sh at every up; --conf adds to it.
		[global]
		server role = standalone server
		server string = MRMR quickstart
		workgroup = WORKGROUP
		netbios name = QUICKSTART
		disable netbios = yes
		interfaces = 127.0.0.1
		bind interfaces only = yes
		smb ports = $port
		log file = $dir/log/smbd.log
		max log size = 10000
		logging = file
		panic action =
		private dir = $s/private
		lock directory = $s/lock
		state directory = $s/state
		cache directory = $s/cache
		pid directory = $s/pid
		ncalrpc dir = $s/ncalrpc
		binddns dir = $s/private
		usershare path =
		passdb backend = tdbsam:$s/private/passdb.tdb
		map to guest = never
		load printers = no
		printing = bsd
		printcap name = /dev/null
		disable spoolss = yes
		# mrmr sees to changes on the members itself, and with this on,
		# notifyd would drop smbd's own events (see docs)
		kernel change notify = no
		# all access is through this smbd, and clients on a weak network
		# keep their open files (durable handles)
		kernel oplocks = no
		kernel share modes = no
		posix locking = no
		durable handles = yes
		ea support = yes
		store dos attributes = yes
		map archive = no
		map hidden = no
		map system = no
		map readonly = no
		# macOS: the defaults that its clients work best with
		fruit:aapl = yes
		fruit:metadata = stream
		fruit:model = MacSamba
		fruit:nfs_aces = no
		fruit:posix_rename = yes
		fruit:veto_appledouble = no
		fruit:wipe_intentionally_left_blank_rfork = yes
		fruit:delete_empty_adfiles = yes
		read only = no

		END
		# before the shares: they take over what [global] says by then
		if [ -s "$dir/extra.conf" ]; then
			cat "$dir/extra.conf"
			echo
		fi
		echo "[pool]"
		echo "path = $pool_path"
		if [ -n "$stand_in" ]; then
			echo "vfs objects = $(without_mrmr "$vfs")"
		else
			echo "vfs objects = $(with_mrmr "$vfs")"
			echo "mrmr:config = $dir/mrmr.json"
			echo "mrmr:admin = $built/mrmr-admin"
			echo "mrmr:protect = $protect"
		fi
		if [ -n "$plain" ]; then
			cat <<-END

			[plain]
			path = $plain
			vfs objects = $(without_mrmr "$vfs")
			END
		fi
	} >"$dir/smb.conf.new"
	mv "$dir/smb.conf.new" "$dir/smb.conf"
}

write_env() {
	(
		umask 077
		{
			echo "MRMR_URL=smb://127.0.0.1:$port/pool"
			echo "MRMR_USER=$owner_name"
			printf 'MRMR_PASSWORD=%q\n' "$owner_password"
			echo "MRMR_PORT=$port"
			printf 'MRMR_CONFIG=%q\n' "$dir/mrmr.json"
			printf 'MRMR_ADMIN=%q\n' "$dir/mrmr-admin"
			printf 'MRMR_SMB_CONF=%q\n' "$dir/smb.conf"
			printf 'MRMR_AUTH=%q\n' "$dir/auth"
			printf 'MRMR_DIR=%q\n' "$dir"
			[ -z "$plain" ] ||
				echo "MRMR_PLAIN_URL=smb://127.0.0.1:$port/plain"
		} >"$dir/env.new"
	)
	mv "$dir/env.new" "$dir/env"
}

# --- starting ----------------------------------------------------------------

# Asked of an smbd once, until there is a newer one.
modules_directory() {
	local known=$dir/run/modules program=
	[ ! "$known" -nt "$smbd_program" ] || read -r program modules <"$known"
	if [ "$program" != "$smbd_program" ]; then
		modules=$("$smbd_program" -b | sed -n 's/^ *MODULESDIR: *//p')
		echo "$smbd_program $modules" >"$known"
	fi
	modules=$modules/vfs
}

# In the new mount namespace, as root, before smbd takes over this process.
enter_namespace() {
	local ns=$dir/run/ns tag modules name password uid

	read -r tag <"$dir/run/tag"
	mount -t tmpfs -o mode=0755,size=64m "$tag" "$ns"

	cp /etc/passwd /etc/group "$ns/"
	while IFS=: read -r name uid password; do
		getent passwd "$name" >/dev/null && continue
		echo "$name:x:$uid:$owner_gid:MRMR quickstart:/nonexistent:/usr/sbin/nologin" \
			>>"$ns/passwd"
	done <"$dir/users"
	if ! getent group "$owner_gid" >/dev/null; then
		echo "$owner_name:x:$owner_gid:" >>"$ns/group"
	fi
	mount --bind "$ns/passwd" /etc/passwd
	mount --bind "$ns/group" /etc/group
	if [ -d /run/nscd ]; then
		# its answers are those of the machine
		mkdir "$ns/nscd"
		mount --bind "$ns/nscd" /run/nscd
	fi

	if [ -n "$built" ]; then
		modules_directory
		cp -a "$modules" "$ns/vfs"
		[ ! -e "$ns/vfs/mrmr.so" ] || rm "$ns/vfs/mrmr.so"
		cp "$built/mrmr.so" "$ns/vfs/mrmr.so"
		mount --bind "$ns/vfs" "$modules"
	fi

	if ! cmp -s "$dir/users" "$dir/samba/private/users"; then
		while IFS=: read -r name uid password; do
			printf '%s\n%s\n' "$password" "$password" |
				smbpasswd -c "$dir/smb.conf" -s -a "$name" >/dev/null
		done <"$dir/users"
		cp -p "$dir/users" "$dir/samba/private/users"
	fi

	cd /
	exec env "${smbd_env[@]//@D@/$dir}" "$smbd_program" -F --no-process-group \
		-s "$dir/smb.conf"
}

# What a running smbd was started with: if that is the same now, it can stay.
fingerprint() {
	printf '%s\n' "$smbd_program" "${smbd_env[@]}"
	sha256sum "$dir/smb.conf" "$dir/users" ${built:+"$built/mrmr.so"}
}

smb() {
	smbclient -s "$dir/smb.conf" -A "$dir/auth" -p "$port" "$@"
}

start_smbd() {
	local tries=$((start_seconds * 10)) # of a tenth of a second

	echo "mrmr-quickstart-$(random_word 16)" >"$dir/run/tag"
	export owner_name owner_gid built smbd_program
	setsid unshare -m --propagation slave -- "$self" enter-namespace \
		--dir "$dir" </dev/null >"$dir/log/start.log" 2>&1 9>&- {nothing}>&- &
	disown $!
	find_start_time $!
	echo "$! $start_time" >"$dir/run/smbd"
	until smbd_listens; do
		if ! is_running || [ "$tries" -eq 0 ]; then
			give_up "smbd did not start"
		fi
		tries=$((tries - 1))
		nap
	done
	fingerprint >"$dir/run/started-with"
}

give_up() {
	local log
	stop_smbd
	for log in "$dir/log/start.log" "$dir/log/smbd.log"; do
		if [ -s "$log" ]; then
			echo "--- the end of $log" >&2
			tail -n 20 "$log" >&2
		fi
	done
	fail "$*"
}

# A file goes in and comes out again, through SMB. Where the user may not write to
# the share's root, it is listed.
try_share() {
	local share=$1 path=$2 name commands trouble out sent received= tries=5
	name=.quickstart-$(random_word 4)
	sent=$(random_word 16)
	echo "$sent" >"$dir/run/sent"
	: >"$dir/run/received"
	if as_owner test -w "$path/."; then
		commands="put \"$dir/run/sent\" $name; \
			get $name \"$dir/run/received\"; rm $name"
		trouble="a file that was written to it could not be read back"
	else
		commands=ls
		trouble="it could not be listed"
	fi
	# smbd may be listening a moment before it is ready. smbclient's status
	# is that of the last command, so what came back is looked at instead.
	until out=$(smb "//127.0.0.1/$share" -c "$commands" 2>&1) &&
		{ [ "$commands" = ls ] || {
			read -r received <"$dir/run/received" &&
				[ "$received" = "$sent" ]; }; }; do
		tries=$((tries - 1))
		if [ "$tries" -eq 0 ]; then
			echo "$out" >&2
			give_up "the share $share does not work: $trouble"
		fi
		sleep 1
	done
	rm -f "$dir/run/sent" "$dir/run/received"
}

how_to_connect() {
	cat <<-END

	The share "pool" is up: 127.0.0.1, port $port, user $owner_name, password $owner_password

	  Linux     smbclient //127.0.0.1/pool -p $port -U $owner_name%$owner_password
	  macOS     Finder, Go, Connect to Server: smb://$owner_name@127.0.0.1:$port/pool
	  Windows   net use Z: \\\\127.0.0.1\\pool /tcpport:$port /user:$owner_name
	            (Windows 11 24H2 or later)

	From another computer, first:  ssh -L $port:127.0.0.1:$port THIS-MACHINE

	END
	if [ -z "$stand_in" ]; then
		echo "  Status    $dir/mrmr-admin status"
	fi
	echo "  Stop      $self down --dir $dir"
	echo "  Scripts   . $dir/env"
}

# --- the commands ------------------------------------------------------------

can_be_root() {
	[ "$EUID" -eq 0 ] || command -v sudo >/dev/null ||
		fail "this needs root (a private smbd changes users and mounts" \
			"things in a namespace of its own), and there is no sudo:" \
			"run it as root"
}

need_root() {
	can_be_root
	[ "$EUID" -eq 0 ] || exec sudo -- "$self" "${arguments[@]}"
}

# Built as the user who called, so that root owns nothing in the checkout.
build_before_root() {
	can_be_root
	[ "$EUID" -ne 0 ] || return 0
	[ -z "$module_dir" ] && [ -z "$stand_in" ] || return 0
	"$top/source/build/make.sh" --targets=mrmr,mrmr-admin
}

install_missing() {
	# only asks dpkg when all is there
	[ -n "$module_dir" ] || [ ! -x "$top/source/build/deps.sh" ] ||
		"$top/source/build/deps.sh" quickstart
}

cmd_up() {
	local asked_port="" asked_parity="" asked_members=() asked_plain=unset
	local asked_vfs=unset asked_conf=unset asked_users=() asked_build=unset
	local asked_smbd=unset asked_env=() asked_stand_in="" value
	local asked_protect=""

	while [ $# -gt 0 ]; do
		case $1 in
		--*=*)
			value=${1#*=}
			set -- "${1%%=*}" "$value" "${@:2}"
			continue
			;;
		esac
		[ $# -ge 2 ] || usage "$1 needs a value"
		case $1 in
		--dir) dir=$(realpath -m "$2") ;;
		--port) asked_port=$2 ;;
		--parity) asked_parity=$2 ;;
		--member) asked_members+=("$(realpath -m "$2")") ;;
		--protect) asked_protect=$2 ;;
		--plain) asked_plain=$(realpath -m "$2") ;;
		--vfs) asked_vfs=$2 ;;
		--conf) asked_conf=$2 ;;
		--user) asked_users+=("$2") ;;
		--module-dir) asked_build=$(realpath "$2") ;;
		--smbd) asked_smbd=$2 ;;
		--env) asked_env+=("$2") ;;
		--stand-in) asked_stand_in=$(realpath -m "$2") ;;
		*) usage "what is $1?" ;;
		esac
		shift 2
	done
	case $asked_port$asked_parity in
	*[!0-9a-z]*) usage "--port and --parity take a number" ;;
	esac

	if [ "$asked_build" != unset ]; then
		module_dir=$asked_build
	elif [ -n "$asked_stand_in" ]; then
		stand_in=$asked_stand_in
	fi
	build_before_root
	need_root
	install_missing
	check_dir
	exec 9>"$dir/run/lock"
	flock 9
	open_nothing

	[ ! -e "$dir/options" ] || . "$dir/options"
	if [ -e "$dir/mrmr.json" ] && [ ${#asked_members[@]} -gt 0 ] &&
		[ "${asked_members[*]}" != "${members[*]}" ]; then
		fail "$dir has a pool of other members already: change them with" \
			"$dir/mrmr-admin add and remove, or choose another --dir"
	fi
	local old_port=$port
	[ -z "$asked_port" ] || port=$asked_port
	[ -z "$asked_parity" ] || parity=$asked_parity
	[ ${#asked_members[@]} -eq 0 ] || members=("${asked_members[@]}")
	[ -z "$asked_protect" ] || protect=$asked_protect
	[ "$asked_plain" = unset ] || plain=$asked_plain
	[ "$asked_vfs" = unset ] || vfs=$asked_vfs
	[ "$asked_build" = unset ] || module_dir=$asked_build
	[ "$asked_smbd" = unset ] || smbd=$asked_smbd
	[ -z "$asked_stand_in" ] || stand_in=$asked_stand_in
	if [ ${#asked_env[@]} -gt 0 ]; then
		smbd_env=()
		for value in "${asked_env[@]}"; do
			[ -z "$value" ] || smbd_env+=("$value")
		done
	fi
	case $asked_conf in
	unset) ;;
	"") rm -f "$dir/extra.conf" ;;
	*) cp "$asked_conf" "$dir/extra.conf" ;;
	esac
	smbd_program=${smbd:-$(command -v smbd || true)}
	[ -n "$smbd_program" ] || fail "there is no smbd"

	built=
	build
	record_users "${asked_users[@]}"
	make_pool
	[ -z "$plain" ] || prepare_root "$plain"

	if is_running && [ "$port" = "$old_port" ]; then
		write_smb_conf
		if [ -e "$dir/run/started-with" ] &&
			[ "$(fingerprint)" = "$(<"$dir/run/started-with")" ]; then
			save_options
			how_to_connect
			return
		fi
	fi
	stop_smbd
	if [ -z "$asked_port" ] && [ -n "$port" ] && port_in_use "$port"; then
		port=
	fi
	while :; do
		choose_port
		write_smb_conf
		save_options
		start_smbd
		# smbd lets others listen on its port as well: one that was
		# started at the same time may have found it free, too
		[ ${#listeners[@]} -gt 1 ] || break
		stop_smbd
		[ -z "$asked_port" ] || fail "port $port is in use: say another --port"
		port=
	done
	try_share pool "$pool_path"
	[ -z "$plain" ] || try_share plain "$plain"
	write_env
	how_to_connect
}

# Options of the other commands: only --dir.
only_dir() {
	case ${1:-} in
	--dir)
		[ $# -ge 2 ] || usage "--dir needs a value"
		dir=$(realpath -m "$2")
		shifted=2
		;;
	--dir=*)
		dir=$(realpath -m "${1#*=}")
		shifted=1
		;;
	*)
		shifted=0
		;;
	esac
}

cmd_down() {
	only_dir "$@"
	[ $# -eq "$shifted" ] || usage "down takes only --dir"
	need_root
	[ -d "$dir/run" ] || fail "there is no quickstart in $dir"
	exec 9>"$dir/run/lock"
	flock 9
	open_nothing
	find_inside
	if ! is_running && [ ${#inside[@]} -eq 0 ]; then
		say "nothing runs in $dir"
	else
		stop_smbd
		say "stopped; the files are where they were, in $dir"
	fi
}

cmd_status() {
	only_dir "$@"
	need_root
	[ -e "$dir/options" ] || fail "there is no quickstart in $dir"
	. "$dir/options"
	if is_running; then
		say "runs: port $port, process $main_pid"
	else
		say "does not run"
		exit 1
	fi
}

cmd_run() {
	only_dir "$@"
	shift "$shifted"
	[ $# -gt 0 ] || usage "run what?"
	need_root
	is_running || fail "the smbd of $dir does not run"
	exec nsenter -t "$main_pid" -m -r -- "$@"
}

arguments=("$@")
command=${1:-}
[ $# -eq 0 ] || shift
case $command in
up) cmd_up "$@" ;;
down) cmd_down "$@" ;;
status) cmd_status "$@" ;;
run) cmd_run "$@" ;;
enter-namespace)
	only_dir "$@"
	. "$dir/options"
	enter_namespace
	;;
-h | --help | help) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$self" | head -n -1 ;;
*) usage ;;
esac
