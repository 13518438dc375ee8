/* step.h: inside model/: what the files that compute a step share. forward.c runs it and owns the
 * layers' order; attention.c, feed_forward.c, experts.c and recurrent.c compute their blocks;
 * scratch.c owns the memory.
 *
 * All members of the team run the same code. A phase is either over rows (norms, rotations: cheap)
 * or over chunks of a matrix's outputs (where the time goes); a barrier ends it. What a row
 * computes depends on its own sequence alone: not on its place in the batch, the chunks, or the
 * number of members. */
#ifndef PERILUNE_MODEL_STEP_H
#define PERILUNE_MODEL_STEP_H

#include "model/forward.h"

/* Rows that attend together, in the order of forward_scratch.order: of one sequence, or of several
 * that share their beginning. */
typedef struct { size_t first, count; } row_group;

/* A token's way through one expert; and all of them, sorted by expert: a group of rows for each
 * that was chosen. */
typedef struct {
    uint32_t expert, place;
    float weight;
} expert_choice; /* place: among the sorted */
typedef struct { uint32_t expert; size_t first, count; } expert_group;

/* Rows [first, first + count) are one sequence; its segments from the segment-th on. */
typedef struct { size_t first, count, segment, n_segments; } row_chain;

/* Sizes in rows, and the buffers that hold them. R: rows of the batch. What only mixers of tokens
 * use lies in the same memory as what only feed-forward blocks use. */
struct forward_scratch {
    size_t rows, hidden_rows, logit_rows, members;
    uint8_t *blocks;    /* that memory */
    float *x;           /* [R][E] the residual stream */
    float *h;           /* [R][E] its norm: what a block reads */
    float *y;           /* [R][spaced E] what a block adds to x */
    float *q, *k, *v;   /* [R][spaced H D], [R][spaced K D] twice: of mixers, as all of these */
    float *att;         /* [R][H D] */
    /* of feed-forward blocks, as the next two: what they are inside, [R][F], where the matrix
     * behind it wants floats */
    float *inner;
    uint8_t *inner_act; /* [R][act stride of F]: the same, quantized */
    float *chunks;      /* [members][2][R][chunk]: of gate and up, which no more is kept of */
    size_t chunk_floats; /* of a member */
    float *cs[LAYER_KINDS];     /* [R][n_rot / 2][2] cos and sin of each row's position */
    float *per_layer, *per_layer_token; /* [R][n_layer P] */
    uint8_t *act;       /* [R][act stride]: what a block reads, quantized */
    float *hidden;      /* [hidden_rows][E] */
    uint8_t *logit_act; /* [logit_rows][act stride of E] */
    uint8_t *attention; /* [members][attention_bytes] */
    size_t attention_bytes;
    float *parts;       /* spans of attention that are computed apart */
    size_t part_room;
    size_t n_spans;     /* of the longest row of this step; 1: they are not computed apart */
    uint8_t *group;     /* [members][group_bytes]: rows that are packed when they are used */
    size_t group_bytes;
    uint32_t *order;    /* [R]: rows, those that share their first block side by side */
    row_group *groups;  /* [R] */
    size_t n_groups;

    /* models with experts; k of X are used: of feed-forward blocks, but for the lists */
    float *router, *router_h;       /* [R][X]; [R][E] what the router reads, where that is not h */
    expert_choice *choices;         /* [R][k], in order of rank */
    expert_group *expert_groups;    /* [X] */
    size_t n_expert_groups;
    uint32_t *place_expert;         /* [R k]: whose place it is */
    float *expert_h, *expert_gate, *expert_up,
        *expert_y;                  /* [R k][E], [R k][F], [R k][F], [R k][E] */
    uint8_t *expert_act;            /* [R k][act stride] */
    expert_counts experts;

    /* models with recurrent layers: of mixers, but for the chains */
    float *mix, *mix_gate, *conv;   /* [R][what the mixer reads], [R][inner], [R][W] */
    float *alpha, *beta;            /* [R][N] */
    row_chain *chains;              /* [R] */
    size_t n_chains, *chain_of;     /* [R]: a row's chain */
};

