/*
 * mrmr-admin what-if: what would be lost with some members?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/size.h>

#include "admin.h"
#include "engine.h"
#include "nodes.h"
#include "progress.h"

struct what_if {
	struct admin *admin;
	struct mrmr_engine *engine;
	bool *lose;    /* by index */
	size_t member; /* that is walked through */
	json_t *lost;
	json_t *reverted;
	char *lost_lines;
	char *reverted_lines;
	uint64_t num_lost;
	uint64_t lost_bytes;
	uint64_t num_reverted;
	uint64_t reverted_bytes;
	uint64_t num_already;
	bool is_complete;
};

/* --- which members -------------------------------------------------------------- */

static int mark_members(struct what_if *w, const char *list)
{
	char *copy = admin_need(talloc_strdup(w->admin, list));
	json_t *array = admin_need(json_array());
	char *rest = NULL;
	char *word = NULL;

	admin_set(w->admin->result, "lose", array);
	for (word = strtok_r(copy, ",", &rest); word != NULL;
	     word = strtok_r(NULL, ",", &rest)) {
		const struct mrmr_config *config = w->engine->pool->config;
		int found = admin_config_member(w->admin, config, word);

		if (found == -1) {
			return ADMIN_USAGE;
		}
		if (!w->lose[found]) {
			admin_append(array,
				     admin_json_uuid(
					     &config->members[found].id));
		}
		w->lose[found] = true;
	}
	if (json_array_size(array) == 0) {
		return admin_fail(w->admin, ADMIN_USAGE,
				  "--lose names no member");
	}
	return ADMIN_GO_ON;
}

/* --- which files ------------------------------------------------------------------ */

static void add_line(char **lines, uint64_t num, const char *label,
		     uint64_t bytes)
{
	char size[MRMR_SIZE_LEN];

	if (num <= ADMIN_NAMES_SHOWN) {
		*lines = admin_need(
			talloc_asprintf_append(*lines, "  %s, %s\n", label,
					       mrmr_size_format(bytes, size)));
	}
}

static void take_file(struct what_if *w, const struct mrmr_check_file *file)
{
	json_t *object = NULL;
	char *label = NULL;

	if (file->lost_bytes > 0) {
		w->num_already++;
	}
	if (file->then_lost_bytes <= file->lost_bytes) {
		return;
	}
	w->num_lost++;
	w->lost_bytes += file->then_lost_bytes - file->lost_bytes;
	label = admin_node_label(NULL, w->engine, file->id);
	add_line(&w->lost_lines, w->num_lost, label,
		 file->then_lost_bytes - file->lost_bytes);
	talloc_free(label);
	object = admin_need(json_object());
	admin_set_node(object, w->engine, file->id, file->member);
	admin_set(object, "lost_bytes",
		  json_integer((json_int_t)(file->then_lost_bytes -
					    file->lost_bytes)));
	admin_set(object, "was_protected", json_true());
	admin_append(w->lost, object);
}

static int take_stray(const struct mrmr_check_stray *stray, void *private_data)
{
	struct what_if *w = private_data;
	const struct mrmr_member *member = &w->engine->pool->members[w->member];
	bool is_lost = stray->id == 0;
	json_t *object = admin_need(json_object());
	char *label = admin_printable(NULL, stray->path);

	if (is_lost) {
		w->num_lost++;
		w->lost_bytes += stray->size_bytes;
		add_line(&w->lost_lines, w->num_lost, label, stray->size_bytes);
	} else {
		w->num_reverted++;
		w->reverted_bytes += stray->size_bytes;
		add_line(&w->reverted_lines, w->num_reverted, label,
			 stray->size_bytes);
	}
	talloc_free(label);
	admin_set(object, "path", admin_json_text(stray->path));
	admin_set(object, "in_trash", json_false());
	admin_set(object, "name", admin_json_text(mrmr_member_name(member)));
	admin_set(object, "mount_id", admin_json_uuid(&member->config->id));
	admin_set(object, is_lost ? "lost_bytes" : "size_bytes",
		  json_integer((json_int_t)stray->size_bytes));
	if (is_lost) {
		admin_set(object, "was_protected", json_false());
	}
	admin_append(is_lost ? w->lost : w->reverted, object);
	return admin_should_stop(NULL);
}

/* What the catalogue does not know would be lost as well. */
static int take_strays(struct what_if *w)
{
	struct mrmr_error err = {0};
	size_t i;

	for (i = 0; i < w->engine->pool->num_members; i++) {
		const struct mrmr_member *member = &w->engine->pool->members[i];

		if (!w->lose[i]) {
			continue;
		}
		if (member->state != MRMR_MEMBER_ONLINE) {
			admin_note(w->admin,
				   "%s is not there: whether there are files "
				   "on it that were never protected is not to "
				   "be seen",
				   mrmr_member_name(member));
			w->is_complete = false;
			continue;
		}
		w->member = i;
		if (mrmr_check_strays(w->engine, i, take_stray, w, &err) ==
		    -1) {
			return admin_fail(w->admin, ADMIN_FAILED, "%s",
					  err.text);
		}
	}
	return ADMIN_GO_ON;
}

/* --- the report ---------------------------------------------------------------------- */

