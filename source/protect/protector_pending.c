/*
 * MRMR: the protector: the list of files that are to be looked at.
 *
 * A file becomes pending in the transaction that has brought the catalogue in
 * step with an event, and ends to be in the one that has put it into stripes:
 * whoever is killed in between leaves it on the list, and the queue need not
 * remember it.
 *
 * The list may be as long as the catalogue. So it is in the catalogue, by ids, in
 * pages of which only those that are at work are in memory (protector_pages.c); and
 *
 *     pending/head     8 bytes each: number of files, their bytes, number of maps
 *
 * What cannot be read counts as not pending, and then nothing can be saved any more:
 * the transaction fails.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "protector_pages.h"
#include "protector_private.h"

#define HEAD_BYTES 24
#define HEAD_NAME "pending/head"
#define CHANGED_MAX 4096 /* pages */

struct pending {
	struct mrmr_catalog *catalog;
	struct window *window; /* NULL: none */
	struct pages *pages;   /* NULL: with error */
	uint64_t num;
	uint64_t bytes;
	bool is_changed;
	int error; /* of what could not be read, or kept */
};

int pending_error(const struct pending *pending)
{
	errno = pending->error;
	return pending->error != 0 ? -1 : 0;
}

/* NULL: there is none, nor is to be; or, with pending->error, it cannot be had. */
static struct page *get_page(struct pending *pending, uint64_t number,
			     bool make)
{
	struct page *page = NULL;

	if (pending->error != 0) {
		return NULL;
	}
	page = pages_get(pending->pages, number, make);
	if (page == NULL && errno != ENOENT) {
		pending->error = errno;
	}
	return page;
}

static struct place *find(struct pending *pending, uint64_t node,
			  struct page **page)
{
	*page = get_page(pending, node / PER_PAGE, false);
	return *page != NULL ? page_find(*page, node % PER_PAGE) : NULL;
}

static void change(struct pending *pending, struct page *page)
{
	pending->is_changed = true;
	page_change(pending->pages, page);
}

static int save_head(struct pending *pending)
{
	const uint64_t head[3] = {htole64(pending->num),
				  htole64(pending->bytes),
				  htole64(pages_num_maps(pending->pages))};

	return mrmr_catalog_put_note(pending->catalog, HEAD_NAME,
				     (const uint8_t *)head, HEAD_BYTES);
}

int pending_save(struct pending *pending)
{
	if (pending_error(pending) == -1) {
		return -1;
	}
	if (!pending->is_changed) {
		return 0;
	}
	if (pages_save(pending->pages) == -1 ||
	    pages_save_maps(pending->pages) == -1 || save_head(pending) == -1) {
		return -1;
	}
	pending->is_changed = false;
	return 0;
}

/* --- what is in it ----------------------------------------------------------------- */

bool pending_get(struct pending *pending, uint64_t node,
		 struct pending_place *place)
{
	struct page *page = NULL;
	const struct place *at = find(pending, node, &page);

	if (at == NULL) {
		return false;
	}
	*place = (struct pending_place){
		.node = node,
		.bytes = at->bytes,
		.member = at->member,
		.flags = at->flags,
	};
	return true;
}

bool pending_has(struct pending *pending, uint64_t node)
{
	struct page *page = NULL;

	return find(pending, node, &page) != NULL;
}

uint8_t pending_flags(struct pending *pending, uint64_t node)
{
	struct page *page = NULL;
	const struct place *place = find(pending, node, &page);

	return place != NULL ? place->flags : 0;
}

bool pending_next(struct pending *pending, uint64_t from,
		  struct pending_place *place)
{
	uint64_t number = from / PER_PAGE;

	while (pending->error == 0 && pages_next(pending->pages, &number)) {
		struct page *page = get_page(pending, number, false);
		uint16_t at = 0;

		if (page == NULL) {
			return false;
		}
		if (number == from / PER_PAGE) {
			at = page_position(page, from % PER_PAGE);
		}
		if (at < page->num) {
			const struct place *found = &page->places[at];

			*place = (struct pending_place){
				.node = number * PER_PAGE + found->offset,
				.bytes = found->bytes,
				.member = found->member,
				.flags = found->flags,
			};
			return true;
		}
		number++;
	}
	return false;
}

uint64_t pending_num(const struct pending *pending)
{
	return pending->num;
}

uint64_t pending_bytes(const struct pending *pending)
{
	return pending->bytes;
}

/* --- adding and removing ------------------------------------------------------ */

int pending_add(struct pending *pending, uint64_t node, uint16_t member,
		uint64_t bytes, uint8_t flags)
{
	struct page *page = get_page(pending, node / PER_PAGE, true);
	struct place *place = NULL;

	if (page == NULL) {
		return pending_error(pending);
	}
	change(pending, page);
	place = page_find(page, node % PER_PAGE);
	if (place == NULL) {
		place = page_make(pending->pages, page, node % PER_PAGE);
		pending->num += place != NULL;
	}
	if (place == NULL) {
		pending->error = ENOMEM;
		return pending_error(pending);
	}
	pending->bytes += bytes - place->bytes;
	place->bytes = bytes;
	place->member = member;
	/* until that is mended, whatever else happens to it */
	place->flags = flags | (place->flags & PENDING_LOST);
	if (pending->window != NULL) {
		window_touch(pending->window, node);
	}
	return pages_num_changed(pending->pages) > CHANGED_MAX
		       ? pages_save(pending->pages)
		       : 0;
}

