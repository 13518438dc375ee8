/* scalar.c: the reference table, and the one for processors that have no other. Plain C that reads
 * like the definitions in math.h; sums run in index order, long ones in double. The vector tables
 * are tested against it and against double precision, never the other way round. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "math/tables.h"

/* ---- activations ---- */

/* One block of ACT_BLOCK values. d = amax / 127 and q = x * (127 / amax), rounded to nearest even.
 * Two ends are defined apart: a block whose largest value is below 2^-100 is zero (127 / amax could
 * overflow), and one that holds an infinity or a NaN gets q = 0 and d = s = NaN, so that it reaches
 * every output it takes part in. */
static void quantize_block(const float *x, act_block *b) {
    float amax = 0;
    for (int i = 0; i < ACT_BLOCK; i++) {
        float m = fabsf(x[i]);
        if (m > amax || isnan(m)) amax = m;
    }
    if (amax < 0x1p-100f || !(amax <= FLT_MAX)) {
        *b = (act_block){0};
        b->d = b->s = amax < 0x1p-100f ? 0.0f : (float)NAN;
        return;
    }
    float inverse = 127.0f / amax;
    int half[2] = {0, 0};
    for (int i = 0; i < ACT_BLOCK; i++) {
        b->q[i] = (int8_t)rintf(x[i] * inverse);
        half[i / 16] += b->q[i];
    }
    b->d = amax / 127.0f;
    b->s = b->d * (float)(half[0] + half[1]);
    b->minus_sum = -(half[0] + half[1]);
    b->minus_half[0] = (int16_t)-half[0];
    b->minus_half[1] = (int16_t)-half[1];
}

static void quantize_q8(const float *x, size_t n, void *row) {
    act_block *b = row;
    for (size_t i = 0; i < n; i += ACT_BLOCK) quantize_block(x + i, b++);
}

/* ---- matrix products ---- */

/* Weights come from a mapped file: only as aligned as the file. */
static float read_f32(const uint8_t *p) {
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

static uint16_t read_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static float weight_at(weight_type type, const uint8_t *row, size_t i) {
    switch (type) {
    case TYPE_F16: return half_to_float(read_u16(row + 2 * i));
    case TYPE_BF16: return bfloat_to_float(read_u16(row + 2 * i));
    default: return read_f32(row + 4 * i);
    }
}

static float dot_float(weight_type type, const uint8_t *row, size_t n, const float *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)weight_at(type, row, i) * (double)x[i];
    return (float)sum;
}

/* 32 weights of a row, as all quantized formats read: weight i is
 * d * scale[i / 16] * q[i] - dmin * min[i / 16]. */
typedef struct {
    float d, dmin;
    int q[32], scale[2], min[2];
} part;

/* One scale and one minimum for all 32. */
static part part_of(float d, int scale, float dmin, int min) {
    return (part){.d = d, .dmin = dmin, .scale = {scale, scale}, .min = {min, min}};
}

static float read_half(const uint8_t *p) { return half_to_float(read_u16(p)); }

/* Codes of four bits in 16 bytes: 0 to 15 in the low nibbles, 16 to 31 in the high ones. */
static int nibble(const uint8_t *p, int i) { return i < 16 ? p[i] & 15 : p[i - 16] >> 4; }

/* Blocks of 32. Q8_0: a half d, 32 int8. Q4_0: d, 16 bytes of nibbles, each plus 8. Q4_1: d, a half
 * m, nibbles; m is added. Q5_0: d, 4 bytes with the upper bits in order, nibbles; each plus 16.
 * Q5_1: d, m, upper bits, nibbles. IQ4_NL: d, nibbles that choose one of 16 levels. MXFP4: a byte
 * that is an exponent, nibbles that choose one of 16 levels. */
static part read_block(weight_type type, const uint8_t *p) {
    part w = part_of(type == TYPE_MXFP4 ? mxfp4_scale(p[0]) : read_half(p), 1, 0, 1);
    if (type == TYPE_Q4_1 || type == TYPE_Q5_1) w.dmin = -read_half(p + 2);
    for (int i = 0; i < 32; i++) {
        switch (type) {
        case TYPE_Q8_0: w.q[i] = (int8_t)p[2 + i]; break;
        case TYPE_Q4_0: w.q[i] = nibble(p + 2, i) - 8; break;
        case TYPE_Q4_1: w.q[i] = nibble(p + 4, i); break;
        case TYPE_Q5_0: w.q[i] = (nibble(p + 6, i) | (p[2 + i / 8] >> i % 8 & 1) << 4) - 16; break;
        case TYPE_Q5_1: w.q[i] = nibble(p + 8, i) | (p[4 + i / 8] >> i % 8 & 1) << 4; break;
        case TYPE_IQ4_NL: w.q[i] = iq4_levels[nibble(p + 2, i)]; break;
        default: w.q[i] = mxfp4_levels[nibble(p + 1, i)]; break;
        }
    }
    return w;
}

