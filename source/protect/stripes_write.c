/*
 * MRMR: stripes being made and changed: writing parity blocks.
 *
 * A row stays on its member if that can be; else it goes to the unit with most
 * room outside of the stripe. A member that takes no more (ENOSPC), or fails, is
 * not asked again by this work.
 *
 * Changing a block in place of an old one may take from the room that a member
 * is to keep free (min_free): the old one goes after the commit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "stripes_private.h"

/* A row on its way to a member. */
struct place {
	struct mrmr_row row;
	const uint8_t *data;
	const struct mrmr_row *old; /* of the same number, or NULL */
	size_t member;              /* index in work->members; SIZE_MAX: none */
	bool stays; /* the old block is this one, and is there */
};

struct placing {
	struct run *run;
	struct mrmr_stripes *work;
	struct unit_set taken; /* by slots, and by rows that have a place */
	struct place places[MRMR_PARITY_ROWS];
	uint32_t num;
};

/* --- where ------------------------------------------------------------------------ */

static const struct mrmr_row *old_row(const struct job *job, uint8_t row)
{
	uint32_t i;

	for (i = 0; job->old != NULL && i < job->old->num_rows; i++) {
		if (job->old->rows[i].row == row) {
			return &job->old->rows[i];
		}
	}
	return NULL;
}

bool row_is_same_block(const struct mrmr_row *a, const struct mrmr_row *b)
{
	return a->len_bytes == b->len_bytes &&
	       memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
}

/* Is the block that is to be written there already, and right? */
static bool is_there(struct placing *p, const struct place *place)
{
	struct run *run = p->run;

	if (!row_is_same_block(place->old, &place->row)) {
		return false;
	}
	if (run->is_mend) {
		return run->is_good[place->row.row];
	}
	return buffer_need(&run->piece, place->row.len_bytes) == 0 &&
	       read_row(run->work, place->old, run->piece.data) == 0;
}

/* Let a row stay where it is, if it may. With the lock. */
static void keep_place(struct placing *p, struct place *place)
{
	struct stripes_member *member = NULL;

	if (place->old == NULL) {
		return;
	}
	member = stripes_member(p->work, place->old->member);
	if (member == NULL || !member->is_online ||
	    unit_has(&p->taken, member->unit) ||
	    (!place->stays && !member->may_have_parity)) {
		place->stays = false;
		return;
	}
	place->member = (size_t)(member - p->work->members);
	unit_add(&p->taken, member->unit);
}

static void take_room(struct stripes_member *member, uint32_t len_bytes)
{
	member->room_bytes -=
		member->room_bytes < len_bytes ? member->room_bytes : len_bytes;
	member->parity_room_bytes -= member->parity_room_bytes < len_bytes
					     ? member->parity_room_bytes
					     : len_bytes;
}

/* Does a file that has the name have the bytes too? */
static bool has_bytes(int fd, const struct place *place)
{
	uint8_t part[16384];
	struct stat st = {0};
	uint32_t len = place->row.len_bytes;
	uint32_t at = 0;

	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != len) {
		return false;
	}
	while (at < len) {
		size_t want = len - at < sizeof(part) ? len - at : sizeof(part);
		ssize_t got = pread(fd, part, want, (off_t)at);

		if (got <= 0 ||
		    memcmp(part, place->data + at, (size_t)got) != 0) {
			return false;
		}
		at += (uint32_t)got;
	}
	return true;
}

/*
 * What has the name may have other bytes: it has gone bad, or it is what a power
 * cut left of a block that nobody claimed. Another stripe may name it too, so it
 * is replaced by what is durable already.
 */
static int write_block(struct placing *p, const struct place *place)
{
	struct stripes_member *member = &p->work->members[place->member];
	const struct mrmr_row *row = &place->row;
	bool is_right;
	int ret;
	int fd;

	if (mrmr_fault("stripes-write") != 0) {
		return -1;
	}
	member->is_used = true;
	fd = mrmr_blob_open(member->private_fd, row->sha256);
	if (fd == -1 && errno == ENOENT) {
		ret = mrmr_blob_write(member->private_fd, row->sha256,
				      place->data, row->len_bytes);
		if (ret == 0) {
			stripes_note_parity(p->work, member, row->len_bytes);
		}
		return ret;
	}
	is_right = fd != -1 && has_bytes(fd, place);
	if (fd != -1) {
		close(fd);
	}
	return is_right ? 0
			: mrmr_blob_replace(member->private_fd, row->sha256,
					    place->data, row->len_bytes);
}

/* With the lock. */
static void give_member_up(struct mrmr_stripes *work, size_t index, int error)
{
	struct stripes_member *member = &work->members[index];

	if (error != ENOSPC && error != EDQUOT && member->may_have_parity) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: a parity block cannot be written: %s",
			 mrmr_member_name(&work->engine->pool->members[index]),
			 strerror(error));
	}
	member->room_bytes = 0;
	member->parity_room_bytes = 0;
	member->may_have_parity = false;
}

