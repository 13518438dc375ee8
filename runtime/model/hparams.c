/* hparams.c: the hyper-parameters of a file, by the keys that the GGUF specification gives them
 * (ggml/docs/gguf.md, "LLM"), checked for range and against one another; and from them every
 * layer's geometry. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "model/weights.h"

/* Sanity limits, far above any model there is: what keeps the size arithmetic of one layer within
 * 63 bits. */
#define MAX_LAYERS 4096u
#define MAX_WIDTH (1u << 20)
#define MAX_CONTEXT (1u << 30)
#define MAX_TAPS 1024u      /* of a convolution */
#define MAX_STATE (1u << 12) /* rows and columns of a head's state */

typedef struct { const gguf *file; const char *arch; uint32_t n_blocks; char key[128]; } keys;

static const char *key_of(keys *k, const char *name) {
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, name);
    return k->key;
}

static pl_code get_u32(keys *k, const char *name, bool required, uint32_t min, uint32_t max,
                       uint32_t *out, pl_error *e) {
    return gguf_get_u32(k->file, key_of(k, name), required, min, max, out, e);
}

static pl_code get_f32(keys *k, const char *name, bool required, float min, float max, float *out,
                       pl_error *e) {
    return gguf_get_f32(k->file, key_of(k, name), required, min, max, out, e);
}

/* One number for all layers, or an array with one for each; *out is that of layer i. */
static pl_code get_of_layer(keys *k, const char *name, bool required, uint32_t i, uint32_t min,
                            uint32_t max, uint32_t *out, pl_error *e) {
    const gguf_value *v = gguf_find(k->file, key_of(k, name));
    pl_code rc;
    if (!v || !v->is_array) return get_u32(k, name, required, min, max, out, e);
    if ((rc = gguf_get_array(k->file, k->key, required, GGUF_I32, &v, e))) return rc;
    if (v->n != k->n_blocks)
        return pl_fail(e, PL_ERR_FORMAT, "%s has %llu entries for %u layers", k->key,
                       (unsigned long long)v->n, k->n_blocks);
    int64_t x = gguf_int_at(v, i);
    if (x < (int64_t)min || x > (int64_t)max)
        return pl_fail(e, PL_ERR_FORMAT, "%s holds %lld at %u; %u to %u are allowed", k->key,
                       (long long)x, i, min, max);
    *out = (uint32_t)x;
    return PL_OK;
}

static bool is(gguf_string s, const char *name) {
    return s.size == strlen(name) && !memcmp(s.data, name, s.size);
}

/* ---- RoPE ---- */

/* Factors per frequency (Llama 3's, LongRoPE's) are tensors, and no keys. */
static pl_code read_rope_scaling(keys *k, hparams *hp, pl_error *e) {
    rope_scaling *s = &hp->scaling;
    gguf_string kind = {0};
    pl_code rc;
    float factor = 0;
    *s = (rope_scaling){.factor = 1,
                        .attention_factor = 1,
                        .beta_fast = 32,
                        .beta_slow = 1,
                        .original = hp->context_trained};
    if ((rc = get_f32(k, "rope.scale_linear", false, 1e-3f, 1e6f, &s->factor, e)) ||
        (rc = gguf_get_string(k->file, key_of(k, "rope.scaling.type"), false, &kind, e)) ||
        (rc = get_f32(k, "rope.scaling.factor", false, 0, 1e6f, &factor, e)) ||
        (rc = get_f32(k, "rope.scaling.attn_factor", false, 0, 1e3f, &s->attention_factor, e)) ||
        (rc = get_u32(k, "rope.scaling.original_context_length", false, 1, MAX_CONTEXT,
                      &s->original, e)) ||
        (rc = get_f32(k, "rope.scaling.yarn_beta_fast", false, 1e-6f, 1e6f, &s->beta_fast, e)) ||
        (rc = get_f32(k, "rope.scaling.yarn_beta_slow", false, 1e-6f, 1e6f, &s->beta_slow, e)) ||
        (rc =
             get_f32(k, "rope.scaling.yarn_log_multiplier", false, 0, 1e3f, &s->log_multiplier, e)))
        return rc;
    if (!kind.data || is(kind, "none") || is(kind, "longrope")) return PL_OK;
    s->yarn = is(kind, "yarn");
    s->magnitude_given = s->yarn && hp->arch->whole_attention_factor &&
                         gguf_find(k->file, key_of(k, "rope.scaling.attn_factor"));
    if (!s->yarn && !is(kind, "linear"))
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "%s: RoPE scaling of type '%.*s' is not supported; 'none', 'linear', 'yarn' "
                       "and 'longrope' are",
                       key_of(k, "rope.scaling.type"), (int)(kind.size < 64 ? kind.size : 64),
                       kind.data);
    if (factor > 0) s->factor = factor;
    return PL_OK;
}

