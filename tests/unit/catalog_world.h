/*
 * Unit tests: a catalogue, the parts of its members, and the model of both.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_WORLD_H
#define CATALOG_WORLD_H

#include "catalog_model.h"

struct catalog_world {
	void *scratch;
	uint64_t random;
	uint64_t seed;
	int state_fd;
	struct mrmr_catalog *cat; /* NULL: closed */
	int member_fds[MODEL_MEMBERS];
	struct mrmr_catalog *parts[MODEL_MEMBERS]; /* NULL: not open */
	struct model *model;                       /* shared memory */
	unsigned int threads;                      /* 0: as usual */
};

extern const struct mrmr_uuid catalog_world_pool;

/* cmocka fixtures. */
int catalog_world_setup(void **state);
int catalog_world_teardown(void **state);

/* From now on, of all catalogues: a few records fill a file. Makes it anew. */
void catalog_world_make_small_files(struct catalog_world *w);
/* From now on, so many threads write the parts, however little there is. */
void catalog_world_use_threads(struct catalog_world *w, unsigned int threads);
/* Of how many files is the catalogue, or a part? */
size_t catalog_world_num_files(struct catalog_world *w, uint16_t member);

/* Is there a journal of the catalogue, left by somebody who was killed? */
bool catalog_world_has_journal(struct catalog_world *w);
/* Are there files of a part that are not in use? It must be open. */
bool catalog_world_has_others(struct catalog_world *w, uint16_t member);

/* With a new catalogue in the state directory, which is another one now. */
void catalog_world_start_anew(struct catalog_world *w);

void catalog_world_begin(struct catalog_world *w);
void catalog_world_commit(struct catalog_world *w);
/* Close all; open the catalogue. */
void catalog_world_close(struct catalog_world *w);
void catalog_world_reopen(struct catalog_world *w);

void catalog_world_attach(struct catalog_world *w, uint16_t member);
void catalog_world_detach(struct catalog_world *w, uint16_t member);
void catalog_world_refresh(struct catalog_world *w, uint16_t member);
/* The part's files are gone. It must be detached. */
void catalog_world_lose(struct catalog_world *w, uint16_t member);

/* A new, empty catalogue beside it; of the last one, nothing is left. */
struct mrmr_catalog *catalog_world_other(struct catalog_world *w);

#endif
