/*
 * mrmr-admin status: how scrubbing stands (see scrub_status.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <mrmr/scrub.h>

#include "scrub_status.h"

static json_t *scrub_json(const struct mrmr_scrub_state *state,
			  const struct mrmr_scrub_ages *ages)
{
	json_t *object = admin_need(json_object());
	double all = (double)ages->num_looked_at;

	admin_set(object, "time",
		  state->time_s != 0 ? json_integer(state->time_s)
				     : json_null());
	admin_set(object, "is_unfinished", json_boolean(state->is_unfinished));
	admin_set(object, "oldest_days", json_integer(ages->oldest_days));
	admin_set(object, "recent_share",
		  json_real(all > 0 ? (double)ages->num_recent / all : 1));
	admin_set(object, "never_share",
		  json_real(all > 0 ? (double)ages->num_never / all : 0));
	admin_set(object, "wrong_blocks", json_integer(state->wrong_blocks));
	admin_set(object, "left_blocks", json_integer(state->left_blocks));
	admin_set(object, "ever_wrong_blocks",
		  json_integer(state->ever_wrong_blocks));
	admin_set(object, "ever_repaired_blocks",
		  json_integer(state->ever_repaired_blocks));
	return object;
}

static void say(struct admin *admin, const struct mrmr_scrub_state *state,
		const struct mrmr_scrub_ages *ages)
{
	if (ages->num_looked_at == 0) {
		return;
	}
	if (ages->num_never == ages->num_looked_at) {
		admin_say(admin, "Scrubbed   never (mrmr-admin scrub)");
	} else {
		admin_say(admin,
			  "Scrubbed   %.0f%% within 30 days, oldest %u days "
			  "ago, %.0f%% never%s",
			  (double)ages->num_recent * 100 /
				  (double)ages->num_looked_at,
			  ages->oldest_days,
			  (double)ages->num_never * 100 /
				  (double)ages->num_looked_at,
			  state->is_unfinished ? "; the last was interrupted"
					       : "");
	}
	if (state->ever_wrong_blocks > 0) {
		admin_say(admin,
			  "           bad blocks: %u found, %u repaired; the "
			  "last scrub left %u%s",
			  state->ever_wrong_blocks, state->ever_repaired_blocks,
			  state->left_blocks,
			  state->left_blocks > 0
				  ? " (mrmr-admin scrub --repair)"
				  : "");
	}
}

bool admin_scrub_status(struct admin *admin, struct mrmr_catalog *catalog)
{
	struct mrmr_scrub_state state;
	struct mrmr_scrub_ages ages;

	if (catalog == NULL) {
		return false;
	}
	if ((mrmr_scrub_state(catalog, &state) == -1 && errno != ENOENT) ||
	    mrmr_scrub_ages(catalog, &ages) == -1) {
		admin_note(admin, "how scrubbing stands cannot be read: %s",
			   strerror(errno));
		return true;
	}
	say(admin, &state, &ages);
	admin_set(admin->result, "scrub", scrub_json(&state, &ages));
	return state.left_blocks > 0;
}
