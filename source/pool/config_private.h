/*
 * MRMR: what the parts of the config reader share. See config.c for the whole.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CONFIG_PRIVATE_H
#define MRMR_CONFIG_PRIVATE_H

#include <jansson.h>

#include <mrmr/config.h>
#include <mrmr/json_place.h>

/* One reading of one file. */
struct mrmr_config_reader {
	struct mrmr_config *config; /* owns everything that is read */
	const char *text;           /* for the lines of messages */
	size_t len;
	struct mrmr_error *err;
};

/*
 * A key that an object may have. read() checks the value and stores it at
 * target, which is the object's struct plus offset. 0, or -1 with the error
 * filled.
 */
struct mrmr_config_key {
	const char *name;
	int (*read)(struct mrmr_config_reader *reader,
		    const struct mrmr_json_place *place, const json_t *value,
		    const struct mrmr_config_key *key, void *target);
	size_t offset;
	bool required;
	uint64_t min; /* for numbers and sizes */
	uint64_t max;
};

/* --- config_read.c: objects and plain values ------------------------------ */

/* Fill the error with "FILE:LINE: KEY: ..." (no KEY at the top). -1. */
int mrmr_config_fail(struct mrmr_config_reader *reader,
		     const struct mrmr_json_place *place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Fail for lack of memory. -1. */
int mrmr_config_fail_memory(struct mrmr_config_reader *reader);

/* Fail because the value is not what the key wants. -1. */
int mrmr_config_fail_type(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value, const char *wanted);

/*
 * Read an object into target: every key of it must be in keys (which ends
 * with a NULL name) and be right, every required one must be there. Keys are
 * read in the order of the table, so a later one may build on an earlier one.
 */
int mrmr_config_read_object(struct mrmr_config_reader *reader,
			    const struct mrmr_json_place *place,
			    const json_t *object,
			    const struct mrmr_config_key *keys, void *target);

typedef int mrmr_config_read_fn(struct mrmr_config_reader *reader,
				const struct mrmr_json_place *place,
				const json_t *value,
				const struct mrmr_config_key *key,
				void *target);

mrmr_config_read_fn mrmr_config_read_uuid;   /* struct mrmr_uuid, not nil */
mrmr_config_read_fn mrmr_config_read_path;   /* char *, cleaned */
mrmr_config_read_fn mrmr_config_read_word;   /* char *, not empty */
mrmr_config_read_fn mrmr_config_read_bool;   /* bool */
mrmr_config_read_fn mrmr_config_read_number; /* unsigned int, min to max */
mrmr_config_read_fn mrmr_config_read_size;   /* uint64_t, min to max */

/* --- config_pool.c, config_member.c, config_rule.c: what the keys are ----- */

extern const struct mrmr_config_key mrmr_config_pool_keys[];

mrmr_config_read_fn mrmr_config_read_members; /* the array "mounts" */
mrmr_config_read_fn mrmr_config_read_rules;   /* the array "rules" */
mrmr_config_read_fn mrmr_config_read_placement;

/* --- config_check.c: what one value alone can't show ---------------------- */

/* place is that of "mounts". */
int mrmr_config_check_members(struct mrmr_config_reader *reader,
			      const struct mrmr_json_place *place);
int mrmr_config_check_parity(struct mrmr_config_reader *reader);

#endif
