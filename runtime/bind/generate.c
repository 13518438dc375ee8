/* generate.c: requests: a job of the engine behind a userdata, which closes it whatever happens.
 * Here are model:generate, what it shares with streams (options, results, on_token), and the
 * evaluations behind logits and log-probabilities.
 *
 * A generation with on_token pauses after every token; the callback runs outside of the core, so it
 * may do anything: yield, generate, close the model. After it everything is fetched anew. */
#include "bind/bind.h"

#include <limits.h>
#include <string.h>

/* ---- the request ---- */

request *bind_new_request(lua_State *L, int model_idx, const char *type) {
    model_handle *m = lua_touserdata(L, model_idx);
    model_idx = lua_absindex(L, model_idx);
    request *r = lua_newuserdatauv(L, sizeof *r, REQUEST_VALUES);
    *r = (request){0};
    lua_pushvalue(L, model_idx);
    lua_setiuservalue(L, -2, REQUEST_MODEL);
    luaL_setmetatable(L, type);
    r->model = m;
    r->next = m->requests;
    r->at = &m->requests;
    if (r->next != NULL) r->next->at = &r->next;
    m->requests = r;
    return r;
}

void bind_close_request(request *r) {
    job *j = r->job;
    if (r->at != NULL) {
        *r->at = r->next;
        if (r->next != NULL) r->next->at = r->at;
        r->at = NULL;
    }
    if (r->lent != NULL) bind_take_back(r->lent);
    r->lent = NULL;
    r->model = NULL;
    r->job = NULL;
    job_close(j);
}

job *bind_job(lua_State *L, const request *r) {
    if (r->job == NULL)
        bind_raise(L, PL_ERR_CLOSED, "it was closed, or its model, while this was under way");
    return r->job;
}

static int request_close(lua_State *L) {
    request *r = luaL_testudata(L, 1, REQUEST_TYPE);
    if (r == NULL) r = luaL_testudata(L, 1, CHOSEN_TYPE);
    if (r != NULL) bind_close_request(r);
    return 0;
}

/* Sets tokens and cache of the error object on the top from the generation at idx. The error itself
 * matters more than these: what cannot be had is left out. */
static int add_progress(lua_State *L) {
    request *r = lua_touserdata(L, 2);
    if (r->job == NULL) return 0;
    bind_push_tokens(L, 2);
    lua_setfield(L, 1, "tokens");
    bind_push_cache(L, 2);
    lua_setfield(L, 1, "cache");
    return 0;
}

static int raise_with_progress(lua_State *L, int idx) {
    lua_pushcfunction(L, add_progress);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, idx);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1);
    return lua_error(L);
}

void bind_check_run(lua_State *L, int idx) {
    request *r = lua_touserdata(L, idx);
    pl_error e;
    idx = lua_absindex(L, idx);
    bind_charge(L, r->model);
    if (job_state(bind_job(L, r)) != JOB_STUCK) return;
    job_trouble(r->job, &e);
    lua_pushstring(L, e.message);
    bind_error_object(L, e.code);
    raise_with_progress(L, idx);
}

void bind_evaluate(lua_State *L, int model_idx, job_want want, cache_handle *const *caches,
                   const bind_rows *rows, size_t n) {
    model_handle *m = lua_touserdata(L, model_idx);
    request *r = bind_new_request(L, model_idx, REQUEST_TYPE);
    job_part one, *parts = &one;
    pl_error e;
    if (n > 1) parts = lua_newuserdatauv(L, n * sizeof *parts, 0);
    for (size_t i = 0; i < n; i++)
        parts[i] = (job_part){
            .node = bind_node(L, caches[i]), .first = rows[i].first, .count = rows[i].count};
    if (job_evaluate(bind_computing(L, m), want, parts, n, &r->job, &e) != PL_OK) bind_fail(L, &e);
    job_set_priority(r->job, bind_priority(L));
    if (n > 1) lua_pop(L, 1);
}

request *bind_evaluated(lua_State *L, int idx) {
    request *r = lua_touserdata(L, idx);
    pl_error e;
    bind_charge(L, r->model);
    if (job_state(bind_job(L, r)) == JOB_STUCK) {
        job_trouble(r->job, &e);
        bind_fail(L, &e);
    }
    if (job_state(r->job) != JOB_DONE)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "a coroutine that waits for the model was resumed from elsewhere");
    return r;
}

