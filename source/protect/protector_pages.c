/*
 * MRMR: the protector: the pages of the list of pending files.
 *
 * A page has those of PER_PAGE ids that are pending: files that come together have
 * ids that lie together, so what comes and goes with a batch is in few of them.
 * Maps tell which pages there are: a bit for each, which is all that is kept in
 * memory of most of them.
 *
 *     pending/map.M    a bit for each of the PER_MAP pages from M * PER_MAP on,
 *                      byte 0 bit 0 first, without zero bytes at the end; none
 *                      if that is all
 *     pending/page.P   ascending, for each of the PER_PAGE ids from P * PER_PAGE
 *                      on that is pending: 1 byte id - P * PER_PAGE; 1 byte
 *                      flags; 2 bytes member; 8 bytes size of the file
 *
 * Pages that have changed stay until they are saved, within the transaction; of the
 * others, the last ones used.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include "protector_pages.h"

#define PLACE_BYTES 12 /* offset, flags, member, size */
#define PER_MAP 32768  /* pages */
#define MAP_BYTES (PER_MAP / 8)
#define BUCKETS 4096
#define CLEAN_MAX 256 /* pages */

struct map {
	uint8_t bits[MAP_BYTES];
	bool is_changed;
};

struct pages {
	struct mrmr_catalog *catalog;
	struct map **maps; /* talloc; NULL: no pages */
	uint64_t num_maps;
	struct page *buckets[BUCKETS];
	struct page *first; /* clean ones */
	struct page *last;
	struct page *changed;
	size_t num_clean;
	size_t num_changed;
};

/* --- maps ------------------------------------------------------------------- */

static void map_name(uint64_t number, char name[48])
{
	snprintf(name, 48, "pending/map.%llx", (unsigned long long)number);
}

static void page_name(uint64_t number, char name[48])
{
	snprintf(name, 48, "pending/page.%llx", (unsigned long long)number);
}

static bool has_page(const struct pages *pages, uint64_t number)
{
	uint64_t index = number / PER_MAP;
	uint32_t bit = number % PER_MAP;

	return index < pages->num_maps && pages->maps[index] != NULL &&
	       (pages->maps[index]->bits[bit / 8] & (1 << bit % 8)) != 0;
}

static int set_page(struct pages *pages, uint64_t number, bool is_there)
{
	uint64_t index = number / PER_MAP;
	uint32_t bit = number % PER_MAP;
	struct map **maps = NULL;

	if (has_page(pages, number) == is_there) {
		return 0;
	}
	if (index >= pages->num_maps) {
		maps = talloc_realloc(pages, pages->maps, struct map *,
				      index + 1);
		if (maps == NULL) {
			return -1;
		}
		memset(maps + pages->num_maps, 0,
		       (index + 1 - pages->num_maps) * sizeof(maps[0]));
		pages->maps = maps;
		pages->num_maps = index + 1;
	}
	if (pages->maps[index] == NULL) {
		pages->maps[index] = talloc_zero(pages->maps, struct map);
		if (pages->maps[index] == NULL) {
			return -1;
		}
	}
	pages->maps[index]->bits[bit / 8] ^= (uint8_t)(1 << bit % 8);
	pages->maps[index]->is_changed = true;
	return 0;
}

/* The first page from this one on; false: there is none. */
bool pages_next(const struct pages *pages, uint64_t *number)
{
	uint64_t index;

	for (index = *number / PER_MAP; index < pages->num_maps; index++) {
		const struct map *map = pages->maps[index];
		uint64_t first = index * PER_MAP;
		uint32_t bit =
			*number > first ? (uint32_t)(*number - first) : 0;

		for (; map != NULL && bit < PER_MAP; bit++) {
			if (map->bits[bit / 8] == 0) {
				bit |= 7;
			} else if ((map->bits[bit / 8] & (1 << bit % 8)) != 0) {
				*number = first + bit;
				return true;
			}
		}
	}
	return false;
}

/* --- pages -------------------------------------------------------------------- */

static struct page **bucket_of(struct pages *pages, uint64_t number)
{
	return &pages->buckets[number % BUCKETS];
}

static void list_clean(struct pages *pages, struct page *page)
{
	page->prev = NULL;
	page->next = pages->first;
	if (page->next != NULL) {
		page->next->prev = page;
	} else {
		pages->last = page;
	}
	pages->first = page;
	pages->num_clean++;
}

