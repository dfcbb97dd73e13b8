/*
 * MRMR: the known word that was probably meant (see mrmr/nearest.h).
 *
 * The distance of two words is the number of letters to insert, delete,
 * replace, or swap with their neighbour to turn one into the other: the usual
 * table, d[i][j] for the first i letters of one and the first j of the other,
 * of which only the last three rows are kept. Case does not count, and "-"
 * and "_" are one letter. About one slip in four letters is forgiven; a word
 * that contains the other is near, too ("parity", "parity_drives").
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <mrmr/nearest.h>

#define WORD_MAX_LEN 32 /* longer words are nobody's typing slip */
#define CONTAINED_MIN_LEN 4

static int letter(char c)
{
	return c == '-' ? '_' : tolower((unsigned char)c);
}

static unsigned int smaller(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Both words are at most WORD_MAX_LEN long. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int rows[3][WORD_MAX_LEN + 1] = {{0}};
	unsigned int *before = rows[0];
	unsigned int *above = rows[1];
	unsigned int *row = rows[2];
	size_t a_len = strlen(a);
	size_t b_len = strlen(b);
	size_t i;
	size_t j;

	for (j = 0; j <= b_len; j++) {
		row[j] = (unsigned int)j;
	}
	for (i = 1; i <= a_len; i++) {
		unsigned int *oldest = before;

		before = above;
		above = row;
		row = oldest;
		row[0] = (unsigned int)i;
		for (j = 1; j <= b_len; j++) {
			bool same = letter(a[i - 1]) == letter(b[j - 1]);

			row[j] = smaller(above[j], row[j - 1]) + 1;
			row[j] = smaller(row[j], above[j - 1] + !same);
			if (i > 1 && j > 1 &&
			    letter(a[i - 1]) == letter(b[j - 2]) &&
			    letter(a[i - 2]) == letter(b[j - 1])) {
				row[j] = smaller(row[j], before[j - 2] + 1);
			}
		}
	}
	return row[b_len];
}

static bool contains(const char *whole, const char *part)
{
	return strlen(part) >= CONTAINED_MIN_LEN &&
	       strcasestr(whole, part) != NULL;
}

const char *mrmr_nearest_word(const char *word, const char *const *known)
{
	const char *nearest = NULL;
	unsigned int nearest_distance = UINT_MAX;
	size_t len = strlen(word);
	size_t i;

	if (len > WORD_MAX_LEN) {
		return NULL;
	}
	for (i = 0; known[i] != NULL; i++) {
		unsigned int far;

		if (strlen(known[i]) > WORD_MAX_LEN) {
			continue;
		}
		far = distance(word, known[i]);
		if (far > 1 + len / 4) {
			if (!contains(known[i], word) &&
			    !contains(word, known[i])) {
				continue;
			}
			far = WORD_MAX_LEN + 1; /* after any slip */
		}
		if (far < nearest_distance) {
			nearest = known[i];
			nearest_distance = far;
		}
	}
	return nearest;
}
