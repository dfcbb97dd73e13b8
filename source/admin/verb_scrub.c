/*
 * mrmr-admin scrub: read everything that is protected, and repair it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/hex.h>
#include <mrmr/scrub.h>
#include <mrmr/size.h>

#include "admin.h"
#include "nodes.h"
#include "progress.h"

#define FINDINGS_MAX 100000
#define DAYS_MAX 36500

struct scrub_run {
	struct admin *admin;
	struct admin_progress *progress;
	json_t *findings;
	uint64_t num_findings;
};

static const char *const kinds[] = {
	[MRMR_SCRUB_WRONG] = "wrong",
	[MRMR_SCRUB_UNREADABLE] = "unreadable",
	[MRMR_SCRUB_MISSING] = "missing",
	[MRMR_SCRUB_CHANGED] = "changed",
	[MRMR_SCRUB_RECORD] = "record",
};

static const char *const kind_texts[] = {
	[MRMR_SCRUB_WRONG] = "does not have the bytes that it should",
	[MRMR_SCRUB_UNREADABLE] = "cannot be read",
	[MRMR_SCRUB_MISSING] = "is missing",
	[MRMR_SCRUB_CHANGED] = "has changed since it was protected",
	[MRMR_SCRUB_RECORD] = "is recorded wrongly",
};

static const char *const outcomes[] = {
	[MRMR_SCRUB_LEFT] = "left",
	[MRMR_SCRUB_REPAIRED] = "repaired",
	[MRMR_SCRUB_FAILED] = "failed",
	[MRMR_SCRUB_LOST] = "lost",
};

static const char *outcome_text(const struct mrmr_scrub_finding *finding)
{
	if (finding->kind == MRMR_SCRUB_CHANGED) {
		return "";
	}
	switch (finding->outcome) {
	case MRMR_SCRUB_LEFT:
		return "; it can be repaired (--repair)";
	case MRMR_SCRUB_REPAIRED:
		return "; repaired";
	case MRMR_SCRUB_FAILED:
		return "; not repaired: ";
	case MRMR_SCRUB_LOST:
		return "; lost: ";
	}
	return "";
}

static char *what_is_it(void *mem_ctx, const struct mrmr_scrub_finding *finding,
			struct mrmr_engine *engine)
{
	const char *member = admin_number_name(engine, finding->member);
	char *label = NULL;
	char *what = NULL;

	if (finding->is_parity) {
		return admin_need(
			talloc_asprintf(mem_ctx,
					"a parity block on %s (stripe %llu)",
					member,
					(unsigned long long)finding->stripe));
	}
	label = admin_node_label(mem_ctx, engine, finding->file);
	what = admin_need(
		talloc_asprintf(mem_ctx, "%s on %s, from byte %llu on", label,
				member, (unsigned long long)finding->offset));
	talloc_free(label);
	return what;
}

static void take_finding(const struct mrmr_scrub_finding *finding,
			 struct mrmr_engine *engine, void *private_data)
{
	struct scrub_run *run = private_data;
	struct admin *admin = run->admin;
	char hex[2 * sizeof(finding->sha256) + 1];
	json_t *object = NULL;
	char *what = NULL;
	bool says_why = finding->outcome == MRMR_SCRUB_FAILED ||
			finding->outcome == MRMR_SCRUB_LOST;

	admin_progress_hide(run->progress);
	what = what_is_it(NULL, finding, engine);
	admin_say(admin, "%s %s%s%s", what, kind_texts[finding->kind],
		  outcome_text(finding), says_why ? finding->why : "");
	talloc_free(what);
	if (run->num_findings++ >= FINDINGS_MAX) {
		return;
	}
	object = admin_need(json_object());
	admin_set(object, "kind", json_string(kinds[finding->kind]));
	if (finding->kind != MRMR_SCRUB_CHANGED) {
		admin_set(object, "outcome",
			  json_string(outcomes[finding->outcome]));
	}
	admin_set(object, "is_parity", json_boolean(finding->is_parity));
	if (finding->is_parity) {
		struct mrmr_uuid uuid;

		mrmr_hex_encode(finding->sha256, sizeof(finding->sha256), hex);
		admin_set(object, "sha256", json_string(hex));
		if (mrmr_catalog_member_id(engine->catalog, finding->member,
					   &uuid) == 0) {
			admin_set(object, "mount_id", admin_json_uuid(&uuid));
		}
	} else {
		admin_set_node(object, engine, finding->file, finding->member);
		admin_set(object, "offset",
			  json_integer((json_int_t)finding->offset));
	}
	admin_set(object, "len_bytes", json_integer(finding->len_bytes));
	if (finding->why != NULL && finding->why[0] != '\0') {
		admin_set(object, "why", admin_json_text(finding->why));
	}
	admin_append(run->findings, object);
}

static void show_progress(const struct mrmr_scrub_progress *progress,
			  void *private_data)
{
	struct scrub_run *run = private_data;

	admin_progress_set(run->progress, progress->done_bytes,
			   progress->todo_bytes);
}

/* --- the report -------------------------------------------------------------------- */

