/*
 * Unit tests: clients that write into a pool, the protector that follows, and
 * proof of what it has done.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTING_H
#define PROTECTING_H

#include <mrmr/engine.h>
#include <mrmr/protector.h>
#include <mrmr/undelete.h>

#include "world.h"

/* --- what clients do ---------------------------------------------------------- */

/* Bytes that depend on the seed alone; to be freed. */
uint8_t *seeded(unsigned int seed, size_t len);

/* Write a file from its beginning as smbd does, keeping what is protected, cut
   it to len, close it, and tell the protector. Makes it if it is not there. */
void client_write(struct world *w, const char *path, unsigned int seed,
		  size_t len);
/* The same on a given member. */
void client_write_on(struct world *w, size_t member, const char *path,
		     unsigned int seed, size_t len);
/* Overwrite a part. */
void client_overwrite(struct world *w, const char *path, unsigned int seed,
		      size_t len, off_t offset);
void client_tell(struct world *w, const char *path, enum mrmr_event_kind kind);
/* As before a client writes to dir/name, whose member is away, in a pool that is
   served (mrmr/serve.h): it is made anew. Where. */
size_t client_make_anew(struct world *w, const char *dir, const char *name);
/* For mrmr_move_source; private_data: a struct mrmr_served. */
ssize_t client_read_served(void *buf, size_t len, uint64_t offset,
			   void *private_data);

/* The events that nobody has taken are lost, as by a power cut. */
void lose_events(struct world *w);

/* As smbd does, with the names of members that are away; until stop_serving(). */
void serve(struct world *w);
void stop_serving(struct world *w);

/* --- the protector ---------------------------------------------------------------- */

/* How much one batch takes; 0: as by default. */
extern uint64_t protect_batch_bytes;
/* How many pending files it remembers at the same time; 0: as by default. */
extern uint32_t protect_window_files;

/* Run it until nothing is left, in this process. Fails the test if it fails. */
struct mrmr_protect_result protect(struct world *w);
/* The same, after a scan of everything. */
struct mrmr_protect_result protect_and_scan(struct world *w);
/* It hears of what has happened, and protects nothing. */
void protect_names(struct world *w);
/* As protect(), that may fail: -1. */
int try_protect(struct world *w, struct mrmr_protect_result *result);

/* In a process of its own, as smbd starts it. */
void protect_in_background(struct world *w);

/* In a process of its own, with MRMR_FAULT set to fault. True if it was killed
   by it. */
bool protect_killed(struct world *w, const char *fault);

/* It is killed at the fault, and the pool opened again; or it meets the fault in this
   process, and may fail. */
void protect_disturbed(struct world *w, const char *fault, bool is_kill);

/* `trash purge` of all that there is. Fails the test if it fails. */
struct mrmr_purge_result purge_trash(struct world *w);

/* What was on a member, onto the others. False: it failed. Unless may_tell, what
   it has to tell fails the test. */
bool rebuild_lost(struct world *w, size_t lost, bool may_tell);

/* --- proof -------------------------------------------------------------------------- */

struct mrmr_engine *open_engine(struct world *w, enum mrmr_engine_mode mode);

/*
 * The file is known under path, whole, and its bytes are those of seed. With
 * the member it lies on away, and any other ones, up to `lose` in all, it can be
 * computed.
 */
void verify(struct world *w, const char *path, unsigned int seed, size_t len,
	    unsigned int lose);
void verify_bytes(struct world *w, const char *path, const uint8_t *bytes,
		  size_t len, unsigned int lose);
/* While its member is away, and with serve(): all of it; to be freed. Fails the test
   if it cannot be read. */
uint8_t *read_served(struct world *w, const char *path, size_t *len);
/* It is read, and these are its bytes. */
void verify_served(struct world *w, const char *path, unsigned int seed,
		   size_t len);
/* Whatever is in stripes can be computed without the member it lies on. */
void verify_decodable(struct world *w);
/* All that is protected on a member that is away, as others may be. */
void verify_computable(struct world *w, size_t member);
/* No file is known under this path. */
void verify_unknown(struct world *w, const char *path);
/* Each blob on the members that are there is named by a stripe, each one that is
   named is there; no pre-image is left (unless those of files in the trash). */
void verify_tidy(struct world *w);
struct mrmr_catalog_sums sums_of(struct world *w);
uint64_t pending_of(struct world *w);

#endif
