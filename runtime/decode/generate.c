/* generate.c: generations: a growing node, a sampler, and the text and tokens so far; perhaps a
 * prefix that they begin by spelling. Every token that is picked, or given to one that is fed, goes
 * through accept(), which changes everything or, on an error, nothing. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/system.h"
#include "decode/job.h"
#include "decode/prefix.h"

/* One new token: where the text ends after it, and how much of the prefix is spelled then; what the
 * model gave it. */
typedef struct { size_t text_end, spelled; float logprob; } mark;

typedef struct {
    job job;
    /* the cache it began from, until the first token: its hidden state is worth keeping */
    cache_node *base;
    cache_node *node;           /* base, the input, the new tokens; grows */
    size_t n_before;            /* tokens before the new ones */
    size_t max_new_tokens;
    bool stop_at_eog, logprobs, pause, fed;
    float *choice;              /* [n_vocab], with `choose` */
    bool choosing;              /* the owner is to choose, and choice is what from */
    /* all tokens so far are without text: SentencePiece's leading space is still to come */
    bool silent;
    int32_t *stop_tokens;
    size_t n_stop_tokens;
    prefix prefix;
    sampler *sampler;
    bool penalties;             /* the sampler looks at the cache's tokens */
    id_list history;            /* all of them, when it does */
    id_list tokens;             /* the new ones */
    mark *marks;                /* [tokens.n] */
    size_t mark_room;
    float *logprob_list;        /* [tokens.n], as job_result gives them */
    size_t logprob_room;
    stop_text text;
    text_buffer piece_bytes;    /* one token's, decoded */
    float *logits_copy;         /* [n_vocab], with logprobs */
    finish_reason reason;
    gguf_string piece;          /* what the last token made certain */
    size_t prompt_rows;
    double begun, first,
        last; /* seconds: the first step, the first token, the last one; 0: not yet */
} generation;

static generation *of(job *j) { return (generation *)j; }

static const model *model_of(const generation *v) { return engine_model(v->job.g); }

const char *finish_name(finish_reason r) {
    static const char *const names[] = {NULL,      "length",   "stop",     "eog",
                                        "context", "callback", "cancelled"};
    return names[r];
}

/* ---- accepting a token ---- */

static bool is_stop_token(const generation *v, int32_t id) {
    for (size_t i = 0; i < v->n_stop_tokens; i++)
        if (v->stop_tokens[i] == id) return true;
    return false;
}

/* The bytes of a token that follows what there is, in v->piece_bytes. */
static pl_code decode_one(generation *v, int32_t id, bool silent, pl_error *e) {
    v->piece_bytes.n = 0;
    return tokenizer_decode(model_of(v)->tok, &id, 1, false, silent, &v->piece_bytes, e);
}

/* Room for one more token everywhere, so that noting it cannot fail. */
static pl_code reserve_one(generation *v, size_t text, pl_error *e) {
    size_t n = v->tokens.n + 1;
    if (mem_reserve(&v->tokens.ids, &v->tokens.capacity, n, sizeof *v->tokens.ids) ||
        mem_reserve(&v->marks, &v->mark_room, n, sizeof *v->marks) ||
        mem_reserve(&v->text.text.data, &v->text.text.capacity, v->text.text.n + text, 1) ||
        (v->logprobs &&
         mem_reserve(&v->logprob_list, &v->logprob_room, n, sizeof *v->logprob_list)) ||
        (v->penalties && mem_reserve(&v->history.ids, &v->history.capacity, v->history.n + 1,
                                     sizeof *v->history.ids)))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu generated tokens", n);
    return PL_OK;
}

static void note(generation *v, int32_t id, float logprob) {
    if (v->logprobs) v->logprob_list[v->tokens.n] = logprob;
    v->marks[v->tokens.n] = (mark){.text_end = v->text.text.n,
                                   .spelled = prefix_spelled(&v->prefix, 0).size,
                                   .logprob = logprob};
    v->tokens.ids[v->tokens.n++] = id;
    if (v->penalties) v->history.ids[v->history.n++] = id;
    if (tokenizer_has_text(model_of(v)->tok, id)) v->silent = false;
}

/* Limits that hold whatever the last token was. */
static finish_reason limit_reached(const generation *v) {
    if (v->tokens.n >= v->max_new_tokens) return FINISH_LENGTH;
    return node_length(v->node) >= model_of(v)->context ? FINISH_CONTEXT : FINISH_NONE;
}

