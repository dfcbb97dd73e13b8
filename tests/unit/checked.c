/*
 * Unit tests: a pool to be checked (see checked.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <talloc.h>

#include "checked.h"

void checked_make(struct checked *k)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "1"};
	static const struct prow rows[] = {{0, 3}, {2, 4}};
	static const struct prow row[] = {{0, 2}};
	struct pfile **f = k->files;

	k->p = protected_new(&shape);
	f[0] = protected_file(k->p, 0, "a/large", 1, 50000, GRID);
	f[1] = protected_file(k->p, 1, "b/large", 2, GRID, GRID);
	f[2] = protected_file(k->p, 2, "c", 3, 777, GRID);
	f[3] = protected_file(k->p, 0, "a/small", 4, 1000, GRID);
	f[4] = protected_file(k->p, 0, "a/tiny", 5, 17, GRID);
	f[5] = protected_file(k->p, 1, "b/small", 6, 3000, GRID);
	f[6] = protected_file(k->p, 1, "b/last", 7, 5000, GRID);
	f[7] = protected_file(k->p, 3, "d", 8, 6000, GRID);
	k->stripes[0] = protected_stripe(k->p,
					 (struct pslot[]){{0, {{f[0], 0, 0}}},
							  {1, {{f[1], 0, 0}}},
							  {5, {{f[2], 0, 0}}},
							  {0}},
					 rows, 2);
	k->stripes[1] = protected_stripe(k->p,
					 (struct pslot[]){{0,
							   {{f[3], 0, 0},
							    {NULL, 0, 500},
							    {f[4], 0, 0}}},
							  {1,
							   {{f[5], 0, 0},
							    {f[6], 0, 0}}},
							  {2, {{f[7], 0, 0}}},
							  {0}},
					 row, 1);
}

void checked_free(struct checked *k)
{
	protected_hide(k->p, 0);
	protected_free(k->p);
}

struct mrmr_check_result *checked_check(struct checked *k, const bool *lose)
{
	struct mrmr_check_options options = {.lose = lose};
	struct mrmr_error err = {0};
	struct mrmr_check_result *result =
		mrmr_check(k->p->engine, k->p->engine, &options, &err);

	if (result == NULL) {
		fail_msg("%s", err.text);
	}
	assert_true(result->is_complete);
	return result;
}

const struct mrmr_check_file *checked_find(const struct mrmr_check_result *r,
					   const struct pfile *file)
{
	size_t i;

	for (i = 0; i < r->num_listed; i++) {
		if (r->files[i].id == file->id) {
			return &r->files[i];
		}
	}
	return NULL;
}