/* ---- options ---- */

static const char *const generate_keys[] = {
    "input", "input_ids", "cache", "max_new_tokens", BIND_SAMPLING_KEYS,
    "stop", "stop_tokens", "stop_at_eog", "prefix", "logprobs", "on_token", NULL};

static void name_options(lua_State *L, const char *const *keys, const char *kind) {
    for (; *keys != NULL; keys++) {
        lua_pushstring(L, kind);
        lua_setfield(L, -2, *keys);
    }
}

void bind_push_generate_options(lua_State *L) {
    static const char *const said_in_lua[] = {"sampler", "beside", "banned_phrases", NULL};
    static const char *const sampling[] = {BIND_SAMPLING_KEYS, NULL};
    static const char *const numbers[] = {BIND_SAMPLING_NUMBERS, NULL};
    lua_newtable(L);
    name_options(L, generate_keys, "generate");
    name_options(L, said_in_lua, "generate");
    name_options(L, sampling, "sampling");
    name_options(L, numbers, "number");
}

/* Pushes the stop strings as a list, and memory that points into them; the list becomes the
 * request's. */
static void push_stops(lua_State *L, int t, int request_idx, generate_options *o) {
    lua_Integer n = 1;
    int type = lua_getfield(L, t, "stop"), given = lua_gettop(L);
    if (type == LUA_TNIL) return;
    if (type == LUA_TTABLE) n = luaL_len(L, given);
    else if (type != LUA_TSTRING)
        bind_raise(L, PL_ERR_ARGUMENT, "option 'stop' is %s: a text or a list of texts is allowed",
                   bind_describe(L, given));
    if (n < 0 || n > INT_MAX / 2)
        bind_raise(L, PL_ERR_ARGUMENT, "option 'stop' has %I texts: too many", n);
    lua_createtable(L, (int)n, 0);
    int list = lua_gettop(L);
    gguf_string *stops = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *stops, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        if (type == LUA_TTABLE) lua_geti(L, given, i);
        else lua_pushvalue(L, given);
        if (lua_type(L, -1) != LUA_TSTRING || lua_rawlen(L, -1) == 0)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "option 'stop' has %s at %I: a text that is not empty is allowed",
                       bind_describe(L, -1), i);
        stops[i - 1].data = lua_tolstring(L, -1, &stops[i - 1].size); /* anchored by the list */
        lua_rawseti(L, list, i);
    }
    lua_pushvalue(L, list);
    lua_setiuservalue(L, request_idx, REQUEST_STOPS);
    o->stops = stops;
    o->n_stops = (size_t)n;
}

/* Option 'prefix', which stays on the stack. */
static void push_prefix(lua_State *L, int t, generate_options *o) {
    int type = lua_getfield(L, t, "prefix");
    if (type == LUA_TSTRING) o->prefix = lua_tolstring(L, -1, &o->n_prefix);
    else if (type != LUA_TNIL)
        bind_raise(L, PL_ERR_ARGUMENT, "option 'prefix' is %s: a text is allowed",
                   bind_describe(L, -1));
}

/* Pushes the ids of option `key`, in a scratch. */
static scratch *push_ids(lua_State *L, int t, const char *key, model_handle *m, bool texts,
                         bool empty) {
    scratch *s = bind_scratch(L);
    if (lua_getfield(L, t, key) != LUA_TNIL) bind_ids(L, -1, key, m, texts, empty, s);
    lua_pop(L, 1);
    return s;
}

