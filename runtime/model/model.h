/* model.h: a loaded model: its hyper-parameters, its weights bound to the shapes that they must
 * have, its tokenizer, and the geometry of its caches. Immutable once loaded.
 *
 * Shapes are written [rows][columns]; E = n_embd, V = n_vocab; H = n_head, K = n_head_kv, D = head
 * size and F = n_ff, which may differ from layer to layer. */
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

typedef enum { NORM_RMS, NORM_LAYER } norm_kind;
/* The pairs that are rotated: none, (2i, 2i+1), (i, i + n_rot/2). */
typedef enum { ROPE_NONE, ROPE_INTERLEAVED, ROPE_NEOX } rope_style;
typedef enum {
    ACTIVATION_SILU,
    ACTIVATION_GELU,
    ACTIVATION_CLAMPED
} activation;                                                     /* GELU in its tanh form */
typedef enum { QK_NORM_NONE, QK_NORM_HEAD, QK_NORM_ROW } qk_norm; /* over a head, or all of a row */

/* What a router makes of its logits before the largest are chosen. */
typedef enum { ROUTER_NONE, ROUTER_SOFTMAX, ROUTER_SIGMOID } router_kind;
/* What stands in place of attention in a layer that has no keys and values. */
typedef enum { MIX_ATTENTION, MIX_DELTA_NET, MIX_SHORT_CONV, MIX_MAMBA2 } mixer_kind;

#define PATTERN_IN_FILE UINT32_MAX

/* One row per architecture: where it departs from the plain pre-norm decoder layer. Numbers are
 * what holds when the file says nothing. Biases are used wherever a file has them. */
typedef struct {
    const char *name;               /* general.architecture */
    norm_kind norm;                 /* of the stream, and of queries and keys */
    bool no_pre_norm;               /* blocks read the stream as it is */
    bool post_norm;                 /* what blocks add to the stream is normed */
    bool parallel;                  /* without an ffn_norm, both blocks read the attn_norm's */
    const char *ffn_norm;           /* its tensor's name; NULL: ffn_norm */
    bool qkv_bias;                  /* required, not only used */
    bool query_gate;                /* attn_q holds a gate for each head behind its query */
    bool sinks;                     /* attn_sinks: one more score for each head */
    qk_norm qk_norm;
    bool qk_norm_optional;          /* only models that have the tensors */
    bool v_norm;                    /* values are normed per head, without weights */
    bool values_from_keys;          /* a layer without attn_v takes the raw keys */
    rope_style rope;
    uint32_t no_rope_every;         /* layers with (i + 1) % n == 0 are not rotated; 0: all are */
    bool rope_switch;               /* rope.scaling.finetuned = false: none are */
    bool whole_attention_factor;    /* rope.scaling.attn_factor is YaRN's whole magnitude */
    bool learned_positions;
    activation activation;
    bool ungated;                   /* no ffn_gate: down(activation(up)) */
    router_kind router;             /* of models with experts; NONE: the architecture has none */
    bool router_renormalized;       /* the chosen ones' weights sum to 1 */
    bool dense_beside_experts;      /* a layer has both, each with norms of its own */
    mixer_kind mixer;               /* of layers without attention */
    /* of n layers the last has attention; 0: those with key/value heads */
    uint32_t attention_every;
    bool scaled_embedding;          /* by sqrt(E) */
    bool per_layer_embedding;
    bool multipliers;               /* embedding_scale, residual_scale, logit_scale (divides) */
    float attention_scale;          /* 0: 1 / sqrt(D) */
    uint32_t wide_scale_layers;     /* a model of so many layers: 1 / sqrt(E / H) */
    float attention_softcap, logit_softcap; /* 0: none */
    bool windowed;                  /* attention.sliding_window counts */
    uint32_t window;                /* when the file gives none; 0: no window */
    uint32_t full_every;            /* of n layers the last sees all; 0: none; or PATTERN_IN_FILE */
    bool window_unscaled;           /* RoPE scaling and factors are for the other layers */
    float window_rope_base;         /* 0: that of the others */
} arch_row;
const arch_row *arch_find(gguf_string name); /* NULL: not supported */
void arch_names(char *out, size_t size);     /* "llama, qwen2, ..." */

