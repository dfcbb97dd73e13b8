/*
 * How fast are files brought into stripes? Measured on members that are tmpfs,
 * so that what is measured is our own work, and the machine's memory:
 *
 *   stripes_bench [--files N] [--size BYTES] [--members N] [--parity N]
 *                 [--threads N] [--rounds N]
 *
 * Without --files and --size: 16 files of 256 MiB, then 100,000 of 10 KB. Each
 * round protects new files, in one transaction: what the protector does, less
 * its own looking at files. The rate is that of bytes of files, over all steps;
 * CPU time says more where other things are running.
 *
 * Needs root, and a mount namespace of its own.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/stripes.h>

#include "protected.h"

#define GRID ((size_t)4 << 20)
#define MIB ((double)(1 << 20))

static size_t num_files;
static size_t file_bytes;
static size_t num_members = 6;
static const char *parity = "2";
static unsigned int num_threads;
static int rounds = 3;

static void must(int ret)
{
	assert_return_code(ret, errno);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Every block has other bytes. */
static void write_file(const char *path, size_t len, uint8_t *bytes)
{
	static uint64_t count;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	size_t at;

	must(fd);
	for (at = 0; at < len; at += GRID) {
		size_t part = len - at < GRID ? len - at : GRID;

		memcpy(bytes, &count, sizeof(count));
		count++;
		assert_int_equal(write(fd, bytes, part), (ssize_t)part);
	}
	close(fd);
}

struct batch {
	struct protected *p;
	void *frame;
	struct mrmr_change *changes;
	size_t num;
	struct mrmr_live_member *members[16];
};

static void add_file(struct batch *b, size_t number, size_t len, uint8_t *bytes)
{
	struct mrmr_engine *engine = b->p->engine;
	size_t member = number % num_members;
	static size_t count;
	char name[32];
	char path[256];
	struct mrmr_node node = {
		.dir_id = MRMR_ID_ROOT,
		.name = name,
		.kind = MRMR_NODE_FILE,
		.member = engine->number[member],
		.size_bytes = len,
		.grid_bytes = (uint32_t)GRID,
	};
	struct mrmr_live *live = NULL;
	struct stat st;
	size_t at;

	snprintf(name, sizeof(name), "f%zu", count++);
	snprintf(path, sizeof(path), "%s", world_drive(b->p->w, member, name));
	write_file(path, len, bytes);
	must(stat(path, &st));
	node.inode = st.st_ino;
	node.mtime_ns =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	node.mode = st.st_mode;
	must(mrmr_guard_declare(engine->guard,
				&b->p->w->pool->members[member].config->id,
				st.st_ino, &node.generation));
	must(mrmr_catalog_put(engine->catalog, &node, &node.id));
	if (b->members[member] == NULL) {
		b->members[member] =
			mrmr_live_member_open(b->frame, engine, node.member);
		assert_non_null(b->members[member]);
	}
	must(mrmr_live_open_on(b->frame, engine, b->members[member], &node,
			       num_files > 100, &live));
	for (at = 0; at < len; at += GRID) {
		b->changes[b->num++] = (struct mrmr_change){
			.file = node.id,
			.member = node.member,
			.index = (uint32_t)(at / GRID),
			.offset = at,
			.now = live,
			.len_bytes =
				(uint32_t)(len - at < GRID ? len - at : GRID),
		};
	}
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run_round(struct protected *p, uint8_t *bytes)
{
	struct batch b = {.p = p, .frame = talloc_new(NULL)};
	struct mrmr_stripes_options options = {.threads = num_threads};
	struct mrmr_catalog *catalog = p->engine->catalog;
	struct mrmr_stripes *work = NULL;
	struct mrmr_error err = {0};
	double t[5];
	double cpu[5];
	size_t i;

	b.changes = talloc_zero_array(b.frame, struct mrmr_change,
				      num_files * (file_bytes / GRID + 1));
	must(mrmr_catalog_begin(catalog));
	for (i = 0; i < num_files; i++) {
		add_file(&b, i, file_bytes, bytes);
	}
	mrmr_pool_look_at_space(p->w->pool);
	cpu[0] = cpu_s();
	t[0] = now_s();
	work = mrmr_stripes_new(b.frame, p->engine, &options);
	assert_non_null(work);
	if (mrmr_stripes_apply(work, b.changes, b.num, &err) == -1) {
		fail_msg("%s", err.text);
	}
	t[1] = now_s();
	cpu[1] = cpu_s();
	must(mrmr_stripes_sync(work, &err));
	t[2] = now_s();
	cpu[2] = cpu_s();
	if (mrmr_catalog_commit(catalog, &err) == -1) {
		fail_msg("%s", err.text);
	}
	t[3] = now_s();
	cpu[3] = cpu_s();
	mrmr_stripes_finish(work);
	t[4] = now_s();
	cpu[4] = cpu_s();
	for (i = 0; i < b.num; i++) {
		assert_int_equal(b.changes[i].error, 0);
	}
	printf("%zu x %zu: %.0f MiB/s\n", num_files, file_bytes,
	       (double)num_files * (double)file_bytes / MIB / (t[4] - t[0]));
	for (i = 0; i < 4; i++) {
		static const char *const steps[] = {"apply", "sync", "commit",
						    "finish"};

		printf("  %-6s %7.2f s, %6.2f s of CPU, %.2f ns/byte\n",
		       steps[i], t[i + 1] - t[i], cpu[i + 1] - cpu[i],
		       (cpu[i + 1] - cpu[i]) * 1e9 /
			       ((double)num_files * (double)file_bytes));
	}
	fflush(stdout);
	talloc_free(b.frame);
}

static void run(size_t files, size_t size)
{
	struct world_shape shape = {.num_members = num_members,
				    .parity = parity};
	uint8_t *bytes = protected_bytes(1, GRID);
	int round;
	size_t i;

	num_files = files;
	file_bytes = size;
	for (i = 0; i < num_members; i++) {
		shape.sizes[i] = "3g";
	}
	for (round = 0; round < rounds; round++) {
		struct protected *p = protected_new(&shape);

		run_round(p, bytes);
		protected_free(p);
	}
	free(bytes);
}

static void bench(void **state)
{
	if (num_files > 0) {
		run(num_files, file_bytes);
		return;
	}
	run(16, (size_t)256 << 20);
	run(100000, 10000);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"files", required_argument, NULL, 'f'},
		{"size", required_argument, NULL, 's'},
		{"members", required_argument, NULL, 'm'},
		{"parity", required_argument, NULL, 'p'},
		{"threads", required_argument, NULL, 't'},
		{"rounds", required_argument, NULL, 'r'},
		{NULL, 0, NULL, 0},
	};
	static const struct CMUnitTest tests[] = {cmocka_unit_test(bench)};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'f':
			num_files = strtoull(optarg, NULL, 10);
			break;
		case 's':
			file_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			num_members = strtoull(optarg, NULL, 10);
			break;
		case 'p':
			parity = optarg;
			break;
		case 't':
			num_threads = (unsigned int)atoi(optarg);
			break;
		case 'r':
			rounds = atoi(optarg);
			break;
		default:
			fprintf(stderr, "stripes_bench: see its first lines\n");
			return 64;
		}
	}
	if ((num_files == 0) != (file_bytes == 0) || num_members < 2 ||
	    num_members > WORLD_MEMBERS_MAX) {
		fprintf(stderr, "stripes_bench: --files and --size belong "
				"together; there are 2 to 16 members\n");
		return 64;
	}
	return WORLD_MAIN("stripes_bench", tests);
}
