#!/bin/bash
# Two of five drives die while clients read and write, and nothing is lost: to
# watch, and to read as a recipe.
#
#   drive-dies.sh [OPTION]...
#
#   --dir D            where everything is made [/srv/mrmr-drive-dies]; it must
#                      not be there, and is removed in the end
#   --files N          how many files the tree has [2000]
#   --large MIB        the size of the largest [64]; 1024 is a GiB
#   --keep             leave all there, with smbd running, to look around
#   --module-dir BUILD use what was built in BUILD, do not build
#
# The "drives" are directories; to pull one out is to move it away. Everything a
# client does goes through a private smbd on 127.0.0.1 (quickstart.sh); nothing
# that the machine has is touched. Needs root, and four times the tree's size.
set -eu -o pipefail

self=$(realpath "$0")
here=$(dirname "$self")
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

dir=/srv/mrmr-drive-dies
files=2000
large=64
keep=
options=()
arguments=("$@")

usage() {
	echo "usage: drive-dies.sh [--dir D] [--files N] [--large MIB] [--keep]" \
		"[--module-dir BUILD]" >&2
	exit 64
}

while [ $# -gt 0 ]; do
	case $1 in
	--keep) keep=yes ;;
	-h | --help)
		sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$self" | head -n -1
		exit 0
		;;
	--dir | --files | --large | --module-dir)
		[ $# -ge 2 ] || usage
		case $1 in
		--dir) dir=$(realpath -m "$2") ;;
		--files) files=$2 ;;
		--large) large=$2 ;;
		--module-dir) options=(--module-dir "$(realpath "$2")") ;;
		esac
		shift
		;;
	*) usage ;;
	esac
	shift
done
case $files$large in
*[!0-9]*) usage ;;
esac
if [ "$(id -u)" -ne 0 ]; then
	exec sudo -- "$self" "${arguments[@]}"
fi
if [ -e "$dir" ]; then
	echo "drive-dies: $dir is there already: choose another --dir" >&2
	exit 64
fi

step=0
step() {
	step=$((step + 1))
	printf '\n== %d. %s\n' "$step" "$*"
}

show() {
	printf '$ %s\n' "$*"
	"$@"
}

clean_up() {
	local status=$?
	trap - EXIT
	# shellcheck disable=SC2046 # a list of numbers
	kill $(jobs -p) 2>/dev/null || true
	wait
	if [ -n "$keep" ]; then
		echo "all is left in $dir; stop smbd with" \
			"$here/quickstart.sh down --dir $dir/pool"
		exit "$status"
	fi
	if [ -e "$dir/pool/run/lock" ]; then
		if [ "$status" -ne 0 ]; then
			tail -n 20 "$dir/pool/log/smbd.log" >&2 || true
		fi
		"$here/quickstart.sh" down --dir "$dir/pool" >/dev/null
	fi
	rm -rf "$dir"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
	echo "drive-dies: FAILED: $*" >&2
	exit 70
}

mkdir -p "$dir"/{drives,pulled,tree}
chmod 0755 "$dir" "$dir/drives"

# --- what clients do ----------------------------------------------------------

smb() {
	smbclient -s "$MRMR_SMB_CONF" -A "$MRMR_AUTH" -p "$MRMR_PORT" \
		//127.0.0.1/pool "$@"
}

# smbclient's status is that of its last command only
smb_quiet() {
	local out
	out=$(smb -c "$1" 2>&1) || { echo "$out"; return 1; }
	! grep -E 'NT_STATUS_[A-Z_]+' <<<"$out"
}

# Everything in the share, compared with the hashes of what was put there.
compare_share() {
	rm -rf "$dir/got"
	mkdir "$dir/got"
	smb_quiet "prompt; recurse; lcd \"$dir/got\"; mget *" ||
		fail "not every file could be read"
	(cd "$dir/got" && sha256sum --quiet -c "$dir/hashes") ||
		fail "some files have other bytes"
	[ "$(acl)" = "$(cat "$dir/acl")" ] || fail "an ACL is another one"
	smb_quiet "get \"with stream.txt:notes\" \"$dir/stream\"" ||
		fail "a stream could not be read"
	[ "$(cat "$dir/stream")" = "kept beside the file" ] ||
		fail "a stream has other bytes"
	echo "$(wc -l <"$dir/hashes") files read through SMB, all right"
	rm -rf "$dir/got"
}

# The ACL of "with acl.txt", in hexadecimal. `acl add` lets everyone read, first.
acl() {
	PYTHONPATH=$(dirname "$here")/tests/tools /usr/bin/python3 -B - "$@" <<-END
		import sys
		import smb2
		import tree
		client = smb2.Client("pool")
		f = client.create("with acl.txt")
		if "add" in sys.argv:
		    client.set_security(f, tree.everyone_reads(client.security(f)))
		print(client.security(f, 4).hex())
	END
}

reader() {
	local name sum n=0
	while [ ! -e "$dir/enough" ]; do
		while read -r sum name; do
			[ ! -e "$dir/enough" ] || break
			smb_quiet "get \"${name//\//\\}\" \"$dir/reading\"" ||
				fail "the reader got an error for $name"
			echo "$sum  $dir/reading" | sha256sum --status -c ||
				fail "the reader got wrong bytes of $name"
			n=$((n + 1))
			echo "$n" >"$dir/reads"
		done < <(shuf "$dir/hashes")
	done
}

