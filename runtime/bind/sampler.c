/* sampler.c: the options that say how to sample, for generate, streams and perilune.sampler, which
 * is a sampler's chain as a function of logits. */
#include "bind/bind.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "decode/sampler.h"

/* ---- options: numbers ---- */

static const char at_least_0[] = "a number of at least 0";
static const double above_zero = (double)FLT_MIN; /* as a float, it is not 0 */

static void read_float(lua_State *L, int t, const char *key, double min, double max,
                       const char *allowed, float *out) {
    double x;
    if (bind_number_option(L, t, key, min, max, allowed, &x)) *out = (float)x;
}

static void read_size(lua_State *L, int t, const char *key, lua_Integer min, size_t *out) {
    lua_Integer i;
    if (bind_integer_option(L, t, key, min, LUA_MAXINTEGER, &i)) *out = (size_t)i;
}

static void read_penalties(lua_State *L, int t, sampler_options *o) {
    static const char *const names[] = {"repetition_penalty", "repeat_penalty"};
    int top = lua_gettop(L);
    bool both =
        lua_getfield(L, t, names[0]) != LUA_TNIL && lua_getfield(L, t, names[1]) != LUA_TNIL;
    if (both)
        bind_raise(L, PL_ERR_ARGUMENT, "options '%s' and '%s' are the same: one of them is allowed",
                   names[0], names[1]);
    lua_settop(L, top);
    for (int i = 0; i < 2; i++)
        read_float(L, t, names[i], above_zero, FLT_MAX, "a number above 0 (1: none)",
                   &o->repetition_penalty);
    read_float(L, t, "presence_penalty", -FLT_MAX, FLT_MAX, "a finite number",
               &o->presence_penalty);
    read_float(L, t, "frequency_penalty", -FLT_MAX, FLT_MAX, "a finite number",
               &o->frequency_penalty);
    read_size(L, t, "penalty_last_n", 0, &o->penalty_last_n);
}

static void read_dry(lua_State *L, int t, sampler_options *o) {
    read_float(L, t, "dry_multiplier", 0, FLT_MAX, at_least_0, &o->dry_multiplier);
    read_float(L, t, "dry_base", above_zero, FLT_MAX, "a number above 0", &o->dry_base);
    read_size(L, t, "dry_allowed_length", 1, &o->dry_allowed_length);
    read_size(L, t, "dry_penalty_last_n", 0, &o->dry_last_n);
}

static void read_filters(lua_State *L, int t, sampler_options *o) {
    lua_Integer i;
    if (bind_integer_option(L, t, "top_k", 0, LUA_MAXINTEGER, &i))
        o->top_k = i > UINT32_MAX ? UINT32_MAX : (uint32_t)i;
    read_float(L, t, "top_p", above_zero, 1, "a number above 0, up to 1,", &o->top_p);
    read_float(L, t, "min_p", 0, 1, "a number from 0 to 1", &o->min_p);
    read_float(L, t, "typical_p", above_zero, 1, "a number above 0, up to 1,", &o->typical_p);
    read_float(L, t, "top_n_sigma", 0, FLT_MAX, at_least_0, &o->top_n_sigma);
    read_float(L, t, "xtc_probability", 0, 1, "a number from 0 to 1", &o->xtc_probability);
    read_float(L, t, "xtc_threshold", above_zero, 1, "a number above 0, up to 1,",
               &o->xtc_threshold);
    read_float(L, t, "temperature", 0, FLT_MAX, at_least_0, &o->temperature);
    read_float(L, t, "dynatemp_range", 0, FLT_MAX, at_least_0, &o->dynatemp_range);
    read_float(L, t, "dynatemp_exponent", 0, FLT_MAX, at_least_0, &o->dynatemp_exponent);
    if (bind_integer_option(L, t, "mirostat", 0, 2, &i)) o->mirostat = (uint32_t)i;
    if (bind_integer_option(L, t, "mirostat_m", 2, INT32_MAX, &i)) o->mirostat_m = (uint32_t)i;
    read_float(L, t, "mirostat_tau", above_zero, FLT_MAX, "a number above 0", &o->mirostat_tau);
    read_float(L, t, "mirostat_eta", above_zero, FLT_MAX, "a number above 0", &o->mirostat_eta);
}

