/*
 * How fast is source/parity? Measured beside what ISA-L itself does for the
 * same shape, on the same memory, in turns, so that what else the machine is
 * doing hits both:
 *
 *   parity_bench [--rounds N] [--block KIB] [--json]
 *
 * Each line is one operation on one shape k+m (k data blocks, m parity blocks):
 *
 *   encode   all rows, against ec_encode_data() of k inputs and m outputs
 *   pieces   the same in pieces of 64 KiB, a call for each
 *   odd      the same with blocks that are not aligned
 *   uneven   blocks of random lengths, against ec_encode_data() of equal ones
 *   decode   m lost data blocks, against ec_encode_data() of that shape
 *   one      one lost data block, likewise, by a plan for m lost ones
 *   join     one block, m rows, against ec_encode_data_update()
 *   swap     one block out and one in, against ec_encode_data_update() twice
 *   plan     microseconds to make the plan that decode uses (no comparison)
 *
 * GB/s are 10^9 bytes read of data (and, for decode, parity) blocks a second.
 * Each number is a median over the rounds; the ratio is the median of each
 * round's ratio, above 1 if we are faster. All results are compared with those
 * of ISA-L where they are the same thing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <isa-l.h>

#include <mrmr/parity.h>

#define MAX_BLOCKS 64
#define MAX_ROUNDS 1001
#define PIECE_BYTES ((size_t)64 * 1024)

static int rounds = 25;
static size_t block_bytes = (size_t)4096 * 1024;
static bool json = false;

/* One shape, its memory, and ISA-L's tables for it. */
struct bench {
	int k;
	int m;
	uint8_t *data[MAX_BLOCKS];
	uint8_t *parity[MRMR_PARITY_ROWS];
	uint8_t *out[MRMR_PARITY_ROWS];
	uint8_t *isal_out[MRMR_PARITY_ROWS];
	struct mrmr_parity_input inputs[MAX_BLOCKS];
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS];
	struct mrmr_parity_plan plan;
	size_t lengths[MAX_BLOCKS];
	uint8_t *isal_in[MAX_BLOCKS];
	uint8_t tables[MAX_BLOCKS * MRMR_PARITY_ROWS * 32];
	uint8_t update_tables[2][MRMR_PARITY_ROWS * 32];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), compare_doubles);
	return values[n / 2];
}

static void die(const char *why)
{
	fprintf(stderr, "parity_bench: %s\n", why);
	exit(70);
}

static uint8_t *block_alloc(void)
{
	uint8_t *block = NULL;

	/* room to be misaligned by a few bytes */
	if (posix_memalign((void **)&block, 4096, block_bytes + 4096) != 0) {
		die("out of memory");
	}
	memset(block, 0, block_bytes + 4096);
	return block;
}

static void fill(uint8_t *block, uint64_t seed)
{
	size_t i;

	for (i = 0; i < block_bytes; i += 8) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		memcpy(block + i, &seed, block_bytes - i < 8 ? 1 : 8);
	}
}

/* --- the operations ------------------------------------------------------- */

static void check(int ret)
{
	if (ret != 0) {
		die("refused");
	}
}

static void isal_encode(struct bench *b)
{
	ec_encode_data((int)block_bytes, b->k, b->m, b->tables, b->isal_in,
		       b->isal_out);
}

static void encode(struct bench *b)
{
	check(mrmr_parity_encode(b->inputs, (size_t)b->k, b->outputs,
				 (size_t)b->m, block_bytes));
}

static void encode_pieces(struct bench *b)
{
	struct mrmr_parity_input inputs[MAX_BLOCKS];
	struct mrmr_parity_output outputs[MRMR_PARITY_ROWS];
	size_t begin, len;
	int i;

	for (begin = 0; begin < block_bytes; begin += len) {
		len = block_bytes - begin;
		len = len < PIECE_BYTES ? len : PIECE_BYTES;
		for (i = 0; i < b->k; i++) {
			inputs[i] = b->inputs[i];
			inputs[i].data += begin;
			inputs[i].len_bytes = len;
		}
		for (i = 0; i < b->m; i++) {
			outputs[i] = b->outputs[i];
			outputs[i].data += begin;
		}
		check(mrmr_parity_encode(inputs, (size_t)b->k, outputs,
					 (size_t)b->m, len));
	}
}

