/*
 * Paths and names, as clients ask for them and as members have them: targets of
 * symlinks, and what is resolved, opened, made, renamed and removed, over a
 * union of two members.
 *
 * The input is texts, each ended by a byte 0: the targets of three symlinks,
 * a/link on the first member, b/link on the second, link in the root; a name
 * that the first member has; then paths. Whatever they are, nothing outside of
 * the members' own files is touched.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/names.h>
#include <mrmr/pool.h>
#include <mrmr/staging.h>

#include "fuzz.h"

#define NUM_PATHS 6
#define OUTSIDE "outside/canary"

static struct mrmr_pool *pool;

static const char config_text[] =
	"{\"drive_id\": \"" FUZZ_POOL "\", \"parity_drives\": 0,"
	" \"state_dir\": \"/state\", \"mounts\": ["
	"{\"drive_id\": \"" FUZZ_MEMBER "1\", \"mount_point\": \"/m1\"},"
	"{\"drive_id\": \"" FUZZ_MEMBER "2\", \"mount_point\": \"/m2\"}]}";

static void quiet(enum mrmr_log_level level, const char *text)
{
}

static void make_member(const char *path, const char *id)
{
	struct mrmr_marker marker = {.pool_id = fuzz_pool_id};
	struct mrmr_error err = {0};
	int fd;

	FUZZ_MUST(mrmr_uuid_parse(id, &marker.member_id));
	FUZZ_MUST(mkdir(path, 0755) == 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_MUST(fd != -1);
	FUZZ_MUST(mrmr_marker_write(fd, path, &marker, &err) == 0);
	close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct mrmr_config *config = NULL;
	struct mrmr_error err = {0};

	fuzz_enter_root();
	mrmr_log_to(quiet);
	FUZZ_MUST(mkdir("outside", 0755) == 0);
	fuzz_write_file(OUTSIDE, "bird", 4);
	FUZZ_MUST(mkdir("state", 0755) == 0 && mkdir("state/spine", 0755) == 0);
	make_member("/m1", FUZZ_MEMBER "1");
	make_member("/m2", FUZZ_MEMBER "2");
	config = mrmr_config_parse(NULL, "/mrmr.json", config_text,
				   strlen(config_text), &err);
	FUZZ_MUST(config != NULL);
	pool = mrmr_pool_open(NULL, config, NULL, &err);
	if (pool == NULL) {
		fprintf(stderr, "%s\n", err.text);
	}
	FUZZ_MUST(pool != NULL);
	fuzz_leave_root();
	return 0;
}

/* --- what is there ---------------------------------------------------------------- */

static void fill(struct fuzz_input *input)
{
	static const char *const links[] = {"/m1/a/link", "/m2/b/link",
					    "/m2/link"};
	char path[PATH_MAX];
	char *text = NULL;
	size_t i;

	mkdir("/m1/a", 0755);
	mkdir("/m1/b", 0755);
	mkdir("/m2/b", 0755);
	fuzz_write_file("/m1/a/file", "one", 3);
	fuzz_write_file("/m2/b/file", "two", 3);
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		text = fuzz_text(input);
		/* an empty target, or a long one, is the kernel's to refuse */
		if (symlink(text, links[i]) == -1) {
			unlink(links[i]);
		}
		free(text);
	}
	text = fuzz_text(input);
	if (strchr(text, '/') == NULL && strcmp(text, MRMR_DIR) != 0 &&
	    snprintf(path, sizeof(path), "/m1/a/%s", text) < PATH_MAX) {
		mknod(path, S_IFREG | 0644, 0);
	}
	free(text);
}

static void empty(const char *root)
{
	static const char *const names[] = {"a", "b", "link", "made", "moved"};
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t i;

	FUZZ_MUST(fd != -1);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (unlinkat(fd, names[i], 0) == -1 && errno != ENOENT) {
			mrmr_remove_tree(fd, names[i]);
		}
	}
	close(fd);
}

/* --- what is asked ------------------------------------------------------------------- */

#define SPINE "/state/spine"