static pl_code check_rotation(keys *k, const char *name, uint32_t n_rot, uint32_t head,
                              pl_error *e) {
    if (n_rot <= head && n_rot % 2 == 0) return PL_OK;
    return pl_fail(e, PL_ERR_FORMAT, "%s is %u: it must be even and at most the head size, %u",
                   key_of(k, name), n_rot, head);
}

/* d: the head sizes of keys, by kind of layer. */
static pl_code read_rope(keys *k, model *m, const uint32_t d[LAYER_KINDS], pl_error *e) {
    hparams *hp = &m->hp;
    rope_table *full = &m->rope[LAYER_FULL], *window = &m->rope[LAYER_WINDOW];
    const gguf_value *sections;
    bool finetuned = true;
    pl_code rc;
    hp->rope = hp->arch->rope;
    if (hp->arch->rope_switch &&
        (rc = gguf_get_bool(k->file, key_of(k, "rope.scaling.finetuned"), false, &finetuned, e)))
        return rc;
    if (!finetuned) hp->rope = ROPE_NONE;
    if (hp->rope == ROPE_NONE) return PL_OK;
    /* Heads that are rotated by sections (time, height, width) are stored for NeoX pairs; for text
     * all carry one position. */
    if ((rc = gguf_get_array(k->file, key_of(k, "rope.dimension_sections"), false, GGUF_I32,
                             &sections, e)))
        return rc;
    for (uint64_t i = 0; sections && i < sections->n; i++)
        if (gguf_int_at(sections, i) > 0) hp->rope = ROPE_NEOX;

    full->n_rot = d[LAYER_FULL];
    full->base = 10000;
    full->scaled = true;
    if ((rc = get_u32(k, "rope.dimension_count", false, 2, MAX_WIDTH, &full->n_rot, e)) ||
        (rc = check_rotation(k, "rope.dimension_count", full->n_rot, d[LAYER_FULL], e)) ||
        (rc = get_f32(k, "rope.freq_base", false, 1e-3f, 1e12f, &full->base, e)) ||
        (rc = read_rope_scaling(k, hp, e)))
        return rc;
    window->n_rot = d[LAYER_WINDOW] == d[LAYER_FULL] ? full->n_rot : d[LAYER_WINDOW];
    window->base = hp->arch->window_rope_base > 0 ? hp->arch->window_rope_base : full->base;
    window->scaled = !hp->arch->window_unscaled;
    if ((rc = get_u32(k, "rope.dimension_count_swa", false, 2, MAX_WIDTH, &window->n_rot, e)) ||
        (rc = check_rotation(k, "rope.dimension_count_swa", window->n_rot, d[LAYER_WINDOW], e)) ||
        (rc = get_f32(k, "rope.freq_base_swa", false, 1e-3f, 1e12f, &window->base, e)))
        return rc;
    return get_f32(k, "attention.temperature_scale", false, 0, 1e3f, &hp->temperature, e);
}

/* ---- layers ---- */

/* Which layers slide: the row's pattern, or the file's (a period, or a bool per layer). *window is
 * 0 when none does. */
static pl_code read_window(keys *k, model *m, uint32_t *window, pl_error *e) {
    const arch_row *a = m->hp.arch;
    uint32_t every = a->full_every;
    const gguf_value *v;
    pl_code rc;
    *window = a->window;
    if (!a->windowed) return PL_OK;
    if ((rc = get_u32(k, "attention.sliding_window", false, 0, MAX_CONTEXT, window, e)) || !*window)
        return rc;
    v = gguf_find(k->file, key_of(k, "attention.sliding_window_pattern"));
    if (v && v->is_array) {
        if ((rc = gguf_get_array(k->file, k->key, true, GGUF_BOOL, &v, e))) return rc;
        if (v->n != k->n_blocks)
            return pl_fail(e, PL_ERR_FORMAT, "%s has %llu entries for %u layers", k->key,
                           (unsigned long long)v->n, k->n_blocks);
    } else if ((rc = get_u32(k, "attention.sliding_window_pattern", every == PATTERN_IN_FILE, 0,
                             MAX_LAYERS, &every, e)))
        return rc;
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        bool slides =
            v && v->is_array ? gguf_int_at(v, i) != 0 : every == 0 || i % every + 1 < every;
        m->layers[i].kind = slides ? LAYER_WINDOW : LAYER_FULL;
    }
    return PL_OK;
}

