/*
 * MRMR: the known word that a mistyped one was probably meant to be.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_NEAREST_H
#define MRMR_NEAREST_H

/*
 * The word of known (which ends with NULL) that is nearest to word, or NULL
 * if none is near enough to be suggested.
 */
const char *mrmr_nearest_word(const char *word, const char *const *known);

#endif