static void unlist_clean(struct pages *pages, struct page *page)
{
	if (page->prev != NULL) {
		page->prev->next = page->next;
	} else {
		pages->first = page->next;
	}
	if (page->next != NULL) {
		page->next->prev = page->prev;
	} else {
		pages->last = page->prev;
	}
	pages->num_clean--;
}

static void forget_page(struct pages *pages, struct page *page)
{
	struct page **at = bucket_of(pages, page->number);

	while (*at != page) {
		at = &(*at)->next_in_bucket;
	}
	*at = page->next_in_bucket;
	talloc_free(page);
}

static void forget_some(struct pages *pages)
{
	while (pages->num_clean > CLEAN_MAX) {
		struct page *page = pages->last;

		unlist_clean(pages, page);
		forget_page(pages, page);
	}
}

/* What a note of the catalogue says. 0, or -1 with errno. */
static int unpack_page(void *mem_ctx, const uint8_t *value, size_t len,
		       struct page *page)
{
	size_t i;

	if (len == 0 || len % PLACE_BYTES != 0 ||
	    len > PER_PAGE * PLACE_BYTES) {
		errno = EILSEQ;
		return -1;
	}
	page->num = (uint16_t)(len / PLACE_BYTES);
	page->places = talloc_array(mem_ctx, struct place, page->num);
	if (page->places == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < page->num; i++, value += PLACE_BYTES) {
		struct place *place = &page->places[i];
		uint16_t member;
		uint64_t bytes;

		memcpy(&member, value + 2, sizeof(member));
		memcpy(&bytes, value + 4, sizeof(bytes));
		*place = (struct place){
			.offset = value[0],
			.flags = value[1],
			.member = le16toh(member),
			.bytes = le64toh(bytes),
		};
		if (i > 0 && place->offset <= place[-1].offset) {
			errno = EILSEQ;
			return -1;
		}
	}
	return 0;
}

int page_read(struct mrmr_catalog *catalog, void *mem_ctx, struct page *page)
{
	uint8_t *value = NULL;
	char name[48];
	size_t len = 0;
	int ret;

	page_name(page->number, name);
	value = mrmr_catalog_get_note(catalog, mem_ctx, name, &len);
	if (value == NULL) {
		return -1;
	}
	ret = unpack_page(mem_ctx, value, len, page);
	talloc_free(value);
	return ret;
}

struct page *pages_get(struct pages *pages, uint64_t number, bool make)
{
	bool is_there = has_page(pages, number);
	struct page *page = NULL;

	if (!is_there && !make) {
		errno = ENOENT;
		return NULL;
	}
	for (page = *bucket_of(pages, number); page != NULL;
	     page = page->next_in_bucket) {
		if (page->number == number) {
			if (!page->is_changed && page != pages->first) {
				unlist_clean(pages, page);
				list_clean(pages, page);
			}
			return page;
		}
	}
	page = talloc_zero(pages, struct page);
	if (page == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	page->number = number;
	if (is_there && page_read(pages->catalog, page, page) == -1) {
		int error = errno == ENOENT ? EILSEQ : errno;

		talloc_free(page);
		errno = error;
		return NULL;
	}
	page->next_in_bucket = *bucket_of(pages, number);
	*bucket_of(pages, number) = page;
	list_clean(pages, page);
	forget_some(pages);
	return page;
}

uint16_t page_position(const struct page *page, uint8_t offset)
{
	uint16_t low = 0;
	uint16_t high = page->num;

	while (low < high) {
		uint16_t middle = (uint16_t)((low + high) / 2);

		if (page->places[middle].offset < offset) {
			low = (uint16_t)(middle + 1);
		} else {
			high = middle;
		}
	}
	return low;
}

struct place *page_find(const struct page *page, uint8_t offset)
{
	uint16_t at = page_position(page, offset);

	return at < page->num && page->places[at].offset == offset
		       ? &page->places[at]
		       : NULL;
}

void page_change(struct pages *pages, struct page *page)
{
	if (page->is_changed) {
		return;
	}
	unlist_clean(pages, page);
	page->is_changed = true;
	page->next_changed = pages->changed;
	pages->changed = page;
	pages->num_changed++;
}

struct place *page_make(struct pages *pages, struct page *page, uint8_t offset)
{
	size_t size = talloc_array_length(page->places);
	uint16_t at = page_position(page, offset);

