/* model.h: a loaded model: its hyper-parameters, its weights bound to the shapes that they must have, its tokenizer,
 * and the geometry of its caches. Immutable once loaded.
 *
 * Shapes are written [rows][columns]; E = n_embd, V = n_vocab, H = n_head, K = n_head_kv, D = head size. */
#ifndef PERILUNE_MODEL_MODEL_H
#define PERILUNE_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/team.h"
#include "gguf/gguf.h"
#include "math/math.h"
#include "text/tokenizer.h"

/* One row per architecture: what is read from its files, and how its layers are computed. */
typedef struct {
    const char *name;           /* general.architecture */
    bool rope_interleaved;      /* rotated pairs are (2i, 2i+1), not (i, i + n_rot/2) */
} arch_row;
const arch_row *arch_find(gguf_string name); /* NULL: not supported */

typedef struct {
    const arch_row *arch;
    uint32_t n_layer, n_embd, n_head, n_head_kv, n_ff, n_vocab;
    uint32_t d_k, d_v;          /* head sizes of keys and values */
    uint32_t n_rot;             /* dimensions of a head that RoPE turns */
    uint32_t context_trained;
    float rms_eps, rope_base, rope_scale; /* rope_scale: positions are divided by it (linear scaling); 1: none */
} hparams;

typedef struct {
    const float *attn_norm, *ffn_norm;              /* [E] */
    matrix wq, wk, wv, wo;                          /* [H D][E], [K D][E], [K D][E], [E][H D] */
    const float *bq, *bk, *bv, *bo;                 /* NULL: none */
    matrix w_gate, w_up, w_down;                    /* [F][E], [F][E], [E][F] */
    attention_shape attention;
} layer;

typedef struct {
    const char *path;
    uint32_t context;       /* 0: what the model was trained for */
    uint32_t threads;       /* 0: team_default_size */
    kv_type kv;
    bool no_map;            /* read the file instead of mapping it */
    bool vocab_only;        /* the tokenizer alone: n_layer is 0, nothing can be computed */
    const char *isa;        /* a kernel table by name; NULL: the best one */
    bool (*progress)(void *user, double fraction); /* false: PL_ERR_CANCELLED; NULL: none */
    void *user;
} model_options;

typedef struct {
    hparams hp;
    uint32_t context;           /* most tokens of one cache */
    kv_type kv;
    gguf *file;
    tokenizer *tok;
    team *workers;              /* NULL when vocab_only */
    const kernels *math;
    matrix embedding, output;   /* [V][E]; the same when tied */
    const float *output_norm;   /* [E] */
    double *rope_freq;          /* [n_rot / 2] radians per position */
    layer *layers;              /* [n_layer] */
    size_t block_bytes;         /* of one cache block: KV_TILE tokens, all layers */
    uint64_t n_params;
    size_t n_bytes;             /* of all tensors */
    void *owned;                /* the vectors (norms, biases), as floats */
    uint64_t fingerprint;       /* 0: not computed yet */
} model;

pl_code model_load(const model_options *o, model **out, pl_error *e);
void model_free(model *m);      /* NULL is fine */

/* Over all weights and hyper-parameters (XXH64), computed when first asked for: what a cache file must match. */
pl_code model_fingerprint(model *m, uint64_t *out, pl_error *e);

/* Zeroes the slots from `slot` on in a cache block of this model. */
void model_clear_slots(const void *model, uint8_t *block, size_t slot);

#endif
