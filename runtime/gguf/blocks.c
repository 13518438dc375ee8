/* blocks.c: the weight formats with 32 weights to a block, one weight after the other, as their
 * definitions read: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL. The fast versions live in math/; these
 * are what those are tested against. It owns nothing. */
#include "gguf/blocks.h"

#include <float.h>

/* ---- Q8_0 ---- */

/* A half d, 32 signed bytes q; a weight is d * q. The greatest magnitude becomes 127. */
void q8_0_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 2 + BLOCK) {
        float d = load_half(p);
        for (int j = 0; j < BLOCK; j++) out[i + (size_t)j] = d * (float)(int8_t)p[2 + j];
    }
}

void q8_0_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 2 + BLOCK) {
        float d = fabsf(extreme(in + i, BLOCK)) / 127, inverse = d != 0 ? 1 / d : 0;
        store16(p, float_to_half(d));
        for (int j = 0; j < BLOCK; j++)
            p[2 + j] = (uint8_t)nearest(in[i + (size_t)j] * inverse, -127, 127);
    }
}

/* ---- codes of four and five bits ---- */

/* In all that follow, 16 bytes hold the lower four bits of 32 codes: the low nibble of byte j is
 * of weight j, the high one of weight j + 16. A fifth bit is bit j of four bytes, read as one
 * little-endian number. */
static unsigned low_bits(const uint8_t *nibbles, size_t j) {
    return j < BLOCK / 2 ? nibbles[j] & 15 : nibbles[j - BLOCK / 2] >> 4;
}

static unsigned fifth_bit(const uint8_t *bits, size_t j) { return bits[j / 8] >> j % 8 & 1; }

/* The bytes are zero before. `bits` may be NULL. */
static void put_code(uint8_t *nibbles, uint8_t *bits, size_t j, unsigned code) {
    nibbles[j % (BLOCK / 2)] |= (uint8_t)((code & 15) << (j < BLOCK / 2 ? 0 : 4));
    if (bits) bits[j / 8] |= (uint8_t)((code >> 4) << j % 8);
}

/* How ggml rounds these formats: halves upwards, by adding a half and cutting off. */
static unsigned cut(float x, unsigned top) {
    if (!(x >= 0)) return 0;
    return x >= (float)top ? top : (unsigned)x;
}

/* ---- Q4_0, Q5_0 ---- */

/* Q4_0: a half d, the nibbles; a weight is d * (code - 8). Q5_0: a half d, the fifth bits, the
 * nibbles; a weight is d * (code - 16). The extreme value, whatever its sign, becomes code 0, the
 * end that reaches furthest; a value at the other end may have to be cut to one step less. */
void q4_0_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 18) {
        float d = load_half(p);
        for (size_t j = 0; j < BLOCK; j++) out[i + j] = d * (float)((int)low_bits(p + 2, j) - 8);
    }
}

void q4_0_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 18) {
        float d = extreme(in + i, BLOCK) / -8, inverse = d != 0 ? 1 / d : 0;
        memset(p, 0, 18);
        store16(p, float_to_half(d));
        for (size_t j = 0; j < BLOCK; j++)
            put_code(p + 2, NULL, j, cut(in[i + j] * inverse + 8.5f, 15));
    }
}

void q5_0_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 22) {
        float d = load_half(p);
        for (size_t j = 0; j < BLOCK; j++) {
            int code = (int)(low_bits(p + 6, j) | fifth_bit(p + 2, j) << 4);
            out[i + j] = d * (float)(code - 16);
        }
    }
}

void q5_0_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 22) {
        float d = extreme(in + i, BLOCK) / -16, inverse = d != 0 ? 1 / d : 0;
        memset(p, 0, 22);
        store16(p, float_to_half(d));
        for (size_t j = 0; j < BLOCK; j++)
            put_code(p + 6, p + 2, j, cut(in[i + j] * inverse + 16.5f, 31));
    }
}

/* ---- Q4_1, Q5_1 ---- */

/* A half d, a half m, (Q5_1: the fifth bits,) the nibbles; a weight is d * code + m. The codes span
 * the values from the smallest, which is m, to the largest. */
void q4_1_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 20) {
        float d = load_half(p), m = load_half(p + 2);
        for (size_t j = 0; j < BLOCK; j++) out[i + j] = d * (float)low_bits(p + 4, j) + m;
    }
}

void q5_1_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 24) {
        float d = load_half(p), m = load_half(p + 2);
        for (size_t j = 0; j < BLOCK; j++)
            out[i + j] = d * (float)(low_bits(p + 8, j) | fifth_bit(p + 4, j) << 4) + m;
    }
}

