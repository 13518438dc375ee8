/* simd.h: a thin face over one instruction set's vectors, so that every kernel is written once
 * (kernels_impl.h and what it includes). The including file defines SIMD_AVX512 (with SIMD_AMX
 * where its tiles are there, for matmul.h), SIMD_AVX2 (with SIMD_VNNI where AVX-VNNI is there) or
 * SIMD_NEON and is compiled with that set's flags; another set is one more section with the same
 * names.
 *
 *   VL                    floats per vector; it divides PACKED_ROWS, and 2 VL divides KV_TILE
 *   vf, vb, vm            a vector of floats; of bytes or whole numbers; a lane mask
 *   TILE_ROWS             rows of a matmul tile whose sums fit the registers
 *   TILE_VECTORS          vectors of outputs of a tile of half as many rows; 1 unless VL is
 *                         PACKED_ROWS
 *   ROW_VECTORS           vectors of outputs that one row takes side by side: 1, or as many as a
 *                         packed group has (no more than TILE_ROWS), so that no line of it is read
 *                         twice
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
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/compiler.h"

/* What the compilers' headers want of a constant count of bits. */
#if defined(__clang__)
#define COUNT(n) ((unsigned)(n))
#else
#define COUNT(n) ((int)(n))
#endif

#if defined(__x86_64__)
INLINE float sum_256(__m256 a) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
#endif

#if defined(SIMD_AVX512)

#define VL 16
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define ROW_VECTORS 1
#define QUERIES 8
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
INLINE vm v_above(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
} /* a > b: not beside a NaN */
INLINE vm v_least(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); } /* a >= b */

INLINE float v_sum(vf a) {
    return sum_256(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)));
}
/* The largest lane, where none is a NaN. */
INLINE float v_largest(vf a) { return _mm512_reduce_max_ps(a); }
/* The same of each of n vectors, n up to QUERIES. */
INLINE vf halves_max(vf a, vf b) { /* lanes i and i + 8 of a, then of b */
    return _mm512_max_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}
INLINE vf quarters_max(vf a, vf b) {
    return _mm512_max_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}
INLINE void v_largest_each(const vf *v, size_t n, float *out) {
    if (n < QUERIES) {
        UNROLL
        for (size_t i = 0; i < n; i++) out[i] = v_largest(v[i]);
        return;
    }
    vf a = quarters_max(halves_max(v[0], v[1]), halves_max(v[2], v[3]));
    vf b = quarters_max(halves_max(v[4], v[5]), halves_max(v[6], v[7]));
    vf m = _mm512_max_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    m = _mm512_max_ps(m, _mm512_permute_ps(m, 0xb1));
    /* now 128 bits hold the i-th of a twice, and the i-th of b twice */
    m = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0),
                              m);
    _mm256_storeu_ps(out, _mm512_castps512_ps256(m));
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

