/*
 * MRMR: a member that is a local path.
 *
 * It is online if its root is a directory with a marker that names it, and the
 * marker lies on the root's own file system. Looking costs four system calls
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
#include <unistd.h>

#include <mrmr/local.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>

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
	member->read_only = (fs.f_flag & ST_RDONLY) != 0;
}

static bool take_root(struct mrmr_member *member,
		      const struct mrmr_uuid *pool_id, int fd,
		      const struct stat *root)
{
	struct mrmr_error err = { 0 };
	struct mrmr_marker marker;
	struct stat private;
	int private_fd;

	if (mrmr_marker_read(fd, mrmr_member_name(member), &marker, &err)
	    == -1) {
		set_state(member, MRMR_MEMBER_AWAY, err.text);
		return false;
	}
	if (!mrmr_uuid_equal(&marker.pool_id, pool_id) ||
	    !mrmr_uuid_equal(&marker.member_id, &member->config->id)) {
		set_state(member, MRMR_MEMBER_FOREIGN, "its marker names "
			  "another pool or member; is the right drive "
			  "mounted there?");
		return false;
	}

	private_fd = openat(fd, MRMR_DIR,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (private_fd == -1 || fstat(private_fd, &private) == -1 ||
	    private.st_dev != root->st_dev) {
		set_state(member, MRMR_MEMBER_AWAY, "its " MRMR_DIR " is not "
			  "a directory of its own file system");
		if (private_fd != -1) {
			close(private_fd);
		}
		return false;
	}

	close_root(member);
	member->root_fd = fd;
	member->private_fd = private_fd;
	member->private_ino = private.st_ino;
	member->dev = root->st_dev;
	member->root_ino = root->st_ino;
	member->no_owners = false;
	member->epoch++;
	return true;
}

bool mrmr_local_look(struct mrmr_member *member,
		     const struct mrmr_uuid *pool_id)
{
	const char *path = member->config->mount_point;
	struct stat root;
	struct stat marker;
	bool known;
	int fd;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		char why[256];

		snprintf(why, sizeof(why), "it cannot be opened: %s",
			 strerror(errno));
		set_state(member, MRMR_MEMBER_AWAY, why);
		return false;
	}
	if (fstat(fd, &root) == -1 ||
	    fstatat(fd, MRMR_DIR "/" MRMR_MARKER_NAME, &marker,
		    AT_SYMLINK_NOFOLLOW) == -1) {
		set_state(member, MRMR_MEMBER_AWAY,
			  errno == ENOENT ? "no marker is there; is the drive "
					    "mounted?" : strerror(errno));
		close(fd);
		return false;
	}

	known = member->root_fd != -1 && member->dev == root.st_dev &&
		member->root_ino == root.st_ino &&
		member->marker_ino == marker.st_ino &&
		same_time(&member->marker_ctime, &marker.st_ctim);
	if (known) {
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

bool mrmr_local_marker_seen(const struct mrmr_member *member)
{
	char path[MRMR_LOCAL_PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" MRMR_DIR "/" MRMR_MARKER_NAME,
		 member->config->mount_point);
	return lstat(path, &st) == 0;
}
