/* random.c: Philox, and a generator on top of it. */
#include "decode/random.h"

#include <string.h>

/* The four words for a key and a counter (position, stream). */
static inline void philox(uint64_t key, uint64_t position, uint32_t stream, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)position, c1 = (uint32_t)(position >> 32), c2 = stream, c3 = 0;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0, c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1, c3 = (uint32_t)a;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint64_t philox_bits(uint64_t seed, uint64_t position, random_stream s) {
    uint32_t c[4];
    philox(seed, position, (uint32_t)s, c);
    return (uint64_t)c[1] << 32 | c[0];
}

double philox_uniform_of(uint64_t seed, uint64_t position, random_stream s) {
    return (double)(philox_bits(seed, position, s) >> 11) * 0x1p-53;
}

double philox_uniform(uint64_t seed, uint64_t position) {
    return philox_uniform_of(seed, position, STREAM_TOKEN);
}

uint64_t rng_bits(rng *r) { return philox_bits(r->key, r->n++, STREAM_RNG); }

double rng_uniform(rng *r) { return (double)(rng_bits(r) >> 11) * 0x1p-53; }

/* Whole multiples of n fit below 2^64 - excess; what is above is drawn again. */
uint64_t rng_below(rng *r, uint64_t n) {
    uint64_t excess = (0 - n) % n, bits;
    do bits = rng_bits(r);
    while (bits > UINT64_MAX - excess);
    return bits % n;
}

rng rng_fork(rng *r) { return rng_seeded(philox_bits(r->key, r->n++, STREAM_FORK)); }

/* Selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S): each id in turn is taken with the chance
 * (still wanted) / (still to come), by 32 bits of a generator of its own. */
void rng_subset(rng *r, size_t n, size_t m, uint64_t *bits) {
    rng own = rng_fork(r);
    uint32_t words[4] = {0};
    memset(bits, 0, (n + 63) / 64 * sizeof *bits);
    for (size_t i = 0; i < n && m > 0; i++) {
        if (i % 4 == 0) philox(own.key, i / 4, STREAM_RNG, words);
        uint64_t taken = (uint64_t)words[i % 4] * (n - i) >> 32 <
                         m; /* no branch: nobody could predict it */
        bits[i / 64] |= taken << i % 64;
        m -= taken;
    }
}
