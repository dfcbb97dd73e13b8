/*
 * mrmr-admin: progress of long work (see progress.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/size.h>

#include "progress.h"

#define NS_PER_S INT64_C(1000000000)
#define BAR_EVERY_NS (NS_PER_S / 5)
#define LINE_EVERY_NS (10 * NS_PER_S)
/* A rate is believed when it has been seen for so long, and is forgotten by
   and by over as long. */
#define RATE_OVER_S 5.0
#define WIDTH_DEFAULT 80
#define WIDTH_MAX 160
#define BAR_MIN 8
#define BAR_MAX 40

struct admin_progress {
	char *what;
	enum admin_progress_unit unit;
	bool is_silent;
	bool is_terminal;
	bool is_drawn; /* there is a bar on the terminal */
	int64_t drawn_ns;
	int64_t rated_ns;
	uint64_t rated_done;
	double rate; /* of bytes or things a second; 0: not known yet */
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* --- stopping --------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

void admin_stop_on_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = stop,
				   .sa_flags = SA_RESTART | (int)SA_RESETHAND};
	struct sigaction before;
	size_t i;

	sigemptyset(&action.sa_mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* nohup, and what runs in the background of a script */
		if (sigaction(signals[i], NULL, &before) == 0 &&
		    before.sa_handler == SIG_IGN) {
			continue;
		}
		sigaction(signals[i], &action, NULL);
	}
}

bool admin_should_stop(void *unused)
{
	(void)unused;
	return stopped != 0;
}

/* --- drawing ---------------------------------------------------------------- */

static int terminal_width(void)
{
	struct winsize size = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == -1 || size.ws_col == 0) {
		return WIDTH_DEFAULT;
	}
	return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
}

static void format_amount(const struct admin_progress *progress,
			  uint64_t amount, char text[MRMR_SIZE_LEN])
{
	if (progress->unit == ADMIN_PROGRESS_BYTES) {
		mrmr_size_format(amount, text);
	} else {
		snprintf(text, MRMR_SIZE_LEN, "%llu",
			 (unsigned long long)amount);
	}
}

static void format_left(double seconds, char *text, size_t size)
{
	unsigned long s = (unsigned long)(seconds + 0.5);

	if (seconds > 99.0 * 3600) {
		snprintf(text, size, "%lu days", s / 86400);
	} else if (s >= 3600) {
		snprintf(text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60,
			 s % 60);
	} else {
		snprintf(text, size, "%lu:%02lu", s / 60, s % 60);
	}
}

/* " 42%, 1.2 GiB of 2.9 GiB, 210 MiB/s, 0:12 left" */
static void format_state(const struct admin_progress *progress, uint64_t done,
			 uint64_t todo, char *text, size_t size)
{
	char amount[MRMR_SIZE_LEN];
	char whole[MRMR_SIZE_LEN];
	char rate[MRMR_SIZE_LEN];
	char left[40];
	size_t len;

	format_amount(progress, done, amount);
	format_amount(progress, todo, whole);
	if (todo != 0) {
		snprintf(text, size, "%3u%%, %s of %s",
			 (unsigned int)((double)done * 100 / (double)todo),
			 amount, whole);
	} else {
		snprintf(text, size, "%s", amount);
	}
	if (progress->rate <= 0) {
		return;
	}
	format_amount(progress, (uint64_t)progress->rate, rate);
	len = strlen(text);
	snprintf(text + len, size - len, ", %s/s", rate);
	if (todo != 0) {
		format_left((double)(todo - done) / progress->rate, left,
			    sizeof(left));
		len = strlen(text);
		snprintf(text + len, size - len, ", %s left", left);
	}
}

static void draw_bar(struct admin_progress *progress, uint64_t done,
		     uint64_t todo)
{
	char state[200];
	char bar[BAR_MAX + 1];
	int room = terminal_width() - 1;
	int width;
	int full;

	format_state(progress, done, todo, state, sizeof(state));
	width = room - (int)strlen(progress->what) - (int)strlen(state) - 4;
	width = width < BAR_MAX ? width : BAR_MAX;
	if (todo == 0 || width < BAR_MIN) {
		fprintf(stderr, "\r%.*s %.*s\033[K", room, progress->what,
			room > (int)strlen(progress->what) + 1
				? room - (int)strlen(progress->what) - 1
				: 0,
			state);
	} else {
		full = (int)((double)done * width / (double)todo);
		memset(bar, '-', (size_t)width);
		memset(bar, '#', (size_t)full);
		bar[width] = '\0';
		fprintf(stderr, "\r%s [%s]%s\033[K", progress->what, bar,
			state);
	}
	fflush(stderr);
	progress->is_drawn = true;
}

static void draw_line(const struct admin_progress *progress, uint64_t done,
		      uint64_t todo)
{
	char state[200];

	format_state(progress, done, todo, state, sizeof(state));
	fprintf(stderr, "%s: %s\n", progress->what, state + strspn(state, " "));
}

static void take_rate(struct admin_progress *progress, int64_t now,
		      uint64_t done)
{
	double seconds = (double)(now - progress->rated_ns) / NS_PER_S;
	double rate;
	double weight;

	if (seconds < 1.0) {
		return;
	}
	rate = done > progress->rated_done
		       ? (double)(done - progress->rated_done) / seconds
		       : 0;
	weight = seconds < RATE_OVER_S ? seconds / RATE_OVER_S : 1;
	progress->rate =
		progress->rate > 0
			? progress->rate + (rate - progress->rate) * weight
			: rate;
	progress->rated_ns = now;
	progress->rated_done = done;
}

/* --- the interface ------------------------------------------------------------ */

static int end(struct admin_progress *progress)
{
	admin_progress_hide(progress);
	return 0;
}

struct admin_progress *admin_progress_begin(struct admin *admin,
					    const char *what,
					    enum admin_progress_unit unit)
{
	struct admin_progress *progress =
		admin_need(talloc_zero(admin, struct admin_progress));
	const char *term = getenv("TERM");

	progress->what = admin_need(talloc_strdup(progress, what));
	progress->unit = unit;
	progress->is_silent = admin->quiet || admin->json;
	progress->is_terminal = isatty(STDERR_FILENO) == 1 &&
				(term == NULL || strcmp(term, "dumb") != 0);
	progress->rated_ns = now_ns();
	progress->drawn_ns = progress->rated_ns;
	talloc_set_destructor(progress, end);
	return progress;
}

void admin_progress_set(struct admin_progress *progress, uint64_t done,
			uint64_t todo)
{
	int64_t now;

	if (progress == NULL || progress->is_silent) {
		return;
	}
	now = now_ns();
	take_rate(progress, now, done);
	if (now - progress->drawn_ns <
	    (progress->is_terminal ? BAR_EVERY_NS : LINE_EVERY_NS)) {
		return;
	}
	progress->drawn_ns = now;
	if (todo != 0 && done > todo) {
		done = todo;
	}
	if (progress->is_terminal) {
		draw_bar(progress, done, todo);
	} else {
		draw_line(progress, done, todo);
	}
}

void admin_progress_hide(struct admin_progress *progress)
{
	if (progress != NULL && progress->is_drawn) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
		progress->is_drawn = false;
	}
}

void admin_progress_end(struct admin_progress *progress)
{
	talloc_free(progress);
}
