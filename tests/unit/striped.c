/*
 * Unit tests: files that get into stripes (see striped.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/decode.h>
#include <mrmr/digest.h>
#include <mrmr/parity.h>
#include <mrmr/undo.h>

#include "striped.h"

static void must(int ret)
{
	assert_return_code(ret, errno);
}

static struct mrmr_catalog *catalog_of(struct striped *s)
{
	return s->p->engine->catalog;
}

struct striped *striped_new(const struct world_shape *shape)
{
	return striped_new_with(shape, 1 << 20);
}

struct striped *striped_new_with(const struct world_shape *shape, uint32_t grid)
{
	struct striped *s = calloc(1, sizeof(*s));
	char config[256];
	struct world_shape with_block = *shape;

	assert_non_null(s);
	s->grid = grid;
	snprintf(config, sizeof(config), ", \"block_size\": \"%uK\"%s",
		 grid / 1024, shape->config != NULL ? shape->config : "");
	with_block.config = config;
	s->p = protected_new(&with_block);
	assert_int_equal(s->p->w->pool->config->block_size_bytes, grid);
#ifdef MRMR_WITH_FAULTS
	/* points are counted by one thread */
	s->options.threads = 1;
#else
	s->options.threads = 3;
#endif
	return s;
}

void striped_free(struct striped *s)
{
	size_t i;

	for (i = 0; i < s->num; i++) {
		free(s->files[i]->bytes);
		free(s->files[i]->was);
		free(s->files[i]);
	}
	protected_free(s->p);
	free(s);
}

/* --- files ------------------------------------------------------------------- */

static const char *where(struct striped *s, const struct sfile *file)
{
	return world_drive(s->p->w, file->member, file->path);
}

struct sfile *striped_file(struct striped *s, size_t member, unsigned int seed,
			   size_t len)
{
	struct sfile *file = calloc(1, sizeof(*file));
	static unsigned int count;
	int fd;

	assert_non_null(file);
	assert_true(s->num < STRIPED_MAX);
	file->member = member;
	file->was_member = member;
	file->len = len;
	file->bytes = protected_bytes(seed, len);
	snprintf(file->path, sizeof(file->path), "f%u", count++);
	fd = open(where(s, file), O_WRONLY | O_CREAT | O_EXCL, 0644);
	must(fd);
	assert_int_equal(write(fd, file->bytes, len), (ssize_t)len);
	close(fd);
	s->files[s->num++] = file;
	return file;
}

void striped_move(struct striped *s, struct sfile *file, size_t member)
{
	int fd;

	file->member = member;
	fd = open(where(s, file), O_WRONLY | O_CREAT | O_EXCL, 0644);
	must(fd);
	assert_int_equal(write(fd, file->bytes, file->len), (ssize_t)file->len);
	close(fd);
}

static int open_for_writing(struct striped *s, struct sfile *file,
			    struct mrmr_undo **undo)
{
	int fd = open(world_member(s->p->w, file->member, file->path), O_RDWR);

	must(fd);
	must(mrmr_undo_open(NULL, s->p->w->pool, fd, undo));
	return fd;
}

static void write_at(struct striped *s, struct sfile *file, size_t offset,
		     size_t len, unsigned int seed)
{
	struct mrmr_undo *undo = NULL;
	int fd = open_for_writing(s, file, &undo);
	uint8_t *bytes = protected_bytes(seed, len);

	if (undo != NULL) {
		must(mrmr_undo_keep(undo, offset, len));
	}
	assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), (ssize_t)len);
	memcpy(file->bytes + offset, bytes, len);
	free(bytes);
	talloc_free(undo);
	close(fd);
}

void striped_overwrite(struct striped *s, struct sfile *file, size_t offset,
		       size_t len, unsigned int seed)
{
	assert_true(offset + len <= file->len);
	write_at(s, file, offset, len, seed);
}

void striped_append(struct striped *s, struct sfile *file, size_t len,
		    unsigned int seed)
{
	file->bytes = realloc(file->bytes, file->len + len + 1);
	assert_non_null(file->bytes);
	write_at(s, file, file->len, len, seed);
	file->len += len;
}

void striped_truncate(struct striped *s, struct sfile *file, size_t len)
{
	struct mrmr_undo *undo = NULL;
	int fd = open_for_writing(s, file, &undo);
	bool lost = false;

	assert_true(len <= file->len);
	if (undo != NULL) {
		must(mrmr_undo_keep_cut(undo, len, &lost));
		assert_false(lost);
	}
	must(ftruncate(fd, (off_t)len));
	file->len = len;
	talloc_free(undo);
	close(fd);
}

