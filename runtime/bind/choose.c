/* choose.c: what generations are made of whose tokens a script chooses (lua/perilune/choose.lua) or
 * gives (sink.lua), and the requests of logits and log-probabilities that are waited for later
 * (choose.lua, score.lua). Such a request is a userdata of its own type; these functions take it,
 * and are in the core's table, not its methods: no script sees them. */
#include "bind/bind.h"

#include <string.h>

static request *check_chosen(lua_State *L) {
    request *r = luaL_testudata(L, 1, CHOSEN_TYPE);
    if (r == NULL) bind_arg_error(L, 1, "a request expected, got %s", bind_describe(L, 1));
    bind_job(L, r);
    return r;
}

/* core.choose_start(model, options) --> request */
static int choose_start(lua_State *L) {
    bind_start(L, START_CHOSEN, "generate");
    return 1;
}

/* core.sink_start(model, options) --> request: it computes nothing, its tokens come by sink_push */
static int sink_start(lua_State *L) {
    bind_start(L, START_FED, "sink");
    return 1;
}

/* core.sink_push(request, id): then choose_token tells of it, and choose_state whether it ended */
static int sink_push(lua_State *L) {
    request *r = check_chosen(L);
    lua_Integer id = luaL_checkinteger(L, 2);
    pl_error e;
    if (id < 0 || id > INT32_MAX)
        bind_raise(L, PL_ERR_ARGUMENT, "push: %I is not a token id", id);
    if (job_push(r->job, (int32_t)id, &e) != PL_OK) bind_fail(L, &e);
    return 0;
}

/* core.sink_rest(request, cache): what was pushed stands there */
static int sink_rest(lua_State *L) {
    request *r = check_chosen(L);
    cache_handle *c = bind_check_cache(L, 2);
    pl_error e;
    if (c->model != r->model) bind_raise(L, PL_ERR_MISMATCH, "a cache of another model");
    if (job_rest_on(r->job, c->node, &e) != PL_OK) bind_fail(L, &e);
    return 0;
}

static const char *state_of(const request *r) {
    if (job_state(r->job) == JOB_DONE) return "done";
    return job_choice(r->job) != NULL ? "choosing" : "token";
}

static int waited(lua_State *L, int status, lua_KContext ctx) {
    (void)status, (void)ctx;
    bind_check_run(L, 1);
    lua_pushstring(L, state_of(check_chosen(L)));
    return 1;
}

/* core.choose_wait(request) --> "choosing", "token" or "done" */
static int choose_wait(lua_State *L) {
    check_chosen(L);
    lua_settop(L, 1);
    bind_wait(L, 1, waited, 0);
    return waited(L, LUA_OK, 0);
}

static void take_back(lua_State *L, request *r) {
    if (r->lent == NULL) return;
    bind_take_back(r->lent);
    r->lent = NULL;
    lua_pushnil(L);
    lua_setiuservalue(L, 1, REQUEST_LENT);
}

/* core.choose_logits(request) --> the logits to choose from, lent until then */
static int choose_logits(lua_State *L) {
    request *r = check_chosen(L);
    const model *m = engine_model(bind_engine(L, r->model));
    take_back(L, r);
    row_handle *h = bind_lend_logits(L, m->math, job_choice(r->job), m->hp.n_vocab);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, REQUEST_LENT);
    check_chosen(L)->lent = h;
    return 1;
}

/* Logits that the sampler returned, in place of those that were lent: ids that they lack are
 * masked. */
static void use_row(request *r, const row_handle *h, size_t n) {
    float *to = job_choice(r->job);
    if (h->row.l == to) return;
    size_t have = h->row.n < n ? h->row.n : n;
    memcpy(to, h->row.l, have * sizeof *to);
    for (size_t i = have; i < n; i++) to[i] = -INFINITY;
}

/* core.choose(request, result): an id, logits, nothing, a cache, or false --> whether the sampler
 * had masked all there was, so that the token means nothing */
