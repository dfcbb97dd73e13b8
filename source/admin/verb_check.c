/*
 * mrmr-admin check: can every protected file be had?
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <talloc.h>

#include <mrmr/check.h>
#include <mrmr/size.h>

#include "admin.h"
#include "engine.h"
#include "nodes.h"
#include "progress.h"

/* Of files at risk, which may be all there are, a program gets so many. */
#define RISKS_MAX 1000

static void show_progress(uint64_t done, uint64_t num, void *private_data)
{
	admin_progress_set(private_data, done, num);
}

static const char *size_text(void *mem_ctx, uint64_t bytes)
{
	char *text =
		admin_need(talloc_zero_array(mem_ctx, char, MRMR_SIZE_LEN));

	return mrmr_size_format(bytes, text);
}

/* --- files by name ----------------------------------------------------------- */

static void list_files(struct admin *admin, struct mrmr_engine *engine,
		       const struct mrmr_check_result *result, bool lost)
{
	json_t *array = admin_need(json_array());
	uint64_t num = 0;
	size_t i;

	for (i = 0; i < result->num_listed; i++) {
		const struct mrmr_check_file *file = &result->files[i];
		uint64_t bytes = lost ? file->lost_bytes : file->risk_bytes;
		json_t *object = NULL;

		if (bytes == 0) {
			continue;
		}
		if (num++ < ADMIN_NAMES_SHOWN) {
			char *label = admin_node_label(NULL, engine, file->id);

			admin_say(admin, "  %s, %s on %s", label,
				  size_text(label, bytes),
				  admin_number_name(engine, file->member));
			talloc_free(label);
		}
		if (!lost && num > RISKS_MAX) {
			continue;
		}
		object = admin_need(json_object());
		admin_set_node(object, engine, file->id, file->member);
		admin_set(object, lost ? "lost_bytes" : "risk_bytes",
			  json_integer((json_int_t)bytes));
		admin_append(array, object);
	}
	if (num > ADMIN_NAMES_SHOWN) {
		admin_say(admin, "  and %llu more; --json lists %s",
			  (unsigned long long)(num - ADMIN_NAMES_SHOWN),
			  lost || num <= RISKS_MAX ? "them all"
						   : "some of them");
	}
	admin_set(admin->result, lost ? "lost" : "at_risk", array);
}

/* --- the report ---------------------------------------------------------------- */

static void set_number(struct admin *admin, const char *key, uint64_t value)
{
	admin_set(admin->result, key, json_integer((json_int_t)value));
}

static void set_result(struct admin *admin,
		       const struct mrmr_check_result *result)
{
	const struct mrmr_check_sums *now = &result->now;

	admin_set(admin->result, "is_complete",
		  json_boolean(result->is_complete));
	admin_set(admin->result, "reads_content", json_false());
	set_number(admin, "num_stripes", result->num_stripes);
	set_number(admin, "num_files", result->num_files);
	set_number(admin, "there_bytes", now->there_bytes);
	set_number(admin, "computed_bytes", now->computed_bytes);
	set_number(admin, "lost_bytes", now->lost_bytes);
	set_number(admin, "reduced_bytes", now->reduced_bytes);
	set_number(admin, "risk_bytes", now->risk_bytes);
	set_number(admin, "num_lost", now->lost_files);
	set_number(admin, "num_at_risk", now->risk_files);
	set_number(admin, "unprotected_bytes", result->unprotected_bytes);
	set_number(admin, "missing_parity_blocks", result->missing_rows);
	set_number(admin, "away_parity_blocks", result->away_rows);
	set_number(admin, "short_stripes", result->short_stripes);
	set_number(admin, "crowded_stripes", result->crowded_stripes);
	set_number(admin, "changed_files", result->changed_files);
	set_number(admin, "wrong_records", result->wrong_records);
}

static void say_count(struct admin *admin, uint64_t num, const char *one,
		      const char *more)
{
	if (num > 0) {
		admin_say(admin, "%llu %s", (unsigned long long)num,
			  num == 1 ? one : more);
	}
}