/* --- protecting ------------------------------------------------------------------ */

struct round {
	struct striped *s;
	void *frame;
	struct mrmr_change *changes;
	size_t num;
	struct mrmr_node **nodes; /* to be put after apply; NULL: it goes */
	struct sfile **files;
	size_t num_files;
};

static uint32_t num_extents(const struct striped *s, size_t len)
{
	return (uint32_t)((len + s->grid - 1) / s->grid);
}

static void stat_node(struct striped *s, struct sfile *file,
		      struct mrmr_node *node)
{
	struct stat st;

	must(stat(where(s, file), &st));
	node->kind = MRMR_NODE_FILE;
	node->member = s->p->engine->number[file->member];
	node->inode = st.st_ino;
	node->size_bytes = (uint64_t)st.st_size;
	node->mtime_ns =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	node->mode = st.st_mode;
	node->grid_bytes = s->grid;
}

static void add_file(struct round *r, size_t i)
{
	struct striped *s = r->s;
	struct sfile *file = r->files[i];
	struct mrmr_engine *engine = s->p->engine;
	struct mrmr_node *old = NULL;
	struct mrmr_node *node = NULL;
	struct mrmr_live *was = NULL;
	struct mrmr_live *now = NULL;
	uint32_t num_old = 0;
	uint32_t num_new = file->is_gone ? 0 : num_extents(s, file->len);
	uint32_t index;

	if (file->id != 0) {
		must(mrmr_catalog_get(catalog_of(s), r->frame, file->id, &old));
		num_old = old->num_extents;
		if (mrmr_live_open(r->frame, engine, old, &was) == -1) {
			was = NULL;
		}
	}
	if (!file->is_gone) {
		node = talloc_zero(r->frame, struct mrmr_node);
		if (old != NULL) {
			*node = *old;
		}
		stat_node(s, file, node);
		node->dir_id = MRMR_ID_ROOT;
		node->name = file->path;
		must(mrmr_guard_declare(engine->guard,
					&s->p->w->pool->members[file->member]
						 .config->id,
					node->inode, &node->generation));
		if (file->id == 0) {
			must(mrmr_catalog_put(catalog_of(s), node, &file->id));
		}
		node->id = file->id;
		must(mrmr_live_open(r->frame, engine, node, &now));
	}
	r->nodes[i] = node;
	for (index = 0; index < num_old || index < num_new; index++) {
		struct mrmr_change *change = &r->changes[r->num++];
		uint32_t got = 0;

		*change = (struct mrmr_change){
			.file = file->id,
			.member = engine->number[file->member],
			.index = index,
			.offset = (uint64_t)index * s->grid,
			.was = was,
		};
		if (index < num_old) {
			change->has_old = true;
			must(mrmr_catalog_get_extents(catalog_of(s), file->id,
						      index, &change->old, 1,
						      &got));
		}
		if (index < num_new) {
			size_t left = file->len - change->offset;

			change->now = now;
			change->len_bytes =
				left < s->grid ? (uint32_t)left : s->grid;
		}
	}
}

static void begin_round(struct round *r, struct sfile **files, size_t num)
{
	struct striped *s = r->s;
	size_t total = 0;
	size_t i;

	r->frame = talloc_new(NULL);
	r->files = num > 0 ? files : s->files;
	r->num_files = num > 0 ? num : s->num;
	for (i = 0; i < r->num_files; i++) {
		total += num_extents(s, r->files[i]->len) +
			 num_extents(s, r->files[i]->was_len) + 1;
	}
	r->changes = talloc_zero_array(r->frame, struct mrmr_change, total + 1);
	r->nodes = talloc_zero_array(r->frame, struct mrmr_node *,
				     r->num_files + 1);
	must(mrmr_catalog_begin(catalog_of(s)));
	for (i = 0; i < r->num_files; i++) {
		add_file(r, i);
	}
	if (s->meanwhile != NULL) {
		s->meanwhile(s);
	}
}

static void put_nodes(struct round *r)
{
	struct striped *s = r->s;
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		struct sfile *file = r->files[i];

		if (r->nodes[i] != NULL) {
			must(mrmr_catalog_put(catalog_of(s), r->nodes[i],
					      NULL));
			must(mrmr_catalog_cut_extents(catalog_of(s), file->id,
						      num_extents(s,
								  file->len)));
		} else if (file->id != 0) {
			must(mrmr_catalog_cut_extents(catalog_of(s), file->id,
						      0));
			must(mrmr_catalog_remove(catalog_of(s), MRMR_ID_ROOT,
						 file->path));
		}
	}
}

