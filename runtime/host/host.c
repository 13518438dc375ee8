/* host.c: the public API over the engine. What other threads may let go of (models, caches) is
 * counted atomically; the last reference puts it on its engine's list of what is to be freed, and
 * the owner's next call frees it: nodes and engines are touched by the owner's thread alone. */
#include "host/host.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/system.h"
#include "model/model.h"

/* What the list of things to be freed holds; each is the first field of its value. */
typedef struct dead { struct dead *next; void (*free)(struct dead *d); } dead;

/* The part of an engine that its values refer to: outlives it while they do. */
typedef struct {
    pthread_mutex_t lock;
    dead *list;
    bool gone;              /* the engine was freed: the rest frees itself */
    atomic_size_t refs;
} graveyard;

struct pl_model { dead d; atomic_size_t refs; engine *g; pl_engine *h; graveyard *y; };
struct pl_cache {
    dead d;
    atomic_size_t refs;
    cache_node *node;
    engine *g;
    pl_engine *h;
    graveyard *y;
};

typedef struct script {
    struct script *next;
    host_scripts poll;
    void (*detached)(void *user);
    void *user;
} script;

struct pl_engine {
    loop loop;
    uint32_t threads;
    pl_job *jobs;           /* those that are not done, in the order of their submission */
    pl_job *held;           /* all that somebody holds */
    size_t n_jobs;
    script *scripts;
    graveyard *y;
    bool polling;
};

struct pl_job {
    pl_job *prev, *next;
    pl_job *next_held, **at_held;
    pl_engine *h;           /* NULL: the engine was freed */
    engine *g;
    job *j;
    size_t refs;
    bool live;              /* on_done is still to be called */
    pl_cache *cache;        /* what pl_job_cache handed out last */
    size_t cache_length;
    bool (*on_token)(void *user, int32_t id, const char *piece, size_t bytes);
    void (*on_done)(void *user, pl_job *job);
    void *user;
};

const char *pl_version(void) { return PL_VERSION; }

/* ---- what is to be freed ---- */

static void drop_graveyard(graveyard *y) {
    if (atomic_fetch_sub(&y->refs, 1) > 1) return;
    pthread_mutex_destroy(&y->lock);
    mem_free(y);
}

static void bury(graveyard *y, dead *d) {
    pthread_mutex_lock(&y->lock);
    d->next = y->list;
    y->list = d;
    pthread_mutex_unlock(&y->lock);
}

static void free_dead(graveyard *y) {
    pthread_mutex_lock(&y->lock);
    dead *list = y->list;
    y->list = NULL;
    pthread_mutex_unlock(&y->lock);
    while (list) {
        dead *d = list;
        list = d->next;
        d->free(d);
    }
}

static void free_cache(dead *d) {
    pl_cache *c = (pl_cache *)d;
    graveyard *y = c->y;
    node_release(c->node);
    if (!y->gone && engine_holders(c->g) == 1) loop_remove(&c->h->loop, c->g);
    engine_close(c->g);
    mem_free(c);
    drop_graveyard(y);
}

static void free_model(dead *d) {
    pl_model *m = (pl_model *)d;
    graveyard *y = m->y;
    if (!y->gone && engine_holders(m->g) == 1) loop_remove(&m->h->loop, m->g);
    engine_close(m->g);
    mem_free(m);
    drop_graveyard(y);
}

/* The last reference is gone: on the owner's thread or another. */
static void let_go(graveyard *y, dead *d) {
    pthread_mutex_lock(&y->lock);
    bool gone = y->gone;
    pthread_mutex_unlock(&y->lock);
    if (gone) d->free(d); /* the owner has said that it is done */
    else bury(y, d);
}

/* ---- the engine ---- */

pl_engine *pl_engine_new(uint32_t threads, pl_error *e) {
    pl_engine *h = mem_zalloc(sizeof *h);
    graveyard *y = mem_zalloc(sizeof *y);
    if (!h || !y) {
        mem_free(h);
        mem_free(y);
        pl_fail(e, PL_ERR_MEMORY, "no memory for an engine");
        return NULL;
    }
    pthread_mutex_init(&y->lock, NULL);
    atomic_init(&y->refs, 1);
    h->threads = threads;
    h->y = y;
    return h;
}

loop *host_loop(pl_engine *h) { return &h->loop; }

