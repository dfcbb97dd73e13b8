/*
 * MRMR: linear combinations of blocks, at the speed of memory.
 *
 * Whatever is asked of the code, encoding or decoding, in the end some output
 * blocks are sums of multiples of some input blocks:
 *
 *	output j  =  sum over i of  m[j][i] * input i
 *
 * ISA-L has two functions for that, and this file chooses for each stretch of
 * bytes. ec_encode_data() computes up to 6 outputs in one pass over all inputs,
 * keeping the sums in registers; ec_encode_data_update() adds one input to
 * outputs that are there, so each input costs another read and write of the
 * outputs.
 *
 * Pieces. Where there are more than 6 outputs, ISA-L goes over the inputs more
 * than once. So we proceed by 16 KiB of every block at a time, that the second
 * time they come from a near cache. Up to 6 need no pieces.
 *
 * Unequal lengths. The inputs are sorted by length, longest first; those that
 * reach beyond a position are then the first so-and-so-many. A piece ends where
 * the shortest of these ends, so that each piece has a set of inputs which fill
 * it. Zeros are neither written nor multiplied. Only when such a piece would be
 * too short to be worth new tables, it goes on for 16 KiB, and the inputs that
 * end in it are added by ec_encode_data_update().
 *
 *	input a  |=====================|==========|===|
 *	input b  |=====================|==========|
 *	input c  |=====================|
 *	           pieces of 3 inputs      of 2    of 1
 *
 * Tables. ISA-L wants each coefficient expanded, to 32 bytes in version 2.30,
 * to 8 in later ones on some processors. That takes some 5 ns a coefficient,
 * so they are made on the stack when the set of inputs changes, and the form
 * is left to ISA-L. To bound the stack, wide stripes with many outputs get
 * their outputs in groups.
 *
 * XOR. A row of ones needs no multiplication. Yet to leave it to xor_gen() and
 * only the other rows to ec_encode_data() does not pay: blocks come from far
 * (the page cache), and the second row costs little in the shadow of waiting
 * for memory, whereas a second pass waits again. With 8 + 2 blocks of 4 MiB, on
 * processors with AVX-512 and with AVX2, it is 0.8 to 1.0 of the speed of
 * ec_encode_data() for all rows. So xor_gen() gets the row when that saves
 * ISA-L a pass: when it is the only output, or the seventh. The only one it is
 * whenever parity is single, or one block is lost and row 0 is left: 1.0 of
 * ISA-L's speed from far, more than 2.0 from a cache.
 *
 * In place. Outputs that are far away cost about as much as reading all inputs
 * from near. What is read into the output, instead of beside it, has brought it
 * near: then adding the other inputs one by one is the faster way, although each
 * is another pass.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include <isa-l.h>

#include "parity_private.h"

/* Multiples of 64, so that aligned blocks stay aligned. */
#define PIECE_BYTES ((size_t)16 * 1024)
#define CALL_BYTES ((size_t)1024 * 1024 * 1024) /* ISA-L's lengths are int */

/* A shorter piece is not worth tables of its own. */
#define PIECE_MIN_BYTES ((size_t)1024)

/* ISA-L's documentation of gftbls */
#define TABLE_BYTES 32

/* What ec_encode_data() computes in one pass. */
#define OUTPUTS_PER_PASS 6

/* Coefficients in one call; at least two outputs of the widest stripe. */
#define MAX_COEFFICIENTS ((size_t)512)

/* What xor_gen() requires of pointers. */
#define XOR_ALIGNMENT 32

struct combination {
	const struct mrmr_parity_plan *plan;

	/* the inputs, longest first */
	size_t num_inputs;
	uint8_t *data[MRMR_PARITY_SLOTS];
	size_t len_bytes[MRMR_PARITY_SLOTS];
	uint8_t index[MRMR_PARITY_SLOTS]; /* of it in the plan */

	/*
	 * The outputs; if xor_last, the last is a sum of all inputs and is left
	 * to xor_gen().
	 */
	size_t num_outputs;
	uint8_t *out[MRMR_PARITY_ROWS];
	uint8_t out_index[MRMR_PARITY_ROWS];
	bool xor_last;

	/*
	 * For the outputs [table_first, table_first + table_outputs) of the
	 * first table_inputs inputs; they are valid if table_outputs > 0.
	 */
	size_t table_first;
	size_t table_outputs;
	size_t table_inputs;
	uint8_t tables[MAX_COEFFICIENTS * TABLE_BYTES];
};