/* Part k of the eight in a block of 256. Where bits of all parts share bytes, two-bit codes have 32
 * bytes for four parts, the first in the lowest bits; one-bit codes 32 bytes for all eight. */
static int two_bits(const uint8_t *p, int k, int i) { return p[k / 4 * 32 + i] >> k % 4 * 2 & 3; }
static int one_bit(const uint8_t *p, int k, int i) { return p[i] >> k & 1; }

/* Q2_K: for every 16 weights a byte, scale below and minimum above; 64 bytes of two bits; halves d
 * and dmin. */
static part read_q2_k(const uint8_t *p, int k) {
    part w = part_of(read_half(p + 80), 0, read_half(p + 82), 0);
    for (int g = 0; g < 2; g++) {
        w.scale[g] = p[2 * k + g] & 15;
        w.min[g] = p[2 * k + g] >> 4;
    }
    for (int i = 0; i < 32; i++) w.q[i] = two_bits(p + 16, k, i);
    return w;
}

/* Q3_K: 32 bytes of upper bits, 64 of the lower two, 12 with a scale of six bits for every 16
 * weights, a half d. Each weight is plus 4, each scale plus 32. The scales' lower four bits: eight
 * bytes of nibbles, the first eight scales in the low ones; upper two: four bytes, four scales at a
 * time from the lowest bits up. */
static part read_q3_k(const uint8_t *p, int k) {
    part w = part_of(read_half(p + 108), 0, 0, 0);
    for (int g = 2 * k; g < 2 * k + 2; g++) {
        int low = p[96 + g % 8] >> g / 8 * 4 & 15, upper = p[104 + g % 4] >> g / 4 * 2 & 3;
        w.scale[g % 2] = (low | upper << 4) - 32;
    }
    for (int i = 0; i < 32; i++) w.q[i] = (two_bits(p + 32, k, i) | one_bit(p, k, i) << 2) - 4;
    return w;
}

/* Q4_K and Q5_K: halves d and dmin; 12 bytes with a scale and a minimum of six bits for each part;
 * (Q5_K: 32 bytes of upper bits;) 128 bytes of nibbles, 32 for two parts. The first four scales are
 * the lower six bits of bytes 0 to 3, their minima of 4 to 7. Bytes 8 to 11 are the lower four bits
 * of the others, scales below and minima above; the upper two lie on top of bytes 0 to 7. */
static part read_q4_or_5_k(bool five, const uint8_t *p, int k) {
    const uint8_t *s = p + 4, *nibbles = p + (five ? 48 : 16) + k / 2 * 32;
    int scale = k < 4 ? s[k] & 63 : (s[k + 4] & 15) | s[k - 4] >> 6 << 4;
    int min = k < 4 ? s[k + 4] & 63 : s[k + 4] >> 4 | s[k] >> 6 << 4;
    part w = part_of(read_half(p), scale, read_half(p + 2), min);
    for (int i = 0; i < 32; i++)
        w.q[i] = (nibbles[i] >> k % 2 * 4 & 15) | (five ? one_bit(p + 16, k, i) << 4 : 0);
    return w;
}

/* Q6_K: 128 bytes with the lower four bits, 64 with the upper two, an int8 scale for every 16
 * weights, a half d. Each weight is plus 32. For the nibbles, four parts have 64 bytes: the first
 * two the low ones, the others the high ones. */
static part read_q6_k(const uint8_t *p, int k) {
    part w = part_of(read_half(p + 208), 0, 0, 0);
    for (int g = 0; g < 2; g++) w.scale[g] = (int8_t)p[192 + 2 * k + g];
    for (int i = 0; i < 32; i++) {
        int low = p[k / 4 * 64 + k % 2 * 32 + i] >> k % 4 / 2 * 4 & 15;
        w.q[i] = (low | two_bits(p + 128, k, i) << 4) - 32;
    }
    return w;
}

/* IQ4_XS: a half d; a scale of six bits, plus 32, for each part: two bytes with their upper two
 * bits in order, four with their lower four; then the nibbles as in IQ4_NL. */