static void unlink_job(pl_job *p) {
    if (p->prev) p->prev->next = p->next;
    else p->h->jobs = p->next;
    if (p->next) p->next->prev = p->prev;
    p->prev = p->next = NULL;
    p->h->n_jobs--;
    p->live = false;
}

void pl_engine_free(pl_engine *h) {
    if (!h) return;
    while (h->jobs) {
        pl_job *p = h->jobs;
        pl_cancel(p);
        unlink_job(p);
        pl_job_release(p);
    }
    for (pl_job *p = h->held; p; p = p->next_held) p->h = NULL;
    while (h->scripts) {
        script s = *h->scripts;
        host_detach(h, s.user);
        s.detached(s.user);
    }
    free_dead(h->y);
    pthread_mutex_lock(&h->y->lock);
    h->y->gone = true;
    pthread_mutex_unlock(&h->y->lock);
    free_dead(h->y); /* what came in between */
    loop_free(&h->loop);
    drop_graveyard(h->y);
    mem_free(h);
}

pl_code host_attach(pl_engine *h, host_scripts poll, void (*detached)(void *user), void *user,
                    pl_error *e) {
    script *s = mem_alloc(sizeof *s);
    if (!s) return pl_fail(e, PL_ERR_MEMORY, "no memory for a script");
    *s = (script){h->scripts, poll, detached, user};
    h->scripts = s;
    return PL_OK;
}

void host_detach(pl_engine *h, void *user) {
    for (script **at = &h->scripts; *at;) {
        script *s = *at;
        if (s->user != user) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        mem_free(s);
    }
}

/* ---- option structs ---- */

/* Copies what this build knows of a struct that begins with its size; what it does not know of must
 * be zero. */
static pl_code read_options(const void *given, void *out, size_t known, const char *what,
                            pl_error *e) {
    uint32_t size;
    memset(out, 0, known);
    if (!given) return pl_fail(e, PL_ERR_ARGUMENT, "%s: options are NULL", what);
    memcpy(&size, given, sizeof size);
    if (size < sizeof size)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "%s: the options' size is %u: it must be sizeof of the struct", what, size);
    for (size_t i = known; i < size; i++)
        if (((const char *)given)[i])
            return pl_fail(e, PL_ERR_UNSUPPORTED,
                           "%s: an option is set that this version (%s) does not know", what,
                           PL_VERSION);
    memcpy(out, given, size < known ? size : known);
    return PL_OK;
}

/* ---- models ---- */

static pl_code engine_options_of(pl_engine *h, const pl_load_options *o, char *path, size_t room,
                                 engine_options *out, pl_error *e) {
    *out = (engine_options){.cache_bytes = o->cache_bytes,
                            .step_rows = o->step_rows,
                            .sequences = o->sequences,
                            .model = {.context = o->context,
                                      .threads = o->threads ? o->threads : h->threads,
                                      .kv = KV_F16,
                                      .progress = o->progress,
                                      .user = o->user}};
    if (!o->path) return pl_fail(e, PL_ERR_ARGUMENT, "pl_model_load: path is NULL");
    if (o->kv_type && !kv_type_named(o->kv_type, &out->model.kv))
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "pl_model_load: kv_type is \"%s\": \"f32\", \"f16\" or \"q8_0\" is allowed",
                       o->kv_type);
    if (strcmp(o->path, "demo") == 0) {
        if (!bundled_model(path, room))
            return pl_fail(e, PL_ERR_IO,
                           "demo: the bundled model was not found beside the program or its tree "
                           "(the environment variable PERILUNE_DEMO may name it)");
    } else if (strlen(o->path) >= room) {
        return pl_fail(e, PL_ERR_ARGUMENT, "pl_model_load: the path has %zu bytes, %zu are allowed",
                       strlen(o->path), room - 1);
    } else {
        strcpy(path, o->path);
    }
    out->model.path = path;
    return PL_OK;
}

pl_model *host_model_of(pl_engine *h, engine *g) {
    pl_model *m = mem_zalloc(sizeof *m);
    if (!m) return NULL;
    *m = (pl_model){.d.free = free_model, .g = engine_hold(g), .h = h, .y = h->y};
    atomic_init(&m->refs, 1);
    atomic_fetch_add(&h->y->refs, 1);
    return m;
}

