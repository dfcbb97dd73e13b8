/*
 * MRMR: scrubbing: what is to be made of a suspect (see scrub_private.h).
 *
 * With the catalogue's lock, so that nothing changes but what clients write,
 * which leaves pre-images. Each block of the stripe is read again and compared
 * with its SHA-256.
 *
 * A file that has several bad blocks is repaired as a whole with the first of
 * them; the others are right then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/decode.h>
#include <mrmr/digest.h>
#include <mrmr/fault.h>
#include <mrmr/protection.h>
#include <mrmr/repair.h>
#include <mrmr/shortage.h>

#include "scrub_private.h"

struct suspect {
	struct scrub_judge *judge;
	struct mrmr_stripe *stripe;
	bool is_right;
	uint8_t *buf;
	size_t buf_bytes;
};

static uint8_t *buffer(struct suspect *s, size_t len)
{
	if (len > s->buf_bytes) {
		s->buf = talloc_realloc(s, s->buf, uint8_t, len);
		s->buf_bytes = s->buf != NULL ? len : 0;
	}
	if (s->buf == NULL) {
		errno = ENOMEM;
	}
	return s->buf;
}

static void report(struct suspect *s, const struct mrmr_scrub_finding *finding)
{
	const struct mrmr_scrub_options *options = s->judge->options;
	struct mrmr_scrub_result *result = s->judge->result;

	switch (finding->kind) {
	case MRMR_SCRUB_CHANGED:
		result->changed_blocks++;
		break;
	case MRMR_SCRUB_RECORD:
		result->wrong_records++;
		break;
	default:
		result->wrong_blocks++;
	}
	result->repaired_blocks += finding->outcome == MRMR_SCRUB_REPAIRED;
	result->lost_blocks += finding->outcome == MRMR_SCRUB_LOST;
	/* what is not right stays among the oldest, and is the first next time;
	   of what has changed, the protector makes a stripe anew */
	if (finding->outcome != MRMR_SCRUB_REPAIRED &&
	    finding->kind != MRMR_SCRUB_CHANGED) {
		s->is_right = false;
	}
	if (options->found != NULL) {
		options->found(finding, s->judge->engine,
			       options->private_data);
	}
}

/* --- data ----------------------------------------------------------------------- */

struct piece {
	struct mrmr_node *node;
	struct mrmr_extent extent;
	struct mrmr_live *live;
	int error;       /* why there is none */
	uint64_t offset; /* in the file */
};

/* Is the file there, and what it was? Inodes that do not last are none in the
   record. */
static bool is_unchanged(const struct piece *piece)
{
	struct stat st = {0};

	if (piece->live == NULL) {
		return piece->error != ENOENT;
	}
	return mrmr_live_fd(piece->live) != -1 &&
	       mrmr_live_is_unchanged(piece->live) &&
	       fstat(mrmr_live_fd(piece->live), &st) == 0 &&
	       (piece->node->inode == 0 ||
		(uint64_t)st.st_ino == piece->node->inode);
}

/* The protector is to look at it. */
static void tell_changed(struct suspect *s, const struct piece *piece)
{
	struct mrmr_engine *engine = s->judge->engine;
	struct stat st = {0};
	bool in_trash = false;
	char *path = mrmr_catalog_path(engine->catalog, s, piece->node->id,
				       &in_trash);
	char *now = NULL;

	if (path == NULL) {
		return;
	}
	if (in_trash) {
		/* A path that no client has: by its inode. What was kept of it
		   can be had no more, so it is protected as it is now. */
		mrmr_tell(engine->pool, MRMR_EVENT_LOST,
			  mrmr_engine_member(engine, piece->node->member),
			  piece->node->inode, path, NULL);
		return;
	}
	now = mrmr_queue_resolve(engine->queue, s, path, NULL);
	if (now == NULL) {
		return; /* the queue has it already */
	}
	if (piece->live != NULL && mrmr_live_fd(piece->live) != -1 &&
	    fstat(mrmr_live_fd(piece->live), &st) == 0) {
		mrmr_tell(engine->pool, MRMR_EVENT_CHANGED,
			  mrmr_engine_member(engine, piece->node->member),
			  (uint64_t)st.st_ino, now, NULL);
	} else {
		mrmr_tell(engine->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, now,
			  NULL);
	}
}

