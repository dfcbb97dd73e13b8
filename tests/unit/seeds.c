/*
 * Unit tests: what happens is drawn, each time from another seed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "seeds.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static unsigned int state_of_draw;

unsigned int draw(unsigned int below)
{
	state_of_draw = state_of_draw * 1103515245 + 12345;
	return (state_of_draw >> 8) % below;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

void for_each_seed(void (*live)(void))
{
	const char *seconds = getenv("MRMR_TEST_SECONDS");
	const char *given = getenv("MRMR_TEST_SEED");
	int64_t end = now_ms() + 1000 * (seconds != NULL ? atoi(seconds) : 6);
	unsigned int seed = given != NULL ? (unsigned int)atoi(given) : 1;

	do {
		printf("seed %u\n", seed);
		fflush(stdout);
		state_of_draw = seed++;
		live();
	} while (now_ms() < end);
}

void say(const char *format, ...)
{
	va_list args;

	if (getenv("MRMR_TEST_SEED") == NULL) {
		return;
	}
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	fflush(stdout);
}
