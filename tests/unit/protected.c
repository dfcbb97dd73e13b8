/*
 * Unit tests: a pool with files that are protected, made by hand (see
 * protected.h).
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
#include <mrmr/digest.h>
#include <mrmr/hex.h>
#include <mrmr/parity.h>
#include <mrmr/undo.h>

#include "protected.h"

#define SLOTS_MAX 32

/* --- the pool -------------------------------------------------------------- */

static void open_engine(struct protected *p)
{
	struct mrmr_error err = {0};

	p->engine = mrmr_engine_open(NULL, p->w->pool, MRMR_ENGINE_WRITE, &err);
	if (p->engine == NULL) {
		fail_msg("%s", err.text);
	}
}

void protected_reopen(struct protected *p)
{
	TALLOC_FREE(p->engine);
	mrmr_pool_look(p->w->pool);
	open_engine(p);
}

struct protected *protected_new(const struct world_shape *shape)
{
	struct protected *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->w = world_new(shape);
	open_engine(p);
	/* a pool has a guard of its own once there is a catalogue */
	TALLOC_FREE(p->engine);
	world_close(p->w);
	world_open(p->w);
	open_engine(p);
	return p;
}

void protected_free(struct protected *p)
{
	TALLOC_FREE(p->engine);
	world_free(p->w);
	free(p);
}

static bool is_plugged(struct protected *p, size_t member)
{
	return world_there(world_member(p->w, member, ".mrmr"));
}

void protected_unplug(struct protected *p, unsigned int members)
{
	size_t i;

	for (i = 0; i < p->w->pool->num_members; i++) {
		bool wanted = (members >> i & 1) == 0;

		if (is_plugged(p, i) && !wanted) {
			world_unplug(p->w, i);
		} else if (!is_plugged(p, i) && wanted) {
			world_plug(p->w, i);
		}
	}
	mrmr_pool_look(p->w->pool);
}

void protected_hide(struct protected *p, unsigned int members)
{
	size_t i;

	for (i = 0; i < p->w->pool->num_members; i++) {
		p->w->pool->members[i].state = (members >> i & 1) != 0
						       ? MRMR_MEMBER_AWAY
						       : MRMR_MEMBER_ONLINE;
	}
}

/* --- files ----------------------------------------------------------------- */

uint8_t *protected_bytes(unsigned int seed, size_t len)
{
	uint8_t *bytes = calloc(1, len > 0 ? len : 1);
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15);
	size_t i;

	assert_non_null(bytes);
	for (i = 0; seed != 0 && i < len; i++) {
		state = state * UINT64_C(6364136223846793005) +
			UINT64_C(1442695040888963407);
		bytes[i] = (uint8_t)(state >> 56);
	}
	return bytes;
}

static void must(int ret)
{
	assert_return_code(ret, errno);
}

static void commit(struct protected *p)
{
	struct mrmr_error err = {0};

	if (mrmr_catalog_commit(p->engine->catalog, &err) == -1) {
		fail_msg("%s", err.text);
	}
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] != 0) {
			return false;
		}
	}
	return true;
}

/* The directories of a path, in the catalogue. *name is what is left. */
static uint64_t make_directories(struct protected *p, const char *path,
				 const char **name)
{
	uint64_t dir = MRMR_ID_ROOT;
	const char *slash = NULL;

	while ((slash = strchr(path, '/')) != NULL) {
		struct mrmr_node node = {
			.dir_id = dir,
			.name = strndup(path, slash - path),
			.kind = MRMR_NODE_DIRECTORY,
			.member = MRMR_MEMBER_NONE,
			.mode = S_IFDIR | 0755,
		};
		struct mrmr_node *found = NULL;

		if (mrmr_catalog_find(p->engine->catalog, p->engine, dir,
				      node.name, &found) == 0) {
			dir = found->id;
			talloc_free(found);
		} else {
			must(mrmr_catalog_put(p->engine->catalog, &node, &dir));
		}
		free(node.name);
		path = slash + 1;
	}
	*name = path;
	return dir;
}

