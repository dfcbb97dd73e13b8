/*
 * MRMR: how much is protected, and how well.
 *
 * From what the catalogue has summed up. Looked at one by one are only stripes of
 * which a member is not there; and all, if some may be short of rows.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SURVEY_H
#define MRMR_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include <mrmr/catalog.h>
#include <mrmr/protector.h>

struct mrmr_survey {
	uint64_t num_files; /* that are known */
	uint64_t file_bytes;
	uint64_t protected_bytes;   /* of them: in stripes, or zero */
	uint64_t unprotected_bytes; /* of them: in none */
	uint64_t pending_files;     /* new or changed: to be looked at */
	uint64_t pending_bytes;
	struct mrmr_hindered hindered; /* of these */
	bool needs_scan;               /* not all files may be known */
	uint64_t trash_bytes;
	uint64_t trash_missing; /* files that are not in the trash any more */
	uint64_t parity_bytes;
	uint64_t num_stripes;

	/* Of stripes from which something is missing now, by what could still be
	   lost: the bytes of their slots that can be had. */
	uint64_t degraded_bytes; /* something more */
	uint64_t at_risk_bytes;  /* nothing more */
	/* Slots that are not there, and that cannot be computed. */
	uint64_t lost_bytes;

	/* Of stripes with fewer rows than are wanted, whatever is there now. */
	uint64_t short_stripes;
	uint64_t short_bytes; /* of their slots */
};

/* Is the member with this number there now? */
typedef bool mrmr_survey_is_there(uint16_t member, void *private_data);

/* Is what a member that is there has in its trash, by the catalogue, still in it, as
   far as that can be known? path is below the trash. */
typedef bool mrmr_survey_is_kept(const struct mrmr_node *node, const char *path,
				 void *private_data);

/* rows: that stripes are to have. -1 with errno: the catalogue cannot be read. */
int mrmr_survey(struct mrmr_catalog *catalog, unsigned int rows,
		mrmr_survey_is_there *is_there, mrmr_survey_is_kept *is_kept,
		void *private_data, struct mrmr_survey *survey);

#endif