/* What the protector lets go of after the commit. */
static void let_go(struct round *r)
{
	struct striped *s = r->s;
	size_t to = 0;
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		struct sfile *file = r->files[i];
		struct mrmr_member *member =
			&s->p->w->pool->members[file->member];

		free(file->was);
		file->was = NULL;
		file->was_len = file->len;
		if (file->was_member != file->member) {
			must(unlink(world_drive(s->p->w, file->was_member,
						file->path)));
			file->was_member = file->member;
		}
		if (file->is_gone) {
			struct stat st;

			if (member->state == MRMR_MEMBER_ONLINE &&
			    stat(where(s, file), &st) == 0) {
				must(unlink(where(s, file)));
				mrmr_guard_forget(s->p->engine->guard,
						  &member->config->id,
						  st.st_ino);
				must(mrmr_undo_drop(member->private_fd,
						    st.st_ino, 0));
			}
			file->was_len = 0;
			continue;
		}
		file->was = malloc(file->len + 1);
		assert_non_null(file->was);
		memcpy(file->was, file->bytes, file->len);
		if (member->state == MRMR_MEMBER_ONLINE) {
			must(mrmr_undo_drop(member->private_fd,
					    r->nodes[i]->inode,
					    r->nodes[i]->generation));
		}
	}
	/* those that are gone are forgotten */
	for (i = 0; i < s->num; i++) {
		struct sfile *file = s->files[i];

		if (file->is_gone && file->was_len == 0) {
			free(file->bytes);
			free(file->was);
			free(file);
		} else {
			s->files[to++] = file;
		}
	}
	s->num = to;
}

static void take_errors(struct round *r)
{
	size_t i;

	r->s->error = 0;
	r->s->num_errors = 0;
	for (i = 0; i < r->num; i++) {
		if (r->changes[i].error != 0) {
			r->s->error = r->changes[i].error;
			r->s->num_errors++;
			assert_int_equal(r->changes[i].extent.state,
					 MRMR_EXTENT_BARE);
		}
	}
}

static int take_back(struct round *r, struct mrmr_stripes *work, int error)
{
	size_t i;

	mrmr_catalog_cancel(catalog_of(r->s));
	mrmr_stripes_abort(work);
	for (i = 0; i < r->num_files; i++) {
		if (r->files[i]->was == NULL) {
			r->files[i]->id = 0;
		}
	}
	talloc_free(r->frame);
	errno = error;
	return -1;
}

int striped_protect(struct striped *s, struct sfile **files, size_t num)
{
	struct round r = {.s = s};
	struct mrmr_error err = {0};
	struct mrmr_stripes *work = NULL;

	begin_round(&r, files, num);
	work = mrmr_stripes_new(r.frame, s->p->engine, &s->options);
	assert_non_null(work);
	if (mrmr_stripes_apply(work, r.changes, r.num, &err) == -1) {
		assert_true(err.code != 0 && err.text[0] != '\0');
		return take_back(&r, work, err.code);
	}
	take_errors(&r);
	put_nodes(&r);
	if (mrmr_stripes_sync(work, &err) == -1) {
		return take_back(&r, work, err.code);
	}
	if (mrmr_catalog_commit(catalog_of(s), &err) == -1) {
		return take_back(&r, work, err.code);
	}
	mrmr_stripes_finish(work);
	let_go(&r);
	talloc_free(r.frame);
	return 0;
}

void striped_protect_upto(struct striped *s, struct sfile **files, size_t num,
			  int step)
{
	struct round r = {.s = s};
	struct mrmr_error err = {0};
	struct mrmr_stripes *work = NULL;

	begin_round(&r, files, num);
	work = mrmr_stripes_new(r.frame, s->p->engine, &s->options);
	must(mrmr_stripes_apply(work, r.changes, r.num, &err));
	put_nodes(&r);
	if (step >= 1) {
		must(mrmr_stripes_sync(work, &err));
	}
	if (step >= 2) {
		must(mrmr_catalog_commit(catalog_of(s), &err));
	}
	if (step >= 3) {
		mrmr_stripes_finish(work);
	}
}

void striped_before_fork(struct striped *s)
{
	/* the child needs the lock */
	TALLOC_FREE(s->p->engine);
}

