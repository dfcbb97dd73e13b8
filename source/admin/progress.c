/*
 * mrmr-admin: how far long work is (see progress.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/size.h>

#include "admin.h"
#include "progress.h"

#define TERMINAL_NS INT64_C(200000000)
#define LINE_NS (30 * INT64_C(1000000000))
#define LINE_WIDTH 78

struct admin_progress {
	struct admin *admin;
	int64_t begin_ns;
	int64_t shown_ns;
	bool is_terminal;
	bool is_shown;
};

static int64_t now_ns(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct admin_progress *admin_progress_new(struct admin *admin)
{
	struct admin_progress *progress =
		admin_need(talloc_zero(admin, struct admin_progress));

	progress->admin = admin;
	progress->begin_ns = now_ns();
	progress->shown_ns = progress->begin_ns;
	progress->is_terminal = isatty(STDOUT_FILENO) == 1;
	return progress;
}

static void format_left(char *text, size_t size, double seconds)
{
	if (seconds < 90) {
		snprintf(text, size, "%.0f s", seconds);
	} else if (seconds < 90 * 60) {
		snprintf(text, size, "%.0f min", seconds / 60);
	} else {
		snprintf(text, size, "%.1f h", seconds / 3600);
	}
}

static void format_line(struct admin_progress *progress, uint64_t done_bytes,
			uint64_t todo_bytes, char *line, size_t size)
{
	double seconds = (double)(now_ns() - progress->begin_ns) / 1e9;
	double rate = seconds > 0 ? (double)done_bytes / seconds : 0;
	char done[MRMR_SIZE_LEN];
	char todo[MRMR_SIZE_LEN];
	char speed[MRMR_SIZE_LEN];
	char left[32] = "?";

	if (rate > 0) {
		format_left(left, sizeof(left),
			    (double)(todo_bytes - done_bytes) / rate);
	}
	snprintf(line, size, "%s of %s (%.0f%%), %s/s, %s left",
		 mrmr_size_format(done_bytes, done),
		 mrmr_size_format(todo_bytes, todo),
		 todo_bytes > 0
			 ? 100.0 * (double)done_bytes / (double)todo_bytes
			 : 100.0,
		 mrmr_size_format((uint64_t)rate, speed), left);
}

void admin_progress_show(struct admin_progress *progress, uint64_t done_bytes,
			 uint64_t todo_bytes)
{
	const struct admin *admin = progress->admin;
	int64_t every_ns = progress->is_terminal ? TERMINAL_NS : LINE_NS;
	int64_t now = now_ns();
	char line[256];

	if (admin->quiet || admin->json ||
	    now - progress->shown_ns < every_ns) {
		return;
	}
	progress->shown_ns = now;
	todo_bytes = todo_bytes < done_bytes ? done_bytes : todo_bytes;
	format_line(progress, done_bytes, todo_bytes, line, sizeof(line));
	if (progress->is_terminal) {
		printf("\r%-*.*s", LINE_WIDTH, LINE_WIDTH, line);
		fflush(stdout);
		progress->is_shown = true;
	} else {
		admin_say(admin, "%s", line);
	}
}

void admin_progress_end(struct admin_progress *progress)
{
	if (progress->is_shown) {
		printf("\r%*s\r", LINE_WIDTH, "");
		fflush(stdout);
	}
}