static void set_number(struct admin *admin, const char *key, uint64_t value)
{
	admin_set(admin->result, key, json_integer((json_int_t)value));
}

static void say_count(struct admin *admin, uint64_t num, const char *one,
		      const char *more)
{
	if (num > 0) {
		admin_say(admin, "%llu %s", (unsigned long long)num,
			  num == 1 ? one : more);
	}
}

static int report(struct scrub_run *run, const struct mrmr_scrub_result *result)
{
	struct admin *admin = run->admin;
	uint64_t left = result->wrong_blocks - result->repaired_blocks;
	char size[MRMR_SIZE_LEN];

	admin_set(admin->result, "findings", run->findings);
	admin_set(admin->result, "is_complete",
		  json_boolean(result->is_complete));
	admin_set(admin->result, "is_resumed",
		  json_boolean(result->is_resumed));
	set_number(admin, "num_stripes", result->num_stripes);
	set_number(admin, "num_blocks", result->num_blocks);
	set_number(admin, "num_bytes", result->num_bytes);
	set_number(admin, "away_blocks", result->away_blocks);
	set_number(admin, "wrong_blocks", result->wrong_blocks);
	set_number(admin, "wrong_records", result->wrong_records);
	set_number(admin, "changed_blocks", result->changed_blocks);
	set_number(admin, "repaired_blocks", result->repaired_blocks);
	set_number(admin, "lost_blocks", result->lost_blocks);
	set_number(admin, "damaged_parts", result->damaged_parts);

	admin_say(admin, "%s read in %llu blocks of %llu stripes%s",
		  mrmr_size_format(result->num_bytes, size),
		  (unsigned long long)result->num_blocks,
		  (unsigned long long)result->num_stripes,
		  left + result->repaired_blocks + result->wrong_records == 0
			  ? "; all of it is right"
			  : "");
	say_count(admin, result->away_blocks,
		  "block is on a member that is not there",
		  "blocks are on members that are not there");
	say_count(admin, result->changed_blocks,
		  "block has changed since it was protected",
		  "blocks have changed since they were protected");
	say_count(admin, result->repaired_blocks, "block was repaired",
		  "blocks were repaired");
	say_count(admin, left - result->lost_blocks,
		  "bad block is left: mrmr-admin scrub --repair",
		  "bad blocks are left: mrmr-admin scrub --repair");
	say_count(admin, result->lost_blocks, "block is lost",
		  "blocks are lost");
	say_count(admin, result->damaged_parts,
		  "member's records were damaged, and are made anew",
		  "members' records were damaged, and are made anew");
	if (!result->is_complete) {
		admin_note(admin, "interrupted; the next scrub goes on there");
	}
	if (result->lost_blocks > 0) {
		return ADMIN_LOST;
	}
	return left > 0 || result->wrong_records > 0 ||
			       result->changed_blocks > 0 ||
			       result->away_blocks > 0 || !result->is_complete
		       ? ADMIN_DEGRADED
		       : ADMIN_OK;
}

/* --- options ------------------------------------------------------------------------ */