/* ---- options: ids ---- */

/* Pushes the bias list of option logit_bias, {[id] = number}. */
static void push_bias(lua_State *L, int t, size_t n_vocab, sampler_options *o) {
    size_t n = 0, i = 0;
    if (lua_getfield(L, t, "logit_bias") == LUA_TNIL) return;
    int bias = lua_gettop(L);
    if (!lua_istable(L, bias))
        bind_raise(L, PL_ERR_ARGUMENT,
                   "option 'logit_bias' is %s: a table {[id] = number} is allowed",
                   bind_describe(L, bias));
    for (lua_pushnil(L); lua_next(L, bias) != 0; lua_pop(L, 1)) n++;
    logit_bias *list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
    for (lua_pushnil(L); i < n && lua_next(L, bias) != 0; lua_pop(L, 1), i++) {
        int whole = 0, number;
        lua_Integer id = lua_type(L, -2) == LUA_TNUMBER ? lua_tointegerx(L, -2, &whole) : 0;
        double value = lua_tonumberx(L, -1, &number);
        if (!whole || id < 0 || (lua_Unsigned)id >= n_vocab)
            bind_raise(
                L, PL_ERR_ARGUMENT,
                "option 'logit_bias' has the key %s: token ids are whole numbers from 0 to %I",
                bind_describe(L, -2), (lua_Integer)n_vocab - 1);
        if (!number || !(value <= (double)FLT_MAX) || (value < -(double)FLT_MAX && !isinf(value)))
            bind_raise(L, PL_ERR_ARGUMENT,
                       "option 'logit_bias' gives token %I %s: a number, or -math.huge, is allowed",
                       id, bind_describe(L, -1));
        list[i] = (logit_bias){.id = (int32_t)id, .bias = (float)value};
    }
    o->bias = list;
    o->n_bias = i;
}

/* Pushes the ids of option banned_tokens: a set, an id, or a list of ids. */
static void push_banned(lua_State *L, int t, size_t n_vocab, sampler_options *o) {
    if (lua_getfield(L, t, "banned_tokens") == LUA_TNIL) return;
    const uint64_t *bits = bind_bits(L, lua_gettop(L), "option 'banned_tokens'", n_vocab);
    size_t n = 0;
    for (size_t i = 0; i < n_vocab; i++) n += bit_at(bits, i);
    int32_t *banned = lua_newuserdatauv(L, (n + 1) * sizeof *banned, 0);
    o->n_banned = 0;
    for (size_t i = 0; i < n_vocab; i++)
        if (bit_at(bits, i)) banned[o->n_banned++] = (int32_t)i;
    o->banned = banned;
}

/* Sets the tokens whose text has the string at the top in it. */
static void add_breaker(lua_State *L, model_handle *m, id_set *s) {
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    if (m == NULL)
        bind_raise(
            L, PL_ERR_ARGUMENT,
            "option 'dry_breakers' has %s: without a cache beside the logits ids alone are allowed",
            bind_describe(L, -1));
    const tokenizer *tok = engine_model(bind_engine(L, m))->tok;
    size_t n_pieces = tokenizer_size(tok);
    for (size_t i = 0; i < n_pieces && i < s->n; i++) {
        gguf_string piece = tokenizer_piece(tok, (int32_t)i);
        if (tokenizer_type(tok, (int32_t)i) != TOKEN_CONTROL &&
            memmem(piece.data, piece.size, text, n) != NULL)
            s->bits[i / 64] |= (uint64_t)1 << i % 64;
    }
}