/* Pieces of four bytes for VL outputs, and whole numbers in their place. */
INLINE vb v_line(const uint8_t *p) { return _mm512_loadu_si512(p); }
/* Bits `from` and up of every byte, moved to `to` and cut to mask; what crosses bytes is masked. */
INLINE vb v_move_bits(vb q, int from, int to, int mask) {
    if (from > to) q = _mm512_srli_epi16(q, COUNT(from - to));
    if (from < to) q = _mm512_slli_epi16(q, COUNT(to - from));
    return _mm512_and_si512(q, _mm512_set1_epi8((char)mask));
}
INLINE vb v_shift_right(vb q, size_t n) {
    return _mm512_srl_epi16(q, _mm_cvtsi64_si128((long long)n));
}
INLINE vb v_or(vb a, vb b) { return _mm512_or_si512(a, b); }
/* Signed bytes, as v_dot4 wants them: plus 128. */
INLINE vb v_from_signed(vb q) { return _mm512_xor_si512(q, _mm512_set1_epi8(-128)); }
/* The same of the levels that codes below 16 stand for. */
INLINE vb v_levels(const int8_t *levels, vb q) {
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)levels));
    return _mm512_shuffle_epi8(v_from_signed(table), q);
}
INLINE vb v_ints(int32_t n) { return _mm512_set1_epi32(n); }
/* What a sum starts from: minus_sum of the activations times what codes have too much. */
#define SIGNED_TOO_MUCH 128
INLINE vb v_start(int32_t minus_sum, int too_much) {
    return too_much ? _mm512_slli_epi32(_mm512_set1_epi32(minus_sum),
                                        (unsigned)__builtin_ctz((unsigned)too_much))
                    : _mm512_setzero_si512();
}
/* sum += w . x: n pieces of VL outputs, and four activations for each; most: the largest code. */
INLINE vb v_dot(vb sum, const vb *w, const int8_t *x, size_t n, int most) {
    (void)most;
    UNROLL
    for (size_t i = 0; i < n; i++) {
        int32_t four;
        memcpy(&four, x + 4 * i, sizeof four);
        sum = _mm512_dpbusd_epi32(sum, w[i], _mm512_set1_epi32(four));
    }
    return sum;
}
INLINE vf v_from_ints(vb a) { return _mm512_cvtepi32_ps(a); }
INLINE vf v_load_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p)));
}
/* The lower and the upper four bits of bytes. */
INLINE void v_load_u4(const uint8_t *p, vf *low, vf *high) {
    __m512i i = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
    *low = _mm512_cvtepi32_ps(_mm512_and_si512(i, _mm512_set1_epi32(15)));
    *high = _mm512_cvtepi32_ps(_mm512_srli_epi32(i, 4));
}
/* mxfp4_scale of bytes. */
INLINE vf v_load_e8m0(const uint8_t *p) {
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p)), two = _mm512_set1_epi32(2);
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __m512i small = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    return _mm512_castsi512_ps(
        _mm512_mask_blend_epi32(_mm512_cmplt_epu32_mask(e, two), normal, small));
}

#elif defined(SIMD_AVX2)

#define VL 8
#define TILE_ROWS 4
#define TILE_VECTORS 1
#define ROW_VECTORS 1
#define QUERIES 4
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
INLINE vm v_above(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
} /* a > b: not beside a NaN */
INLINE vm v_least(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); } /* a >= b */

INLINE float v_sum(vf a) { return sum_256(a); }
/* The largest lane, where none is a NaN. */
INLINE float v_largest(vf a) {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}
/* The same of each of n vectors, n up to QUERIES. */
INLINE void v_largest_each(const vf *v, size_t n, float *out) {
    UNROLL
    for (size_t i = 0; i < n; i++) out[i] = v_largest(v[i]);
}
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

/* Pieces of four bytes for VL outputs, and whole numbers in their place. */
INLINE vb v_line(const uint8_t *p) { return _mm256_loadu_si256((const void *)p); }
/* Bits `from` and up of every byte, moved to `to` and cut to mask; what crosses bytes is masked. */
INLINE vb v_move_bits(vb q, int from, int to, int mask) {
    if (from > to) q = _mm256_srli_epi16(q, from - to);
    if (from < to) q = _mm256_slli_epi16(q, to - from);
    return _mm256_and_si256(q, _mm256_set1_epi8((char)mask));
}
INLINE vb v_shift_right(vb q, size_t n) {
    return _mm256_srl_epi16(q, _mm_cvtsi64_si128((long long)n));
}
INLINE vb v_or(vb a, vb b) { return _mm256_or_si256(a, b); }
INLINE vb v_ints(int32_t n) { return _mm256_set1_epi32(n); }
#if defined(SIMD_VNNI)
/* Signed bytes, as v_dot wants them: plus 128. */
#define SIGNED_TOO_MUCH 128
INLINE vb v_from_signed(vb q) { return _mm256_xor_si256(q, _mm256_set1_epi8(-128)); }
#else
#define SIGNED_TOO_MUCH 0
INLINE vb v_from_signed(vb q) { return q; }
#endif
/* The same of the levels that codes below 16 stand for. */
INLINE vb v_levels(const int8_t *levels, vb q) {
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)levels));
    return _mm256_shuffle_epi8(v_from_signed(table), q);
}
/* What a sum starts from: minus_sum of the activations times what codes have too much. */
INLINE vb v_start(int32_t minus_sum, int too_much) {
    return too_much
               ? _mm256_slli_epi32(_mm256_set1_epi32(minus_sum), __builtin_ctz((unsigned)too_much))
               : _mm256_setzero_si256();
}
INLINE vb four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}
/* sum += w . x: n pieces of VL outputs, and four activations for each; most: the largest code, or
 * more than 127 for signed bytes. */