/* --- preparation ---------------------------------------------------------- */

/* Most stripes are nearly sorted: their blocks are equally long but for few. */
static void sort_inputs(struct combination *c,
			const struct mrmr_parity_input *inputs, size_t n)
{
	size_t i, at;

	for (i = 0; i < n; i++) {
		size_t len_bytes = inputs[i].len_bytes;

		for (at = i; at > 0 && c->len_bytes[at - 1] < len_bytes; at--) {
			c->data[at] = c->data[at - 1];
			c->len_bytes[at] = c->len_bytes[at - 1];
			c->index[at] = c->index[at - 1];
		}
		/* ISA-L does not say const, but does not write to inputs */
		c->data[at] = (uint8_t *)(uintptr_t)inputs[i].data;
		c->len_bytes[at] = len_bytes;
		c->index[at] = (uint8_t)i;
	}
	c->num_inputs = n;
}

static bool is_sum(const struct mrmr_parity_plan *plan, size_t output)
{
	size_t i;

	for (i = 0; i < plan->num_inputs; i++) {
		if (plan->coefficient[output][i] != 1) {
			return false;
		}
	}
	return true;
}

static bool is_aligned(const void *pointer)
{
	return (uintptr_t)pointer % XOR_ALIGNMENT == 0;
}

/* Is xor_gen() of use (see above), and can it compute this output? */
static bool is_xor_output(const struct combination *c, const uint8_t *out,
			  size_t output)
{
	size_t i;

	if (c->plan->num_outputs % OUTPUTS_PER_PASS != 1) {
		return false;
	}
	if (!is_aligned(out)) {
		return false;
	}
	for (i = 0; i < c->num_inputs; i++) {
		if (c->len_bytes[i] > 0 && !is_aligned(c->data[i])) {
			return false;
		}
	}
	return is_sum(c->plan, output);
}

static void take_outputs(struct combination *c,
			 const struct mrmr_parity_output *outputs)
{
	size_t num_outputs = c->plan->num_outputs;
	size_t last = num_outputs;
	size_t j, at = 0;

	for (j = 0; j < num_outputs && last == num_outputs; j++) {
		if (is_xor_output(c, outputs[j].data, j)) {
			last = j;
		}
	}
	for (j = 0; j < num_outputs; j++) {
		if (j != last) {
			c->out[at] = outputs[j].data;
			c->out_index[at] = (uint8_t)j;
			at++;
		}
	}
	if (last < num_outputs) {
		c->out[at] = outputs[last].data;
		c->out_index[at] = (uint8_t)last;
		c->xor_last = true;
	}
	c->num_outputs = num_outputs;
}

/* --- one piece ------------------------------------------------------------ */

static void make_tables(struct combination *c, size_t first, size_t num_outputs,
			size_t num_inputs)
{
	uint8_t coefficient[MAX_COEFFICIENTS];
	size_t j, i, at = 0;

	if (c->table_outputs == num_outputs && c->table_first == first &&
	    c->table_inputs == num_inputs) {
		return;
	}
	for (j = first; j < first + num_outputs; j++) {
		const uint8_t *row = c->plan->coefficient[c->out_index[j]];

		for (i = 0; i < num_inputs; i++) {
			coefficient[at++] = row[c->index[i]];
		}
	}
	ec_init_tables((int)num_inputs, (int)num_outputs, coefficient,
		       c->tables);
	c->table_first = first;
	c->table_outputs = num_outputs;
	c->table_inputs = num_inputs;
}

/* The first num_inputs inputs, all of which fill the piece. */
static void multiply(struct combination *c, size_t num_inputs, size_t begin,
		     size_t len_bytes, size_t num_outputs)
{
	uint8_t *in[MRMR_PARITY_SLOTS];
	uint8_t *out[MRMR_PARITY_ROWS];
	size_t group = MAX_COEFFICIENTS / num_inputs;
	size_t i, j;

	for (i = 0; i < num_inputs; i++) {
		in[i] = c->data[i] + begin;
	}
	for (j = 0; j < num_outputs; j++) {
		out[j] = c->out[j] + begin;
	}
	for (j = 0; j < num_outputs; j += group) {
		size_t left = num_outputs - j;
		size_t n = left < group ? left : group;

		make_tables(c, j, n, num_inputs);
		ec_encode_data((int)len_bytes, (int)num_inputs, (int)n,
			       c->tables, in, out + j);
	}
}