/* Pushes the set of option dry_breakers: a set, or a list of ids and of texts. */
static void push_breakers(lua_State *L, int t, model_handle *m, size_t n_vocab,
                          sampler_options *o) {
    static const char *const usual[] = {"\n", ":", "\"", "*"}; /* as in llama.cpp */
    int type = lua_getfield(L, t, "dry_breakers"), given = lua_gettop(L);
    if (type == LUA_TUSERDATA) {
        o->dry_breakers = bind_bits(L, given, "option 'dry_breakers'", n_vocab);
        return;
    }
    if (type != LUA_TNIL && type != LUA_TTABLE)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "option 'dry_breakers' is %s: a set, or a list of ids and texts, is allowed",
                   bind_describe(L, given));
    id_set *s = bind_new_set(L, n_vocab);
    if (type == LUA_TNIL) {
        for (size_t i = 0; i < sizeof usual / sizeof *usual && m != NULL; i++) {
            lua_pushstring(L, usual[i]);
            add_breaker(L, m, s);
            lua_pop(L, 1);
        }
    } else {
        lua_Integer n = luaL_len(L, given);
        for (lua_Integer i = 1; i <= n; i++) {
            if (lua_geti(L, given, i) == LUA_TSTRING && lua_rawlen(L, -1) > 0) {
                add_breaker(L, m, s);
            } else {
                const uint64_t *bits =
                    bind_bits(L, lua_gettop(L), "an item of option 'dry_breakers'", n_vocab);
                for (size_t w = 0; w < (n_vocab + 63) / 64; w++) s->bits[w] |= bits[w];
            }
            lua_settop(L, given + 1);
        }
    }
    o->dry_breakers = s->bits;
}

/* ---- options: the order ---- */

static stage_name stage_at(lua_State *L, lua_Integer i) {
    luaL_Buffer b;
    if (lua_type(L, -1) == LUA_TSTRING)
        for (int s = 0; s < STAGES; s++)
            if (strcmp(lua_tostring(L, -1), stage_named((stage_name)s)) == 0) return (stage_name)s;
    const char *found = bind_describe(L, -1);
    luaL_buffinit(L, &b);
    for (int s = 0; s < STAGES; s++) {
        if (s > 0) luaL_addstring(&b, ", ");
        luaL_addstring(&b, stage_named((stage_name)s));
    }
    luaL_pushresult(&b);
    bind_raise(L, PL_ERR_ARGUMENT, "option 'samplers' has %s at %I: allowed are %s", found, i,
               lua_tostring(L, -1));
    return STAGES;
}

static bool in_order(const sampler_options *o, stage_name s) {
    for (size_t i = 0; i < o->n_order; i++)
        if (o->order[i] == s) return true;
    return false;
}

/* Bias and bans come first when they are not named, temperature and mirostat last; what else an
 * option asks for must be. */
static void read_order(lua_State *L, int t, sampler_options *o) {
    static const stage_name first[] = {STAGE_LOGIT_BIAS, STAGE_BANNED_TOKENS},
                            last[] = {STAGE_TEMPERATURE, STAGE_MIROSTAT};
    stage_name named[STAGES];
    size_t n_named = 0;
    if (lua_getfield(L, t, "samplers") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    if (!lua_istable(L, -1))
        bind_raise(L, PL_ERR_ARGUMENT, "option 'samplers' is %s: a list of names is allowed",
                   bind_describe(L, -1));
    lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, -1, i);
        stage_name s = stage_at(L, i);
        for (size_t k = 0; k < n_named; k++)
            if (named[k] == s)
                bind_raise(L, PL_ERR_ARGUMENT, "option 'samplers' has %s twice",
                           bind_describe(L, -1));
        named[n_named++] = s;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    for (size_t i = 0; i < n_named; i++) o->order[i] = named[i];
    o->n_order = n_named;
    for (size_t i = 0; i < 2; i++) {
        bool missing = !in_order(o, first[i]);
        if (!missing) continue;
        memmove(o->order + 1, o->order, o->n_order * sizeof *o->order);
        o->order[0] = first[i];
        o->n_order++;
    }
    for (size_t i = 0; i < 2; i++)
        if (!in_order(o, last[i])) o->order[o->n_order++] = last[i];
    if (o->mirostat != 0 && o->order[o->n_order - 1] != STAGE_MIROSTAT)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "option 'samplers' has mirostat before others: it stands last");
    for (int s = 0; s < STAGES; s++)
        if (stage_wanted((stage_name)s, o) && !in_order(o, (stage_name)s))
            bind_raise(L, PL_ERR_ARGUMENT,
                       "option 'samplers' does not name %s, which another option asks for",
                       stage_named((stage_name)s));
}

/* ---- options: all of them ---- */

