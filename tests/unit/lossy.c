/*
 * Unit tests: a pool with one of everything on a member that will be lost (see
 * lossy.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/digest.h>
#include <mrmr/parity.h>
#include <mrmr/xattrs.h>

#include "lossy.h"

#define GRID 65536u
#define NS_PER_S INT64_C(1000000000)

#define must(call) assert_return_code(call, errno)

static struct mrmr_catalog *catalog(struct lossy *l)
{
	return l->p->engine->catalog;
}

static void commit(struct lossy *l)
{
	struct mrmr_error err = {0};

	if (mrmr_catalog_commit(catalog(l), &err) == -1) {
		fail_msg("%s", err.text);
	}
}

/* --- making things --------------------------------------------------------------- */

static struct thing *new_thing(struct lossy *l, const char *path)
{
	struct thing *thing = &l->things[l->num_things++];

	assert_true(l->num_things <= LOSSY_THINGS_MAX);
	snprintf(thing->path, sizeof(thing->path), "%s", path);
	return thing;
}

/* As the protector does: what the member has becomes what the catalogue has. */
static void take_attributes(struct lossy *l, struct thing *thing)
{
	const char *where =
		world_drive(l->p->w, LOSSY_LOST,
			    thing->in_trash ? ".mrmr/trash" : thing->path);
	struct mrmr_node *node = NULL;
	char path[1200];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s%s", where,
		 thing->in_trash ? "/" : "",
		 thing->in_trash ? thing->path : "");
	must(lstat(path, &st));
	thing->mode = st.st_mode;
	thing->uid = st.st_uid;
	thing->gid = st.st_gid;
	thing->device = st.st_rdev;
	thing->mtime = st.st_mtim;
	must(mrmr_xattrs_read_at(l, AT_FDCWD, path, &thing->xattrs,
				 &thing->xattrs_len));
	must(mrmr_catalog_get(catalog(l), l->p->engine, thing->id, &node));
	node->mode = st.st_mode;
	node->uid = st.st_uid;
	node->gid = st.st_gid;
	node->mtime_ns =
		(int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
	node->xattrs = thing->xattrs;
	node->xattrs_len = thing->xattrs_len;
	must(mrmr_catalog_begin(catalog(l)));
	must(mrmr_catalog_put(catalog(l), node, NULL));
	commit(l);
	talloc_free(node);
}

static struct pfile *add_file(struct lossy *l, const char *path,
			      unsigned int seed, size_t len)
{
	struct pfile *file =
		protected_file(l->p, LOSSY_LOST, path, seed, len, GRID);
	struct thing *thing = new_thing(l, path);

	thing->id = file->id;
	/* the file's own go with the pool */
	thing->bytes = talloc_memdup(l, file->bytes, len > 0 ? len : 1);
	thing->len = len;
	take_attributes(l, thing);
	return file;
}

static uint64_t directory_id(struct lossy *l, const char *path)
{
	struct mrmr_node *node = NULL;
	uint64_t id;

	must(mrmr_catalog_find_path(catalog(l), l->p->engine, path, &node));
	id = node->id;
	talloc_free(node);
	return id;
}

static void add_other(struct lossy *l, const char *dir, const char *name,
		      struct mrmr_node *node)
{
	char path[600];
	struct thing *thing = NULL;
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	thing = new_thing(l, path);
	must(lstat(world_drive(l->p->w, LOSSY_LOST, path), &st));
	node->dir_id = directory_id(l, dir);
	node->name = (char *)name;
	node->member = l->p->engine->number[LOSSY_LOST];
	node->inode = st.st_ino;
	node->mode = st.st_mode;
	if (node->target != NULL) {
		snprintf(thing->target, sizeof(thing->target), "%s",
			 node->target);
	}
	must(mrmr_catalog_begin(catalog(l)));
	must(mrmr_catalog_put(catalog(l), node, &thing->id));
	commit(l);
	take_attributes(l, thing);
}