/* Takes over the engine. */
static pl_code adopt_engine(pl_engine *h, engine *g, pl_model **out, pl_error *e) {
    pl_code rc = loop_add(&h->loop, g, e);
    if (!rc && !(*out = host_model_of(h, g)))
        rc = pl_fail(e, PL_ERR_MEMORY, "no memory for a model");
    if (rc) loop_remove(&h->loop, g);
    engine_close(g);
    return rc;
}

pl_code pl_model_load(pl_engine *h, const pl_load_options *options, pl_model **out, pl_error *e) {
    char path[PATH_MAX];
    pl_load_options o;
    engine_options eo;
    engine *g;
    pl_code rc;
    free_dead(h->y);
    if ((rc = read_options(options, &o, sizeof o, "pl_model_load", e)) ||
        (rc = engine_options_of(h, &o, path, sizeof path, &eo, e)) ||
        (rc = engine_open(&eo, &g, e)))
        return rc;
    return adopt_engine(h, g, out, e);
}

struct pl_loading {
    pl_engine *h;
    engine_options o;
    char path[PATH_MAX];
    pthread_t thread;
    _Atomic double fraction;
    atomic_bool cancelled, done;
    bool (*progress)(void *user, double fraction);
    void *user;
    engine *g;
    pl_code rc;
    pl_error error;
};

static bool note_progress(void *user, double fraction) {
    pl_loading *l = user;
    atomic_store(&l->fraction, fraction);
    return !atomic_load(&l->cancelled) && (!l->progress || l->progress(l->user, fraction));
}

static void *load_elsewhere(void *arg) {
    pl_loading *l = arg;
    l->rc = engine_open(&l->o, &l->g, &l->error);
    atomic_store(&l->done, true);
    return NULL;
}

pl_code pl_model_load_begin(pl_engine *h, const pl_load_options *options, pl_loading **loading,
                            pl_error *e) {
    pl_load_options o;
    pl_code rc = read_options(options, &o, sizeof o, "pl_model_load_begin", e);
    if (rc) return rc;
    pl_loading *l = mem_zalloc(sizeof *l);
    if (!l) return pl_fail(e, PL_ERR_MEMORY, "no memory for a loading");
    l->h = h;
    l->progress = o.progress;
    l->user = o.user;
    o.progress = note_progress;
    o.user = l;
    if ((rc = engine_options_of(h, &o, l->path, sizeof l->path, &l->o, e))) {
        mem_free(l);
        return rc;
    }
    int error = system_thread(&l->thread, load_elsewhere, l);
    if (error) {
        mem_free(l);
        return pl_fail(e, PL_ERR_IO, "cannot start a thread: %s", strerror(error));
    }
    *loading = l;
    return PL_OK;
}

double pl_loading_progress(const pl_loading *l) { return atomic_load(&l->fraction); }
void pl_loading_cancel(pl_loading *l) { atomic_store(&l->cancelled, true); }
bool pl_loading_done(const pl_loading *l) { return atomic_load(&l->done); }

pl_code pl_loading_end(pl_loading *l, pl_model **out, pl_error *e) {
    pl_model *m = NULL;
    pthread_join(l->thread, NULL);
    pl_code rc = l->rc;
    if (rc && e) *e = l->error;
    if (!rc) rc = adopt_engine(l->h, l->g, &m, e);
    mem_free(l);
    if (out) *out = m;
    else pl_model_release(m);
    return rc;
}

pl_model *pl_model_retain(pl_model *m) {
    atomic_fetch_add(&m->refs, 1);
    return m;
}

void pl_model_release(pl_model *m) {
    if (m && atomic_fetch_sub(&m->refs, 1) == 1) let_go(m->y, &m->d);
}

engine *host_model_engine(const pl_model *m) { return m->g; }

pl_code pl_model_get_stats(const pl_model *m, pl_model_stats *stats, pl_error *e) {
    const model *loaded = engine_model(m->g);
    engine_counts n = engine_stats(m->g);
    kv_pool *pool = cache_store_pool(engine_store(m->g));
    uint32_t size = stats->size;
    pl_model_stats all = {.size = size,
                          .context = loaded->context,
                          .vocab_size = loaded->hp.n_vocab,
                          .tokens = n.tokens,
                          .steps = n.steps,
                          .sampled = n.sampled,
                          .cache_bytes = pool->max_bytes};
    if (size < sizeof size)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "pl_model_get_stats: the struct's size is %u: it must be sizeof of it",
                       size);
    free_dead(m->y);
    all.cache_bytes_used = pool_used_bytes(pool);
    memcpy(stats, &all, size < sizeof all ? size : sizeof all);
    return PL_OK;
}

