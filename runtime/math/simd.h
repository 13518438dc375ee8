/* simd.h: a thin face over one instruction set's vectors, so that every kernel is written once
 * (kernels_impl.h). The including file defines SIMD_AVX512 or SIMD_AVX2 and is compiled with that
 * set's flags; another set (NEON: VL 4, TILE_ROWS 4, a byte vector of two registers) is one more
 * section with the same names.
 *
 *   VL                    floats per vector; 2 VL divides KV_TILE
 *   vf, vb, vm            a vector of floats; of bytes, Q_BLOCKS whole blocks of 32; a lane mask
 *   TILE_OUT, TILE_ROWS   outputs and rows of a matmul tile whose sums fit the registers
 *   QUERIES               queries of an attention tile, with two vectors of sums each
 *
 * Horizontal sums fold halves onto each other, always in the same tree. "_part" loads read n < VL
 * elements and nothing beyond them; the other lanes are zero. No load wants more alignment than a
 * byte. */
#ifndef PERILUNE_MATH_SIMD_H
#define PERILUNE_MATH_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__x86_64__)
INLINE float sum_256(__m256 a) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
INLINE float load_half(const uint8_t *p) {
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}
/* out[i] = d * the i-th signed byte, the lowest first. */
INLINE void store_scaled_8(float *out, uint64_t bytes, float d) {
    __m256i whole = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128((long long)bytes));
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_cvtepi32_ps(whole), _mm256_set1_ps(d)));
}
#endif

#if defined(SIMD_AVX512)

#define VL 16
#define TILE_OUT 4
#define TILE_ROWS 4
#define QUERIES 8
#define Q_BLOCKS 2
typedef __m512 vf;
typedef __m512i vb;
typedef __mmask16 vm;

INLINE vm first_lanes(size_t n) { return (vm)((1u << n) - 1u); }

INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
INLINE vf v_set1(float f) { return _mm512_set1_ps(f); }
INLINE vf v_load(const void *p) { return _mm512_loadu_ps(p); }
INLINE vf v_load_part(const void *p, size_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
INLINE void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
INLINE void v_store_part(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), a); }

INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
INLINE vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); } /* a > b ? a : b: b beside a NaN */
INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); } /* a < b ? a : b */
INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf v_with_sign(vf a, vf b) { /* a without a sign, given b's */
    return _mm512_or_ps(a, _mm512_and_ps(b, _mm512_set1_ps(-0.0f)));
}
INLINE vf v_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for a whole n within -300..300, rounded once. */
INLINE vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); }

/* The lanes i with begin <= first + i < end, for positions up to 32. */
INLINE vm v_lanes(size_t first, size_t begin, size_t end) {
    return (vm)((((uint64_t)1 << end) - ((uint64_t)1 << begin)) >> first);
}
INLINE vf v_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }

INLINE float v_sum(vf a) {
    return sum_256(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)));
}
/* Larger of the bit patterns, for lanes without a sign: a NaN is larger than an infinity. */
INLINE vf v_max_bits(vf a, vf b) {
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
INLINE float v_largest_bits(vf a) {
    int bits = _mm512_reduce_max_epi32(_mm512_castps_si512(a));
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE vf v_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE vf v_load_f16_part(const void *p, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
INLINE vf v_load_i8(const void *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}
INLINE vf v_load_i8_part(const void *p, size_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first_lanes(n), p)));
}
INLINE void v_store_f16(uint16_t *p, vf a) {
    _mm256_storeu_si256((__m256i *)p,
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vf widen_bf16(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
INLINE vf v_load_bf16(const void *p) { return widen_bf16(_mm256_loadu_si256(p)); }
INLINE vf v_load_bf16_part(const void *p, size_t n) {
    return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}
/* Whole numbers within int8. */
INLINE void v_store_i8(int8_t *p, vf a) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a)));
}

/* Bytes: n is the blocks that are there, Q_BLOCKS or fewer; the rest is zero. The dot instruction
 * wants one unsigned side, so weights carry an offset; v_dot takes it off again, exactly, through
 * the activations' own sums times that offset, which all outputs share. */