static void set_attributes(struct lossy *l, const char *path)
{
	const struct timespec ts[2] = {{1000, 1}, {1234567890, 987654321}};
	const char *where = world_drive(l->p->w, LOSSY_LOST, path);

	must(setxattr(where, "trusted.stream.a", "stream", 6, 0));
	must(setxattr(where, "trusted.acl", "\0\1\2", 3, 0));
	must(lchown(where, 1234, 5678));
	must(chmod(where, 04751));
	must(utimensat(AT_FDCWD, where, ts, 0));
	take_attributes(l, lossy_thing(l, path));
}

static void add_link(struct lossy *l, const char *path, const char *dir,
		     const char *name)
{
	struct thing *thing = lossy_thing(l, path);

	snprintf(thing->link, sizeof(thing->link), "%s/%s", dir, name);
	must(link(world_drive(l->p->w, LOSSY_LOST, path),
		  world_drive(l->p->w, LOSSY_LOST, thing->link)));
	must(mrmr_catalog_begin(catalog(l)));
	must(mrmr_catalog_link(catalog(l), thing->id, directory_id(l, dir),
			       name));
	commit(l);
}

void lossy_delete(struct lossy *l, uint64_t id, const char *path,
		  const char *folder)
{
	struct mrmr_node *node = NULL;
	char name[700];

	mkdir(world_drive(l->p->w, LOSSY_LOST, ".mrmr/trash"), 0700);
	snprintf(name, sizeof(name), ".mrmr/trash/%s", folder);
	must(mkdir(world_drive(l->p->w, LOSSY_LOST, name), 0700));
	snprintf(name, sizeof(name), ".mrmr/trash/%s/deleted", folder);
	must(rename(world_drive(l->p->w, LOSSY_LOST, path),
		    world_drive(l->p->w, LOSSY_LOST, name)));
	must(mrmr_catalog_get(catalog(l), l->p->engine, id, &node));
	snprintf(name, sizeof(name), "%u/%s/deleted", node->member, folder);
	must(mrmr_catalog_begin(catalog(l)));
	must(mrmr_catalog_rename(catalog(l), node->dir_id, node->name,
				 MRMR_ID_TRASH, name));
	commit(l);
	talloc_free(node);
}

static void into_trash(struct lossy *l, const char *path)
{
	struct thing *thing = lossy_thing(l, path);

	lossy_delete(l, thing->id, path, "2026");
	thing->in_trash = true;
	snprintf(thing->path, sizeof(thing->path), "2026/deleted");
}

static void add_directory(struct lossy *l, const char *name)
{
	struct mrmr_node node = {
		.dir_id = MRMR_ID_ROOT,
		.name = (char *)name,
		.kind = MRMR_NODE_DIRECTORY,
		.member = MRMR_MEMBER_NONE,
		.mode = S_IFDIR | 0755,
	};

	must(mkdir(world_drive(l->p->w, LOSSY_LOST, name), 0755));
	must(mkdir(world_spine(l->p->w, name), 0755));
	must(mrmr_catalog_begin(catalog(l)));
	must(mrmr_catalog_put(catalog(l), &node, NULL));
	commit(l);
}

/* --- stripes ------------------------------------------------------------------------ */

void lossy_add_stripe(struct lossy *l, size_t num_rows,
		      const struct pfile *file, uint32_t index,
		      unsigned int seed)
{
	const struct prow rows[2] = {{0, 3}, {1, 5}};
	struct pslot slots[3] = {{0}};
	struct pfile *other = NULL;
	char path[64];

	snprintf(path, sizeof(path), "others/%u", seed);
	other = protected_file(l->p, 1, path, seed, GRID - seed, GRID);
	slots[0].slot = 2;
	slots[0].pieces[0].file = file;
	slots[0].pieces[0].index = index;
	slots[1].slot = 7;
	slots[1].pieces[0].file = other;
	protected_stripe(l->p, slots, rows, num_rows);
}

/* Several small ones in one slot, with a gap. */
static void add_packed_stripe(struct lossy *l, size_t num_rows,
			      struct pfile **files, size_t num)
{
	const struct prow rows[2] = {{0, 3}, {1, 5}};
	struct pslot slots[3] = {{0}};
	struct pfile *other =
		protected_file(l->p, 1, "others/packed", 77, 40000, GRID);
	size_t at = 0;
	size_t i;