request *bind_start(lua_State *L, start_kind kind, const char *what) {
    static const char *const types[] = {REQUEST_TYPE, STREAM_TYPE, CHOSEN_TYPE, CHOSEN_TYPE};
    model_handle *m = bind_check_model(L, 1);
    generate_options o = {0};
    bool two_inputs;
    lua_Integer most;
    pl_error e;

    luaL_checkstack(L, 2 * LUA_MINSTACK, NULL);
    bind_computing(L, m);
    if (lua_istable(L, 2) && lua_isnoneornil(L, 3) && lua_isnoneornil(L, 4)) {
        lua_settop(L, 2);
        bind_check_options(L, 2, what, generate_keys);
    } else if (lua_gettop(L) == 1) {
        bind_arg_error(L, 2, "a table of options expected, got nothing");
    } else { /* (input_ids, max_new_tokens, cache) */
        lua_settop(L, 4);
        lua_createtable(L, 0, 3);
        lua_pushvalue(L, 2);
        lua_setfield(L, -2, "input");
        lua_pushvalue(L, 3);
        lua_setfield(L, -2, "max_new_tokens");
        lua_pushvalue(L, 4);
        lua_setfield(L, -2, "cache");
        lua_replace(L, 2);
        lua_settop(L, 2);
    }
    request *r = bind_new_request(L, 1, types[kind]); /* 3 */

    cache_handle *base;
    if (lua_getfield(L, 2, "cache") == LUA_TNIL) { /* 4 */
        base = bind_new_cache(L, 1);
        lua_replace(L, 4);
        if (node_empty(engine_store(bind_engine(L, m)), &base->node, &e) != PL_OK) bind_fail(L, &e);
    } else {
        base = bind_test_cache(L, 4);
        if (base == NULL)
            bind_raise(L, PL_ERR_ARGUMENT, "option 'cache' is %s: a cache is allowed",
                       bind_describe(L, 4));
        if (base->node == NULL)
            bind_raise(L, PL_ERR_CLOSED, "option 'cache' is a cache that is closed");
        if (base->model != m)
            bind_raise(L, PL_ERR_MISMATCH, "option 'cache' is a cache of another model");
    }

    two_inputs =
        lua_getfield(L, 2, "input") != LUA_TNIL && lua_getfield(L, 2, "input_ids") != LUA_TNIL;
    if (two_inputs)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "options 'input' and 'input_ids' are the same: one of them is allowed");
    lua_settop(L, 4);
    bool empty = node_length(bind_node(L, base)) == 0;
    bool named_ids = lua_getfield(L, 2, "input_ids") != LUA_TNIL;
    lua_settop(L, 4);
    scratch *input = push_ids(L, 2, named_ids ? "input_ids" : "input", m, !named_ids, empty);
    scratch *stop_tokens = push_ids(L, 2, "stop_tokens", m, false, false);

    o.max_new_tokens = GENERATE_UNLIMITED;
    if (bind_integer_option(L, 2, "max_new_tokens", 0, LUA_MAXINTEGER, &most))
        o.max_new_tokens = (size_t)most;
    o.stop_at_eog = bind_boolean_option(L, 2, "stop_at_eog", false);
    o.logprobs = bind_boolean_option(L, 2, "logprobs", false);
    r->seeded = bind_read_sampling(L, 2, m, bind_vocab(L, m), &o.sampler);
    r->seed = o.sampler.seed;
    push_stops(L, 2, 3, &o);
    push_prefix(L, 2, &o);

    o.fed = kind == START_FED;
    o.choose = kind == START_CHOSEN;
    o.pause = o.choose || kind == START_STREAM;
    if (lua_getfield(L, 2, "on_token") != LUA_TNIL) {
        lua_Debug ar;
        if (lua_type(L, -1) != LUA_TFUNCTION)
            bind_raise(L, PL_ERR_ARGUMENT, "option 'on_token' is %s: a function is allowed",
                       bind_describe(L, -1));
        o.pause = true;
        lua_pushvalue(L, -1);
        lua_getinfo(L, ">u", &ar);
        r->wants_cache = ar.isvararg || ar.nparams >= 3;
        lua_setiuservalue(L, 3, REQUEST_ON_TOKEN);
    }

    engine *g = bind_engine(L, m);
    o.priority = bind_priority(L);
    o.cache = bind_node(L, base);
    o.input = input->ids.ids;
    o.n_input = input->ids.n;
    o.stop_tokens = stop_tokens->ids.ids;
    o.n_stop_tokens = stop_tokens->ids.n;
    if (r->model == NULL) bind_engine(L, NULL);
    if (job_generate(g, &o, &r->job, &e) != PL_OK) bind_fail(L, &e);
    bind_scratch_clear(input);
    bind_scratch_clear(stop_tokens);
    lua_settop(L, 3);
    return r;
}

/* ---- results ---- */

void bind_push_tokens(lua_State *L, int idx) {
    request *r = lua_touserdata(L, idx);
    generate_result result = job_result(bind_job(L, r));
    lua_createtable(L, result.n_tokens < INT_MAX ? (int)result.n_tokens : INT_MAX, 0);
    result = job_result(bind_job(L, r));
    bind_push_ids(L, result.tokens, result.n_tokens);
}

