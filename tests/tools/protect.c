/*
 * Protects what lies on a pool's members, for tests and benchmarks of what comes
 * after: nothing is shared with the protector but the catalogue and the parity
 * code. Only for a pool that nobody uses, and of which nothing is protected yet.
 *
 *   protect CONFIG ROWS
 *
 * Files are cut at the pool's block size, small ones are packed. Each stripe gets
 * a block of every member that has one left, but for ROWS of them, which take
 * its parity, in turns.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/digest.h>
#include <mrmr/engine.h>
#include <mrmr/parity.h>

#define MEMBERS_MAX 32
#define COMMIT_EVERY 256

struct piece {
	uint64_t file;
	uint32_t index;
	uint32_t len;
	char *path; /* full */
	uint64_t offset;
};

struct block {
	struct piece *pieces;
	size_t num;
	uint32_t len;
};

struct queue {
	struct block *blocks;
	size_t num;
	size_t next;
	bool is_open; /* the last one takes more */
};

static struct mrmr_engine *engine;
static struct mrmr_pool *pool;
static uint32_t grid;
static struct queue queues[MEMBERS_MAX];
static unsigned int changes;

static void die(const char *what)
{
	fprintf(stderr, "protect: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void must(int ret, const char *what)
{
	if (ret == -1) {
		die(what);
	}
}

static void *need(void *pointer)
{
	if (pointer == NULL) {
		die("memory");
	}
	return pointer;
}

static void commit(bool again)
{
	struct mrmr_error err = {0};
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		must(syncfs(pool->members[i].root_fd), "syncfs");
	}
	if (mrmr_catalog_commit(engine->catalog, &err) == -1) {
		fprintf(stderr, "protect: %s\n", err.text);
		exit(1);
	}
	changes = 0;
	if (again) {
		must(mrmr_catalog_begin(engine->catalog), "begin");
	}
}

static void count_change(void)
{
	if (++changes >= COMMIT_EVERY) {
		commit(true);
	}
}

static void read_at(const char *path, uint64_t offset, uint8_t *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd, path);
	if (pread(fd, buf, len, (off_t)offset) != (ssize_t)len) {
		die(path);
	}
	close(fd);
}

/* --- files ------------------------------------------------------------------- */

static uint64_t find_directory(const char *path, const char **name)
{
	uint64_t dir = MRMR_ID_ROOT;
	const char *slash = NULL;

	for (; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
		struct mrmr_node node = {
			.dir_id = dir,
			.name = need(strndup(path, (size_t)(slash - path))),
			.kind = MRMR_NODE_DIRECTORY,
			.member = MRMR_MEMBER_NONE,
			.mode = S_IFDIR | 0755,
		};
		struct mrmr_node *found = NULL;

		if (mrmr_catalog_find(engine->catalog, engine, dir, node.name,
				      &found) == 0) {
			dir = found->id;
			talloc_free(found);
		} else {
			must(mrmr_catalog_put(engine->catalog, &node, &dir),
			     path);
		}
		free(node.name);
	}
	*name = path;
	return dir;
}

static void add_piece(size_t member, const struct piece *piece)
{
	struct queue *queue = &queues[member];
	struct block *block = NULL;

	if (!queue->is_open ||
	    queue->blocks[queue->num - 1].len + piece->len > grid) {
		queue->blocks = need(
			realloc(queue->blocks,
				(queue->num + 1) * sizeof(*queue->blocks)));
		queue->blocks[queue->num++] = (struct block){0};
	}
	block = &queue->blocks[queue->num - 1];
	block->pieces =
		need(realloc(block->pieces, (block->num + 1) * sizeof(*piece)));
	block->pieces[block->num++] = *piece;
	block->len += piece->len;
	queue->is_open = piece->len < grid;
}