	slots[0].slot = 0;
	for (i = 0; i < num; i++) {
		slots[0].pieces[at++].file = files[i];
		if (i == 0) {
			slots[0].pieces[at++].gap_bytes = 1000;
		}
	}
	slots[1].slot = 1;
	slots[1].pieces[0].file = other;
	protected_stripe(l->p, slots, rows, num_rows);
}

/* Whose parity is on the lost member. */
static void add_row_stripe(struct lossy *l)
{
	const struct prow rows[1] = {{0, LOSSY_LOST}};
	struct pslot slots[3] = {{0}};

	slots[0].slot = 0;
	slots[0].pieces[0].file =
		protected_file(l->p, 1, "others/r1", 81, GRID, GRID);
	slots[1].slot = 1;
	slots[1].pieces[0].file =
		protected_file(l->p, 2, "others/r2", 82, 30000, GRID);
	l->row_stripe = protected_stripe(l->p, slots, rows, 1);
}

static void fill(struct lossy *l, size_t num_rows)
{
	char odd[256];
	char path[600];
	struct pfile *packed[4] = {NULL};
	struct pfile *large = NULL;
	size_t i;

	large = add_file(l, "films/large", 1, 3 * GRID + 777);
	for (i = 0; i < 4; i++) {
		lossy_add_stripe(l, num_rows, large, (uint32_t)i,
				 (unsigned int)(100 + i));
	}
	set_attributes(l, "films/large");
	add_link(l, "films/large", "films", "same");

	packed[0] = add_file(l, "small/a", 11, 5000);
	packed[1] = add_file(l, "small/deep/er/b", 12, 1);
	memset(odd, 'x', 249);
	odd[249] = '\0';
	memcpy(odd, "\n \xff\"*?", 6);
	snprintf(path, sizeof(path), "small/%s", odd);
	packed[2] = add_file(l, path, 13, 12345);
	packed[3] = add_file(l, "small/going", 14, 7000);
	add_packed_stripe(l, num_rows, packed, 4);
	set_attributes(l, "small/a");
	into_trash(l, "small/going");

	add_file(l, "small/zeros", 0, 2 * GRID + 5);
	add_file(l, "small/empty", 0, 0);
	must(symlink("../some where",
		     world_drive(l->p->w, LOSSY_LOST, "small/symlink")));
	add_other(l, "small", "symlink",
		  &(struct mrmr_node){.kind = MRMR_NODE_SYMLINK,
				      .target = (char *)"../some where"});
	must(mkfifo(world_drive(l->p->w, LOSSY_LOST, "small/fifo"), 0640));
	add_other(l, "small", "fifo",
		  &(struct mrmr_node){.kind = MRMR_NODE_SPECIAL});
	add_directory(l, "lonely");
	add_row_stripe(l);
}

struct lossy *lossy_new(size_t num_rows, const struct world_shape *shape)
{
	const struct world_shape usual = {.num_members = 6, .parity = "1"};
	struct lossy *l = talloc_zero(NULL, struct lossy);

	assert_non_null(l);
	l->p = protected_new(shape != NULL ? shape : &usual);
	fill(l, num_rows);
	return l;
}

void lossy_free(struct lossy *l)
{
	protected_free(l->p);
	talloc_free(l);
}

void lossy_close(struct lossy *l)
{
	TALLOC_FREE(l->p->engine);
	world_close(l->p->w);
}

static void open_engine(struct lossy *l)
{
	struct mrmr_error err = {0};

	l->p->engine =
		mrmr_engine_open(NULL, l->p->w->pool, MRMR_ENGINE_WRITE, &err);
	if (l->p->engine == NULL) {
		fail_msg("%s", err.text);
	}
}

void lossy_open(struct lossy *l)
{
	world_open(l->p->w);
	open_engine(l);
}

void lossy_open_in_child(struct lossy *l)
{
	world_open_in_child(l->p->w);
	open_engine(l);
}