static bool sum(struct combination *c, size_t num_inputs, size_t begin,
		size_t len_bytes, uint8_t *out)
{
	void *vector[MRMR_PARITY_SLOTS + 1];
	size_t i;
	int ret;

	if (num_inputs == 1) {
		memcpy(out + begin, c->data[0] + begin, len_bytes);
		return true;
	}
	for (i = 0; i < num_inputs; i++) {
		vector[i] = c->data[i] + begin;
	}
	vector[num_inputs] = out + begin;
	ret = xor_gen((int)num_inputs + 1, (int)len_bytes, vector);
	return ret == 0;
}

/* An input that ends in this piece. */
static void add_end(struct combination *c, size_t input, size_t begin)
{
	uint8_t tables[MRMR_PARITY_ROWS * TABLE_BYTES];
	uint8_t coefficient[MRMR_PARITY_ROWS];
	uint8_t *out[MRMR_PARITY_ROWS];
	size_t len_bytes = c->len_bytes[input] - begin;
	size_t j;

	for (j = 0; j < c->num_outputs; j++) {
		size_t row = c->out_index[j];

		coefficient[j] = c->plan->coefficient[row][c->index[input]];
		out[j] = c->out[j] + begin;
	}
	ec_init_tables(1, (int)c->num_outputs, coefficient, tables);
	ec_encode_data_update((int)len_bytes, 1, (int)c->num_outputs, 0, tables,
			      c->data[input] + begin, out);
}

static void zero(struct combination *c, size_t begin, size_t len_bytes)
{
	size_t j;

	for (j = 0; j < c->num_outputs; j++) {
		memset(c->out[j] + begin, 0, len_bytes);
	}
}

static void combine_filled(struct combination *c, size_t num_inputs,
			   size_t begin, size_t len_bytes)
{
	size_t num_outputs = c->num_outputs;

	if (num_inputs == 0) {
		zero(c, begin, len_bytes);
		return;
	}
	if (c->xor_last &&
	    sum(c, num_inputs, begin, len_bytes, c->out[num_outputs - 1])) {
		num_outputs--;
	}
	if (num_outputs > 0) {
		multiply(c, num_inputs, begin, len_bytes, num_outputs);
	}
}

/* --- all pieces ----------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Where the piece ends that begins at begin; it has num_active inputs. */
static size_t end_of_piece(const struct combination *c, size_t num_active,
			   size_t begin, size_t len_bytes)
{
	size_t shortest = c->len_bytes[num_active - 1];
	size_t cut = shortest & ~(size_t)63;
	bool one_pass = c->num_outputs <= OUTPUTS_PER_PASS &&
			c->num_outputs * num_active <= MAX_COEFFICIENTS;
	size_t max = one_pass ? CALL_BYTES : PIECE_BYTES;

	if (shortest - begin < max && shortest < len_bytes) {
		max = PIECE_BYTES;
		if (cut >= begin + PIECE_MIN_BYTES) {
			max = cut - begin;
		}
	}
	return smaller(begin + max, len_bytes);
}

void mrmr_parity_combine(const struct mrmr_parity_plan *plan,
			 const struct mrmr_parity_input *inputs,
			 const struct mrmr_parity_output *outputs,
			 size_t len_bytes)
{
	struct combination c;
	size_t begin, end;
	size_t num_active, num_filled, i;

	if (plan->num_outputs == 0) {
		return;
	}
	/* not = {0}: zeroing the tables takes longer than a small job */
	c.plan = plan;
	c.xor_last = false;
	c.table_outputs = 0;
	sort_inputs(&c, inputs, plan->num_inputs);
	take_outputs(&c, outputs);

	num_active = c.num_inputs;
	for (begin = 0; begin < len_bytes; begin = end) {
		while (num_active > 0 && c.len_bytes[num_active - 1] <= begin) {
			num_active--;
		}
		if (num_active == 0) {
			zero(&c, begin, len_bytes - begin);
			return;
		}
		end = end_of_piece(&c, num_active, begin, len_bytes);
		num_filled = num_active;
		while (num_filled > 0 && c.len_bytes[num_filled - 1] < end) {
			num_filled--;
		}
		combine_filled(&c, num_filled, begin, end - begin);
		for (i = num_filled; i < num_active; i++) {
			add_end(&c, i, begin);
		}
	}
}