static void decode(struct bench *b)
{
	check(mrmr_parity_plan_run(&b->plan, b->inputs, b->outputs,
				   block_bytes));
}

static void isal_decode(struct bench *b)
{
	ec_encode_data((int)block_bytes, b->plan.num_inputs,
		       b->plan.num_outputs, b->tables, b->isal_in, b->isal_out);
}

static void isal_join(struct bench *b)
{
	ec_encode_data_update((int)block_bytes, 1, b->m, 0, b->update_tables[0],
			      b->data[0], b->isal_out);
}

static void join(struct bench *b)
{
	check(mrmr_parity_join(&b->inputs[0], b->outputs, (size_t)b->m,
			       block_bytes));
}

static void isal_swap(struct bench *b)
{
	isal_join(b);
	ec_encode_data_update((int)block_bytes, 1, b->m, 0, b->update_tables[1],
			      b->data[1], b->isal_out);
}

static void swap(struct bench *b)
{
	check(mrmr_parity_swap(&b->inputs[0], &b->inputs[1], b->outputs,
			       (size_t)b->m, block_bytes));
}

/* --- preparation ---------------------------------------------------------- */

static void point_to_blocks(struct bench *b, size_t skew)
{
	int i;

	for (i = 0; i < b->k; i++) {
		b->inputs[i].place = (unsigned int)i;
		b->inputs[i].data = b->data[i] + skew * (size_t)(i % 2);
		b->inputs[i].len_bytes = block_bytes;
		b->isal_in[i] = b->data[i] + skew * (size_t)(i % 2);
	}
	for (i = 0; i < b->m; i++) {
		b->outputs[i].place = mrmr_parity_row((unsigned int)i);
		b->outputs[i].data = b->out[i] + skew;
	}
}

static void isal_tables_of_encode(struct bench *b)
{
	uint8_t matrix[MAX_BLOCKS * MRMR_PARITY_ROWS];
	uint8_t column[MRMR_PARITY_ROWS];
	int i, j;

	for (j = 0; j < b->m; j++) {
		for (i = 0; i < b->k; i++) {
			matrix[j * b->k + i] =
				mrmr_parity_coefficient((unsigned int)j,
							(unsigned int)i);
		}
	}
	ec_init_tables(b->k, b->m, matrix, b->tables);
	for (i = 0; i < 2 && i < b->k; i++) {
		for (j = 0; j < b->m; j++) {
			column[j] = matrix[j * b->k + i];
		}
		ec_init_tables(1, b->m, column, b->update_tables[i]);
	}
}

/* The first data blocks are lost; all m rows and the others are there. */
static void make_plan(struct bench *b, int num_wanted)
{
	struct mrmr_parity_set have = {0};
	struct mrmr_parity_set lost = {0};
	struct mrmr_parity_set want = {0};
	int i;

	for (i = 0; i < b->k; i++) {
		mrmr_parity_set_add(i < b->m ? &lost : &have, (unsigned int)i);
	}
	for (i = 0; i < b->m; i++) {
		mrmr_parity_set_add(&have, mrmr_parity_row((unsigned int)i));
	}
	for (i = 0; i < num_wanted; i++) {
		mrmr_parity_set_add(&want, (unsigned int)i);
	}
	check(mrmr_parity_plan_make(&b->plan, &have, &lost, &want, NULL));
}