void lossy_lose(struct lossy *l)
{
	static const char *const dirs[] = {"films", "small", "small/deep"};
	size_t i;

	/* clients have seen it all */
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (world_there(world_drive(l->p->w, LOSSY_LOST, dirs[i]))) {
			do_list(l->p->w, dirs[i]);
		}
	}
	lossy_close(l);
	world_unplug(l->p->w, LOSSY_LOST);
	lossy_open(l);
}

struct thing *lossy_thing(struct lossy *l, const char *path)
{
	size_t i;

	for (i = 0; i < l->num_things; i++) {
		if (strcmp(l->things[i].path, path) == 0) {
			return &l->things[i];
		}
	}
	fail_msg("there is no %s", path);
	return NULL;
}

/* --- comparing ------------------------------------------------------------------------ */

/* The full path of the thing on the member that the catalogue has it on. */
static const char *where_is(struct lossy *l, const struct thing *thing,
			    const char *name, const struct mrmr_node *node)
{
	size_t member = mrmr_engine_member(l->p->engine, node->member);
	char path[1200];

	if (member == SIZE_MAX) {
		return NULL;
	}
	snprintf(path, sizeof(path), "%s%s",
		 thing->in_trash ? ".mrmr/trash/" : "", name);
	return world_drive(l->p->w, member, path);
}

static const char *compare_bytes(const struct thing *thing, const char *path)
{
	uint8_t *bytes = malloc(thing->len + 1);
	int fd = open(path, O_RDONLY);
	ssize_t got;
	bool same;

	assert_non_null(bytes);
	must(fd);
	got = read(fd, bytes, thing->len + 1);
	close(fd);
	same = got == (ssize_t)thing->len &&
	       memcmp(bytes, thing->bytes, thing->len) == 0;
	free(bytes);
	return same ? "" : "its bytes";
}

static const char *compare_attributes(struct lossy *l,
				      const struct thing *thing,
				      const char *path)
{
	uint8_t *xattrs = NULL;
	char target[100] = "";
	size_t len = 0;
	struct stat st;

	must(lstat(path, &st));
	if (st.st_mode != thing->mode || st.st_rdev != thing->device) {
		return "its mode";
	}
	if (st.st_uid != thing->uid || st.st_gid != thing->gid) {
		return "its owner";
	}
	if (st.st_mtim.tv_sec != thing->mtime.tv_sec ||
	    st.st_mtim.tv_nsec != thing->mtime.tv_nsec) {
		return "its mtime";
	}
	must(mrmr_xattrs_read_at(l->p->engine, AT_FDCWD, path, &xattrs, &len));
	if (len != thing->xattrs_len ||
	    (len > 0 && memcmp(xattrs, thing->xattrs, len) != 0)) {
		return "its xattrs";
	}
	if (S_ISLNK(st.st_mode) &&
	    (readlink(path, target, sizeof(target) - 1) == -1 ||
	     strcmp(target, thing->target) != 0)) {
		return "its target";
	}
	return S_ISREG(st.st_mode) ? compare_bytes(thing, path) : "";
}

static const char *compare_names(struct lossy *l, const struct thing *thing,
				 const char *path, const struct mrmr_node *node)
{
	char trash_name[700];
	struct stat st;
	struct stat other;
	size_t member;

	must(lstat(path, &st));
	if (st.st_ino != node->inode) {
		return "the inode in the catalogue";
	}
	if (thing->in_trash) {
		snprintf(trash_name, sizeof(trash_name), "%u/%s", node->member,
			 thing->path);
		return strcmp(node->name, trash_name) == 0
			       ? ""
			       : "its name in the trash";
	}
	if (do_stat(l->p->w, thing->path, &member, &other) != 0 ||
	    other.st_ino != st.st_ino || other.st_dev != st.st_dev) {
		/* the drive's mount and the member's are one file system */
		return "what the share shows";
	}
	if (thing->link[0] != '\0' &&
	    (do_stat(l->p->w, thing->link, &member, &other) != 0 ||
	     other.st_ino != st.st_ino || other.st_nlink != 2)) {
		return "its further name";
	}
	return "";
}