/* The last n_shared layers have no keys and values of their own: they see those of the last layer
 * of their kind before. */
static pl_code share_keys(keys *k, model *m, pl_error *e) {
    uint32_t n_shared = 0, last[LAYER_KINDS] = {UINT32_MAX, UINT32_MAX};
    pl_code rc;
    if ((rc = get_u32(k, "attention.shared_kv_layers", false, 0, m->hp.n_layer - 1, &n_shared, e)))
        return rc;
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        layer *l = &m->layers[i];
        l->kv_layer = i;
        if (i < m->hp.n_layer - n_shared) {
            last[l->kind] = i;
            continue;
        }
        l->kv_layer = last[l->kind];
        const attention_shape *a = &l->attention,
                              *b = l->kv_layer < i ? &m->layers[l->kv_layer].attention : NULL;
        if (!b || a->n_head_kv != b->n_head_kv || a->d_k != b->d_k || a->d_v != b->d_v)
            return pl_fail(
                e, PL_ERR_FORMAT,
                "%s is %u, but layer %u finds no keys and values of its kind and shape before them",
                key_of(k, "attention.shared_kv_layers"), n_shared, i);
    }
    return PL_OK;
}

/* ---- experts ---- */

static pl_code read_experts(keys *k, hparams *hp, pl_error *e) {
    uint32_t kind = 0, groups = 1;
    bool norm = hp->arch->router_renormalized;
    pl_code rc;
    if ((rc = get_u32(k, "expert_count", false, 0, MAX_WIDTH, &hp->n_expert, e)) || !hp->n_expert)
        return rc;
    if (hp->arch->router == ROUTER_NONE)
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "%s is %u: the architecture '%s' is supported without experts only",
                       key_of(k, "expert_count"), hp->n_expert, k->arch);
    hp->router_scale = 1;
    if ((rc = get_u32(k, "expert_used_count", true, 1, hp->n_expert, &hp->n_expert_used, e)) ||
        (rc = get_u32(k, "expert_gating_func", false, 0, UINT32_MAX, &kind, e)) ||
        (rc = get_u32(k, "expert_group_count", false, 0, MAX_WIDTH, &groups, e)) ||
        (rc = gguf_get_bool(k->file, key_of(k, "expert_weights_norm"), false, &norm, e)) ||
        (rc = get_f32(k, "expert_weights_scale", false, 0, 1e6f, &hp->router_scale, e)))
        return rc;
    if (hp->router_scale == 0) hp->router_scale = 1;
    if (groups > 1)
        return pl_fail(e, PL_ERR_UNSUPPORTED, "%s is %u: experts in groups are not supported",
                       key_of(k, "expert_group_count"), groups);
    /* 3: softmax over the chosen, which is the renormalised softmax over all */
    if (kind > 3)
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "%s is %u: 1 (softmax), 2 (sigmoid) and 3 (softmax over the chosen) are "
                       "supported",
                       key_of(k, "expert_gating_func"), kind);
    hp->router = kind == 0 ? hp->arch->router : kind == 2 ? ROUTER_SIGMOID : ROUTER_SOFTMAX;
    hp->router_renormalized = norm || kind == 3;
    return PL_OK;
}

/* ---- recurrent layers ---- */