static part read_iq4_xs(const uint8_t *p, int k) {
    int low = p[4 + k / 2] >> k % 2 * 4 & 15, upper = read_u16(p + 2) >> 2 * k & 3;
    part w = part_of(read_half(p), (low | upper << 4) - 32, 0, 0);
    for (int i = 0; i < 32; i++) w.q[i] = iq4_levels[nibble(p + 8 + 16 * k, i)];
    return w;
}

/* The b-th 32 weights of a row. */
static part read_part(weight_type type, const uint8_t *row, size_t b) {
    const weight_format *f = weight_format_of(type);
    const uint8_t *p = row + b * 32 / f->block * f->bytes;
    int k = (int)(b % 8);
    switch (type) {
    case TYPE_Q2_K: return read_q2_k(p, k);
    case TYPE_Q3_K: return read_q3_k(p, k);
    case TYPE_Q4_K: return read_q4_or_5_k(false, p, k);
    case TYPE_Q5_K: return read_q4_or_5_k(true, p, k);
    case TYPE_Q6_K: return read_q6_k(p, k);
    case TYPE_IQ4_XS: return read_iq4_xs(p, k);
    default: return read_block(type, p);
    }
}

static float dot_quantized(weight_type type, const uint8_t *row, size_t n, const act_block *x) {
    double sum = 0;
    for (size_t b = 0; b < n / 32; b++) {
        part w = read_part(type, row, b);
        int products = 0, minima = 0;
        for (int i = 0; i < 32; i++) {
            products += w.scale[i / 16] * w.q[i] * x[b].q[i];
            minima += w.min[i / 16] * x[b].q[i];
        }
        sum += (double)x[b].d * ((double)w.d * products - (double)w.dmin * minima);
    }
    return (float)sum;
}

static void matmul(const matrix *w, size_t o_begin, size_t o_end, const void *x, size_t x_stride,
                   size_t n_rows, float *y, size_t y_stride) {
    size_t n = w->n_in;
    for (size_t o = o_begin; o < o_end; o++) {
        const uint8_t *row = (const uint8_t *)w->data + o * w->row_bytes;
        for (size_t r = 0; r < n_rows; r++) {
            float *out = y + r * y_stride + o;
            if (matrix_act_kind(w->type) == ACT_F32) {
                *out = dot_float(w->type, row, n, (const float *)x + r * x_stride);
            } else {
                const char *xr = (const char *)x + r * act_q8_stride(n);
                *out = dot_quantized(w->type, row, n, (const act_block *)(const void *)xr);
            }
        }
    }
}

/* ---- rows ---- */

static void rms_norm(const float *x, const float *w, size_t n, float eps, float *y) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    float inverse = 1.0f / sqrtf((float)(sum / (double)n) + eps);
    for (size_t i = 0; i < n; i++) y[i] = w ? x[i] * inverse * w[i] : x[i] * inverse;
}

static void layer_norm(const float *x, const float *w, const float *b, size_t n, float eps,
                       float *y) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    float inverse = 1.0f / sqrtf((float)(squares / (double)n) + eps);
    for (size_t i = 0; i < n; i++) {
        y[i] = (x[i] - (float)mean) * inverse;
        if (w) y[i] *= w[i];
        if (b) y[i] += b[i];
    }
}

static void add(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static void mul(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] *= y[i];
}

static void mul_add(float *x, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += a[i] * b[i];
}

static float dot(const float *x, const float *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return (float)sum;
}

static void scale(float *x, size_t n, float s) {
    for (size_t i = 0; i < n; i++) x[i] *= s;
}

static void softcap(float *x, size_t n, float c) {
    for (size_t i = 0; i < n; i++) x[i] = c * tanhf(x[i] / c);
}

static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void swiglu_clamped(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) {
        float g = gate[i] > 7 ? 7 : gate[i], u = up[i] > 7 ? 7 : up[i] < -7 ? -7 : up[i];
        y[i] = g / (1.0f + expf(-1.702f * g)) * (u + 1);
    }
}

static void sigmoid_gate(const float *gate, size_t n, float *x) {
    for (size_t i = 0; i < n; i++) x[i] /= 1.0f + expf(-gate[i]);
}

static float gelu_of(float x) {
    float u = 0.79788456080286536f * (x + 0.044715f * x * x * x); /* sqrt(2 / pi) */
    return x / (1.0f + expf(-2.0f * u));
}

static void gelu(const float *x, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = gelu_of(x[i]);
}

