/*
 * MRMR: the protector: the pages of the list of pending files (protector_pages.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTOR_PAGES_H
#define PROTECTOR_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/catalog.h>

#define PER_PAGE 256 /* ids */

struct place {
	uint64_t bytes;
	uint16_t member;
	uint8_t flags;
	uint8_t offset; /* of its id in the page */
};

struct page {
	struct page *next_in_bucket;
	struct page *prev; /* of those that are clean: the last used first */
	struct page *next;
	struct page *next_changed;
	uint64_t number;
	struct place *places; /* talloc; ascending */
	uint16_t num;
	bool is_changed;
};

struct pages;

/* Of num_maps maps in the catalogue. A talloc child of mem_ctx. NULL with errno. */
struct pages *pages_load(void *mem_ctx, struct mrmr_catalog *catalog,
			 uint64_t num_maps);
uint64_t pages_num_maps(const struct pages *pages);

/* The page stays until another one is asked for, or as long as it is changed. NULL
   with errno; ENOENT: there is none, and make is false. */
struct page *pages_get(struct pages *pages, uint64_t number, bool make);
/* The first one from *number on; false: there is none. */
bool pages_next(const struct pages *pages, uint64_t *number);
/* As the catalogue has it, into *page, of which the number is set; what it has is
   a talloc child of mem_ctx. -1 with errno. */
int page_read(struct mrmr_catalog *catalog, void *mem_ctx, struct page *page);

/* The first place that is not before offset. */
uint16_t page_position(const struct page *page, uint8_t offset);
/* NULL: it is not there. */
struct place *page_find(const struct page *page, uint8_t offset);
/* To be said before a place of it changes. */
void page_change(struct pages *pages, struct page *page);
/* A new place, with nothing in it. NULL for want of memory. */
struct place *page_make(struct pages *pages, struct page *page, uint8_t offset);
void page_drop(struct pages *pages, struct page *page, struct place *place);

/* Within a transaction. -1 with errno. */
int pages_save(struct pages *pages);
int pages_save_maps(struct pages *pages);
size_t pages_num_changed(const struct pages *pages);

#endif