/* Reads seed or rng; false: neither is there. */
static bool read_seed(lua_State *L, int t, uint64_t *seed) {
    lua_Integer i;
    bool given = bind_integer_option(L, t, "seed", LUA_MININTEGER, LUA_MAXINTEGER, &i);
    if (given) *seed = (uint64_t)i;
    if (lua_getfield(L, t, "rng") != LUA_TNIL) {
        rng *r = bind_test_rng(L, -1);
        if (r == NULL)
            bind_raise(L, PL_ERR_ARGUMENT, "option 'rng' is %s: an rng is allowed",
                       bind_describe(L, -1));
        if (given)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "options 'seed' and 'rng' say the same: one of them is allowed");
        *seed = bind_rng_seed(r);
        given = true;
    }
    lua_pop(L, 1);
    return given;
}

bool bind_read_sampling(lua_State *L, int t, model_handle *m, size_t n_vocab, sampler_options *o) {
    *o = sampler_defaults();
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    read_filters(L, t, o);
    read_penalties(L, t, o);
    read_dry(L, t, o);
    if (n_vocab != 0) {
        push_bias(L, t, n_vocab, o);
        push_banned(L, t, n_vocab, o);
        if (o->dry_multiplier > 0) push_breakers(L, t, m, n_vocab, o);
    }
    read_order(L, t, o);
    if (read_seed(L, t, &o->seed)) return true;
    if (!(o->temperature > 0)) return false;
    o->seed = bind_random_seed();
    return true;
}

/* ---- perilune.sampler ---- */

typedef struct {
    sampler *s;          /* NULL: not made yet */
    size_t n;            /* over so many tokens */
    model_handle *model; /* whose texts it was made with; NULL: of none */
    size_t length;       /* of the cache that the last row stood behind */
    bool looks_back;     /* a stage wants to know that cache */
    bool closed;         /* collected, and yet called by another's finalizer */
} filter;

enum { FILTER_OPTIONS = 1 }; /* its user value: its own copy of them */

static filter *check_filter(lua_State *L, int arg) {
    filter *f = luaL_testudata(L, arg, SAMPLER_TYPE);
    if (f == NULL) bind_arg_error(L, arg, "a sampler expected, got %s", bind_describe(L, arg));
    if (f->closed) bind_closed_arg(L, arg, "sampler");
    return f;
}

/* Pushes one without a chain; its options are the table on the top, which goes. */
static filter *new_filter(lua_State *L) {
    filter *f = lua_newuserdatauv(L, sizeof *f, 1);
    *f = (filter){0};
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, FILTER_OPTIONS);
    luaL_setmetatable(L, SAMPLER_TYPE);
    return f;
}

/* perilune.sampler(options) --> filter */
int bind_sampler(lua_State *L) {
    static const char *const keys[] = {BIND_SAMPLING_KEYS, NULL};
    sampler_options o;
    if (!lua_istable(L, 1))
        bind_arg_error(L, 1, "a table of options expected, got %s", bind_describe(L, 1));
    lua_settop(L, 1);
    bool seeded = bind_read_sampling(L, 1, NULL, 0, &o);
    lua_createtable(L, 0, 8);
    for (size_t i = 0; keys[i] != NULL; i++) {
        lua_getfield(L, 1, keys[i]);
        lua_setfield(L, -2, keys[i]);
    }
    lua_pushnil(L);
    lua_setfield(L, -2, "rng");
    lua_pushinteger(L, (lua_Integer)(seeded ? o.seed : 0));
    lua_setfield(L, -2, "seed");
    filter *f = new_filter(L);
    f->looks_back = sampler_reads_tokens(&o) || o.xtc_probability > 0 || o.mirostat != 0;
    return 1;
}

/* Makes the chain for logits over n tokens, unless it is there. Texts of breakers are of a model.
 * Nothing is allocated once the chain is the filter's. */
