/*
 * Plays the protector for the integration tests: has files count as protected,
 * and reads what was protected whatever has happened to them since.
 *
 *   protectedfile CONFIG declare PATH       prints MEMBER INODE GENERATION; fails
 *                                           if somebody has it open for writing
 *   protectedfile CONFIG read MEMBER INODE GENERATION LENGTH
 *                                           the bytes that were protected
 *   protectedfile CONFIG undo MEMBER INODE  how many pre-images there are
 *   protectedfile CONFIG forget MEMBER INODE
 *   protectedfile CONFIG events             takes what is in the queue: a line
 *                                           KIND<tab>MEMBER<tab>PATH<tab>TO each
 *   protectedfile CONFIG room MEMBER BYTES  so much is said to be in its trash
 *   protectedfile CONFIG wish MEMBER        how much was asked for; takes it
 *   protectedfile CONFIG verify             reads all that is protected, and
 *                                           computes each extent from the rest of
 *                                           its stripe; prints how many files and
 *                                           extents there are
 *
 * MEMBER is an index in the config, -1 for none. Needs root.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/catalog.h>
#include <mrmr/decode.h>
#include <mrmr/digest.h>
#include <mrmr/engine.h>
#include <mrmr/guard.h>
#include <mrmr/live.h>
#include <mrmr/pool.h>
#include <mrmr/protection.h>
#include <mrmr/queue.h>
#include <mrmr/undo.h>

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static struct mrmr_pool *open_pool(const char *config_path)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config = mrmr_config_load(NULL, config_path, &err);
	struct mrmr_pool *pool = NULL;

	if (config != NULL) {
		pool = mrmr_pool_open(NULL, config, NULL, &err);
	}
	if (pool == NULL) {
		die("%s", err.text);
	}
	if (pool->guard == NULL) {
		die("nothing is protected in this pool");
	}
	return pool;
}

static const struct mrmr_member *member_of(struct mrmr_pool *pool,
					   const char *index)
{
	size_t i = strtoul(index, NULL, 10);

	if (i >= pool->num_members ||
	    pool->members[i].state != MRMR_MEMBER_ONLINE) {
		die("member %s is not online", index);
	}
	return &pool->members[i];
}

/* --- declaring --------------------------------------------------------------- */

static void declare(struct mrmr_pool *pool, const char *path)
{
	int lock_fd = mrmr_catalog_lock(pool->state_fd, true);
	uint32_t generation;
	struct stat st;
	size_t i;
	int fd = -1;

	for (i = 0; i < pool->num_members && fd == -1; i++) {
		fd = openat(pool->members[i].root_fd, path,
			    O_RDONLY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);
	}
	if (fd == -1 || fstat(fd, &st) == -1) {
		die("%s: %s", path, strerror(errno));
	}
	i--;
	if (mrmr_guard_declare(pool->guard, &pool->members[i].config->id,
			       st.st_ino, &generation) == -1) {
		die("%s cannot be declared: %s", path, strerror(errno));
	}
	if (fcntl(fd, F_SETLEASE, F_RDLCK) == -1) {
		die("%s is open for writing: %s", path, strerror(errno));
	}
	fcntl(fd, F_SETLEASE, F_UNLCK);
	printf("%zu %" PRIu64 " %" PRIu32 "\n", i, (uint64_t)st.st_ino,
	       generation);
	close(fd);
	close(lock_fd);
}

/* --- reading ------------------------------------------------------------------ */

/* The file with that inode below a directory; -1. at_fd is closed. */
static int find_inode(int at_fd, uint64_t inode)
{
	struct dirent *entry = NULL;
	DIR *dir = at_fd != -1 ? fdopendir(at_fd) : NULL;
	int found = -1;

	while (dir != NULL && found == -1 && (entry = readdir(dir)) != NULL) {
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) == -1) {
			continue;
		}
		if (S_ISDIR(st.st_mode)) {
			found = find_inode(openat(dirfd(dir), entry->d_name,
						  O_RDONLY | O_DIRECTORY),
					   inode);
		} else if (st.st_ino == inode) {
			found = openat(dirfd(dir), entry->d_name, O_RDONLY);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return found;
}

static void read_protected(const struct mrmr_member *member, uint64_t inode,
			   uint32_t generation, size_t len)
{
	char *buffer = malloc(len + 1);
	int fd =
		find_inode(openat(member->root_fd, ".", O_RDONLY | O_DIRECTORY),
			   inode);

	if (buffer == NULL ||
	    mrmr_undo_read(member->private_fd, inode, generation, fd, buffer,
			   len, 0) == -1) {
		die("what was protected cannot be read: %s", strerror(errno));
	}
	if (fwrite(buffer, 1, len, stdout) != len) {
		die("stdout: %s", strerror(errno));
	}
	free(buffer);
}

static void count_pieces(const struct mrmr_member *member, uint64_t inode)
{
	struct dirent *entry = NULL;
	unsigned int num = 0;
	char path[64];
	DIR *dir = NULL;
	int fd;

	snprintf(path, sizeof(path), MRMR_UNDO "/%" PRIx64, inode);
	fd = openat(member->private_fd, path, O_RDONLY | O_DIRECTORY);
	dir = fd != -1 ? fdopendir(fd) : NULL;
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		num += entry->d_name[0] != '.';
	}
	if (dir != NULL) {
		closedir(dir);
	}
	printf("%u\n", num);
}

/* --- the queue ------------------------------------------------------------------ */

static const char *const kinds[] = {
	"?",       "changed", "attributes", "renamed", "removed",
	"trashed", "linked",  "lost",       "moved",   "scan",
};