/* Whether path begins with these components, in any case. */
static bool begins_with(const char *path, const char *begin)
{
	size_t len = strlen(begin);

	return strncasecmp(path, begin, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

static bool has_component(const char *path, const char *component)
{
	while ((path = strstr(path, component)) != NULL) {
		if (begins_with(path, component)) {
			return true;
		}
		path++;
	}
	return false;
}

/* What is in the pool is resolved to the end. What is outside of it is the target
   of a symlink, whatever that is. */
static void try_resolve(const char *path)
{
	char resolved[MRMR_PATH_MAX];

	if (mrmr_path_resolve(pool, pool->spine_fd, path, resolved) == -1) {
		return;
	}
	FUZZ_MUST(resolved[0] == '/');
	if (begins_with(resolved, SPINE)) {
		FUZZ_MUST(!has_component(resolved, "/."));
		FUZZ_MUST(!has_component(resolved, "/.."));
		FUZZ_MUST(!begins_with(resolved, SPINE "/" MRMR_DIR));
	}
}

/* Where its last component is, each for what comes next: directories must not
   be kept. */
static bool place(const char *path, struct mrmr_place *found)
{
	if (mrmr_place_find(pool, pool->spine_fd, path, found) == -1) {
		return false;
	}
	FUZZ_MUST(strchr(found->name, '/') == NULL);
	FUZZ_MUST(strcmp(found->name, ".") != 0);
	FUZZ_MUST(strcmp(found->name, "..") != 0);
	return true;
}

static bool is_private(const struct mrmr_place *at)
{
	return mrmr_name_is_private(at->dir, at->name);
}

static void try_path(const char *path, const char *other)
{
	struct mrmr_place at;
	struct mrmr_place to;
	struct stat st;
	size_t member = 0;
	int fd;

	try_resolve(path);
	if (place(path, &at) && at.name[0] != '\0') {
		FUZZ_MUST(mrmr_name_find(at.dir, at.name, &member, &st) == -1 ||
			  !is_private(&at));
	}
	if (place(path, &at) && at.name[0] != '\0') {
		fd = mrmr_name_open(at.dir, at.name,
				    O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					    O_CLOEXEC,
				    &member, &st);
		if (fd != -1) {
			FUZZ_MUST(!is_private(&at));
			close(fd);
		}
	}
	if (place(path, &at) && at.name[0] != '\0') {
		fd = mrmr_name_create(at.dir, at.name, O_RDWR | O_CLOEXEC, 0644,
				      1, &member);
		if (fd != -1) {
			FUZZ_MUST(!is_private(&at));
			close(fd);
		}
	}
	if (place(path, &at) && place(other, &to) && at.name[0] != '\0' &&
	    to.name[0] != '\0' && at.dir != NULL) {
		/* at.dir may have been forgotten by the second */
		if (place(path, &at)) {
			mrmr_name_rename(at.dir, at.name, to.dir, to.name);
		}
	}
	if (place(other, &to) && to.name[0] != '\0') {
		mrmr_name_mkdir(to.dir, to.name, 0755);
	}
	if (place(other, &to) && to.name[0] != '\0') {
		mrmr_name_rmdir(to.dir, to.name);
	}
	if (place(path, &at) && at.name[0] != '\0') {
		mrmr_name_unlink(at.dir, at.name);
	}
}

static void check_outside(void)
{
	char text[8] = "";
	int fd = open(OUTSIDE, O_RDONLY | O_CLOEXEC);

	FUZZ_MUST(fd != -1 && read(fd, text, sizeof(text)) == 4);
	FUZZ_MUST(memcmp(text, "bird", 4) == 0);
	close(fd);
	FUZZ_MUST(access("/m1/.mrmr/config.json", F_OK) == 0);
	FUZZ_MUST(access("/m2/.mrmr/config.json", F_OK) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input input = {.at = data, .left = len};
	char *previous = strdup("made");
	unsigned int i;

	fuzz_enter_root();
	fill(&input);
	mrmr_pool_use(pool);
	for (i = 0; i < NUM_PATHS && input.left > 0; i++) {
		char *path = fuzz_text(&input);

		try_path(path, previous);
		free(previous);
		previous = path;
	}
	free(previous);
	check_outside();
	mrmr_dir_cache_clear(pool);
	empty("/m1");
	empty("/m2");
	empty("/state/spine");
	fuzz_leave_root();
	return 0;
}
