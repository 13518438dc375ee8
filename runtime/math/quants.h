/* quants.h: the quantized weight formats as vectors, over simd.h: what a matrix product needs of
 * one block of 32 weights or, of a block of 256, of one of its eight parts of 32. It says how a
 * format's parts fit together; the sums are kernels_impl.h's. Layouts: gguf/blocks.c and
 * gguf/superblocks.c.
 *
 * A weight is scale * (code - offset) - minimum. Codes and activations are multiplied as integers
 * and summed exactly within a lane (four weights); a format with scales for 16 weights multiplies
 * those in as integers too. What is d * scale or dmin * minimum is exact in a float. */
#ifndef PERILUNE_MATH_QUANTS_H
#define PERILUNE_MATH_QUANTS_H

#include "gguf/types.h"
#include "math/simd.h"

#define PARTS 8           /* blocks of 32 in a block of 256 */
#define LANES_PER_BLOCK 8 /* of four weights each */

INLINE bool has_parts(weight_type type) {
    return type == TYPE_Q2_K || type == TYPE_Q3_K || type == TYPE_Q4_K || type == TYPE_Q5_K ||
           type == TYPE_Q6_K || type == TYPE_IQ4_XS;
}

/* Whether scales belong to groups of 16. */
INLINE bool has_groups(weight_type type) {
    return type == TYPE_Q2_K || type == TYPE_Q3_K || type == TYPE_Q6_K;
}

/* Minima multiply the sums of activations: of a block's 32, of each lane's four, or of eight parts
 * at a time. */
typedef enum { NO_MINIMA, MINIMA_OF_BLOCKS, MINIMA_OF_GROUPS, MINIMA_OF_PARTS } minima;

INLINE minima minima_of(weight_type type) {
    switch (type) {
    case TYPE_Q4_1:
    case TYPE_Q5_1: return MINIMA_OF_BLOCKS;
    case TYPE_Q2_K: return MINIMA_OF_GROUPS;
    case TYPE_Q4_K:
    case TYPE_Q5_K: return MINIMA_OF_PARTS;
    default: return NO_MINIMA;
    }
}

/* What v_dot takes off where its weights must be unsigned; levels are signed bytes. */
INLINE int quants_offset(weight_type type) {
    switch (type) {
    case TYPE_Q8_0:
    case TYPE_IQ4_NL:
    case TYPE_MXFP4:
    case TYPE_IQ4_XS: return 128;
    case TYPE_Q6_K: return 32;
    case TYPE_Q5_0: return 16;
    case TYPE_Q4_0: return 8;
    case TYPE_Q3_K: return 4;
    default: return 0;
    }
}

/* Bytes of a block. */
INLINE size_t quant_bytes(weight_type type) {
    switch (type) {
    case TYPE_Q8_0: return 34;
    case TYPE_Q4_0: return 18;
    case TYPE_Q4_1: return 20;
    case TYPE_Q5_0: return 22;
    case TYPE_Q5_1: return 24;
    case TYPE_IQ4_NL: return 18;
    case TYPE_MXFP4: return 17;
    case TYPE_Q2_K: return 84;
    case TYPE_Q3_K: return 110;
    case TYPE_Q4_K: return 144;
    case TYPE_Q5_K: return 176;
    case TYPE_Q6_K: return 210;
    default: return 136; /* IQ4_XS */
    }
}

/* Blocks of 32 weights, as many as a vector has. */
typedef struct {
    vb q;
    vb groups; /* has_groups: the scales of 16 weights */
    vf scale;  /* what is left of the scales */
    vf min;    /* minima of blocks (each lane its share) or groups, negative where subtracted */
} quants;

/* n blocks of 32 from w on. */
INLINE quants load_blocks(weight_type type, const uint8_t *w, size_t n) {
    size_t stride = quant_bytes(type);
    int offset = quants_offset(type);
    quants a = {0};
    if (type == TYPE_MXFP4) {
        float d[Q_BLOCKS];
        for (size_t i = 0; i < n; i++) d[i] = mxfp4_scale(w[i * stride]);
        a.scale = v_block_floats(d, n);
    } else {
        a.scale = v_block_halves(w, stride, n);
    }
    switch (type) {
    case TYPE_Q8_0: a.q = v_from_signed(v_bytes(w + 2, stride, n)); break;
    case TYPE_Q4_0: a.q = v_from_codes(v_nibbles(w + 2, stride, n), offset); break;
    case TYPE_Q4_1: a.q = v_nibbles(w + 4, stride, n); break;
    case TYPE_Q5_0:
        a.q = v_add_mask(v_nibbles(w + 6, stride, n), w + 2, stride, n, 16);
        a.q = v_from_codes(a.q, offset);
        break;
    case TYPE_Q5_1: a.q = v_add_mask(v_nibbles(w + 8, stride, n), w + 4, stride, n, 16); break;
    case TYPE_IQ4_NL: a.q = v_levels(iq4_levels, v_nibbles(w + 2, stride, n)); break;
    default: a.q = v_levels(mxfp4_levels, v_nibbles(w + 1, stride, n)); break; /* MXFP4 */
    }
    if (minima_of(type) == MINIMA_OF_BLOCKS)
        a.min = v_mul(v_block_halves(w + 2, stride, n), v_set1(1.0f / LANES_PER_BLOCK));
    return a;
}

