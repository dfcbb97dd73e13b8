/*
 * MRMR: what was begun on several members and must be finished: the records.
 *
 * {"kind": "rename-directory", "from": PATH, "to": PATH, "keep": ID,
 *  "members": [ID, ...], "committed": BOOL}
 *
 * Paths are bytes, JSON is UTF-8: what is not printable ASCII, and '%', is
 * written as %XX.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/hex.h>
#include <mrmr/intent.h>
#include <mrmr/log.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "intent_private.h"

static const char *const kind_names[] = {
	[MRMR_INTENT_RENAME_DIR] = "rename-directory",
	[MRMR_INTENT_REPLACE] = "replace",
	[MRMR_INTENT_MOVE] = "move",
	[MRMR_INTENT_ABSENT_REMOVE] = "remove-absent",
	[MRMR_INTENT_ABSENT_RENAME] = "rename-absent",
	[MRMR_INTENT_RMDIR] = "remove-directory",
};

#define NUM_KINDS (sizeof(kind_names) / sizeof(kind_names[0]))

static char *escape(void *mem_ctx, const char *path)
{
	char *text = talloc_array(mem_ctx, char, 3 * strlen(path) + 1);
	char *out = text;

	if (text == NULL) {
		return NULL;
	}
	for (; *path != '\0'; path++) {
		unsigned char c = (unsigned char)*path;

		if (c > ' ' && c < 0x7f && c != '%') {
			*out++ = (char)c;
		} else {
			out += sprintf(out, "%%%02X", c);
		}
	}
	*out = '\0';
	return text;
}

/* NULL: escape() has not written this, or it is no path of a pool. */
static char *unescape(void *mem_ctx, const char *text)
{
	char *path = talloc_array(mem_ctx, char, strlen(text) + 1);
	char *out = path;

	if (path == NULL) {
		return NULL;
	}
	while (*text != '\0') {
		uint8_t c = (uint8_t)*text++;

		if (c == '%') {
			if (!mrmr_hex_decode(text, &c, 1) || c == '\0') {
				return NULL;
			}
			text += 2;
		}
		*out++ = (char)c;
	}
	*out = '\0';
	return out - path < MRMR_PATH_MAX ? path : NULL;
}

static json_t *id_json(const struct mrmr_pool *pool, size_t member)
{
	char id[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(&pool->members[member].config->id, id);
	return json_string(id);
}

static char *to_text(struct mrmr_pool *pool, const struct mrmr_intent *intent)
{
	void *frame = talloc_new(NULL);
	json_t *members = json_array();
	json_t *json = NULL;
	char *text = NULL;
	size_t i;

	for (i = 0; i < intent->num_members; i++) {
		json_array_append_new(members,
				      id_json(pool, intent->members[i]));
	}
	json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:b}", "kind",
			 kind_names[intent->kind], "from",
			 escape(frame, intent->from), "to",
			 escape(frame, intent->to), "keep",
			 id_json(pool, intent->keep), "members", members,
			 "committed", (int)intent->committed);
	if (json != NULL) {
		text = json_dumps(json, JSON_INDENT(1));
		json_decref(json);
	}
	talloc_free(frame);
	if (text == NULL) {
		errno = ENOMEM;
	}
	return text;
}

static void file_name(uint64_t sequence, char name[64])
{
	snprintf(name, 64, "%020" PRIu64 ".json", sequence);
}