/* RoPE of the layers of one kind: those that see all, those with a window. */
typedef enum { LAYER_FULL, LAYER_WINDOW, LAYER_KINDS } layer_kind;
typedef struct {
    uint32_t n_rot;         /* dimensions of a head that it turns; 0: none */
    float base;
    bool scaled;            /* linear scaling, YaRN and factors hold */
    double magnitude;       /* cos and sin are multiplied by it */
    double *freq;           /* [n_rot / 2] radians per position */
} rope_table;

/* RoPE scaling (rope.scaling.*). Positions are divided by `factor`; with yarn (Peng et al. 2023)
 * only those of frequencies that turn less than about beta_slow times in `original` positions, and
 * none that turn more than beta_fast times. */
typedef struct {
    bool yarn;
    bool magnitude_given;   /* attention_factor is all of it */
    float factor, attention_factor, beta_fast, beta_slow, log_multiplier;
    uint32_t original;      /* positions before the extension */
} rope_scaling;

typedef struct {
    const arch_row *arch;
    uint32_t n_layer, n_embd, n_vocab, context_trained;
    uint32_t n_head, n_head_kv; /* of the first layer */
    uint32_t n_predict;         /* blocks behind the layers that predict further tokens: not used */
    uint32_t n_per_layer;       /* width of the per-layer embeddings; 0: none */
    uint32_t n_expert, n_expert_used;   /* 0: no experts */
    router_kind router;
    bool router_renormalized;
    float router_scale;         /* on the experts' weights */
    uint32_t n_conv; /* taps of the recurrent layers' convolution, the current token's included */
    uint32_t n_state_heads,
        n_state_groups; /* heads of states; groups of them that share what reads and writes */
    uint32_t d_state_k, d_state_v;          /* a head's state is [d_state_k][d_state_v] */
    float norm_eps, embedding_scale, residual_scale, logit_scale, logit_softcap;
    float temperature;          /* queries at p are scaled by 1 + t ln(1 + floor(p / original)) */
    rope_style rope;
    rope_scaling scaling;
} hparams;

/* [n] each. NULL weight: no such norm; NULL bias: none. */
typedef struct { const float *weight, *bias; } norm_weights;

/* The experts of a layer: X of them, F wide. */
typedef struct {
    uint32_t n_ff;              /* F; 0: the layer has no experts */
    matrix router;              /* [X][E] floats */
    const float *b_router;      /* [X]; NULL: none */
    const float *choice_bias;   /* [X] added for the choice alone; NULL: none */
    /* [E]: the router reads x / rms(x) * this / sqrt(E); NULL: what the experts read */
    const float *router_norm;
    norm_weights norm;          /* [E] of what the experts read; none: what the dense part reads */
    matrix *gate, *up, *down;   /* [X] of [F][E], [F][E], [E][F] */
    const float *b_gate, *b_up, *b_down; /* [X][F], [X][F], [X][E]; NULL: none */
    const float *scale;         /* [X] on each one's weight; NULL: 1 */
    norm_weights post_norm;     /* [E] of their sum */
} expert_weights;

/* A layer without attention. C: taps; W: channels of the convolution; N: heads. */
typedef struct {
    mixer_kind kind; /* MIX_ATTENTION: the layer has attention, and nothing here is used */
    size_t n_channels;          /* W */
    matrix in, gate, alpha,
        beta; /* what the mixer reads of h; of Mamba-2 and short convolutions: in alone */
    const float *conv;          /* [C][W], the current token's tap last */
    const float *b_conv;        /* [W]; NULL: none */
    const float *a, *d, *b_dt;  /* [N]; Mamba-2's d; NULL: none */
    const float *norm; /* of heads (DeltaNet: [d_state_v], Mamba-2: [groups][inner / groups]) */
    matrix out;
    size_t conv_at,
        state_at; /* floats from the start of a state: [C - 1][W], then [N][d_state_k][d_state_v] */
} mixer_weights;

