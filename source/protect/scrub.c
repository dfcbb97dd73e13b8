/*
 * MRMR: reading everything that is protected (see mrmr/scrub.h).
 *
 * Two states take turns. Reading: the catalogue is open for reading, stripes are
 * handed to the readers. Recording (scrub_record.c), every few seconds: the catalogue
 * is open for writing, with its lock; days are set, suspects are judged. If another process
 * has the lock, reading goes on, and what is to be recorded is kept until the
 * next turn.
 *
 * A scrub that was stopped leaves a note with the day on which it began; the next
 * one goes on with what was not scrubbed since. (If something had been scrubbed
 * on that day before it began, that cannot be told from its own work: then the
 * next one begins anew, oldest first as ever.)
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/fault.h>
#include <mrmr/shortage.h>

#include "scrub_note.h"
#include "scrub_private.h"

#define DAY_SECONDS 86400
#define TURN_NS (15 * INT64_C(1000000000))
#define TURN_STRIPES 65536
#define RETRY_NS (100 * 1000 * 1000)
#define STOPPED_RETRIES 20

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool scrub_should_stop(const struct scrub *s)
{
	return s->options->should_stop != NULL &&
	       s->options->should_stop(s->options->private_data);
}

int scrub_fail_memory(struct scrub *s)
{
	return mrmr_error_set(s->err, ENOMEM, "not enough memory");
}

int scrub_fail_catalog(struct scrub *s)
{
	if (mrmr_is_shortage(errno)) {
		return mrmr_error_set(s->err, errno,
				      "it cannot be scrubbed on now: %s",
				      strerror(errno));
	}
	return mrmr_error_set(s->err, errno,
			      "the catalogue in %s cannot be used: %s",
			      s->pool->config->state_dir,
			      mrmr_catalog_why(errno));
}

static int make_list(struct scrub *s)
{
	struct mrmr_catalog *catalog = s->engine->catalog;

	if (mrmr_scrub_state(catalog, &s->state) == -1 && errno != ENOENT) {
		return scrub_fail_catalog(s);
	}
	if (scrub_choose(s, catalog, s->options, s->today, &s->state,
			 &s->choice) == -1 ||
	    scrub_zeros_begin(&s->zeros, catalog, s->options->percent) == -1) {
		return scrub_fail_catalog(s);
	}
	s->result->is_resumed = s->choice.is_resumed;
	if (!s->choice.is_resumed) {
		s->state.begun_day = s->today;
		s->state.is_deep = s->options->deep;
		s->state.wrong_blocks = 0;
		s->state.left_blocks = 0;
	}
	return 0;
}

/* --- reading ------------------------------------------------------------------------ */

static void open_members(struct scrub *s)
{
	size_t i;

	for (i = 0; i < s->pool->num_members; i++) {
		s->members[i] = mrmr_live_member_open(s, s->engine,
						      s->engine->number[i]);
	}
}

static void close_members(struct scrub *s)
{
	size_t i;

	for (i = 0; i < s->pool->num_members; i++) {
		TALLOC_FREE(s->members[i]);
	}
}

/* What cannot be handed to a reader is not right, until it is judged. */
static int suspect(struct scrub_stripe *to)
{
	to->is_suspect = true;
	return 0;
}

/* Where it is, as far as the catalogue tells; or, with look, wherever. */
static int aim(struct scrub *s, struct scrub_block *block, bool look)
{
	struct mrmr_live_member *member = s->members[block->member];
	struct mrmr_node *node = NULL;
	int ret;

	if (mrmr_catalog_get(s->engine->catalog, s, block->file, &node) == -1) {
		return -1;
	}
	/* freed by who frees the block, whatever becomes of us */
	ret = look ? mrmr_live_open_on(NULL, s->engine, member, node, false,
				       &block->live)
		   : mrmr_live_expect(NULL, s->engine, member, node,
				      &block->live);
	block->is_expected = !look;
	block->offset = (uint64_t)block->index * node->grid_bytes;
	talloc_free(node);
	return ret;
}

