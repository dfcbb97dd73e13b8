/*
 * Unit tests: a pool that serves files of members that are away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/serve.h>

#include "served.h"

struct protected *served_new(size_t num_members)
{
	struct protected *p = protected_new(&(
		struct world_shape){.num_members = num_members, .parity = "2"});

	assert_int_equal(mrmr_serve_start(p->w->pool, p->engine), 0);
	return p;
}

void served_free(struct protected *p)
{
	mrmr_serve_stop(p->w->pool);
	protected_free(p);
}

static void leave_pool(struct protected *p)
{
	mrmr_serve_stop(p->w->pool);
	TALLOC_FREE(p->engine);
	world_close(p->w);
}

static void enter_pool(struct protected *p)
{
	world_open(p->w);
	protected_reopen(p);
	assert_int_equal(mrmr_serve_start(p->w->pool, p->engine), 0);
}

void served_reopen(struct protected *p)
{
	leave_pool(p);
	enter_pool(p);
}

bool served_has_ghosts(struct protected *p, size_t member)
{
	char id[MRMR_UUID_LEN + 1];
	char path[128];

	mrmr_uuid_format(&p->w->pool->members[member].config->id, id);
	snprintf(path, sizeof(path), "state/" MRMR_GHOSTS "/%s", id);
	return world_there(world_path(p->w, path));
}

void served_come_back(struct protected *p, bool reopen)
{
	if (reopen) {
		leave_pool(p);
		world_plug(p->w, 0);
		enter_pool(p);
	} else {
		protected_unplug(p, 0);
	}
	assert_int_equal(p->w->pool->members[0].state, MRMR_MEMBER_ONLINE);
	assert_false(served_has_ghosts(p, 0));
}

void served_die_at(struct protected *p, const char *point,
		   int (*change)(struct world *w))
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		char fault[64];

		snprintf(fault, sizeof(fault), "%s=kill", point);
		setenv("MRMR_FAULT", fault, 1);
		change(p->w);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}