static void geglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = gelu_of(gate[i]) * up[i];
}

static void rope(float *x, size_t n_head, size_t d, size_t n_rot, const float *cs,
                 bool interleaved) {
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_head; h++, x += d) {
        for (size_t i = 0; i < half; i++) {
            float *a = interleaved ? x + 2 * i : x + i;
            float *b = interleaved ? x + 2 * i + 1 : x + i + half;
            float c = cs[2 * i], s = cs[2 * i + 1], a0 = *a, b0 = *b;
            *a = a0 * c - b0 * s;
            *b = a0 * s + b0 * c;
        }
    }
}

/* ---- recurrence ---- */

static void delta_step(size_t n_k, size_t n_v, const float *in, float *out, const float *q,
                       const float *k, const float *v, float decay, float beta, float *o) {
    for (size_t i = 0; i < n_v; i++) {
        float held = 0, sum = 0;
        for (size_t j = 0; j < n_k; j++) held += in ? k[j] * in[j * n_v + i] : 0;
        float u = beta * (v[i] - decay * held);
        for (size_t j = 0; j < n_k; j++) {
            float s = (in ? decay * in[j * n_v + i] : 0) + k[j] * u;
            out[j * n_v + i] = s;
            sum += s * q[j];
        }
        o[i] = sum;
    }
}

static void ssm_step(size_t n_k, size_t n_v, const float *in, float *out, const float *x,
                     const float *b, const float *c, float decay, float *y) {
    for (size_t i = 0; i < n_v; i++) {
        float sum = 0;
        for (size_t j = 0; j < n_k; j++) {
            float s = (in ? decay * in[j * n_v + i] : 0) + b[j] * x[i];
            out[j * n_v + i] = s;
            sum += s * c[j];
        }
        y[i] = sum;
    }
}

/* ---- attention ---- */

/* Of a head of d dimensions at p: item `at`, which is dimension i of slot j; with KV_Q8_0 the scale
 * of i's group lies behind all items. */
static uint16_t *scale_of(uint8_t *p, size_t d, size_t i, size_t j) {
    return (uint16_t *)(p + d * KV_TILE) + i / KV_GROUP * KV_TILE + j;
}

static void put(kv_type type, uint8_t *p, size_t at, size_t d, size_t i, size_t j, float f) {
    if (type == KV_F32) ((float *)p)[at] = f;
    else if (type == KV_F16) ((uint16_t *)p)[at] = float_to_half(f);
    else {
        float scale = half_to_float(*scale_of(p, d, i, j));
        float q = scale > 0 ? rintf(f * (1.0f / scale)) : 0;
        p[at] = (uint8_t)(int8_t)fmaxf(-127, fminf(127, q));
    }
}

static float get(kv_type type, const uint8_t *p, size_t at, size_t d, size_t i, size_t j) {
    if (type == KV_F32) return ((const float *)p)[at];
    if (type == KV_F16) return half_to_float(((const uint16_t *)p)[at]);
    return (float)(int8_t)p[at] * half_to_float(*scale_of((uint8_t *)p, d, i, j));
}

static float key_at(const attention_shape *a, const uint8_t *keys, size_t i, size_t j) {
    return get(a->type, keys, i * KV_TILE + j, a->d_k, i, j);
}

static float value_at(const attention_shape *a, const uint8_t *values, size_t i, size_t j) {
    return get(a->type, values, j * a->d_v + i, a->d_v, i, j);
}

/* KV_Q8_0: the scales of one slot of a head. */
static void put_scales(uint8_t *p, const float *x, size_t d, size_t j) {
    for (size_t g = 0; g < d; g += KV_GROUP) {
        float amax = 0;
        for (size_t i = g; i < d && i < g + KV_GROUP; i++)
            if (fabsf(x[i]) > amax || isnan(x[i])) amax = fabsf(x[i]);
        uint16_t scale = float_to_half(amax / 127.0f);
        *scale_of(p, d, g, j) = isfinite(half_to_float(scale)) ? scale : KV_NAN_SCALE;
    }
}

