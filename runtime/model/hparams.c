/* hparams.c: the hyper-parameters of a file, by the keys that the GGUF specification gives them
 * (ggml/docs/gguf.md, "LLM"), checked for range and against one another. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/weights.h"

/* Sanity limits, far above any model there is: what keeps the size arithmetic of one layer within 63 bits. */
#define MAX_LAYERS 4096u
#define MAX_WIDTH (1u << 20)
#define MAX_CONTEXT (1u << 30)

typedef struct { const gguf *file; const char *arch; char key[128]; } keys;

static const char *key_of(keys *k, const char *name) {
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, name);
    return k->key;
}

static pl_code get_u32(keys *k, const char *name, bool required, uint32_t min, uint32_t max, uint32_t *out, pl_error *e) {
    return gguf_get_u32(k->file, key_of(k, name), required, min, max, out, e);
}

static pl_code get_f32(keys *k, const char *name, bool required, float min, float max, float *out, pl_error *e) {
    return gguf_get_f32(k->file, key_of(k, name), required, min, max, out, e);
}

/* RoPE scaling of the file as a whole. Llama 3's factors per frequency are a tensor, and no key. */
static pl_code read_rope_scaling(keys *k, hparams *hp, pl_error *e) {
    pl_code rc;
    gguf_string kind = {0};
    float factor = 0;
    hp->rope_scale = 1;
    if ((rc = get_f32(k, "rope.scale_linear", false, 1e-3f, 1e6f, &hp->rope_scale, e))) return rc;
    if ((rc = gguf_get_string(k->file, key_of(k, "rope.scaling.type"), false, &kind, e))) return rc;
    if ((rc = get_f32(k, "rope.scaling.factor", false, 0, 1e6f, &factor, e))) return rc;
    if (!kind.data || (kind.size == 4 && !memcmp(kind.data, "none", 4))) return PL_OK;
    if (kind.size != 6 || memcmp(kind.data, "linear", 6))
        return pl_fail(e, PL_ERR_UNSUPPORTED, "%s: RoPE scaling of type '%.*s' is not supported; 'none' and 'linear' are",
                       key_of(k, "rope.scaling.type"), (int)(kind.size < 64 ? kind.size : 64), kind.data);
    if (factor > 0) hp->rope_scale = factor;
    return PL_OK;
}

pl_code hparams_read(model *m, pl_error *e) {
    hparams *hp = &m->hp;
    keys k = {.file = m->file};
    gguf_string name;
    uint32_t n_expert = 0, n_vocab = 0, key_length = 0, value_length = 0;
    pl_code rc;

    if ((rc = gguf_get_string(m->file, "general.architecture", true, &name, e))) return rc;
    hp->arch = arch_find(name);
    if (!hp->arch)
        return pl_fail(e, PL_ERR_UNSUPPORTED, "the architecture '%.*s' is not supported; 'llama' is",
                       (int)(name.size < 64 ? name.size : 64), name.data);
    k.arch = hp->arch->name;

    if ((rc = get_u32(&k, "block_count", true, 1, MAX_LAYERS, &hp->n_layer, e)) ||
        (rc = get_u32(&k, "embedding_length", true, 1, MAX_WIDTH, &hp->n_embd, e)) ||
        (rc = get_u32(&k, "feed_forward_length", true, 1, MAX_WIDTH, &hp->n_ff, e)) ||
        (rc = get_u32(&k, "attention.head_count", true, 1, MAX_WIDTH, &hp->n_head, e)) ||
        (rc = get_u32(&k, "context_length", true, 1, MAX_CONTEXT, &hp->context_trained, e)))
        return rc;
    hp->n_head_kv = hp->n_head;
    if ((rc = get_u32(&k, "attention.head_count_kv", false, 1, MAX_WIDTH, &hp->n_head_kv, e))) return rc;
    if (hp->n_head % hp->n_head_kv)
        return pl_fail(e, PL_ERR_FORMAT, "%s: %u query heads cannot share %u key/value heads evenly",
                       key_of(&k, "attention.head_count_kv"), hp->n_head, hp->n_head_kv);

    if ((rc = get_u32(&k, "attention.key_length", false, 1, MAX_WIDTH, &key_length, e)) ||
        (rc = get_u32(&k, "attention.value_length", false, 1, MAX_WIDTH, &value_length, e)))
        return rc;
    if ((!key_length || !value_length) && hp->n_embd % hp->n_head)
        return pl_fail(e, PL_ERR_FORMAT, "%s: an embedding of %u does not divide into %u heads, and the file gives no "
                       "attention.key_length and attention.value_length", key_of(&k, "attention.head_count"),
                       hp->n_embd, hp->n_head);
    hp->d_k = key_length ? key_length : hp->n_embd / hp->n_head;
    hp->d_v = value_length ? value_length : hp->n_embd / hp->n_head;
    hp->n_rot = hp->d_k;
    if ((rc = get_u32(&k, "rope.dimension_count", false, 2, MAX_WIDTH, &hp->n_rot, e))) return rc;
    if (hp->n_rot > hp->d_k || hp->n_rot % 2)
        return pl_fail(e, PL_ERR_FORMAT, "%s is %u: it must be even and at most the head size, %u",
                       key_of(&k, "rope.dimension_count"), hp->n_rot, hp->d_k);

    if ((rc = get_f32(&k, "attention.layer_norm_rms_epsilon", true, 0, 1, &hp->rms_eps, e))) return rc;
    hp->rope_base = 10000;
    if ((rc = get_f32(&k, "rope.freq_base", false, 1e-3f, 1e12f, &hp->rope_base, e))) return rc;
    if ((rc = read_rope_scaling(&k, hp, e))) return rc;

    if ((rc = get_u32(&k, "expert_count", false, 0, MAX_WIDTH, &n_expert, e))) return rc;
    if (n_expert)
        return pl_fail(e, PL_ERR_UNSUPPORTED, "%s is %u: models with experts are not supported",
                       key_of(&k, "expert_count"), n_expert);

    size_t vocab = tokenizer_size(m->tok);
    if (vocab > INT32_MAX)
        return pl_fail(e, PL_ERR_FORMAT, "tokenizer.ggml.tokens: %zu tokens; at most %d are allowed", vocab, INT32_MAX);
    hp->n_vocab = (uint32_t)vocab;
    if ((rc = get_u32(&k, "vocab_size", false, 1, INT32_MAX, &n_vocab, e))) return rc;
    if (n_vocab && n_vocab != hp->n_vocab)
        return pl_fail(e, PL_ERR_FORMAT, "%s is %u, but tokenizer.ggml.tokens has %u tokens", key_of(&k, "vocab_size"),
                       n_vocab, hp->n_vocab);
    return PL_OK;
}
