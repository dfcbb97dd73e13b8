/*
 * MRMR: which members missed a change of a directory's attributes (see
 * mrmr/missed.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/missed.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

/* Below the state directory. */
static void folder_path(const struct mrmr_member *member, char path[96])
{
	char id[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(&member->config->id, id);
	snprintf(path, 96, MRMR_MISSED "/%s", id);
}

static void note_path(const struct mrmr_dir *dir, size_t member, char path[128])
{
	char folder[96];

	folder_path(&dir->pool->members[member], folder);
	snprintf(path, 128, "%s/%" PRIu64, folder, (uint64_t)dir->ino);
}

bool mrmr_missed_any(const struct mrmr_pool *pool,
		     const struct mrmr_member *member)
{
	char path[96];
	bool empty = true;
	int fd;

	folder_path(member, path);
	fd = openat(pool->state_fd, path,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return errno != ENOENT;
	}
	if (mrmr_fd_is_empty(fd, &empty) == -1) {
		empty = false;
	}
	close(fd);
	return !empty;
}

static int write_note(struct mrmr_dir *dir, size_t index)
{
	struct mrmr_pool *pool = dir->pool;
	struct mrmr_member *member = &pool->members[index];
	char folder[96];
	char path[128];
	unsigned int tries;
	int fd = -1;

	folder_path(member, folder);
	note_path(dir, index, path);
	/* Who takes the last note away takes the folder as well. */
	for (tries = 0; fd == -1 && tries < 10; tries++) {
		fd = openat(pool->state_fd, path,
			    O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd != -1) {
			break;
		}
		if (errno != ENOENT ||
		    (mkdirat(pool->state_fd, MRMR_MISSED, 0700) == -1 &&
		     errno != EEXIST)) {
			return -1;
		}
		if (mkdirat(pool->state_fd, folder, 0700) == 0) {
			/* Others may have the member online, with no reason
			   to look for notes so far. */
			atomic_fetch_add(&pool->shared->members_gen, 1);
		} else if (errno != EEXIST) {
			return -1;
		}
	}
	if (fd == -1) {
		return -1;
	}
	close(fd);
	member->missed = true;
	return 0;
}

void mrmr_missed_note(struct mrmr_dir *dir, size_t member)
{
	if (write_note(dir, member) == -1) {
		char path[MRMR_PATH_MAX] = "?";
		int error = errno;

		mrmr_dir_path(dir, path);
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: its directory '%s' may "
			 "keep its old rights, as it cannot be noted that they "
			 "have changed: %s",
			 mrmr_member_name(&dir->pool->members[member]), path,
			 strerror(error));
	}
}

bool mrmr_missed_has(const struct mrmr_dir *dir, size_t member)
{
	char path[128];
	struct stat st;

	note_path(dir, member, path);
	return fstatat(dir->pool->state_fd, path, &st, AT_SYMLINK_NOFOLLOW) ==
	       0;
}

void mrmr_missed_forget(struct mrmr_dir *dir, size_t index)
{
	struct mrmr_pool *pool = dir->pool;
	char path[128];

	note_path(dir, index, path);
	unlinkat(pool->state_fd, path, 0);
	folder_path(&pool->members[index], path);
	if (unlinkat(pool->state_fd, path, AT_REMOVEDIR) == 0 ||
	    errno == ENOENT) {
		pool->members[index].missed = false;
	}
}
