/*
 * mrmr-admin: which processes keep a file system busy (see holders.h).
 *
 * Only links and texts of /proc are read, nothing on the file system itself,
 * so that a hung one does not hang us.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/path.h>

#include "admin.h"
#include "holders.h"

struct search {
	const char *dir;
	struct admin_holder *holders; /* a talloc array */
	size_t num;
	pid_t pid;        /* of the process at hand, */
	int proc_fd;      /* its directory in /proc, */
	char program[64]; /* and its name */
};

static void found(struct search *search, const char *how, const char *path)
{
	struct admin_holder *holder = NULL;

	search->holders = admin_need(
		talloc_realloc(NULL, search->holders, struct admin_holder,
			       (unsigned int)search->num + 1));
	holder = &search->holders[search->num++];
	*holder = (struct admin_holder){
		.pid = search->pid,
		.program = admin_printable(search->holders, search->program),
		.how = admin_need(talloc_strdup(search->holders, how)),
		.path = admin_printable(search->holders, path),
	};
}

static void look_at_link(struct search *search, int at_fd, const char *name,
			 const char *how)
{
	char path[PATH_MAX];
	ssize_t len = readlinkat(at_fd, name, path, sizeof(path) - 1);

	if (len <= 0) {
		return;
	}
	path[len] = '\0';
	if (path[0] == '/' && mrmr_path_is_within(path, search->dir)) {
		found(search, how, path);
	}
}

static void look_at_descriptors(struct search *search)
{
	int fd = openat(search->proc_fd, "fd",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	char how[32];

	if (fd == -1) {
		return;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (isdigit((unsigned char)entry->d_name[0])) {
			snprintf(how, sizeof(how), "fd %.16s", entry->d_name);
			look_at_link(search, fd, entry->d_name, how);
		}
	}
	closedir(dir);
}

/* A line of maps: "from-to rights offset device inode   path". */
static const char *path_of_map(char *line)
{
	char *path = strchr(line, '/');

	if (path != NULL) {
		path[strcspn(path, "\n")] = '\0';
	}
	return path;
}

static void look_at_maps(struct search *search)
{
	int fd = openat(search->proc_fd, "maps", O_RDONLY | O_CLOEXEC);
	FILE *file = NULL;
	char *line = NULL;
	char *last = NULL;
	size_t size = 0;

	if (fd == -1) {
		return;
	}
	file = fdopen(fd, "r");
	if (file == NULL) {
		close(fd);
		return;
	}
	while (getline(&line, &size, file) > 0) {
		const char *path = path_of_map(line);

		/* one file is mapped in several pieces, one after another */
		if (path == NULL || !mrmr_path_is_within(path, search->dir) ||
		    (last != NULL && strcmp(path, last) == 0)) {
			continue;
		}
		found(search, "map", path);
		free(last);
		last = strdup(path);
	}
	free(last);
	free(line);
	fclose(file);
}

static void read_program(struct search *search)
{
	int fd = openat(search->proc_fd, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = 0;

	if (fd != -1) {
		len = read(fd, search->program, sizeof(search->program) - 1);
		close(fd);
	}
	search->program[len > 0 ? len : 0] = '\0';
	search->program[strcspn(search->program, "\n")] = '\0';
}

static void look_at_process(struct search *search, const char *pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.32s", pid);
	search->pid = (pid_t)atol(pid);
	if (search->pid == getpid()) {
		return;
	}
	search->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (search->proc_fd == -1) {
		return;
	}
	read_program(search);
	look_at_link(search, search->proc_fd, "cwd", "cwd");
	look_at_link(search, search->proc_fd, "root", "root");
	look_at_link(search, search->proc_fd, "exe", "exe");
	look_at_descriptors(search);
	look_at_maps(search);
	close(search->proc_fd);
}

struct admin_holder *admin_holders(void *mem_ctx, const char *dir, size_t *num)
{
	struct search search = {.dir = dir};
	DIR *proc = opendir("/proc");
	struct dirent *entry = NULL;

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		if (isdigit((unsigned char)entry->d_name[0])) {
			look_at_process(&search, entry->d_name);
		}
	}
	if (proc != NULL) {
		closedir(proc);
	}
	*num = search.num;
	return talloc_steal(mem_ctx, search.holders);
}
