/*
 * Unit tests: something that is done in a process of its own, and is killed there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "killed.h"

bool killed_at(struct world *w, const char *fault, killed_fn *fn,
	       void *private_data)
{
	int status = 0;
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid == 0) {
		world_open_in_child(w);
		setenv("MRMR_FAULT", fault, 1);
		fn(w, private_data);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	return false;
}
