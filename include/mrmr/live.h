/*
 * MRMR: where the protected bytes of a file are.
 *
 * The one answer to that question, which decoding, leaving, scrubbing,
 * rebuilding and scanning all ask: in the file where it was not overwritten
 * since, else in its pre-images; and the file is under its name, or, when it was
 * renamed a moment ago, where the queue says, or in the trash.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_LIVE_H
#define MRMR_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

struct mrmr_live;

/*
 * A member for as long as its files are read: they share its descriptors. A
 * talloc child of mem_ctx; what is opened with it must be freed before it.
 * NULL with errno: ENODEV it is not online.
 */
struct mrmr_live_member;
struct mrmr_live_member *mrmr_live_member_open(void *mem_ctx,
					       struct mrmr_engine *engine,
					       uint16_t number);

/*
 * Find and open the file of a node, by its path, its inode and its pre-images.
 * A talloc child of mem_ctx, with descriptors of its own: what the pool does
 * with its members later does not matter. -1 with errno: ENODEV its member is
 * not online; ENOENT neither the file nor pre-images are there; EIO...
 *
 * A file with the node's inode is it, whatever its name. Without one, a file
 * under the node's name is taken that has its size and mtime (inodes change at
 * each mount on some file systems, and when a file is put back from a backup).
 *
 * Needs root, as does reading.
 */
int mrmr_live_open(void *mem_ctx, struct mrmr_engine *engine,
		   const struct mrmr_node *node, struct mrmr_live **live);

/* The same of a node on this member. With is_closed, the file is opened when it
   is read, each time: for very many. */
int mrmr_live_open_on(void *mem_ctx, struct mrmr_engine *engine,
		      struct mrmr_live_member *member,
		      const struct mrmr_node *node, bool is_closed,
		      struct mrmr_live **live);

/* The same of a file that was just found: it has the node's inode, and is at
   `path` below the member's root. It is opened when it is read. */
int mrmr_live_at(void *mem_ctx, struct mrmr_live_member *member,
		 const struct mrmr_node *node, const char *path,
		 struct mrmr_live **live);

/*
 * The same without looking whether it is there: reading opens what has the
 * node's name by then, and is -1 with ENOENT if that is another file (it was
 * renamed a moment ago, say): then mrmr_live_open_on() may find it. For very
 * many that are read once. It may be read by one thread at a time; it stays
 * open until it is let go of, or freed.
 */
int mrmr_live_expect(void *mem_ctx, struct mrmr_engine *engine,
		     struct mrmr_live_member *member,
		     const struct mrmr_node *node, struct mrmr_live **live);
void mrmr_live_let_go(struct mrmr_live *live);
/* Its file, opened by now; or -1. */
int mrmr_live_expected_fd(struct mrmr_live *live);

/*
 * Read protected bytes, as they were at node->generation. What is read is not
 * checked: that takes the extent's hash. For any thread, several at a time.
 * -1 with errno, EIO if they are not there any more.
 */
int mrmr_live_read(struct mrmr_live *live, void *buf, size_t len,
		   uint64_t offset);

/*
 * The same for who compares what comes of it with a hash, and reads anew if it is
 * another one: whether it was overwritten since it was opened is not looked for,
 * which takes as long as reading some tens of KiB. What is expected may be read
 * so by one thread at a time.
 */
int mrmr_live_read_unsure(struct mrmr_live *live, void *buf, size_t len,
			  uint64_t offset);

/* Would there be bytes to read there? By what names, sizes and times tell: reads
   no content. For any thread. */
bool mrmr_live_has(struct mrmr_live *live, size_t len, uint64_t offset);

/* The open file, or -1 if there are only pre-images, or it is closed. */
int mrmr_live_fd(const struct mrmr_live *live);

/* Does the file have the size and mtime of the node by now? False also if there
   are only pre-images: then they are all that is there. */
bool mrmr_live_is_unchanged(struct mrmr_live *live);

#endif
