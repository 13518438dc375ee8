/* model.c: loading and letting go of a model; what its caches look like; its fingerprint. */
#include "model/model.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/mem.h"
#include "model/weights.h"

/* Lays out one cache block: for each layer that has keys and values of its own its keys, then its
 * values (math.h). */
static pl_code lay_out_block(model *m, pl_error *e) {
    size_t at = 0;
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        attention_shape *a = &m->layers[i].attention;
        if (m->layers[i].mixer.kind != MIX_ATTENTION) continue;
        const attention_shape *source = &m->layers[m->layers[i].kv_layer].attention;
        if (source != a) {
            a->k_offset = source->k_offset;
            a->v_offset = source->v_offset;
            continue;
        }
        size_t k = (a->n_head_kv * kv_head_bytes(m->kv, a->d_k) + MEM_ALIGN - 1) / MEM_ALIGN *
                   MEM_ALIGN;
        size_t v = (a->n_head_kv * kv_head_bytes(m->kv, a->d_v) + MEM_ALIGN - 1) / MEM_ALIGN *
                   MEM_ALIGN;
        a->k_offset = at;
        a->v_offset = at + k;
        if (!checked_add(at, k + v, &at))
            return pl_fail(e, PL_ERR_FORMAT,
                           "the keys and values of a token take more memory than there can be");
    }
    m->block_bytes = at;
    return PL_OK;
}

/* A kernel table that the caller names must exist and run here. */
static pl_code choose_kernels(model *m, const char *isa, pl_error *e) {
    m->math = isa ? kernels_named(isa) : kernels_best();
    return m->math ? PL_OK
                   : pl_fail(e, PL_ERR_ARGUMENT,
                             "the instruction set '%s' is not known, or not this machine's", isa);
}

/* Puts the file in front of a message that does not name it: those of look-ups do. */
static pl_code name_file(const model_options *o, pl_code rc, pl_error *e) {
    if (e && strncmp(e->message, o->path, strlen(o->path))) pl_error_prefix(e, "%s", o->path);
    return rc;
}

static pl_code load(const model_options *o, model *m, pl_error *e) {
    pl_code rc;
    if ((rc = gguf_open(o->path, &(gguf_options){.map = !o->no_map, .header_only = o->vocab_only},
                        &m->file, e)))
        return rc;
    if ((rc = tokenizer_new(m->file, &m->tok, e))) return name_file(o, rc, e);
    m->hp.n_vocab = (uint32_t)tokenizer_size(m->tok);
    m->kv = o->kv;
    if ((rc = choose_kernels(m, o->isa, e)) || o->vocab_only) return rc;
    m->context = o->context;

    if ((rc = hparams_read(m, e)) || (rc = weights_bind(m, e)) || (rc = lay_out_block(m, e)))
        return name_file(o, rc, e);
    if ((rc = team_open(o->threads ? o->threads : team_default_size(), &m->workers, e))) return rc;
    return o->no_preload ? PL_OK : weights_load(m, o, e);
}

static void unload(model *m) {
    team_close(m->workers);
    for (size_t k = 0; k < LAYER_KINDS; k++) mem_free(m->rope[k].freq);
    weights_free(m->owned);
    mem_pages_free(m->packed, m->packed_bytes);
    mem_free(m->layers);
    tokenizer_free(m->tok);
    gguf_close(m->file);
    mem_free(m);
}

/* ---- one model for all who load it ---- */

/* What makes two loadings the same: the file, as the system knows it, and the options that a model
 * depends on. */
typedef struct {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec written, changed;
    model_options o;
} identity;

typedef struct shared_model {
    struct shared_model *next;
    model *m;
    identity id;
    size_t refs;
} shared_model;

/* All models that are loaded; held through a loading too, whose progress function may load
 * another. */
static shared_model *loaded;
static pthread_mutex_t loading = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static bool identify(const model_options *o, identity *id) {
    struct stat s;
    if (stat(o->path, &s)) return false;
    *id = (identity){s.st_dev, s.st_ino, s.st_size, s.st_mtim, s.st_ctim, *o};
    return true;
}