/* A new handle on what `get` gives of the request's job. */
static void push_cache_of(lua_State *L, int idx, pl_code (*get)(job *, cache_node **, pl_error *)) {
    request *r = lua_touserdata(L, idx);
    pl_error e;
    bind_job(L, r);
    lua_getiuservalue(L, idx, REQUEST_MODEL);
    cache_handle *c = bind_new_cache(L, -1);
    lua_remove(L, -2);
    if (get(bind_job(L, r), &c->node, &e) != PL_OK) bind_fail(L, &e);
}

void bind_push_cache(lua_State *L, int idx) { push_cache_of(L, lua_absindex(L, idx), job_cache); }

/* Pushes what ended the generation: the stop string, or the id of the token; nil when nothing of
 * the kind. */
static void push_stop(lua_State *L, int idx) {
    request *r = lua_touserdata(L, idx);
    generate_result result = job_result(bind_job(L, r));
    if (result.reason == FINISH_STOP && result.stop != SIZE_MAX) {
        lua_getiuservalue(L, idx, REQUEST_STOPS);
        lua_rawgeti(L, -1, (lua_Integer)result.stop + 1);
        lua_remove(L, -2);
    } else if ((result.reason == FINISH_STOP || result.reason == FINISH_EOG) &&
               result.n_tokens > 0) {
        lua_pushinteger(L, result.tokens[result.n_tokens - 1]);
    } else {
        lua_pushnil(L);
    }
}

void bind_push_info(lua_State *L, int idx) {
    request *r = lua_touserdata(L, idx);
    generate_result result;
    idx = lua_absindex(L, idx);
    lua_createtable(L, 0, 7);

    lua_pushstring(L, finish_name(job_result(bind_job(L, r)).reason));
    lua_setfield(L, -2, "finish_reason");
    result = job_result(bind_job(L, r));
    lua_pushlstring(L, result.text, result.n_text);
    lua_setfield(L, -2, "text");
    push_stop(L, idx);
    lua_setfield(L, -2, "stop");
    push_cache_of(L, idx, job_cache_before);
    lua_setfield(L, -2, "before");
    if (r->seeded) {
        lua_pushinteger(L, (lua_Integer)r->seed);
        lua_setfield(L, -2, "seed");
    }
    if (job_result(bind_job(L, r)).logprobs != NULL) {
        result = job_result(bind_job(L, r));
        lua_createtable(L, result.n_tokens < INT_MAX ? (int)result.n_tokens : INT_MAX, 0);
        result = job_result(bind_job(L, r));
        for (size_t i = 0; i < result.n_tokens; i++) {
            lua_pushnumber(L, (lua_Number)result.logprobs[i]);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        lua_setfield(L, -2, "logprobs");
    }
    lua_createtable(L, 0, 4);
    result = job_result(bind_job(L, r));
    lua_pushinteger(L, (lua_Integer)result.prompt_rows);
    lua_setfield(L, -2, "prompt_tokens");
    lua_pushnumber(L, result.prompt_seconds);
    lua_setfield(L, -2, "prompt_seconds");
    lua_pushinteger(L, (lua_Integer)result.n_tokens);
    lua_setfield(L, -2, "new_tokens");
    lua_pushnumber(L, result.decode_seconds);
    lua_setfield(L, -2, "seconds");
    lua_setfield(L, -2, "timings");
}

/* ---- on_token ---- */

/* An error object of what on_token, or another callback, raised, the value at `cause`. It says
 * where by itself. */
static void push_callback_error(lua_State *L, int cause, const char *what) {
    cause = lua_absindex(L, cause);
    lua_pushfstring(L, "%s: %s", what, luaL_tolstring(L, cause, NULL));
    lua_remove(L, -2);
    bind_error_object(L, PL_ERR_CALLBACK);
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "where");
    lua_pushvalue(L, cause);
    lua_setfield(L, -2, "cause");
}

int bind_raise_callback(lua_State *L, int idx, int cause, const char *what) {
    idx = lua_absindex(L, idx);
    push_callback_error(L, cause, what);
    return raise_with_progress(L, idx);
}

/* Runs where the error happened, and so can see the way there. */
static int on_callback_error(lua_State *L) {
    request *r = lua_touserdata(L, lua_upvalueindex(1));
    push_callback_error(L, 1, "on_token");
    luaL_traceback(L, L, NULL, 1);
    lua_setfield(L, -2, "traceback");
    r->wrapped = true;
    return 1;
}