INLINE vb v_act(const int8_t *q, size_t n) {
    return n == Q_BLOCKS ? _mm512_loadu_si512(q)
                         : _mm512_zextsi256_si512(_mm256_loadu_si256((const void *)q));
}
INLINE vb v_act_offset(vb x, int offset) {
    if (offset == 0) return _mm512_setzero_si512();
    __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)offset), x);
    return _mm512_sub_epi32(_mm512_setzero_si512(), sums);
}
/* Sums of the four activations of each lane. */
INLINE vf v_act_sums(vb x) {
    return _mm512_cvtepi32_ps(
        _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), x));
}

/* As v_dot wants them: signed bytes (offset 128), and codes that stand for code - offset. */
INLINE vb v_from_signed(vb q) { return _mm512_xor_si512(q, _mm512_set1_epi8(-128)); }
INLINE vb v_from_codes(vb q, int offset) {
    (void)offset;
    return q;
}
/* Bytes of blocks that lie `stride` apart: 32 as they are, or 16 whose low nibbles are the first
 * half. */
INLINE vb v_bytes(const uint8_t *w, size_t stride, size_t n) {
    __m512i q = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)w));
    if (n == Q_BLOCKS)
        q = _mm512_inserti64x4(q, _mm256_loadu_si256((const void *)(w + stride)), 1);
    return q;
}
INLINE vb v_nibbles(const uint8_t *w, size_t stride, size_t n) {
    __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w));
    if (n == Q_BLOCKS)
        q = _mm512_mask_broadcast_i32x4(q, 0xff00, _mm_loadu_si128((const void *)(w + stride)));
    q = _mm512_srlv_epi64(q, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0));
    return _mm512_and_si512(q, _mm512_set1_epi8(15));
}
/* Adds `value` to the codes whose bits are set: 32 bits per block. */
INLINE vb v_add_mask(vb q, const uint8_t *bits, size_t stride, size_t n, int value) {
    uint32_t first, second = 0;
    memcpy(&first, bits, sizeof first);
    if (n == Q_BLOCKS) memcpy(&second, bits + stride, sizeof second);
    return _mm512_mask_add_epi8(q, first | (uint64_t)second << 32, q,
                                _mm512_set1_epi8((char)value));
}
/* Parts of a block of 256: blocks of 32 `part` and the next; part is even. How their bits lie is
 * told in gguf/superblocks.c. */
INLINE __m512i twice(const uint8_t *p) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)p));
}
INLINE __m512i shift_right(__m512i q, size_t first, size_t second) { /* what crosses is masked */
    long long a = (long long)first, b = (long long)second;
    return _mm512_srlv_epi64(q, _mm512_set_epi64(b, b, b, b, a, a, a, a));
}
INLINE vb v_part_nibbles(const uint8_t *w, size_t part) {
    return _mm512_and_si512(shift_right(twice(w + 16 * part), 0, 4), _mm512_set1_epi8(15));
}
INLINE vb v_part_two_bits(const uint8_t *w, size_t part) {
    size_t shift = 2 * (part % 4);
    return _mm512_and_si512(shift_right(twice(w + 32 * (part / 4)), shift, shift + 2),
                            _mm512_set1_epi8(3));
}
INLINE vb v_part_add_bits(vb q, const uint8_t *bits, size_t part, int value) {
    __m256i first = _mm256_set1_epi8((char)(1 << part));
    __m512i bit = _mm512_inserti64x4(_mm512_castsi256_si512(first),
                                     _mm256_set1_epi8((char)(2 << part)), 1);
    return _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(twice(bits), bit), q,
                                _mm512_set1_epi8((char)value));
}
INLINE vb v_part_q6_k(const uint8_t *w, size_t part) {
    size_t half = part / 4;
    bool first = part % 4 == 0;
    __m512i low = _mm512_loadu_si512(w + 64 * half), upper = twice(w + 128 + 32 * half);
    if (!first) low = _mm512_srli_epi16(low, 4);
    /* two bits from 0 (2 in the other block) or 4 (6) up to 4 */
    upper = first ? _mm512_sllv_epi64(upper, _mm512_set_epi64(2, 2, 2, 2, 4, 4, 4, 4))
                  : shift_right(upper, 0, 2);
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)),
                           _mm512_and_si512(upper, _mm512_set1_epi8(0x30)));
}
/* The levels that codes below 16 stand for. */
INLINE vb v_levels(const int8_t *levels, vb q) {
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)levels));
    return _mm512_shuffle_epi8(v_from_signed(table), q);
}