	if (page->num == size) {
		struct place *places =
			talloc_realloc(page, page->places, struct place,
				       size > 0 ? 2 * size : 4);

		if (places == NULL) {
			return NULL;
		}
		page->places = places;
	}
	if (page->num == 0 && set_page(pages, page->number, true) == -1) {
		return NULL;
	}
	memmove(&page->places[at + 1], &page->places[at],
		(size_t)(page->num - at) * sizeof(page->places[0]));
	page->num++;
	page->places[at] = (struct place){.offset = offset};
	return &page->places[at];
}

void page_drop(struct pages *pages, struct page *page, struct place *place)
{
	size_t after = (size_t)(page->places + page->num - place) - 1;

	memmove(place, place + 1, after * sizeof(*place));
	page->num--;
	if (page->num == 0) {
		(void)set_page(pages, page->number, false);
	}
}

/* --- saving -------------------------------------------------------------------------- */

static int save_page(struct pages *pages, const struct page *page)
{
	uint8_t value[PER_PAGE * PLACE_BYTES];
	uint8_t *at = value;
	char name[48];
	uint16_t i;

	for (i = 0; i < page->num; i++, at += PLACE_BYTES) {
		const struct place *place = &page->places[i];
		uint16_t member = htole16(place->member);
		uint64_t bytes = htole64(place->bytes);

		at[0] = place->offset;
		at[1] = place->flags;
		memcpy(at + 2, &member, sizeof(member));
		memcpy(at + 4, &bytes, sizeof(bytes));
	}
	page_name(page->number, name);
	return mrmr_catalog_put_note(pages->catalog, name,
				     page->num > 0 ? value : NULL,
				     (size_t)(at - value));
}

int pages_save(struct pages *pages)
{
	while (pages->changed != NULL) {
		struct page *page = pages->changed;

		if (save_page(pages, page) == -1) {
			return -1;
		}
		pages->changed = page->next_changed;
		pages->num_changed--;
		page->is_changed = false;
		if (page->num == 0) {
			forget_page(pages, page);
		} else {
			list_clean(pages, page);
			forget_some(pages);
		}
	}
	return 0;
}

static int save_map(struct pages *pages, uint64_t number)
{
	struct map *map = pages->maps[number];
	size_t len = MAP_BYTES;
	char name[48];

	while (len > 0 && map->bits[len - 1] == 0) {
		len--;
	}
	map->is_changed = false;
	map_name(number, name);
	return mrmr_catalog_put_note(pages->catalog, name,
				     len > 0 ? map->bits : NULL, len);
}

int pages_save_maps(struct pages *pages)
{
	uint64_t i;

	for (i = 0; i < pages->num_maps; i++) {
		if (pages->maps[i] != NULL && pages->maps[i]->is_changed &&
		    save_map(pages, i) == -1) {
			return -1;
		}
	}
	return 0;
}

size_t pages_num_changed(const struct pages *pages)
{
	return pages->num_changed;
}

/* --- loading ----------------------------------------------------------------- */

static int load_map(struct pages *pages, uint64_t number)
{
	struct map *map = NULL;
	uint8_t *value = NULL;
	size_t len = 0;
	char name[48];

	map_name(number, name);
	value = mrmr_catalog_get_note(pages->catalog, pages, name, &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	map = talloc_zero(pages->maps, struct map);
	if (map == NULL || len > MAP_BYTES) {
		errno = map == NULL ? ENOMEM : EILSEQ;
		talloc_free(value);
		return -1;
	}
	memcpy(map->bits, value, len);
	pages->maps[number] = map;
	talloc_free(value);
	return 0;
}

struct pages *pages_load(void *mem_ctx, struct mrmr_catalog *catalog,
			 uint64_t num_maps)
{
	struct pages *pages = talloc_zero(mem_ctx, struct pages);
	uint64_t i;

	if (pages == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	pages->catalog = catalog;
	pages->maps = talloc_zero_array(pages, struct map *, num_maps);
	if (pages->maps == NULL) {
		talloc_free(pages);
		errno = ENOMEM;
		return NULL;
	}
	pages->num_maps = num_maps;
	for (i = 0; i < num_maps; i++) {
		if (load_map(pages, i) == -1) {
			int saved_errno = errno;

			talloc_free(pages);
			errno = saved_errno;
			return NULL;
		}
	}
	return pages;
}

uint64_t pages_num_maps(const struct pages *pages)
{
	return pages->num_maps;
}
