/*
 * MRMR: a member that is a local path.
 *
 * It is online if its root is a directory with a marker that names it, and the
 * marker lies on the root's own file system. Looking costs six system calls
 * as long as nothing has changed; the marker is read again when it or the root
 * is another inode than before, or was changed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <mrmr/ctime_tells.h>
#include <mrmr/lasting.h>
#include <mrmr/local.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/shortage.h>

static void close_root(struct mrmr_member *member)
{
	if (member->root_fd != -1) {
		close(member->root_fd);
		member->root_fd = -1;
		member->epoch++;
	}
	if (member->private_fd != -1) {
		close(member->private_fd);
		member->private_fd = -1;
	}
}

void mrmr_local_let_go(struct mrmr_member *member)
{
	close_root(member);
	if (member->state == MRMR_MEMBER_ONLINE) {
		member->state = MRMR_MEMBER_UNKNOWN;
	}
}

static void set_state(struct mrmr_member *member, enum mrmr_member_state state,
		      const char *why)
{
	enum mrmr_member_state before = member->state;

	if (state != MRMR_MEMBER_ONLINE) {
		close_root(member);
		member->caught_up = false;
	}
	member->state = state;
	snprintf(member->why, sizeof(member->why), "%s", why);

	if (before == state || before == MRMR_MEMBER_UNKNOWN) {
		/* A member that is away when a pool is opened is reported
		   once, by whoever opened it. */
		return;
	}
	mrmr_log(state == MRMR_MEMBER_ONLINE ? MRMR_LOG_INFO : MRMR_LOG_WARNING,
		 "member %s is %s%s%s", mrmr_member_name(member),
		 mrmr_member_state_name(state), why[0] != '\0' ? ": " : "",
		 why);
}

/* Where the kernel does not tell of mounts, all have the number 0. */
#define WANTED (STATX_BASIC_STATS | STATX_MNT_ID)

