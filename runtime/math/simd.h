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
#define OFFSET_Q8_0 128
#define OFFSET_Q4_0 8
#define OFFSET_Q6_K 32
INLINE vb v_act(const int8_t *q, size_t n) {
    return n == Q_BLOCKS ? _mm512_loadu_si512(q)
                         : _mm512_zextsi256_si512(_mm256_loadu_si256((const void *)q));
}
INLINE vb v_act_offset(vb x, int offset) {
    __m512i sums = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char)offset), x);
    return _mm512_sub_epi32(_mm512_setzero_si512(), sums);
}
INLINE vb v_weights_q8_0(const uint8_t *w, size_t n) {
    __m512i q = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(w + 2)));
    if (n == Q_BLOCKS) q = _mm512_inserti64x4(q, _mm256_loadu_si256((const void *)(w + 36)), 1);
    return _mm512_xor_si512(q, _mm512_set1_epi8(-128));
}
INLINE vb v_weights_q4_0(const uint8_t *w, size_t n) {
    __m512i q = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(w + 2)));
    if (n == Q_BLOCKS)
        q = _mm512_mask_broadcast_i32x4(q, 0xff00, _mm_loadu_si128((const void *)(w + 20)));
    q = _mm512_srlv_epi64(q, _mm512_set_epi64(4, 4, 0, 0, 4, 4, 0, 0));
    return _mm512_and_si512(q, _mm512_set1_epi8(15));
}
/* Blocks `part` and the next of the 8 of a Q6_K block; part is even. */
INLINE vb v_weights_q6_k(const uint8_t *w, size_t part) {
    size_t half = part / 4;
    bool first = part % 4 == 0;
    __m512i low = _mm512_loadu_si512(w + 64 * half);
    __m512i upper = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(w + 128 + 32 * half)));
    if (!first) low = _mm512_srli_epi16(low, 4);
    /* two bits from 0 (2 in the other block) or 4 (6) up to 4: what crosses bytes is masked */
    upper = first ? _mm512_sllv_epi64(upper, _mm512_set_epi64(2, 2, 2, 2, 4, 4, 4, 4))
                  : _mm512_srlv_epi64(upper, _mm512_set_epi64(2, 2, 2, 2, 0, 0, 0, 0));
    return _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi8(15)),
                           _mm512_and_si512(upper, _mm512_set1_epi8(0x30)));
}
/* The int8 scales of 16 weights each, as 16 bits in the lower half of their lanes; the upper is
 * zero. */
INLINE vb v_group_scales_q6_k(const uint8_t *w, size_t part) {
    int four;
    memcpy(&four, w + 192 + 2 * part, sizeof four);
    const __m512i high_byte =
        _mm512_set_epi32((int)0x80800380, (int)0x80800380, (int)0x80800380, (int)0x80800380,
                         (int)0x80800280, (int)0x80800280, (int)0x80800280, (int)0x80800280,
                         (int)0x80800180, (int)0x80800180, (int)0x80800180, (int)0x80800180,
                         (int)0x80800080, (int)0x80800080, (int)0x80800080, (int)0x80800080);
    return _mm512_srai_epi16(_mm512_shuffle_epi8(_mm512_set1_epi32(four), high_byte), 8);
}
INLINE vf v_dot(vb w, vb x, vb offset) {
    return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(offset, w, x));
}
/* The same times the lanes' own scales. Both fit 16 bits (4 * 32 * 127 < 2^15), so that the product
 * of lower halves is the product; it stays below 2^24, where floats are exact. */
INLINE vf v_dot_groups(vb w, vb x, vb offset, vb scales) {
    return _mm512_cvtepi32_ps(_mm512_madd_epi16(_mm512_dpbusd_epi32(offset, w, x), scales));
}

