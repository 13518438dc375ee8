/* forward.h: one step: a batch of rows, of any number of sequences, through the model once.
 *
 * A row is a token at a position of a sequence. Rows that `store` write their keys and values into
 * their slot, before any row of the layer attends; rows of one sequence lie together, in order of
 * position. */
#ifndef PERILUNE_MODEL_FORWARD_H
#define PERILUNE_MODEL_FORWARD_H

#include <stdatomic.h>

#include "model/model.h"

typedef struct {
    int32_t token;
    uint32_t position;
    uint32_t sequence;      /* index into the batch's tables */
    bool store; /* false: its keys and values are in the cache already (a row that is re-run) */
    bool hidden;            /* its final hidden state is wanted */
} batch_row;

/* In models with recurrent layers, every sequence's rows are cut into segments, in order: each
 * starts from the state `in` (NULL: nothing before it) and leaves the state after its last row in
 * `out`; a sequence's next segment starts from there. `in` and `out` may be the same. */
typedef struct { size_t first, count; const uint8_t *in; uint8_t *out; } batch_segment;

/* A step is abandoned between layers once *at is not `seen` any more. NULL: never. */
typedef struct { const atomic_uint *at; unsigned seen; } batch_stop;

typedef struct {
    const batch_row *rows;
    size_t n_rows;
    uint8_t *const *const
        *tables; /* [sequence] -> [block] -> bytes; covers every position that its rows see */
    /* [n_segments]: all rows, in order; none when state_bytes is 0 */
    const batch_segment *segments;
    size_t n_segments;
    batch_stop stop[2];
} batch;

/* Memory of a step, reused by the next. */
typedef struct forward_scratch forward_scratch;
forward_scratch *forward_scratch_new(void);
void forward_scratch_free(forward_scratch *s);
/* Room for n_rows rows, of sequences of so many positions at most, n_hidden of them with their
 * hidden state, and n_logits rows of logits. */
pl_code forward_reserve(const model *m, forward_scratch *s, size_t n_rows, size_t positions,
                        size_t n_hidden, size_t n_logits, pl_error *e);

/* What the experts of all steps so far came to: products with one expert's matrices, rows in them,
 * bytes of weights. */
typedef struct { uint64_t calls, rows, bytes; } expert_counts;
expert_counts forward_expert_counts(const forward_scratch *s);

/* Runs the batch on the model's team. The final hidden states (after the output norm) of the rows
 * that want one lie in forward_hidden, [wanted][E], in row order. PL_ERR_CANCELLED: it was
 * abandoned; what was stored is not complete. */
pl_code forward_run(const model *m, forward_scratch *s, const batch *b, pl_error *e);
float *forward_hidden(forward_scratch *s);

/* Logits of n hidden states [n][E] into out [n][V]. Room for them is reserved as n_logits. */
void forward_logits(const model *m, forward_scratch *s, const float *hidden, size_t n, float *out);

#endif
