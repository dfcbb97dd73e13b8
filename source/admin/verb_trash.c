/*
 * mrmr-admin trash: what was deleted, bringing it back, removing it for good.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <talloc.h>

#include <mrmr/marker.h>
#include <mrmr/path.h>
#include <mrmr/protector.h>
#include <mrmr/size.h>
#include <mrmr/undelete.h>

#include "admin.h"
#include "engine.h"
#include "progress.h"

#define DAY_SECONDS 86400
#define DAYS_MAX 36500
#define RESTORE_TRIES 3

struct trash {
	struct admin *admin;
	struct mrmr_pool *pool;
	struct mrmr_engine *engine; /* NULL: nothing was ever protected */
	struct mrmr_trashed *items;
	size_t num;
};

/* --- opening ------------------------------------------------------------------- */

/* The pool, and what is in its trash. */
static int open_trash(struct trash *t)
{
	struct mrmr_config *config = admin_config(t->admin);
	struct mrmr_error err = {0};

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	t->pool = mrmr_pool_open(t->admin, config, NULL, &err);
	if (t->pool == NULL || mrmr_trash_list(t->admin, t->pool, &t->items,
					       &t->num, &err) == -1) {
		return admin_fail(t->admin, ADMIN_FAILED, "%s", err.text);
	}
	return ADMIN_GO_ON;
}

static int open_engine(struct trash *t)
{
	struct mrmr_error err = {0};

	/* for reading first: that makes none */
	t->engine = mrmr_engine_open(t->admin, t->pool, MRMR_ENGINE_READ, &err);
	if (t->engine == NULL) {
		return err.code == ENOENT ? ADMIN_GO_ON
					  : admin_fail(t->admin, ADMIN_FAILED,
						       "%s", err.text);
	}
	TALLOC_FREE(t->engine);
	t->engine = admin_engine_wait(t->admin, t->pool, &err);
	if (t->engine == NULL) {
		return admin_fail(t->admin,
				  err.code == EINTR ? ADMIN_DEGRADED
						    : ADMIN_FAILED,
				  "%s", err.text);
	}
	return ADMIN_GO_ON;
}

static void close_trash(struct trash *t)
{
	talloc_free(t->engine);
	talloc_free(t->items);
	talloc_free(t->pool);
}

/* --- list ------------------------------------------------------------------------- */

static json_t *item_json(const struct trash *t, const struct mrmr_trashed *item)
{
	const struct mrmr_member *member = &t->pool->members[item->member];
	json_t *object = admin_need(json_object());

	admin_set(object, "path", admin_json_text(item->path));
	admin_set(object, "trash_path", admin_json_text(item->trash_path));
	admin_set(object, "mount_id", admin_json_uuid(&member->config->id));
	admin_set(object, "name", admin_json_text(mrmr_member_name(member)));
	admin_set(object, "size_bytes", json_integer(item->st.st_size));
	admin_set(object, "time", json_integer(item->time_s));
	return object;
}

static void say_item(const struct trash *t, const struct mrmr_trashed *item)
{
	time_t time_s = (time_t)item->time_s;
	struct tm tm = {0};
	char when[32] = "";
	char size[MRMR_SIZE_LEN];
	char *path = admin_printable(NULL, item->path);

	localtime_r(&time_s, &tm);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	admin_say(t->admin, "%s  %10s  %s  %s", when,
		  mrmr_size_format((uint64_t)item->st.st_size, size),
		  mrmr_member_name(&t->pool->members[item->member]), path);
	talloc_free(path);
}

/* A path itself, or what is below it; or its place in the trash. */
static bool is_meant(const struct mrmr_trashed *item, const char *word)
{
	size_t len = strlen(word);

	if (strcmp(item->trash_path, word) == 0) {
		return true;
	}
	return strncmp(item->path, word, len) == 0 &&
	       (item->path[len] == '\0' || item->path[len] == '/');
}