/* What a convolution runs over, and the state of all heads. */
static pl_code read_mixer(keys *k, hparams *hp, pl_error *e) {
    uint32_t inner = 0;
    pl_code rc;
    if (hp->arch->mixer == MIX_ATTENTION) return PL_OK;
    if (hp->arch->mixer == MIX_SHORT_CONV)
        return get_u32(k, "shortconv.l_cache", true, 2, MAX_TAPS, &hp->n_conv, e);
    if ((rc = get_u32(k, "ssm.conv_kernel", true, 2, MAX_TAPS, &hp->n_conv, e)) ||
        (rc = get_u32(k, "ssm.state_size", true, 1, MAX_STATE, &hp->d_state_k, e)) ||
        (rc = get_u32(k, "ssm.group_count", true, 1, MAX_WIDTH, &hp->n_state_groups, e)) ||
        (rc = get_u32(k, "ssm.time_step_rank", true, 1, MAX_WIDTH, &hp->n_state_heads, e)) ||
        (rc = get_u32(k, "ssm.inner_size", true, 1, MAX_WIDTH, &inner, e)))
        return rc;
    hp->d_state_v = inner / hp->n_state_heads;
    if (inner % hp->n_state_heads || hp->n_state_heads % hp->n_state_groups ||
        hp->d_state_v > MAX_STATE)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s is %u, which is not %u heads (ssm.time_step_rank) of at most %u in %u "
                       "groups (ssm.group_count)",
                       key_of(k, "ssm.inner_size"), inner, hp->n_state_heads, MAX_STATE,
                       hp->n_state_groups);
    if (hp->arch->mixer == MIX_DELTA_NET && hp->d_state_v != hp->d_state_k)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s is %u: %u heads of ssm.state_size %u ask for %llu",
                       key_of(k, "ssm.inner_size"), inner, hp->n_state_heads, hp->d_state_k,
                       (unsigned long long)hp->n_state_heads * hp->d_state_k);
    return PL_OK;
}

static size_t mixer_channels(const hparams *hp) {
    size_t values = (size_t)hp->n_state_heads * hp->d_state_v;
    return hp->arch->mixer == MIX_SHORT_CONV
               ? hp->n_embd
               : values + 2 * (size_t)hp->n_state_groups * hp->d_state_k;
}

/* Lays out the states: for each recurrent layer that of its convolution, then that of its heads. */
static pl_code lay_out_states(model *m, pl_error *e) {
    const hparams *hp = &m->hp;
    size_t heads = (size_t)hp->n_state_heads * hp->d_state_k * hp->d_state_v, at = 0, attentive = 0;
    for (uint32_t i = 0; i < hp->n_layer; i++) {
        mixer_weights *w = &m->layers[i].mixer;
        if (w->kind == MIX_ATTENTION) {
            attentive++;
            continue;
        }
        w->n_channels = mixer_channels(hp);
        w->conv_at = at;
        if (!checked_round_up(at + (hp->n_conv - 1) * w->n_channels, 16, &w->state_at) ||
            !checked_add(w->state_at, heads, &at) || !checked_round_up(at, 16, &at) ||
            at > SIZE_MAX / 64)
            return pl_fail(e, PL_ERR_FORMAT,
                           "the states of the recurrent layers take more memory than there can be");
    }
    m->state_bytes = at * sizeof(float);
    if (attentive) return PL_OK;
    return pl_fail(e, PL_ERR_UNSUPPORTED,
                   "none of the %u layers has attention: such models are not "
                   "supported",
                   hp->n_layer);
}

/* ---- all layers ---- */

/* Whether layer i has no attention; n_head_kv: what the file says of it. */
static bool is_recurrent(const arch_row *a, uint32_t interval, uint32_t i, uint32_t n_head_kv) {
    if (a->mixer == MIX_ATTENTION) return false;
    return a->attention_every ? (i + 1) % interval != 0 : n_head_kv == 0;
}