writer() {
	local n=0
	while [ ! -e "$dir/enough" ]; do
		n=$((n + 1))
		head -c $((RANDOM * 5)) /dev/urandom >"$dir/writing"
		smb_quiet "put \"$dir/writing\" \"written\\$n\"" ||
			fail "the writer got an error"
		sha256sum "$dir/writing" | sed "s|$dir/writing|written/$n|" \
			>>"$dir/written"
	done
}

# --- the story ----------------------------------------------------------------

step "A pool of five drives, any two of which may be lost"
show "$here/quickstart.sh" up --dir "$dir/pool" --parity 2 "${options[@]}" \
	--member "$dir/drives/1" --member "$dir/drives/2" \
	--member "$dir/drives/3" --member "$dir/drives/4" \
	--member "$dir/drives/5" >"$dir/quickstart.log" ||
	{ cat "$dir/quickstart.log"; fail "the pool could not be made"; }
set -a
. "$dir/pool/env"
set +a
admin=$MRMR_ADMIN
# Files in all places. But what is written onto a drive in the last seconds before
# it dies is on that drive only, and goes with it: so what the writer writes does
# not go onto those two.
rules=$(printf '[{"match": "written/*", "members": ["%s", "%s", "%s"]}]' \
	"$dir"/drives/{1,3,5})
sed -i "s|\"placement\": \"[^\"]*\"|\"placement\": \"spread\", \"rules\": $rules|" \
	"$MRMR_CONFIG"
show "$admin" config check || fail "the config is not right"

step "A tree of $files files, from 0 bytes to $large MiB, through SMB"
(
	cd "$dir/tree"
	mkdir -p 'a b/ünïcode/日本' "it's \$HOME & more" deep/er/and/deeper written
	places=(. 'a b' 'a b/ünïcode' 'a b/ünïcode/日本' "it's \$HOME & more"
		deep deep/er/and/deeper)
	for ((i = 0; i < files - 4; i++)); do
		head -c $((i % 20 ? RANDOM % 20000 : RANDOM * 8)) /dev/urandom \
			>"${places[i % 7]}/file $i"
	done
	: >empty
	head -c $((large << 20)) /dev/urandom >large
	echo "with an ACL" >"with acl.txt"
	echo "with a stream" >"with stream.txt"
	find . -type f -printf '%P\n' | sort | tr '\n' '\0' |
		xargs -0 sha256sum >"$dir/hashes"
)
smb_quiet "prompt; recurse; lcd \"$dir/tree\"; mput *" ||
	fail "the tree could not be written"
echo -n "kept beside the file" >"$dir/stream"
smb_quiet "put \"$dir/stream\" \"with stream.txt:notes\"" ||
	fail "the stream could not be written"
acl add >/dev/null || fail "the ACL could not be set"
acl >"$dir/acl"
show du -sh --apparent-size "$dir/tree"

step "It is protected by itself, soon; \`sync\` waits for it"
show "$admin" sync
show "$admin" status || fail "not all is protected"

step "Two drives are pulled out, while one client reads and another writes"
reader &
reading=$!
writer &
writing=$!
sleep 2
show mv "$dir/drives/2" "$dir/pulled/"
sleep 3
show mv "$dir/drives/4" "$dir/pulled/"
sleep 5
touch "$dir/enough"
wait $reading || fail "reading did not go on"
wait $writing || fail "writing did not go on"
echo "read meanwhile: $(cat "$dir/reads") files;" \
	"written: $(wc -l <"$dir/written")"
cat "$dir/written" >>"$dir/hashes"
show "$admin" status || true
compare_share

step "Their files are made again, on one new drive and on the others"
mkdir "$dir/drives/new"
show "$admin" --yes rebuild "$dir/drives/2" --onto "$dir/drives/new"
show "$admin" --yes rebuild "$dir/drives/4" --spread
show "$admin" sync
show "$admin" status || fail "not all is protected again"
compare_share
show "$admin" check || fail "something could not be recovered"

step "The metadata burns; it is recovered from the drives"
"$here/quickstart.sh" down --dir "$dir/pool" >/dev/null
show rm -rf "$dir/pool/state"
mkdir "$dir/pool/state"
show "$admin" --yes recover
"$here/quickstart.sh" up --dir "$dir/pool" >/dev/null
show "$admin" check || fail "something could not be recovered"
compare_share

step "And without any MRMR: rsync gives the tree"
"$here/quickstart.sh" down --dir "$dir/pool" >/dev/null
rm -rf "$dir/pool/state" "$dir"/drives/*/.mrmr
for drive in "$dir"/drives/*/; do
	show rsync -aX "$drive" "$dir/copy/"
done
(cd "$dir/copy" && sha256sum --quiet -c "$dir/hashes") ||
	fail "some files have other bytes"
echo
echo "$(wc -l <"$dir/hashes") files, all of them right, after two drives, the" \
	"metadata and MRMR itself were lost."