static void point_to_plan(struct bench *b)
{
	uint8_t matrix[MAX_BLOCKS * MRMR_PARITY_ROWS];
	int i, j;

	for (i = 0; i < b->plan.num_inputs; i++) {
		unsigned int place = b->plan.input[i];
		unsigned int row = place - mrmr_parity_row(0);

		b->isal_in[i] = place < MRMR_PARITY_SLOTS ? b->data[place]
							  : b->parity[row];
		b->inputs[i].place = place;
		b->inputs[i].data = b->isal_in[i];
		b->inputs[i].len_bytes = block_bytes;
	}
	for (j = 0; j < b->plan.num_outputs; j++) {
		b->outputs[j].place = b->plan.output[j];
		b->outputs[j].data = b->out[j];
		memcpy(matrix + j * b->plan.num_inputs, b->plan.coefficient[j],
		       b->plan.num_inputs);
	}
	ec_init_tables(b->plan.num_inputs, b->plan.num_outputs, matrix,
		       b->tables);
}

static size_t bytes_in(const struct bench *b, int n)
{
	size_t total = 0;
	int i;

	for (i = 0; i < n; i++) {
		total += b->inputs[i].len_bytes;
	}
	return total;
}

/* --- measuring ------------------------------------------------------------ */

static void report(const struct bench *b, const char *name, double gb,
		   double isal_gb, double ratio)
{
	if (json) {
		printf("{\"shape\": \"%d+%d\", \"operation\": \"%s\", "
		       "\"gb_per_s\": %.2f, \"isal_gb_per_s\": %.2f, "
		       "\"ratio\": %.3f}\n",
		       b->k, b->m, name, gb, isal_gb, ratio);
	} else {
		printf("%3d+%d  %-8s %8.1f %8.1f %8.2f\n", b->k, b->m, name, gb,
		       isal_gb, ratio);
	}
	fflush(stdout);
}

/* bytes: what ours reads; isal_bytes: what ISA-L reads. */
static void measure(struct bench *b, const char *name,
		    void (*ours)(struct bench *b),
		    void (*isal)(struct bench *b), size_t bytes,
		    size_t isal_bytes)
{
	double t[MAX_ROUNDS];
	double isal_t[MAX_ROUNDS];
	double ratio[MAX_ROUNDS];
	double gb, isal_gb;
	double begin, middle, end;
	int i;

	ours(b);
	isal(b);
	for (i = 0; i < rounds; i++) {
		/* each is first as often as the other */
		begin = now();
		(i % 2 == 0 ? ours : isal)(b);
		middle = now();
		(i % 2 == 0 ? isal : ours)(b);
		end = now();
		t[i] = i % 2 == 0 ? middle - begin : end - middle;
		isal_t[i] = i % 2 == 0 ? end - middle : middle - begin;
		ratio[i] = ((double)bytes / t[i]) /
			   ((double)isal_bytes / isal_t[i]);
	}
	gb = (double)bytes / median(t, rounds) * 1e-9;
	isal_gb = (double)isal_bytes / median(isal_t, rounds) * 1e-9;
	report(b, name, gb, isal_gb, median(ratio, rounds));
}

static void compare(const struct bench *b, int num_outputs, size_t skew)
{
	int j;

	for (j = 0; j < num_outputs; j++) {
		if (memcmp(b->out[j] + skew, b->isal_out[j], block_bytes) !=
		    0) {
			die("wrong bytes");
		}
	}
}

static void measure_encode(struct bench *b)
{
	size_t bytes = (size_t)b->k * block_bytes;
	uint64_t seed = 1;
	int i;

	isal_tables_of_encode(b);
	point_to_blocks(b, 0);
	measure(b, "encode", encode, isal_encode, bytes, bytes);
	compare(b, b->m, 0);
	for (i = 0; i < b->m; i++) {
		memcpy(b->parity[i], b->out[i], block_bytes);
	}
	measure(b, "pieces", encode_pieces, isal_encode, bytes, bytes);
	compare(b, b->m, 0);

	for (i = 1; i < b->k; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		b->inputs[i].len_bytes = (size_t)(seed >> 20) % block_bytes;
	}
	measure(b, "uneven", encode, isal_encode, bytes_in(b, b->k), bytes);

	point_to_blocks(b, 5);
	measure(b, "odd", encode, isal_encode, bytes, bytes);
	compare(b, b->m, 5);
}

