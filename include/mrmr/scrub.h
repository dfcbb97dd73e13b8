/*
 * MRMR: reading everything that is protected, to find what has gone bad.
 *
 * Each block of a stripe, data or parity, is read once and compared with the
 * checksum of its record (deep: with its SHA-256, and from the drives rather than
 * from memory). Stripes go oldest first: those that were scrubbed longest ago, or
 * never. The day is recorded as the work goes on, so it can be stopped and taken
 * up again at any time.
 *
 * It reads beside whatever else goes on, without the catalogue's lock. What looks
 * bad may have been changed by the protector meanwhile; so it is only a suspect.
 * Every few seconds the lock is taken for a moment: then days are recorded, and
 * suspects are read again, by SHA-256. Only what is bad then is.
 *
 *   - A file that has another size, time or inode than its record has changed
 *     since: the protector is told, and it is no error.
 *   - Else its bytes have gone bad (silently, or they cannot be read). Whether
 *     they can be computed from the rest of the stripe is tried at once.
 *   - With repair, they are (mrmr/repair.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SCRUB_H
#define MRMR_SCRUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

enum mrmr_scrub_kind {
	MRMR_SCRUB_WRONG,      /* bytes that are not those of the record */
	MRMR_SCRUB_UNREADABLE, /* the drive fails to give them */
	MRMR_SCRUB_MISSING,    /* a parity block is not there, or too short */
	MRMR_SCRUB_CHANGED,    /* a file, or it is gone: no error */
	MRMR_SCRUB_RECORD,     /* two records contradict each other */
};

enum mrmr_scrub_outcome {
	MRMR_SCRUB_LEFT,     /* can be repaired */
	MRMR_SCRUB_REPAIRED, /* and was */
	MRMR_SCRUB_FAILED,   /* could not be repaired now; see why */
	MRMR_SCRUB_LOST,     /* the rest of the stripe does not suffice */
};

struct mrmr_scrub_finding {
	enum mrmr_scrub_kind kind;
	enum mrmr_scrub_outcome outcome; /* of changed ones: left */
	uint64_t stripe;
	uint16_t member;
	bool is_parity;
	uint64_t file;  /* data: id, */
	uint32_t index; /* of the extent */
	uint64_t offset;
	uint32_t len_bytes;
	uint8_t sha256[32]; /* that it should have */
	const char *why;    /* "" or a sentence */
};

struct mrmr_scrub_progress {
	uint64_t done_bytes;
	uint64_t todo_bytes;
};

struct mrmr_scrub_options {
	unsigned int percent;    /* of all bytes, oldest first; 0: all */
	unsigned int older_days; /* only what was not scrubbed for so long */
	bool deep;
	bool repair;
	void (*progress)(const struct mrmr_scrub_progress *progress,
			 void *private_data); /* may be NULL */
	/* Something was found. engine is good for questions during the call. */
	void (*found)(const struct mrmr_scrub_finding *finding,
		      struct mrmr_engine *engine,
		      void *private_data);       /* may be NULL */
	bool (*should_stop)(void *private_data); /* may be NULL */
	void *private_data;
};

struct mrmr_scrub_result {
	uint64_t num_stripes; /* that were read */
	uint64_t num_blocks;
	uint64_t num_bytes;
	uint64_t away_blocks;   /* on members that are not there */
	uint64_t wrong_blocks;  /* data and parity, unreadable and missing */
	uint64_t wrong_records; /* too */
	uint64_t changed_blocks;
	uint64_t repaired_blocks;
	uint64_t lost_blocks;
	uint64_t damaged_parts; /* of the catalogue, on members; made anew */
	bool is_resumed;        /* went on where the last one had stopped */
	bool is_complete;       /* not stopped */
};

/*
 * Opens and closes the engine itself, so the caller must not have one. 0 also if
 * something was found; -1 with *err filled if it could not go on: ENOENT nothing
 * was ever protected.
 */
int mrmr_scrub(struct mrmr_pool *pool, const struct mrmr_scrub_options *options,
	       struct mrmr_scrub_result *result, struct mrmr_error *err);

/* --- how it stands ---------------------------------------------------------- */

/* Of the last scrub. */
struct mrmr_scrub_state {
	int64_t time_s;     /* when it was last at work; 0: never */
	uint16_t begun_day; /* since 1970 */
	bool is_unfinished; /* it was stopped; the next one goes on */
	bool is_deep;
	uint32_t wrong_blocks; /* that it found, */
	uint32_t left_blocks;  /* and could not or should not repair */
	uint32_t ever_wrong_blocks;
	uint32_t ever_repaired_blocks;
};
int mrmr_scrub_state(struct mrmr_catalog *catalog,
		     struct mrmr_scrub_state *state);

struct mrmr_scrub_ages {
	uint64_t num_stripes;
	uint64_t num_looked_at; /* fewer, evenly spread, if there are many */
	uint64_t num_never;     /* of those: never scrubbed, */
	uint64_t num_recent;    /* within 30 days */
	unsigned int oldest_days;
};
int mrmr_scrub_ages(struct mrmr_catalog *catalog, struct mrmr_scrub_ages *ages);

#endif