static void events(struct mrmr_pool *pool)
{
	int lock_fd = mrmr_catalog_lock(pool->state_fd, true);
	struct mrmr_event *list = NULL;
	size_t num;
	size_t i, m;

	if (mrmr_queue_take(pool->queue, pool, &list, &num) == -1) {
		die("the queue cannot be read: %s", strerror(errno));
	}
	for (i = 0; i < num; i++) {
		long index = -1;

		for (m = 0; m < pool->num_members; m++) {
			if (mrmr_uuid_equal(&pool->members[m].config->id,
					    &list[i].member)) {
				index = (long)m;
			}
		}
		printf("%s\t%ld\t%s\t%s\n", kinds[list[i].kind], index,
		       list[i].path, list[i].to);
	}
	mrmr_queue_done(pool->queue);
	close(lock_fd);
}

/* --- all that is protected ------------------------------------------------------ */

struct verified {
	struct mrmr_engine *engine;
	unsigned long files;
	unsigned long extents;
	unsigned long wrong;
};

static void complain(struct verified *v, const struct mrmr_node *node,
		     uint32_t index, const char *what)
{
	fprintf(stderr, "node %" PRIu64 " '%s' extent %" PRIu32 ": %s\n",
		node->id, node->name, index, what);
	v->wrong++;
}

static void verify_extent(struct verified *v, const struct mrmr_node *node,
			  struct mrmr_live *live, uint32_t index,
			  const struct mrmr_extent *extent)
{
	uint8_t *bytes = talloc_array(NULL, uint8_t, extent->len_bytes);
	struct mrmr_decode *decode = NULL;
	struct mrmr_error err = {0};
	uint8_t sha256[32];

	v->extents++;
	if (live == NULL ||
	    mrmr_live_read(live, bytes, extent->len_bytes,
			   (uint64_t)index * node->grid_bytes) == -1) {
		complain(v, node, index, "its bytes are not there any more");
	} else {
		mrmr_sha256(bytes, extent->len_bytes, sha256);
		if (memcmp(sha256, extent->sha256, 32) != 0) {
			complain(v, node, index, "its bytes are others now");
		}
	}
	decode = mrmr_decode_extent(bytes, v->engine, node, index, &err);
	if (decode == NULL) {
		complain(v, node, index, err.text);
	} else if (mrmr_decode_run(decode, bytes) == -1) {
		complain(v, node, index, "it cannot be computed");
	}
	talloc_free(bytes);
}

static void verify_node(struct verified *v, const struct mrmr_node *node)
{
	struct mrmr_live *live = NULL;
	uint32_t index;

	for (index = 0; index < node->num_extents; index++) {
		struct mrmr_extent extent;
		uint32_t got = 0;

		if (mrmr_catalog_get_extents(v->engine->catalog, node->id,
					     index, &extent, 1, &got) == -1 ||
		    got != 1) {
			die("the catalogue cannot be read: %s",
			    strerror(errno));
		}
		if (extent.state != MRMR_EXTENT_IN_STRIPE) {
			continue;
		}
		if (live == NULL &&
		    mrmr_live_open(v->engine, v->engine, node, &live) == -1) {
			live = NULL;
		}
		verify_extent(v, node, live, index, &extent);
	}
	v->files += live != NULL;
	talloc_free(live);
}

static void verify(struct mrmr_pool *pool)
{
	int lock_fd = mrmr_catalog_lock(pool->state_fd, true);
	struct mrmr_error err = {0};
	struct verified v = {
		.engine = mrmr_engine_open(NULL, pool, MRMR_ENGINE_READ, &err),
	};
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	if (v.engine == NULL) {
		die("%s", err.text);
	}
	while (mrmr_catalog_next(v.engine->catalog, v.engine, id, &node) == 0) {
		id = node->id;
		verify_node(&v, node);
		talloc_free(node);
	}
	printf("%lu %lu\n", v.files, v.extents);
	talloc_free(v.engine);
	close(lock_fd);
	if (v.wrong > 0) {
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct mrmr_pool *pool = NULL;
	const char *verb = NULL;

	if (argc < 3) {
		die("usage: %s CONFIG VERB ...", argv[0]);
	}
	pool = open_pool(argv[1]);
	verb = argv[2];
	if (strcmp(verb, "declare") == 0 && argc == 4) {
		declare(pool, argv[3]);
	} else if (strcmp(verb, "read") == 0 && argc == 7) {
		read_protected(member_of(pool, argv[3]),
			       strtoull(argv[4], NULL, 10),
			       (uint32_t)strtoul(argv[5], NULL, 10),
			       strtoull(argv[6], NULL, 10));
	} else if (strcmp(verb, "undo") == 0 && argc == 5) {
		count_pieces(member_of(pool, argv[3]),
			     strtoull(argv[4], NULL, 10));
	} else if (strcmp(verb, "forget") == 0 && argc == 5) {
		mrmr_guard_forget(pool->guard,
				  &member_of(pool, argv[3])->config->id,
				  strtoull(argv[4], NULL, 10));
	} else if (strcmp(verb, "events") == 0) {
		events(pool);
	} else if (strcmp(verb, "verify") == 0) {
		verify(pool);
	} else if (strcmp(verb, "room") == 0 && argc == 5) {
		const struct mrmr_trash_seen seen = {
			.bytes = strtoull(argv[4], NULL, 10),
		};

		mrmr_room_see_trash(pool, member_of(pool, argv[3])->index,
				    &seen, 0);
	} else if (strcmp(verb, "wish") == 0 && argc == 4) {
		printf("%" PRIu64 "\n",
		       mrmr_room_take_wish(pool,
					   member_of(pool, argv[3])->index));
	} else {
		die("unknown verb: %s", verb);
	}
	talloc_free(pool);
	return 0;
}