/* ---- text ---- */

static pl_code encode(engine *g, const char *text, size_t n, bool special, bool begins,
                      id_list *out, pl_error *e) {
    return tokenizer_encode(engine_model(g)->tok, text, n,
                            (encode_options){.special = special, .bos = begins, .start = begins},
                            out, e);
}

pl_code pl_encode(const pl_model *m, const char *text, size_t text_bytes, bool special,
                  int32_t *ids, size_t room, size_t *n, pl_error *e) {
    id_list list = {0};
    pl_code rc = encode(m->g, text, text_bytes, special, false, &list, e);
    if (!rc) {
        memcpy(ids, list.ids, (list.n < room ? list.n : room) * sizeof *ids);
        *n = list.n;
    }
    id_list_free(&list);
    return rc;
}

static pl_code check_ids(engine *g, const int32_t *ids, size_t n, pl_error *e) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= engine_model(g)->hp.n_vocab)
            return pl_fail(e, PL_ERR_ARGUMENT,
                           "token %zu of %zu is %d: ids from 0 to %u are allowed", i, n, ids[i],
                           engine_model(g)->hp.n_vocab - 1);
    return PL_OK;
}

pl_code pl_decode(const pl_model *m, const int32_t *ids, size_t n_ids, char *text, size_t room,
                  size_t *n, pl_error *e) {
    text_buffer buffer = {0};
    pl_code rc = check_ids(m->g, ids, n_ids, e);
    if (!rc) rc = tokenizer_decode(engine_model(m->g)->tok, ids, n_ids, false, true, &buffer, e);
    if (!rc) {
        memcpy(text, buffer.data, buffer.n < room ? buffer.n : room);
        *n = buffer.n;
    }
    text_free(&buffer);
    return rc;
}

/* ---- caches ---- */

pl_cache *host_cache_of(pl_engine *h, engine *g, cache_node *n) {
    pl_cache *c = mem_zalloc(sizeof *c);
    if (!c) return NULL;
    *c = (pl_cache){
        .d.free = free_cache, .node = node_retain(n), .g = engine_hold(g), .h = h, .y = h->y};
    atomic_init(&c->refs, 1);
    atomic_fetch_add(&h->y->refs, 1);
    return c;
}

cache_node *host_cache_node(const pl_cache *c) { return c->node; }
engine *host_cache_engine(const pl_cache *c) { return c->g; }

/* The count is not a part of the value. */
static pl_cache *counted(const pl_cache *c) { return (pl_cache *)(uintptr_t)c; }

pl_cache *pl_cache_retain(const pl_cache *c) {
    atomic_fetch_add(&counted(c)->refs, 1);
    return counted(c);
}

void pl_cache_release(const pl_cache *c) {
    if (c && atomic_fetch_sub(&counted(c)->refs, 1) == 1) let_go(c->y, &counted(c)->d);
}

size_t pl_cache_length(const pl_cache *c) { return node_length(c->node); }

pl_code pl_cache_tokens(const pl_cache *c, size_t first, size_t n, int32_t *ids, pl_error *e) {
    size_t length = node_length(c->node);
    if (first > length || n > length - first)
        return pl_fail(e, PL_ERR_ARGUMENT, "tokens %zu to %zu of a cache that holds %zu", first,
                       first + n, length);
    node_tokens(c->node, first, n, ids);
    return PL_OK;
}

pl_code pl_cache_truncate(const pl_cache *c, size_t length, pl_cache **out, pl_error *e) {
    cache_node *n;
    if (length > node_length(c->node))
        return pl_fail(e, PL_ERR_ARGUMENT, "a cache of %zu tokens cannot be cut to %zu",
                       node_length(c->node), length);
    pl_code rc = node_truncate(c->node, length, &n, e);
    if (rc) return rc;
    pl_cache *cut = mem_zalloc(sizeof *cut);
    if (!cut) {
        node_release(n);
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a cache");
    }
    *cut = (pl_cache){
        .d.free = free_cache, .node = n, .g = engine_hold(c->g), .h = c->h, .y = c->y};
    atomic_init(&cut->refs, 1);
    atomic_fetch_add(&c->y->refs, 1);
    *out = cut;
    return PL_OK;
}

/* ---- jobs ---- */