static void prepare(lua_State *L, int idx, model_handle *m, const kernels *math, size_t n) {
    filter *f = lua_touserdata(L, idx);
    sampler_options o;
    sampler *made;
    pl_error e;
    int top = lua_gettop(L);
    bool same = f->s != NULL && f->n == n && (f->model == m || f->model == NULL);
    if (same) return;
    lua_getiuservalue(L, idx, FILTER_OPTIONS);
    bind_read_sampling(L, lua_gettop(L), m, n, &o);
    if (sampler_new(&o, math, n, &made, &e) != PL_OK) bind_fail(L, &e);
    sampler_free(f->s);
    f->s = made;
    f->n = n;
    f->model = o.dry_multiplier > 0 ? m : NULL;
    lua_settop(L, top);
}

/* Pushes memory with the tokens of the cache at idx, which must be of a vocabulary of n. */
static const int32_t *push_tokens(lua_State *L, int idx, size_t n_vocab, size_t *n) {
    const cache_handle *c = lua_touserdata(L, idx);
    *n = node_length(bind_node(L, c));
    int32_t *tokens = lua_newuserdatauv(L, (*n + 1) * sizeof *tokens, 0);
    node_tokens(bind_node(L, c), 0, *n, tokens);
    for (size_t i = 0; i < *n; i++)
        if ((size_t)tokens[i] >= n_vocab)
            bind_raise(
                L, PL_ERR_MISMATCH,
                "the cache is of another model: it has token %I, and these are logits over %I",
                (lua_Integer)tokens[i], (lua_Integer)n_vocab);
    return tokens;
}

/* filter(l [, cache]) and filter:pick(l, cache): l, which stands behind the cache, is filtered in
 * place. Leaves the filter, l and the cache, and the cache's tokens above. */
static row_handle *apply(lua_State *L, bool picks, const int32_t **tokens, size_t *n) {
    filter *f = check_filter(L, 1);
    row_handle *h = bind_check_row(L, 2, LOGITS_TYPE);
    cache_handle *c = !picks && lua_isnoneornil(L, 3) ? NULL : bind_check_cache(L, 3);
    bool looks = picks || f->looks_back;
    lua_settop(L, 3);
    if (c == NULL && looks)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "penalties, DRY, XTC and mirostat look at the cache: filter(l, cache)");
    *tokens = NULL;
    *n = 0;
    if (looks) *tokens = push_tokens(L, 3, h->row.n, n);
    prepare(L, 1, c != NULL ? c->model : NULL, h->row.math, h->row.n); /* the last to allocate */
    bind_row_open(L, h);
    if (f->length != 0 && *n == f->length + 1) sampler_accept(f->s, (*tokens)[*n - 1]);
    f->length = *n;
    h->summed = false;
    return h;
}

/* filter(l [, cache]) --> l */
static int filter_call(lua_State *L) {
    const int32_t *tokens;
    size_t n;
    row_handle *h = apply(L, false, &tokens, &n);
    sampler_apply(check_filter(L, 1)->s, &h->row, tokens, n, n);
    lua_settop(L, 2);
    return 1;
}

/* filter:pick(l, cache) --> the id that generate, with these options, would take there */
static int filter_pick(lua_State *L) {
    const int32_t *tokens;
    size_t n;
    row_handle *h = apply(L, true, &tokens, &n);
    filter *f = check_filter(L, 1);
    lua_pushinteger(L, sampler_pick_row(f->s, &h->row, tokens, n, n));
    f->length = 0; /* it knows what it took */
    return 1;
}

/* filter:clone() --> another, with the same state */
static int filter_clone(lua_State *L) {
    filter *f = check_filter(L, 1), *twin;
    pl_error e;
    lua_getiuservalue(L, 1, FILTER_OPTIONS);
    twin = new_filter(L);
    if (f->s != NULL && sampler_clone(f->s, &twin->s, &e) != PL_OK) bind_fail(L, &e);
    twin->n = f->n, twin->model = f->model, twin->length = f->length,
    twin->looks_back = f->looks_back;
    return 1;
}

static int filter_gc(lua_State *L) {
    filter *f = luaL_testudata(L, 1, SAMPLER_TYPE);
    if (f == NULL) return 0;
    sampler_free(f->s);
    f->s = NULL;
    f->closed = true;
    return 0;
}

static int filter_tostring(lua_State *L) {
    check_filter(L, 1);
    lua_pushliteral(L, "sampler");
    return 1;
}

/* ---- the stages that look at tokens, as methods of logits ---- */

