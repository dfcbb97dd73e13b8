/*
 * Unit tests: clients, the protector, and proof of what it has done (see
 * protecting.h).
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/blob.h>
#include <mrmr/decode.h>
#include <mrmr/hex.h>
#include <mrmr/move.h>
#include <mrmr/protection.h>
#include <mrmr/rebuild.h>
#include <mrmr/serve.h>
#include <mrmr/undo.h>

#include "killed.h"
#include "protecting.h"

/* --- what clients do ---------------------------------------------------------- */

uint8_t *seeded(unsigned int seed, size_t len)
{
	uint8_t *bytes = malloc(len + 1);
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	size_t i;

	assert_non_null(bytes);
	for (i = 0; i < len; i++) {
		state = state * UINT64_C(6364136223846793005) +
			UINT64_C(1442695040888963407);
		bytes[i] = (uint8_t)(state >> 56);
	}
	return bytes;
}

void client_tell(struct world *w, const char *path, enum mrmr_event_kind kind)
{
	struct stat st;
	size_t member;

	assert_int_equal(do_stat(w, path, &member, &st), 0);
	if (member == MRMR_IN_SPINE) {
		mrmr_tell(w->pool, kind, MRMR_NO_MEMBER, 0, path, NULL);
	} else {
		mrmr_tell(w->pool, kind, member,
			  mrmr_inode_to_tell(w->pool, member, &st), path, NULL);
	}
}

static void write_as_client(struct world *w, int fd, unsigned int seed,
			    size_t len, off_t offset, bool cut)
{
	uint8_t *bytes = seeded(seed, len);
	struct mrmr_undo *undo = NULL;
	bool lost = false;

	assert_return_code(fd, errno);
	assert_return_code(mrmr_undo_open(NULL, w->pool, fd, &undo), errno);
	if (undo != NULL) {
		assert_return_code(mrmr_undo_keep(undo, (uint64_t)offset, len),
				   errno);
		if (cut) {
			assert_return_code(mrmr_undo_keep_cut(undo,
							      (uint64_t)offset +
								      len,
							      &lost),
					   errno);
		}
	}
	assert_int_equal(pwrite(fd, bytes, len, offset), (ssize_t)len);
	if (cut) {
		assert_return_code(ftruncate(fd, offset + (off_t)len), errno);
	}
	talloc_free(undo);
	close(fd);
	free(bytes);
}

void client_write(struct world *w, const char *path, unsigned int seed,
		  size_t len)
{
	int fd = do_open(w, path, O_RDWR);

	if (fd == -1) {
		assert_int_equal(do_create(w, path, ""), 0);
		fd = do_open(w, path, O_RDWR);
	}
	write_as_client(w, fd, seed, len, 0, true);
	client_tell(w, path, MRMR_EVENT_CHANGED);
}

void client_write_on(struct world *w, size_t member, const char *path,
		     unsigned int seed, size_t len)
{
	if (do_where(w, path) == SIZE_MAX) {
		world_write(world_member(w, member, path), "");
		mrmr_dir_cache_clear(w->pool);
	}
	assert_int_equal(do_where(w, path), member);
	client_write(w, path, seed, len);
}

void client_overwrite(struct world *w, const char *path, unsigned int seed,
		      size_t len, off_t offset)
{
	write_as_client(w, do_open(w, path, O_RDWR), seed, len, offset, false);
	client_tell(w, path, MRMR_EVENT_CHANGED);
}

ssize_t client_read_served(void *buf, size_t len, uint64_t offset,
			   void *private_data)
{
	struct mrmr_error err = {0};

	return mrmr_served_prepare(private_data, offset, len, &err) == 0
		       ? mrmr_served_read(private_data, buf, len, offset)
		       : -1;
}

void lose_events(struct world *w)
{
	assert_return_code(truncate(world_path(w, "state/queue/log"), 0),
			   errno);
	mrmr_tell(w->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
}

void serve(struct world *w)
{
	assert_int_equal(mrmr_serve_start(w->pool, NULL), 0);
	world_use(w);
}

void stop_serving(struct world *w)
{
	mrmr_serve_stop(w->pool);
	mrmr_dir_cache_clear(w->pool);
}

size_t client_make_anew(struct world *w, const char *dir, const char *name)
{
	struct mrmr_move_source source = {.read = client_read_served};
	struct mrmr_move *move = NULL;
	struct mrmr_ghost ghost;
	struct mrmr_error err = {0};
	size_t member = SIZE_MAX;
	char path[256];
	int new_fd = -1;
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", dir, dir[0] != '\0' ? "/" : "",
		 name);
	fd = do_open(w, path, O_RDONLY);
	assert_return_code(fd, errno);
	assert_return_code(mrmr_ghost_read(fd, &ghost), errno);
	source.private_data = mrmr_served_get(w->pool, &ghost, &err);
	assert_non_null(source.private_data);
	move = mrmr_move_begin_ghost(NULL, do_dir(w, dir), name, fd, &source);
	assert_non_null(move);
	assert_return_code(mrmr_move_copy(move), errno);
	assert_return_code(mrmr_move_finish(move, &new_fd, &member), errno);
	mrmr_served_put(source.private_data);
	talloc_free(move);
	close(new_fd);
	close(fd);
	return member;
}