static bool same_time(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_model(const identity *a, const identity *b) {
    const model_options *x = &a->o, *y = &b->o;
    bool isa = x->isa == y->isa || (x->isa && y->isa && strcmp(x->isa, y->isa) == 0);
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(&a->written, &b->written) && same_time(&a->changed, &b->changed) && isa &&
           x->context == y->context && x->threads == y->threads && x->kv == y->kv &&
           x->no_map == y->no_map && x->no_pack == y->no_pack && x->no_preload == y->no_preload &&
           x->vocab_only == y->vocab_only;
}

static pl_code load_new(const model_options *o, const identity *id, model **out, pl_error *e) {
    shared_model *s = mem_zalloc(sizeof *s);
    model *m = mem_zalloc(sizeof *m);
    pl_code rc = s && m ? load(o, m, e) : pl_fail(e, PL_ERR_MEMORY, "no memory for a model");
    if (rc) {
        if (m) unload(m);
        mem_free(s);
        return rc;
    }
    *s = (shared_model){.next = loaded, .m = m, .id = *id, .refs = 1};
    s->id.o.isa = m->math->name;
    s->id.o.path = NULL;
    loaded = s;
    *out = m;
    return PL_OK;
}

pl_code model_load(const model_options *o, model **out, pl_error *e) {
    identity id = {0};
    pl_code rc = PL_OK;
    bool known = identify(o, &id);
    if (!id.o.isa) id.o.isa = kernels_best()->name;
    pthread_mutex_lock(&loading);
    shared_model *s = known ? loaded : NULL;
    while (s && !same_model(&s->id, &id)) s = s->next;
    if (!s) rc = load_new(o, &id, out, e);
    else if (o->progress && !o->progress(o->user, 1))
        rc = pl_fail(e, PL_ERR_CANCELLED, "%s: loading was cancelled", o->path);
    else s->refs++, *out = s->m;
    pthread_mutex_unlock(&loading);
    return rc;
}

void model_free(model *m) {
    shared_model *s, **at = &loaded;
    if (!m) return;
    pthread_mutex_lock(&loading);
    while ((s = *at)->m != m) at = &s->next;
    bool last = --s->refs == 0;
    if (last) *at = s->next;
    pthread_mutex_unlock(&loading);
    if (!last) return;
    mem_free(s);
    unload(m);
}

layer_census model_count_layers(const model *m) {
    layer_census n = {0};
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        const layer *l = &m->layers[i];
        if (l->experts.n_ff) n.experts++;
        switch (l->mixer.kind) {
        case MIX_ATTENTION: *(l->attention.window ? &n.sliding_window : &n.attention) += 1; break;
        case MIX_DELTA_NET: n.delta_net++; break;
        case MIX_SHORT_CONV: n.short_conv++; break;
        case MIX_MAMBA2: n.mamba2++; break;
        }
    }
    return n;
}

void model_clear_slots(const void *user, uint8_t *block, size_t slot) {
    const model *m = user;
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        if (m->layers[i].kv_layer == i && m->layers[i].mixer.kind == MIX_ATTENTION)
            kv_clear(&m->layers[i].attention, block, slot);
    }
}

/* ---- fingerprint ---- */

#define HASH_CHUNK ((size_t)1 << 20)

typedef struct { const model *m; uint64_t *chunks; size_t n_chunks; } hashing;

/* Chunk i of all tensors' data, in file order, each tensor starting a chunk of its own. */
static const uint8_t *chunk_at(const gguf *g, size_t i, size_t *size) {
    for (size_t t = 0; t < gguf_n_tensors(g); t++) {
        const gguf_tensor *x = gguf_tensor_at(g, t);
        size_t n = (x->n_bytes + HASH_CHUNK - 1) / HASH_CHUNK;
        if (i < n) {
            *size = x->n_bytes - i * HASH_CHUNK < HASH_CHUNK ? x->n_bytes - i * HASH_CHUNK
                                                             : HASH_CHUNK;
            return (const uint8_t *)x->data + i * HASH_CHUNK;
        }
        i -= n;
    }
    *size = 0;
    return NULL;
}

