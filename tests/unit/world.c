/*
 * Unit tests: a pool with its members on file systems of their own (see
 * world.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/path.h>

#include "../../source/catalog/store.h"
#include "world.h"

#define DRIVE_SIZE "32m"
#define POOL_ID "10000000-0000-4000-8000-000000000000"

static char base[200];
static struct world *newest; /* those of tests that failed stay reachable */

/* --- who we are ------------------------------------------------------------ */

static uid_t user;
static unsigned int root_depth;

static void become(uid_t uid)
{
	int saved_errno = errno;

	/* Root first: nobody else may change groups. */
	if (geteuid() != 0) {
		assert_return_code(seteuid(0), errno);
	}
	assert_return_code(setegid(uid), errno);
	assert_return_code(seteuid(uid), errno);
	errno = saved_errno;
}

static void become_root(void)
{
	if (root_depth++ == 0 && user != 0) {
		become(0);
	}
}

static void unbecome_root(void)
{
	assert_true(root_depth > 0);
	if (--root_depth == 0 && user != 0) {
		become(user);
	}
}

void world_user(uid_t uid)
{
	assert_int_equal(root_depth, 0);
	user = uid;
	become(uid);
}

/* --- the log --------------------------------------------------------------- */

static char log_text[65536];
static size_t log_len;

static void take_log(enum mrmr_log_level level, const char *text)
{
	int len;

	if (getenv("WORLD_VERBOSE") != NULL) {
		fprintf(stderr, "[%ld] %d: %s\n", (long)getpid(), (int)level,
			text);
	}
	len = snprintf(log_text + log_len, sizeof(log_text) - log_len, "%s\n",
		       text);
	if (len > 0 && (size_t)len < sizeof(log_text) - log_len) {
		log_len += (size_t)len;
	}
}

const char *world_log(void)
{
	static char text[sizeof(log_text)];

	memcpy(text, log_text, log_len);
	text[log_len] = '\0';
	log_len = 0;
	return text;
}

/* --- paths ----------------------------------------------------------------- */

static char *next_buffer(void)
{
	static char buffers[8][2 * MRMR_PATH_MAX];
	static unsigned int next;

	return buffers[next++ % 8];
}

const char *world_path(struct world *w, const char *path)
{
	char *buffer = next_buffer();

	snprintf(buffer, sizeof(char[2 * MRMR_PATH_MAX]), "%s/%s", w->dir,
		 path);
	return buffer;
}

static const char *below(struct world *w, const char *kind, size_t n,
			 const char *path)
{
	char *buffer = next_buffer();

	snprintf(buffer, sizeof(char[2 * MRMR_PATH_MAX]), "%s/%s%zu%s%s",
		 w->dir, kind, n, path[0] != '\0' ? "/" : "", path);
	return buffer;
}

static size_t drive_of(const struct world *w, size_t member)
{
	return member / w->shape.per_drive;
}

const char *world_member(struct world *w, size_t member, const char *path)
{
	return below(w, "m", member, path);
}

const char *world_drive(struct world *w, size_t member, const char *path)
{
	char sub[MRMR_PATH_MAX];

	snprintf(sub, sizeof(sub), "%zu%s%s", member,
		 path[0] != '\0' ? "/" : "", path);
	return below(w, "drive", drive_of(w, member), sub);
}

const char *world_spine(struct world *w, const char *path)
{
	char *buffer = next_buffer();

	snprintf(buffer, sizeof(char[2 * MRMR_PATH_MAX]), "%s/state/spine%s%s",
		 w->dir, path[0] != '\0' ? "/" : "", path);
	return buffer;
}

/* --- making a world -------------------------------------------------------- */

static void make_directory(const char *path)
{
	if (mkdir(path, 0755) == -1 && errno != EEXIST) {
		fail_msg("mkdir %s: %s", path, strerror(errno));
	}
}

void world_plug(struct world *w, size_t member)
{
	if (mount(world_drive(w, member, ""), world_member(w, member, ""), NULL,
		  MS_BIND, NULL) == -1) {
		fail_msg("bind mount: %s", strerror(errno));
	}
}

void world_unplug(struct world *w, size_t member)
{
	assert_return_code(umount2(world_member(w, member, ""), MNT_DETACH),
			   errno);
}

static void member_id(size_t member, char id[MRMR_UUID_LEN + 1])
{
	snprintf(id, MRMR_UUID_LEN + 1,
		 "aaaa00%02x-0000-4000-8000-0000000000%02x",
		 (unsigned int)(uint8_t)member, (unsigned int)(uint8_t)member);
}

