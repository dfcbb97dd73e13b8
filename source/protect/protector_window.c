/*
 * MRMR: the protector: what it remembers of files that are pending.
 *
 * The list of them may be as long as the catalogue (protector_pending.c). Here are
 * those that are about to be looked at, and those that have been and are to be
 * again: when, and how it went. There is room for a number of files that does not
 * depend on the list's length; those of which nothing is to be remembered go first
 * (protector_due.c says who comes).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "protector_private.h"

#define PLACES 131072

struct window {
	struct pending_entry *entries; /* talloc; as far as was ever in use */
	uint32_t *table; /* talloc; node -> index + 1, open addressing */
	uint32_t table_size;
	uint32_t *free; /* talloc; indices below end that are not in use */
	uint32_t num_free;
	uint32_t end; /* indices go up to this */
	uint32_t places;
	uint32_t num;
	uint32_t num_most;
	uint32_t serial;
	bool is_touched;
};

/* --- finding one by its node ----------------------------------------------- */

static uint32_t start_of(const struct window *window, uint64_t node)
{
	uint64_t hash = node * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(hash >> 32) & (window->table_size - 1);
}

static void table_enter(struct window *window, uint32_t index)
{
	uint32_t at = start_of(window, window->entries[index].node);

	while (window->table[at] != 0) {
		at = (at + 1) & (window->table_size - 1);
	}
	window->table[at] = index + 1;
}

static int table_grow(struct window *window, uint32_t size)
{
	uint32_t i;

	talloc_free(window->table);
	window->table = talloc_zero_array(window, uint32_t, size);
	if (window->table == NULL) {
		return -1;
	}
	window->table_size = size;
	for (i = 0; i < window->end; i++) {
		if (window->entries[i].node != 0) {
			table_enter(window, i);
		}
	}
	return 0;
}

uint32_t window_find(const struct window *window, uint64_t node)
{
	uint32_t at = start_of(window, node);

	while (window->table[at] != 0) {
		uint32_t index = window->table[at] - 1;

		if (window->entries[index].node == node) {
			return index;
		}
		at = (at + 1) & (window->table_size - 1);
	}
	return WINDOW_NONE;
}

/* Those behind it in the same run move up. */
static void table_remove(struct window *window, uint32_t index)
{
	const uint32_t mask = window->table_size - 1;
	uint32_t at = start_of(window, window->entries[index].node);
	uint32_t next;

	while (window->table[at] != index + 1) {
		at = (at + 1) & mask;
	}
	window->table[at] = 0;
	for (next = (at + 1) & mask; window->table[next] != 0;
	     next = (next + 1) & mask) {
		uint32_t moved = window->table[next] - 1;

		window->table[next] = 0;
		table_enter(window, moved);
	}
}

/* --- coming and going --------------------------------------------------------- */

static int grow(struct window *window)
{
	uint32_t size = (uint32_t)talloc_array_length(window->entries);
	struct pending_entry *entries = NULL;
	uint32_t *free = NULL;

	if (window->end < size) {
		return 0;
	}
	size = size > 0 ? 2 * size : 512;
	size = size < window->places ? size : window->places;
	entries = talloc_realloc(window, window->entries, struct pending_entry,
				 size);
	if (entries == NULL) {
		return -1;
	}
	window->entries = entries;
	free = talloc_realloc(window, window->free, uint32_t, size);
	if (free == NULL) {
		return -1;
	}
	window->free = free;
	return 0;
}

int window_enter(struct window *window, uint64_t node, uint32_t *index)
{
	if (window->num_free > 0) {
		*index = window->free[--window->num_free];
	} else {
		if (grow(window) == -1) {
			errno = ENOMEM;
			return -1;
		}
		*index = window->end++;
	}
	window->entries[*index] = (struct pending_entry){
		.node = node,
		.serial = ++window->serial,
	};
	window->num++;
	if (window->num > window->num_most) {
		window->num_most = window->num;
	}
	/* at most two thirds full */
	if (window->num + window->num / 2 > window->table_size) {
		if (table_grow(window, 2 * window->table_size) == -1) {
			errno = ENOMEM;
			return -1;
		}
		return 0; /* it is in there */
	}
	table_enter(window, *index);
	return 0;
}

void window_leave(struct window *window, uint32_t index)
{
	table_remove(window, index);
	window->entries[index] = (struct pending_entry){.node = 0};
	window->free[window->num_free++] = index;
	window->num--;
}

void window_touch(struct window *window, uint64_t node)
{
	uint32_t index = window_find(window, node);

	window->is_touched = true;
	if (index != WINDOW_NONE) {
		/* what hindered it may be over */
		window->entries[index] = (struct pending_entry){
			.node = node,
			.serial = ++window->serial,
			.is_large = window->entries[index].is_large,
		};
	}
}

bool window_is_touched(const struct window *window)
{
	return window->is_touched;
}

void window_forget_touched(struct window *window)
{
	window->is_touched = false;
}

struct pending_entry *window_get(struct window *window, uint32_t index)
{
	return &window->entries[index];
}

uint32_t window_end(const struct window *window)
{
	return window->end;
}

uint32_t window_room(const struct window *window)
{
	return window->num < window->places ? window->places - window->num : 0;
}

uint32_t window_places(const struct window *window)
{
	return window->places;
}

uint32_t window_num_most(const struct window *window)
{
	return window->num_most;
}

struct window *window_new(void *mem_ctx, uint32_t places)
{
	struct window *window = talloc_zero(mem_ctx, struct window);

	if (window == NULL) {
		return NULL;
	}
	window->places = places > 0 ? places : PLACES;
	if (table_grow(window, 1024) == -1) {
		TALLOC_FREE(window);
	}
	return window;
}