void striped_in_child(struct striped *s)
{
	world_open_in_child(s->p->w);
	protected_reopen(s->p);
}

bool striped_after_child(struct striped *s)
{
	struct round r = {.s = s, .files = s->files, .num_files = s->num};
	struct mrmr_node *new = NULL;
	size_t i;

	protected_reopen(s->p);
	r.frame = talloc_new(NULL);
	for (i = 0; i < s->num && s->files[i]->was != NULL; i++) {
	}
	assert_true(i < s->num);
	if (mrmr_catalog_find(catalog_of(s), r.frame, MRMR_ID_ROOT,
			      s->files[i]->path, &new) == -1) {
		assert_int_equal(errno, ENOENT);
		talloc_free(r.frame);
		return false;
	}
	r.nodes = talloc_zero_array(r.frame, struct mrmr_node *, s->num + 1);
	for (i = 0; i < s->num; i++) {
		struct sfile *file = s->files[i];

		if (file->is_gone) {
			continue;
		}
		must(mrmr_catalog_find(catalog_of(s), r.frame, MRMR_ID_ROOT,
				       file->path, &r.nodes[i]));
		file->id = r.nodes[i]->id;
	}
	let_go(&r);
	talloc_free(r.frame);
	return true;
}

bool striped_mend(struct striped *s, uint64_t stripe)
{
	struct mrmr_error err = {0};
	struct mrmr_stripes *work =
		mrmr_stripes_new(s->p->engine, s->p->engine, &s->options);
	bool changed = false;

	assert_non_null(work);
	must(mrmr_catalog_begin(catalog_of(s)));
	if (mrmr_stripes_mend(work, stripe, &changed, &err) == -1 ||
	    mrmr_stripes_sync(work, &err) == -1 ||
	    mrmr_catalog_commit(catalog_of(s), &err) == -1) {
		fail_msg("%s", err.text);
	}
	mrmr_stripes_finish(work);
	talloc_free(work);
	return changed;
}

size_t striped_mend_all(struct striped *s)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	size_t num = 0;

	while (mrmr_catalog_next_stripe(catalog_of(s), s->p->engine, id,
					&stripe) == 0) {
		id = stripe->id;
		talloc_free(stripe);
		num += striped_mend(s, id);
	}
	assert_int_equal(errno, ENOENT);
	return num;
}

/* --- what must be true -------------------------------------------------------------- */

static struct sfile *find_file(struct striped *s, uint64_t id)
{
	size_t i;

	for (i = 0; i < s->num; i++) {
		if (s->files[i]->id == id) {
			return s->files[i];
		}
	}
	return NULL;
}

struct mrmr_extent striped_extent(struct striped *s, struct sfile *file,
				  uint32_t index)
{
	struct mrmr_extent extent = {0};
	uint32_t got = 0;

	must(mrmr_catalog_get_extents(catalog_of(s), file->id, index, &extent,
				      1, &got));
	assert_int_equal(got, 1);
	return extent;
}

static unsigned int unit_of(struct striped *s, uint16_t number)
{
	size_t member = mrmr_engine_member(s->p->engine, number);

	assert_true(member != SIZE_MAX);
	return s->p->w->pool->units.unit[member];
}

static uint8_t *slot_bytes(struct striped *s, uint64_t id,
			   const struct mrmr_slot *slot)
{
	uint8_t *bytes = calloc(1, slot->len_bytes);
	uint32_t at = 0;
	uint32_t i;

	assert_non_null(bytes);
	assert_in_range(slot->num_pieces, 1, 1000);
	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];

		if (piece->file != 0) {
			struct sfile *file = find_file(s, piece->file);
			struct mrmr_extent extent;

			assert_non_null(file);
			extent = striped_extent(s, file, piece->index);
			assert_int_equal(extent.state, MRMR_EXTENT_IN_STRIPE);
			assert_int_equal(extent.stripe, id);
			assert_int_equal(extent.slot, slot->slot);
			assert_int_equal(extent.slot_offset, at);
			assert_int_equal(extent.len_bytes, piece->len_bytes);
			assert_int_equal(s->p->engine->number[file->member],
					 slot->member);
			assert_true((size_t)piece->index * s->grid +
					    piece->len_bytes <=
				    file->was_len);
			memcpy(bytes + at,
			       file->was + (size_t)piece->index * s->grid,
			       piece->len_bytes);
		} else {
			/* gaps are one, and never last */
			assert_true(i + 1 < slot->num_pieces);
			assert_true(i == 0 || slot->pieces[i - 1].file != 0);
		}
		at += piece->len_bytes;
	}
	assert_int_equal(at, slot->len_bytes);
	return bytes;
}