const char *lossy_compare(struct lossy *l, const struct thing *thing)
{
	struct mrmr_node *node = NULL;
	const char *what = NULL;
	char path[1200];

	must(mrmr_catalog_get(catalog(l), l->p->engine, thing->id, &node));
	if (where_is(l, thing, thing->path, node) == NULL) {
		return "its member";
	}
	snprintf(path, sizeof(path), "%s",
		 where_is(l, thing, thing->path, node));
	if (!world_there(path)) {
		talloc_free(node);
		return "that it is there";
	}
	if (node->member == l->p->engine->number[LOSSY_LOST]) {
		talloc_free(node);
		return "its member in the catalogue";
	}
	what = compare_names(l, thing, path, node);
	if (what[0] == '\0') {
		what = compare_attributes(l, thing, path);
	}
	talloc_free(node);
	return what;
}

void lossy_check_things(struct lossy *l)
{
	size_t i;

	for (i = 0; i < l->num_things; i++) {
		const struct thing *thing = &l->things[i];
		const char *what = lossy_compare(l, thing);

		if (what[0] != '\0') {
			fail_msg("%s: %s differs", thing->path, what);
		}
		/* the lost drive has it still */
		if (!thing->in_trash) {
			assert_int_equal(strlen(world_where(l->p->w,
							    thing->path)),
					 2);
		}
	}
}

/* --- the catalogue ---------------------------------------------------------------------- */

static void check_unit(struct lossy *l, uint16_t number, bool *seen)
{
	size_t member = mrmr_engine_member(l->p->engine, number);

	assert_true(member != SIZE_MAX);
	assert_false(seen[l->p->w->pool->units.unit[member]]);
	seen[l->p->w->pool->units.unit[member]] = true;
}

/* The bytes of a slot, from the files themselves. */
static uint8_t *read_slot(struct lossy *l, const struct mrmr_stripe *stripe,
			  const struct mrmr_slot *slot)
{
	uint8_t *block = calloc(1, slot->len_bytes + 1);
	uint32_t at = 0;
	uint32_t i;

	assert_non_null(block);
	for (i = 0; i < slot->num_pieces; i++) {
		const struct mrmr_piece *piece = &slot->pieces[i];
		struct mrmr_node *node = NULL;
		struct mrmr_extent extent;
		bool in_trash = false;
		uint8_t sha256[32];
		uint32_t got = 0;
		char *path = NULL;
		char full[1200];
		int fd;

		if (piece->file == MRMR_ID_NONE) {
			at += piece->len_bytes;
			continue;
		}
		must(mrmr_catalog_get(catalog(l), l->p->engine, piece->file,
				      &node));
		must(mrmr_catalog_get_extents(catalog(l), node->id,
					      piece->index, &extent, 1, &got));
		assert_int_equal(got, 1);
		assert_int_equal(extent.state, MRMR_EXTENT_IN_STRIPE);
		assert_int_equal(extent.stripe, stripe->id);
		assert_int_equal(extent.slot, slot->slot);
		assert_int_equal(extent.slot_offset, at);
		assert_int_equal(node->member, slot->member);
		path = mrmr_catalog_path(catalog(l), node, node->id, &in_trash);
		assert_non_null(path);
		snprintf(full, sizeof(full), "%s%s",
			 in_trash ? ".mrmr/trash/" : "", path);
		fd = open(world_drive(l->p->w,
				      mrmr_engine_member(l->p->engine,
							 node->member),
				      full),
			  O_RDONLY);
		must(fd);
		assert_int_equal(pread(fd, block + at, piece->len_bytes,
				       (off_t)piece->index * node->grid_bytes),
				 piece->len_bytes);
		close(fd);
		mrmr_sha256(block + at, piece->len_bytes, sha256);
		assert_memory_equal(sha256, extent.sha256, 32);
		at += piece->len_bytes;
		talloc_free(node);
	}
	assert_int_equal(at, slot->len_bytes);
	return block;
}

static void check_row(struct lossy *l, const struct mrmr_stripe *stripe,
		      size_t row, const uint8_t *data)
{
	uint32_t len = stripe->rows[row].len_bytes;
	uint8_t *blob = malloc(len + 1);
	int fd = open(protected_blob(l->p, stripe, row), O_RDONLY);

	must(fd);
	assert_non_null(blob);
	assert_int_equal(read(fd, blob, len + 1), len);
	assert_memory_equal(blob, data, len);
	close(fd);
	free(blob);
}