/* Pushes the tokens that the cache or the ids at 2 are, all below n. */
static const int32_t *tokens_arg(lua_State *L, size_t n, size_t *count) {
    if (bind_test_cache(L, 2) != NULL) {
        bind_check_cache(L, 2);
        return push_tokens(L, 2, n, count);
    }
    if (!lua_istable(L, 2))
        bind_arg_error(L, 2, "a cache or a list of ids expected, got %s", bind_describe(L, 2));
    lua_Integer length = luaL_len(L, 2);
    if (length < 0 || length > INT32_MAX)
        bind_arg_error(L, 2, "a list of %I ids is too long", length);
    int32_t *tokens = lua_newuserdatauv(L, ((size_t)length + 1) * sizeof *tokens, 0);
    for (lua_Integer i = 1; i <= length; i++) {
        int whole;
        lua_geti(L, 2, i);
        lua_Integer id = lua_tointegerx(L, -1, &whole);
        if (!whole || id < 0 || (lua_Unsigned)id >= n)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "ids[%I] is %s: token ids are whole numbers from 0 to %I", i,
                       bind_describe(L, -1), (lua_Integer)n - 1);
        tokens[i - 1] = (int32_t)id;
        lua_pop(L, 1);
    }
    *count = (size_t)length;
    return tokens;
}

/* The last `last_n` of them. */
static const int32_t *last_of(const int32_t *tokens, size_t last_n, size_t *n) {
    size_t first = *n > last_n ? *n - last_n : 0;
    *n -= first;
    return tokens + first;
}

/* l:penalties(cache | ids, {repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0,
 * penalty_last_n}) */
int bind_penalties(lua_State *L) {
    static const char *const allowed[] = {"repetition_penalty", "repeat_penalty",
                                          "presence_penalty",   "frequency_penalty",
                                          "penalty_last_n",     NULL};
    row_handle *h = bind_check_row(L, 1, LOGITS_TYPE);
    sampler_options o = sampler_defaults();
    size_t n;
    lua_settop(L, 3);
    if (bind_options_at(L, 3, "penalties", allowed)) read_penalties(L, 3, &o);
    const int32_t *tokens = tokens_arg(L, h->row.n, &n);
    tokens = last_of(tokens, o.penalty_last_n, &n);
    bind_row_open(L, h);
    h->summed = false;
    row_penalize(&h->row, tokens, n,
                 (row_penalties){o.repetition_penalty, o.presence_penalty, o.frequency_penalty});
    lua_settop(L, 1);
    return 1;
}

/* l:dry(cache | ids, {dry_multiplier = 0.8, dry_base = 1.75, dry_allowed_length = 2,
 * dry_penalty_last_n, dry_breakers}) */
int bind_dry(lua_State *L) {
    static const char *const allowed[] = {"dry_multiplier",     "dry_base",
                                          "dry_allowed_length", "dry_penalty_last_n",
                                          "dry_breakers",       NULL};
    row_handle *h = bind_check_row(L, 1, LOGITS_TYPE);
    cache_handle *c = bind_test_cache(L, 2);
    sampler_options o = sampler_defaults();
    size_t n;
    o.dry_multiplier = 0.8f;
    lua_settop(L, 3);
    if (bind_options_at(L, 3, "dry", allowed))
        read_dry(L, 3, &o);
    else {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    push_breakers(L, 3, c != NULL && c->node != NULL ? c->model : NULL, h->row.n, &o);
    const int32_t *tokens = tokens_arg(L, h->row.n, &n);
    tokens = last_of(tokens, o.dry_last_n, &n);
    bind_row_open(L, h);
    h->summed = false;
    row_dry(&h->row, tokens, n,
            &(row_dry_options){o.dry_multiplier, o.dry_base, o.dry_allowed_length, o.dry_breakers});
    lua_settop(L, 1);
    return 1;
}

void bind_open_sampler(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"clone", filter_clone}, {"pick", filter_pick}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__call", filter_call}, {"__gc", filter_gc}, {"__tostring", filter_tostring},
        {NULL, NULL}};
    bind_open_type(L, SAMPLER_TYPE, meta, methods, NULL, NULL);
}