INLINE vf v_dot(vb w, vb x, vb offset) {
    return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(offset, w, x));
}
/* The same times the lanes' own scales. Both fit 16 bits (4 * 32 * 127 < 2^15), so that the product
 * of lower halves is the product; it stays below 2^24, where floats are exact. */
INLINE vf v_dot_groups(vb w, vb x, vb offset, vb scales) {
    return _mm512_cvtepi32_ps(_mm512_madd_epi16(_mm512_dpbusd_epi32(offset, w, x), scales));
}
/* Scales of 16 weights each, as 16 bits in the lower half of their lanes; the upper is zero. */
INLINE vb v_group_scales(const int8_t *scales) {
    int four;
    memcpy(&four, scales, sizeof four);
    const __m512i high_byte =
        _mm512_set_epi32((int)0x80800380, (int)0x80800380, (int)0x80800380, (int)0x80800380,
                         (int)0x80800280, (int)0x80800280, (int)0x80800280, (int)0x80800280,
                         (int)0x80800180, (int)0x80800180, (int)0x80800180, (int)0x80800180,
                         (int)0x80800080, (int)0x80800080, (int)0x80800080, (int)0x80800080);
    return _mm512_srai_epi16(_mm512_shuffle_epi8(_mm512_set1_epi32(four), high_byte), 8);
}
/* One float for 16 weights each. */
INLINE vf v_group_floats(const float *f) {
    __m512i lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    return _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(_mm_loadu_ps(f)));
}
/* One float for each block, in that block's lanes. */
INLINE vf v_block_floats(const float *f, size_t n) {
    __m512 s = _mm512_maskz_broadcastss_ps(0x00ff, _mm_load_ss(f));
    return n == Q_BLOCKS ? _mm512_mask_broadcastss_ps(s, 0xff00, _mm_load_ss(f + 1)) : s;
}
/* The same from halves at w and, `stride` on, the next; two by one load, which stays
 * within the two blocks, and one permutation. */
INLINE vf v_block_halves(const uint8_t *w, size_t stride, size_t n) {
    if (n < Q_BLOCKS) {
        uint16_t h;
        memcpy(&h, w, sizeof h);
        return _mm512_cvtph_ps(_mm256_maskz_set1_epi16(0x00ff, (short)h));
    }
    __m256i at = _mm256_set_m128i(_mm_set1_epi16((short)(stride / 2)), _mm_setzero_si128());
    if (stride / 2 < 16)
        return _mm512_cvtph_ps(
            _mm256_permutexvar_epi16(at, _mm256_loadu_si256((const void *)w)));
    return _mm512_cvtph_ps(_mm512_castsi512_si256(
        _mm512_permutexvar_epi16(_mm512_zextsi256_si512(at), _mm512_loadu_si512(w))));
}
/* Eight floats in the first lanes. */
INLINE vf v_load_8(const float *p) { return _mm512_maskz_loadu_ps(0x00ff, p); }

#elif defined(SIMD_AVX2)

#define VL 8
#define TILE_OUT 4
#define TILE_ROWS 2
#define QUERIES 4
#define Q_BLOCKS 1
typedef __m256 vf;
typedef __m256i vb;
typedef __m256 vm;

/* The lanes i with begin <= first + i < end. */
INLINE vm v_lanes(size_t first, size_t begin, size_t end) {
    __m256i i = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                 _mm256_set1_epi32((int)first));
    __m256i early = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)begin), i);
    return _mm256_castsi256_ps(
        _mm256_andnot_si256(early, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)end), i)));
}
INLINE __m256i first_lanes(size_t n) { return _mm256_castps_si256(v_lanes(0, 0, n)); }

INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
INLINE vf v_set1(float f) { return _mm256_set1_ps(f); }
INLINE vf v_load(const void *p) { return _mm256_loadu_ps(p); }
INLINE vf v_load_part(const void *p, size_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
INLINE void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
INLINE void v_store_part(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, first_lanes(n), a); }

INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }   /* a b + c */
INLINE vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a b */
INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); } /* a > b ? a : b: b beside a NaN */
INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); } /* a < b ? a : b */
INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf v_with_sign(vf a, vf b) { /* a without a sign, given b's */
    return _mm256_or_ps(a, _mm256_and_ps(b, _mm256_set1_ps(-0.0f)));
}
INLINE vf v_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for a whole n within -250..250, rounded once: only the second factor can leave the normal
 * range. */
INLINE vf power_of_2(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
INLINE vf v_scale2(vf a, vf n) {
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return v_mul(v_mul(a, power_of_2(half)), power_of_2(_mm256_sub_epi32(whole, half)));
}
INLINE vf v_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }

INLINE float v_sum(vf a) { return sum_256(a); }
/* Larger of the bit patterns, for lanes without a sign: a NaN is larger than an infinity. */
INLINE vf v_max_bits(vf a, vf b) {
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
INLINE float v_largest_bits(vf a) {
    __m256i i = _mm256_castps_si256(a);
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

INLINE __m128i load_halves(const void *p, size_t n) {
    uint16_t h[VL] = {0};
    memcpy(h, p, n * sizeof *h);
    return _mm_loadu_si128((const void *)h);
}
INLINE vf v_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE vf v_load_f16_part(const void *p, size_t n) { return _mm256_cvtph_ps(load_halves(p, n)); }
INLINE vf v_load_i8(const void *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}
INLINE vf v_load_i8_part(const void *p, size_t n) {
    int8_t q[VL] = {0};
    memcpy(q, p, n);
    return v_load_i8(q);
}
INLINE void v_store_f16(uint16_t *p, vf a) {
    _mm_storeu_si128((__m128i *)p,
                     _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vf widen_bf16(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
INLINE vf v_load_bf16(const void *p) { return widen_bf16(_mm_loadu_si128(p)); }
INLINE vf v_load_bf16_part(const void *p, size_t n) { return widen_bf16(load_halves(p, n)); }
/* Whole numbers within int8. */
INLINE void v_store_i8(int8_t *p, vf a) {
    __m256i i = _mm256_cvtps_epi32(a);
    __m128i h = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(h, h));
}

/* Bytes: one block at a time, so n is always 1. The dot instruction wants one unsigned side and
 * saturates at 16 bits: |w| x (x with w's sign) stays below 2 * 128 * 127 < 2^15 for activations
 * within -127..127. Weights carry no offset. */
INLINE vb v_act(const int8_t *q, size_t n) {
    (void)n;
    return _mm256_loadu_si256((const void *)q);
}
INLINE vb v_act_offset(vb x, int offset) {
    (void)offset;
    return x;
}
/* Sums of the four activations of each lane. */
INLINE vf v_act_sums(vb x) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), x);
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* As v_dot wants them: signed bytes, and codes that stand for code - offset. */
INLINE vb v_from_signed(vb q) { return q; }
INLINE vb v_from_codes(vb q, int offset) {
    return offset == 0 ? q : _mm256_sub_epi8(q, _mm256_set1_epi8((char)offset));
}
/* Bytes of a block: 32 as they are, or 16 whose low nibbles are the first half. */
INLINE vb v_bytes(const uint8_t *w, size_t stride, size_t n) {
    (void)stride;
    (void)n;
    return _mm256_loadu_si256((const void *)w);
}
INLINE vb v_nibbles(const uint8_t *w, size_t stride, size_t n) {
    (void)stride;
    (void)n;
    __m256i q = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)w));
    q = _mm256_srlv_epi64(q, _mm256_set_epi64x(4, 4, 0, 0));
    return _mm256_and_si256(q, _mm256_set1_epi8(15));
}
/* Adds `value` to the codes whose bits are set. */
INLINE vb add_where(vb q, __m256i bytes, __m256i bit, int value) {
    __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    return _mm256_add_epi8(q, _mm256_and_si256(set, _mm256_set1_epi8((char)value)));
}
INLINE vb v_add_mask(vb q, const uint8_t *bits, size_t stride, size_t n, int value) {
    (void)stride;
    (void)n;
    int all;
    memcpy(&all, bits, sizeof all);
    __m256i byte = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(all), byte);
    return add_where(q, bytes, _mm256_set1_epi64x((long long)0x8040201008040201), value);
}
/* Part `part` of a block of 256: its blocks of 32. How their bits lie is told in
 * gguf/superblocks.c; what shifts take across bytes is masked. */