static void hash_chunks(void *arg, team *t, size_t member) {
    hashing *h = arg;
    (void)member;
    for (size_t i; (i = team_claim(t)) < h->n_chunks;) {
        size_t size;
        const uint8_t *data = chunk_at(h->m->file, i, &size);
        h->chunks[i] = hash_bytes(data, size, i);
    }
}

/* The index as one hash: what each tensor is called, its type and shape. */
static uint64_t hash_index(const gguf *g) {
    uint64_t h = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        h = hash_bytes(t->name, strlen(t->name), h);
        h = hash_bytes(t->ne, sizeof t->ne, h ^ t->type);
    }
    return h;
}

/* What the weights are read as; the frequencies stand for all that RoPE's keys say, and for the
 * context that chose them. */
static uint64_t hash_hparams(const model *m, uint64_t h) {
    const hparams *hp = &m->hp;
    uint32_t n[] = {hp->n_layer,        hp->n_embd,
                    hp->n_vocab,        hp->n_per_layer,
                    hp->rope,           hp->scaling.original,
                    hp->n_expert,       hp->n_expert_used,
                    hp->router,         hp->router_renormalized,
                    hp->n_conv,         hp->n_state_heads,
                    hp->n_state_groups, hp->d_state_k,
                    hp->d_state_v};
    float f[] = {hp->norm_eps,      hp->embedding_scale, hp->residual_scale, hp->logit_scale,
                 hp->logit_softcap, hp->temperature,     hp->router_scale};
    h = hash_bytes(hp->arch->name, strlen(hp->arch->name), h);
    h = hash_bytes(f, sizeof f, hash_bytes(n, sizeof n, h));
    for (uint32_t i = 0; i < hp->n_layer; i++) {
        const layer *l = &m->layers[i];
        const attention_shape *a = &l->attention;
        uint64_t shape[] = {l->kind,         l->mixer.kind, l->rotated, l->n_ff,
                            l->experts.n_ff, l->kv_layer,   a->n_head,  a->n_head_kv,
                            a->d_k,          a->d_v,        a->window};
        float scales[] = {a->scale, a->softcap};
        h = hash_bytes(scales, sizeof scales, hash_bytes(shape, sizeof shape, h));
    }
    for (size_t k = 0; k < LAYER_KINDS; k++) {
        h = hash_bytes(&m->rope[k].magnitude, sizeof m->rope[k].magnitude, h);
        if (m->rope[k].n_rot)
            h = hash_bytes(m->rope[k].freq, m->rope[k].n_rot / 2 * sizeof *m->rope[k].freq, h);
    }
    return h;
}

pl_code model_fingerprint(model *m, uint64_t *out, pl_error *e) {
    if (!m->fingerprint) {
        hashing h = {.m = m};
        for (size_t t = 0; t < gguf_n_tensors(m->file); t++)
            h.n_chunks += (gguf_tensor_at(m->file, t)->n_bytes + HASH_CHUNK - 1) / HASH_CHUNK;
        h.chunks = mem_array(h.n_chunks ? h.n_chunks : 1, sizeof *h.chunks);
        if (!h.chunks)
            return pl_fail(e, PL_ERR_MEMORY, "no memory for a fingerprint of %zu parts",
                           h.n_chunks);
        team_run(m->workers, hash_chunks, &h);
        uint64_t f = hash_bytes(h.chunks, h.n_chunks * sizeof *h.chunks,
                                hash_hparams(m, hash_index(m->file)));
        m->fingerprint = f ? f : 1; /* 0 stands for "not computed yet" */
        mem_free(h.chunks);
    }
    *out = m->fingerprint;
    return PL_OK;
}