int bind_call_on_token(lua_State *L, int idx, lua_KFunction k) {
    request *r = lua_touserdata(L, idx);
    generate_token token;
    int n = 2, handler;
    idx = lua_absindex(L, idx);
    lua_pushvalue(L, idx);
    lua_pushcclosure(L, on_callback_error, 1);
    handler = lua_gettop(L);
    lua_getiuservalue(L, idx, REQUEST_ON_TOKEN);
    token = job_token(bind_job(L, r));
    lua_pushinteger(L, token.id);
    lua_pushlstring(L, token.piece, token.n_piece);
    if (r->wants_cache) {
        bind_push_cache(L, idx);
        n = 3;
    }
    r->wrapped = false;
    return lua_pcallk(L, n, 1, handler, idx, k);
}

void bind_after_on_token(lua_State *L, int idx, int status) {
    request *r = lua_touserdata(L, idx);
    if (status != LUA_OK && status != LUA_YIELD) {
        if (!r->wrapped)
            push_callback_error(L, -1, "on_token"); /* no memory, say, where it happened */
        raise_with_progress(L, idx);
    }
    bind_job(L, r);
    if (lua_isnil(L, -1) || job_state(r->job) != JOB_WAITING) return;
    if (lua_isboolean(L, -1)) {
        if (!lua_toboolean(L, -1)) job_finish(r->job, FINISH_CALLBACK);
        return;
    }
    bind_redirect(L, idx, lua_gettop(L), "on_token returned");
}

void bind_redirect(lua_State *L, int idx, int cache_idx, const char *what) {
    request *r = lua_touserdata(L, idx);
    cache_handle *c = bind_test_cache(L, cache_idx);
    pl_error e;
    if (c == NULL)
        bind_raise(L, PL_ERR_ARGUMENT, "%s %s: a cache is allowed", what,
                   bind_describe(L, cache_idx));
    bind_node(L, c);
    if (c->model != r->model) bind_raise(L, PL_ERR_MISMATCH, "%s a cache of another model", what);
    if (job_resume_from(bind_job(L, r), bind_node(L, c), &e) != PL_OK) bind_fail(L, &e);
}

/* ---- model:generate ---- */

/* 3 is the request; runs until it is done. */
static int generate_loop(lua_State *L);

static int generate_resumed(lua_State *L, int status, lua_KContext idx) {
    bind_after_on_token(L, (int)idx, status);
    return generate_loop(L);
}

static int generate_waited(lua_State *L, int status, lua_KContext idx) {
    (void)status;
    bind_check_run(L, (int)idx);
    return generate_loop(L);
}

static int generate_loop(lua_State *L) {
    request *r = lua_touserdata(L, 3);
    for (;;) {
        lua_settop(L, 3);
        if (job_state(bind_job(L, r)) == JOB_WAITING) {
            if (lua_getiuservalue(L, 3, REQUEST_ON_TOKEN) == LUA_TFUNCTION && !r->delivered) {
                lua_pop(L, 1);
                r->delivered = true;
                bind_after_on_token(L, 3, bind_call_on_token(L, 3, generate_resumed));
                continue;
            }
            lua_pop(L, 1);
            job_resume(r->job);
        }
        r->delivered = false;
        if (job_state(r->job) == JOB_DONE) break;
        bind_wait(L, 3, generate_waited, 3);
        bind_check_run(L, 3);
    }
    bind_push_tokens(L, 3);
    bind_push_cache(L, 3);
    bind_push_info(L, 3);
    bind_close_request(r);
    return 3;
}

/* model:generate(options) or (input_ids, max_new_tokens, cache) --> new tokens, cache, info */
int bind_generate(lua_State *L) {
    int n = bind_choose(L, false);
    if (n >= 0) return n;
    bind_start(L, START_GENERATE, "generate");
    lua_toclose(L, 3); /* at once when an error passes, or its coroutine is closed */
    return generate_loop(L);
}

void bind_open_request(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__gc", request_close}, {"__close", request_close}, {NULL, NULL}};
    luaL_newmetatable(L, REQUEST_TYPE);
    luaL_setfuncs(L, meta, 0);
    luaL_newmetatable(L, CHOSEN_TYPE);
    luaL_setfuncs(L, meta, 0);
    lua_pop(L, 2);
}