INLINE vb v_part_nibbles(const uint8_t *w, size_t part) {
    __m256i q = _mm256_loadu_si256((const void *)(w + 32 * (part / 2)));
    if (part % 2) q = _mm256_srli_epi16(q, 4);
    return _mm256_and_si256(q, _mm256_set1_epi8(15));
}
INLINE vb v_part_two_bits(const uint8_t *w, size_t part) {
    __m256i q = _mm256_loadu_si256((const void *)(w + 32 * (part / 4)));
    return _mm256_and_si256(_mm256_srli_epi16(q, 2 * (int)(part % 4)), _mm256_set1_epi8(3));
}
INLINE vb v_part_add_bits(vb q, const uint8_t *bits, size_t part, int value) {
    return add_where(q, _mm256_loadu_si256((const void *)bits),
                     _mm256_set1_epi8((char)(1 << part)), value);
}
INLINE vb v_part_q6_k(const uint8_t *w, size_t part) {
    size_t half = part / 4, quarter = part % 4;
    __m256i low = _mm256_loadu_si256((const void *)(w + 64 * half + 32 * (quarter % 2)));
    __m256i upper = _mm256_loadu_si256((const void *)(w + 128 + 32 * half));
    if (quarter >= 2) low = _mm256_srli_epi16(low, 4);
    /* two bits from 2 quarter up to 4 */
    upper = quarter < 2 ? _mm256_slli_epi16(upper, 4 - 2 * (int)quarter)
                        : _mm256_srli_epi16(upper, 2 * (int)quarter - 4);
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)),
                           _mm256_and_si256(upper, _mm256_set1_epi8(0x30)));
}
/* The levels that codes below 16 stand for. */
INLINE vb v_levels(const int8_t *levels, vb q) {
    return _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)levels)), q);
}

INLINE vf v_dot_groups(vb w, vb x, vb offset, vb scales) {
    (void)offset;
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, scales));
}
INLINE vf v_dot(vb w, vb x, vb offset) {
    return v_dot_groups(w, x, offset, _mm256_set1_epi16(1));
}
/* Scales of 16 weights each as 16 bits, for each pair of weights. */
INLINE vb v_group_scales(const int8_t *scales) {
    return _mm256_set_m128i(_mm_set1_epi16(scales[1]), _mm_set1_epi16(scales[0]));
}
/* One float for 16 weights each. */
INLINE vf v_group_floats(const float *f) {
    return _mm256_set_m128(_mm_broadcast_ss(f + 1), _mm_broadcast_ss(f));
}
/* One float for each block, in that block's lanes; the same from halves. */
INLINE vf v_block_floats(const float *f, size_t n) {
    (void)n;
    return _mm256_broadcast_ss(f);
}
INLINE vf v_block_halves(const uint8_t *w, size_t stride, size_t n) {
    (void)stride;
    (void)n;
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)h));
}
/* Eight floats in the first lanes. */
INLINE vf v_load_8(const float *p) { return _mm256_loadu_ps(p); }

#else
#error "the including file names its instruction set"
#endif

#endif
