/* math.h: the numerical kernels behind one table, and what is built on them: matrix products over
 * prepared activations, the cache's block layout, attention.
 *
 * Every kernel computes one expression per output, in an order that depends on the shapes and
 * positions alone - never on how many rows, threads or sequences ride along (promise 4 of the
 * design). Results are bit-identical within one table; between tables (scalar, AVX2, AVX-512, NEON)
 * they agree to rounding. There is one exp and one SiLU per table. Compiled with -ffp-contract=off:
 * a fused multiply-add stands where it is written. */
#ifndef PERILUNE_MATH_MATH_H
#define PERILUNE_MATH_MATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/types.h"

/* ---- matrices and activations ---- */

/* A weight matrix: n_out rows of n_in weights, as a file has it (each row a run of the format's
 * blocks), and packed for the kernels, or either. */
typedef struct {
    weight_type type;
    size_t n_in, n_out;
    size_t row_bytes;
    const void *data;       /* [n_out][row_bytes] */
    /* MEM_ALIGN-aligned groups of PACKED_ROWS rows (packed.h); NULL: not packed */
    const uint8_t *packed;
} matrix;

#define PACKED_ROWS 16      /* rows of a packed matrix come in groups of so many */
size_t matrix_group_bytes(const matrix *w);     /* of one group, packed */
static inline size_t matrix_groups(const matrix *w) {
    return (w->n_out + PACKED_ROWS - 1) / PACKED_ROWS;
}
/* Outputs [begin, end) of w as a matrix of its own, in w's memory; begin is a multiple of
 * PACKED_ROWS. */
matrix matrix_outputs(const matrix *w, size_t begin, size_t end);
/* Packs groups [first, first + n) of w->data into out: a pure rearrangement. */
void matrix_pack(const matrix *w, size_t first, size_t n, uint8_t *out);

/* How a weight format wants its other operand: as it is, or quantized to int8 by blocks of 32 with
 * one float scale (d = amax / 127, round to nearest even) and, beside it, sums of the block's int8
 * values. */
typedef enum { ACT_F32, ACT_Q8 } act_kind;
act_kind matrix_act_kind(weight_type type); /* of a supported type */
bool matrix_supported(weight_type type);    /* whether every table has a matmul for it */

#define ACT_BLOCK 32
typedef struct {
    int8_t q[ACT_BLOCK];
    float d, s;         /* the scale; d * sum of q */
    int32_t minus_sum;  /* of q */
    int16_t minus_half[2]; /* of q's first and last 16 */
} act_block;
/* A prepared row of n (a multiple of 32) values is act_block[n / 32]; rows are MEM_ALIGN-aligned,
 * and lie so far apart. */
static inline size_t act_q8_stride(size_t n) {
    return (n / ACT_BLOCK * sizeof(act_block) + 63) & ~(size_t)63;
}

/* ---- the cache's layout ---- */

#define KV_TILE 32 /* tokens per block, and per attention tile; aligned to absolute positions */
/* positions per span of attention: partial results merge per span, left to right */
#define KV_SPAN 1024

#define KV_GROUP 32             /* most dimensions of a head that share a scale of KV_Q8_0 */

typedef enum { KV_F32, KV_F16, KV_Q8_0, KV_TYPES } kv_type;
const char *kv_type_name(kv_type t);                /* "f32", "f16", "q8_0" */
bool kv_type_named(const char *name, kv_type *out); /* false: there is none of that name */

/* One layer's attention. In a block, the layer's keys lie at k_offset, head by head as
 * [d_k][KV_TILE] (transposed: a vector lane is a position), and its values at v_offset, head by
 * head as [KV_TILE][d_v]; offsets are multiples of 64. With KV_Q8_0 these are int8, and behind each
 * head's come its scales, halves [groups of d][KV_TILE]: in every slot, a group of KV_GROUP
 * dimensions (the last may be smaller) has d = amax / 127 rounded to half, and q = x / d rounded to
 * nearest even within -127..127. A group that holds an infinity or a NaN, or more than a half can
 * scale, is NaN. */