static void make_drive(struct world *w, size_t drive)
{
	const char *size = w->shape.sizes[drive];
	const char *path = below(w, "drive", drive, "");
	char options[64];

	snprintf(options, sizeof(options), "mode=755,size=%s",
		 size != NULL ? size : DRIVE_SIZE);
	make_directory(path);
	if (mount("none", path, "tmpfs", 0, options) == -1) {
		fail_msg("mount tmpfs: %s", strerror(errno));
	}
}

static void make_member(struct world *w, size_t member)
{
	struct mrmr_marker marker = {0};
	struct mrmr_error err = {0};
	char id[MRMR_UUID_LEN + 1];
	int fd;

	make_directory(world_drive(w, member, ""));
	make_directory(world_member(w, member, ""));
	world_plug(w, member);

	member_id(member, id);
	assert_true(mrmr_uuid_parse(POOL_ID, &marker.pool_id));
	assert_true(mrmr_uuid_parse(id, &marker.member_id));
	fd = open(world_member(w, member, ""), O_RDONLY | O_DIRECTORY);
	assert_return_code(fd, errno);
	if (mrmr_marker_write(fd, "member", &marker, &err) == -1) {
		fail_msg("%s", err.text);
	}
	close(fd);
}

static char *config_text(void *mem_ctx, struct world *w)
{
	char *text = NULL;
	size_t i;

	text = talloc_asprintf(mem_ctx,
			       "{\"drive_id\": \"" POOL_ID "\", "
			       "\"parity_drives\": %s, "
			       "\"state_dir\": \"%s/state\"%s, \"mounts\": [",
			       w->shape.parity != NULL ? w->shape.parity : "0",
			       w->dir,
			       w->shape.config != NULL ? w->shape.config : "");
	for (i = 0; i < w->shape.num_members; i++) {
		const char *more = w->shape.members[i];
		char id[MRMR_UUID_LEN + 1];

		member_id(i, id);
		text = talloc_asprintf_append(text,
					      "%s{\"drive_id\": \"%s\", "
					      "\"mount_point\": \"%s\"%s}",
					      i > 0 ? ", " : "", id,
					      world_member(w, i, ""),
					      more != NULL ? more : "");
	}
	text = talloc_asprintf_append(text, "]}");
	assert_non_null(text);
	return text;
}

void world_open(struct world *w)
{
	static const struct mrmr_identity identity = {become_root,
						      unbecome_root};
	struct mrmr_error err = {0};
	struct mrmr_config *config = NULL;
	char *text = config_text(NULL, w);

	become_root();
	config = mrmr_config_parse(NULL, "pool.json", text, strlen(text), &err);
	if (config == NULL) {
		fail_msg("%s", err.text);
	}
	w->pool = mrmr_pool_open(NULL, config, &identity, &err);
	if (w->pool == NULL) {
		fail_msg("%s", err.text);
	}
	unbecome_root();
	talloc_free(text);
}

void world_close(struct world *w)
{
	assert_int_equal(root_depth, 0);
	TALLOC_FREE(w->pool);
}

void world_configure(struct world *w, const char *parity, const char *config)
{
	world_close(w);
	if (parity != NULL) {
		w->shape.parity = parity;
	}
	w->shape.config = config;
	world_open(w);
}

void world_open_in_child(struct world *w)
{
	w->pool = NULL;
	world_open(w);
}

struct world *world_new(const struct world_shape *shape)
{
	static unsigned int count;
	struct world *w = calloc(1, sizeof(*w));
	size_t i;

	assert_non_null(w);
	w->previous = newest;
	newest = w;
	w->shape = *shape;
	if (w->shape.num_members == 0) {
		w->shape.num_members = 3;
	}
	if (w->shape.per_drive == 0) {
		w->shape.per_drive = 1;
	}
	/* a transaction of tdb copies this table, however few records there are */
	store_limits.hash_size = 1021;
	umask(0);
	world_user(0);
	world_log();
	snprintf(w->dir, sizeof(w->dir), "%s/w%u", base, count++);
	make_directory(w->dir);
	/* one for all, so that it takes one umount at the end */
	if (mount("none", w->dir, "tmpfs", 0, "mode=755") == -1) {
		fail_msg("mount tmpfs: %s", strerror(errno));
	}
	make_directory(world_path(w, "state"));
	make_directory(world_spine(w, ""));
	for (i = 0; i < w->shape.num_members; i++) {
		if (i % w->shape.per_drive == 0) {
			make_drive(w, drive_of(w, i));
		}
		make_member(w, i);
	}
	world_open(w);
	return w;
}

void world_free(struct world *w)
{
	world_user(0);
	world_close(w);
	umount2(w->dir, MNT_DETACH);
	newest = w->previous;
	free(w);
}

void world_use(struct world *w)
{
	mrmr_pool_use(w->pool);
	w->pool->used_ns += w->later_ns;
}