static void enter_extents(struct protected *p, const struct pfile *file)
{
	uint32_t num = (uint32_t)((file->len + file->grid - 1) / file->grid);
	uint32_t i;

	for (i = 0; i < num; i++) {
		const uint8_t *bytes = file->bytes + (size_t)i * file->grid;
		size_t left = file->len - (size_t)i * file->grid;
		struct mrmr_extent extent = {
			.len_bytes =
				left < file->grid ? (uint32_t)left : file->grid,
		};

		extent.state = is_zero(bytes, extent.len_bytes)
				       ? MRMR_EXTENT_ZERO
				       : MRMR_EXTENT_BARE;
		mrmr_sha256(bytes, extent.len_bytes, extent.sha256);
		extent.checksum = mrmr_checksum(bytes, extent.len_bytes);
		must(mrmr_catalog_put_extents(p->engine->catalog, file->id, i,
					      &extent, 1));
	}
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t len)
{
	int fd;

	world_write(path, "");
	fd = open(path, O_WRONLY | O_TRUNC);
	must(fd);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static int free_bytes(struct pfile *file)
{
	free(file->bytes);
	return 0;
}

struct pfile *protected_file(struct protected *p, size_t member,
			     const char *path, unsigned int seed, size_t len,
			     uint32_t grid)
{
	struct pfile *file = talloc_zero(p->engine->pool, struct pfile);
	struct mrmr_node node = {
		.kind = MRMR_NODE_FILE,
		.size_bytes = len,
		.grid_bytes = grid,
	};
	const char *name = NULL;
	struct stat st;

	file->member = member;
	file->len = len;
	file->grid = grid;
	snprintf(file->path, sizeof(file->path), "%s", path);
	file->bytes = protected_bytes(seed, len);
	talloc_set_destructor(file, free_bytes);
	write_bytes(protected_where(p, file), file->bytes, len);
	must(stat(protected_where(p, file), &st));

	must(mrmr_catalog_begin(p->engine->catalog));
	node.dir_id = make_directories(p, path, &name);
	node.name = strdup(name);
	node.member = p->engine->number[member];
	node.inode = st.st_ino;
	node.mtime_ns =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	node.mode = st.st_mode;
	must(mrmr_guard_declare(p->engine->guard,
				&p->w->pool->members[member].config->id,
				st.st_ino, &node.generation));
	must(mrmr_catalog_put(p->engine->catalog, &node, &file->id));
	enter_extents(p, file);
	commit(p);
	free(node.name);
	return file;
}

struct mrmr_node *protected_node(struct protected *p, const struct pfile *file)
{
	struct mrmr_node *node = NULL;

	must(mrmr_catalog_get(p->engine->catalog, p->engine, file->id, &node));
	return node;
}

const char *protected_where(struct protected *p, const struct pfile *file)
{
	return world_drive(p->w, file->member, file->path);
}

/* --- stripes --------------------------------------------------------------- */

static uint32_t extent_len(const struct pfile *file, uint32_t index)
{
	size_t left = file->len - (size_t)index * file->grid;

	return left < file->grid ? (uint32_t)left : file->grid;
}

/* The block of a slot, and the record of it. */
static uint8_t *make_slot(struct protected *p, const struct pslot *from,
			  struct mrmr_slot *to)
{
	uint8_t *block = malloc(1);
	size_t i;

	to->slot = (uint8_t)from->slot;
	to->pieces = talloc_zero_array(p->engine, struct mrmr_piece, 16);
	for (i = 0; i < 16; i++) {
		const struct pfile *file = from->pieces[i].file;
		struct mrmr_piece *piece = &to->pieces[i];

		if (file == NULL && from->pieces[i].gap_bytes == 0) {
			break;
		}
		piece->len_bytes =
			file == NULL ? from->pieces[i].gap_bytes
				     : extent_len(file, from->pieces[i].index);
		block = realloc(block, to->len_bytes + piece->len_bytes);
		assert_non_null(block);
		if (file == NULL) {
			memset(block + to->len_bytes, 0, piece->len_bytes);
		} else {
			piece->file = file->id;
			piece->index = from->pieces[i].index;
			to->member = p->engine->number[file->member];
			memcpy(block + to->len_bytes,
			       file->bytes + (size_t)piece->index * file->grid,
			       piece->len_bytes);
		}
		to->len_bytes += piece->len_bytes;
		to->num_pieces++;
	}
	return block;
}

static void point_back(struct protected *p, uint64_t stripe,
		       const struct mrmr_slot *slot)
{
	uint32_t at = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];
		struct mrmr_extent extent;
		uint32_t got = 0;

		if (piece->file != 0) {
			must(mrmr_catalog_get_extents(p->engine->catalog,
						      piece->file, piece->index,
						      &extent, 1, &got));
			assert_int_equal(got, 1);
			extent.state = MRMR_EXTENT_IN_STRIPE;
			extent.stripe = stripe;
			extent.slot = slot->slot;
			extent.slot_offset = at;
			must(mrmr_catalog_put_extents(p->engine->catalog,
						      piece->file, piece->index,
						      &extent, 1));
		}
		at += piece->len_bytes;
	}
}