typedef struct {
    kv_type type;
    size_t n_head, n_head_kv;   /* n_head is a multiple of n_head_kv */
    size_t d_k, d_v;
    size_t k_offset, v_offset;  /* bytes from the block's start */
    float scale;                /* on q.k */
    float softcap;              /* c: c * tanh(s / c); 0: none */
    uint32_t window;            /* query sees positions > pos - window; 0: all up to its own */
    /* [n_head]: one more score for each head, whose value is zero; NULL: none */
    const float *sinks;
} attention_shape;

static inline size_t kv_type_bytes(kv_type t) { return t == KV_F32 ? 4 : t == KV_F16 ? 2 : 1; }
/* Of one head's keys or values in a block, scales included; and how many scales a slot has. */
static inline size_t kv_groups(size_t d) { return (d + KV_GROUP - 1) / KV_GROUP; }
static inline size_t kv_head_bytes(kv_type t, size_t d) {
    return d * KV_TILE * kv_type_bytes(t) +
           (t == KV_Q8_0 ? kv_groups(d) * KV_TILE * sizeof(uint16_t) : 0);
}
/* Zeroes the slots from `slot` on in a block. */
void kv_clear(const attention_shape *a, uint8_t *block, size_t slot);

/* ---- the table ---- */

/* A row of a sequence: blocks[i] holds positions 32 i ... of it; keys and values of all positions
 * up to the row's own are there, those that the window hides aside. q [n_head][d_k], out
 * [n_head][d_v]. */
typedef struct {
    const uint8_t *const *blocks;
    uint32_t pos;
    const float *q;
    float *out;
} attention_row;

typedef struct kernels kernels;
struct kernels {
    const char *name; /* "scalar", "avx2", "avxvnni", "avx512", "amx", "neon" */

    /* Whether matmul reads packed matrices; the scalar table reads them as the file has them. */
    bool packs;
    /* y[r * y_stride + o] = sum_i w[o][i] * x[r][i] for o in [o_begin, o_end), r in [0, n_rows). x
     * is float rows [n_rows][x_stride floats] for ACT_F32 types, prepared rows (act_q8_stride
     * apart, x_stride unused) for ACT_Q8. o_begin is a multiple of PACKED_ROWS. */
    void (*matmul)(const matrix *w, size_t o_begin, size_t o_end, const void *x, size_t x_stride,
                   size_t n_rows, float *y, size_t y_stride);
    /* One row, layout above. A block below 2^-100 is zero; one that holds an infinity or a NaN gets
     * q = 0, d = s = NaN. */
    void (*quantize_q8)(const float *x, size_t n, void *row);

    /* y = x / sqrt(mean x^2 + eps) * w; y may be x; w may be NULL */
    void (*rms_norm)(const float *x, const float *w, size_t n, float eps, float *y);
    /* y = (x - mean x) / sqrt(mean (x - mean x)^2 + eps) * w + b; y may be x; w and b may be
     * NULL */
    void (*layer_norm)(const float *x, const float *w, const float *b, size_t n, float eps,
                       float *y);
    void (*add)(float *x, const float *y, size_t n);                     /* x += y */
    void (*mul)(float *x, const float *y, size_t n);                     /* x *= y */
    void (*mul_add)(float *x, const float *a, const float *b, size_t n); /* x += a * b, fused */
    float (*dot)(const float *x, const float *y, size_t n);
    void (*scale)(float *x, size_t n, float s);                          /* x *= s */
    void (*softcap)(float *x, size_t n, float c);                        /* x = c tanh(x / c) */
    /* y = silu(gate) * up; y may be gate */
    void (*swiglu)(const float *gate, const float *up, size_t n, float *y);
    /* the same with gelu(gate) */
    void (*geglu)(const float *gate, const float *up, size_t n, float *y);
    /* g = min(gate, 7), u = up within -7..7: y = g / (1 + exp(-1.702 g)) * (u + 1) (gpt-oss); y may
     * be gate */
    void (*swiglu_clamped)(const float *gate, const float *up, size_t n, float *y);
    /* x /= 1 + exp(-gate); gate may be x: silu(x) */
    void (*sigmoid_gate)(const float *gate, size_t n, float *x);
    /* y = gelu(x) in its tanh form (Hendrycks & Gimpel 2016): x / (1 + exp(-2 u)), u = sqrt(2 / pi)
     * (x + 0.044715 x^3); y may be x */
    void (*gelu)(const float *x, size_t n, float *y);
    /* Rotates n_head heads of d dims in place; cs is [n_rot / 2][2] cos, sin of this position.
     * interleaved: pairs (2i, 2i+1); otherwise (i, i + n_rot/2) (NeoX). Dims from n_rot on stay. */
    void (*rope)(float *x, size_t n_head, size_t d, size_t n_rot, const float *cs,
                 bool interleaved);