static int choose(lua_State *L) {
    request *r = check_chosen(L);
    size_t n = bind_vocab(L, r->model);
    row_handle *h = bind_test_row(L, 2, LOGITS_TYPE);
    const float *l = job_choice(r->job);
    bool masked = h != NULL || lua_isnoneornil(L, 2);
    pl_error e;
    pl_code rc = PL_OK;
    lua_settop(L, 2);
    if (l == NULL)
        bind_raise(L, PL_ERR_CLOSED, "the sampler ended or redirected its own generation");
    if (lua_isnil(L, 2)) {
        rc = job_choose(r->job, true, 0, &e);
    } else if (h != NULL) {
        bind_row_open(L, h);
        use_row(r, h, n);
        rc = job_choose(r->job, true, 0, &e);
    } else if (lua_type(L, 2) == LUA_TNUMBER) {
        int whole;
        lua_Integer id = lua_tointegerx(L, 2, &whole);
        if (!whole || id < 0 || (lua_Unsigned)id >= n)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "the sampler returned %s: token ids are whole numbers from 0 to %I",
                       bind_describe(L, 2), (lua_Integer)n - 1);
        rc = job_choose(r->job, false, (int32_t)id, &e);
    } else if (lua_isboolean(L, 2) && !lua_toboolean(L, 2)) {
        job_finish(r->job, FINISH_CALLBACK);
    } else if (bind_test_cache(L, 2) != NULL) {
        bind_redirect(L, 1, 2, "the sampler returned");
    } else {
        bind_raise(L, PL_ERR_ARGUMENT,
                   "the sampler returned %s: an id, logits, nothing, a cache or false is allowed",
                   bind_describe(L, 2));
    }
    if (rc != PL_OK) bind_fail(L, &e);
    masked = masked && !(l[job_token(r->job).id] > -INFINITY); /* as the chain left them */
    take_back(L, r);
    lua_pushboolean(L, masked);
    return 1;
}

/* core.choose_token(request) --> id, piece: the token that it waits with */
static int choose_token(lua_State *L) {
    generate_token t = job_token(check_chosen(L)->job);
    lua_pushinteger(L, t.id);
    lua_pushlstring(L, t.piece, t.n_piece);
    return 2;
}

/* core.choose_resume(request [, cache]): behind a token; from another cache */
static int choose_resume(lua_State *L) {
    request *r = check_chosen(L);
    if (lua_isnoneornil(L, 2)) {
        if (job_state(r->job) == JOB_WAITING) job_resume(r->job);
    } else {
        bind_redirect(L, 1, 2, "on_token returned");
    }
    return 0;
}

/* core.choose_state(request) --> the same as choose_wait, or "running", without waiting */
static int choose_state(lua_State *L) {
    const request *r = check_chosen(L);
    lua_pushstring(L, job_state(r->job) == JOB_RUNNING ? "running" : state_of(r));
    return 1;
}

/* core.choose_end(request) */
static int choose_end(lua_State *L) {
    job_finish(check_chosen(L)->job, FINISH_CALLBACK);
    return 0;
}

static int choose_cache(lua_State *L) {
    check_chosen(L);
    bind_push_cache(L, 1);
    return 1;
}

static int choose_tokens(lua_State *L) {
    check_chosen(L);
    bind_push_tokens(L, 1);
    return 1;
}

/* core.choose_text(request, from) --> the text so far, without its first bytes; the length of all
 * of it; how many of its bytes are certain, whatever stops there are; what ended it, or nil */
static int choose_text(lua_State *L) {
    request *r = check_chosen(L);
    generate_result result = job_result(r->job);
    lua_Integer from = luaL_checkinteger(L, 2);
    size_t skip = from > 0 ? (size_t)from : 0;
    if (skip > result.n_text) skip = result.n_text;
    lua_pushlstring(L, result.text + skip, result.n_text - skip);
    lua_pushinteger(L, (lua_Integer)result.n_text);
    lua_pushinteger(L, (lua_Integer)result.n_certain);
    lua_pushstring(L, finish_name(result.reason));
    return 4;
}

static int choose_info(lua_State *L) {
    check_chosen(L);
    bind_push_info(L, 1);
    return 1;
}

/* core.choose_raise(request, error, what) */
static int choose_raise(lua_State *L) {
    check_chosen(L);
    return bind_raise_callback(L, 1, 2, luaL_checkstring(L, 3));
}

/* ---- logits and log-probabilities of caches, asked for before they are waited for ---- */

/* core.begin_logits(cache) --> request */
static int begin_logits(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    size_t n = node_length(c->node);
    lua_settop(L, 1);
    if (n == 0)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "the cache is empty: there is no token to have logits after");
    lua_getiuservalue(L, 1, 1);
    bind_evaluate(L, 2, WANT_LOGITS, &c, &(bind_rows){n - 1, 1}, 1);
    return 1;
}

static int have_logits(lua_State *L, int status, lua_KContext ctx) {
    request *r = bind_evaluated(L, 1);
    (void)status, (void)ctx;
    bind_push_logits(L, r, 0);
    bind_close_request(r);
    return 1;
}