/* --- the protector ---------------------------------------------------------------- */

struct mrmr_engine *open_engine(struct world *w, enum mrmr_engine_mode mode)
{
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};

	mrmr_pool_look(w->pool);
	engine = mrmr_engine_open(NULL, w->pool, mode, &err);
	if (engine == NULL) {
		fail_msg("%s", err.text);
	}
	return engine;
}

uint64_t protect_batch_bytes;
uint32_t protect_window_files;

int try_protect(struct world *w, struct mrmr_protect_result *result)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.batch_bytes = protect_batch_bytes,
		.window_files = protect_window_files,
	};
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	int ret = -1;

	*result = (struct mrmr_protect_result){0};
	mrmr_pool_look(w->pool);
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, &err);
	if (engine != NULL) {
		ret = mrmr_protect(engine, &options, result, &err);
	}
	if (ret == -1) {
		print_message("protect: %s\n", err.text);
	}
	talloc_free(engine);
	return ret;
}

struct mrmr_protect_result protect(struct world *w)
{
	struct mrmr_protect_result result;

	assert_int_equal(try_protect(w, &result), 0);
	return result;
}

struct mrmr_protect_result protect_and_scan(struct world *w)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.scan = true,
		.window_files = protect_window_files,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
	return result;
}

void protect_names(struct world *w)
{
	const struct mrmr_protect_options options = {.names_only = true};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
}

static void protect_in_child(struct world *w, void *private_data)
{
	struct mrmr_protect_result result;

	(void)private_data;
	try_protect(w, &result);
}

