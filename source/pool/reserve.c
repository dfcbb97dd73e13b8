/*
 * MRMR: a little room that each member keeps for the trash (see mrmr/reserve.h).
 *
 * It is made under another name and renamed when its blocks are allocated, so that
 * one that is there is worth its size. There is none on a file system that cannot
 * allocate without writing: zeros that are written may take no room there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <mrmr/log.h>
#include <mrmr/reserve.h>
#include <mrmr/staging.h>

/* A new directory takes up to some dozens of blocks of 4 KiB (XFS, for the inodes
   too, as far as it is reckoned beforehand). */
#define RESERVE_BYTES (1 << 20)

/* On smaller ones it would be more than a little. */
#define LEAST_FREE_BYTES (UINT64_C(64) << 20)

static bool has_room(const struct mrmr_member *member)
{
	struct statvfs vfs;

	return fstatvfs(member->private_fd, &vfs) == 0 &&
	       (uint64_t)vfs.f_bavail * vfs.f_frsize >= LEAST_FREE_BYTES;
}

static void make(const struct mrmr_member *member)
{
	int folder_fd = mrmr_folder_open(member->private_fd, MRMR_REBUILD);
	char name[96];
	int fd;

	if (folder_fd == -1) {
		return;
	}
	mrmr_staging_name(name, sizeof(name));
	fd = openat(folder_fd, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd != -1 && (fallocate(fd, 0, 0, RESERVE_BYTES) == -1 ||
			 renameat(folder_fd, name, member->private_fd,
				  MRMR_RESERVE) == -1)) {
		unlinkat(folder_fd, name, 0);
	}
	if (fd != -1) {
		close(fd);
	}
	close(folder_fd);
}

void mrmr_reserve_keep(struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE && !member->read_only &&
		    faccessat(member->private_fd, MRMR_RESERVE, F_OK,
			      AT_SYMLINK_NOFOLLOW) == -1 &&
		    errno == ENOENT && has_room(member)) {
			make(member);
		}
	}
}

bool mrmr_reserve_give(const struct mrmr_member *member)
{
	if (unlinkat(member->private_fd, MRMR_RESERVE, 0) == -1) {
		return false;
	}
	mrmr_log(MRMR_LOG_INFO,
		 "member %s is full: the room that was kept for the trash is "
		 "taken",
		 mrmr_member_name(member));
	return true;
}