static int add_piece(struct scrub *s, struct scrub_stripe *to, size_t member,
		     const struct mrmr_piece *piece)
{
	struct scrub_block *block = NULL;
	struct mrmr_extent extent;
	uint32_t got = 0;

	if (mrmr_catalog_get_extents(s->engine->catalog, piece->file,
				     piece->index, &extent, 1, &got) == -1 ||
	    got != 1 || extent.state != MRMR_EXTENT_IN_STRIPE ||
	    extent.stripe != to->id || extent.len_bytes != piece->len_bytes) {
		return suspect(to);
	}
	block = scrub_block_new(to, member);
	if (block == NULL) {
		errno = ENOMEM;
		return -1;
	}
	block->file = piece->file;
	block->index = piece->index;
	block->len_bytes = extent.len_bytes;
	block->checksum = extent.checksum;
	memcpy(block->sha256, extent.sha256, sizeof(block->sha256));
	if (aim(s, block, false) == -1) {
		scrub_block_free(block);
		return suspect(to);
	}
	scrub_readers_add(s->readers, block);
	s->result->num_blocks++;
	return 0;
}

/* What was not under its name, or not right there, is looked for: it may have
   been renamed a moment ago. */
static void look_for_missed(struct scrub *s, bool all)
{
	struct scrub_block *block = NULL;

	while ((block = scrub_readers_missed(s->readers, all)) != NULL) {
		TALLOC_FREE(block->live);
		block->is_missed = false;
		if (aim(s, block, true) == -1) {
			suspect(block->stripe);
			scrub_block_free(block);
		} else {
			scrub_readers_add(s->readers, block);
		}
	}
}

static int add_row(struct scrub *s, struct scrub_stripe *to,
		   const struct mrmr_row *row)
{
	const struct mrmr_member *member =
		mrmr_engine_online(s->engine, row->member);
	struct scrub_block *block = NULL;
	struct stat st = {0};
	int fd;

	if (member == NULL) {
		to->is_partial = true;
		s->result->away_blocks++;
		return 0;
	}
	fd = mrmr_blob_open(member->private_fd, row->sha256);
	if (fd == -1 || fstat(fd, &st) == -1 ||
	    (uint64_t)st.st_size != row->len_bytes) {
		if (fd != -1) {
			close(fd);
		}
		return suspect(to);
	}
	block = scrub_block_new(to, member->index);
	if (block == NULL) {
		close(fd);
		return -1;
	}
	block->fd = fd;
	block->len_bytes = row->len_bytes;
	block->checksum = row->checksum;
	memcpy(block->sha256, row->sha256, sizeof(block->sha256));
	scrub_readers_add(s->readers, block);
	s->result->num_blocks++;
	return 0;
}

/* By turns from each slot, so that no member waits for another's many small
   files. */
static int add_slots(struct scrub *s, struct scrub_stripe *to,
		     const struct mrmr_stripe *stripe)
{
	size_t member[MRMR_MEMBERS_MAX + 1];
	uint32_t most = 0;
	uint32_t i;
	uint32_t j;

	for (i = 0; i < stripe->num_slots && i < MRMR_MEMBERS_MAX; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		member[i] = mrmr_engine_member(s->engine, slot->member);
		if (member[i] == SIZE_MAX || s->members[member[i]] == NULL) {
			member[i] = SIZE_MAX;
			to->is_partial = true;
			s->result->away_blocks++;
		} else if (slot->num_pieces > most) {
			most = slot->num_pieces;
		}
	}
	for (j = 0; j < most; j++) {
		for (i = 0; i < stripe->num_slots && i < MRMR_MEMBERS_MAX;
		     i++) {
			const struct mrmr_slot *slot = &stripe->slots[i];

			if (member[i] != SIZE_MAX && j < slot->num_pieces &&
			    slot->pieces[j].file != MRMR_ID_NONE &&
			    add_piece(s, to, member[i], &slot->pieces[j]) ==
				    -1) {
				return -1;
			}
		}
	}
	return 0;
}

