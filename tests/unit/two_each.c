/*
 * Unit tests: a pool with two protected files on each of its four members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdio.h>

#include "two_each.h"

#define MEMBERS 4
#define FILES (2 * MEMBERS)

struct world *two_each_new(const char *parity, const char *config)
{
	struct world_shape shape = {.num_members = MEMBERS, .parity = parity};
	static char text[256];

	snprintf(text, sizeof(text), ", \"block_size\": \"64K\"%s", config);
	shape.config = text;
	return world_new(&shape);
}

void two_each_make(struct world *w)
{
	char path[16];
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		client_write_on(w, i % MEMBERS, path, i, 2 * BLOCK);
	}
}

void two_each_verify(struct world *w, unsigned int first, unsigned int lose)
{
	char path[16];
	unsigned int i;

	for (i = first; i < FILES; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		verify(w, path, i, 2 * BLOCK, lose);
	}
}