typedef struct {
    const model *m;
    forward_scratch *s;
    const batch *b;
    atomic_bool abandoned;
} step;

/* ---- products (forward.c) ---- */

/* Floats from row to row where products of many rows go, whose sums wait there between chunks of
 * their inputs: an odd number of cache lines. Rows a power of two apart would share a few sets of
 * every cache. */
static inline size_t spaced(size_t n) { return ((n + 15) / 16 | 1) * 16; }

/* How y's rows of n_out floats lie: one behind the other, or spaced(n_out) apart. */
typedef enum { SIDE_BY_SIDE, SPACED } row_layout;

/* Products of the same rows with several matrices, split into chunks of outputs that members
 * claim. */
typedef struct { const matrix *w; float *y; row_layout layout; } product;

#define CHUNKS_PER_MEMBER 8
/* How many outputs a member claims at a time, of so many in all. */
static inline size_t chunk_of(size_t outputs, size_t members) {
    size_t chunk = outputs / (members * CHUNKS_PER_MEMBER) / PACKED_ROWS * PACKED_ROWS;
    return chunk < PACKED_ROWS ? PACKED_ROWS : chunk;
}

/* Outputs of gate and up that are computed at a time, on the way to what is between them and the
 * matrix behind: of so many in all. */
static inline size_t inner_chunk(size_t outputs, size_t members) {
    size_t chunk = outputs / (members * 2 * CHUNKS_PER_MEMBER) / ACT_BLOCK * ACT_BLOCK;
    return chunk < ACT_BLOCK ? ACT_BLOCK : chunk;
}

/* One phase, barrier included. x: [n_rows] rows x_stride floats apart; act: the same, quantized. */
void multiply(const step *f, team *t, size_t member, const product *p, size_t n, const float *x,
              size_t x_stride, const uint8_t *act, size_t n_rows);
/* Outputs [begin, end) of one product; begin is a multiple of PACKED_ROWS. */
void multiply_outputs(const step *f, size_t member, const matrix *w, size_t begin, size_t end,
                      const void *x, size_t x_stride, size_t n_rows, float *y, size_t y_stride);
static inline bool wants_q8(const matrix *w) { return matrix_act_kind(w->type) == ACT_Q8; }
/* The operand of a product with matrices of which some want it quantized. */
void prepare(const step *f, bool q8, const float *x, size_t n, size_t row);

/* ---- rows (forward.c) ---- */

void normalize(const model *m, const float *w, const float *b, const float *x, size_t n, float *y);
static inline void add_bias(const model *m, float *x, const float *bias, size_t n) {
    if (bias) m->math->add(x, bias, n);
}
static inline void scale_row(const model *m, float *x, size_t n, float by) {
    if (by != 1) m->math->scale(x, n, by);
}

/* ---- blocks: y, of every row, from h and act ---- */

static inline size_t q_width(const layer *l) { return l->attention.n_head * l->attention.d_k; }
static inline size_t k_width(const layer *l) { return l->attention.n_head_kv * l->attention.d_k; }
static inline size_t v_width(const layer *l) { return l->attention.n_head_kv * l->attention.d_v; }
static inline size_t o_width(const layer *l) { return l->attention.n_head * l->attention.d_v; }

void attention_block(const step *f, const layer *l, team *t, size_t member);
bool attention_wants_q8(const layer *l);
void mixer_block(const step *f, const layer *l, team *t, size_t member);
bool mixer_wants_q8(const layer *l);
/* Adds to y, or makes it where there is no dense part. */
void experts_block(const step *f, const layer *l, team *t, size_t member);
bool experts_want_q8(const layer *l);
void feed_forward_block(const step *f, const layer *l, team *t, size_t member);
/* y = act(gate) * up, or act(up) where there is no gate: NULL; y may be gate */
void gate_and_up(const model *m, const float *gate, const float *up, size_t n, float *y);
bool feed_forward_wants_q8(const layer *l);
void per_layer_block(const step *f, const layer *l, team *t, size_t member);

#endif
