/*
 * mrmr-admin: the pool with its catalogue (see engine.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <time.h>

#include <talloc.h>

#include <mrmr/protector.h>

#include "engine.h"
#include "progress.h"

#define RETRY_NS (200 * 1000 * 1000)

/* A wait in the kernel could not be interrupted, and would not say anything. */
struct mrmr_engine *admin_engine_wait(struct admin *admin,
				      struct mrmr_pool *pool,
				      struct mrmr_error *err)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	bool has_said = false;

	while (!admin_should_stop(NULL)) {
		struct mrmr_engine *engine =
			mrmr_engine_open(admin, pool, MRMR_ENGINE_TRY, err);

		if (engine != NULL || err->code != EAGAIN) {
			return engine;
		}
		if (!has_said) {
			admin_note(admin, "%s; waiting for it", err->text);
			has_said = true;
		}
		nanosleep(&pause, NULL);
	}
	mrmr_error_set(err, EINTR, "interrupted; nothing was done");
	return NULL;
}

struct mrmr_engine *admin_engine_open(struct admin *admin,
				      enum mrmr_engine_mode mode, int *status)
{
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_engine *engine = NULL;
	struct mrmr_pool *pool = NULL;
	struct mrmr_error err = {0};

	if (config == NULL) {
		*status = ADMIN_CONFIG;
		return NULL;
	}
	pool = mrmr_pool_open(admin, config, NULL, &err);
	if (pool == NULL) {
		*status = admin_fail(admin, ADMIN_FAILED, "%s", err.text);
		return NULL;
	}
	engine = mode == MRMR_ENGINE_WRITE
			 ? admin_engine_wait(admin, pool, &err)
			 : mrmr_engine_open(admin, pool, mode, &err);
	if (engine != NULL) {
		return engine;
	}
	if (mode == MRMR_ENGINE_READ && err.code == ENOENT) {
		admin_say(admin, "Nothing is protected yet.");
		*status = ADMIN_OK;
	} else if (err.code == EINTR) {
		*status = admin_fail(admin, ADMIN_DEGRADED, "%s", err.text);
	} else {
		*status = admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	talloc_free(pool);
	return NULL;
}

struct mrmr_engine *admin_engine_peek(struct admin *admin, bool *is_known)
{
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_engine *engine = NULL;
	struct mrmr_pool *pool = NULL;
	struct mrmr_error err = {.code = EINVAL};
	bool is_pool_open = false;

	if (config != NULL) {
		pool = mrmr_pool_open(admin, config, NULL, &err);
	}
	if (pool != NULL) {
		is_pool_open = true;
		engine = mrmr_engine_open(admin, pool, MRMR_ENGINE_READ, &err);
	}
	*is_known = engine != NULL || (is_pool_open && err.code == ENOENT);
	if (!*is_known && config != NULL) {
		admin_note(admin, "what is protected is not known: %s",
			   err.text);
	}
	if (engine == NULL) {
		talloc_free(pool);
	}
	return engine;
}

void admin_engine_close(struct mrmr_engine *engine)
{
	struct mrmr_pool *pool = NULL;

	if (engine != NULL) {
		pool = engine->pool;
		talloc_free(engine);
		talloc_free(pool);
	}
}

void admin_engine_hear(struct admin *admin, struct mrmr_engine *engine,
		       bool (*should_stop)(void *private_data),
		       void *private_data)
{
	const struct mrmr_protect_options options = {
		.names_only = true,
		.should_stop = should_stop,
		.private_data = private_data,
	};
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (!mrmr_queue_is_empty(engine->queue) &&
	    mrmr_protect(engine, &options, &result, &err) == -1) {
		admin_note(admin,
			   "what has happened in the share is not known yet: "
			   "%s",
			   err.text);
	}
}