/* Both: codes 0 to top into nibbles at `nibbles` and bits at `bits` (NULL: none). */
static void span_from_float(const float *x, uint8_t *p, unsigned top, uint8_t *nibbles,
                            uint8_t *bits) {
    float low = x[0], high = x[0];
    for (size_t j = 1; j < BLOCK; j++) {
        if (x[j] < low) low = x[j];
        if (x[j] > high) high = x[j];
    }
    float d = (high - low) / (float)top, inverse = d != 0 ? 1 / d : 0;
    store16(p, float_to_half(d));
    store16(p + 2, float_to_half(low));
    for (size_t j = 0; j < BLOCK; j++)
        put_code(nibbles, bits, j, cut((x[j] - low) * inverse + 0.5f, top));
}

void q4_1_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 20) {
        memset(p, 0, 20);
        span_from_float(in + i, p, 15, p + 4, NULL);
    }
}

void q5_1_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 24) {
        memset(p, 0, 24);
        span_from_float(in + i, p, 31, p + 8, p + 4);
    }
}

/* ---- IQ4_NL ---- */

const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

unsigned iq4_code(float x) {
    unsigned code = 0;
    for (unsigned half = 8; half > 0; half /= 2) { /* beyond the middle of two lies the upper */
        unsigned upper = code + half;
        float middle = 0.5f * (float)(iq4_levels[upper - 1] + iq4_levels[upper]);
        code = x > middle ? upper : code;
    }
    return code;
}

/* A half d, the nibbles; a weight is d * iq4_levels[code]. */
void iq4_nl_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 18) {
        float d = load_half(p);
        for (size_t j = 0; j < BLOCK; j++) out[i + j] = d * (float)iq4_levels[low_bits(p + 2, j)];
    }
}

/* The step that fits the codes which `step` gives best, and what is lost with it. */
static double refit(const float *x, float *step) {
    double xv = 0, vv = 0, loss = 0;
    float inverse = *step != 0 ? 1 / *step : 0;
    int v[BLOCK];
    for (size_t j = 0; j < BLOCK; j++) {
        v[j] = iq4_levels[iq4_code(x[j] * inverse)];
        xv += (double)x[j] * v[j];
        vv += (double)(v[j] * v[j]);
    }
    *step = (float)(xv / vv); /* no level is 0 */
    for (size_t j = 0; j < BLOCK; j++) {
        double e = (double)x[j] - (double)*step * v[j];
        loss += e * e;
    }
    return loss;
}

/* The levels are not symmetric: the extreme value may be best at either end, inside or beyond. */
void iq4_nl_from_float(const float *in, void *out, size_t n) {
    static const float ends[] = {-127, -139, -133, -121, -115, -109, -104, -96,
                                 96,   102,  107,  113,  119,  125};
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 18) {
        float most = extreme(in + i, BLOCK), best = most / ends[0];
        double least = INFINITY;
        for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
            float step = most / ends[k];
            double loss = refit(in + i, &step);
            if (loss < least) {
                least = loss;
                best = step;
            }
        }
        uint16_t half = float_to_half(best);
        float d = half_to_float(half), inverse = d != 0 ? 1 / d : 0;
        memset(p, 0, 18);
        store16(p, half);
        for (size_t j = 0; j < BLOCK; j++) put_code(p + 2, NULL, j, iq4_code(in[i + j] * inverse));
    }
}

/* ---- MXFP4 ---- */

const int8_t mxfp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* A byte e, the nibbles; a weight is 2^(e - 128) * mxfp4_levels[code]. */
void mxfp4_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 17) {
        float d = mxfp4_scale(p[0]);
        for (size_t j = 0; j < BLOCK; j++) out[i + j] = d * (float)mxfp4_levels[low_bits(p + 1, j)];
    }
}

/* The code whose level is nearest to x; of two the smaller. 0 for NaN. */
static unsigned mxfp4_code(float x) {
    float size = fabsf(x);
    unsigned code = 0;
    while (code < 7 && size > 0.5f * (float)(mxfp4_levels[code] + mxfp4_levels[code + 1])) code++;
    return x < 0 && code ? code | 8 : code;
}

static double mxfp4_loss(const float *x, float d) {
    double loss = 0;
    for (size_t j = 0; j < BLOCK; j++) {
        double e = (double)x[j] / (double)d;
        e -= mxfp4_levels[mxfp4_code((float)e)];
        loss += e * e;
    }
    return loss * (double)d * (double)d;
}

/* The exponent that leaves the extreme value below the highest level, or cuts it there and is finer
 * for the rest. */
void mxfp4_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 17) {
        float most = fabsf(extreme(in + i, BLOCK));
        int first = most > 0 && most <= FLT_MAX ? ilogbf(most) - 4 + 128 : 0, best = 0;
        double least = INFINITY;
        for (int e = first; e < first + 4; e++) {
            uint8_t byte = (uint8_t)(e < 0 ? 0 : e > 254 ? 254 : e);
            double loss = mxfp4_loss(in + i, mxfp4_scale(byte));
            if (loss < least) {
                least = loss;
                best = byte;
            }
        }
        memset(p, 0, 17);
        p[0] = (uint8_t)best;
        float d = mxfp4_scale(p[0]);
        for (size_t j = 0; j < BLOCK; j++) put_code(p + 1, NULL, j, mxfp4_code(in[i + j] / d));
    }
}
