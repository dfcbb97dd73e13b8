#!/bin/sh
# Installs the Debian packages that a purpose needs and that are missing.
#
#   deps.sh PURPOSE...   build | headers | run | quickstart | test | bench | fuzz |
#                       format
#
# build    compile MRMR, with or without the Samba module
# headers  fetch Samba's source, and what its headers include in turn (its own
#          build dependencies are samba-headers.sh's affair: the source package
#          lists them)
# run      what an installed MRMR needs on a server
# quickstart  examples/quickstart.sh, on top of what it builds
# test     the unit tests and the tests against a private smbd
# bench    the benchmarks and what they compare with
# fuzz     the fuzz targets
# format   check-format.sh
#
# With everything there it asks dpkg once, prints nothing and leaves the
# network alone. No purpose ever starts or enables a Samba service: see
# install_packages().
set -eu

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

usage() {
	echo "usage: deps.sh build|headers|run|quickstart|test|bench|fuzz|format ..." >&2
	exit 64
}

packages_for() {
	case $1 in
	build)
		echo gcc libc6-dev binutils make pkg-config python3 \
			libjansson-dev libpopt-dev libtalloc-dev libtdb-dev \
			libssl-dev libxxhash-dev libisal-dev libcmocka-dev \
			libsmbclient-dev libssh-dev
		;;
	headers)
		echo dpkg-dev build-essential xz-utils python3 perl \
			libacl1-dev libbsd-dev libgnutls28-dev
		;;
	run)
		echo samba samba-vfs-modules attr acl
		;;
	quickstart)
		packages_for run
		echo smbclient util-linux
		;;
	test)
		packages_for build
		packages_for run
		echo samba-testsuite smbclient tdb-tools valgrind \
			xfsprogs btrfs-progs e2fsprogs dosfstools mergerfs \
			libfuse3-dev \
			rsync python3 jq \
			util-linux openssh-client openssh-server
		;;
	bench)
		packages_for test
		echo snapraid fio
		;;
	fuzz)
		packages_for build
		echo clang libclang-rt-dev
		;;
	format)
		echo clang-format git
		;;
	*)
		usage
		;;
	esac
}

# The names among the arguments that are not installed.
missing_packages() {
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" \
		2>/dev/null | sed -n 's/^installed //p')
	for package in "$@"; do
		echo "$installed" | grep -qxF -- "$package" || echo "$package"
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "deps.sh: root is needed to install packages, and" \
			"there is no sudo: run 'apt-get install $missing' as root" >&2
		exit 70
	fi
}

# Debian starts and enables the services of a package as it is installed. A
# machine that only builds or tests wants none of them, so:
#   SYSTEMD_OFFLINE=1  systemctl ignores every start and restart;
#   RUNLEVEL=1         invoke-rc.d starts nothing where there is no systemd.
# Both live in the environment of this one apt run. (A policy-rc.d would do the
# same, but it is a file of the administrator's.) Enabling is not covered by
# them, so what was newly installed is disabled again, through whichever init
# there is; services that were on the machine before are never touched.
services="smbd nmbd winbind samba-ad-dc ssh"

known_services() {
	for service in $services; do
		if [ -e "/etc/init.d/$service" ] ||
			[ -e "/lib/systemd/system/$service.service" ]; then
			echo "$service"
		fi
	done
}

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		SYSTEMD_OFFLINE=1 RUNLEVEL=1 \
		apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1
}

# The release that the installed samba is of, if apt would not take the packages
# that go with it from there by itself: backports. In the table of apt-cache, the
# newest version comes first, and 500 is what apt takes by itself.
samba_release() {
	apt-cache policy samba 2>/dev/null | awk '
		$1 == "***" { installed = 1; next }
		$1 ~ /^[0-9]+$/ && $2 ~ /:/ {
			if (installed && $1 < 500) { sub("/.*", "", $3); print $3 }
			exit
		}'
}

# Those among the arguments that Samba's source package has in that release.
packages_of_samba() {
	apt-cache show "$@" 2>/dev/null | awk -v RS= -v FS='\n' '
		{
			name = ""; of_samba = 0
			for (i = 1; i <= NF; i++) {
				if ($i ~ /^Package: /) name = substr($i, 10)
				if ($i ~ /^Source: samba($| )/) of_samba = 1
			}
			if ((of_samba || name == "samba") && !seen[name]++) print name
		}'
}

install_packages() {
	before=$(known_services)
	release=$(samba_release)
	if [ -n "$release" ]; then
		together=$(packages_of_samba "$@")
		# shellcheck disable=SC2086 # a list of words
		[ -z "$together" ] ||
			apt_install -t "$release" $together || return 1
		# shellcheck disable=SC2086
		set -- $(missing_packages "$@")
	fi
	[ $# -eq 0 ] || apt_install "$@" || return 1
	for service in $(known_services); do
		echo "$before" | grep -qxF -- "$service" && continue
		if command -v systemctl >/dev/null; then
			as_root env SYSTEMD_OFFLINE=1 systemctl -q disable "$service"
		else
			as_root update-rc.d "$service" disable
		fi >/dev/null 2>&1 || true
	done
}

[ $# -gt 0 ] || usage
wanted=
for purpose in "$@"; do
	# usage() in the substitution only ends the subshell, hence the || exit
	wanted="$wanted $(packages_for "$purpose")" || exit 64
done

# shellcheck disable=SC2086 # lists of words from here on
{
	missing=$(missing_packages $wanted | sort -u | tr '\n' ' ')
	[ -n "$missing" ] || exit 0
	echo "deps.sh: installing $missing" >&2
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	# The package lists may be absent or older than the archive.
	if ! install_packages $missing; then
		as_root apt-get update -qq >"$log" 2>&1 || true
		if ! install_packages $missing; then
			cat "$log" >&2
			echo "deps.sh: could not install: $missing-" \
				"check the network and the apt sources" >&2
			exit 70
		fi
	fi
}
