/*
 * MRMR: how much is protected, and how well.
 *
 * From what the catalogue has summed up; only stripes of which a member is not
 * there are looked at one by one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SURVEY_H
#define MRMR_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include <mrmr/catalog.h>

struct mrmr_survey {
	uint64_t num_files; /* that are known */
	uint64_t file_bytes;
	uint64_t protected_bytes;   /* of them: in stripes, or zero */
	uint64_t unprotected_bytes; /* of them: in none */
	uint64_t pending_files;     /* new or changed: to be looked at */
	uint64_t pending_bytes;
	bool needs_scan; /* not all files may be known */
	uint64_t trash_bytes;
	uint64_t parity_bytes;
	uint64_t num_stripes;

	/* Of stripes from which something is missing now, by what could still be
	   lost: the bytes of their slots that can be had. */
	uint64_t degraded_bytes; /* something more */
	uint64_t at_risk_bytes;  /* nothing more */
	/* Slots that are not there, and that cannot be computed. */
	uint64_t lost_bytes;
};

/* Is the member with this number there now? */
typedef bool mrmr_survey_is_there(uint16_t member, void *private_data);

/* -1 with errno: the catalogue cannot be read. */
int mrmr_survey(struct mrmr_catalog *catalog, mrmr_survey_is_there *is_there,
		void *private_data, struct mrmr_survey *survey);

#endif