static void add_extents(size_t member, uint64_t id, const char *path,
			uint64_t size)
{
	static uint8_t *buf;
	char *kept = NULL; /* by the pieces, for good */
	uint64_t at;

	if (size == 0) {
		return;
	}
	kept = need(strdup(path));
	buf = buf != NULL ? buf : need(malloc(grid));
	for (at = 0; at < size; at += grid) {
		struct mrmr_extent extent = {.state = MRMR_EXTENT_BARE};
		struct piece piece = {
			.file = id,
			.index = (uint32_t)(at / grid),
			.len = size - at < grid ? (uint32_t)(size - at) : grid,
			.path = kept,
			.offset = at,
		};

		read_at(path, at, buf, piece.len);
		extent.len_bytes = piece.len;
		mrmr_sha256(buf, piece.len, extent.sha256);
		extent.checksum = mrmr_checksum(buf, piece.len);
		must(mrmr_catalog_put_extents(engine->catalog, id, piece.index,
					      &extent, 1),
		     path);
		add_piece(member, &piece);
	}
}

static void add_file(size_t member, const char *full, const char *path,
		     const struct stat *st)
{
	struct mrmr_node node = {
		.kind = MRMR_NODE_FILE,
		.member = engine->number[member],
		.inode = st->st_ino,
		.size_bytes = (uint64_t)st->st_size,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 +
			    st->st_mtim.tv_nsec,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.grid_bytes = grid,
	};
	const char *name = NULL;
	uint64_t id = 0;

	node.dir_id = find_directory(path, &name);
	node.name = need(strdup(name));
	must(mrmr_guard_declare(engine->guard,
				&pool->members[member].config->id, st->st_ino,
				&node.generation),
	     "guard");
	must(mrmr_catalog_put(engine->catalog, &node, &id), path);
	free(node.name);
	add_extents(member, id, full, node.size_bytes);
	count_change();
}

static void add_member(size_t member)
{
	char *roots[] = {pool->members[member].config->mount_point, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *entry = NULL;

	need(fts);
	while ((entry = fts_read(fts)) != NULL) {
		if (entry->fts_info == FTS_D && entry->fts_level == 1 &&
		    strcmp(entry->fts_name, ".mrmr") == 0) {
			fts_set(fts, entry, FTS_SKIP);
		} else if (entry->fts_info == FTS_F) {
			add_file(member, entry->fts_path,
				 entry->fts_path + strlen(roots[0]) + 1,
				 entry->fts_statp);
		}
	}
	fts_close(fts);
}

/* --- stripes ----------------------------------------------------------------- */

/* Those with the fewest blocks left, of equal ones each in its turn. */
static void choose_rows(unsigned int rows, unsigned int turn, bool *is_row)
{
	unsigned int i;
	size_t j;

	memset(is_row, 0, MEMBERS_MAX);
	for (i = 0; i < rows; i++) {
		size_t best = SIZE_MAX;
		size_t fewest = SIZE_MAX;

		for (j = 0; j < pool->num_members; j++) {
			size_t k = (j + turn) % pool->num_members;
			size_t left = queues[k].num - queues[k].next;

			if (!is_row[k] && left < fewest) {
				best = k;
				fewest = left;
			}
		}
		is_row[best] = true;
	}
}

static void fill_slot(struct mrmr_slot *slot, const struct block *block,
		      uint8_t *data)
{
	uint32_t at = 0;
	size_t i;

	slot->pieces = need(calloc(block->num, sizeof(*slot->pieces)));
	slot->num_pieces = (uint32_t)block->num;
	slot->len_bytes = block->len;
	for (i = 0; i < block->num; i++) {
		const struct piece *piece = &block->pieces[i];

		slot->pieces[i] = (struct mrmr_piece){piece->file, piece->index,
						      piece->len};
		read_at(piece->path, piece->offset, data + at, piece->len);
		at += piece->len;
	}
}

static void point_back(uint64_t stripe, const struct mrmr_slot *slot)
{
	uint32_t at = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];
		struct mrmr_extent extent;
		uint32_t got = 0;

		must(mrmr_catalog_get_extents(engine->catalog, piece->file,
					      piece->index, &extent, 1, &got),
		     "extent");
		extent.state = MRMR_EXTENT_IN_STRIPE;
		extent.stripe = stripe;
		extent.slot = slot->slot;
		extent.slot_offset = at;
		at += piece->len_bytes;
		must(mrmr_catalog_put_extents(engine->catalog, piece->file,
					      piece->index, &extent, 1),
		     "extent");
		count_change();
	}
}

