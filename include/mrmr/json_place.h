/*
 * MRMR: places in a JSON text, for messages that name a line and a key.
 *
 * The JSON library says in which line a syntax error is, but keeps no lines
 * for the values of a text that is valid. This finds them again: a place is a
 * path of keys and indices, and its line is looked up in the text when a
 * message needs it, which happens once per failed read.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_JSON_PLACE_H
#define MRMR_JSON_PLACE_H

#include <stddef.h>

/*
 * One step below parent; NULL stands for the whole text. Places live on the
 * stack of whoever walks the values: nothing is allocated until one is named.
 */
struct mrmr_json_place {
	const struct mrmr_json_place *parent;
	const char *key; /* in an object; NULL: an element of an array */
	size_t index;    /* of that element */
};

/*
 * The line, from 1, in which the place begins: that of its key in an object,
 * that of the value itself elsewhere. 0 if the text has no such place. The
 * text may be anything; only of valid JSON is the answer of use.
 */
unsigned int mrmr_json_place_line(const struct mrmr_json_place *place,
				  const char *text, size_t len);

/* "mounts[2].connection.type"; a talloc child of mem_ctx. */
char *mrmr_json_place_name(void *mem_ctx, const struct mrmr_json_place *place);

#endif