static void check_stripe(struct lossy *l, const struct mrmr_stripe *stripe)
{
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS] = {{0}};
	struct mrmr_parity_input inputs[16] = {{0}};
	bool seen[MRMR_MEMBERS_MAX] = {false};
	uint32_t len = 0;
	uint32_t i;

	assert_true(stripe->num_slots <= 16);
	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		check_unit(l, slot->member, seen);
		inputs[i].place = slot->slot;
		inputs[i].data = read_slot(l, stripe, slot);
		inputs[i].len_bytes = slot->len_bytes;
		len = slot->len_bytes > len ? slot->len_bytes : len;
	}
	assert_true(stripe->num_rows > 0);
	for (i = 0; i < stripe->num_rows; i++) {
		check_unit(l, stripe->rows[i].member, seen);
		assert_int_equal(stripe->rows[i].len_bytes, len);
		outputs[i].place = mrmr_parity_row(stripe->rows[i].row);
		outputs[i].data = malloc(len);
	}
	must(mrmr_parity_encode(inputs, stripe->num_slots, outputs,
				stripe->num_rows, len));
	for (i = 0; i < stripe->num_rows; i++) {
		check_row(l, stripe, i, outputs[i].data);
		free(outputs[i].data);
	}
	for (i = 0; i < stripe->num_slots; i++) {
		free((void *)(uintptr_t)inputs[i].data);
	}
}

void lossy_check_stripes(struct lossy *l)
{
	struct mrmr_stripe *stripe = NULL;
	struct mrmr_error err = {0};
	uint64_t id = 0;

	if (mrmr_catalog_check(catalog(l), &err) == -1) {
		fail_msg("%s", err.text);
	}
	while (mrmr_catalog_next_stripe(catalog(l), l->p->engine, id,
					&stripe) == 0) {
		id = stripe->id;
		check_stripe(l, stripe);
		TALLOC_FREE(stripe);
	}
	assert_int_equal(errno, ENOENT);
}

void lossy_check_clean(struct lossy *l)
{
	size_t i;

	for (i = 0; i < l->p->w->shape.num_members; i++) {
		DIR *dir = NULL;

		if (i == LOSSY_LOST) {
			continue;
		}
		dir = opendir(world_drive(l->p->w, i, ".mrmr/rebuild"));
		while (dir != NULL) {
			struct dirent *entry = readdir(dir);

			if (entry == NULL) {
				closedir(dir);
				break;
			}
			if (entry->d_name[0] != '.') {
				fail_msg("member %zu: left over %s", i,
					 entry->d_name);
			}
		}
	}
}

/* --- what is pending ------------------------------------------------------------ */

/* As source/protect/protector_pages.c says. */
void lossy_set_pending(struct mrmr_catalog *catalog, const uint64_t *ids,
		       size_t num)
{
	const uint64_t head[3] = {htole64(num), 0, htole64(1)};
	uint8_t map[4096] = {0};
	size_t i = 0;

	while (i < num) {
		const uint64_t page = ids[i] / 256;
		uint8_t places[256 * 12] = {0};
		char name[48];
		size_t len;

		assert_in_range(page, 0, sizeof(map) * 8 - 1);
		map[page / 8] |= (uint8_t)(1 << page % 8);
		for (len = 0; i < num && ids[i] / 256 == page; i++, len += 12) {
			places[len] = (uint8_t)(ids[i] % 256);
		}
		snprintf(name, sizeof(name), "pending/page.%llx",
			 (unsigned long long)page);
		assert_return_code(mrmr_catalog_put_note(catalog, name, places,
							 len),
				   errno);
	}
	assert_return_code(mrmr_catalog_put_note(catalog, "pending/map.0", map,
						 sizeof(map)),
			   errno);
	assert_return_code(mrmr_catalog_put_note(catalog, "pending/head",
						 (const uint8_t *)head,
						 sizeof(head)),
			   errno);
}
