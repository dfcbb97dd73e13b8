/*
 * Unit tests: a catalogue as simple arrays, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_MODEL_PRIVATE_H
#define CATALOG_MODEL_PRIVATE_H

#include "catalog_model.h"

/* NULL if there is none. */
const struct model_node *model_find(const struct model *m, uint64_t id);
const struct model_node *model_find_name(const struct model *m, uint64_t dir_id,
					 const char *name);
bool model_is_in_stripe(const struct model_node *n);
bool model_is_in_trash(const struct model_node *n);
uint32_t model_slot_bytes(const struct model_slot *slot);

/* To be freed. */
uint8_t *model_bytes(uint32_t seed, uint32_t len);
char *model_target(const struct model_node *n);

#endif
