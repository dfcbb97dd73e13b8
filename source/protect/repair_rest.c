/*
 * MRMR: repairs: parity blocks; and what a dead process left half done
 * (see mrmr/repair.h, repair.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/decode.h>
#include <mrmr/fault.h>
#include <mrmr/live.h>
#include <mrmr/log.h>

#include "repair_private.h"

/* --- parity blocks -------------------------------------------------------------- */

/* A block is named by its content, so what is written is right wherever it is
   named, and what is there is replaced at once. */
int mrmr_repair_row(struct mrmr_engine *engine,
		    const struct mrmr_stripe *stripe, uint8_t row,
		    struct mrmr_error *err)
{
	struct mrmr_member *member = NULL;
	struct mrmr_decode *job = NULL;
	uint8_t *block = NULL;
	const struct mrmr_row *found = NULL;
	uint32_t i;
	int ret;

	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].row == row) {
			found = &stripe->rows[i];
		}
	}
	member = found != NULL ? mrmr_engine_online(engine, found->member)
			       : NULL;
	if (member == NULL) {
		return mrmr_error_set(err, ENODEV,
				      "the parity block's member is not "
				      "online");
	}
	job = mrmr_decode_row(engine, engine, stripe, row, err);
	if (job == NULL) {
		return -1;
	}
	block = talloc_array(job, uint8_t, found->len_bytes);
	ret = block != NULL ? mrmr_decode_run(job, block) : -1;
	mrmr_decode_report(job, engine);
	if (ret == -1) {
		mrmr_error_set(err, EIO,
			       "row %u of stripe %llu cannot be computed: too "
			       "much of the stripe is bad",
			       row, (unsigned long long)stripe->id);
	} else if (mrmr_fault("repair-row") != 0 ||
		   mrmr_blob_replace(member->private_fd, found->sha256, block,
				     found->len_bytes) == -1) {
		ret = mrmr_error_set(err, errno,
				     "member %s: a parity block cannot be "
				     "written: %s",
				     mrmr_member_name(member), strerror(errno));
	}
	talloc_free(job);
	return ret;
}

/* --- the note --------------------------------------------------------------------- */

#define NOTE_NAME "repair"
#define NOTE_VERSION 1
#define NOTE_LEN 31

static void put_number(uint8_t *to, uint64_t number, unsigned int len)
{
	for (; len > 0; len--) {
		*to++ = (uint8_t)number;
		number >>= 8;
	}
}

static uint64_t get_number(const uint8_t *from, unsigned int len)
{
	uint64_t number = 0;

	while (len > 0) {
		number = number << 8 | from[--len];
	}
	return number;
}

int repair_note_put(struct mrmr_catalog *catalog,
		    const struct repair_note *note)
{
	uint8_t value[NOTE_LEN] = {NOTE_VERSION};

	if (note == NULL) {
		return mrmr_catalog_put_note(catalog, NOTE_NAME, NULL, 0);
	}
	put_number(value + 1, note->id, 8);
	put_number(value + 9, note->member, 2);
	put_number(value + 11, note->old_inode, 8);
	put_number(value + 19, note->new_inode, 8);
	put_number(value + 27, note->generation, 4);
	return mrmr_catalog_put_note(catalog, NOTE_NAME, value, NOTE_LEN);
}

int repair_note_get(struct mrmr_catalog *catalog, struct repair_note *note)
{
	size_t len = 0;
	uint8_t *value = mrmr_catalog_get_note(catalog, NULL, NOTE_NAME, &len);

	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len != NOTE_LEN || value[0] != NOTE_VERSION) {
		talloc_free(value);
		errno = EILSEQ;
		return -1;
	}
	note->id = get_number(value + 1, 8);
	note->member = (uint16_t)get_number(value + 9, 2);
	note->old_inode = get_number(value + 11, 8);
	note->new_inode = get_number(value + 19, 8);
	note->generation = (uint32_t)get_number(value + 27, 4);
	talloc_free(value);
	return 1;
}

/* --- finishing ----------------------------------------------------------------------- */

/* Is the new file what the name leads to, or what clients made of it? */
static bool has_new_inode(struct mrmr_engine *engine,
			  const struct mrmr_node *node,
			  const struct repair_note *note)
{
	struct mrmr_node as_new = *node;
	struct mrmr_live *live = NULL;
	struct stat st = {0};
	bool found;

	as_new.inode = note->new_inode;
	as_new.generation = note->generation;
	if (mrmr_live_open(NULL, engine, &as_new, &live) == -1) {
		return false;
	}
	/* Another one that is alike is no proof; pre-images alone are. */
	found = mrmr_live_fd(live) == -1 ||
		(fstat(mrmr_live_fd(live), &st) == 0 &&
		 (uint64_t)st.st_ino == note->new_inode);
	talloc_free(live);
	return found;
}

static int commit(struct mrmr_engine *engine, const struct mrmr_node *node,
		  struct mrmr_error *err)
{
	if (mrmr_catalog_begin(engine->catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	if ((node != NULL &&
	     mrmr_catalog_put(engine->catalog, node, NULL) == -1) ||
	    repair_note_put(engine->catalog, NULL) == -1) {
		int error = errno;

		mrmr_catalog_cancel(engine->catalog);
		return mrmr_error_set(err, error,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(error));
	}
	return mrmr_catalog_commit(engine->catalog, err);
}

int mrmr_repair_finish(struct mrmr_engine *engine, struct mrmr_error *err)
{
	struct repair_note note;
	struct mrmr_node *node = NULL;
	int ret = repair_note_get(engine->catalog, &note);

	if (ret == 0) {
		return 0;
	}
	if (ret == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue's note of a repair cannot "
				      "be read: %s",
				      strerror(errno));
	}
	if (mrmr_engine_member(engine, note.member) != SIZE_MAX &&
	    mrmr_engine_online(engine, note.member) == NULL) {
		return 0; /* when it is back */
	}
	if (mrmr_catalog_get(engine->catalog, engine, note.id, &node) == -1 ||
	    node->inode != note.old_inode || node->member != note.member ||
	    !has_new_inode(engine, node, &note)) {
		talloc_free(node);
		return commit(engine, NULL, err);
	}
	node->inode = note.new_inode;
	node->generation = note.generation;
	ret = commit(engine, node, err);
	talloc_free(node);
	return ret;
}