static void kv_store(const attention_shape *a, uint8_t *block, size_t slot, const float *k,
                     const float *v) {
    for (size_t h = 0; h < a->n_head_kv; h++, k += a->d_k, v += a->d_v) {
        uint8_t *keys = block + a->k_offset + h * kv_head_bytes(a->type, a->d_k);
        uint8_t *values = block + a->v_offset + h * kv_head_bytes(a->type, a->d_v);
        if (a->type == KV_Q8_0) {
            put_scales(keys, k, a->d_k, slot);
            put_scales(values, v, a->d_v, slot);
        }
        for (size_t i = 0; i < a->d_k; i++)
            put(a->type, keys, i * KV_TILE + slot, a->d_k, i, slot, k[i]);
        for (size_t i = 0; i < a->d_v; i++)
            put(a->type, values, slot * a->d_v + i, a->d_v, i, slot, v[i]);
    }
}

/* One query's fold of one tile, slots [begin, end) of it, into its span. */
static void attend_tile(const attention_shape *a, const uint8_t *block, size_t kv_head,
                        const float *q, size_t begin, size_t end, float *record) {
    const uint8_t *keys = block + a->k_offset + kv_head * kv_head_bytes(a->type, a->d_k);
    const uint8_t *values = block + a->v_offset + kv_head * kv_head_bytes(a->type, a->d_v);
    float *p = record + QUERY_WEIGHTS, *acc = record + QUERY_VALUES;
    float max = record[QUERY_MAX];
    for (size_t j = begin; j < end; j++) {
        float s = 0;
        for (size_t i = 0; i < a->d_k; i++)
            s += q[i] * key_at(a, keys, i, j);
        s *= a->scale;
        if (a->softcap > 0) s = a->softcap * tanhf(s / a->softcap);
        if (s > max) max = s;
        p[j] = s;
    }
    float rescale = max > record[QUERY_MAX] ? expf(record[QUERY_MAX] - max) : 1.0f;
    float sum = 0;
    for (size_t j = begin; j < end; j++) {
        p[j] = expf(p[j] - max);
        sum += p[j];
    }
    record[QUERY_MAX] = max;
    record[QUERY_SUM] = record[QUERY_SUM] * rescale + sum;
    for (size_t i = 0; i < a->d_v; i++) {
        acc[i] *= rescale;
        for (size_t j = begin; j < end; j++)
            acc[i] += p[j] * value_at(a, values, i, j);
    }
}

/* The span joins what lies to its left. */
static void merge_span(size_t d_v, float *record) {
    float *acc = record + QUERY_VALUES, *total = acc + query_value_floats(d_v);
    float left = record[QUERY_TOTAL_MAX], right = record[QUERY_MAX],
          max = left > right ? left : right;
    float scale_left = expf(left - max), scale_right = expf(right - max);
    record[QUERY_TOTAL_MAX] = max;
    record[QUERY_TOTAL_SUM] = record[QUERY_TOTAL_SUM] * scale_left +
                              record[QUERY_SUM] * scale_right;
    for (size_t i = 0; i < d_v; i++) total[i] = total[i] * scale_left + acc[i] * scale_right;
}

/* One query over the span that begins at a position; whether it sees anything of it. */
static bool attend_span(const attention_shape *a, const attention_row *row, size_t head,
                        size_t span, float *record) {
    size_t kv_head = head / (a->n_head / a->n_head_kv);
    size_t begin = visible_begin(a, row->pos), end = (size_t)row->pos + 1;
    record[QUERY_MAX] = -INFINITY;
    record[QUERY_SUM] = 0;
    memset(record + QUERY_VALUES, 0, a->d_v * sizeof *record);
    if (begin >= span + KV_SPAN || end <= span) return false;
    for (size_t tile = span; tile < span + KV_SPAN; tile += KV_TILE) {
        size_t from = begin > tile ? begin - tile : 0;
        size_t to = end > tile ? end - tile : 0;
        if (to > KV_TILE) to = KV_TILE;
        if (from < to)
            attend_tile(a, row->blocks[tile / KV_TILE], kv_head, row->q + head * a->d_k, from, to,
                        record);
    }
    return true;
}

static void begin_total(size_t d_v, float *record) {
    record[QUERY_TOTAL_MAX] = -INFINITY;
    record[QUERY_TOTAL_SUM] = 0;
    memset(record + QUERY_VALUES + query_value_floats(d_v), 0, d_v * sizeof *record);
}

static void finish_query(const attention_shape *a, const attention_row *row, size_t head,
                         float *record) {
    float *total = record + QUERY_VALUES + query_value_floats(a->d_v);
    if (a->sinks) { /* as a span of its own, whose values are zeros */
        record[QUERY_MAX] = a->sinks[head];
        record[QUERY_SUM] = 1;
        memset(record + QUERY_VALUES, 0, a->d_v * sizeof *record);
        merge_span(a->d_v, record);
    }
    for (size_t i = 0; i < a->d_v; i++)
        row->out[head * a->d_v + i] = total[i] / record[QUERY_TOTAL_SUM];
}

