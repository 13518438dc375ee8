/* hash.c: XXH64, written from the specification (xxHash, doc/xxhash_spec.md, version 0.1.1). It
 * keeps no state. The result is the same on every machine: lanes are read as little-endian. */
#include "base/hash.h"

#include <string.h>

/* The specification's five primes. */
#define PRIME1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME3 UINT64_C(0x165667B19E3779F9)
#define PRIME4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME5 UINT64_C(0x27D4EB2F165667C5)

static uint64_t rotate(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static uint64_t read64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static uint32_t read32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    return x;
}

static uint64_t mix(uint64_t accumulator, uint64_t lane) {
    return rotate(accumulator + lane * PRIME2, 31) * PRIME1;
}

static uint64_t merge(uint64_t hash, uint64_t accumulator) {
    return (hash ^ mix(0, accumulator)) * PRIME1 + PRIME4;
}

uint64_t hash_bytes(const void *data, size_t size, uint64_t seed) {
    const uint8_t *p = data;
    size_t left = size;
    uint64_t hash;

    if (size >= 32) { /* stripes of four lanes, each with its own accumulator */
        uint64_t a = seed + PRIME1 + PRIME2, b = seed + PRIME2, c = seed, d = seed - PRIME1;
        for (; left >= 32; p += 32, left -= 32) {
            a = mix(a, read64(p));
            b = mix(b, read64(p + 8));
            c = mix(c, read64(p + 16));
            d = mix(d, read64(p + 24));
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        hash = merge(merge(merge(merge(hash, a), b), c), d);
    } else {
        hash = seed + PRIME5;
    }
    hash += (uint64_t)size;

    for (; left >= 8; p += 8, left -= 8)
        hash = rotate(hash ^ mix(0, read64(p)), 27) * PRIME1 + PRIME4;
    if (left >= 4) {
        hash = rotate(hash ^ read32(p) * PRIME1, 23) * PRIME2 + PRIME3;
        p += 4;
        left -= 4;
    }
    for (; left > 0; p++, left--) hash = rotate(hash ^ *p * PRIME5, 11) * PRIME1;

    hash ^= hash >> 33;
    hash *= PRIME2;
    hash ^= hash >> 29;
    hash *= PRIME3;
    return hash ^ hash >> 32;
}