/* 1: there is a member to ask; 0: no further one; -1: ENOMEM. With the lock. */
static int choose_place(struct placing *p, struct place *place)
{
	struct mrmr_stripes *work = p->work;

	if (place->member == SIZE_MAX) {
		place->member = stripes_best_taker(work, &p->taken,
						   place->row.len_bytes);
	}
	if (place->member == SIZE_MAX) {
		return 0;
	}
	unit_add(&p->taken, work->members[place->member].unit);
	take_room(&work->members[place->member], place->row.len_bytes);
	place->row.member = work->engine->number[place->member];
	/* noted first: what a failure leaves is removed as well */
	return stripes_note(&work->written, &place->row) == -1 ? -1 : 1;
}

/* 1: it is written; 0: nobody takes it. */
static int write_row(struct placing *p, struct place *place)
{
	while (!place->stays) {
		int error = 0;
		int ret;

		pthread_mutex_lock(&p->work->lock);
		ret = choose_place(p, place);
		pthread_mutex_unlock(&p->work->lock);
		if (ret != 1) {
			return ret;
		}
		if (write_block(p, place) == 0) {
			p->run->has_written = true;
			return 1;
		}
		error = errno;
		pthread_mutex_lock(&p->work->lock);
		give_member_up(p->work, place->member, error);
		pthread_mutex_unlock(&p->work->lock);
		place->member = SIZE_MAX;
	}
	return 1;
}

/* Computing them has hashed the rows, unless they turned out to be shorter. */
static void hash_rows(struct run *run, uint32_t len_bytes)
{
	uint32_t i;

	if (run->hashed_bytes == len_bytes) {
		return;
	}
	for (i = 0; i < run->num_rows; i++) {
		mrmr_hashes_start(run->hashes[0]);
		mrmr_hashes_add(run->hashes[0], run_row_data(run, i),
				len_bytes);
		mrmr_hashes_end(run->hashes[0], run->row_sha256[i],
				&run->row_checksum[i]);
	}
	run->hashed_bytes = len_bytes;
}

static void describe(struct placing *p, uint32_t i, uint32_t len_bytes)
{
	struct run *run = p->run;
	struct place *place = &p->places[p->num++];

	*place = (struct place){
		.row = {.row = run->row[i],
			.len_bytes = len_bytes,
			.checksum = run->row_checksum[i]},
		.data = run_row_data(run, i),
		.old = old_row(run->job, run->row[i]),
		.member = SIZE_MAX,
	};
	memcpy(place->row.sha256, run->row_sha256[i],
	       sizeof(place->row.sha256));
	if (place->old != NULL) {
		place->row.member = place->old->member;
	}
}

/* A row that could not be written, but is right where it is: away. */
static bool is_right_but_away(struct placing *p, const struct place *place)
{
	const struct stripes_member *member = NULL;

	if (!p->run->is_mend || place->old == NULL ||
	    !row_is_same_block(place->old, &place->row)) {
		return false;
	}
	member = stripes_member(p->work, place->old->member);
	return member != NULL && !member->is_online &&
	       !unit_has(&p->taken, member->unit);
}

static void choose_places(struct placing *p)
{
	const struct layout *layout = &p->run->job->layout;
	uint32_t i;

	for (i = 0; i < layout->num_slots; i++) {
		stripes_add_unit(p->work, layout->slots[i].member, &p->taken);
	}
	for (i = 0; i < p->num; i++) {
		struct place *place = &p->places[i];

		place->stays = place->old != NULL && is_there(p, place);
	}
	pthread_mutex_lock(&p->work->lock);
	for (i = 0; i < p->num; i++) {
		keep_place(p, &p->places[i]);
	}
	pthread_mutex_unlock(&p->work->lock);
}

int run_write(struct run *run)
{
	struct placing p = {.run = run, .work = run->work};
	const struct mrmr_row *by_row[MRMR_PARITY_ROWS] = {NULL};
	uint32_t len = layout_len(&run->job->layout);
	uint32_t i;

	run->num_written = 0;
	if (len == 0) {
		return 0;
	}
	hash_rows(run, len);
	for (i = 0; i < run->num_rows; i++) {
		describe(&p, i, len);
	}
	choose_places(&p);
	for (i = 0; i < p.num; i++) {
		struct place *place = &p.places[i];
		int ret = write_row(&p, place);

		if (ret == -1) {
			return -1;
		}
		if (ret == 0 && is_right_but_away(&p, place)) {
			place->row.member = place->old->member;
			ret = 1;
		}
		if (ret == 1) {
			by_row[place->row.row] = &place->row;
		}
	}
	for (i = 0; i < MRMR_PARITY_ROWS; i++) {
		if (by_row[i] == NULL && run->is_kept[i]) {
			by_row[i] = old_row(run->job, (uint8_t)i);
		}
		if (by_row[i] != NULL) {
			run->rows[run->num_written++] = *by_row[i];
		}
	}
	return 0;
}

int mrmr_stripes_put_row(struct mrmr_stripes *work,
			 const struct mrmr_stripe *stripe, struct mrmr_row *row,
			 const uint8_t *data)
{
	struct run run = {.work = work};
	struct placing p = {.run = &run, .work = work};
	struct place place = {.row = *row, .data = data, .member = SIZE_MAX};
	uint32_t i;
	int ret;

	for (i = 0; i < stripe->num_slots; i++) {
		stripes_add_unit(work, stripe->slots[i].member, &p.taken);
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].row != row->row) {
			stripes_add_unit(work, stripe->rows[i].member,
					 &p.taken);
		}
	}
	ret = write_row(&p, &place);
	if (ret == 1) {
		row->member = place.row.member;
	}
	return ret;
}