INLINE vb v_dot(vb sum, const vb *w, const int8_t *x, size_t n, int most) {
#if defined(SIMD_VNNI)
    (void)most;
    UNROLL
    for (size_t i = 0; i < n; i++) sum = _mm256_dpbusd_avx_epi32(sum, w[i], four_of(x + 4 * i));
#else
    /* maddubs wants one unsigned side and saturates at 16 bits: |w| x (x with w's sign) stays below
     * 2 * 128 * 127 < 2^15 for activations within -127..127; of small codes, several such sums
     * fit. */
    __m256i one = _mm256_set1_epi16(1);
    if (most > 127) {
        UNROLL
        for (size_t i = 0; i < n; i++) {
            __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]),
                                                 _mm256_sign_epi8(four_of(x + 4 * i), w[i]));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
        }
        return sum;
    }
    size_t fit = (size_t)(32767 / (2 * 127 * most));
    __m256i pairs = one;
    UNROLL
    for (size_t i = 0; i < n; i++) {
        __m256i next = _mm256_maddubs_epi16(w[i], four_of(x + 4 * i));
        pairs = i % fit ? _mm256_add_epi16(pairs, next) : next;
        if ((i + 1) % fit == 0 || i + 1 == n)
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, one));
    }
#endif
    return sum;
}
INLINE vf v_from_ints(vb a) { return _mm256_cvtepi32_ps(a); }
INLINE __m256i widen_u8(const uint8_t *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p));
}
INLINE vf v_load_u8(const uint8_t *p) { return _mm256_cvtepi32_ps(widen_u8(p)); }
/* The lower and the upper four bits of bytes. */
INLINE void v_load_u4(const uint8_t *p, vf *low, vf *high) {
    __m256i i = widen_u8(p);
    *low = _mm256_cvtepi32_ps(_mm256_and_si256(i, _mm256_set1_epi32(15)));
    *high = _mm256_cvtepi32_ps(_mm256_srli_epi32(i, 4));
}
/* mxfp4_scale of bytes. */
INLINE vf v_load_e8m0(const uint8_t *p) {
    __m256i e = widen_u8(p), two = _mm256_set1_epi32(2);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, _mm256_cmpgt_epi32(two, e)));
}

#elif defined(SIMD_NEON)

#define VL 4
#define TILE_ROWS 8
#define TILE_VECTORS 1
#define ROW_VECTORS 4
#define QUERIES 8
typedef float32x4_t vf;
typedef uint8x16_t vb;
typedef uint32x4_t vm;

/* Loads and stores go by bytes, which need no alignment. */
INLINE uint8x8_t low_bytes(const void *p, size_t n) { /* n <= 8; the others are zero */
    uint64_t bytes = 0;
    memcpy(&bytes, p, n);
    return vcreate_u8(bytes);
}
INLINE uint16x4_t load_halves(const void *p) { return vreinterpret_u16_u8(vld1_u8(p)); }
/* VL of them or less, one after the other: a copy of a length that is not known would be a call. */
INLINE uint16x4_t load_halves_part(const void *p, size_t n) {
    uint64_t halves = 0;
    for (size_t i = 0; i < VL && i < n; i++) {
        uint16_t half;
        memcpy(&half, (const uint8_t *)p + 2 * i, sizeof half);
        halves |= (uint64_t)half << 16 * i;
    }
    return vcreate_u16(halves);
}

