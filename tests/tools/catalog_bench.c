/*
 * How large and how fast is source/catalog? Makes the catalogue of a pool that
 * does not exist, records only, in a folder:
 *
 *   catalog_bench [--files N] [--blocks N] [--json] FOLDER
 *
 * Small files first: N of 200 KB with names as of cameras, a hundred in each
 * directory, twenty in a slot. Then large files of 1000 blocks of 4 MiB, until
 * there are as many blocks as asked. Stripes are four slots and two rows, over
 * six members. A commit every 2000 small files or blocks; the protector makes
 * one for 1 GiB at most, of 256 blocks.
 *
 * At 1, 2, 5, 10 ... percent of each, it says
 *
 *   bytes     all that the state directory has of it, for each small file, or
 *             each block that has come since the small files
 *   commit    milliseconds for a commit of a stripe of eighty small files, the
 *             median of 15
 *   lookups   a second: files by path, nodes by inode, stripes by id, at random,
 *             with a cache of records as small as smbd's
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/catalog.h>

#define NUM_MEMBERS 6
#define NUM_SLOTS 4
#define FILES_IN_DIR 100
#define FILES_IN_SLOT 20
#define BLOCK_BYTES (4u << 20)
#define SMALL_BYTES 200000
#define BLOCKS_IN_FILE 1000
#define FILES_IN_COMMIT 2000
#define BLOCKS_IN_COMMIT 2000
#define NUM_LOOKUPS 20000
#define NUM_PROBES 15

static const struct mrmr_uuid pool_id = {.byte = {7}};
static bool json = false;

struct bench {
	int state_fd;
	struct mrmr_catalog *cat;
	uint64_t random;
	uint64_t num_files;
	uint64_t num_blocks;
	uint64_t dir_id; /* that files are put into now */
	uint64_t inode;
	uint64_t num_stripes;
	uint64_t pending_blocks;
	/* the stripe that is being filled */
	struct mrmr_piece pieces[NUM_SLOTS][FILES_IN_SLOT];
	struct mrmr_extent extents[NUM_SLOTS][FILES_IN_SLOT];
	uint32_t num_pieces[NUM_SLOTS];
	/* when the large files began */
	uint64_t base_bytes;
	uint64_t small_files;
};