/*
 * Could it be computed? 0, and *outcome; -1 with errno if this process is short of
 * what it takes to tell. job may be NULL, for the reason in *err.
 */
static int try_job(struct suspect *s, struct mrmr_decode *job,
		   enum mrmr_scrub_outcome *outcome, struct mrmr_error *err)
{
	int error = 0;

	*outcome = MRMR_SCRUB_LOST;
	if (job == NULL) {
		error = err->code;
	} else if (buffer(s, mrmr_decode_len(job)) == NULL) {
		error = ENOMEM;
	} else if (mrmr_decode_run(job, s->buf) == 0) {
		*outcome = MRMR_SCRUB_LEFT;
	} else {
		error = errno;
		mrmr_error_set(err, EIO,
			       "it cannot be computed: too much of its stripe "
			       "is bad");
	}
	talloc_free(job);
	if (mrmr_is_shortage(error)) {
		errno = error;
		return -1;
	}
	return 0;
}

/* 1: it is told. -1: errno. */
static int judge_bad(struct suspect *s, struct piece *piece,
		     struct mrmr_scrub_finding *finding)
{
	struct mrmr_engine *engine = s->judge->engine;
	struct mrmr_error err = {0};

	if (!is_unchanged(piece)) {
		finding->kind = MRMR_SCRUB_CHANGED;
		tell_changed(s, piece);
		report(s, finding);
		return 1;
	}
	if (try_job(s,
		    mrmr_decode_extent(s, engine, piece->node, finding->index,
				       &err),
		    &finding->outcome, &err) == -1) {
		return -1;
	}
	/* our own look at it is not to be taken for a client's */
	TALLOC_FREE(piece->live);
	if (finding->outcome == MRMR_SCRUB_LEFT && s->judge->options->repair) {
		finding->outcome = MRMR_SCRUB_REPAIRED;
		if (mrmr_repair_file(engine, piece->node->id, &err) == -1) {
			finding->outcome = MRMR_SCRUB_FAILED;
		}
	}
	finding->why = err.text;
	report(s, finding);
	return 1;
}

/* 0: right. 1: it is told what is not. -1: errno. */
static int judge_bytes(struct suspect *s, struct piece *piece,
		       struct mrmr_scrub_finding *finding)
{
	uint8_t sha256[MRMR_SHA256_LEN];

	if (buffer(s, finding->len_bytes) == NULL) {
		return -1;
	}
	if (piece->live == NULL) {
		errno = piece->error;
	}
	if (piece->live == NULL ||
	    mrmr_live_read(piece->live, s->buf, finding->len_bytes,
			   piece->offset) == -1) {
		finding->kind = MRMR_SCRUB_UNREADABLE;
		return mrmr_is_shortage(errno) ? -1
					       : judge_bad(s, piece, finding);
	}
	mrmr_sha256(s->buf, finding->len_bytes, sha256);
	if (memcmp(sha256, finding->sha256, sizeof(sha256)) != 0) {
		finding->kind = MRMR_SCRUB_WRONG;
		return judge_bad(s, piece, finding);
	}
	if (mrmr_checksum(s->buf, finding->len_bytes) !=
	    piece->extent.checksum) {
		finding->kind = MRMR_SCRUB_RECORD;
		finding->outcome = MRMR_SCRUB_FAILED;
		finding->why = "the bytes are right, their checksum's record "
			       "is not";
		report(s, finding);
		return 1;
	}
	return 0;
}

/* Do file and stripe tell the same? */
static bool records_agree(const struct suspect *s, const struct mrmr_slot *slot,
			  const struct mrmr_piece *from, uint32_t at,
			  const struct piece *piece)
{
	const struct mrmr_extent *extent = &piece->extent;

	return extent->state == MRMR_EXTENT_IN_STRIPE &&
	       extent->stripe == s->stripe->id && extent->slot == slot->slot &&
	       extent->slot_offset == at &&
	       extent->len_bytes == from->len_bytes &&
	       piece->node->member == slot->member;
}