static void attention(const attention_shape *a, const attention_row *rows, size_t n_rows,
                      size_t kv_head, void *scratch) {
    size_t group = a->n_head / a->n_head_kv;
    for (size_t r = 0; r < n_rows; r++)
        for (size_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
            begin_total(a->d_v, scratch);
            for (size_t span = 0; span <= rows[r].pos; span += KV_SPAN)
                if (attend_span(a, &rows[r], h, span, scratch)) merge_span(a->d_v, scratch);
            finish_query(a, &rows[r], h, scratch);
        }
}

static void attention_span(const attention_shape *a, const attention_row *rows, size_t n_rows,
                           size_t kv_head, size_t span, float *parts, void *scratch) {
    size_t group = a->n_head / a->n_head_kv;
    float *record = scratch;
    for (size_t i = 0; i < n_rows * group; i++, parts += attention_part_floats(a)) {
        attend_span(a, &rows[i / group], kv_head * group + i % group, span * KV_SPAN, record);
        parts[PART_MAX] = record[QUERY_MAX];
        parts[PART_SUM] = record[QUERY_SUM];
        memcpy(parts + PART_VALUES, record + QUERY_VALUES, a->d_v * sizeof *parts);
    }
}

static void attention_merge(const attention_shape *a, const attention_row *rows, size_t n_rows,
                            size_t kv_head, size_t n_spans, const float *parts, void *scratch) {
    size_t group = a->n_head / a->n_head_kv, floats = attention_part_floats(a);
    float *record = scratch;
    for (size_t i = 0; i < n_rows * group; i++) {
        const attention_row *row = &rows[i / group];
        begin_total(a->d_v, record);
        for (size_t span = 0; span < n_spans; span++) {
            const float *p = parts + (span * n_rows * group + i) * floats;
            if (visible_begin(a, row->pos) >= (span + 1) * KV_SPAN || row->pos < span * KV_SPAN)
                continue;
            record[QUERY_MAX] = p[PART_MAX];
            record[QUERY_SUM] = p[PART_SUM];
            memcpy(record + QUERY_VALUES, p + PART_VALUES, a->d_v * sizeof *record);
            merge_span(a->d_v, record);
        }
        finish_query(a, row, kv_head * group + i % group, record);
    }
}

/* ---- over a vocabulary ---- */

static float max_of(const float *x, size_t n) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (x[i] > max) max = x[i];
    return max;
}

static double sum_exp(const float *x, size_t n, float max) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)expf(x[i] - max);
    return sum;
}

/* A result of logits: finite. What is no number is the lowest. */
static float within(float x) { return !(x > -FLT_MAX) ? -FLT_MAX : x < FLT_MAX ? x : FLT_MAX; }

static void logits_add(float *x, const float *y, size_t n, float a) {
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > -INFINITY && y[i] > -INFINITY ? within(x[i] + a * y[i]) : -INFINITY;
}

static void logits_scale(float *x, size_t n, float a) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] > -INFINITY ? within(x[i] * a) : -INFINITY;
}

static void logits_shift(float *x, size_t n, float high, float low, float t) {
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] > -INFINITY ? within((x[i] - high - low) / t) : -INFINITY;
}

static void logits_keep(float *x, size_t n, float least) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] >= least ? x[i] : -INFINITY;
}

static void exp_into(const float *x, size_t n, float max, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = expf(x[i] - max);
}

const kernels kernels_scalar = {
    .name = "scalar",
    .matmul = matmul,
    .quantize_q8 = quantize_q8,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .add = add,
    .mul = mul,
    .mul_add = mul_add,
    .dot = dot,
    .scale = scale,
    .softcap = softcap,
    .swiglu = swiglu,
    .swiglu_clamped = swiglu_clamped,
    .sigmoid_gate = sigmoid_gate,
    .geglu = geglu,
    .gelu = gelu,
    .rope = rope,
    .kv_store = kv_store,
    .attention = attention,
    .attention_span = attention_span,
    .attention_merge = attention_merge,
    .delta_step = delta_step,
    .ssm_step = ssm_step,
    .max = max_of,
    .sum_exp = sum_exp,
    .logits_add = logits_add,
    .logits_scale = logits_scale,
    .logits_shift = logits_shift,
    .logits_keep = logits_keep,
    .exp = exp_into,
};
