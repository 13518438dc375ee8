/* blocks.c: see blocks.h. Packing follows the order in which ggml's own quantizers write
 * (ggml/src/ggml-quants.c), block after block of bytes, where the runtime asks where a weight's
 * bits lie. */
#include "blocks.h"

#include <math.h>
#include <string.h>

const block_kind block_kinds[BLOCK_KINDS] = {
    {TYPE_Q8_0, "Q8_0", 32, 34, 32, 128, 255, 1, 1, 0, 0},
    {TYPE_Q4_0, "Q4_0", 32, 18, 32, 8, 15, 1, 1, 0, 0},
    {TYPE_Q4_1, "Q4_1", 32, 20, 32, 0, 15, 1, 1, -1, -1},
    {TYPE_Q5_0, "Q5_0", 32, 22, 32, 16, 31, 1, 1, 0, 0},
    {TYPE_Q5_1, "Q5_1", 32, 24, 32, 0, 31, 1, 1, -1, -1},
    {TYPE_IQ4_NL, "IQ4_NL", 32, 18, 32, 0, 15, 1, 1, 0, 0},
    {TYPE_MXFP4, "MXFP4", 32, 17, 32, 0, 15, 1, 1, 0, 0},
    {TYPE_Q2_K, "Q2_K", 256, 84, 16, 0, 3, 0, 15, 0, 15},
    {TYPE_Q3_K, "Q3_K", 256, 110, 16, 4, 7, -32, 31, 0, 0},
    {TYPE_Q4_K, "Q4_K", 256, 144, 32, 0, 15, 0, 63, 0, 63},
    {TYPE_Q5_K, "Q5_K", 256, 176, 32, 0, 31, 0, 63, 0, 63},
    {TYPE_Q6_K, "Q6_K", 256, 210, 16, 32, 63, -128, 127, 0, 0},
    {TYPE_IQ4_XS, "IQ4_XS", 256, 136, 32, 0, 15, -32, 31, 0, 0},
};

const block_kind *block_kind_of(weight_type type) {
    for (size_t i = 0; i < BLOCK_KINDS; i++)
        if (block_kinds[i].type == type) return block_kinds + i;
    return NULL;
}

static int level(const block_kind *k, unsigned code) {
    static const int levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
    static const int fp4[8] = {0, 1, 2, 3, 4, 6, 8, 12}; /* twice 0, 0.5, 1, 1.5, 2, 3, 4, 6 */
    if (k->type == TYPE_MXFP4) return code < 8 ? fp4[code] : -fp4[code - 8];
    return k->type == TYPE_IQ4_NL || k->type == TYPE_IQ4_XS ? levels[code] : (int)code - k->zero;
}

static int exponent_of(const block_parts *p) {
    return p->d & 0x7fff ? ilogb((double)half_to_float(p->d)) : -128;
}

static double scale_of(const block_kind *k, const block_parts *p) {
    return k->type == TYPE_MXFP4 ? ldexp(1, exponent_of(p)) : (double)half_to_float(p->d);
}

static double term(const block_kind *k, const block_parts *p, size_t i) {
    return scale_of(k, p) * p->scale[i / k->group] * level(k, p->code[i]);
}

static double minimum(const block_kind *k, const block_parts *p, size_t i) {
    return p->min[i / k->group] ? (double)half_to_float(p->m) * p->min[i / k->group] : 0;
}

double block_weight(const block_kind *k, const block_parts *p, size_t i) {
    return term(k, p, i) - minimum(k, p, i);
}

double block_magnitude(const block_kind *k, const block_parts *p, size_t i) {
    return fabs(term(k, p, i)) + fabs(minimum(k, p, i));
}

static uint8_t *put_half(uint8_t *at, uint16_t h) {
    at[0] = (uint8_t)h;
    at[1] = (uint8_t)(h >> 8);
    return at + 2;
}

/* n bytes: code j in the low nibble, code j + n in the high one. */
static uint8_t *put_nibbles(uint8_t *at, const uint8_t *code, size_t n) {
    for (size_t j = 0; j < n; j++) at[j] = (uint8_t)((code[j] & 15) | (code[j + n] & 15) << 4);
    return at + n;
}

/* Two bits of each of 256 codes, from bit `shift` up: 64 bytes. */
static uint8_t *put_crumbs(uint8_t *at, const uint8_t *code, int shift) {
    for (size_t half = 0; half < 2; half++, code += 128, at += 32)
        for (size_t l = 0; l < 32; l++)
            at[l] = (uint8_t)((code[l] >> shift & 3) | (code[l + 32] >> shift & 3) << 2 |
                              (code[l + 64] >> shift & 3) << 4 | (code[l + 96] >> shift & 3) << 6);
    return at;
}