static pl_code read_layers(keys *k, model *m, pl_error *e) {
    hparams *hp = &m->hp;
    const arch_row *a = hp->arch;
    uint32_t d_k[LAYER_KINDS] = {0}, d_v[LAYER_KINDS] = {0}, n_head = 0, n_head_kv, window;
    uint32_t interval = a->attention_every, n_ff_expert = 0;
    uint32_t least = a->mixer ? 0 : 1; /* heads: a recurrent layer has none */
    float scale = a->attention_scale, softcap = a->attention_softcap;
    pl_code rc;
    m->layers = mem_zarray(hp->n_layer, sizeof *m->layers);
    if (!m->layers) return pl_fail(e, PL_ERR_MEMORY, "no memory for %u layers", hp->n_layer);
    if ((rc = get_u32(k, "attention.key_length", false, 1, MAX_WIDTH, &d_k[LAYER_FULL], e)) ||
        (rc = get_u32(k, "attention.value_length", false, 1, MAX_WIDTH, &d_v[LAYER_FULL], e)) ||
        (rc = get_u32(k, "attention.key_length_swa", false, 1, MAX_WIDTH, &d_k[LAYER_WINDOW], e)) ||
        (rc = get_u32(k, "attention.value_length_swa", false, 1, MAX_WIDTH, &d_v[LAYER_WINDOW],
                      e)) ||
        (interval &&
         (rc = get_u32(k, "full_attention_interval", false, 1, MAX_LAYERS, &interval, e))) ||
        (rc = get_f32(k, "attention.scale", false, 0, 1e3f, &scale, e)) ||
        (rc = get_f32(k, "attn_logit_softcapping", false, 0, 1e6f, &softcap, e)) ||
        (rc = read_window(k, m, &window, e)))
        return rc;
    for (uint32_t i = 0; i < hp->n_layer && !hp->n_head; i++)
        if ((rc = get_of_layer(k, "attention.head_count", true, i, least, MAX_WIDTH, &hp->n_head,
                               e)))
            return rc;
    if (!hp->n_head)
        return pl_fail(e, PL_ERR_FORMAT, "%s is 0 in every layer",
                       key_of(k, "attention.head_count"));
    if ((!d_k[LAYER_FULL] || !d_v[LAYER_FULL]) && hp->n_embd % hp->n_head)
        return pl_fail(
            e, PL_ERR_FORMAT,
            "%s: an embedding of %u does not divide into %u heads, and the file gives no "
            "attention.key_length and attention.value_length",
            key_of(k, "attention.head_count"), hp->n_embd, hp->n_head);
    if (!d_k[LAYER_FULL]) d_k[LAYER_FULL] = hp->n_embd / hp->n_head;
    if (!d_v[LAYER_FULL]) d_v[LAYER_FULL] = hp->n_embd / hp->n_head;
    if (!d_k[LAYER_WINDOW]) d_k[LAYER_WINDOW] = d_k[LAYER_FULL];
    if (!d_v[LAYER_WINDOW]) d_v[LAYER_WINDOW] = d_v[LAYER_FULL];
    if ((rc = read_rope(k, m, d_k, e))) return rc;

    for (uint32_t i = 0; i < hp->n_layer; i++) {
        layer *l = &m->layers[i];
        if ((rc = get_of_layer(k, "attention.head_count", true, i, least, MAX_WIDTH, &n_head, e)))
            return rc;
        n_head_kv = n_head;
        if ((rc = get_of_layer(k, "attention.head_count_kv", false, i, least, MAX_WIDTH,
                               &n_head_kv, e)) ||
            (rc = get_of_layer(k, "feed_forward_length", hp->n_expert == 0, i,
                               hp->n_expert ? 0 : 1, MAX_WIDTH, &l->n_ff, e)))
            return rc;
        n_ff_expert = l->n_ff;
        if (hp->n_expert && (rc = get_u32(k, "expert_feed_forward_length", l->n_ff == 0, 1,
                                          MAX_WIDTH, &n_ff_expert, e)))
            return rc;
        l->experts.n_ff = hp->n_expert ? n_ff_expert : 0; /* if it has them: weights.c */
        l->output_scale = 1;
        if (is_recurrent(a, interval, i, n_head_kv)) {
            l->mixer.kind = a->mixer;
            continue;
        }
        if (!n_head || !n_head_kv || n_head % n_head_kv)
            return pl_fail(e, PL_ERR_FORMAT,
                           "%s: %u query heads cannot share %u key/value heads evenly",
                           key_of(k, "attention.head_count_kv"), n_head, n_head_kv);
        float divisor = a->wide_scale_layers == hp->n_layer ? (float)hp->n_embd / (float)n_head
                                                            : (float)d_k[l->kind];
        l->attention = (attention_shape){.type = m->kv,
                                         .n_head = n_head,
                                         .n_head_kv = n_head_kv,
                                         .d_k = d_k[l->kind],
                                         .d_v = d_v[l->kind],
                                         .scale = scale > 0 ? scale : 1.0f / sqrtf(divisor),
                                         .softcap = softcap,
                                         .window = l->kind == LAYER_WINDOW ? window : 0};
        l->rotated =
            hp->rope != ROPE_NONE && !(a->no_rope_every && (i + 1) % a->no_rope_every == 0);
        l->query_gate = a->query_gate;
        if (!hp->n_head_kv) hp->n_head_kv = n_head_kv;
    }
    if ((rc = share_keys(k, m, e))) return rc;
    return lay_out_states(m, e);
}