void pending_remove(struct pending *pending, uint64_t node)
{
	struct page *page = NULL;
	struct place *place = find(pending, node, &page);

	if (place == NULL) {
		return;
	}
	change(pending, page);
	pending->num--;
	pending->bytes -= place->bytes;
	page_drop(pending->pages, page, place);
}

void pending_set_flags(struct pending *pending, uint64_t node, uint8_t flags)
{
	struct page *page = NULL;
	struct place *place = find(pending, node, &page);

	if (place != NULL && place->flags != flags) {
		change(pending, page);
		place->flags = flags;
	}
}

void pending_set_member(struct pending *pending, uint64_t node, uint16_t member)
{
	struct page *page = NULL;
	struct place *place = find(pending, node, &page);

	if (place != NULL && place->member != member) {
		change(pending, page);
		place->member = member;
	}
}

/* --- loading ------------------------------------------------------------------------ */

/* 0 with zeros if there is no list yet. */
static int read_head(struct mrmr_catalog *catalog, uint64_t head[3])
{
	uint8_t *value = NULL;
	size_t len = 0;
	int i;

	memset(head, 0, HEAD_BYTES);
	value = mrmr_catalog_get_note(catalog, NULL, HEAD_NAME, &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len != HEAD_BYTES) {
		talloc_free(value);
		errno = EILSEQ;
		return -1;
	}
	memcpy(head, value, HEAD_BYTES);
	talloc_free(value);
	for (i = 0; i < 3; i++) {
		head[i] = le64toh(head[i]);
	}
	return 0;
}

static int load(struct pending *pending)
{
	uint64_t head[3];

	if (read_head(pending->catalog, head) == -1) {
		return -1;
	}
	pending->num = head[0];
	pending->bytes = head[1];
	pending->pages = pages_load(pending, pending->catalog, head[2]);
	return pending->pages != NULL ? 0 : -1;
}

struct pending *pending_load(void *mem_ctx, struct mrmr_catalog *catalog,
			     struct mrmr_error *err)
{
	struct pending *pending = talloc_zero(mem_ctx, struct pending);

	if (pending == NULL) {
		protector_no_memory(err);
		return NULL;
	}
	pending->catalog = catalog;
	if (load(pending) == -1) {
		mrmr_error_set(err, errno,
			       "the list of files to be protected, in the "
			       "catalogue, cannot be read: %s",
			       mrmr_catalog_why(errno));
		TALLOC_FREE(pending);
	}
	return pending;
}

void pending_load_again(struct pending *pending)
{
	struct mrmr_catalog *catalog = pending->catalog;
	struct window *window = pending->window;

	talloc_free_children(pending);
	*pending = (struct pending){.catalog = catalog, .window = window};
	if (load(pending) == -1) {
		pending->error = errno;
	}
}

void pending_set_window(struct pending *pending, struct window *window)
{
	pending->window = window;
}

/* --- for those who only look ---------------------------------------------------- */

int pending_each_saved(struct mrmr_catalog *catalog, pending_saved_fn *fn,
		       void *private_data)
{
	struct pending *pending = pending_load(NULL, catalog, NULL);
	struct pending_place place = {0};
	int ret = 0;

	if (pending == NULL) {
		return -1;
	}
	while (ret == 0 && pending_next(pending, place.node + 1, &place)) {
		ret = fn(&place, private_data);
	}
	if (ret == 0) {
		ret = pending_error(pending);
	}
	talloc_free(pending);
	return ret;
}

int pending_saved(struct mrmr_catalog *catalog, uint64_t node,
		  struct pending_place *place)
{
	struct page page = {.number = node / PER_PAGE};
	void *frame = talloc_new(NULL);
	const struct place *at = NULL;
	int ret = frame != NULL ? page_read(catalog, frame, &page) : -1;

	if (ret == -1) {
		ret = frame != NULL && errno == ENOENT ? 0 : -1;
	} else {
		at = page_find(&page, node % PER_PAGE);
		ret = at != NULL;
	}
	if (ret == 1) {
		*place = (struct pending_place){node, at->bytes, at->member,
						at->flags};
	}
	talloc_free(frame);
	return ret;
}

int mrmr_protector_pending(struct mrmr_catalog *catalog, uint64_t *num_files,
			   uint64_t *num_bytes, bool *needs_scan)
{
	uint64_t head[3];
	uint8_t *value = NULL;
	size_t len = 0;

	*num_files = 0;
	*num_bytes = 0;
	if (read_head(catalog, head) == -1) {
		return -1;
	}
	*num_files = head[0];
	*num_bytes = head[1];
	value = mrmr_catalog_get_note(catalog, NULL, MRMR_SCAN_NOTE, &len);
	if (value == NULL && errno != ENOENT) {
		return -1;
	}
	*needs_scan = value != NULL;
	talloc_free(value);
	return 0;
}