static pl_code accept(generation *v, int32_t id, float logprob, pl_error *e) {
    bool eog = v->stop_at_eog && tokenizer_is_eog(model_of(v)->tok, id),
         stop = is_stop_token(v, id);
    pl_code rc = decode_one(v, id, v->silent, e);
    if (rc) return rc;
    if (eog || stop) v->piece_bytes.n = 0; /* it ends the text, and is not of it */
    if ((rc = reserve_one(v, v->piece_bytes.n, e)) || (rc = node_append(v->node, id, e))) return rc;
    size_t hidden = prefix_take(&v->prefix, id);
    stops_feed(&v->text, v->piece_bytes.data + hidden, v->piece_bytes.n - hidden, NULL);
    note(v, id, logprob);
    v->reason = eog                                 ? FINISH_EOG
                : stop || v->text.found != SIZE_MAX ? FINISH_STOP
                                                    : limit_reached(v);
    v->piece = stops_release(&v->text, v->reason != FINISH_NONE);
    v->last = system_seconds();
    if (v->first <= 0) v->first = v->last;
    node_release(v->base);
    v->base = NULL;
    engine_count_sampled(v->job.g);
    return PL_OK;
}

/* ---- the engine's side ---- */

static size_t n_wishes(const job *j) {
    (void)j;
    return 1;
}

/* Nothing behind the cache yet: then the cache itself is what is processed, and keeps its hidden
 * state. */
static job_wish wish(const job *j, size_t i) {
    const generation *v = (const generation *)j;
    size_t length = node_length(v->node);
    bool picks = v->reason == FINISH_NONE;
    (void)i;
    return (job_wish){.node = v->base && node_length(v->base) == length ? v->base : v->node,
                      .length = length,
                      .first = picks ? length - 1 : length,
                      .count = picks};
}

/* The model's own log-probability, of logits that nothing has changed. */
static float logprob_of(const generation *v, const float *logits, int32_t id) {
    const model *m = model_of(v);
    return v->logprobs
               ? (float)((double)logits[id] - logits_logsumexp(m->math, logits, m->hp.n_vocab))
               : NAN;
}

/* The prefix comes before whatever the sampler forbids. */
static int32_t pick(generation *v, float *logits, uint64_t position) {
    prefix_mask(&v->prefix, logits);
    return prefix_insist(&v->prefix, sampler_pick(v->sampler, logits, v->history.ids, v->history.n,
                                                  position));
}

static pl_code take(job *j, size_t i, size_t position, float *logits, pl_error *e) {
    generation *v = of(j);
    size_t bytes = model_of(v)->hp.n_vocab * sizeof *logits;
    float *l = logits;
    (void)i;
    if (v->logprobs) l = memcpy(v->logits_copy, logits, bytes);
    if (v->choice) {
        prefix_mask(&v->prefix, memcpy(v->choice, logits, bytes));
        v->choosing = true;
        job_set_status(j, JOB_WAITING);
        return PL_OK;
    }
    int32_t id = pick(v, l, position + 1);
    pl_code rc = accept(v, id, logprob_of(v, logits, id), e);
    if (!rc && v->pause) job_set_status(j, JOB_WAITING);
    return rc;
}

static bool done(job *j) {
    generation *v = of(j);
    if (v->reason == FINISH_NONE ||
        node_processed(v->node) + (v->tokens.n > 0) < node_length(v->node))
        return false;
    node_seal(v->node);
    return true;
}

void job_finish(job *j, finish_reason r) {
    generation *v = of(j);
    engine_forget(j->g, j);
    if (v->reason == FINISH_NONE) v->reason = r;
    v->choosing = false;
    job_set_status(j, JOB_DONE);
    node_seal(v->node);
}

static void cancel(job *j) {
    if (j->status == JOB_RUNNING || j->status == JOB_STUCK)
        of(j)->reason = FINISH_NONE; /* a limit that is known before its input is processed */
    job_finish(j, FINISH_CANCELLED);
}

static void free_generation(job *j) {
    generation *v = of(j);
    node_release(v->base);
    if (v->node) node_seal(v->node);
    node_release(v->node);
    prefix_free(&v->prefix);
    sampler_free(v->sampler);
    mem_free(v->stop_tokens);
    id_list_free(&v->history);
    id_list_free(&v->tokens);
    mem_free(v->marks);
    mem_free(v->logprob_list);
    stops_free(&v->text);
    text_free(&v->piece_bytes);
    mem_free(v->logits_copy);
    mem_free(v->choice);
    mem_free(v);
}

