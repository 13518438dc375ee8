/* types.c: the table of GGUF's weight formats, and the conversions of those this build computes
 * with, one weight after the other, as their definitions read. It owns nothing. The fast versions
 * live in math/; these are what those are tested against. Layouts: ggml/src/ggml-common.h. */
#include "gguf/types.h"

#include <math.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF's numbers are used where they lie");
_Static_assert(sizeof(float) == 4, "a float is IEEE 754 binary32");

/* ---- 16-bit floats ---- */

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1F, fraction = h & 0x3FF;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, which binary32 holds exactly */
        float f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    if (exponent == 31) return float_of(sign | 0x7F800000 | fraction << 13); /* infinity, NaN */
    return float_of(sign | (exponent + (127 - 15)) << 23 | fraction << 13);
}

uint16_t float_to_half(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000;
    u &= 0x7FFFFFFF;
    if (u > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (u >> 13 & 0x1FF)); /* NaN, made quiet */
    if (u >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* from 65520 on: infinity */
    if (u < 0x38800000) {
        /* Below 2^-14, subnormal: sums in [0.5, 1] have steps of 2^-24: adding rounds as wanted. */
        return (uint16_t)(sign | (bits_of(float_of(u) + 0.5f) - bits_of(0.5f)));
    }
    u += 0xFFF + (u >> 13 & 1); /* half of the last place that stays, ties to even */
    return (uint16_t)(sign | (u - ((uint32_t)(127 - 15) << 23)) >> 13);
}

float bfloat_to_float(uint16_t b) { return float_of((uint32_t)b << 16); }

uint16_t float_to_bfloat(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 0x40); /* NaN, made quiet */
    u += 0x7FFF + (u >> 16 & 1);
    return (uint16_t)(u >> 16);
}

/* ---- blocks ---- */

static uint16_t load16(const uint8_t *p) {
    uint16_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

static void store16(uint8_t *p, uint16_t u) { memcpy(p, &u, sizeof u); }

static void f32_to_float(const void *in, float *out, size_t n) { memcpy(out, in, 4 * n); }
static void f32_from_float(const float *in, void *out, size_t n) { memcpy(out, in, 4 * n); }

static void f16_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i++) out[i] = half_to_float(load16(p + 2 * i));
}

static void f16_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) store16(p + 2 * i, float_to_half(in[i]));
}

static void bf16_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i++) out[i] = bfloat_to_float(load16(p + 2 * i));
}

static void bf16_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i++) store16(p + 2 * i, float_to_bfloat(in[i]));
}

enum {
    BLOCK = 32,  /* weights in a block of Q8_0 and Q4_0 */
    SUPER = 256, /* and of the K formats, which have groups */
    GROUP = 16   /* that share a scale of their own */
};

/* The integer nearest to x (halves away from zero) within [low, high]; 0 for NaN. */
static int nearest(float x, int low, int high) {
    if (x <= (float)low) return low;
    if (x >= (float)high) return high;
    return x == x ? (int)roundf(x) : 0;
}

/* The value of greatest magnitude, the first of several; its sign kept. */
static float extreme(const float *x, size_t n) {
    float m = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(m)) m = x[i];
    return m;
}

/* Q8_0: a half d, 32 signed bytes q; a weight is d * q. The greatest magnitude becomes 127. */
static void q8_0_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 2 + BLOCK) {
        float d = half_to_float(load16(p));
        for (int j = 0; j < BLOCK; j++) out[i + (size_t)j] = d * (float)(int8_t)p[2 + j];
    }
}

static void q8_0_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 2 + BLOCK) {
        float d = fabsf(extreme(in + i, BLOCK)) / 127, inverse = d != 0 ? 1 / d : 0;
        store16(p, float_to_half(d));
        for (int j = 0; j < BLOCK; j++)
            p[2 + j] = (uint8_t)nearest(in[i + (size_t)j] * inverse, -127, 127);
    }
}

/* Q4_0: a half d, 16 bytes q; the low nibble of byte j is weight j, the high one weight j + 16; a
 * weight is d * (nibble - 8). The extreme value, whatever its sign, becomes -8, the end that
 * reaches furthest; a value at the other end may have to be cut to 7. */