typedef struct {
    layer_kind kind;
    mixer_weights mixer;
    bool rotated;               /* by RoPE */
    uint32_t n_ff;              /* F of the dense part (or the shared expert); 0: there is none */
    uint32_t kv_layer;          /* whose keys and values it sees: its own, or an earlier layer's */
    attention_shape attention;
    norm_weights attn_norm, attn_post_norm, ffn_norm, ffn_post_norm; /* [E] */
    bool query_gate; /* wq is [2 H D][E]: for each head the query, then its gate */
    norm_weights q_norm, k_norm;        /* [D] or [H][D], by qk_norm and q_norm_rows, k_norm_rows */
    bool q_norm_rows, k_norm_rows;      /* a row of weights for every head */
    matrix wq, wk, wv, wo;              /* [H D][E], [K D][E], [K D][E], [E][H D]; no data: none */
    const float *bq, *bk, *bv, *bo;     /* NULL: none */
    matrix w_gate, w_up, w_down;        /* [F][E], [F][E], [E][F] */
    const float *b_gate, *b_up, *b_down;
    const float *dense_gate;            /* [E]: the dense part times sigmoid(this . h); NULL: 1 */
    norm_weights dense_post_norm;       /* of the dense part, beside experts */
    expert_weights experts;
    matrix per_layer_gate, per_layer_proj;  /* [P][E], [E][P] */
    norm_weights per_layer_norm;            /* [E] */
    float output_scale;                     /* of the stream, at the end of the layer */
} layer;

/* What the file holds beside the model: vision, audio, prediction heads. */
typedef struct { const char *what; size_t n_tensors, n_bytes; } skipped_part;
#define SKIPPED_PARTS 4

typedef struct {
    const char *path;
    uint32_t context;       /* 0: what the model was trained for */
    uint32_t threads;       /* 0: team_default_size */
    kv_type kv;
    bool no_map;            /* read the file instead of mapping it */
    bool no_pack;           /* compute from the file's own layout: less memory, and slower */
    bool no_preload;        /* leave the weights on disk until they are first used */
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
    matrix positions;           /* [context_trained][E]; no data: none are learned */
    norm_weights output_norm;   /* [E] */
    matrix per_layer_embedding, per_layer_proj; /* [V][n_layer P], [n_layer P][E] */
    norm_weights per_layer_norm;                /* [P] */
    rope_table rope[LAYER_KINDS];
    layer *layers;              /* [n_layer] */
    skipped_part skipped[SKIPPED_PARTS]; /* those without a name are not there */
    size_t block_bytes;         /* of one cache block: KV_TILE tokens, all layers */
    size_t state_bytes; /* of the recurrent layers' states after a token; 0: there are none */
    uint64_t n_params;          /* weights of the tensors that are used */
    size_t n_bytes;             /* of the tensors that are used */
    /* all matrices, as the kernels read them; NULL: they are packed when they are used */
    uint8_t *packed;
    size_t packed_bytes;
    struct owned *owned; /* a list: the vectors (norms, biases) as floats, tables of experts */
    _Atomic uint64_t fingerprint; /* 0: not computed yet */
} model;

/* From any thread. The same file loaded with the same options is one model, as long as somebody
 * holds it: each loading is given back with model_free. */
pl_code model_load(const model_options *o, model **out, pl_error *e);
void model_free(model *m);      /* NULL is fine */

/* Where the bundled model lies: what the environment variable PERILUNE_DEMO says, or in the tree or
 * installed beside the file that this code was loaded from. False: nowhere. */
bool bundled_model(char *path, size_t room);

/* Over all weights and hyper-parameters (XXH64), computed when first asked for: what a cache file
 * must match. */
pl_code model_fingerprint(model *m, uint64_t *out, pl_error *e);

/* How many layers mix tokens in which way, and how many of all have experts. */
typedef struct {
    uint32_t attention, sliding_window, delta_net, short_conv, mamba2, experts;
} layer_census;
layer_census model_count_layers(const model *m);

/* Zeroes the slots from `slot` on in a cache block of this model. */
void model_clear_slots(const void *model, uint8_t *block, size_t slot);

#endif