static const job_kind kind = {n_wishes, wish, take, done, cancel, free_generation};

/* ---- beginning ---- */

bool engine_silent(engine *g, const cache_node *n, size_t length) {
    for (size_t i = 0; i < length; i++) {
        int32_t id;
        node_tokens(n, i, 1, &id);
        if (tokenizer_has_text(engine_model(g)->tok, id)) return false;
    }
    return true;
}

static pl_code read_history(generation *v, const cache_node *n, pl_error *e) {
    size_t length = node_length(n);
    v->history.n = 0;
    if (!v->penalties) return PL_OK;
    if (mem_reserve(&v->history.ids, &v->history.capacity, length ? length : 1,
                    sizeof *v->history.ids))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for the tokens that penalties look at");
    node_tokens(n, 0, length, v->history.ids);
    v->history.n = length;
    return PL_OK;
}

static pl_code check(const generate_options *o, pl_error *e) {
    if (o->max_new_tokens == GENERATE_UNLIMITED && !o->n_stops && !o->n_stop_tokens &&
        !o->stop_at_eog)
        return pl_fail(
            e, PL_ERR_ARGUMENT,
            "without max_new_tokens there must be a stop condition: stop, stop_tokens or "
            "stop_at_eog");
    if (o->max_new_tokens > 0 && o->n_input == 0 && node_length(o->cache) == 0)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "nothing to continue from: the input and the cache are empty");
    return PL_OK;
}

static pl_code set_up(generation *v, const generate_options *o, pl_error *e) {
    const model *m = model_of(v);
    pl_code rc;
    if ((rc = stops_new(&v->text, o->stops, o->n_stops, e)) ||
        (rc = sampler_new(&o->sampler, m->math, m->hp.n_vocab, &v->sampler, e)) ||
        (rc = node_grow(o->cache, o->input, o->n_input, &v->node, e)) ||
        (rc = read_history(v, v->node, e)))
        return rc;
    v->stop_tokens = mem_array(o->n_stop_tokens ? o->n_stop_tokens : 1, sizeof *v->stop_tokens);
    if (o->logprobs) v->logits_copy = mem_array(m->hp.n_vocab, sizeof *v->logits_copy);
    if (o->choose) v->choice = mem_array(m->hp.n_vocab, sizeof *v->choice);
    if (!v->stop_tokens || (o->logprobs && !v->logits_copy) || (o->choose && !v->choice))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a generation");
    if (o->n_stop_tokens)
        memcpy(v->stop_tokens, o->stop_tokens, o->n_stop_tokens * sizeof *o->stop_tokens);
    v->n_stop_tokens = o->n_stop_tokens;
    v->base = node_retain(o->cache);
    v->n_before = node_length(v->node);
    v->prompt_rows = v->n_before - node_processed(v->node);
    v->silent = engine_silent(v->job.g, v->node, v->n_before);
    if (o->n_prefix &&
        (rc = prefix_new(&v->prefix, m->tok, o->prefix, o->n_prefix, v->silent, o->stop_tokens,
                         o->n_stop_tokens, o->stop_at_eog, e)))
        return rc;
    v->reason = limit_reached(v);
    if (v->reason != FINISH_NONE) node_seal(v->node); /* the input is all that there will be */
    v->begun = system_seconds();
    return PL_OK;
}

pl_code job_generate(engine *g, const generate_options *o, job **out, pl_error *e) {
    pl_code rc = check(o, e);
    if (rc) return rc;
    generation *v = mem_zalloc(sizeof *v);
    if (!v) return pl_fail(e, PL_ERR_MEMORY, "no memory for a generation");
    v->max_new_tokens = o->max_new_tokens;
    v->stop_at_eog = o->stop_at_eog, v->logprobs = o->logprobs, v->pause = o->pause;
    v->fed = o->fed;
    v->penalties = sampler_reads_tokens(&o->sampler);
    v->job.priority = o->priority;
    v->job.waits = true;
    job_enter(&v->job, g, &kind);
    if ((rc = set_up(v, o, e))) {
        job_close(&v->job);
        return rc;
    }
    if (v->fed && v->reason != FINISH_NONE) job_finish(&v->job, v->reason);
    else if (v->fed) job_set_status(&v->job, JOB_WAITING);
    *out = &v->job;
    return PL_OK;
}

