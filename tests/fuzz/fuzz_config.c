/*
 * The config: any text. What is accepted can be written, and read again as the
 * same; what is refused is explained.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include <talloc.h>

#include <mrmr/config.h>

#include "fuzz.h"

#define PATH "/etc/mrmr/mrmr.json"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	void *frame = talloc_new(NULL);
	struct mrmr_error err = {0};
	struct mrmr_config *config =
		mrmr_config_parse(frame, PATH, (const char *)data, len, &err);
	struct mrmr_config *again = NULL;
	char *text = NULL;
	char *second_text = NULL;

	if (config == NULL) {
		FUZZ_MUST(err.code != 0 && err.text[0] != '\0');
		talloc_free(frame);
		return 0;
	}
	text = mrmr_config_format(frame, config);
	FUZZ_MUST(text != NULL);
	again = mrmr_config_parse(frame, PATH, text, strlen(text), &err);
	FUZZ_MUST(again != NULL);
	second_text = mrmr_config_format(frame, again);
	FUZZ_MUST(second_text != NULL && strcmp(text, second_text) == 0);
	talloc_free(frame);
	return 0;
}