static request *check_request(lua_State *L) {
    request *r = luaL_testudata(L, 1, REQUEST_TYPE);
    if (r == NULL) bind_arg_error(L, 1, "a request expected, got %s", bind_describe(L, 1));
    return r;
}

/* core.end_logits(request) --> logits */
static int end_logits(lua_State *L) {
    check_request(L);
    lua_settop(L, 1);
    bind_wait(L, 1, have_logits, 0);
    return have_logits(L, LUA_OK, 0);
}

/* core.drop(request): of begin_logits, whose logits are not wanted any more */
static int drop(lua_State *L) {
    bind_close_request(check_request(L));
    return 0;
}

/* core.begin_logprobs(cache, first) --> request: of its tokens from that position on, from the
 * second at least */
static int begin_logprobs(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    size_t n = node_length(c->node),
           first = (size_t)bind_integer_arg(L, 2, 2, (lua_Integer)n, "the first position");
    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 1);
    bind_evaluate(L, 2, WANT_LOGPROBS, &c, &(bind_rows){first - 2, n - first + 1}, 1);
    return 1;
}

static int have_logprobs(lua_State *L, int status, lua_KContext ctx) {
    request *r = bind_evaluated(L, 1);
    lua_Integer n = lua_tointeger(L, 2);
    (void)status, (void)ctx;
    lua_createtable(L, (int)n, 0);
    bind_fill_logprobs(L, r, lua_gettop(L), n);
    return 1;
}

/* core.end_logprobs(request, n) --> list of as many as were asked for */
static int end_logprobs(lua_State *L) {
    check_request(L);
    luaL_checkinteger(L, 2);
    lua_settop(L, 2);
    bind_wait(L, 1, have_logprobs, 0);
    return have_logprobs(L, LUA_OK, 0);
}

/* ---- options `sampler`, `beside` and `banned_phrases` of generate and stream ---- */

#define GENERATE_KEY "perilune.choose.generate"
#define STREAM_KEY "perilune.choose.stream"

/* core.choose_with(generate, stream): what is called, in Lua, with these options */
static int choose_with(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_setfield(L, LUA_REGISTRYINDEX, STREAM_KEY);
    lua_setfield(L, LUA_REGISTRYINDEX, GENERATE_KEY);
    return 0;
}

static int chosen(lua_State *L, int status, lua_KContext ctx) {
    (void)status, (void)ctx;
    return lua_gettop(L);
}

static bool has_option(lua_State *L, const char *key) {
    bool has = lua_getfield(L, 2, key) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

int bind_choose(lua_State *L, bool stream) {
    if (!lua_istable(L, 2) || !(has_option(L, "sampler") || has_option(L, "beside") ||
                                has_option(L, "banned_phrases")))
        return -1;
    lua_settop(L, 2);
    if (lua_getfield(L, LUA_REGISTRYINDEX, stream ? STREAM_KEY : GENERATE_KEY) != LUA_TFUNCTION)
        bind_raise(L, PL_ERR_UNSUPPORTED,
                   "options 'sampler', 'beside' and 'banned_phrases' want the module perilune, not "
                   "its core alone");
    lua_insert(L, 1);
    lua_callk(L, 2, LUA_MULTRET, 0, chosen);
    return chosen(L, LUA_OK, 0);
}

static void push_methods(lua_State *L, const char *type, const char *field) {
    luaL_getmetatable(L, type);
    lua_getfield(L, -1, "__index");
    lua_setfield(L, -3, field);
    lua_pop(L, 1);
}

void bind_push_choose_functions(lua_State *L) {
    static const luaL_Reg functions[] = {{"choose_start", choose_start},
                                         {"sink_start", sink_start},
                                         {"sink_push", sink_push},
                                         {"sink_rest", sink_rest},
                                         {"choose_wait", choose_wait},
                                         {"choose_logits", choose_logits},
                                         {"choose", choose},
                                         {"choose_token", choose_token},
                                         {"choose_resume", choose_resume},
                                         {"choose_end", choose_end},
                                         {"choose_state", choose_state},
                                         {"choose_with", choose_with},
                                         {"choose_cache", choose_cache},
                                         {"choose_tokens", choose_tokens},
                                         {"choose_text", choose_text},
                                         {"choose_info", choose_info},
                                         {"choose_raise", choose_raise},
                                         {"begin_logits", begin_logits},
                                         {"end_logits", end_logits},
                                         {"drop", drop},
                                         {"begin_logprobs", begin_logprobs},
                                         {"end_logprobs", end_logprobs},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    push_methods(L, MODEL_TYPE, "model_methods"); /* for what is said of them in Lua */
    push_methods(L, CACHE_TYPE, "cache_methods");
}