static void say_sums(struct admin *admin,
		     const struct mrmr_check_result *result)
{
	const struct mrmr_check_sums *now = &result->now;
	void *frame = talloc_new(NULL);

	admin_say(admin, "%llu files, %llu stripes: %s there, %s computable",
		  (unsigned long long)result->num_files,
		  (unsigned long long)result->num_stripes,
		  size_text(frame, now->there_bytes),
		  size_text(frame, now->computed_bytes));
	say_count(admin, result->missing_rows, "parity block is missing",
		  "parity blocks are missing");
	say_count(admin, result->away_rows,
		  "parity block is on a member that is not there",
		  "parity blocks are on members that are not there");
	say_count(admin, result->short_stripes,
		  "stripe has fewer parity blocks than are wanted",
		  "stripes have fewer parity blocks than are wanted");
	say_count(admin, result->crowded_stripes,
		  "stripe has two blocks on one failure unit",
		  "stripes have two blocks on one failure unit");
	say_count(admin, result->wrong_records,
		  "block is recorded in two ways that contradict each other",
		  "blocks are recorded in two ways that contradict each other");
	say_count(admin, result->changed_files,
		  "file has changed since it was protected",
		  "files have changed since they were protected");
	if (result->unprotected_bytes > 0) {
		admin_say(admin, "%s of known files are not protected",
			  size_text(frame, result->unprotected_bytes));
	}
	if (now->reduced_bytes > 0) {
		admin_say(admin, "%s have less redundancy than they should",
			  size_text(frame, now->reduced_bytes));
	}
	talloc_free(frame);
}

static int report(struct admin *admin, struct mrmr_engine *engine,
		  const struct mrmr_check_result *result)
{
	const struct mrmr_check_sums *now = &result->now;

	set_result(admin, result);
	say_sums(admin, result);
	if (now->risk_files > 0) {
		admin_say(admin,
			  "At risk: one more loss would be too many for "
			  "%llu files:",
			  (unsigned long long)now->risk_files);
	}
	list_files(admin, engine, result, false);
	if (now->lost_files > 0) {
		admin_say(admin,
			  "Lost, unless what is away returns: %llu files:",
			  (unsigned long long)now->lost_files);
	}
	list_files(admin, engine, result, true);
	if (!result->is_complete) {
		admin_note(admin, "interrupted: not everything was looked at");
		return now->lost_bytes > 0 ? ADMIN_LOST : ADMIN_DEGRADED;
	}
	if (now->lost_bytes > 0 || result->wrong_records > 0) {
		return ADMIN_LOST;
	}
	admin_say(admin, "Every protected file can be had, as far as names, "
			 "sizes and times tell;\nmrmr-admin scrub reads the "
			 "content.");
	return now->reduced_bytes > 0 || now->computed_bytes > 0 ||
			       result->unprotected_bytes > 0 ||
			       result->missing_rows > 0 ||
			       result->away_rows > 0 ||
			       result->short_stripes > 0 ||
			       result->crowded_stripes > 0
		       ? ADMIN_DEGRADED
		       : ADMIN_OK;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	struct mrmr_check_options options = {
		.progress = show_progress,
		.should_stop = admin_should_stop,
	};
	struct mrmr_check_result *result = NULL;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	const char **words = NULL;
	int status = admin_parse(admin, verb, NULL, argc, argv, 0, 0, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	admin_stop_on_signals();
	engine = admin_engine_open(admin, MRMR_ENGINE_READ, &status);
	if (engine == NULL) {
		return status;
	}
	options.private_data = admin_progress_begin(admin, "Checking stripes",
						    ADMIN_PROGRESS_COUNT);
	result = mrmr_check(admin, engine, &options, &err);
	admin_progress_end(options.private_data);
	status = result != NULL
			 ? report(admin, engine, result)
			 : admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	talloc_free(result);
	admin_engine_close(engine);
	return status;
}

const struct admin_verb admin_verb_check = {
	.name = "check",
	.arguments = "",
	.summary = "prove that every protected file can be had",
	.help = "Goes through all stripes and asks whether their blocks are "
		"there: parity blocks by\n"
		"name and length, files by size and time. Names the files that "
		"could not be had,\n"
		"and those that one more loss would take. Reads no content "
		"(scrub does) and\n"
		"changes nothing; may run at any time. Exit status 1: "
		"everything can be had, but\n"
		"with less redundancy than is wanted. 2: something cannot be "
		"had.\n",
	.needs_root = true,
	.run = run,
};
