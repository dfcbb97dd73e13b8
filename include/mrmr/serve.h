/*
 * MRMR: serving what is not there to be read: files of members that are away,
 * and ranges that a drive does not give.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SERVE_H
#define MRMR_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mrmr/absent.h>
#include <mrmr/engine.h>

/*
 * From now on, names of members that are away are in the pool (mrmr/absent.h).
 * The catalogue is opened for reading when the first of them is looked for; or
 * engine is used, which must stay as long as the pool, and may be NULL. Nothing
 * is done for a pool in which nothing is protected. -1 with errno ENOMEM.
 */
int mrmr_serve_start(struct mrmr_pool *pool, struct mrmr_engine *engine);
void mrmr_serve_stop(struct mrmr_pool *pool);

/*
 * A file that is computed: shared by all who read it in this process. Good until
 * it is put back as often as it was got. Of one thread, but for
 * mrmr_served_read().
 */
struct mrmr_served;

/* By its ghost. NULL with *err filled: EIO. */
struct mrmr_served *mrmr_served_get(struct mrmr_pool *pool,
				    const struct mrmr_ghost *ghost,
				    struct mrmr_error *err);

/*
 * By the descriptor of a file on a member, which has failed to give its bytes.
 * NULL with *err filled: EIO also if the file is not as it was protected.
 */
struct mrmr_served *mrmr_served_get_file(struct mrmr_pool *pool, int fd,
					 struct mrmr_error *err);

void mrmr_served_put(struct mrmr_served *served);

/*
 * The member of a ghost is back: open its file, with flags as for open (no
 * O_CREAT, O_NOFOLLOW is added). -1 with errno: ENODEV the member is not there,
 * ENOENT nor is the file. Becomes root itself.
 */
int mrmr_serve_open_returned(struct mrmr_pool *pool,
			     const struct mrmr_ghost *ghost, int flags);

/*
 * As mrmr_reader_prepare() and mrmr_reader_read() (mrmr/decode.h), which say
 * when to call which. prepare becomes root itself.
 */
int mrmr_served_prepare(struct mrmr_served *served, uint64_t offset, size_t len,
			struct mrmr_error *err);
ssize_t mrmr_served_read(struct mrmr_served *served, void *buf, size_t len,
			 uint64_t offset);

/* To be called every second or two: closes what nobody has read for a while, so
   that members can be unmounted. */
void mrmr_serve_idle(struct mrmr_pool *pool);

/* Is anything being read? Then the pool must stay. */
bool mrmr_serve_is_busy(const struct mrmr_pool *pool);

#endif