/* One bit of each of 256 codes: 32 bytes, a bit's place for every 32. */
static uint8_t *put_bits(uint8_t *at, const uint8_t *code, int shift) {
    memset(at, 0, 32);
    for (size_t n = 0; n < 8; n++)
        for (size_t l = 0; l < 32; l++)
            at[l] |= (uint8_t)((code[32 * n + l] >> shift & 1) << n);
    return at + 32;
}

/* The fifth bits of 32 codes, as one number. */
static uint8_t *put_fifths(uint8_t *at, const uint8_t *code) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 32; j++) bits |= (uint32_t)(code[j] >> 4) << j;
    memcpy(at, &bits, sizeof bits);
    return at + sizeof bits;
}

/* 16 scales of six bits, offset 32. */
static uint8_t *put_q3_k_scales(uint8_t *at, const int *scale) {
    memset(at, 0, 12);
    for (int j = 0; j < 16; j++) {
        int l = scale[j] + 32;
        if (j < 8) at[j] = (uint8_t)(l & 15);
        else at[j - 8] |= (uint8_t)((l & 15) << 4);
        at[j % 4 + 8] |= (uint8_t)(l >> 4 << (2 * (j / 4)));
    }
    return at + 12;
}

/* Eight scales and eight minima of six bits. */
static uint8_t *put_q4_k_scales(uint8_t *at, const int *scale, const int *min) {
    for (int j = 0; j < 8; j++) {
        if (j < 4) {
            at[j] = (uint8_t)scale[j];
            at[j + 4] = (uint8_t)min[j];
        } else {
            at[j + 4] = (uint8_t)((scale[j] & 15) | (min[j] & 15) << 4);
            at[j - 4] |= (uint8_t)(scale[j] >> 4 << 6);
            at[j] |= (uint8_t)(min[j] >> 4 << 6);
        }
    }
    return at + 12;
}

void block_pack(const block_kind *k, const block_parts *p, uint8_t *out) {
    const uint8_t *code = p->code;
    switch ((int)k->type) {
    case TYPE_Q8_0:
        out = put_half(out, p->d);
        for (size_t i = 0; i < 32; i++) out[i] = (uint8_t)(code[i] - 128);
        break;
    case TYPE_Q4_0:
    case TYPE_IQ4_NL: put_nibbles(put_half(out, p->d), code, 16); break;
    case TYPE_MXFP4:
        *out++ = (uint8_t)(exponent_of(p) + 128);
        put_nibbles(out, code, 16);
        break;
    case TYPE_Q4_1: put_nibbles(put_half(put_half(out, p->d), p->m), code, 16); break;
    case TYPE_Q5_0: put_nibbles(put_fifths(put_half(out, p->d), code), code, 16); break;
    case TYPE_Q5_1:
        put_nibbles(put_fifths(put_half(put_half(out, p->d), p->m), code), code, 16);
        break;
    case TYPE_Q2_K:
        for (size_t g = 0; g < 16; g++) *out++ = (uint8_t)(p->scale[g] | p->min[g] << 4);
        put_half(put_half(put_crumbs(out, code, 0), p->d), p->m);
        break;
    case TYPE_Q3_K:
        put_half(put_q3_k_scales(put_crumbs(put_bits(out, code, 2), code, 0), p->scale), p->d);
        break;
    case TYPE_Q4_K:
    case TYPE_Q5_K:
        out = put_q4_k_scales(put_half(put_half(out, p->d), p->m), p->scale, p->min);
        if (k->type == TYPE_Q5_K) out = put_bits(out, code, 4);
        for (size_t j = 0; j < 256; j += 64) out = put_nibbles(out, code + j, 32);
        break;
    case TYPE_Q6_K:
        for (size_t j = 0; j < 256; j += 128) out = put_nibbles(out, code + j, 64);
        out = put_crumbs(out, code, 4);
        for (size_t g = 0; g < 16; g++) *out++ = (uint8_t)p->scale[g];
        put_half(out, p->d);
        break;
    case TYPE_IQ4_XS: {
        unsigned upper = 0;
        out = put_half(out, p->d);
        memset(out, 0, 6);
        for (int j = 0; j < 8; j++) {
            unsigned l = (unsigned)(p->scale[j] + 32);
            upper |= l >> 4 << 2 * j;
            out[2 + j / 2] |= (uint8_t)((l & 15) << 4 * (j % 2));
        }
        out = put_half(out, (uint16_t)upper) + 4;
        for (size_t j = 0; j < 256; j += 32) out = put_nibbles(out, code + j, 16);
        break;
    }
    }
}