static void put_row(struct mrmr_row *row, size_t member, const uint8_t *data,
		    uint32_t len)
{
	row->member = engine->number[member];
	row->len_bytes = len;
	mrmr_sha256(data, len, row->sha256);
	row->checksum = mrmr_checksum(data, len);
	must(mrmr_blob_write(pool->members[member].private_fd, row->sha256,
			     data, len),
	     "blob");
}

/* False: nothing was left. */
static bool make_stripe(unsigned int num_rows, unsigned int turn)
{
	static uint8_t *buffers[MEMBERS_MAX];
	struct mrmr_parity_input inputs[MEMBERS_MAX];
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS];
	struct mrmr_slot slots[MEMBERS_MAX] = {{0}};
	struct mrmr_row rows[MRMR_PARITY_ROWS] = {{0}};
	struct mrmr_stripe stripe = {.slots = slots, .rows = rows};
	size_t row_member[MRMR_PARITY_ROWS];
	bool is_row[MEMBERS_MAX];
	uint32_t len = 0;
	uint32_t i;

	choose_rows(num_rows, turn, is_row);
	for (i = 0; i < pool->num_members; i++) {
		struct queue *queue = &queues[i];
		struct mrmr_slot *slot = &slots[stripe.num_slots];

		if (buffers[i] == NULL) {
			buffers[i] = need(malloc(grid));
		}
		if (is_row[i]) {
			outputs[stripe.num_rows] = (struct mrmr_parity_output){
				mrmr_parity_row(stripe.num_rows), buffers[i]};
			rows[stripe.num_rows].row = (uint8_t)stripe.num_rows;
			row_member[stripe.num_rows++] = i;
		} else if (queue->next < queue->num) {
			slot->slot = (uint8_t)i;
			slot->member = engine->number[i];
			fill_slot(slot, &queue->blocks[queue->next++],
				  buffers[i]);
			inputs[stripe.num_slots++] =
				(struct mrmr_parity_input){i, buffers[i],
							   slot->len_bytes};
			len = slot->len_bytes > len ? slot->len_bytes : len;
		}
	}
	if (stripe.num_slots == 0) {
		return false;
	}
	must(mrmr_parity_encode(inputs, stripe.num_slots, outputs, num_rows,
				len),
	     "encode");
	for (i = 0; i < num_rows; i++) {
		put_row(&rows[i], row_member[i], outputs[i].data, len);
	}
	must(mrmr_catalog_put_stripe(engine->catalog, &stripe, &stripe.id),
	     "stripe");
	for (i = 0; i < stripe.num_slots; i++) {
		point_back(stripe.id, &slots[i]);
		free(slots[i].pieces);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct mrmr_config *config = NULL;
	struct mrmr_error err = {0};
	unsigned int rows = argc == 3 ? (unsigned int)atoi(argv[2]) : 0;
	unsigned int turn = 0;
	size_t i;

	if (rows == 0 || rows > MRMR_PARITY_ROWS) {
		fputs("usage: protect CONFIG ROWS\n", stderr);
		return 64;
	}
	config = mrmr_config_load(NULL, argv[1], &err);
	pool = config != NULL ? mrmr_pool_open(NULL, config, NULL, &err) : NULL;
	engine = pool != NULL
			 ? mrmr_engine_open(NULL, pool, MRMR_ENGINE_WRITE, &err)
			 : NULL;
	if (engine == NULL || pool->num_members <= rows ||
	    pool->num_members > MEMBERS_MAX) {
		fprintf(stderr, "protect: %s\n",
			err.code != 0 ? err.text : "not so many members");
		return 1;
	}
	grid = config->block_size_bytes;
	must(mrmr_catalog_begin(engine->catalog), "begin");
	for (i = 0; i < pool->num_members; i++) {
		add_member(i);
	}
	while (make_stripe(rows, turn++)) {
	}
	commit(false);
	talloc_free(engine);
	talloc_free(pool);
	return 0;
}