static int list(struct trash *t, const char **words)
{
	json_t *array = admin_need(json_array());
	uint64_t bytes = 0;
	uint64_t num = 0;
	char size[MRMR_SIZE_LEN];
	size_t i;

	for (i = 0; i < t->num; i++) {
		const struct mrmr_trashed *item = &t->items[i];

		if (words[0] != NULL && !is_meant(item, words[0])) {
			continue;
		}
		say_item(t, item);
		admin_append(array, item_json(t, item));
		bytes += (uint64_t)item->st.st_size;
		num++;
	}
	admin_set(t->admin->result, "items", array);
	admin_set(t->admin->result, "size_bytes",
		  json_integer((json_int_t)bytes));
	admin_say(t->admin, "%llu %s, %s", (unsigned long long)num,
		  num == 1 ? "file" : "files", mrmr_size_format(bytes, size));
	return ADMIN_OK;
}

/* --- restore ----------------------------------------------------------------------- */

/* The pool path that a word means; NULL after the failure was said. */
static const char *pool_path(struct trash *t, const char *word)
{
	const char *why = NULL;
	char *absolute =
		admin_need(talloc_asprintf(t->admin, "%s%s",
					   word[0] == '/' ? "" : "/", word));
	char *clean = mrmr_path_clean(t->admin, absolute, &why);

	if (clean != NULL && strcmp(clean, "/") == 0) {
		clean = NULL;
		why = "is the share itself";
	}
	if (clean != NULL &&
	    (strcasecmp(clean + 1, MRMR_DIR) == 0 ||
	     strncasecmp(clean + 1, MRMR_DIR "/", strlen(MRMR_DIR) + 1) == 0)) {
		clean = NULL;
		why = "is not part of the share";
	}
	if (clean == NULL) {
		admin_fail(t->admin, ADMIN_USAGE, "the path \"%s\" %s", word,
			   why);
		return NULL;
	}
	return clean + 1;
}

static bool is_exactly(const struct mrmr_trashed *item, const char *word)
{
	return strcmp(item->path, word) == 0 ||
	       strcmp(item->trash_path, word) == 0;
}

/* If it was only just now that the name became free, the protector has to hear of
   that first. */
static int give_back(struct trash *t, const struct mrmr_trashed *item,
		     const char *to, struct mrmr_error *err)
{
	const struct mrmr_protect_options options = {
		.names_only = true,
		.should_stop = admin_should_stop,
	};
	struct mrmr_protect_result result;
	unsigned int tries;

	for (tries = 0; tries < RESTORE_TRIES; tries++) {
		if (mrmr_trash_restore(t->pool, t->engine, item, to, err) ==
		    0) {
			return 0;
		}
		if (err->code != ESTALE || admin_should_stop(NULL) ||
		    mrmr_protect(t->engine, &options, &result, err) == -1) {
			return -1;
		}
	}
	return mrmr_trash_restore(t->pool, t->engine, item, to, err);
}

static int restore_one(struct trash *t, const struct mrmr_trashed *item,
		       const char *to)
{
	struct mrmr_error err = {0};
	const char *member = mrmr_member_name(&t->pool->members[item->member]);

	if (!admin_step(t->admin, "bring back %s on %s", to, member)) {
		return ADMIN_OK;
	}
	if (give_back(t, item, to, &err) == -1) {
		return admin_fail(t->admin, ADMIN_FAILED, "%s", err.text);
	}
	admin_say(t->admin, "%s is back, on %s", admin_printable(t->items, to),
		  member);
	return ADMIN_OK;
}

static int compare_paths(const void *a, const void *b)
{
	const struct mrmr_trashed *x = a;
	const struct mrmr_trashed *y = b;
	int order = strcmp(x->path, y->path);

	if (order != 0 || x->time_s == y->time_s) {
		return order;
	}
	return x->time_s > y->time_s ? -1 : 1;
}

/* One file, or all that is below a directory. Of a name that was deleted several
   times it is the last one. */