static pl_code begin(pl_job *p, const pl_job_options *o, cache_node *from, pl_error *e) {
    gguf_string *stops = mem_zarray(o->n_stop ? o->n_stop : 1, sizeof *stops);
    id_list input = {0};
    pl_code rc = stops ? PL_OK
                       : pl_fail(e, PL_ERR_MEMORY, "no memory for %zu stop texts", o->n_stop);
    generate_options go = {.cache = from,
                           .max_new_tokens = o->max_new_tokens ? o->max_new_tokens
                                                               : GENERATE_UNLIMITED,
                           .sampler = sampler_defaults(),
                           .stops = stops,
                           .n_stops = o->n_stop,
                           .stop_at_eog = o->stop_at_eog,
                           .prefix = o->prefix,
                           .n_prefix = o->prefix ? o->prefix_bytes : 0,
                           .pause = true,
                           .priority = o->priority};
    for (size_t i = 0; i < o->n_stop && !rc; i++) {
        if (!o->stop[i] || !*o->stop[i])
            rc = pl_fail(e, PL_ERR_ARGUMENT, "stop text %zu of %zu is empty", i, o->n_stop);
        else stops[i] = (gguf_string){.data = o->stop[i], .size = strlen(o->stop[i])};
    }
    go.sampler.temperature = o->temperature;
    if (o->top_p > 0) go.sampler.top_p = o->top_p;
    go.sampler.top_k = o->top_k;
    go.sampler.min_p = o->min_p;
    go.sampler.seed = o->seed;
    if (!rc && (!(o->temperature >= 0) || !(o->top_p >= 0 && o->top_p <= 1) ||
                !(o->min_p >= 0 && o->min_p <= 1)))
        rc = pl_fail(e, PL_ERR_ARGUMENT,
                     "temperature is %g, top_p %g, min_p %g: at least 0, and 0 to 1, are allowed",
                     (double)o->temperature, (double)o->top_p, (double)o->min_p);
    if (!rc && o->text && o->ids)
        rc = pl_fail(e, PL_ERR_ARGUMENT, "text and ids are both given: one of them is allowed");
    if (!rc && o->text)
        rc = encode(p->g, o->text, o->text_bytes, o->special, node_length(from) == 0, &input, e);
    if (!rc && o->ids) rc = check_ids(p->g, o->ids, o->n_ids, e);
    go.input = o->ids ? o->ids : input.ids;
    go.n_input = o->ids ? o->n_ids : input.n;
    if (!rc) rc = job_generate(p->g, &go, &p->j, e);
    id_list_free(&input);
    mem_free(stops);
    return rc;
}

pl_code pl_submit(pl_engine *h, pl_model *m, const pl_job_options *options, pl_job **out,
                  pl_error *e) {
    pl_job_options o;
    cache_node *from = NULL;
    pl_code rc = read_options(options, &o, sizeof o, "pl_submit", e);
    if (rc) return rc;
    free_dead(h->y);
    if (m->h != h) return pl_fail(e, PL_ERR_MISMATCH, "pl_submit: the model is another engine's");
    if (o.cache && o.cache->g != m->g)
        return pl_fail(e, PL_ERR_MISMATCH, "pl_submit: the cache is another model's");
    pl_job *p = mem_zalloc(sizeof *p);
    if (!p) return pl_fail(e, PL_ERR_MEMORY, "no memory for a job");
    *p = (pl_job){.h = h,
                  .g = engine_hold(m->g),
                  .refs = 2,
                  .on_token = o.on_token,
                  .on_done = o.on_done,
                  .user = o.user};
    if (o.cache) from = node_retain(o.cache->node);
    else rc = node_empty(engine_store(p->g), &from, e);
    if (!rc) rc = begin(p, &o, from, e);
    node_release(from);
    if (rc) {
        engine_close(p->g);
        mem_free(p);
        return rc;
    }
    pl_job **last = &h->jobs;
    while (*last) p->prev = *last, last = &(*last)->next;
    *last = p;
    p->live = true;
    p->next_held = h->held;
    p->at_held = &h->held;
    if (p->next_held) p->next_held->at_held = &p->next_held;
    h->held = p;
    h->n_jobs++;
    *out = p;
    return PL_OK;
}

void pl_cancel(pl_job *p) {
    if (p->j && job_state(p->j) != JOB_DONE) job_finish(p->j, FINISH_CANCELLED);
}

void pl_job_set_priority(pl_job *p, int priority) { job_set_priority(p->j, priority); }