static void measure_decode(struct bench *b)
{
	size_t bytes = (size_t)b->k * block_bytes;
	int j;

	make_plan(b, b->m);
	point_to_plan(b);
	measure(b, "decode", decode, isal_decode, bytes, bytes);
	for (j = 0; j < b->m; j++) {
		if (memcmp(b->out[j], b->data[j], block_bytes) != 0) {
			die("wrong bytes");
		}
	}
	if (b->m > 1) {
		make_plan(b, 1);
		point_to_plan(b);
		measure(b, "one", decode, isal_decode, bytes, bytes);
	}
}

static void measure_updates(struct bench *b)
{
	int j;

	isal_tables_of_encode(b);
	point_to_blocks(b, 0);
	for (j = 0; j < b->m; j++) {
		memcpy(b->out[j], b->parity[j], block_bytes);
		memcpy(b->isal_out[j], b->parity[j], block_bytes);
	}
	measure(b, "join", join, isal_join, block_bytes, block_bytes);
	compare(b, b->m, 0);
	measure(b, "swap", swap, isal_swap, 2 * block_bytes, 2 * block_bytes);
	compare(b, b->m, 0);
}

static void measure_plan(struct bench *b)
{
	const int calls = 200;
	double t[MAX_ROUNDS];
	double begin;
	int i, n;

	for (i = 0; i < rounds; i++) {
		begin = now();
		for (n = 0; n < calls; n++) {
			make_plan(b, b->m);
		}
		t[i] = (now() - begin) / calls * 1e6;
	}
	if (json) {
		printf("{\"shape\": \"%d+%d\", \"operation\": \"plan\", "
		       "\"us\": %.2f}\n",
		       b->k, b->m, median(t, rounds));
	} else {
		printf("%3d+%d  %-8s %8.1f us\n", b->k, b->m, "plan",
		       median(t, rounds));
	}
}

static void bench_shape(int k, int m)
{
	struct bench *b = calloc(1, sizeof(*b));
	int i;

	if (b == NULL) {
		die("out of memory");
	}
	b->k = k;
	b->m = m;
	for (i = 0; i < k; i++) {
		b->data[i] = block_alloc();
		fill(b->data[i], (uint64_t)i + 1);
	}
	for (i = 0; i < m; i++) {
		b->parity[i] = block_alloc();
		b->out[i] = block_alloc();
		b->isal_out[i] = block_alloc();
	}
	measure_encode(b);
	measure_decode(b);
	measure_updates(b);
	measure_plan(b);
	for (i = 0; i < k; i++) {
		free(b->data[i]);
	}
	for (i = 0; i < m; i++) {
		free(b->parity[i]);
		free(b->out[i]);
		free(b->isal_out[i]);
	}
	free(b);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"rounds", required_argument, NULL, 'r'},
		{"block", required_argument, NULL, 'b'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	static const int shapes[][2] = {{4, 1}, {4, 2},  {8, 2},  {8, 3},
					{6, 6}, {16, 4}, {24, 8}, {40, 4}};
	size_t i;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'r':
			rounds = atoi(optarg);
			break;
		case 'b':
			block_bytes = (size_t)atol(optarg) * 1024;
			break;
		case 'j':
			json = true;
			break;
		default:
			fprintf(stderr, "usage: parity_bench [--rounds N] "
					"[--block KIB] [--json]\n");
			return 64;
		}
	}
	if (rounds < 1 || rounds > MAX_ROUNDS || block_bytes == 0 ||
	    block_bytes > (size_t)1024 * 1024 * 1024) {
		fprintf(stderr,
			"parity_bench: 1 to %d rounds, blocks of 1 KiB "
			"to 1 GiB\n",
			MAX_ROUNDS);
		return 64;
	}
	if (!json) {
		printf("blocks of %zu KiB, medians of %d rounds\n\n",
		       block_bytes / 1024, rounds);
		printf("shape  what         GB/s    ISA-L    ratio\n");
	}
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		bench_shape(shapes[i][0], shapes[i][1]);
	}
	return 0;
}