/* --- adding to what is there ---------------------------------------------- */

/* Tables of this many blocks are kept through a pass; a swap has two. */
#define BLOCKS_PER_PASS 8

struct addition {
	const struct mrmr_parity_input *block;
	uint8_t tables[MRMR_PARITY_ROWS * TABLE_BYTES];
};

static void prepare_addition(struct addition *a,
			     const struct mrmr_parity_input *block,
			     const struct mrmr_parity_output *rows,
			     size_t num_rows)
{
	uint8_t coefficient[MRMR_PARITY_ROWS];
	size_t j;

	for (j = 0; j < num_rows; j++) {
		unsigned int row = rows[j].place - mrmr_parity_row(0);

		coefficient[j] = mrmr_parity_coefficient(row, block->place);
	}
	ec_init_tables(1, (int)num_rows, coefficient, a->tables);
	a->block = block;
}

static void add_piece(struct addition *a, const struct mrmr_parity_output *rows,
		      size_t num_rows, size_t begin)
{
	uint8_t *out[MRMR_PARITY_ROWS];
	uint8_t *data = NULL;
	size_t len_bytes, j;

	if (a->block->len_bytes <= begin) {
		return;
	}
	len_bytes = a->block->len_bytes - begin;
	if (len_bytes > PIECE_BYTES) {
		len_bytes = PIECE_BYTES;
	}
	for (j = 0; j < num_rows; j++) {
		out[j] = rows[j].data + begin;
	}
	data = (uint8_t *)(uintptr_t)a->block->data;
	ec_encode_data_update((int)len_bytes, 1, (int)num_rows, 0, a->tables,
			      data + begin, out);
}

static void add_blocks(const struct mrmr_parity_input *blocks,
		       size_t num_blocks, const struct mrmr_parity_output *rows,
		       size_t num_rows)
{
	struct addition additions[BLOCKS_PER_PASS];
	size_t longest = 0;
	size_t begin, i;

	for (i = 0; i < num_blocks; i++) {
		prepare_addition(&additions[i], &blocks[i], rows, num_rows);
		if (blocks[i].len_bytes > longest) {
			longest = blocks[i].len_bytes;
		}
	}
	for (begin = 0; begin < longest; begin += PIECE_BYTES) {
		for (i = 0; i < num_blocks; i++) {
			add_piece(&additions[i], rows, num_rows, begin);
		}
	}
}

void mrmr_parity_accumulate(const struct mrmr_parity_input *blocks,
			    size_t num_blocks,
			    const struct mrmr_parity_output *rows,
			    size_t num_rows)
{
	size_t first;

	if (num_rows == 0) {
		return;
	}
	for (first = 0; first < num_blocks; first += BLOCKS_PER_PASS) {
		size_t left = num_blocks - first;
		size_t n = left < BLOCKS_PER_PASS ? left : BLOCKS_PER_PASS;

		add_blocks(blocks + first, n, rows, num_rows);
	}
}

static void add_input(const struct mrmr_parity_input *input, uint8_t *tables,
		      uint8_t *out, size_t begin)
{
	uint8_t *data = NULL;
	uint8_t *at = out + begin;
	size_t len_bytes;

	if (input->len_bytes <= begin) {
		return;
	}
	len_bytes = smaller(input->len_bytes - begin, PIECE_BYTES);
	data = (uint8_t *)(uintptr_t)input->data;
	ec_encode_data_update((int)len_bytes, 1, 1, 0, tables, data + begin,
			      &at);
}

void mrmr_parity_add_others(const struct mrmr_parity_plan *plan,
			    const struct mrmr_parity_input *inputs, size_t base,
			    uint8_t *out, size_t len_bytes)
{
	uint8_t tables[MRMR_PARITY_SLOTS][TABLE_BYTES];
	uint8_t coefficient;
	size_t begin, i;

	for (i = 0; i < plan->num_inputs; i++) {
		coefficient = plan->coefficient[0][i];
		ec_init_tables(1, 1, &coefficient, tables[i]);
	}
	memset(out + inputs[base].len_bytes, 0,
	       len_bytes - inputs[base].len_bytes);
	for (begin = 0; begin < len_bytes; begin += PIECE_BYTES) {
		for (i = 0; i < plan->num_inputs; i++) {
			if (i != base) {
				add_input(&inputs[i], tables[i], out, begin);
			}
		}
	}
}