static int judge_piece(struct suspect *s, const struct mrmr_slot *slot,
		       const struct mrmr_piece *from, uint32_t at,
		       struct mrmr_live_member *member)
{
	struct mrmr_engine *engine = s->judge->engine;
	struct mrmr_scrub_finding finding = {
		.stripe = s->stripe->id,
		.member = slot->member,
		.file = from->file,
		.index = from->index,
		.len_bytes = from->len_bytes,
		.why = "",
	};
	struct piece *piece = talloc_zero(s, struct piece);
	uint32_t got = 0;
	int ret;

	if (piece == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_get(engine->catalog, piece, from->file,
			     &piece->node) == -1 ||
	    mrmr_catalog_get_extents(engine->catalog, from->file, from->index,
				     &piece->extent, 1, &got) == -1 ||
	    got != 1 || !records_agree(s, slot, from, at, piece)) {
		finding.kind = MRMR_SCRUB_RECORD;
		finding.outcome = MRMR_SCRUB_FAILED;
		finding.why = "the file's record does not agree with its "
			      "stripe's";
		report(s, &finding);
		talloc_free(piece);
		return 0;
	}
	piece->offset = (uint64_t)from->index * piece->node->grid_bytes;
	finding.offset = piece->offset;
	memcpy(finding.sha256, piece->extent.sha256, sizeof(finding.sha256));
	if (mrmr_live_open_on(piece, engine, member, piece->node, false,
			      &piece->live) == -1) {
		piece->live = NULL;
		piece->error = errno;
	}
	ret = judge_bytes(s, piece, &finding);
	talloc_free(piece);
	return ret == -1 ? -1 : 0;
}

/* In a file, and in no stripe. */
static int judge_zero(struct suspect *s, struct piece *piece, uint32_t index)
{
	const struct mrmr_node *node = piece->node;
	struct mrmr_scrub_finding finding = {
		.member = node->member,
		.file = node->id,
		.index = index,
		.offset = (uint64_t)index * node->grid_bytes,
		.len_bytes = piece->extent.len_bytes,
		.why = "",
	};

	piece->offset = finding.offset;
	memcpy(finding.sha256, piece->extent.sha256, sizeof(finding.sha256));
	if (mrmr_live_open(piece, s->judge->engine, node, &piece->live) == -1) {
		piece->live = NULL;
		piece->error = errno;
	}
	return judge_bytes(s, piece, &finding) == -1 ? -1 : 0;
}

static int judge_slot(struct suspect *s, const struct mrmr_slot *slot)
{
	struct mrmr_live_member *member =
		mrmr_live_member_open(s, s->judge->engine, slot->member);
	uint32_t at = 0;
	uint32_t i;
	int ret = 0;

	if (member == NULL) {
		s->is_right = false; /* nothing is known of it */
		return errno == ENODEV ? 0 : -1;
	}
	for (i = 0; ret == 0 && i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];

		if (piece->file != MRMR_ID_NONE) {
			ret = judge_piece(s, slot, piece, at, member);
		}
		at += piece->len_bytes;
	}
	talloc_free(member);
	return ret;
}

/* --- parity ------------------------------------------------------------------------ */

static int read_all(int fd, uint8_t *buf, size_t len)
{
	uint64_t at = 0;

	while (at < len) {
		ssize_t got = mrmr_fault("scrub-blob") == 0
				      ? pread(fd, buf + at, len - at, (off_t)at)
				      : -1;

		if (got == -1 && errno == EINTR) {
			continue;
		}
		if (got <= 0) {
			return -1;
		}
		at += (uint64_t)got;
	}
	return 0;
}

