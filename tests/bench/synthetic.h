/* synthetic.h: models in the shapes of real ones, with random weights: what benchmarks run where no
 * real model is. They are written once, in seconds, and mean nothing. */
#ifndef PERILUNE_BENCH_SYNTHETIC_H
#define PERILUNE_BENCH_SYNTHETIC_H

#include <stdint.h>

#include "gguf/types.h"

typedef struct {
    const char *name, *arch;
    uint32_t n_layer, n_embd, n_head, n_head_kv, head_size, n_ff, n_vocab, context;
    int tied, qkv_bias;
    uint32_t n_expert, n_used, expert_ff;               /* 0: no experts */
    uint32_t taps, state, groups, state_heads,
        interval; /* gated DeltaNet; 0: every layer has attention */
} synthetic_shape;

/* "llama-1.1b", "qwen2-0.5b", "qwen35-4b" (two groups of four layers, a small vocabulary),
 * "moe-8of64"; NULL: none such. */
const synthetic_shape *synthetic_find(const char *name);


/* mix: a weight type by its name, or "Q4_K_M", which mixes as llama.cpp does. Writes NAME-MIX.gguf
 * into the folder, unless it lies there; the path is the caller's to free. Prints and ends the
 * program on an error. */
char *synthetic_model(const char *folder, const synthetic_shape *s, const char *mix);

#endif