void protect_in_background(struct world *w)
{
	pid_t pid = fork();
	int status = 0;

	assert_return_code(pid, errno);
	if (pid == 0) {
		const struct mrmr_protect_options options = {
			.background = true,
			.settle_ns = 1,
		};
		struct mrmr_protect_result result;
		struct mrmr_engine *engine = NULL;
		int ret = -1;

		world_open_in_child(w);
		engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE,
					  NULL);
		if (engine != NULL) {
			ret = mrmr_protect(engine, &options, &result, NULL);
		}
		_exit(ret == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

bool protect_killed(struct world *w, const char *fault)
{
	return killed_at(w, fault, protect_in_child, NULL);
}

void protect_disturbed(struct world *w, const char *fault, bool is_kill)
{
	struct mrmr_protect_result result;

	if (is_kill) {
		if (!protect_killed(w, fault)) {
			fail_msg("%s: was not killed", fault);
		}
		world_close(w);
		world_open(w);
		return;
	}
	setenv("MRMR_FAULT", fault, 1);
	try_protect(w, &result);
	unsetenv("MRMR_FAULT");
}

struct mrmr_purge_result purge_trash(struct world *w)
{
	const struct mrmr_purge_options options = {.progress = NULL};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_trashed *items = NULL;
	struct mrmr_purge_result result;
	struct mrmr_error err = {0};
	size_t num = 0;

	if (mrmr_trash_list(engine, w->pool, &items, &num, &err) == -1 ||
	    mrmr_trash_purge(w->pool, engine, items, num, &options, &result,
			     &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
	return result;
}

static void tell_of_rebuild(enum mrmr_rebuild_trouble kind, const char *path,
			    uint64_t size_bytes, const char *why,
			    void *private_data)
{
	fail_msg("%s: %s", path, why);
}

bool rebuild_lost(struct world *w, size_t lost, bool may_tell)
{
	const struct mrmr_rebuild_options options = {
		.lost = lost,
		.onto = MRMR_REBUILD_SPREAD,
		.trouble = may_tell ? NULL : tell_of_rebuild,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (mrmr_rebuild(engine, &options, &result, &err) == -1) {
		print_message("rebuild: %s\n", err.text);
		talloc_free(engine);
		return false;
	}
	assert_true(result.is_complete);
	talloc_free(engine);
	return true;
}

/* --- proof -------------------------------------------------------------------------- */

static void hide(struct world *w, unsigned int members)
{
	size_t i;

	for (i = 0; i < w->pool->num_members; i++) {
		w->pool->members[i].state = (members >> i & 1) != 0
						    ? MRMR_MEMBER_AWAY
						    : MRMR_MEMBER_ONLINE;
	}
}

static void read_back(struct mrmr_engine *engine, const struct mrmr_node *node,
		      const uint8_t *bytes, size_t len, const char *path,
		      unsigned int away)
{
	struct mrmr_reader *reader = NULL;
	struct mrmr_error err = {0};
	uint8_t *got = malloc(len + 1);
	size_t done = 0;

	reader = mrmr_reader_open(engine, engine, node, &err);
	if (reader == NULL) {
		fail_msg("%s, without %x: %s", path, away, err.text);
	}
	while (done < len) {
		ssize_t n = -1;

		if (mrmr_reader_prepare(reader, done, len - done, &err) == 0) {
			n = mrmr_reader_read(reader, got + done, len - done,
					     done);
		}
		if (n <= 0) {
			fail_msg("%s, without %x, at %zu: %s", path, away, done,
				 err.text);
		}
		done += (size_t)n;
	}
	assert_memory_equal(got, bytes, len);
	talloc_free(reader);
	free(got);
}

static unsigned int count_bits(unsigned int bits)
{
	return (unsigned int)__builtin_popcount(bits);
}

void verify_bytes(struct world *w, const char *path, const uint8_t *bytes,
		  size_t len, unsigned int lose)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_node *node = NULL;
	size_t member;
	unsigned int away;

	if (mrmr_catalog_find_path(engine->catalog, engine, path, &node) ==
	    -1) {
		fail_msg("%s is not known: %s", path, strerror(errno));
	}
	if (node->size_bytes != len) {
		fail_msg("%s has %zu bytes, and is known with %llu", path, len,
			 (unsigned long long)node->size_bytes);
	}
	member = mrmr_engine_member(engine, node->member);
	assert_true(member != SIZE_MAX);
	for (away = 1; away < 1u << w->pool->num_members; away++) {
		if ((away >> member & 1) == 0 || count_bits(away) > lose) {
			continue;
		}
		hide(w, away);
		read_back(engine, node, bytes, len, path, away);
	}
	hide(w, 0);
	talloc_free(engine);
}

void verify(struct world *w, const char *path, unsigned int seed, size_t len,
	    unsigned int lose)
{
	uint8_t *bytes = seeded(seed, len);

	verify_bytes(w, path, bytes, len, lose);
	free(bytes);
}

static void decode_extent(struct mrmr_engine *engine,
			  const struct mrmr_node *node, uint32_t index)
{
	struct mrmr_decode *decode = NULL;
	struct mrmr_error err = {0};
	uint8_t *out = NULL;

	decode = mrmr_decode_extent(engine, engine, node, index, &err);
	if (decode == NULL) {
		fail_msg("node %s, extent %u: %s", node->name, index, err.text);
	}
	out = malloc(mrmr_decode_len(decode) + 1);
	if (mrmr_decode_run(decode, out) == -1) {
		fail_msg("node %s, extent %u: %s", node->name, index,
			 strerror(errno));
	}
	free(out);
	talloc_free(decode);
}

void verify_decodable(struct world *w)
{
	/* for writing, as what a killed process left is brought in order by
	   whoever comes next */
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_node *node = NULL;
	uint64_t id = 0;
	uint32_t i;

	while (mrmr_catalog_next(engine->catalog, engine, id, &node) == 0) {
		size_t member = mrmr_engine_member(engine, node->member);

		id = node->id;
		for (i = 0; i < node->num_extents; i++) {
			struct mrmr_extent extent;
			uint32_t got = 0;

			assert_return_code(
				mrmr_catalog_get_extents(engine->catalog, id, i,
							 &extent, 1, &got),
				errno);
			assert_int_equal(got, 1);
			if (extent.state == MRMR_EXTENT_IN_STRIPE) {
				hide(w, 1u << member);
				decode_extent(engine, node, i);
				hide(w, 0);
			}
		}
		talloc_free(node);
	}
	assert_int_equal(errno, ENOENT);
	talloc_free(engine);
}

void verify_computable(struct world *w, size_t member)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_node *node = NULL;
	uint64_t id = 0;
	uint32_t i;

	while (mrmr_catalog_next_on(engine->catalog, engine,
				    engine->number[member], true, id,
				    &node) == 0) {
		id = node->id;
		for (i = 0; i < node->num_extents; i++) {
			decode_extent(engine, node, i);
		}
		talloc_free(node);
	}
	assert_int_equal(errno, ENOENT);
	talloc_free(engine);
}

void verify_unknown(struct world *w, const char *path)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_node *node = NULL;

	assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine, path,
						&node),
			 -1);
	assert_true(errno == ENOENT || errno == ENOTDIR);
	talloc_free(engine);
}