/* 0: right. 1: *kind tells what is not. -1: errno. */
static int look_at_row(struct suspect *s, const struct mrmr_member *member,
		       const struct mrmr_row *row, enum mrmr_scrub_kind *kind)
{
	uint8_t sha256[MRMR_SHA256_LEN];
	struct stat st = {0};
	int fd;
	int ret;

	if (buffer(s, row->len_bytes) == NULL) {
		return -1;
	}
	fd = mrmr_blob_open(member->private_fd, row->sha256);
	if (fd == -1 && mrmr_is_shortage(errno)) {
		return -1;
	}
	if (fd == -1 || fstat(fd, &st) == -1 ||
	    (uint64_t)st.st_size != row->len_bytes) {
		*kind = fd == -1 && errno != ENOENT ? MRMR_SCRUB_UNREADABLE
						    : MRMR_SCRUB_MISSING;
		if (fd != -1) {
			close(fd);
		}
		return 1;
	}
	ret = read_all(fd, s->buf, row->len_bytes);
	close(fd);
	if (ret == -1) {
		*kind = MRMR_SCRUB_UNREADABLE;
		return 1;
	}
	mrmr_sha256(s->buf, row->len_bytes, sha256);
	*kind = MRMR_SCRUB_WRONG;
	return memcmp(sha256, row->sha256, sizeof(sha256)) != 0;
}

static int judge_row(struct suspect *s, const struct mrmr_row *row)
{
	struct mrmr_engine *engine = s->judge->engine;
	const struct mrmr_member *member =
		mrmr_engine_online(engine, row->member);
	struct mrmr_scrub_finding finding = {
		.stripe = s->stripe->id,
		.member = row->member,
		.is_parity = true,
		.index = row->row,
		.len_bytes = row->len_bytes,
	};
	struct mrmr_error err = {0};
	int ret;

	if (member == NULL) {
		s->is_right = false;
		return 0;
	}
	ret = look_at_row(s, member, row, &finding.kind);
	if (ret != 1) {
		return ret;
	}
	memcpy(finding.sha256, row->sha256, sizeof(finding.sha256));
	if (try_job(s, mrmr_decode_row(s, engine, s->stripe, row->row, &err),
		    &finding.outcome, &err) == -1) {
		return -1;
	}
	if (finding.outcome == MRMR_SCRUB_LEFT && s->judge->options->repair) {
		finding.outcome = MRMR_SCRUB_REPAIRED;
		if (mrmr_repair_row(engine, s->stripe, row->row, &err) == -1) {
			finding.outcome = MRMR_SCRUB_FAILED;
		}
	}
	finding.why = err.text;
	report(s, &finding);
	return 0;
}

/* --- all of it ------------------------------------------------------------------------ */

int scrub_judge_stripe(struct scrub_judge *judge, uint64_t id, bool *is_right)
{
	struct suspect *s = talloc_zero(judge->engine, struct suspect);
	uint32_t i;
	int ret = 0;

	*is_right = false;
	if (s == NULL) {
		errno = ENOMEM;
		return -1;
	}
	s->judge = judge;
	s->is_right = true;
	if (mrmr_catalog_get_stripe(judge->engine->catalog, s, id,
				    &s->stripe) == -1) {
		ret = errno == ENOENT ? 0 : -1;
		talloc_free(s);
		return ret;
	}
	/* Data first: parity is computed from it. */
	for (i = 0; ret == 0 && i < s->stripe->num_slots; i++) {
		ret = judge_slot(s, &s->stripe->slots[i]);
	}
	for (i = 0; ret == 0 && i < s->stripe->num_rows; i++) {
		ret = judge_row(s, &s->stripe->rows[i]);
	}
	*is_right = ret == 0 && s->is_right;
	talloc_free(s);
	return ret;
}

int scrub_judge_zero(struct scrub_judge *judge, uint64_t file, uint32_t index)
{
	struct mrmr_catalog *catalog = judge->engine->catalog;
	struct suspect *s = talloc_zero(judge->engine, struct suspect);
	struct piece *piece = s != NULL ? talloc_zero(s, struct piece) : NULL;
	uint32_t got = 0;
	int ret = 0;

	if (piece == NULL) {
		talloc_free(s);
		errno = ENOMEM;
		return -1;
	}
	s->judge = judge;
	if (mrmr_catalog_get(catalog, piece, file, &piece->node) == -1 ||
	    mrmr_catalog_get_extents(catalog, file, index, &piece->extent, 1,
				     &got) == -1) {
		ret = errno == ENOENT ? 0 : -1;
	} else if (got == 1 && piece->extent.state == MRMR_EXTENT_ZERO &&
		   mrmr_engine_online(judge->engine, piece->node->member) !=
			   NULL) {
		ret = judge_zero(s, piece, index);
	}
	talloc_free(s);
	return ret;
}