/* What a block of 256 says about its parts, unpacked once; each type uses some of it. */
typedef struct {
    float d;
    float scale[PARTS];       /* d * scale */
    float min[2 * PARTS];     /* -dmin * minimum, of the parts or of groups of 16 */
    int8_t groups[2 * PARTS]; /* scales of groups */
} super_scales;

INLINE uint32_t load_u32(const uint8_t *p) {
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

/* In each byte, all of which are below 64. */
INLINE uint64_t minus_32(uint64_t bytes) {
    const uint64_t high = 0x8080808080808080;
    return ((bytes | high) - 0x2020202020202020) ^ high;
}

/* The unpacking handles four or eight bytes as one number. */
INLINE super_scales load_super_scales(weight_type type, const uint8_t *w) {
    super_scales s;
    if (type == TYPE_Q2_K) {
        s.d = load_half(w + 80);
        float dmin = load_half(w + 82);
        for (size_t i = 0; i < 2; i++) {
            uint64_t both, low = 0x0f0f0f0f0f0f0f0f;
            memcpy(&both, w + 8 * i, sizeof both);
            uint64_t scales = both & low;
            memcpy(s.groups + 8 * i, &scales, sizeof scales);
            store_scaled_8(s.min + 8 * i, both >> 4 & low, -dmin);
        }
    } else if (type == TYPE_Q3_K) {
        s.d = load_half(w + 108);
        uint32_t upper = load_u32(w + 104);
        for (size_t i = 0; i < 4; i++) {
            uint32_t low = load_u32(w + 96 + 4 * (i % 2)) >> 4 * (i / 2) & 0x0f0f0f0f;
            uint32_t scales = (uint32_t)minus_32(low | (upper >> 2 * i & 0x03030303) << 4);
            memcpy(s.groups + 4 * i, &scales, sizeof scales);
        }
    } else if (type == TYPE_Q6_K) {
        s.d = load_half(w + 208);
    } else if (type == TYPE_IQ4_XS) {
        uint64_t low = load_u32(w + 4), upper = (uint64_t)(w[2] | w[3] << 8);
        /* eight times four bits and two bits, spread over the bytes */
        low = (low | low << 16) & 0x0000ffff0000ffff;
        low = (low | low << 8) & 0x00ff00ff00ff00ff;
        low = (low | low << 4) & 0x0f0f0f0f0f0f0f0f;
        upper = (upper | upper << 24) & 0x000000ff000000ff;
        upper = (upper | upper << 12) & 0x000f000f000f000f;
        upper = (upper | upper << 6) & 0x0303030303030303;
        store_scaled_8(s.scale, minus_32(low | upper << 4), load_half(w));
    } else { /* Q4_K, Q5_K */
        uint32_t a = load_u32(w + 4), b = load_u32(w + 8), c = load_u32(w + 12);
        uint32_t scale = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030); /* of the last four parts */
        uint32_t min = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
        store_scaled_8(s.scale, (a & 0x3f3f3f3f) | (uint64_t)scale << 32, load_half(w));
        store_scaled_8(s.min, (b & 0x3f3f3f3f) | (uint64_t)min << 32, -load_half(w + 2));
    }
    return s;
}

/* Part `part` of the block of 256 at w, and those next to it that fill the vector. */
INLINE quants load_part(weight_type type, const uint8_t *w, const super_scales *s, size_t part) {
    int offset = quants_offset(type);
    quants a = {0};
    switch (type) {
    case TYPE_Q2_K: a.q = v_part_two_bits(w + 16, part); break;
    case TYPE_Q3_K:
        a.q = v_from_codes(v_part_add_bits(v_part_two_bits(w + 32, part), w, part, 4), offset);
        break;
    case TYPE_Q4_K: a.q = v_part_nibbles(w + 16, part); break;
    case TYPE_Q5_K:
        a.q = v_part_add_bits(v_part_nibbles(w + 48, part), w + 16, part, 16);
        break;
    case TYPE_Q6_K: a.q = v_from_codes(v_part_q6_k(w, part), offset); break;
    default: a.q = v_levels(iq4_levels, v_nibbles(w + 8 + 16 * part, 16, Q_BLOCKS)); break;
    }
    if (has_groups(type)) {
        const int8_t *groups = type == TYPE_Q6_K ? (const int8_t *)w + 192 : s->groups;
        a.groups = v_group_scales(groups + 2 * part);
        a.scale = v_set1(s->d);
    } else {
        a.scale = v_block_floats(s->scale + part, Q_BLOCKS);
    }
    if (minima_of(type) == MINIMA_OF_GROUPS) a.min = v_group_floats(s->min + 2 * part);
    return a;
}

INLINE vf dot_quants(weight_type type, quants w, vb x, vb offset) {
    return has_groups(type) ? v_dot_groups(w.q, x, offset, w.groups) : v_dot(w.q, x, offset);
}

#endif