const char *pl_job_finish(const pl_job *p) {
    if (job_state(p->j) == JOB_STUCK && !p->live) return "failed";
    return job_state(p->j) == JOB_DONE ? finish_name(job_result(p->j).reason) : NULL;
}

pl_code pl_job_error(const pl_job *p, pl_error *e) {
    return job_state(p->j) == JOB_STUCK && !p->live ? job_trouble(p->j, e) : PL_OK;
}

const int32_t *pl_job_tokens(const pl_job *p, size_t *n) {
    generate_result r = job_result(p->j);
    *n = r.n_tokens;
    return r.tokens;
}

const char *pl_job_text(const pl_job *p, size_t *bytes) {
    generate_result r = job_result(p->j);
    *bytes = r.n_text;
    return r.text;
}

const pl_cache *pl_job_cache(const pl_job *given) {
    pl_job *p = (pl_job *)(uintptr_t)given; /* what it handed out is not a part of its value */
    cache_node *n;
    if (!p->h || job_cache(p->j, &n, NULL)) return NULL;
    if (!p->cache || node_length(p->cache->node) != node_length(n)) {
        pl_cache_release(p->cache);
        p->cache = host_cache_of(p->h, p->g, n);
    }
    node_release(n);
    return p->cache;
}

void pl_job_release(pl_job *p) {
    if (!p || --p->refs > 0) return;
    if (p->h) {
        *p->at_held = p->next_held;
        if (p->next_held) p->next_held->at_held = p->at_held;
    }
    pl_cache_release(p->cache);
    job_close(p->j);
    if (p->h && engine_holders(p->g) == 1) loop_remove(&p->h->loop, p->g);
    engine_close(p->g);
    mem_free(p);
}

/* ---- polling ---- */

/* Calls what is to be called for a job, and lets it go on. True: it is over. */
static bool serve(pl_job *p) {
    if (job_state(p->j) == JOB_WAITING) {
        generate_token t = job_token(p->j);
        bool more = !p->on_token || p->on_token(p->user, t.id, t.piece, t.n_piece);
        if (job_state(p->j) == JOB_WAITING) { /* it may have been cancelled in there */
            if (more) job_resume(p->j);
            else job_finish(p->j, FINISH_CALLBACK);
        }
    }
    return job_state(p->j) == JOB_DONE || job_state(p->j) == JOB_STUCK;
}

static void end_job(pl_job *p) {
    unlink_job(p);
    if (p->on_done) p->on_done(p->user, p);
    pl_job_release(p);
}

static void serve_all(pl_engine *h, double until) {
    for (pl_job *p = h->jobs, *next; p; p = next) {
        bool over = serve(p);
        next = p->next;
        if (over) end_job(p), next = h->jobs; /* its callback may have changed the list */
        if (system_seconds() >= until) break;
    }
}

static bool any_to_serve(const pl_engine *h) {
    for (const pl_job *p = h->jobs; p; p = p->next)
        if (job_state(p->j) != JOB_RUNNING) return true;
    return false;
}

pl_code pl_poll(pl_engine *h, double milliseconds, size_t *n_live, pl_error *e) {
    double until = system_seconds() + milliseconds / 1000;
    pl_code rc = PL_OK;
    size_t tasks = 0;
    if (h->polling)
        return pl_fail(e, PL_ERR_ARGUMENT, "pl_poll was called inside one of its callbacks");
    h->polling = true;
    free_dead(h->y);
    for (;;) {
        serve_all(h, until);
        loop_poll(&h->loop, until - system_seconds());
        for (script *s = h->scripts, *next; s; s = next) {
            size_t n = 0;
            next = s->next;
            pl_code failed = s->poll(s->user, until - system_seconds(), &n, rc ? NULL : e);
            if (!rc) rc = failed;
            tasks += n;
        }
        if (system_seconds() >= until || rc || (!any_to_serve(h) && !loop_ready(&h->loop))) break;
        tasks = 0;
    }
    h->polling = false;
    if (n_live) *n_live = h->n_jobs + tasks;
    return rc;
}

void pl_wait(pl_engine *h, double milliseconds) {
    double until = system_seconds() + milliseconds / 1000;
    for (size_t i = 0; i < h->loop.n && !loop_ready(&h->loop); i++) {
        double left = until - system_seconds();
        if (left > 0) engine_wait(h->loop.engines[i], left);
    }
}