/* Each block's scale, in that block's lanes. */
INLINE vf v_act_scales(const float *d, size_t n) {
    __m512 s = _mm512_maskz_broadcastss_ps(0x00ff, _mm_load_ss(d));
    return n == Q_BLOCKS ? _mm512_mask_broadcastss_ps(s, 0xff00, _mm_load_ss(d + 1)) : s;
}
/* Weight scales: halves at the start of the blocks; two by one load and one permutation. */
INLINE vf scales_one(const uint8_t *w) {
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return _mm512_cvtph_ps(_mm256_maskz_set1_epi16(0x00ff, (short)h));
}
INLINE vf v_scales_q8_0(const uint8_t *w, size_t n) { /* 34 bytes a block: halves 0 and 17 */
    if (n < Q_BLOCKS) return scales_one(w);
    __m512i at = _mm512_zextsi256_si512(_mm256_set_m128i(_mm_set1_epi16(17), _mm_setzero_si128()));
    return _mm512_cvtph_ps(
        _mm512_castsi512_si256(_mm512_permutexvar_epi16(at, _mm512_loadu_si512(w))));
}
INLINE vf v_scales_q4_0(const uint8_t *w, size_t n) { /* 18 bytes a block: halves 0 and 9 */
    if (n < Q_BLOCKS) return scales_one(w);
    __m256i at = _mm256_set_m128i(_mm_set1_epi16(9), _mm_setzero_si128());
    return _mm512_cvtph_ps(_mm256_permutexvar_epi16(at, _mm256_loadu_si256((const void *)w)));
}
INLINE vf v_scales_q6_k(const uint8_t *w) { /* one for all, at the end of the block */
    uint16_t h;
    memcpy(&h, w + 208, sizeof h);
    return _mm512_cvtph_ps(_mm256_set1_epi16((short)h));
}

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
#define OFFSET_Q8_0 0
#define OFFSET_Q4_0 0
#define OFFSET_Q6_K 0
INLINE vb v_act(const int8_t *q, size_t n) {
    (void)n;
    return _mm256_loadu_si256((const void *)q);
}
INLINE vb v_act_offset(vb x, int offset) {
    (void)offset;
    return x;
}
INLINE vb v_weights_q8_0(const uint8_t *w, size_t n) {
    (void)n;
    return _mm256_loadu_si256((const void *)(w + 2));
}
INLINE vb v_weights_q4_0(const uint8_t *w, size_t n) {
    (void)n;
    __m256i q = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(w + 2)));
    q = _mm256_srlv_epi64(q, _mm256_set_epi64x(4, 4, 0, 0));
    return _mm256_sub_epi8(_mm256_and_si256(q, _mm256_set1_epi8(15)), _mm256_set1_epi8(8));
}
/* Block `part` of the 8 of a Q6_K block. */
INLINE vb v_weights_q6_k(const uint8_t *w, size_t part) {
    size_t half = part / 4, quarter = part % 4;
    __m256i low = _mm256_loadu_si256((const void *)(w + 64 * half + 32 * (quarter % 2)));
    __m256i upper = _mm256_loadu_si256((const void *)(w + 128 + 32 * half));
    if (quarter >= 2) low = _mm256_srli_epi16(low, 4);
    /* two bits from 2 quarter up to 4: what crosses bytes is masked */
    upper = quarter < 2 ? _mm256_slli_epi16(upper, 4 - 2 * (int)quarter)
                        : _mm256_srli_epi16(upper, 2 * (int)quarter - 4);
    __m256i q = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)),
                                _mm256_and_si256(upper, _mm256_set1_epi8(0x30)));
    return _mm256_sub_epi8(q, _mm256_set1_epi8(32));
}
/* The int8 scales of 16 weights each as 16 bits, for each pair of weights. */
INLINE vb v_group_scales_q6_k(const uint8_t *w, size_t part) {
    return _mm256_set_m128i(_mm_set1_epi16((int8_t)w[192 + 2 * part + 1]),
                            _mm_set1_epi16((int8_t)w[192 + 2 * part]));
}
INLINE vf v_dot_groups(vb w, vb x, vb offset, vb scales) {
    (void)offset;
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, scales));
}
INLINE vf v_dot(vb w, vb x, vb offset) {
    return v_dot_groups(w, x, offset, _mm256_set1_epi16(1));
}

INLINE vf v_act_scales(const float *d, size_t n) {
    (void)n;
    return _mm256_broadcast_ss(d);
}
/* Weight scales: a half at the start of the block. */
INLINE vf scales_one(const uint8_t *w) {
    uint16_t h;
    memcpy(&h, w, sizeof h);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)h));
}
INLINE vf v_scales_q8_0(const uint8_t *w, size_t n) {
    (void)n;
    return scales_one(w);
}
INLINE vf v_scales_q4_0(const uint8_t *w, size_t n) {
    (void)n;
    return scales_one(w);
}
INLINE vf v_scales_q6_k(const uint8_t *w) { return scales_one(w + 208); } /* at the end */

#else
#error "the including file names its instruction set"
#endif

#endif