void world_later(struct world *w)
{
	w->later_ns += INT64_C(2000000000);
	mrmr_pool_look(w->pool);
	world_use(w);
}

/* --- behind the pool's back ----------------------------------------------- */

bool world_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

void world_write(const char *path, const char *text)
{
	char parent[2 * MRMR_PATH_MAX];
	char *slash = NULL;
	size_t len = strlen(text);
	int fd;

	snprintf(parent, sizeof(parent), "%s", path);
	for (slash = strchr(parent + 1, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!world_there(parent)) {
			make_directory(parent);
		}
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd == -1) {
		fail_msg("%s: %s", path, strerror(errno));
	}
	assert_int_equal(write(fd, text, len), len);
	close(fd);
}

static const char *read_fd(int fd)
{
	static char text[65536];
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	close(fd);
	if (len == -1) {
		return NULL;
	}
	text[len] = '\0';
	return text;
}

const char *world_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd == -1 ? NULL : read_fd(fd);
}

const char *world_where(struct world *w, const char *path)
{
	static char texts[4][WORLD_MEMBERS_MAX + 2];
	static unsigned int next;
	char *text = texts[next++ % 4];
	char *out = text;
	size_t i;

	if (world_there(world_spine(w, path))) {
		*out++ = 's';
	}
	for (i = 0; i < w->shape.num_members; i++) {
		if (world_there(world_drive(w, i, path))) {
			*out++ = "0123456789abcdef"[i];
		}
	}
	*out = '\0';
	return text;
}

static void set_drive_size(struct world *w, size_t member, const char *size)
{
	const char *path = below(w, "drive", drive_of(w, member), "");
	char options[64];

	snprintf(options, sizeof(options), "size=%s", size);
	if (mount(NULL, path, NULL, MS_REMOUNT, options) == -1) {
		fail_msg("%s of %s: %s", options, path, strerror(errno));
	}
}

void world_fill(struct world *w, size_t member)
{
	struct statfs fs;
	char size[32];

	assert_return_code(statfs(world_drive(w, member, ""), &fs), errno);
	snprintf(size, sizeof(size), "%llu",
		 (unsigned long long)(fs.f_blocks - fs.f_bfree) *
			 (unsigned long long)fs.f_bsize);
	set_drive_size(w, member, size);
}

void world_unfill(struct world *w, size_t member)
{
	const char *size = w->shape.sizes[drive_of(w, member)];

	set_drive_size(w, member, size != NULL ? size : DRIVE_SIZE);
}

static unsigned int count_named(const char *dir_path, const char *name)
{
	struct dirent *entry = NULL;
	unsigned int count = 0;
	DIR *dir = opendir(dir_path);

	if (dir == NULL) {
		return 0;
	}
	while ((entry = readdir(dir)) != NULL) {
		char path[2 * MRMR_PATH_MAX];

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0) {
			continue;
		}
		count += strcmp(entry->d_name, name) == 0;
		snprintf(path, sizeof(path), "%s/%s", dir_path, entry->d_name);
		count += count_named(path, name);
	}
	closedir(dir);
	return count;
}

unsigned int world_trashed(struct world *w, size_t member, const char *name)
{
	return count_named(world_drive(w, member, ".mrmr/trash"), name);
}

unsigned int world_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL) {
		count++;
	}
	closedir(dir);
	return count;
}

/* --- through the pool ------------------------------------------------------ */

static int place_of(struct world *w, const char *path, struct mrmr_place *place)
{
	world_use(w);
	return mrmr_place_find(w->pool, w->pool->spine_fd, path, place);
}

static int result(int ret)
{
	return ret == -1 ? errno : 0;
}

int do_create(struct world *w, const char *path, const char *text)
{
	struct mrmr_place place;
	size_t member;
	ssize_t len;
	int fd;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	fd = mrmr_name_create(place.dir, place.name, O_RDWR, 0644, 0, &member);
	if (fd == -1) {
		return errno;
	}
	len = write(fd, text, strlen(text));
	close(fd);
	return len == (ssize_t)strlen(text) ? 0 : EIO;
}

int do_mkdir(struct world *w, const char *path, mode_t mode)
{
	struct mrmr_place place;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	return result(mrmr_name_mkdir(place.dir, place.name, mode));
}

int do_symlink(struct world *w, const char *target, const char *path)
{
	struct mrmr_place place;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	return result(mrmr_name_symlink(place.dir, place.name, target));
}

int do_mknod(struct world *w, const char *path, mode_t mode, dev_t dev)
{
	struct mrmr_place place;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	return result(mrmr_name_mknod(place.dir, place.name, mode, dev));
}

