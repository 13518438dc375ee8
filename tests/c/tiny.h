/* tiny.h: small random llama models written as GGUF files: what the suite computes with where no real model is. */
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
    uint64_t ne[2];             /* when not 0, has this shape, */
    uint32_t type;              /* when not 0, is of this type (block size 1, at most 8 bytes) */
    const char *extra;          /* a tensor of this name is added */
} tiny_edit;

typedef struct {
    weight_type type;           /* of the matrices */
    uint32_t n_layer, n_embd, n_head, n_head_kv, n_ff, context;
    uint32_t n_vocab;           /* >= 300: <unk> <s> </s>, 256 bytes, pieces */
    bool tied, rope_factors;
    uint32_t head_size;         /* 0: n_embd / n_head */
    uint64_t seed;
    const tiny_edit *edit;      /* NULL: a sound model */
} tiny_shape;

/* Two layers, 64 wide, GQA 4:2, 320 tokens, context 512, F32. */
tiny_shape tiny_default(void);

/* Writes the model to a temporary file and returns its path (which lives until the program ends). */
const char *tiny_model(const tiny_shape *shape);

/* An engine on a model file, with an F16 cache; cache_bytes 0: enough. */
engine *tiny_engine(const char *path, size_t cache_bytes, uint32_t threads);
/* A cache of these tokens, none of them processed. */
cache_node *tiny_cache(engine *g, const int32_t *tokens, size_t n);
/* n tokens of a vocabulary of n_vocab, at random. */
void tiny_tokens(uint64_t *state, int32_t *out, size_t n, uint32_t n_vocab);

/* A small deterministic generator for tests: splitmix64. */
uint64_t tiny_random(uint64_t *state);

#endif
