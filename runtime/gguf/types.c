/* types.c: the table of GGUF's weight formats, and the 16-bit floats. The formats that pack weights
 * into blocks are defined in blocks.c and superblocks.c. It owns nothing. */
#include "gguf/types.h"

#include <string.h>

#include "gguf/blocks.h"

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

/* ---- formats without blocks ---- */

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

/* ---- the table ---- */

/* Numbers that are missing here were given out once and withdrawn: 4, 5, 31-33, 36-38. */
static const weight_format formats[TYPE_COUNT] = {
    [TYPE_F32] = {"F32", 1, 4, f32_to_float, f32_from_float},
    [TYPE_F16] = {"F16", 1, 2, f16_to_float, f16_from_float},
    [TYPE_Q4_0] = {"Q4_0", BLOCK, 18, q4_0_to_float, q4_0_from_float},
    [TYPE_Q4_1] = {"Q4_1", BLOCK, 20, q4_1_to_float, q4_1_from_float},
    [TYPE_Q5_0] = {"Q5_0", BLOCK, 22, q5_0_to_float, q5_0_from_float},
    [TYPE_Q5_1] = {"Q5_1", BLOCK, 24, q5_1_to_float, q5_1_from_float},
    [TYPE_Q8_0] = {"Q8_0", BLOCK, 34, q8_0_to_float, q8_0_from_float},
    [9] = {"Q8_1", 32, 36, NULL, NULL},
    [TYPE_Q2_K] = {"Q2_K", SUPER, 84, q2_k_to_float, q2_k_from_float},
    [TYPE_Q3_K] = {"Q3_K", SUPER, 110, q3_k_to_float, q3_k_from_float},
    [TYPE_Q4_K] = {"Q4_K", SUPER, 144, q4_k_to_float, q4_k_from_float},
    [TYPE_Q5_K] = {"Q5_K", SUPER, 176, q5_k_to_float, q5_k_from_float},
    [TYPE_Q6_K] = {"Q6_K", SUPER, 210, q6_k_to_float, q6_k_from_float},
    [15] = {"Q8_K", 256, 292, NULL, NULL},
    [16] = {"IQ2_XXS", 256, 66, NULL, NULL},
    [17] = {"IQ2_XS", 256, 74, NULL, NULL},
    [18] = {"IQ3_XXS", 256, 98, NULL, NULL},
    [19] = {"IQ1_S", 256, 50, NULL, NULL},
    [TYPE_IQ4_NL] = {"IQ4_NL", BLOCK, 18, iq4_nl_to_float, iq4_nl_from_float},
    [21] = {"IQ3_S", 256, 110, NULL, NULL},
    [22] = {"IQ2_S", 256, 82, NULL, NULL},
    [TYPE_IQ4_XS] = {"IQ4_XS", SUPER, 136, iq4_xs_to_float, iq4_xs_from_float},
    [24] = {"I8", 1, 1, NULL, NULL},
    [25] = {"I16", 1, 2, NULL, NULL},
    [26] = {"I32", 1, 4, NULL, NULL},
    [27] = {"I64", 1, 8, NULL, NULL},
    [28] = {"F64", 1, 8, NULL, NULL},
    [29] = {"IQ1_M", 256, 56, NULL, NULL},
    [TYPE_BF16] = {"BF16", 1, 2, bf16_to_float, bf16_from_float},
    [34] = {"TQ1_0", 256, 54, NULL, NULL},
    [35] = {"TQ2_0", 256, 66, NULL, NULL},
    [TYPE_MXFP4] = {"MXFP4", BLOCK, 17, mxfp4_to_float, mxfp4_from_float},
};

const weight_format *weight_format_of(uint32_t type) {
    return type < TYPE_COUNT && formats[type].name != NULL ? &formats[type] : NULL;
}

bool weight_type_named(const char *name, uint32_t *type) {
    for (uint32_t i = 0; i < TYPE_COUNT; i++) {
        if (formats[i].name == NULL || strcmp(formats[i].name, name) != 0) continue;
        *type = i;
        return true;
    }
    return false;
}
