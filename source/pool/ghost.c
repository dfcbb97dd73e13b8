/*
 * MRMR: ghosts (see mrmr/absent.h).
 *
 * The attribute that says whose ghost a file is is a trusted one: no client
 * sees it, and none can make a ghost.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fd_path.h>
#include <mrmr/thread_root.h>

/* On disk, on the machine that wrote it. */
struct tag {
	uint8_t member[16];
	uint64_t node;
	uint64_t inode;
};

_Static_assert(sizeof(struct tag) == 32, "no padding");

/* fd: any descriptor, one made with O_PATH too. */
static int set_tag(int fd, const struct mrmr_node *node,
		   const struct mrmr_uuid *member)
{
	struct tag tag = {.node = node->id, .inode = node->inode};
	char path[MRMR_FD_LINK_LEN];

	memcpy(tag.member, member->byte, sizeof(tag.member));
	return setxattr(mrmr_fd_link(fd, path), MRMR_GHOST_TAG, &tag,
			sizeof(tag), 0);
}

/* A symlink and the like is shown as it is; the tag only says which one is renamed or
   removed, so one may be without it. */
static int tag_other(int folder_fd, const char *name,
		     const struct mrmr_node *node,
		     const struct mrmr_uuid *member)
{
	int fd = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int saved_errno;
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = set_tag(fd, node, member);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret == -1 && errno != ENOTSUP && errno != EPERM ? -1 : 0;
}

static void set_times(int folder_fd, const char *name, int64_t mtime_ns)
{
	struct timespec ts[2];

	ts[1].tv_sec = mtime_ns / 1000000000;
	ts[1].tv_nsec = mtime_ns % 1000000000;
	if (ts[1].tv_nsec < 0) {
		ts[1].tv_sec--;
		ts[1].tv_nsec += 1000000000;
	}
	ts[0] = ts[1];
	utimensat(folder_fd, name, ts, AT_SYMLINK_NOFOLLOW);
}

static int make_file(int folder_fd, const char *name,
		     const struct mrmr_node *node,
		     const struct mrmr_uuid *member)
{
	int saved_errno;
	int ret = -1;
	int fd;

	fd = openat(folder_fd, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	if (ftruncate(fd, (off_t)node->size_bytes) == 0 &&
	    mrmr_attributes_set(fd, node) == 0) {
		ret = set_tag(fd, node, member);
	}
	saved_errno = errno;
	close(fd);
	if (ret == -1) {
		unlinkat(folder_fd, name, 0);
	}
	errno = saved_errno;
	return ret;
}

int mrmr_ghost_make(int folder_fd, const char *name,
		    const struct mrmr_node *node,
		    const struct mrmr_uuid *member)
{
	int ret = -1;

	switch (node->kind) {
	case MRMR_NODE_FILE:
		ret = make_file(folder_fd, name, node, member);
		break;
	case MRMR_NODE_SYMLINK:
		ret = symlinkat(node->target, folder_fd, name);
		break;
	case MRMR_NODE_SPECIAL:
		ret = mknodat(folder_fd, name, node->mode, node->device);
		break;
	default:
		errno = EISDIR;
		break;
	}
	if (ret == -1) {
		return -1;
	}
	if (node->kind != MRMR_NODE_FILE &&
	    (fchownat(folder_fd, name, node->uid, node->gid,
		      AT_SYMLINK_NOFOLLOW) == -1 ||
	     tag_other(folder_fd, name, node, member) == -1)) {
		return -1;
	}
	if (node->kind == MRMR_NODE_SPECIAL &&
	    fchmodat(folder_fd, name, node->mode & 07777, 0) == -1) {
		return -1;
	}
	set_times(folder_fd, name, node->mtime_ns);
	return 0;
}

int mrmr_ghost_read(int fd, struct mrmr_ghost *ghost)
{
	struct mrmr_thread_root root;
	struct tag tag;
	char path[MRMR_FD_LINK_LEN];
	ssize_t len;

	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	/* fgetxattr refuses descriptors made with O_PATH. */
	len = getxattr(mrmr_fd_link(fd, path), MRMR_GHOST_TAG, &tag,
		       sizeof(tag));
	mrmr_thread_root_leave(&root);
	if (len == -1) {
		return -1;
	}
	if (len != sizeof(tag)) {
		errno = ENODATA;
		return -1;
	}
	memcpy(ghost->member.byte, tag.member, sizeof(tag.member));
	ghost->node = tag.node;
	ghost->inode = tag.inode;
	return 0;
}