static void check_row(struct striped *s, const struct mrmr_stripe *stripe,
		      size_t row, const uint8_t *parity, uint32_t len)
{
	size_t member =
		mrmr_engine_member(s->p->engine, stripe->rows[row].member);
	uint8_t sha256[32];
	uint8_t *blob = NULL;
	struct stat st;
	int fd;

	assert_int_equal(stripe->rows[row].len_bytes, len);
	mrmr_sha256(parity, len, sha256);
	assert_memory_equal(sha256, stripe->rows[row].sha256, 32);
	assert_int_equal(stripe->rows[row].checksum,
			 mrmr_checksum(parity, len));
	if (s->p->w->pool->members[member].state != MRMR_MEMBER_ONLINE) {
		return;
	}
	fd = open(protected_blob(s->p, stripe, row), O_RDONLY);
	must(fd);
	must(fstat(fd, &st));
	assert_int_equal(st.st_size, len);
	blob = malloc(len);
	assert_int_equal(read(fd, blob, len), (ssize_t)len);
	assert_memory_equal(blob, parity, len);
	free(blob);
	close(fd);
}

static void check_stripe(struct striped *s, const struct mrmr_stripe *stripe)
{
	struct mrmr_parity_input inputs[64] = {{0}};
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS] = {{0}};
	bool is_taken[256] = {false};
	uint32_t len = 0;
	uint32_t i;

	assert_in_range(stripe->num_slots, 1, 64);
	assert_in_range(stripe->num_rows, 1, mrmr_pool_rows(s->p->w->pool));
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];
		unsigned int unit = unit_of(s, slot->member);

		assert_false(is_taken[unit]);
		is_taken[unit] = true;
		inputs[i] = (struct mrmr_parity_input){slot->slot,
						       slot_bytes(s, stripe->id,
								  slot),
						       slot->len_bytes};
		len = slot->len_bytes > len ? slot->len_bytes : len;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		unsigned int unit = unit_of(s, stripe->rows[i].member);

		assert_false(is_taken[unit]);
		is_taken[unit] = true;
		outputs[i].place = mrmr_parity_row(stripe->rows[i].row);
		outputs[i].data = malloc(len);
	}
	must(mrmr_parity_encode(inputs, stripe->num_slots, outputs,
				stripe->num_rows, len));
	for (i = 0; i < stripe->num_rows; i++) {
		check_row(s, stripe, i, outputs[i].data, len);
		free(outputs[i].data);
	}
	for (i = 0; i < stripe->num_slots; i++) {
		free((void *)(uintptr_t)inputs[i].data);
	}
}

struct blob_check {
	struct striped *s;
	size_t member;
};

static int check_blob(const uint8_t sha256[32], uint64_t size_bytes,
		      void *private_data)
{
	struct blob_check *check = private_data;
	uint32_t uses = 0;

	must(mrmr_catalog_blob_uses(catalog_of(check->s),
				    check->s->p->engine->number[check->member],
				    sha256, &uses));
	assert_true(uses > 0);
	return 0;
}

/* Extents that are in stripes have a piece there. */
static void check_extents(struct striped *s, struct sfile *file)
{
	uint32_t i;

	for (i = 0; file->id != 0 && i < num_extents(s, file->was_len); i++) {
		struct mrmr_extent extent = striped_extent(s, file, i);
		struct mrmr_stripe *stripe = NULL;
		const uint8_t *bytes = file->was + (size_t)i * s->grid;
		uint8_t sha256[32];
		bool found = false;
		uint32_t j;
		uint32_t k;

		mrmr_sha256(bytes, extent.len_bytes, sha256);
		if (extent.state != MRMR_EXTENT_BARE) {
			assert_memory_equal(sha256, extent.sha256, 32);
			assert_int_equal(extent.checksum,
					 mrmr_checksum(bytes,
						       extent.len_bytes));
		}
		if (extent.state != MRMR_EXTENT_IN_STRIPE) {
			continue;
		}
		stripe = protected_get_stripe(s->p, extent.stripe);
		for (j = 0; j < stripe->num_slots; j++) {
			const struct mrmr_slot *slot = &stripe->slots[j];

			for (k = 0;
			     slot->slot == extent.slot && k < slot->num_pieces;
			     k++) {
				found = found ||
					(slot->pieces[k].file == file->id &&
					 slot->pieces[k].index == i);
			}
		}
		assert_true(found);
		talloc_free(stripe);
	}
}