static void q4_0_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += BLOCK, p += 2 + BLOCK / 2) {
        float d = half_to_float(load16(p));
        for (size_t j = 0; j < BLOCK / 2; j++) {
            out[i + j] = d * (float)((p[2 + j] & 15) - 8);
            out[i + j + BLOCK / 2] = d * (float)((p[2 + j] >> 4) - 8);
        }
    }
}

/* ggml's own rounding: halves upwards, by adding 8.5 and cutting off. */
static unsigned nibble(float x) {
    float y = x + 8.5f;
    if (!(y >= 0)) return 0;
    return y >= 15 ? 15 : (unsigned)y;
}

static void q4_0_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += BLOCK, p += 2 + BLOCK / 2) {
        float d = extreme(in + i, BLOCK) / -8, inverse = d != 0 ? 1 / d : 0;
        store16(p, float_to_half(d));
        for (size_t j = 0; j < BLOCK / 2; j++) {
            unsigned low = nibble(in[i + j] * inverse);
            unsigned high = nibble(in[i + j + BLOCK / 2] * inverse);
            p[2 + j] = (uint8_t)(low | high << 4);
        }
    }
}

/* Q6_K: 128 bytes with the low 4 bits of the weights, 64 with the upper 2, a signed byte as scale
 * for each group of 16, and a half d; a weight is d * scale * (its 6 bits - 32). Each half of 128
 * weights has its own 64 bytes of low bits and 32 of upper ones, which its quarters of 32 share:
 * the first two quarters take the low nibbles of the 64 bytes, the last two the high ones; of each
 * of the 32 bytes every quarter takes two bits, the first quarter the lowest. */
enum { Q6_K_UPPER = 128, Q6_K_SCALES = 192, Q6_K_D = 208, Q6_K_BYTES = 210 };

typedef struct {
    size_t low, upper; /* bytes of the block */
    unsigned low_shift, upper_shift;
} q6_k_place;

static q6_k_place q6_k_place_of(size_t i) {
    size_t half = i / 128, quarter = i / 32 % 4, j = i % 32;
    return (q6_k_place){.low = 64 * half + 32 * (quarter % 2) + j,
                        .upper = Q6_K_UPPER + 32 * half + j,
                        .low_shift = quarter < 2 ? 0 : 4,
                        .upper_shift = 2 * (unsigned)quarter};
}

static void q6_k_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += Q6_K_BYTES) {
        float d = half_to_float(load16(p + Q6_K_D));
        for (size_t i = 0; i < SUPER; i++) {
            q6_k_place at = q6_k_place_of(i);
            int q = (p[at.low] >> at.low_shift & 15) | (p[at.upper] >> at.upper_shift & 3) << 4;
            int scale = (int8_t)p[Q6_K_SCALES + i / GROUP];
            out[b + i] = d * (float)scale * (float)(q - 32);
        }
    }
}

/* The squared error of a group in steps of `step`. */
static double group_error(const float *x, float step) {
    float inverse = step != 0 ? 1 / step : 0;
    double sum = 0;
    for (size_t i = 0; i < GROUP; i++) {
        double e = (double)x[i] - (double)step * nearest(x[i] * inverse, -32, 31);
        sum += e * e;
    }
    return sum;
}

#define SCALES_TRIED 4 /* on either side: gains little beyond */

/* The scale whose steps d * scale lose least of a group, of those about step / d. */
static int best_scale(const float *x, float d, float step) {
    int start = d > 0 ? nearest(step / d, -128, 127) : 0, best = start;
    double least = group_error(x, d * (float)start);
    for (int s = start - SCALES_TRIED; s <= start + SCALES_TRIED; s++) {
        double e = s < -128 || s > 127 ? least : group_error(x, d * (float)s);
        if (e < least) {
            least = e;
            best = s;
        }
    }
    return best;
}

/* As in Q4_0, a group's extreme value is to become -32, the end that reaches furthest; the largest
 * such step becomes scale 127 or -127. */
