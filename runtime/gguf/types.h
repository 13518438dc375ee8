/* types.h: the weight formats of GGUF, by their numbers in the file (ggml.h, enum ggml_type). */
#ifndef PERILUNE_GGUF_TYPES_H
#define PERILUNE_GGUF_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum {
    TYPE_F32 = 0, TYPE_F16 = 1, TYPE_Q4_0 = 2, TYPE_Q4_1 = 3, TYPE_Q5_0 = 6, TYPE_Q5_1 = 7,
    TYPE_Q8_0 = 8, TYPE_Q2_K = 10, TYPE_Q3_K = 11, TYPE_Q4_K = 12, TYPE_Q5_K = 13, TYPE_Q6_K = 14,
    TYPE_IQ4_NL = 20, TYPE_IQ4_XS = 23, TYPE_BF16 = 30, TYPE_MXFP4 = 39,
    TYPE_COUNT = 40 /* one past the highest number that the format defines */
} weight_type;

/* One row of the table of formats. The sizes of all known types are there, so that a file which
 * holds them can be read and listed; `to_float` is NULL for those this build cannot compute with.
 * Blocks may lie at any address. */
typedef struct {
    const char *name;    /* "Q4_0", as GGUF tools print it; NULL: no such type */
    size_t block;        /* weights per block */
    size_t bytes;        /* bytes per block */
    /* n: weights, a multiple of block. from_float rounds to nearest, the K formats, IQ4 and MXFP4
     * with the best of several scales for each group; NULL: not offered. */
    void (*to_float)(const void *blocks, float *out, size_t n);
    void (*from_float)(const float *in, void *blocks, size_t n);
} weight_format;

/* NULL for a number that the format does not define. */
const weight_format *weight_format_of(uint32_t type);
/* The number of the format with that name; false: there is none. */
bool weight_type_named(const char *name, uint32_t *type);

/* What the 16 codes of IQ4_NL and IQ4_XS stand for, in steps of the block's scale; ascending and
 * denser about zero, where most weights are (ggml-common.h, kvalues_iq4nl). */
extern const int8_t iq4_levels[16];
/* And of MXFP4: E2M1 numbers (OCP Microscaling Formats 1.0, 5.3.3), doubled so that they are
 * whole. */
extern const int8_t mxfp4_levels[16];
/* What MXFP4's shared exponent makes of a doubled level: 2^(e - 128), as ggml has it for any e. */
static inline float mxfp4_scale(uint8_t e) { /* the least two are subnormal */
    uint32_t bits = e < 2 ? (uint32_t)0x00200000 << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE 754 binary16 and bfloat16, round to nearest even. */
float half_to_float(uint16_t h);
uint16_t float_to_half(float f);
float bfloat_to_float(uint16_t b);
uint16_t float_to_bfloat(float f);

#endif