static int add_stripe(struct scrub *s, const struct scrub_chosen *chosen)
{
	struct scrub_stripe *to = &s->stripes[s->num_stripes];
	struct mrmr_stripe *stripe = NULL;
	uint32_t i;
	int ret;

	*to = (struct scrub_stripe){.id = chosen->id};
	if (mrmr_catalog_get_stripe(s->engine->catalog, s, chosen->id,
				    &stripe) == -1) {
		s->skipped_bytes += chosen->bytes;
		return errno == ENOENT ? 0 : -1;
	}
	s->num_stripes++;
	s->result->num_stripes++;
	ret = add_slots(s, to, stripe);
	for (i = 0; ret == 0 && i < stripe->num_rows; i++) {
		ret = add_row(s, to, &stripe->rows[i]);
	}
	talloc_free(stripe);
	return ret;
}

static void show_progress(struct scrub *s)
{
	struct mrmr_scrub_progress progress = {
		.todo_bytes = s->choice.todo_bytes,
	};

	if (s->options->progress != NULL) {
		progress.done_bytes =
			scrub_readers_bytes(s->readers) + s->skipped_bytes;
		s->options->progress(&progress, s->options->private_data);
	}
}

int scrub_remember(struct scrub *s, uint64_t **list, size_t *num, size_t *size,
		   uint64_t id)
{
	if (*num == *size) {
		*size = *size != 0 ? 2 * *size : 1024;
		*list = talloc_realloc(s, *list, uint64_t, *size);
		if (*list == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	(*list)[(*num)++] = id;
	return 0;
}

/* What came of this turn. What is partly away keeps its day. */
static int sort_out(struct scrub *s)
{
	size_t i;

	for (i = 0; i < s->num_stripes; i++) {
		const struct scrub_stripe *stripe = &s->stripes[i];
		int ret = 0;

		if (stripe->is_suspect) {
			ret = scrub_remember(s, &s->suspects, &s->num_suspects,
					     &s->size_suspects, stripe->id);
		} else if (!stripe->is_partial) {
			ret = scrub_remember(s, &s->clean, &s->num_clean,
					     &s->size_clean, stripe->id);
		}
		if (ret == -1) {
			return scrub_fail_memory(s);
		}
	}
	return 0;
}

static bool turn_ends(void *private_data)
{
	const struct scrub *s = private_data;

	return now_ns() >= s->turn_ends_ns || scrub_should_stop(s);
}

static bool stops(void *private_data)
{
	return scrub_should_stop(private_data);
}

static int remember_zero(uint64_t file, uint32_t index, void *private_data)
{
	struct scrub *s = private_data;
	size_t size = talloc_array_length(s->zeros_bad);

	if (s->num_zeros_bad == size) {
		s->zeros_bad =
			talloc_realloc(s, s->zeros_bad, struct scrub_zero,
				       size > 0 ? 2 * size : 64);
		if (s->zeros_bad == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	s->zeros_bad[s->num_zeros_bad++] =
		(struct scrub_zero){.file = file, .index = index};
	return 0;
}

static int read_zeros(struct scrub *s)
{
	struct scrub_zeros_reader reader = {
		.engine = s->engine,
		.members = s->members,
		.deep = s->options->deep,
		.should_end = turn_ends,
		.should_stop = stops,
		.bad = remember_zero,
		.private_data = s,
	};

	return scrub_zeros_read(&s->zeros, &reader);
}

static int read_for_a_turn(struct scrub *s)
{
	int ret = 0;

	s->turn_ends_ns = now_ns() + TURN_NS;
	mrmr_engine_look(s->engine, NULL);
	open_members(s);
	s->num_stripes = 0;
	while (ret == 0 && s->next < s->choice.num &&
	       s->num_stripes < TURN_STRIPES && !turn_ends(s)) {
		ret = add_stripe(s, &s->choice.list[s->next++]);
		look_for_missed(s, false);
		show_progress(s);
	}
	if (ret == 0 && s->next == s->choice.num) {
		ret = read_zeros(s);
	}
	if (ret == -1) {
		scrub_fail_catalog(s);
	}
	look_for_missed(s, true);
	close_members(s);
	s->result->num_bytes = scrub_readers_bytes(s->readers);
	show_progress(s);
	return ret == 0 ? sort_out(s) : -1;
}

/* --- all of it -------------------------------------------------------------------------- */

static int open_engine(struct scrub *s, enum mrmr_engine_mode mode)
{
	s->engine = mrmr_engine_open(s, s->pool, mode, s->err);
	return s->engine != NULL ? 0 : -1;
}

/* With the lock. At the end it is waited for it, and if somebody wants us to stop, for a
   moment. */
static int open_for_turn(struct scrub *s, bool is_last)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	unsigned int retries = 0;
	int ret = open_engine(s, MRMR_ENGINE_TRY);

	while (ret == -1 && s->err->code == EAGAIN && is_last &&
	       (!scrub_should_stop(s) || retries++ < STOPPED_RETRIES)) {
		nanosleep(&pause, NULL);
		ret = open_engine(s, MRMR_ENGINE_TRY);
	}
	return ret;
}

/* A turn of recording. */
static int take_turn(struct scrub *s, bool is_last)
{
	int ret;

	TALLOC_FREE(s->engine);
	ret = open_for_turn(s, is_last);
	if (ret == 0) {
		ret = scrub_record(s);
		TALLOC_FREE(s->engine);
	} else if (s->err->code == EAGAIN &&
		   (!is_last || scrub_should_stop(s))) {
		ret = 0; /* later; or it will be done again */
	}
	if (ret == 0 && !is_last) {
		ret = open_engine(s, MRMR_ENGINE_READ);
	}
	return ret;
}

/* All of the catalogue, then each part: nobody may have read what is in them since it was
   written. */
static int check_records(struct scrub *s)
{
	size_t i;

	for (i = 0; i < s->pool->num_members && !scrub_should_stop(s); i++) {
		bool was_damaged = false;
		int ret = open_for_turn(s, true);

		if (ret == 0 && i == 0) {
			ret = mrmr_catalog_check(s->engine->catalog, s->err);
		}
		if (ret == 0) {
			ret = mrmr_engine_check_part(s->engine, i, &was_damaged,
						     s->err);
			TALLOC_FREE(s->engine);
		} else if (s->err->code == EAGAIN) {
			break; /* it is to stop */
		}
		if (ret == -1) {
			return -1;
		}
		s->result->damaged_parts += was_damaged;
	}
	s->result->is_complete = i == s->pool->num_members;
	return 0;
}

static int scrub(struct scrub *s)
{
	bool is_last = false;

	if (open_engine(s, MRMR_ENGINE_READ) == -1 || make_list(s) == -1) {
		return -1;
	}
	while (!is_last) {
		if (read_for_a_turn(s) == -1) {
			return -1;
		}
		s->result->is_complete =
			s->next == s->choice.num && s->zeros.left == 0;
		is_last = s->result->is_complete || scrub_should_stop(s);
		if (take_turn(s, is_last) == -1) {
			return -1;
		}
	}
	return s->result->is_complete ? check_records(s) : 0;
}

int mrmr_scrub(struct mrmr_pool *pool, const struct mrmr_scrub_options *options,
	       struct mrmr_scrub_result *result, struct mrmr_error *err)
{
	struct scrub *s = talloc_zero(pool, struct scrub);
	struct mrmr_error ignored = {0};
	int saved_errno;
	int ret = -1;

	*result = (struct mrmr_scrub_result){0};
	err = err != NULL ? err : &ignored;
	if (s == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	s->pool = pool;
	s->options = options;
	s->result = result;
	s->err = err;
	s->today = (uint16_t)(time(NULL) / DAY_SECONDS);
	s->members = talloc_zero_array(s, struct mrmr_live_member *,
				       pool->num_members);
	s->stripes = talloc_array(s, struct scrub_stripe, TURN_STRIPES);
	if (s->members == NULL || s->stripes == NULL) {
		scrub_fail_memory(s);
	} else {
		s->readers =
			scrub_readers_new(s, pool->num_members, options->deep);
		ret = s->readers != NULL ? scrub(s) : scrub_fail_memory(s);
	}
	saved_errno = errno;
	/* before the members and the engine that its blocks need */
	TALLOC_FREE(s->readers);
	talloc_free(s);
	errno = saved_errno;
	return ret;
}