static void say_files(struct what_if *w, const char *what, uint64_t num,
		      uint64_t bytes, const char *lines)
{
	char size[MRMR_SIZE_LEN];

	if (num == 0) {
		return;
	}
	admin_say(w->admin, "%s: %llu %s, %s:\n%.*s", what,
		  (unsigned long long)num, num == 1 ? "file" : "files",
		  mrmr_size_format(bytes, size), (int)strlen(lines) - 1, lines);
	if (num > ADMIN_NAMES_SHOWN) {
		admin_say(w->admin, "  and %llu more; --json lists them all",
			  (unsigned long long)(num - ADMIN_NAMES_SHOWN));
	}
}

static int report(struct what_if *w)
{
	struct admin *admin = w->admin;
	json_t *result = admin->result;

	admin_set(result, "lost", w->lost);
	admin_set(result, "reverted", w->reverted);
	admin_set(result, "num_lost", json_integer((json_int_t)w->num_lost));
	admin_set(result, "lost_bytes",
		  json_integer((json_int_t)w->lost_bytes));
	admin_set(result, "num_reverted",
		  json_integer((json_int_t)w->num_reverted));
	admin_set(result, "num_already_lost",
		  json_integer((json_int_t)w->num_already));
	admin_set(result, "is_complete", json_boolean(w->is_complete));
	say_files(w, "Would be lost", w->num_lost, w->lost_bytes,
		  w->lost_lines);
	say_files(w,
		  "Would go back to what they were when they were protected "
		  "last",
		  w->num_reverted, w->reverted_bytes, w->reverted_lines);
	if (w->num_already > 0) {
		admin_say(admin,
			  "%llu files cannot be had as it is (mrmr-admin "
			  "check)",
			  (unsigned long long)w->num_already);
	}
	if (w->num_lost > 0) {
		return ADMIN_LOST;
	}
	if (w->num_reverted == 0 && w->is_complete) {
		admin_say(admin, "Nothing would be lost.");
	}
	return w->num_reverted > 0 || !w->is_complete ? ADMIN_DEGRADED
						      : ADMIN_OK;
}

static void show_progress(uint64_t done, uint64_t num, void *private_data)
{
	admin_progress_set(private_data, done, num);
}

static int look(struct what_if *w)
{
	struct mrmr_check_options options = {
		.lose = w->lose,
		.progress = show_progress,
		.should_stop = admin_should_stop,
	};
	struct mrmr_check_result *result = NULL;
	struct mrmr_error err = {0};
	size_t i;

	options.private_data =
		admin_progress_begin(w->admin, "Looking at stripes",
				     ADMIN_PROGRESS_COUNT);
	result = mrmr_check(w->admin, w->engine, &options, &err);
	admin_progress_end(options.private_data);
	if (result == NULL) {
		return admin_fail(w->admin, ADMIN_FAILED, "%s", err.text);
	}
	w->is_complete = result->is_complete;
	for (i = 0; i < result->num_listed; i++) {
		take_file(w, &result->files[i]);
	}
	talloc_free(result);
	return ADMIN_GO_ON;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	char *lose = NULL;
	const struct poptOption options[] = {
		{"lose", '\0', POPT_ARG_STRING, &lose, 0,
		 "the members, with commas between them", "M,M"},
		POPT_TABLEEND,
	};
	struct what_if w = {.admin = admin};
	const char **words = NULL;
	int status =
		admin_parse(admin, verb, options, argc, argv, 0, 0, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (lose == NULL) {
		return admin_fail(admin, ADMIN_USAGE,
				  "which members? say --lose M,M");
	}
	admin_stop_on_signals();
	w.engine = admin_engine_open(admin, MRMR_ENGINE_READ, &status);
	if (w.engine == NULL && status == ADMIN_OK) {
		admin_note(admin, "every file on these members would be lost");
		return ADMIN_LOST;
	}
	if (w.engine == NULL) {
		return status;
	}
	w.lose = admin_need(
		talloc_zero_array(admin, bool,
				  (unsigned int)w.engine->pool->num_members));
	w.lost_lines = admin_need(talloc_strdup(admin, ""));
	w.reverted_lines = admin_need(talloc_strdup(admin, ""));
	status = mark_members(&w, lose);
	if (status == ADMIN_GO_ON) {
		w.lost = admin_need(json_array());
		w.reverted = admin_need(json_array());
		status = look(&w);
		if (status == ADMIN_GO_ON) {
			status = take_strays(&w);
		}
		if (admin_should_stop(NULL)) {
			w.is_complete = false;
			admin_note(admin,
				   "interrupted: not everything was looked at");
		}
		if (status == ADMIN_GO_ON) {
			status = report(&w);
		} else {
			json_decref(w.lost);
			json_decref(w.reverted);
		}
	}
	admin_engine_close(w.engine);
	return status;
}

const struct admin_verb admin_verb_what_if = {
	.name = "what-if",
	.arguments = "--lose M,M",
	.summary = "name the files that would be lost with some members",
	.help = "Names the files that would be lost if these members were, "
		"together with what is\n"
		"away already: those that could not be computed any more, and "
		"those that are not\n"
		"protected yet. Files that have changed since they were "
		"protected would go back to\n"
		"what they were. Changes nothing. Exit status 2: something "
		"would be lost. 1: only\n"
		"changes would be lost, or not everything could be seen.\n",
	.needs_root = true,
	.run = run,
};