    /* Puts one row's k [n_head_kv][d_k] and v [n_head_kv][d_v] into slot `slot` of a block. */
    void (*kv_store)(const attention_shape *a, uint8_t *block, size_t slot, const float *k,
                     const float *v);

    /* Attention of n_rows rows, up to ATTENTION_ROWS, and one key/value head; scratch:
     * attention_scratch(a) bytes, MEM_ALIGN-aligned. Rows may be of several sequences: neighbours
     * that share a block read it together. */
    void (*attention)(const attention_shape *a, const attention_row *rows, size_t n_rows,
                      size_t kv_head, void *scratch);
    /* The same in two steps, so that several threads can take part, to the same bits: positions
     * [span * KV_SPAN, (span + 1) * KV_SPAN) alone, into parts [n_rows][n_head / n_head_kv]
     * [attention_part_floats]; then the parts of spans 0 .. n_spans - 1, one after the other, are
     * put together; no row sees a position beyond them. */
    void (*attention_span)(const attention_shape *a, const attention_row *rows, size_t n_rows,
                           size_t kv_head, size_t span, float *parts, void *scratch);
    void (*attention_merge)(const attention_shape *a, const attention_row *rows, size_t n_rows,
                            size_t kv_head, size_t n_spans, const float *parts, void *scratch);

    /* One token of one head of a recurrent layer. Its state lies as [n_k][n_v] (a vector lane is a
     * value); it is read from `in` (NULL: zeros) and written to `out`, which may be `in`. The gated
     * delta rule (Yang et al. 2024, Gated Delta Networks): with S = decay * in, out = S + k (beta
     * (v - S^T k))^T, o = out^T q. */
    void (*delta_step)(size_t n_k, size_t n_v, const float *in, float *out, const float *q,
                       const float *k, const float *v, float decay, float beta, float *o);
    /* A selective state space (Dao & Gu 2024, Mamba-2): out = decay * in + b x^T, y = out^T c. */
    void (*ssm_step)(size_t n_k, size_t n_v, const float *in, float *out, const float *x,
                     const float *b, const float *c, float decay, float *y);

    /* Over a vocabulary, [n] floats, -INFINITY meaning masked. max passes over NaN (nothing else
     * there: -INFINITY); sum_exp is NaN with one, and when max is not finite. */
    float (*max)(const float *x, size_t n);
    double (*sum_exp)(const float *x, size_t n, float max);              /* sum of exp(x - max) */
    void (*exp)(const float *x, size_t n, float max, float *y);          /* y = exp(x - max) */
    /* Arithmetic of logits. What was masked stays so, a NaN becomes it; all else stays finite. */
    /* x += a * y; masked where either is */
    void (*logits_add)(float *x, const float *y, size_t n, float a);
    void (*logits_scale)(float *x, size_t n, float a);                   /* x *= a */
    /* x = (x - high - low) / t */
    void (*logits_shift)(float *x, size_t n, float high, float low, float t);
    /* masks all but x >= least; a NaN masks all */
    void (*logits_keep)(float *x, size_t n, float least);
};

/* At most this many rows per attention call. */
#define ATTENTION_ROWS 16
/* SIZE_MAX when the size does not fit a size_t */
size_t attention_scratch(const attention_shape *a);
size_t attention_part_floats(const attention_shape *a);

/* The best table for this machine, or the one named (PERILUNE_ISA or a test); NULL: not known, or
 * not for this CPU. kernels_at enumerates those that can run here, best first; NULL ends. */
const kernels *kernels_best(void);
const kernels *kernels_named(const char *name);
const kernels *kernels_at(size_t i);

#endif