static bool same_place(const struct statx *a, const struct statx *b)
{
	return a->stx_dev_major == b->stx_dev_major &&
	       a->stx_dev_minor == b->stx_dev_minor;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void mrmr_local_look_at_space(struct mrmr_member *member)
{
	struct statvfs fs;

	if (fstatvfs(member->root_fd, &fs) == -1) {
		return;
	}
	member->total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	member->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	member->taken_bytes =
		(uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
	if (member->read_only && (fs.f_flag & ST_RDONLY) == 0) {
		member->no_owners = false; /* what could not be set, perhaps */
	}
	member->read_only = (fs.f_flag & ST_RDONLY) != 0;
}

/*
 * Nothing that is said of the member. To take it for away would make its files
 * vanish from the share of a process that is short of descriptors: it is not
 * known then how the member is.
 */
static bool is_our_trouble(int error)
{
	return mrmr_is_shortage(error) || error == EINTR;
}

static bool not_there(struct mrmr_member *member, int error, const char *why)
{
	if (is_our_trouble(error)) {
		mrmr_local_let_go(member);
		member->state = MRMR_MEMBER_UNKNOWN;
		return false;
	}
	set_state(member, MRMR_MEMBER_AWAY, why);
	return false;
}

/*
 * A drive that was in another machine, or is an attacker's, may have it open to
 * all: pre-images and names of what not everybody may read go in there. Where
 * that cannot be changed it has to be borne, as on FAT.
 */
static void make_private(int private_fd, const struct statx *private)
{
	if (geteuid() != 0 ||
	    (private->stx_uid == 0 && (private->stx_mode & 07777) == 0700)) {
		return;
	}
	if (fchown(private_fd, 0, 0) == 0) {
		fchmod(private_fd, 0700);
	}
}

static bool take_root(struct mrmr_member *member,
		      const struct mrmr_uuid *pool_id, int fd,
		      const struct statx *root)
{
	struct mrmr_error err = {0};
	struct mrmr_marker marker;
	struct statx private;
	int private_fd;
	int error;

	if (mrmr_marker_read(fd, mrmr_member_name(member), &marker, &err) ==
	    -1) {
		return not_there(member, err.code, err.text);
	}
	if (!mrmr_uuid_equal(&marker.pool_id, pool_id) ||
	    !mrmr_uuid_equal(&marker.member_id, &member->config->id)) {
		set_state(member, MRMR_MEMBER_FOREIGN,
			  "its marker names "
			  "another pool or member; is the right drive "
			  "mounted there?");
		return false;
	}

	private_fd = openat(fd, MRMR_DIR,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (private_fd == -1 ||
	    statx(private_fd, "", AT_EMPTY_PATH, WANTED, &private) == -1 ||
	    !same_place(&private, root)) {
		error = private_fd == -1 ? errno : 0;
		if (private_fd != -1) {
			close(private_fd);
		}
		return not_there(member, error,
				 "its " MRMR_DIR " is not a "
				 "directory of its own file system");
	}

	make_private(private_fd, &private);
	close_root(member);
	member->root_fd = fd;
	member->private_fd = private_fd;
	member->private_ino = private.stx_ino;
	member->dev = makedev(root->stx_dev_major, root->stx_dev_minor);
	member->mount_id = root->stx_mnt_id;
	member->root_ino = root->stx_ino;
	member->no_owners = false;
	member->unlasting = mrmr_inodes_do_not_last(fd);
	member->ctime_tells = mrmr_ctime_tells(fd);
	member->epoch++;
	return true;
}

/*
 * Is this what we have open? The mount counts, too: what was unmounted lazily
 * and mounted again is the same file system, but the old mount must be let go
 * of, or the drive stays busy for ever.
 */
static bool is_known(const struct mrmr_member *member, const struct statx *root,
		     const struct stat *private, const struct stat *marker)
{
	return member->root_fd != -1 &&
	       member->dev ==
		       makedev(root->stx_dev_major, root->stx_dev_minor) &&
	       member->mount_id == root->stx_mnt_id &&
	       member->root_ino == root->stx_ino && S_ISDIR(private->st_mode) &&
	       member->private_ino == private->st_ino &&
	       member->marker_ino == marker->st_ino &&
	       same_time(&member->marker_ctime, &marker->st_ctim);
}

bool mrmr_local_look(struct mrmr_member *member,
		     const struct mrmr_uuid *pool_id)
{
	const char *path = member->config->mount_point;
	struct statx root = {0};
	struct stat private;
	struct stat marker;
	char why[256];
	int fd;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 && is_our_trouble(errno) && member->root_fd != -1) {
		return true; /* as it was a second ago */
	}
	if (fd == -1) {
		snprintf(why, sizeof(why), "it cannot be opened: %s",
			 strerror(errno));
		return not_there(member, errno, why);
	}
	if (statx(fd, "", AT_EMPTY_PATH, WANTED, &root) == -1 ||
	    fstatat(fd, MRMR_DIR, &private, AT_SYMLINK_NOFOLLOW) == -1 ||
	    fstatat(fd, MRMR_DIR "/" MRMR_MARKER_NAME, &marker,
		    AT_SYMLINK_NOFOLLOW) == -1) {
		int error = errno;

		close(fd);
		return not_there(member, error,
				 error == ENOENT ? "no marker is there; is the "
						   "drive mounted?"
						 : strerror(error));
	}

	if (is_known(member, &root, &private, &marker)) {
		close(fd);
	} else {
		if (!take_root(member, pool_id, fd, &root)) {
			close(fd);
			return false;
		}
		member->marker_ino = marker.st_ino;
		member->marker_ctime = marker.st_ctim;
	}

	mrmr_local_look_at_space(member);
	set_state(member, MRMR_MEMBER_ONLINE, "");
	return true;
}

void mrmr_local_eject(struct mrmr_member *member)
{
	set_state(member, MRMR_MEMBER_EJECTED,
		  "it was ejected; it is taken back when it returns, or by "
		  "mrmr-admin attach");
}

void mrmr_local_hold_off(struct mrmr_member *member, const char *why)
{
	set_state(member, MRMR_MEMBER_AWAY, why);
}

bool mrmr_local_marker_seen(const struct mrmr_member *member)
{
	char path[MRMR_LOCAL_PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" MRMR_DIR "/" MRMR_MARKER_NAME,
		 member->config->mount_point);
	return lstat(path, &st) == 0;
}