/* ---- the owner's side ---- */

float *job_choice(job *j) { return of(j)->choosing ? of(j)->choice : NULL; }

pl_code job_choose(job *j, bool by_sampler, int32_t id, pl_error *e) {
    generation *v = of(j);
    if (!v->choosing) return pl_fail(e, PL_ERR_ARGUMENT, "there is no token to choose now");
    if (by_sampler) id = pick(v, v->choice, node_length(v->node));
    pl_code rc = accept(v, id, v->logprobs ? logprob_of(v, v->logits_copy, id) : NAN, e);
    if (rc) return rc;
    v->choosing = false;
    if (!v->pause) job_resume(j);
    return PL_OK;
}

pl_code job_push(job *j, int32_t id, pl_error *e) {
    generation *v = of(j);
    size_t n_vocab = model_of(v)->hp.n_vocab;
    if (j->status == JOB_DONE)
        return pl_fail(e, PL_ERR_ARGUMENT, "it takes no more tokens: it has ended (%s)",
                       finish_name(v->reason));
    if (id < 0 || (size_t)id >= n_vocab)
        return pl_fail(e, PL_ERR_ARGUMENT, "token %d was pushed; ids go from 0 to %zu", id,
                       n_vocab - 1);
    pl_code rc = accept(v, id, NAN, e);
    if (!rc && v->reason != FINISH_NONE) job_finish(j, v->reason);
    return rc;
}

pl_code job_rest_on(job *j, cache_node *cache, pl_error *e) {
    generation *v = of(j);
    size_t n = node_length(v->node), common = node_common_prefix(v->node, cache);
    cache_node *whole = NULL, *node = NULL;
    pl_code rc;
    if (common < n)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "the cache differs from what was pushed: %zu of %zu tokens are the same",
                       common, n);
    if ((rc = node_truncate(cache, n, &whole, e)) || (rc = node_grow(whole, NULL, 0, &node, e))) {
        node_release(whole);
        return rc;
    }
    node_seal(v->node);
    node_release(v->node);
    node_release(v->base);
    v->node = node;
    v->base = whole;
    return PL_OK;
}

void job_resume(job *j) {
    if (j->status != JOB_WAITING) return;
    of(j)->choosing = false;
    job_set_status(j, JOB_RUNNING);
    if (of(j)->reason != FINISH_NONE) job_finish(j, FINISH_LENGTH);
}

generate_token job_token(const job *j) {
    const generation *v = (const generation *)j;
    return (generate_token){.id = v->tokens.n ? v->tokens.ids[v->tokens.n - 1] : -1,
                            .piece = v->piece.data,
                            .n_piece = v->piece.size};
}

generate_result job_result(const job *j) {
    const generation *v = (const generation *)j;
    bool any = v->tokens.n > 0;
    double end = any ? v->last : v->begun;
    return (generate_result){.tokens = v->tokens.ids,
                             .n_tokens = v->tokens.n,
                             .logprobs = v->logprobs ? v->logprob_list : NULL,
                             .text = v->text.text.n ? v->text.text.data : "",
                             .n_text = v->text.text.n,
                             .n_certain = stops_certain(&v->text, v->reason != FINISH_NONE),
                             .reason = v->reason,
                             .stop = v->text.found,
                             .prompt_rows = v->prompt_rows,
                             .prompt_seconds = v->first > 0 ? v->first - v->begun : 0,
                             .decode_seconds = v->first > 0 ? end - v->first : 0};
}

/* Room for n new tokens and what they spell: after it, retell cannot fail. */
static pl_code reserve_all(generation *v, const int32_t *ids, size_t n, size_t history,
                           pl_error *e) {
    v->piece_bytes.n = 0;
    pl_code rc = tokenizer_decode(model_of(v)->tok, ids, n, false, false, &v->piece_bytes, e);
    if (rc) return rc;
    size_t bytes = v->piece_bytes.n;
    if (mem_reserve(&v->tokens.ids, &v->tokens.capacity, n, sizeof *v->tokens.ids) ||
        mem_reserve(&v->marks, &v->mark_room, n, sizeof *v->marks) ||
        mem_reserve(&v->text.text.data, &v->text.text.capacity, bytes, 1) ||
        (v->logprobs &&
         mem_reserve(&v->logprob_list, &v->logprob_room, n, sizeof *v->logprob_list)) ||
        (v->penalties &&
         mem_reserve(&v->history.ids, &v->history.capacity, history, sizeof *v->history.ids)))
        return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu tokens", n);
    return PL_OK;
}

