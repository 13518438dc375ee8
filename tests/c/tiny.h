/* tiny.h: small random models, of llama or another architecture, written as GGUF files: what the
 * suite computes with where no real model is. */
#ifndef PERILUNE_TESTS_TINY_H
#define PERILUNE_TESTS_TINY_H

#include <stdbool.h>
#include <stdint.h>

#include "decode/engine.h"
#include "gguf/gguf.h"

/* What to change in a model that is to be refused. */
typedef struct {
    const char *key;            /* this key is left out */
    void (*more)(gguf_writer *w); /* adds keys; NULL: none */
    const char *tensor;         /* this one is left out, or, */
    uint64_t ne[3];             /* when not 0, has this shape, */
    uint32_t type;              /* when not 0, is of this type (block size 1, at most 8 bytes) */
    const char *extra;          /* a tensor of this name is added */
} tiny_edit;

/* A metadata key "ARCH.name": of type 'u' (u32), 'f', 'b' (bool), 's' (text), or an array of i32
 * ('i') or bool ('B'), comma-separated. */
typedef struct { const char *name; char type; double number; const char *text; } tiny_key;

/* What a model has beside llama's tensors, or in their place. */
enum {
    TINY_LAYER_NORM = 1 << 0,      /* norms have biases, and their epsilon another key */
    TINY_QKV_BIAS = 1 << 1, TINY_O_BIAS = 1 << 2, TINY_FFN_BIAS = 1 << 3,
    TINY_FUSED_QKV = 1 << 4, TINY_FUSED_UP = 1 << 5, TINY_UNGATED = 1 << 6,
    TINY_HEAD_NORMS = 1 << 7,      /* of queries and keys: one row of weights */
    TINY_HEAD_NORM_ROWS = 1 << 8,  /* a row for each head */
    TINY_ROW_NORMS = 1 << 9,       /* over all heads */
    TINY_POST_NORMS = 1 << 10, TINY_NO_PRE_NORMS = 1 << 11,
    TINY_FFN_NORM_IS_POST = 1 << 12, /* ffn_norm is called post_attention_norm */
    TINY_NO_FFN_NORM = 1 << 13,
    TINY_POSITIONS = 1 << 14, TINY_LONG_FACTORS = 1 << 15,
    TINY_VISION = 1 << 16,         /* two tensors of another part */
    TINY_OUTPUT_SCALE = 1 << 17,
    TINY_VALUES_FROM_KEYS = 1 << 18, /* layers without a window have no attn_v */
    TINY_SINKS = 1 << 19,          /* of attention */
    TINY_GATED_ATTENTION = 1 << 20, /* attn_q: of each head a query, then a gate */
    TINY_EXPERT_BIASES = 1 << 21,  /* of the router too; and values that reach gpt-oss's limits */
    TINY_CHOICE_BIAS = 1 << 22,    /* exp_probs_b */
    TINY_SHARED_GATE = 1 << 23,
    TINY_DENSE_TOO = 1 << 24,      /* a dense block beside the experts, as in Gemma 4 */
    TINY_LAST_NORM_RENAMED = 1 << 25 /* output_norm is called token_embd_norm */
};

/* Experts, in place of the dense block. Their width is a key of its own when it is not 0. */
typedef struct {
    uint32_t n, used;           /* n 0: none */
    uint32_t n_ff, n_ff_shared; /* width; 0: the dense block's, no shared expert */
    uint32_t n_dense;           /* layers at the beginning without experts */
} tiny_experts;

typedef enum { TINY_ALL_ATTEND, TINY_DELTA_NET, TINY_MAMBA2, TINY_SHORT_CONV } tiny_mixer;

/* What layers have in place of attention: those where layer_heads_kv says 0, or, with an interval,
 * all but every interval-th. */
typedef struct {
    tiny_mixer kind;
    uint32_t conv;              /* taps */
    uint32_t state, groups, heads; /* Mamba-2 (2 n_embd wide) and DeltaNet (heads of values) */
    uint32_t interval;
} tiny_recurrent;

typedef struct {
    weight_type type;           /* of the matrices */
    uint32_t n_layer, n_embd, n_head, n_head_kv, n_ff, context;
    uint32_t n_vocab;           /* >= 300: <unk> <s> </s>, 256 bytes, pieces */
    bool tied, rope_factors;
    uint32_t head_size;         /* 0: n_embd / n_head */
    uint64_t seed;
    const char *arch;           /* NULL: llama */
    unsigned parts;             /* TINY_... */
    uint32_t n_rot;             /* 0: the head size */
    const char *window_layers;  /* "1,0,...": which slide, with head_size_window; NULL: no key */
    uint32_t head_size_window;
    uint32_t n_shared;          /* layers at the end without keys and values of their own */
    uint32_t n_per_layer;       /* width of per-layer embeddings */
    const tiny_key *keys;       /* until one without a name; NULL: none */
    const tiny_key *more_keys;
    tiny_experts experts;
    tiny_recurrent recurrent;
    const char *layer_heads_kv; /* "0,2,...": n_head_kv of each layer; NULL: of all */
    const tiny_edit *edit;      /* NULL: a sound model */
} tiny_shape;

/* Two layers, 64 wide, GQA 4:2, 320 tokens, context 512, F32. */
tiny_shape tiny_default(void);

/* A shape with all that is special in an architecture with experts or recurrent layers: mixtral,
 * qwen2moe, qwen3moe, olmoe, granitemoe, gpt-oss, gemma4, qwen35, qwen35moe, lfm2, lfm2moe,
 * granitehybrid. 64 wide, 3 to 6 layers, of both kinds. */
tiny_shape tiny_hybrid(const char *name);

/* Writes the model to a temporary file and returns its path (which lives until the program
 * ends). */
const char *tiny_model(const tiny_shape *shape);

/* An engine on a model file, with an F16 cache; cache_bytes 0: enough. */
engine *tiny_engine(const char *path, size_t cache_bytes, uint32_t threads);
/* One with room for so many blocks and, in models with recurrent layers, states, which are kept at
 * every 8th token. */
engine *tiny_engine_for(const char *path, size_t blocks, size_t states, uint32_t threads);
/* A cache of these tokens, none of them processed. */
cache_node *tiny_cache(engine *g, const int32_t *tokens, size_t n);
/* n tokens of a vocabulary of n_vocab, at random. */
void tiny_tokens(uint64_t *state, int32_t *out, size_t n, uint32_t n_vocab);

/* A small deterministic generator for tests: splitmix64. */
uint64_t tiny_random(uint64_t *state);

#endif