/* ---- the model ---- */

static pl_code read_multipliers(keys *k, hparams *hp, pl_error *e) {
    float divisor = 1;
    pl_code rc;
    hp->embedding_scale = hp->arch->scaled_embedding ? sqrtf((float)hp->n_embd) : 1;
    hp->residual_scale = hp->logit_scale = 1;
    hp->logit_softcap = hp->arch->logit_softcap;
    if ((rc = get_f32(k, "final_logit_softcapping", false, 0, 1e6f, &hp->logit_softcap, e)))
        return rc;
    if (!hp->arch->multipliers) return PL_OK;
    if ((rc = get_f32(k, "embedding_scale", false, 1e-6f, 1e6f, &hp->embedding_scale, e)) ||
        (rc = get_f32(k, "residual_scale", false, 1e-6f, 1e6f, &hp->residual_scale, e)) ||
        (rc = get_f32(k, "logit_scale", false, 1e-6f, 1e6f, &divisor, e)))
        return rc;
    hp->logit_scale = 1 / divisor;
    return PL_OK;
}

static pl_code read_vocabulary_size(keys *k, model *m, pl_error *e) {
    size_t vocab = tokenizer_size(m->tok);
    uint32_t said = 0;
    pl_code rc;
    if (vocab > INT32_MAX)
        return pl_fail(e, PL_ERR_FORMAT,
                       "tokenizer.ggml.tokens: %zu tokens; at most %d are allowed", vocab,
                       INT32_MAX);
    m->hp.n_vocab = (uint32_t)vocab;
    if ((rc = get_u32(k, "vocab_size", false, 1, INT32_MAX, &said, e))) return rc;
    if (said && said != m->hp.n_vocab)
        return pl_fail(e, PL_ERR_FORMAT, "%s is %u, but tokenizer.ggml.tokens has %u tokens",
                       key_of(k, "vocab_size"), said, m->hp.n_vocab);
    return PL_OK;
}

pl_code hparams_read(model *m, pl_error *e) {
    hparams *hp = &m->hp;
    keys k = {.file = m->file};
    gguf_string name;
    char names[500];
    pl_code rc;

    if ((rc = gguf_get_string(m->file, "general.architecture", true, &name, e))) return rc;
    hp->arch = arch_find(name);
    if (!hp->arch) {
        arch_names(names, sizeof names);
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "the architecture '%.*s' is not supported; these are: %s",
                       (int)(name.size < 64 ? name.size : 64), name.data, names);
    }
    k.arch = hp->arch->name;
    if ((rc = get_u32(&k, "block_count", true, 1, MAX_LAYERS, &k.n_blocks, e)) ||
        (rc = get_u32(&k, "nextn_predict_layers", false, 0, k.n_blocks - 1, &hp->n_predict, e)) ||
        (rc = get_u32(&k, "embedding_length", true, 1, MAX_WIDTH, &hp->n_embd, e)) ||
        (rc = get_u32(&k, "context_length", true, 1, MAX_CONTEXT, &hp->context_trained, e)) ||
        (rc = get_f32(&k,
                      hp->arch->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                                 : "attention.layer_norm_epsilon",
                      true, 0, 1, &hp->norm_eps, e)))
        return rc;
    hp->n_layer = k.n_blocks - hp->n_predict;
    if (hp->arch->per_layer_embedding && (rc = get_u32(&k, "embedding_length_per_layer_input",
                                                       false, 0, MAX_WIDTH, &hp->n_per_layer, e)))
        return rc;
    if (!m->context) m->context = hp->context_trained;
    if (hp->arch->learned_positions && m->context > hp->context_trained)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "context is %u: the model has learned %u positions, and has no others",
                       m->context, hp->context_trained);
    if ((rc = read_experts(&k, hp, e)) || (rc = read_mixer(&k, hp, e)) ||
        (rc = read_layers(&k, m, e)) || (rc = read_multipliers(&k, hp, e)))
        return rc;
    return read_vocabulary_size(&k, m, e);
}