int do_link(struct world *w, const char *from, const char *to)
{
	struct mrmr_place a;
	struct mrmr_place b;

	if (place_of(w, from, &a) == -1 || place_of(w, to, &b) == -1) {
		return errno;
	}
	return result(mrmr_name_link(a.dir, a.name, b.dir, b.name));
}

int do_unlink(struct world *w, const char *path)
{
	struct mrmr_place place;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	return result(mrmr_name_unlink(place.dir, place.name));
}

int do_rmdir(struct world *w, const char *path)
{
	struct mrmr_place place;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	return result(mrmr_name_rmdir(place.dir, place.name));
}

int do_rename(struct world *w, const char *from, const char *to)
{
	struct mrmr_place a;
	struct mrmr_place b;

	if (place_of(w, from, &a) == -1 ||
	    mrmr_place_find(w->pool, w->pool->spine_fd, to, &b) == -1) {
		return errno;
	}
	return result(mrmr_name_rename(a.dir, a.name, b.dir, b.name));
}

int do_stat(struct world *w, const char *path, size_t *member, struct stat *st)
{
	struct mrmr_place place;

	if (place_of(w, path, &place) == -1) {
		return errno;
	}
	return result(mrmr_name_find(place.dir, place.name, member, st));
}

int do_open(struct world *w, const char *path, int flags)
{
	struct mrmr_place place;
	struct stat st;
	size_t member;

	if (place_of(w, path, &place) == -1) {
		return -1;
	}
	return mrmr_name_open(place.dir, place.name,
			      flags | O_NOFOLLOW | O_CLOEXEC, &member, &st);
}

const char *do_read(struct world *w, const char *path)
{
	int fd = do_open(w, path, O_RDONLY);

	return fd == -1 ? NULL : read_fd(fd);
}

struct mrmr_dir *do_dir(struct world *w, const char *path)
{
	struct mrmr_dir *dir = NULL;
	struct mrmr_place place;
	char longer[2 * MRMR_PATH_MAX];

	world_use(w);
	if (path[0] == '\0') {
		dir = mrmr_dir_get(w->pool, w->pool->spine_fd);
		assert_non_null(dir);
		return dir;
	}
	snprintf(longer, sizeof(longer), "%s/x", path);
	if (mrmr_place_find(w->pool, w->pool->spine_fd, longer, &place) == -1) {
		fail_msg("%s: %s", path, strerror(errno));
	}
	return place.dir;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *do_list(struct world *w, const char *path)
{
	static char text[65536];
	struct mrmr_dir *dir = do_dir(w, path);
	struct mrmr_listing *listing = mrmr_listing_new(NULL, dir);
	const char **names = NULL;
	char *out = text;
	size_t n, i;

	if (listing == NULL) {
		return NULL;
	}
	n = mrmr_listing_count(listing);
	assert_true(n >= 2);
	assert_string_equal(mrmr_listing_get(listing, 0).name, ".");
	assert_string_equal(mrmr_listing_get(listing, 1).name, "..");
	names = talloc_array(listing, const char *, n);
	for (i = 2; i < n; i++) {
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);

		names[i - 2] = talloc_asprintf(names, "%s%s", entry.name,
					       entry.type == DT_DIR ? "/" : "");
	}
	qsort(names, n - 2, sizeof(names[0]), compare_names);
	*out = '\0';
	for (i = 0; i < n - 2; i++) {
		out += snprintf(out, sizeof(text) - (size_t)(out - text),
				"%s%s", i > 0 ? " " : "", names[i]);
		assert_true((size_t)(out - text) < sizeof(text));
	}
	talloc_free(listing);
	return text;
}

size_t do_where(struct world *w, const char *path)
{
	struct stat st;
	size_t member;

	return do_stat(w, path, &member, &st) == 0 ? member : SIZE_MAX;
}

/* --- the program ----------------------------------------------------------- */

static int enter(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%s/mrmr-union-XXXXXX",
		 tmp != NULL ? tmp : "/tmp");
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    setgroups(0, NULL) == -1 || mkdtemp(base) == NULL) {
		return -1;
	}
	if (mount("none", base, "tmpfs", 0, "mode=755") == -1) {
		int saved_errno = errno;

		rmdir(base);
		errno = saved_errno;
		return -1;
	}
	return 0;
}

static int leave(void **state)
{
	world_user(0);
	umount2(base, MNT_DETACH);
	return rmdir(base);
}

int world_main(const char *name, const struct CMUnitTest *tests,
	       size_t num_tests)
{
	if (enter() == -1) {
		print_message("[  SKIPPED ] %s: it needs a mount namespace of "
			      "its own and root for that: %s\n",
			      name, strerror(errno));
		return 0;
	}
	mrmr_log_to(take_log);
	return _cmocka_run_group_tests(name, tests, num_tests, NULL, leave);
}