static int is_record(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

/* Content, then name, then the folder: durable in that order. */
static int write_file(int folder, const char *name, const char *text,
		      bool replace)
{
	char staged[96];
	size_t len = strlen(text);
	int saved_errno;
	int ret = -1;
	int fd;

	mrmr_staging_name(staged, sizeof(staged));
	fd = openat(folder, staged,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	if (mrmr_fault("intent-write") == 0 &&
	    mrmr_write_fully(fd, text, len, 0) == 0 && fsync(fd) == 0 &&
	    mrmr_fault("intent-name") == 0) {
		ret = replace ? renameat(folder, staged, folder, name)
			      : linkat(folder, staged, folder, name, 0);
	}
	saved_errno = errno;
	close(fd);
	if (ret == -1 || !replace) {
		unlinkat(folder, staged, 0);
	}
	if (ret == 0 &&
	    (mrmr_fault("intent-sync") != 0 || fsync(folder) == -1)) {
		saved_errno = errno;
		if (!replace) {
			unlinkat(folder, name, 0);
		}
		ret = -1;
	}
	errno = saved_errno;
	return ret;
}

/*
 * Records are carried out in the order of their sequence, and a clock may be
 * set back: a new one comes after all that are there.
 */
static uint64_t next_sequence(int folder)
{
	struct dirent *entry = NULL;
	struct timespec ts;
	uint64_t next;
	DIR *dir = NULL;
	int fd;

	clock_gettime(CLOCK_REALTIME, &ts);
	next = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;

	fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = (fd != -1) ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		if (fd != -1) {
			close(fd);
		}
		return next;
	}
	while ((entry = readdir(dir)) != NULL) {
		uint64_t sequence;

		if (is_record(entry) &&
		    sscanf(entry->d_name, "%" SCNu64, &sequence) == 1 &&
		    sequence >= next) {
			next = sequence + 1;
		}
	}
	closedir(dir);
	return next;
}

static int save(struct mrmr_pool *pool, struct mrmr_intent *intent,
		bool replace)
{
	char name[64];
	char *text = to_text(pool, intent);
	int folder;
	int saved_errno;
	int ret;

	if (text == NULL) {
		return -1;
	}
	folder = mrmr_folder_open(pool->state_fd, MRMR_INTENTS);
	if (folder == -1) {
		free(text);
		return -1;
	}
	do {
		if (!replace) {
			intent->sequence = next_sequence(folder);
		}
		file_name(intent->sequence, name);
		ret = write_file(folder, name, text, replace);
	} while (ret == -1 && errno == EEXIST);

	saved_errno = errno;
	close(folder);
	free(text);
	errno = saved_errno;
	return ret;
}

int mrmr_intent_begin(struct mrmr_pool *pool, struct mrmr_intent *intent)
{
	int ret;

	intent->committed = false;
	atomic_fetch_add(&pool->shared->num_intents, 1);
	ret = save(pool, intent, false);
	if (ret == -1) {
		atomic_fetch_sub(&pool->shared->num_intents, 1);
	}
	return ret;
}

int mrmr_intent_begin_as_root(struct mrmr_pool *pool,
			      struct mrmr_intent *intent)
{
	int saved_errno;
	int ret;

	pool->identity.become_root();
	ret = mrmr_intent_begin(pool, intent);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	return ret;
}

int intent_keep_for(struct mrmr_pool *pool, struct mrmr_intent *intent,
		    const size_t *members, size_t num_members)
{
	int ret;

	intent->members = members;
	intent->num_members = num_members;
	intent->committed = true;
	ret = save(pool, intent, true);
	atomic_fetch_add(&pool->shared->intents_gen, 1);
	return ret;
}

int mrmr_intent_keep_for(struct mrmr_pool *pool, struct mrmr_intent *intent,
			 const size_t *members, size_t num_members)
{
	int ret = -1;

	if (mrmr_fault("intent-keep") == 0) {
		ret = intent_keep_for(pool, intent, members, num_members);
	}
	if (ret == 0) {
		atomic_fetch_sub(&pool->shared->num_intents, 1);
	}
	return ret;
}

int intent_end(struct mrmr_pool *pool, const struct mrmr_intent *intent)
{
	char name[64];
	int ret = 0;
	int folder;

	folder = mrmr_folder_open(pool->state_fd, MRMR_INTENTS);
	if (folder == -1) {
		return -1;
	}
	/* Not synced: one that was not committed, and comes back after a power
	   cut, finds what the spine, on the same file system, says. */
	file_name(intent->sequence, name);
	if (unlinkat(folder, name, 0) == -1 && errno != ENOENT) {
		ret = -1;
	}
	close(folder);
	return ret;
}

void mrmr_intent_end(struct mrmr_pool *pool, const struct mrmr_intent *intent)
{
	if (mrmr_fault("intent-end") != 0) {
		return;
	}
	intent_end(pool, intent);
	atomic_fetch_sub(&pool->shared->num_intents, 1);
}

void mrmr_intent_leave(struct mrmr_pool *pool, const struct mrmr_intent *intent)
{
	/* The count stays up: that is what the next one sees. */
	mrmr_log(MRMR_LOG_WARNING,
		 "'%s' and '%s' are not as they should be on "
		 "all members; this is tried again",
		 intent->from, intent->to);
}

static int member_by_id(const struct mrmr_pool *pool, const char *text)
{
	struct mrmr_uuid id;
	size_t i;

	if (text == NULL || !mrmr_uuid_parse(text, &id)) {
		return -1;
	}
	for (i = 0; i < pool->num_members; i++) {
		if (mrmr_uuid_equal(&pool->members[i].config->id, &id)) {
			return (int)i;
		}
	}
	return -1;
}

/* A member that was removed from the pool has nothing to be done on it. */
static struct mrmr_intent *from_json(void *mem_ctx,
				     const struct mrmr_pool *pool,
				     const json_t *json)
{
	struct mrmr_intent *intent = talloc_zero(mem_ctx, struct mrmr_intent);
	const json_t *members = json_object_get(json, "members");
	const char *kind = json_string_value(json_object_get(json, "kind"));
	const char *from = json_string_value(json_object_get(json, "from"));
	const char *to = json_string_value(json_object_get(json, "to"));
	int keep =
		member_by_id(pool,
			     json_string_value(json_object_get(json, "keep")));
	size_t *list = NULL;
	size_t k, i;

	if (intent == NULL || kind == NULL || from == NULL || to == NULL) {
		return NULL;
	}
	for (k = 0; k < NUM_KINDS && strcmp(kind, kind_names[k]) != 0; k++) {
	}
	if (k == NUM_KINDS) {
		return NULL;
	}
	list = talloc_array(intent, size_t, json_array_size(members) + 1);
	if (list == NULL) {
		return NULL;
	}
	for (i = 0; i < json_array_size(members); i++) {
		int member =
			member_by_id(pool, json_string_value(
						   json_array_get(members, i)));

		if (member != -1) {
			list[intent->num_members++] = (size_t)member;
		}
	}
	intent->kind = (enum mrmr_intent_kind)k;
	intent->from = unescape(intent, from);
	intent->to = unescape(intent, to);
	if (intent->from == NULL || intent->to == NULL) {
		return NULL;
	}
	intent->keep = keep == -1 ? SIZE_MAX : (size_t)keep;
	intent->members = list;
	intent->committed = json_is_true(json_object_get(json, "committed"));
	return intent;
}

struct mrmr_intent *intent_load(void *mem_ctx, struct mrmr_pool *pool,
				int folder, const char *name)
{
	struct mrmr_intent *intent = NULL;
	json_error_t error;
	json_t *json = NULL;
	int fd;

	fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return NULL; /* ended meanwhile */
	}
	json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
	close(fd);
	if (json != NULL) {
		intent = from_json(mem_ctx, pool, json);
		json_decref(json);
	}
	if (intent == NULL) {
		mrmr_log(MRMR_LOG_ERROR,
			 "intents/%s in the state directory "
			 "cannot be read; look at it and remove it",
			 name);
		return NULL;
	}
	if (sscanf(name, "%" SCNu64, &intent->sequence) != 1) {
		TALLOC_FREE(intent);
	}
	return intent;
}

int intent_list(int folder, struct dirent ***names)
{
	int n = scandirat(folder, ".", names, is_record, alphasort);

	return n;
}

void intent_free_list(struct dirent **names, int n)
{
	while (n-- > 0) {
		free(names[n]);
	}
	free(names);
}