INLINE vf v_zero(void) { return vdupq_n_f32(0); }
INLINE vf v_set1(float f) { return vdupq_n_f32(f); }
INLINE vf v_load(const void *p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
INLINE vf v_load_part(const void *p, size_t n) {
    const uint8_t *b = p;
    if (n >= VL) return v_load(p);
    uint8x8_t low = n > 1 ? vld1_u8(b) : n > 0 ? low_bytes(b, 4) : vdup_n_u8(0);
    return vreinterpretq_f32_u8(vcombine_u8(low, n > 2 ? low_bytes(b + 8, 4) : vdup_n_u8(0)));
}
INLINE void v_store(float *p, vf a) { vst1q_f32(p, a); }
INLINE void v_store_part(float *p, vf a, size_t n) {
    if (n >= VL) {
        v_store(p, a);
        return;
    }
    if (n > 0) vst1q_lane_f32(p, a, 0);
    if (n > 1) vst1q_lane_f32(p + 1, a, 1);
    if (n > 2) vst1q_lane_f32(p + 2, a, 2);
}

INLINE vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
INLINE vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
INLINE vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
INLINE vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
INLINE vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }  /* a b + c */
INLINE vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); } /* c - a b */
/* Not vmaxq, which gives a NaN beside a NaN, whichever side it is on. */
INLINE vf v_max(vf a, vf b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
} /* a > b ? a : b: b beside a NaN */
INLINE vf v_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); } /* a < b ? a : b */
INLINE vf v_abs(vf a) { return vabsq_f32(a); }
INLINE vf v_with_sign(vf a, vf b) { /* a without a sign, given b's */
    return vbslq_f32(vdupq_n_u32(0x80000000), b, a);
}
INLINE vf v_round(vf a) { return vrndnq_f32(a); }
/* a 2^n for a whole n within -250..250, rounded once: only the second factor can leave the normal
 * range. */
INLINE vf power_of_2(int32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
INLINE vf v_scale2(vf a, vf n) {
    int32x4_t whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    return v_mul(v_mul(a, power_of_2(half)), power_of_2(vsubq_s32(whole, half)));
}

/* The lanes i with begin <= first + i < end. */
INLINE vm v_lanes(size_t first, size_t begin, size_t end) {
    static const uint32_t steps[VL] = {0, 1, 2, 3};
    uint32x4_t i = vaddq_u32(vld1q_u32(steps), vdupq_n_u32((uint32_t)first));
    return vandq_u32(vcgeq_u32(i, vdupq_n_u32((uint32_t)begin)),
                     vcltq_u32(i, vdupq_n_u32((uint32_t)end)));
}
INLINE vf v_select(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }

INLINE float v_sum(vf a) {
    float32x2_t h = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}
INLINE vm v_above(vf a, vf b) { return vcgtq_f32(a, b); } /* a > b: not beside a NaN */
INLINE vm v_least(vf a, vf b) { return vcgeq_f32(a, b); } /* a >= b */
/* The largest lane, where none is a NaN. */
INLINE float v_largest(vf a) { return vmaxvq_f32(a); }
/* The same of each of n vectors, n up to QUERIES: of four, by folding neighbours. */
INLINE void v_largest_each(const vf *v, size_t n, float *out) {
    size_t i = 0;
    UNROLL
    for (; i + 4 <= n; i += 4)
        v_store(out + i, vpmaxq_f32(vpmaxq_f32(v[i], v[i + 1]), vpmaxq_f32(v[i + 2], v[i + 3])));
    UNROLL
    for (; i < n; i++) out[i] = v_largest(v[i]);
}
/* Larger of the bit patterns, for lanes without a sign: a NaN is larger than an infinity. */
INLINE vf v_max_bits(vf a, vf b) {
    return vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b)));
}
INLINE float v_largest_bits(vf a) {
    int32_t bits = vmaxvq_s32(vreinterpretq_s32_f32(a));
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE vf widen_f16(uint16x4_t h) { return vcvt_f32_f16(vreinterpret_f16_u16(h)); }
INLINE vf v_load_f16(const void *p) { return widen_f16(load_halves(p)); }
INLINE vf v_load_f16_part(const void *p, size_t n) { return widen_f16(load_halves_part(p, n)); }
INLINE vf widen_i8(uint8x8_t q) {
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(q)))));
}
INLINE vf v_load_i8(const void *p) { return widen_i8(low_bytes(p, VL)); }
INLINE vf v_load_i8_part(const void *p, size_t n) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < VL && i < n; i++) bytes |= (uint64_t)((const uint8_t *)p)[i] << 8 * i;
    return widen_i8(vcreate_u8(bytes));
}
INLINE void v_store_f16(uint16_t *p, vf a) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a))); }
INLINE vf widen_bf16(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }
INLINE vf v_load_bf16(const void *p) { return widen_bf16(load_halves(p)); }
INLINE vf v_load_bf16_part(const void *p, size_t n) { return widen_bf16(load_halves_part(p, n)); }
/* Whole numbers within int8. */
INLINE void v_store_i8(int8_t *p, vf a) {
    int16x4_t h = vqmovn_s32(vcvtnq_s32_f32(a));
    int32_t four = vget_lane_s32(vreinterpret_s32_s8(vqmovn_s16(vcombine_s16(h, h))), 0);
    memcpy(p, &four, sizeof four);
}