struct tidy {
	struct mrmr_engine *engine;
	uint16_t number;
	uint64_t num_blobs;
};

static int check_blob(const uint8_t sha256[32], uint64_t size_bytes,
		      void *private_data)
{
	struct tidy *tidy = private_data;
	uint32_t uses = 0;

	(void)size_bytes;
	assert_return_code(mrmr_catalog_blob_uses(tidy->engine->catalog,
						  tidy->number, sha256, &uses),
			   errno);
	assert_true(uses > 0);
	tidy->num_blobs++;
	return 0;
}

static int check_preimages(uint64_t inode, uint64_t bytes, void *private_data)
{
	struct tidy *tidy = private_data;
	struct mrmr_node *node = NULL;
	bool in_trash = false;
	uint64_t id;

	(void)bytes;
	if (mrmr_catalog_find_inode(tidy->engine->catalog, tidy->number, inode,
				    &id) == -1) {
		fail_msg("pre-images of inode %llu, which is not known",
			 (unsigned long long)inode);
	}
	assert_return_code(mrmr_catalog_get(tidy->engine->catalog, tidy->engine,
					    id, &node),
			   errno);
	assert_non_null(mrmr_catalog_path(tidy->engine->catalog, tidy->engine,
					  id, &in_trash));
	assert_true(in_trash);
	return 0;
}

static void check_rows(struct mrmr_engine *engine)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	uint32_t i;

	while (mrmr_catalog_next_stripe(engine->catalog, engine, id, &stripe) ==
	       0) {
		id = stripe->id;
		for (i = 0; i < stripe->num_rows; i++) {
			size_t member =
				mrmr_engine_member(engine,
						   stripe->rows[i].member);
			int fd = mrmr_blob_open(engine->pool->members[member]
							.private_fd,
						stripe->rows[i].sha256);

			assert_return_code(fd, errno);
			close(fd);
		}
		talloc_free(stripe);
	}
	assert_int_equal(errno, ENOENT);
}

void verify_tidy(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	size_t i;

	for (i = 0; i < w->pool->num_members; i++) {
		struct tidy tidy = {engine, engine->number[i], 0};
		int fd = w->pool->members[i].private_fd;

		if (w->pool->members[i].state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		assert_int_equal(mrmr_blob_walk(fd, check_blob, &tidy), 0);
		assert_int_equal(mrmr_undo_walk(fd, check_preimages, &tidy), 0);
	}
	check_rows(engine);
	talloc_free(engine);
}

struct mrmr_catalog_sums sums_of(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_catalog_sums sums;

	assert_return_code(mrmr_catalog_sums(engine->catalog, MRMR_MEMBER_NONE,
					     &sums),
			   errno);
	talloc_free(engine);
	return sums;
}

uint64_t pending_of(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	uint64_t files = 0;
	uint64_t bytes = 0;
	bool needs_scan = true;

	assert_return_code(mrmr_protector_pending(engine->catalog, &files,
						  &bytes, &needs_scan),
			   errno);
	assert_false(needs_scan);
	talloc_free(engine);
	return files;
}

uint8_t *read_served(struct world *w, const char *path, size_t *len)
{
	struct mrmr_served *served = NULL;
	struct mrmr_error err = {0};
	struct mrmr_ghost ghost;
	uint8_t *got = NULL;
	struct stat st;
	size_t member;
	size_t at = 0;
	int fd;

	assert_int_equal(do_stat(w, path, &member, &st), 0);
	*len = (size_t)st.st_size;
	got = malloc(*len + 1);
	assert_non_null(got);
	fd = do_open(w, path, O_RDONLY);
	assert_return_code(fd, errno);
	assert_return_code(mrmr_ghost_read(fd, &ghost), errno);
	served = mrmr_served_get(w->pool, &ghost, &err);
	if (served == NULL) {
		fail_msg("%s: %s", path, err.text);
	}
	while (at < *len) {
		ssize_t n = client_read_served(got + at, *len - at, at, served);

		if (n <= 0) {
			fail_msg("%s: at %zu of %zu: %s", path, at, *len,
				 strerror(errno));
		}
		at += (size_t)n;
	}
	mrmr_served_put(served);
	close(fd);
	return got;
}

void verify_served(struct world *w, const char *path, unsigned int seed,
		   size_t len)
{
	uint8_t *bytes = seeded(seed, len);
	size_t got_len = 0;
	uint8_t *got = read_served(w, path, &got_len);

	assert_int_equal(got_len, len);
	assert_memory_equal(got, bytes, len);
	free(got);
	free(bytes);
}
