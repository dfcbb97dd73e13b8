/*
 * MRMR: failure units.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdbool.h>
#include <string.h>

#include <mrmr/units.h>

/* The first member that is lost together with this one: itself, or a member
   of the same stack. */
static size_t first_of_unit(const struct mrmr_config *config, size_t index)
{
	const char *stack = config->members[index].stack;
	size_t i;

	for (i = 0; stack != NULL && i < index; i++) {
		if (config->members[i].stack != NULL &&
		    strcmp(config->members[i].stack, stack) == 0) {
			return i;
		}
	}
	return index;
}

/*
 * A data block and its N parity blocks lie on N + 1 units. Only units with a
 * member that may hold parity can take the N, and where a unit takes both files
 * and parity, it is not there for the parity of its own files.
 */
static unsigned int max_rows(const struct mrmr_config *config,
			     const struct mrmr_units *units)
{
	bool files[MRMR_MEMBERS_MAX] = {false};
	bool parity[MRMR_MEMBERS_MAX] = {false};
	size_t num_for_parity = 0;
	bool any_for_both = false;
	size_t max = units->num - 1;
	size_t i;

	for (i = 0; i < config->num_members; i++) {
		enum mrmr_member_role role = config->members[i].role;

		files[units->unit[i]] |= role != MRMR_ROLE_PARITY;
		parity[units->unit[i]] |= role != MRMR_ROLE_DATA;
	}
	for (i = 0; i < units->num; i++) {
		num_for_parity += parity[i];
		any_for_both = any_for_both || (files[i] && parity[i]);
	}
	if (any_for_both) {
		num_for_parity--;
	}
	if (num_for_parity < max) {
		max = num_for_parity;
	}
	return max < MRMR_PARITY_MAX ? (unsigned int)max : MRMR_PARITY_MAX;
}

void mrmr_units_find(const struct mrmr_config *config, struct mrmr_units *units)
{
	size_t i;

	*units = (struct mrmr_units){0};
	for (i = 0; i < config->num_members; i++) {
		size_t first = first_of_unit(config, i);

		units->unit[i] =
			first < i ? units->unit[first] : (uint8_t)units->num++;
	}
	if (units->num > 0) {
		units->max_rows = max_rows(config, units);
	}
}