static int restore(struct trash *t, const char *word, const char *to)
{
	json_t *array = admin_need(json_array());
	const struct mrmr_trashed *exact = NULL;
	const char *last = NULL;
	size_t num = 0;
	size_t i;
	int status = ADMIN_OK;

	admin_set(t->admin->result, "restored", array);
	for (i = 0; i < t->num && exact == NULL; i++) {
		if (is_exactly(&t->items[i], word)) {
			exact = &t->items[i];
		}
	}
	if (exact != NULL) {
		to = to != NULL ? to : exact->path;
		status = restore_one(t, exact, to);
		if (status == ADMIN_OK && !t->admin->dry_run) {
			admin_append(array, admin_json_text(to));
		}
		return status;
	}
	if (to != NULL) {
		return admin_fail(t->admin, ADMIN_FAILED,
				  "there is no file \"%s\" in the trash", word);
	}
	if (t->num > 0) {
		qsort(t->items, t->num, sizeof(*t->items), compare_paths);
	}
	for (i = 0; i < t->num && !admin_should_stop(NULL); i++) {
		const struct mrmr_trashed *item = &t->items[i];
		int ret;

		if (!is_meant(item, word)) {
			continue;
		}
		num++;
		if (last != NULL && strcmp(last, item->path) == 0) {
			continue; /* an older one */
		}
		last = item->path;
		ret = restore_one(t, item, item->path);
		if (ret != ADMIN_OK) {
			status = ret;
		} else if (!t->admin->dry_run) {
			admin_append(array, admin_json_text(item->path));
		}
	}
	if (num == 0) {
		return admin_fail(t->admin, ADMIN_FAILED,
				  "\"%s\" is not in the trash", word);
	}
	return status;
}

/* --- purge --------------------------------------------------------------------------- */

static int parse_days(const char *text)
{
	char *end = NULL;
	long days;

	errno = 0;
	days = strtol(text, &end, 10);
	if (end == text || errno != 0 || days < 0 || days > DAYS_MAX ||
	    (strcmp(end, "") != 0 && strcmp(end, "d") != 0)) {
		return -1;
	}
	return (int)days;
}

/* Keeps those that are meant. */
static void choose(struct trash *t, const char **words, int days)
{
	int64_t before = (int64_t)time(NULL) - (int64_t)days * DAY_SECONDS;
	size_t num = 0;
	size_t i;

	for (i = 0; i < t->num; i++) {
		struct mrmr_trashed item = t->items[i];
		bool meant = words[0] == NULL;
		size_t j;

		for (j = 0; words[j] != NULL; j++) {
			meant = meant || is_meant(&item, words[j]);
		}
		if (meant && (days == 0 || item.time_s <= before)) {
			t->items[num++] = item;
		}
	}
	t->num = num;
}

static void show_progress(uint64_t done, uint64_t todo, void *private_data)
{
	admin_progress_set(private_data, done, todo);
}

static int report_purge(struct admin *admin,
			const struct mrmr_purge_result *result)
{
	char size[MRMR_SIZE_LEN];

	admin_set(admin->result, "num_removed",
		  json_integer((json_int_t)result->num_removed));
	admin_set(admin->result, "removed_bytes",
		  json_integer((json_int_t)result->removed_bytes));
	admin_set(admin->result, "num_left",
		  json_integer((json_int_t)result->num_left));
	admin_set(admin->result, "is_complete",
		  json_boolean(result->is_complete));
	admin_say(admin, "%llu %s removed, %s",
		  (unsigned long long)result->num_removed,
		  result->num_removed == 1 ? "file" : "files",
		  mrmr_size_format(result->removed_bytes, size));
	if (result->num_left > 0) {
		admin_say(admin,
			  "%llu are left: they were deleted just now, or their "
			  "member cannot be written to",
			  (unsigned long long)result->num_left);
	}
	if (!result->is_complete) {
		admin_note(admin, "interrupted");
	}
	return result->num_left > 0 || !result->is_complete ? ADMIN_DEGRADED
							    : ADMIN_OK;
}