/* Pieces of four bytes for VL outputs, and whole numbers in their place. */
INLINE vb v_line(const uint8_t *p) { return vld1q_u8(p); }
/* Bits `from` and up of every byte, moved to `to` and cut to mask. */
INLINE vb v_move_bits(vb q, int from, int to, int mask) {
    if (from > to) q = q >> vdupq_n_u8((uint8_t)(from - to));
    if (from < to) q = q << vdupq_n_u8((uint8_t)(to - from));
    return vandq_u8(q, vdupq_n_u8((uint8_t)mask));
}
INLINE vb v_shift_right(vb q, size_t n) { return vshlq_u8(q, vdupq_n_s8((int8_t)-(int)n)); }
INLINE vb v_or(vb a, vb b) { return vorrq_u8(a, b); }
/* Signed bytes, as v_dot wants them: as they are. */
#define SIGNED_TOO_MUCH 0
INLINE vb v_from_signed(vb q) { return q; }
/* The levels that codes below 16 stand for. */
INLINE vb v_levels(const int8_t *levels, vb q) {
    return vqtbl1q_u8(vreinterpretq_u8_s8(vld1q_s8(levels)), q);
}
INLINE vb from_ints(int32x4_t a) { return vreinterpretq_u8_s32(a); }
INLINE vb v_ints(int32_t n) { return from_ints(vdupq_n_s32(n)); }
/* What a sum starts from: minus_sum of the activations times what codes have too much. */
INLINE vb v_start(int32_t minus_sum, int too_much) { return v_ints(minus_sum * too_much); }
/* sum += w . x: n pieces (a multiple of 4) of VL outputs, and four activations for each. All codes
 * fit a signed byte, whatever the largest is. */
INLINE vb v_dot(vb sum, const vb *w, const int8_t *x, size_t n, int most) {
    int32x4_t s = vreinterpretq_s32_u8(sum);
    (void)most;
    UNROLL
    for (size_t i = 0; i < n; i += 4) {
        int8x16_t fours = vld1q_s8(x + 4 * i);
        s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(w[i]), fours, 0);
        s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(w[i + 1]), fours, 1);
        s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(w[i + 2]), fours, 2);
        s = vdotq_laneq_s32(s, vreinterpretq_s8_u8(w[i + 3]), fours, 3);
    }
    return from_ints(s);
}
INLINE vf v_from_ints(vb a) { return vcvtq_f32_s32(vreinterpretq_s32_u8(a)); }
INLINE uint32x4_t widen_u8(const uint8_t *p) {
    return vmovl_u16(vget_low_u16(vmovl_u8(low_bytes(p, VL))));
}
INLINE vf v_load_u8(const uint8_t *p) { return vcvtq_f32_u32(widen_u8(p)); }
/* The lower and the upper four bits of bytes. */
INLINE void v_load_u4(const uint8_t *p, vf *low, vf *high) {
    uint32x4_t i = widen_u8(p);
    *low = vcvtq_f32_u32(vandq_u32(i, vdupq_n_u32(15)));
    *high = vcvtq_f32_u32(vshrq_n_u32(i, 4));
}
/* mxfp4_scale of bytes. */
INLINE vf v_load_e8m0(const uint8_t *p) {
    uint32x4_t e = widen_u8(p);
    uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), small, normal));
}

#else
#error "the including file names its instruction set"
#endif

#endif