void striped_check(struct striped *s, bool no_garbage)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	size_t i;

	while (mrmr_catalog_next_stripe(catalog_of(s), s->p->engine, id,
					&stripe) == 0) {
		check_stripe(s, stripe);
		id = stripe->id;
		talloc_free(stripe);
	}
	assert_int_equal(errno, ENOENT);
	for (i = 0; i < s->num; i++) {
		check_extents(s, s->files[i]);
	}
	for (i = 0; no_garbage && i < s->p->w->pool->num_members; i++) {
		const struct mrmr_member *member = &s->p->w->pool->members[i];
		struct blob_check check = {s, i};

		if (member->state == MRMR_MEMBER_ONLINE) {
			must(mrmr_blob_walk(member->private_fd, check_blob,
					    &check));
		}
	}
}

static void check_decodes(struct striped *s, struct sfile *file, uint8_t *out)
{
	struct mrmr_node *node = NULL;
	uint32_t i;

	if (file->id == 0 || file->is_wrong) {
		return;
	}
	must(mrmr_catalog_get(catalog_of(s), s->p->engine, file->id, &node));
	for (i = 0; i < node->num_extents; i++) {
		struct mrmr_extent extent = striped_extent(s, file, i);
		struct mrmr_error err = {0};
		struct mrmr_decode *decode = NULL;

		if (extent.state == MRMR_EXTENT_BARE) {
			continue;
		}
		decode = mrmr_decode_extent(node, s->p->engine, node, i, &err);
		if (decode == NULL || mrmr_decode_run(decode, out) == -1) {
			fail_msg("extent %u of %s: %s", i, file->path,
				 err.text);
		}
		assert_memory_equal(out, file->was + (size_t)i * s->grid,
				    extent.len_bytes);
	}
	talloc_free(node);
}

static void check_loss(struct striped *s, unsigned int away)
{
	uint8_t *out = malloc(s->grid);
	size_t i;

	assert_non_null(out);
	protected_hide(s->p, away);
	for (i = 0; i < s->num; i++) {
		if ((away >> s->files[i]->was_member & 1) != 0) {
			check_decodes(s, s->files[i], out);
		}
	}
	protected_hide(s->p, 0);
	free(out);
}

void striped_check_losses(struct striped *s, unsigned int num)
{
	const struct mrmr_pool *pool = s->p->w->pool;
	unsigned int units;

	for (units = 1; units < 1u << pool->units.num; units++) {
		unsigned int away = 0;
		size_t i;

		if ((unsigned int)__builtin_popcount(units) != num) {
			continue;
		}
		for (i = 0; i < pool->num_members; i++) {
			if ((units >> pool->units.unit[i] & 1) != 0) {
				away |= 1u << i;
			}
		}
		check_loss(s, away);
	}
}

size_t striped_count(struct striped *s, struct sfile *file)
{
	struct mrmr_node *node = NULL;
	size_t num = 0;
	uint32_t i;

	must(mrmr_catalog_get(catalog_of(s), s->p->engine, file->id, &node));
	for (i = 0; i < node->num_extents; i++) {
		num += striped_extent(s, file, i).state != MRMR_EXTENT_BARE;
	}
	talloc_free(node);
	return num;
}

struct striped_sums striped_sums(struct striped *s)
{
	struct striped_sums sums = {0};
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	uint32_t i;
	uint32_t j;

	while (mrmr_catalog_next_stripe(catalog_of(s), s->p->engine, id,
					&stripe) == 0) {
		id = stripe->id;
		sums.num_stripes++;
		sums.num_rows += stripe->num_rows;
		if (stripe->num_slots > sums.widest) {
			sums.widest = stripe->num_slots;
		}
		for (i = 0; i < stripe->num_rows; i++) {
			sums.parity_bytes += stripe->rows[i].len_bytes;
		}
		for (i = 0; i < stripe->num_slots; i++) {
			for (j = 0; j < stripe->slots[i].num_pieces; j++) {
				if (stripe->slots[i].pieces[j].file != 0) {
					sums.data_bytes += stripe->slots[i]
								   .pieces[j]
								   .len_bytes;
				}
			}
		}
		talloc_free(stripe);
	}
	return sums;
}