uint64_t protected_stripe(struct protected *p, const struct pslot *slots,
			  const struct prow *rows, size_t num_rows)
{
	struct mrmr_parity_input inputs[SLOTS_MAX] = {{0}};
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS] = {{0}};
	struct mrmr_slot made[SLOTS_MAX] = {{0}};
	struct mrmr_row row_records[MRMR_PARITY_ROWS] = {{0}};
	struct mrmr_stripe stripe = {.slots = made, .rows = row_records};
	uint32_t len = 0;
	size_t i;

	for (; slots->pieces[0].file != NULL || slots->pieces[0].gap_bytes != 0;
	     slots++) {
		struct mrmr_slot *slot = &made[stripe.num_slots];
		uint8_t *block = make_slot(p, slots, slot);

		inputs[stripe.num_slots++] =
			(struct mrmr_parity_input){slot->slot, block,
						   slot->len_bytes};
		len = slot->len_bytes > len ? slot->len_bytes : len;
	}
	for (i = 0; i < num_rows; i++) {
		outputs[i].place = mrmr_parity_row(rows[i].row);
		outputs[i].data = malloc(len);
	}
	must(mrmr_parity_encode(inputs, stripe.num_slots, outputs, num_rows,
				len));
	for (i = 0; i < num_rows; i++) {
		const struct mrmr_member *member =
			&p->w->pool->members[rows[i].member];
		struct mrmr_row *row = &row_records[stripe.num_rows++];

		row->row = (uint8_t)rows[i].row;
		row->member = p->engine->number[rows[i].member];
		row->len_bytes = len;
		mrmr_sha256(outputs[i].data, len, row->sha256);
		row->checksum = mrmr_checksum(outputs[i].data, len);
		must(mrmr_blob_write(member->private_fd, row->sha256,
				     outputs[i].data, len));
		free(outputs[i].data);
	}
	must(mrmr_catalog_begin(p->engine->catalog));
	must(mrmr_catalog_put_stripe(p->engine->catalog, &stripe, &stripe.id));
	for (i = 0; i < stripe.num_slots; i++) {
		point_back(p, stripe.id, &made[i]);
		talloc_free(made[i].pieces);
		free((void *)(uintptr_t)inputs[i].data);
	}
	commit(p);
	return stripe.id;
}

struct mrmr_stripe *protected_get_stripe(struct protected *p, uint64_t id)
{
	struct mrmr_stripe *stripe = NULL;

	must(mrmr_catalog_get_stripe(p->engine->catalog, p->engine, id,
				     &stripe));
	return stripe;
}

const char *protected_blob(struct protected *p,
			   const struct mrmr_stripe *stripe, size_t row)
{
	size_t member = mrmr_engine_member(p->engine, stripe->rows[row].member);
	char hex[65];
	char path[128];

	mrmr_hex_encode(stripe->rows[row].sha256, 32, hex);
	snprintf(path, sizeof(path), ".mrmr/parity/%.2s/%s.blob", hex, hex);
	return world_drive(p->w, member, path);
}

/* --- what happens to them ---------------------------------------------------- */

void protected_flip(const char *path, uint64_t offset, unsigned int bit)
{
	struct timespec times[2];
	struct stat st;
	uint8_t byte;
	int fd = open(path, O_RDWR);

	must(fd);
	must(fstat(fd, &st));
	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte ^= (uint8_t)(1u << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	must(futimens(fd, times));
	close(fd);
}

void protected_overwrite(struct protected *p, const struct pfile *file,
			 uint64_t offset, size_t len, unsigned int seed)
{
	uint8_t *bytes = protected_bytes(seed, len);
	struct mrmr_undo *undo = NULL;
	int fd = open(world_member(p->w, file->member, file->path), O_RDWR);

	must(fd);
	must(mrmr_undo_open(NULL, p->w->pool, fd, &undo));
	assert_non_null(undo);
	must(mrmr_undo_keep(undo, offset, len));
	assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), (ssize_t)len);
	talloc_free(undo);
	close(fd);
	free(bytes);
}