static void die(const char *what)
{
	fprintf(stderr, "catalog_bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t next_random(struct bench *b)
{
	uint64_t z = (b->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void begin(struct bench *b)
{
	if (mrmr_catalog_begin(b->cat) == -1) {
		die("begin");
	}
}

static void commit(struct bench *b)
{
	struct mrmr_error err = {0};

	if (mrmr_catalog_commit(b->cat, &err) == -1) {
		fprintf(stderr, "catalog_bench: %s\n", err.text);
		exit(1);
	}
}

static struct mrmr_extent some_extent(struct bench *b, uint32_t len)
{
	struct mrmr_extent e = {
		.len_bytes = len,
		.state = MRMR_EXTENT_IN_STRIPE,
		.checksum = next_random(b),
	};
	size_t i;

	for (i = 0; i < sizeof(e.sha256); i += 8) {
		uint64_t word = next_random(b);

		memcpy(e.sha256 + i, &word, 8);
	}
	return e;
}

/* --- stripes -------------------------------------------------------------------- */

/* Put the stripe, and say so in the extents of its pieces. */
static void end_stripe(struct bench *b)
{
	struct mrmr_slot slots[NUM_SLOTS];
	struct mrmr_row rows[NUM_MEMBERS - NUM_SLOTS];
	struct mrmr_stripe stripe = {.slots = slots, .rows = rows};
	uint64_t id = 0;
	uint32_t i, j;

	for (i = 0; i < NUM_SLOTS; i++) {
		uint32_t len = 0;

		for (j = 0; j < b->num_pieces[i]; j++) {
			len += b->pieces[i][j].len_bytes;
		}
		slots[i] = (struct mrmr_slot){
			.slot = (uint8_t)i,
			.member =
				(uint16_t)((b->num_stripes + i) % NUM_MEMBERS),
			.len_bytes = len,
			.num_pieces = b->num_pieces[i],
			.pieces = b->pieces[i],
		};
	}
	stripe.num_slots = NUM_SLOTS;
	stripe.num_rows = NUM_MEMBERS - NUM_SLOTS;
	for (i = 0; i < stripe.num_rows; i++) {
		struct mrmr_extent e = some_extent(b, BLOCK_BYTES);

		rows[i] = (struct mrmr_row){
			.row = (uint8_t)i,
			.member = (uint16_t)((b->num_stripes + NUM_SLOTS + i) %
					     NUM_MEMBERS),
			.len_bytes = BLOCK_BYTES,
			.checksum = e.checksum,
		};
		memcpy(rows[i].sha256, e.sha256, 32);
	}
	if (mrmr_catalog_put_stripe(b->cat, &stripe, &id) == -1) {
		die("put_stripe");
	}
	for (i = 0; i < NUM_SLOTS; i++) {
		uint32_t offset = 0;

		for (j = 0; j < b->num_pieces[i]; j++) {
			struct mrmr_extent *e = &b->extents[i][j];

			e->stripe = id;
			e->slot = (uint8_t)i;
			e->slot_offset = offset;
			offset += e->len_bytes;
			if (mrmr_catalog_put_extents(b->cat,
						     b->pieces[i][j].file,
						     b->pieces[i][j].index, e,
						     1) == -1) {
				die("put_extents");
			}
		}
		b->num_pieces[i] = 0;
	}
	b->num_stripes++;
}

/* The member of the slot that is being filled in the stripe. */
static uint16_t add_piece(struct bench *b, uint32_t slot, uint64_t file,
			  uint32_t index, uint32_t len)
{
	uint32_t n = b->num_pieces[slot]++;

	b->pieces[slot][n] = (struct mrmr_piece){.file = file,
						 .index = index,
						 .len_bytes = len};
	b->extents[slot][n] = some_extent(b, len);
	return (uint16_t)((b->num_stripes + slot) % NUM_MEMBERS);
}

/* --- files ---------------------------------------------------------------------- */

static void dir_name(uint64_t dir, char name[64])
{
	snprintf(name, 64, "Holiday %u %06u", (unsigned int)(2000 + dir % 25),
		 (unsigned int)dir);
}

static void file_name(uint64_t file, char name[64])
{
	snprintf(name, 64, "IMG_%08u_%06u.jpg",
		 (unsigned int)(20000101 + file % 200000),
		 (unsigned int)(file % FILES_IN_DIR * 971));
}

static uint64_t put_node(struct bench *b, struct mrmr_node *node)
{
	uint64_t id = 0;

	node->mtime_ns = (int64_t)(1600000000 + next_random(b) % 100000000) *
				 1000000000 +
			 (int64_t)(next_random(b) % 1000000000);
	node->uid = 1000;
	node->gid = 1000;
	if (mrmr_catalog_put(b->cat, node, &id) == -1) {
		die("put");
	}
	return id;
}

static void put_small_file(struct bench *b)
{
	uint32_t slot = (uint32_t)(b->num_files / FILES_IN_SLOT % NUM_SLOTS);
	char name[64];
	struct mrmr_node node = {
		.name = name,
		.kind = MRMR_NODE_FILE,
		.member = (uint16_t)((b->num_stripes + slot) % NUM_MEMBERS),
		.inode = ++b->inode,
		.size_bytes = SMALL_BYTES,
		.mode = S_IFREG | 0644,
		.grid_bytes = BLOCK_BYTES,
		.generation = (uint32_t)b->inode,
	};
	uint64_t id;

	if (b->num_files % FILES_IN_DIR == 0) {
		struct mrmr_node dir = {
			.dir_id = MRMR_ID_ROOT,
			.name = name,
			.kind = MRMR_NODE_DIRECTORY,
			.member = MRMR_MEMBER_NONE,
			.mode = S_IFDIR | 0755,
		};

		dir_name(b->num_files / FILES_IN_DIR, name);
		b->dir_id = put_node(b, &dir);
	}
	node.dir_id = b->dir_id;
	file_name(b->num_files, name);
	id = put_node(b, &node);
	add_piece(b, slot, id, 0, SMALL_BYTES);
	b->num_files++;
	if (b->num_files % (FILES_IN_SLOT * NUM_SLOTS) == 0) {
		end_stripe(b);
	}
}

/* Four large files, one on a member, whose blocks make stripes with each
   other. */
static void put_large_files(struct bench *b)
{
	uint64_t ids[NUM_SLOTS];
	uint32_t i, j;

	b->num_stripes += NUM_MEMBERS - b->num_stripes % NUM_MEMBERS;
	for (i = 0; i < NUM_SLOTS; i++) {
		char name[64];
		struct mrmr_node node = {
			.dir_id = MRMR_ID_ROOT,
			.name = name,
			.kind = MRMR_NODE_FILE,
			.member = (uint16_t)i,
			.inode = ++b->inode,
			.size_bytes = (uint64_t)BLOCKS_IN_FILE * BLOCK_BYTES,
			.mode = S_IFREG | 0644,
			.grid_bytes = BLOCK_BYTES,
		};

		snprintf(name, sizeof(name), "Film %llu.mkv",
			 (unsigned long long)b->inode);
		ids[i] = put_node(b, &node);
	}
	for (j = 0; j < BLOCKS_IN_FILE; j++) {
		for (i = 0; i < NUM_SLOTS; i++) {
			add_piece(b, i, ids[i], j, BLOCK_BYTES);
		}
		end_stripe(b);
		b->num_stripes--; /* the same members for all */
		b->num_blocks += NUM_SLOTS;
		b->pending_blocks += NUM_SLOTS;
		if (b->pending_blocks >= BLOCKS_IN_COMMIT) {
			commit(b);
			begin(b);
			b->pending_blocks = 0;
		}
	}
}

/* --- measuring ------------------------------------------------------------------- */

/* Bytes that the folder takes on the disk. */
static uint64_t folder_bytes(const struct bench *b)
{
	int fd = openat(b->state_fd, MRMR_CATALOG_FOLDER,
			O_RDONLY | O_DIRECTORY);
	struct dirent *entry = NULL;
	DIR *dir = fdopendir(fd);
	uint64_t bytes = 0;

	if (dir == NULL) {
		die(MRMR_CATALOG_FOLDER);
	}
	while ((entry = readdir(dir)) != NULL) {
		struct stat st;

		if (fstatat(fd, entry->d_name, &st, 0) == 0 &&
		    S_ISREG(st.st_mode)) {
			bytes += (uint64_t)st.st_blocks * 512;
		}
	}
	closedir(dir);
	return bytes;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double commit_ms(struct bench *b)
{
	double times[NUM_PROBES];
	size_t i;
	int j;

	for (i = 0; i < NUM_PROBES; i++) {
		double start;

		begin(b);
		for (j = 0; j < FILES_IN_SLOT * NUM_SLOTS; j++) {
			put_small_file(b);
		}
		start = now();
		commit(b);
		times[i] = (now() - start) * 1000;
	}
	qsort(times, NUM_PROBES, sizeof(times[0]), compare);
	return times[NUM_PROBES / 2];
}

enum lookup {
	BY_PATH,
	BY_INODE,
	STRIPE,
	NUM_KINDS
};

static void look_up(struct bench *b, struct mrmr_catalog *cat, enum lookup kind,
		    uint64_t max_files)
{
	void *frame = talloc_new(NULL);
	uint64_t n = next_random(b) % max_files;
	struct mrmr_node *node = NULL;
	struct mrmr_stripe *stripe = NULL;
	char dir[64], file[64], path[160];
	uint64_t id;
	int ret;

	switch (kind) {
	case BY_PATH:
		dir_name(n / FILES_IN_DIR, dir);
		file_name(n, file);
		snprintf(path, sizeof(path), "%s/%s", dir, file);
		ret = mrmr_catalog_find_path(cat, frame, path, &node);
		break;
	case BY_INODE:
		/* inodes are given on, whatever the member is */
		ret = mrmr_catalog_find_inode(cat,
					      (uint16_t)((n / (FILES_IN_SLOT *
							       NUM_SLOTS) +
							  n / FILES_IN_SLOT %
								  NUM_SLOTS) %
							 NUM_MEMBERS),
					      n + 1, &id);
		break;
	default:
		ret = mrmr_catalog_get_stripe(cat, frame,
					      n / (FILES_IN_SLOT * NUM_SLOTS) +
						      1,
					      &stripe);
	}
	if (ret == -1) {
		die("what was put is not found");
	}
	talloc_free(frame);
}

/* As smbd does it, in another process. */
static void lookups(struct bench *b, uint64_t max_files,
		    double rates[NUM_KINDS])
{
	int fds[2];
	int status;
	pid_t pid;

	if (pipe(fds) == -1) {
		die("pipe");
	}
	TALLOC_FREE(b->cat);
	pid = fork();
	if (pid == 0) {
		struct mrmr_error err = {0};
		struct mrmr_catalog *cat =
			mrmr_catalog_open(NULL, b->state_fd, &pool_id,
					  MRMR_CATALOG_READ, &err);
		int kind, i;

		if (cat == NULL) {
			die(err.text);
		}
		for (kind = 0; kind < NUM_KINDS; kind++) {
			double start = now();

			for (i = 0; i < NUM_LOOKUPS; i++) {
				look_up(b, cat, (enum lookup)kind, max_files);
			}
			rates[kind] = NUM_LOOKUPS / (now() - start);
		}
		if (write(fds[1], rates, sizeof(rates[0]) * NUM_KINDS) == -1) {
			die("pipe");
		}
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], rates, sizeof(rates[0]) * NUM_KINDS) !=
	    (ssize_t)sizeof(rates[0]) * NUM_KINDS) {
		die("lookups");
	}
	close(fds[0]);
	waitpid(pid, &status, 0);
}

static void open_catalog(struct bench *b)
{
	struct mrmr_error err = {0};

	b->cat = mrmr_catalog_open(NULL, b->state_fd, &pool_id,
				   MRMR_CATALOG_WRITE, &err);
	if (b->cat == NULL) {
		fprintf(stderr, "catalog_bench: %s\n", err.text);
		exit(1);
	}
}

static void report(struct bench *b, bool blocks)
{
	uint64_t bytes;
	uint64_t max_files;
	double rates[NUM_KINDS];
	double ms;
	double each;

	bytes = folder_bytes(b);
	each = blocks ? (double)(bytes - b->base_bytes) / (double)b->num_blocks
		      : (double)bytes / (double)b->num_files;
	max_files = blocks ? b->small_files : b->num_files;
	ms = commit_ms(b);
	lookups(b, max_files, rates);
	open_catalog(b);
	if (json) {
		printf("{\"files\": %llu, \"blocks\": %llu, \"bytes\": %llu, "
		       "\"bytes_each\": %.1f, \"commit_ms\": %.1f, "
		       "\"paths_s\": %.0f, \"inodes_s\": %.0f, "
		       "\"stripes_s\": %.0f}\n",
		       (unsigned long long)b->num_files,
		       (unsigned long long)b->num_blocks,
		       (unsigned long long)bytes, each, ms, rates[BY_PATH],
		       rates[BY_INODE], rates[STRIPE]);
	} else {
		printf("%10llu %10llu %8.0f MB %7.1f %8.1f %9.0f %9.0f "
		       "%9.0f\n",
		       (unsigned long long)b->num_files,
		       (unsigned long long)b->num_blocks, (double)bytes / 1e6,
		       each, ms, rates[BY_PATH], rates[BY_INODE],
		       rates[STRIPE]);
	}
	fflush(stdout);
}

/* 1, 2, 5, 10, 20, 50, 100 percent. */
static bool is_due(uint64_t done, uint64_t all, unsigned int *step)
{
	static const unsigned int percents[] = {1, 2, 5, 10, 20, 50, 100, 0};

	if (percents[*step] == 0 || done < all * percents[*step] / 100) {
		return false;
	}
	++*step;
	return true;
}

static void run(struct bench *b, uint64_t files, uint64_t blocks)
{
	unsigned int step = 0;

	while (b->num_files < files) {
		uint64_t i;

		begin(b);
		for (i = 0; i < FILES_IN_COMMIT; i++) {
			put_small_file(b);
		}
		commit(b);
		if (is_due(b->num_files, files, &step)) {
			report(b, false);
		}
	}
	b->small_files = b->num_files;
	b->base_bytes = folder_bytes(b);
	step = 0;
	while (b->num_blocks < blocks) {
		begin(b);
		put_large_files(b);
		commit(b);
		b->pending_blocks = 0;
		if (is_due(b->num_blocks, blocks, &step)) {
			report(b, true);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"files", required_argument, NULL, 'f'},
		{"blocks", required_argument, NULL, 'b'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	struct bench *b = calloc(1, sizeof(*b));
	uint64_t files = 1000000;
	uint64_t blocks = 2500000;
	uint16_t member, number;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			files = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			blocks = strtoull(optarg, NULL, 10);
			break;
		case 'j':
			json = true;
			break;
		default:
			optind = argc;
		}
	}
	if (optind + 1 != argc || files < 100000) {
		fprintf(stderr, "usage: catalog_bench [--files N] [--blocks N] "
				"[--json] FOLDER; 100000 files or more\n");
		return 64;
	}
	b->state_fd = open(argv[optind], O_RDONLY | O_DIRECTORY);
	if (b->state_fd == -1) {
		die(argv[optind]);
	}
	open_catalog(b);
	begin(b);
	for (member = 0; member < NUM_MEMBERS; member++) {
		struct mrmr_uuid id = {.byte = {(uint8_t)member, 1}};

		if (mrmr_catalog_add_member(b->cat, &id, &number) == -1) {
			die("add_member");
		}
	}
	commit(b);
	if (!json) {
		printf("     files     blocks    on disk    each   commit   "
		       "paths/s  inodes/s stripes/s\n");
	}
	run(b, files, blocks);
	talloc_free(b->cat);
	free(b);
	return 0;
}