static void q6_k_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += Q6_K_BYTES) {
        float largest = fabsf(extreme(in + b, SUPER)) / 32;
        uint16_t half = float_to_half(largest / 127);
        float d = half_to_float(half);
        memset(p, 0, Q6_K_BYTES);
        store16(p + Q6_K_D, half);
        for (size_t g = 0; g < SUPER / GROUP; g++) {
            const float *x = in + b + g * GROUP;
            int scale = best_scale(x, d, extreme(x, GROUP) / -32);
            float step = d * (float)scale, inverse = step != 0 ? 1 / step : 0;
            p[Q6_K_SCALES + g] = (uint8_t)scale;
            for (size_t i = 0; i < GROUP; i++) {
                q6_k_place at = q6_k_place_of(g * GROUP + i);
                unsigned q = (unsigned)(nearest(x[i] * inverse, -32, 31) + 32);
                p[at.low] |= (uint8_t)((q & 15) << at.low_shift);
                p[at.upper] |= (uint8_t)(q >> 4 << at.upper_shift);
            }
        }
    }
}

/* ---- the table ---- */

/* Numbers that are missing here were given out once and withdrawn: 4, 5, 31-33, 36-38. */
static const weight_format formats[TYPE_COUNT] = {
    [TYPE_F32] = {"F32", 1, 4, f32_to_float, f32_from_float},
    [TYPE_F16] = {"F16", 1, 2, f16_to_float, f16_from_float},
    [TYPE_Q4_0] = {"Q4_0", BLOCK, 18, q4_0_to_float, q4_0_from_float},
    [TYPE_Q4_1] = {"Q4_1", 32, 20, NULL, NULL},
    [TYPE_Q5_0] = {"Q5_0", 32, 22, NULL, NULL},
    [TYPE_Q5_1] = {"Q5_1", 32, 24, NULL, NULL},
    [TYPE_Q8_0] = {"Q8_0", BLOCK, 34, q8_0_to_float, q8_0_from_float},
    [9] = {"Q8_1", 32, 36, NULL, NULL},
    [TYPE_Q2_K] = {"Q2_K", 256, 84, NULL, NULL},
    [TYPE_Q3_K] = {"Q3_K", 256, 110, NULL, NULL},
    [TYPE_Q4_K] = {"Q4_K", 256, 144, NULL, NULL},
    [TYPE_Q5_K] = {"Q5_K", 256, 176, NULL, NULL},
    [TYPE_Q6_K] = {"Q6_K", SUPER, Q6_K_BYTES, q6_k_to_float, q6_k_from_float},
    [15] = {"Q8_K", 256, 292, NULL, NULL},
    [16] = {"IQ2_XXS", 256, 66, NULL, NULL},
    [17] = {"IQ2_XS", 256, 74, NULL, NULL},
    [18] = {"IQ3_XXS", 256, 98, NULL, NULL},
    [19] = {"IQ1_S", 256, 50, NULL, NULL},
    [TYPE_IQ4_NL] = {"IQ4_NL", 32, 18, NULL, NULL},
    [21] = {"IQ3_S", 256, 110, NULL, NULL},
    [22] = {"IQ2_S", 256, 82, NULL, NULL},
    [TYPE_IQ4_XS] = {"IQ4_XS", 256, 136, NULL, NULL},
    [24] = {"I8", 1, 1, NULL, NULL},
    [25] = {"I16", 1, 2, NULL, NULL},
    [26] = {"I32", 1, 4, NULL, NULL},
    [27] = {"I64", 1, 8, NULL, NULL},
    [28] = {"F64", 1, 8, NULL, NULL},
    [29] = {"IQ1_M", 256, 56, NULL, NULL},
    [TYPE_BF16] = {"BF16", 1, 2, bf16_to_float, bf16_from_float},
    [34] = {"TQ1_0", 256, 54, NULL, NULL},
    [35] = {"TQ2_0", 256, 66, NULL, NULL},
    [39] = {"MXFP4", 32, 17, NULL, NULL},
};

const weight_format *weight_format_of(uint32_t type) {
    return type < TYPE_COUNT && formats[type].name != NULL ? &formats[type] : NULL;
}