static int purge(struct trash *t)
{
	struct mrmr_purge_options options = {
		.progress = show_progress,
		.should_stop = admin_should_stop,
	};
	struct mrmr_purge_result result = {0};
	struct mrmr_error err = {0};
	char size[MRMR_SIZE_LEN];
	uint64_t bytes = 0;
	int status;
	size_t i;
	int ret;

	for (i = 0; i < t->num; i++) {
		bytes += (uint64_t)t->items[i].st.st_size;
	}
	if (t->num == 0) {
		result.is_complete = true;
		return report_purge(t->admin, &result);
	}
	status = admin_confirm(t->admin, "%zu %s, %s, will be gone for good",
			       t->num, t->num == 1 ? "file" : "files",
			       mrmr_size_format(bytes, size));
	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (t->admin->dry_run) {
		for (i = 0; i < t->num; i++) {
			admin_step(t->admin, "remove %s", t->items[i].path);
		}
		return ADMIN_OK;
	}
	status = open_engine(t);
	if (status != ADMIN_GO_ON) {
		return status;
	}
	/* What was deleted just now, others of its stripes need until the protector has
	   heard of it. */
	if (t->engine != NULL) {
		admin_engine_hear(t->admin, t->engine, admin_should_stop, NULL);
	}
	options.private_data = admin_progress_begin(t->admin, "Removing",
						    ADMIN_PROGRESS_COUNT);
	ret = mrmr_trash_purge(t->pool, t->engine, t->items, t->num, &options,
			       &result, &err);
	admin_progress_end(options.private_data);
	status = report_purge(t->admin, &result);
	return ret == 0 ? status
			: admin_fail(t->admin, ADMIN_FAILED, "%s", err.text);
}

/* --- the verb --------------------------------------------------------------------------- */

static int run_restore(struct trash *t, const char *word, const char *to)
{
	const char *from = pool_path(t, word);
	int status;

	if (from == NULL) {
		return ADMIN_USAGE;
	}
	if (to != NULL) {
		to = pool_path(t, to);
		if (to == NULL) {
			return ADMIN_USAGE;
		}
	}
	status = t->admin->dry_run ? ADMIN_GO_ON : open_engine(t);
	return status == ADMIN_GO_ON ? restore(t, from, to) : status;
}

static int run_words(struct trash *t, const char **words, const char *to,
		     const char *older)
{
	int days = older != NULL ? parse_days(older) : 0;
	int status;

	if (strcmp(words[0], "list") != 0 && strcmp(words[0], "restore") != 0 &&
	    strcmp(words[0], "purge") != 0) {
		return admin_fail(t->admin, ADMIN_USAGE,
				  "trash %s? It is trash list, restore or "
				  "purge",
				  words[0]);
	}
	if (days == -1 || (older != NULL && strcmp(words[0], "purge") != 0)) {
		return admin_fail(t->admin, ADMIN_USAGE,
				  "--older-than is for purge, with a number of "
				  "days");
	}
	if (strcmp(words[0], "restore") == 0
		    ? words[1] == NULL || words[2] != NULL
		    : to != NULL) {
		return admin_fail(t->admin, ADMIN_USAGE,
				  "usage: trash restore PATH [--to NEW]");
	}
	admin_stop_on_signals();
	status = open_trash(t);
	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (strcmp(words[0], "list") == 0) {
		return list(t, words + 1);
	}
	if (strcmp(words[0], "restore") == 0) {
		return run_restore(t, words[1], to);
	}
	choose(t, words + 1, days);
	return purge(t);
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	char *to = NULL;
	char *older = NULL;
	const struct poptOption options[] = {
		{"to", '\0', POPT_ARG_STRING, &to, 0,
		 "restore: under this path of the share", "NEW"},
		{"older-than", '\0', POPT_ARG_STRING, &older, 0,
		 "purge: only what was deleted so many days ago", "D"},
		POPT_TABLEEND,
	};
	struct trash t = {.admin = admin};
	const char **words = NULL;
	int status = admin_parse(admin, verb, options, argc, argv, 1, 1000000,
				 &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	status = run_words(&t, words, to, older);
	close_trash(&t);
	return status;
}

const struct admin_verb admin_verb_trash = {
	.name = "trash",
	.arguments = "list [PATH] | restore PATH [--to NEW] | purge [PATH...]",
	.summary = "undelete, and remove for good",
	.help = "list: what was deleted or replaced and is still there, the "
		"newest first.\n"
		"restore: give a file, or all below a directory, its name in "
		"the share again, or\n"
		"another one; a file that is there is never replaced. Of a "
		"name that was deleted\n"
		"several times it is the last one; others are named by their "
		"trash_path (--json).\n"
		"purge: remove it for good, all of it, or only some. Asks, "
		"unless --yes. Protected\n"
		"files leave their stripes first.\n",
	.needs_root = true,
	.run = run,
};
