/*
 * MRMR: the folders in which things are made before they get their name.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/dir.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/staging.h>

int mrmr_folder_open(int at_fd, const char *name)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd;

	fd = openat(at_fd, name, flags);
	if (fd != -1 || errno != ENOENT) {
		return fd;
	}
	if (mkdirat(at_fd, name, 0700) == -1 && errno != EEXIST) {
		return -1;
	}
	return openat(at_fd, name, flags);
}

int mrmr_state_folders(int state_fd)
{
	static const char *const folders[] = {MRMR_STAGING, MRMR_INTENTS};
	size_t i;

	for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		int fd = mrmr_folder_open(state_fd, folders[i]);

		if (fd == -1) {
			return -1;
		}
		close(fd);
	}
	return 0;
}

/* Field 22 of /proc/PID/stat, in clock ticks since boot; 0 if there is no such
   process. */
static uint64_t start_time(pid_t pid)
{
	char path[64];
	char line[1024];
	const char *field = NULL;
	uint64_t ticks = 0;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1) {
		return 0;
	}
	len = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (len <= 0) {
		return 0;
	}
	line[len] = '\0';

	/* The name, field 2, may hold anything: count from its last ')'. */
	field = strrchr(line, ')');
	if (field == NULL ||
	    sscanf(field + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
		   "%*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
		   &ticks) != 1) {
		return 0;
	}
	return ticks;
}

void mrmr_staging_name(char *name, size_t size)
{
	static pid_t known_pid;
	static uint64_t started;
	static unsigned long count;

	if (known_pid != getpid()) {
		known_pid = getpid();
		started = start_time(known_pid);
	}
	snprintf(name, size, "%ld.%" PRIu64 ".%lu", (long)known_pid, started,
		 count++);
}

static bool maker_is_alive(const char *name)
{
	uint64_t started;
	long pid;

	if (sscanf(name, "%ld.%" SCNu64 ".", &pid, &started) != 2) {
		return true; /* not made by mrmr_staging_name */
	}
	return start_time((pid_t)pid) == started && started != 0;
}

int mrmr_remove_tree(int at_fd, const char *name)
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int fd;

	if (unlinkat(at_fd, name, 0) == 0) {
		return 0;
	}
	if (errno != EISDIR && errno != EPERM) {
		return -1;
	}
	fd = openat(at_fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -1;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0) {
			continue;
		}
		mrmr_remove_tree(dirfd(dir), entry->d_name);
	}
	closedir(dir);
	return unlinkat(at_fd, name, AT_REMOVEDIR);
}

/* Directories only, all the way down. */
static int prune_tree(int at_fd, const char *name)
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int ret = 0;
	int fd;

	if (unlinkat(at_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
		return 0;
	}
	if (errno != ENOTEMPTY && errno != EEXIST) {
		return -1;
	}
	fd = openat(at_fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -1;
	}
	while (ret == 0 && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0) {
			ret = prune_tree(dirfd(dir), entry->d_name);
		}
	}
	closedir(dir);
	return ret == 0 ? unlinkat(at_fd, name, AT_REMOVEDIR) : -1;
}

int mrmr_spine_prune(struct mrmr_pool *pool, int at_fd, const char *name)
{
	int ret;

	/* Nothing may be cloned from the spine meanwhile. */
	if (mrmr_tree_lock(pool, true) == -1) {
		return -1;
	}
	ret = mrmr_fault("prune") == 0 ? prune_tree(at_fd, name) : -1;
	mrmr_tree_unlock(pool);
	return ret;
}

static void sweep(int at_fd, const char *folder, const char *where)
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int fd;

	fd = openat(at_fd, folder,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || maker_is_alive(entry->d_name)) {
			continue;
		}
		if (mrmr_remove_tree(dirfd(dir), entry->d_name) == -1) {
			mrmr_log(MRMR_LOG_WARNING,
				 "%s: left over %s/%s "
				 "cannot be removed: %s",
				 where, folder, entry->d_name, strerror(errno));
		}
	}
	closedir(dir);
}

void mrmr_staging_sweep(struct mrmr_pool *pool)
{
	size_t i;

	sweep(pool->state_fd, MRMR_STAGING, pool->config->state_dir);
	sweep(pool->state_fd, MRMR_INTENTS, pool->config->state_dir);
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE) {
			sweep(member->private_fd, MRMR_REBUILD,
			      mrmr_member_name(member));
		}
	}
}