/* "30", "30d", "4w". -1 if it is anything else. */
static int parse_days(const char *text)
{
	char *end = NULL;
	long days;

	errno = 0;
	days = strtol(text, &end, 10);
	if (end == text || errno != 0 || days < 0 || days > DAYS_MAX) {
		return -1;
	}
	if (strcmp(end, "w") == 0) {
		days *= 7;
	} else if (strcmp(end, "") != 0 && strcmp(end, "d") != 0) {
		return -1;
	}
	return days <= DAYS_MAX ? (int)days : -1;
}

static int take_options(struct admin *admin, int percent, const char *older,
			struct mrmr_scrub_options *options)
{
	int days = older != NULL ? parse_days(older) : 0;

	if (percent < 1 || percent > 100) {
		return admin_fail(admin, ADMIN_USAGE,
				  "--percent is a number from 1 to 100");
	}
	if (days == -1) {
		return admin_fail(admin, ADMIN_USAGE,
				  "--older-than \"%s\" is not a number of "
				  "days, "
				  "as 10d or 4w",
				  older);
	}
	options->percent = (unsigned int)percent;
	options->older_days = (unsigned int)days;
	return ADMIN_GO_ON;
}

static int scrub(struct admin *admin, struct mrmr_scrub_options *options)
{
	struct scrub_run run = {.admin = admin};
	struct mrmr_scrub_result result;
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_pool *pool = NULL;
	struct mrmr_error err = {0};
	int ret;

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	pool = mrmr_pool_open(admin, config, NULL, &err);
	if (pool == NULL) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	run.findings = admin_need(json_array());
	run.progress =
		admin_progress_begin(admin, "Scrubbing", ADMIN_PROGRESS_BYTES);
	options->progress = show_progress;
	options->found = take_finding;
	options->should_stop = admin_should_stop;
	options->private_data = &run;
	ret = mrmr_scrub(pool, options, &result, &err);
	admin_progress_end(run.progress);
	talloc_free(pool);
	if (ret == 0) {
		return report(&run, &result);
	}
	admin_set(admin->result, "findings", run.findings);
	if (err.code == ENOENT) {
		admin_say(admin, "Nothing is protected yet.");
		return ADMIN_OK;
	}
	return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	int percent = 100;
	char *older = NULL;
	int deep = 0;
	int repair = 0;
	const struct poptOption options[] = {
		{"percent", '\0', POPT_ARG_INT, &percent, 0,
		 "read so much of it, what was scrubbed longest ago first",
		 "P"},
		{"older-than", '\0', POPT_ARG_STRING, &older, 0,
		 "only what was not scrubbed for so many days", "D"},
		{"deep", '\0', POPT_ARG_NONE, &deep, 0,
		 "compare SHA-256, of what the drives have, not the memory",
		 NULL},
		{"repair", '\0', POPT_ARG_NONE, &repair, 0,
		 "repair what is bad and can be computed", NULL},
		POPT_TABLEEND,
	};
	struct mrmr_scrub_options wish = {0};
	const char **words = NULL;
	int status =
		admin_parse(admin, verb, options, argc, argv, 0, 0, &words);

	if (status == ADMIN_GO_ON) {
		status = take_options(admin, percent, older, &wish);
	}
	if (status != ADMIN_GO_ON) {
		return status;
	}
	wish.deep = deep != 0;
	wish.repair = repair != 0 && !admin->dry_run;
	admin_stop_on_signals();
	return scrub(admin, &wish);
}

const struct admin_verb admin_verb_scrub = {
	.name = "scrub",
	.arguments = "",
	.summary = "read what is protected, find what has gone bad, repair it",
	.help = "Reads files and parity blocks, those first that were not "
		"scrubbed for longest, and\n"
		"compares them with their checksums. Names what has gone bad. "
		"With --repair that is\n"
		"computed from the rest, and only written if its SHA-256 is "
		"right; the bad copy of a\n"
		"file stays in the trash. May be interrupted: the next one "
		"goes on there. Exit status\n"
		"1: something is bad and left, has changed, or is not there. "
		"2: something is lost.\n",
	.needs_root = true,
	.run = run,
};
