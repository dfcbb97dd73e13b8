/*
 * MRMR: SHA-256 and the checksum beside it (see mrmr/digest.h).
 *
 * EVP takes the processor's own instructions. EVP_sha256() would look the
 * algorithm up anew for each digest, which takes as long as hashing two
 * kilobytes: it is fetched once.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <xxhash.h>
/* Where libxxhash has it, the same functions by what the processor can do. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#include <mrmr/digest.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *algorithm;

static void must(int is_fine)
{
	if (!is_fine) {
		fputs("mrmr: no digest is to be had\n", stderr);
		abort();
	}
}

static void fetch(void)
{
	algorithm = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	must(algorithm != NULL);
}

/* An EVP_MD_CTX by another name. */
static EVP_MD_CTX *context_of(struct mrmr_digest *digest)
{
	return (EVP_MD_CTX *)digest;
}

struct mrmr_digest *mrmr_digest_new(void)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	must(context != NULL);
	pthread_once(&once, fetch);
	return (struct mrmr_digest *)context;
}

void mrmr_digest_free(struct mrmr_digest *digest)
{
	EVP_MD_CTX_free(context_of(digest));
}

void mrmr_digest_start(struct mrmr_digest *digest)
{
	must(EVP_DigestInit_ex2(context_of(digest), algorithm, NULL));
}

void mrmr_digest_add(struct mrmr_digest *digest, const void *data, size_t len)
{
	must(EVP_DigestUpdate(context_of(digest), data, len));
}

void mrmr_digest_end(struct mrmr_digest *digest,
		     uint8_t sha256[MRMR_SHA256_LEN])
{
	must(EVP_DigestFinal_ex(context_of(digest), sha256, NULL));
}

void mrmr_sha256(const void *data, size_t len, uint8_t sha256[MRMR_SHA256_LEN])
{
	struct mrmr_digest *digest = mrmr_digest_new();

	mrmr_digest_start(digest);
	mrmr_digest_add(digest, data, len);
	mrmr_digest_end(digest, sha256);
	mrmr_digest_free(digest);
}

uint64_t mrmr_checksum(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

bool mrmr_is_all_zero(const void *data, size_t len)
{
	const uint8_t *byte = data;

	return len == 0 ||
	       (byte[0] == 0 && memcmp(byte, byte + 1, len - 1) == 0);
}

/* An XXH3_state_t by another name. */
static XXH3_state_t *state_of(struct mrmr_checksum *checksum)
{
	return (XXH3_state_t *)checksum;
}

struct mrmr_checksum *mrmr_checksum_new(void)
{
	XXH3_state_t *state = XXH3_createState();

	must(state != NULL);
	return (struct mrmr_checksum *)state;
}

void mrmr_checksum_free(struct mrmr_checksum *checksum)
{
	XXH3_freeState(state_of(checksum));
}

void mrmr_checksum_start(struct mrmr_checksum *checksum)
{
	must(XXH3_64bits_reset(state_of(checksum)) == XXH_OK);
}

void mrmr_checksum_add(struct mrmr_checksum *checksum, const void *data,
		       size_t len)
{
	must(XXH3_64bits_update(state_of(checksum), data, len) == XXH_OK);
}

uint64_t mrmr_checksum_end(struct mrmr_checksum *checksum)
{
	return XXH3_64bits_digest(state_of(checksum));
}

/* --- both ----------------------------------------------------------------- */

/* What stays in a near cache from the one to the other. */
#define NEAR_BYTES ((size_t)64 * 1024)

struct mrmr_hashes {
	struct mrmr_digest *digest;
	XXH3_state_t *checksum;
};

struct mrmr_hashes *mrmr_hashes_new(void)
{
	struct mrmr_hashes *hashes = calloc(1, sizeof(*hashes));

	must(hashes != NULL);
	hashes->digest = mrmr_digest_new();
	hashes->checksum = XXH3_createState();
	must(hashes->checksum != NULL);
	return hashes;
}

void mrmr_hashes_free(struct mrmr_hashes *hashes)
{
	if (hashes != NULL) {
		mrmr_digest_free(hashes->digest);
		XXH3_freeState(hashes->checksum);
		free(hashes);
	}
}

void mrmr_hashes_start(struct mrmr_hashes *hashes)
{
	mrmr_digest_start(hashes->digest);
	XXH3_64bits_reset(hashes->checksum);
}

void mrmr_hashes_add(struct mrmr_hashes *hashes, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		size_t part = len < NEAR_BYTES ? len : NEAR_BYTES;

		mrmr_digest_add(hashes->digest, at, part);
		XXH3_64bits_update(hashes->checksum, at, part);
		at += part;
		len -= part;
	}
}

void mrmr_hashes_end(struct mrmr_hashes *hashes,
		     uint8_t sha256[MRMR_SHA256_LEN], uint64_t *checksum)
{
	mrmr_digest_end(hashes->digest, sha256);
	*checksum = XXH3_64bits_digest(hashes->checksum);
}