/* ids[0..n) are the new tokens now, the first `kept` of them as before. What was handed out of
 * their text stays so; of tokens that were forced in, and before them, all counts as handed out. */
static pl_code retell(generation *v, const int32_t *ids, size_t n, size_t kept, pl_error *e) {
    size_t released = v->text.released;
    stops_restart(&v->text);
    v->tokens.n = 0;
    for (size_t i = 0; i < n; i++) {
        pl_code rc = decode_one(v, ids[i], v->silent, e);
        if (rc) return rc;
        size_t hidden = prefix_take(&v->prefix, ids[i]);
        stops_pass(&v->text, v->piece_bytes.data + hidden, v->piece_bytes.n - hidden);
        note(v, ids[i], i < kept ? v->marks[i].logprob : NAN);
    }
    v->text.released = n > kept || released > v->text.text.n ? v->text.text.n : released;
    return PL_OK;
}

pl_code job_resume_from(job *j, cache_node *cache, pl_error *e) {
    generation *v = of(j);
    size_t length = node_length(cache), common = node_common_prefix(v->node, cache);
    size_t before = common < v->n_before ? length : v->n_before, n = length - before;
    cache_node *node = NULL;
    int32_t *ids = NULL;
    pl_code rc;
    if (!length) return pl_fail(e, PL_ERR_ARGUMENT, "nothing to continue from: the cache is empty");
    if (!(ids = mem_array(n, sizeof *ids))) {
        rc = pl_fail(e, PL_ERR_MEMORY, "no memory for %zu tokens", n);
        goto done;
    }
    engine_forget(j->g, j);
    v->choosing = false;
    node_tokens(cache, before, n, ids);
    if ((rc = node_grow(cache, NULL, 0, &node, e)) || (rc = reserve_all(v, ids, n, length, e)))
        goto done;
    node_seal(v->node);
    node_release(v->node);
    node_release(v->base);
    v->node = node;
    v->base = node_retain(cache);
    v->silent = engine_silent(j->g, node, before);
    if (v->penalties) {
        node_tokens(node, 0, before, v->history.ids);
        v->history.n = before;
    }
    if (before == v->n_before) prefix_restart(&v->prefix);
    else prefix_end(&v->prefix);
    rc = retell(v, ids, n, before == v->n_before ? common - before : 0, e);
    v->n_before = before;
    v->reason = limit_reached(v);
    job_set_status(j, JOB_RUNNING);
    if (v->reason != FINISH_NONE) job_finish(j, v->reason);
    node = NULL;
done:
    if (node) node_seal(node);
    node_release(node);
    mem_free(ids);
    return rc;
}

pl_code job_cache(job *j, cache_node **out, pl_error *e) {
    generation *v = of(j);
    return node_truncate(v->node, node_length(v->node), out, e);
}

pl_code job_cache_before(job *j, cache_node **out, pl_error *e) {
    generation *v = of(j);
    bool ends = v->reason == FINISH_EOG ||
                v->reason == FINISH_STOP; /* the last token is not of the text */
    size_t keep = v->tokens.n - (ends && v->tokens.n > 0);
    cache_node *cut = NULL;
    text_buffer rest = {0};
    id_list ids = {0};
    while (keep > 0 && v->marks[keep - 1].text_end > v->text.text.n) keep--;
    mark have = keep ? v->marks[keep - 1] : (mark){0};
    gguf_string spelled = prefix_spelled(&v->prefix, have.spelled);
    pl_code rc = node_truncate(v->node, v->n_before + keep, &cut, e);
    if (!rc) rc = text_append(&rest, spelled.data, spelled.size, e);
    if (!rc && have.text_end < v->text.text.n)
        rc = text_append(&rest, v->text.text.data + have.text_end, v->text.text.n - have.text_end,
                         e);
    if (!rc)
        rc = tokenizer_encode(
            model_of(v)->tok, rest.data, rest.n,
            (encode_options){.start = engine_silent(j->g, cut, node_length(cut))}, &ids, e);
    if (!rc) rc = node_extend(cut, ids.ids, ids.n, out, e);
    node_release(cut);
    text_free(&rest);
    id_list_free(&ids);
    return rc;
}
