/* cache.c: a cache as a Lua value: a handle with one reference on a node. Nothing here changes a
 * node's value: methods that sound like it return a new handle. Positions count from 1 here and
 * from 0 in the core. */
#include "bind/bind.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* ---- the handle ---- */

cache_handle *bind_test_cache(lua_State *L, int idx) { return luaL_testudata(L, idx, CACHE_TYPE); }

cache_node *bind_node(lua_State *L, const cache_handle *c) {
    if (c->node == NULL) bind_raise(L, PL_ERR_CLOSED, "the cache is closed");
    return c->node;
}

cache_handle *bind_check_cache(lua_State *L, int arg) {
    cache_handle *c = bind_test_cache(L, arg);
    if (c == NULL) bind_arg_error(L, arg, "a cache expected, got %s", bind_describe(L, arg));
    if (c->node == NULL) bind_closed_arg(L, arg, "cache");
    return c;
}

cache_handle *bind_new_cache(lua_State *L, int model_idx) {
    model_handle *m = lua_touserdata(L, model_idx);
    model_idx = lua_absindex(L, model_idx);
    cache_handle *c = lua_newuserdatauv(L, sizeof *c, 1);
    *c = (cache_handle){0};
    lua_pushvalue(L, model_idx);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, CACHE_TYPE);
    c->model = m;
    c->next = m->caches;
    c->at = &m->caches;
    if (c->next != NULL) c->next->at = &c->next;
    m->caches = c;
    return c;
}

void bind_close_cache(cache_handle *c) {
    cache_node *n = c->node;
    if (c->at != NULL) {
        *c->at = c->next;
        if (c->next != NULL) c->next->at = c->at;
        c->at = NULL;
    }
    c->model = NULL;
    c->node = NULL;
    node_release(n);
}

static int cache_close(lua_State *L) {
    cache_handle *c = bind_test_cache(L, 1);
    if (c == NULL) bind_arg_error(L, 1, "a cache expected, got %s", bind_describe(L, 1));
    bind_close_cache(c);
    return 0;
}

/* Pushes the model of the cache at 1. */
static void push_model(lua_State *L) { lua_getiuservalue(L, 1, 1); }

/* Pushes a closed cache of the same model as the one at 1. */
static cache_handle *new_beside(lua_State *L) {
    push_model(L);
    cache_handle *c = bind_new_cache(L, -1);
    lua_remove(L, -2);
    return c;
}

/* The cache at 2, which must be of the same model as the one at 1. */
static cache_handle *check_other(lua_State *L, const cache_handle *c) {
    cache_handle *other = bind_check_cache(L, 2);
    if (other->model != c->model)
        bind_raise(L, PL_ERR_MISMATCH, "the other cache is of another model");
    return other;
}

/* ---- its tokens ---- */

/* Pushes memory with tokens first..last (from 1) of the cache in it, valid while it is on the
 * stack. */
static int32_t *push_copy(lua_State *L, const cache_handle *c, size_t first, size_t last) {
    size_t n = last >= first ? last - first + 1 : 0;
    int32_t *ids = lua_newuserdatauv(L, (n + 1) * sizeof *ids, 0);
    node_tokens(bind_node(L, c), first - 1, n, ids);
    return ids;
}

static int cache_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)node_length(bind_check_cache(L, 1)->node));
    return 1;
}

/* cache:tokens([i [, j]]) --> ids */
static int cache_tokens(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    size_t first, last, n;
    bind_range_args(L, 2, node_length(c->node), 1, true, &first, &last);
    n = last >= first ? last - first + 1 : 0;
    int32_t *ids = push_copy(L, c, first, last);
    lua_createtable(L, n < INT_MAX ? (int)n : INT_MAX, 0);
    bind_push_ids(L, ids, n);
    return 1;
}

/* cache:text([i [, j]]) --> text; control tokens have none */
static int cache_text(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    size_t first, last;
    pl_error e;
    bind_range_args(L, 2, node_length(c->node), 1, true, &first, &last);
    int32_t *ids = push_copy(L, c, first, last);
    scratch *s = bind_scratch(L);
    if (tokenizer_decode(engine_model(bind_engine(L, c->model))->tok, ids,
                         last >= first ? last - first + 1 : 0, false, first == 1, &s->text,
                         &e) != PL_OK)
        bind_fail(L, &e);
    lua_pushlstring(L, s->text.data, s->text.n);
    bind_scratch_clear(s);
    return 1;
}

/* cache:find(ids [, init]) --> the position where they stand first, from init on; or nil */
static int cache_find(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    scratch *s;
    size_t first = 1, last = 0, n = node_length(c->node), i;
    if (!lua_isnoneornil(L, 3)) {
        lua_settop(L, 3);
        bind_range_args(L, 3, n, 1, true, &first, &last);
    }
    last = n;
    s = bind_scratch(L);
    bind_ids(L, 2, "ids", c->model, false, false, s);
    int32_t *ids = push_copy(L, c, first, last);
    n = n - first + 1;
    for (i = 0; i + s->ids.n <= n; i++)
        if (s->ids.n == 0 || memcmp(ids + i, s->ids.ids, s->ids.n * sizeof *ids) == 0) break;
    if (i + s->ids.n <= n) lua_pushinteger(L, (lua_Integer)(first + i));
    else lua_pushnil(L);
    bind_scratch_clear(s);
    return 1;
}

/* cache:common_prefix(other) --> how many of their first tokens are the same */
static int cache_common_prefix(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1), *other = check_other(L, c);
    lua_pushinteger(L, (lua_Integer)node_common_prefix(c->node, other->node));
    return 1;
}

/* a == b: the same model and tokens. Comparing raises nothing: a closed cache equals itself. */
static int cache_eq(lua_State *L) {
    cache_handle *a = bind_test_cache(L, 1), *b = bind_test_cache(L, 2);
    bool equal = a == b && a != NULL;
    if (a != NULL && b != NULL && a->node != NULL && b->node != NULL && a->model == b->model) {
        size_t n = node_length(a->node);
        equal = n == node_length(b->node) && node_common_prefix(a->node, b->node) == n;
    }
    lua_pushboolean(L, equal);
    return 1;
}

static int cache_tostring(lua_State *L) {
    cache_handle *c = bind_test_cache(L, 1);
    if (c == NULL || c->node == NULL) {
        lua_pushliteral(L, "cache (closed)");
        return 1;
    }
    size_t n = node_length(c->node), pending = n - node_processed(c->node);
    lua_pushfstring(L, "cache (%I token%s", (lua_Integer)n, n == 1 ? "" : "s");
    if (pending != 0) lua_pushfstring(L, ", %I pending)", (lua_Integer)pending);
    else lua_pushliteral(L, ")");
    lua_concat(L, 2);
    return 1;
}

/* ---- other caches ---- */

/* cache:extend(id | ids | text | parts) --> cache */
static int cache_extend(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    scratch *s = bind_scratch(L);
    cache_handle *longer;
    pl_error e;
    bind_ids(L, 2, "input", c->model, true, node_length(bind_node(L, c)) == 0, s);
    longer = new_beside(L);
    if (node_extend(bind_node(L, c), s->ids.ids, s->ids.n, &longer->node, &e) != PL_OK)
        bind_fail(L, &e);
    bind_scratch_clear(s);
    return 1;
}

/* cache .. text. A bare number would be a token to one reader and a text to another. */
static int cache_concat(lua_State *L) {
    if (bind_test_cache(L, 1) == NULL)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "a cache is extended at its end: cache .. text, not text .. cache");
    if (lua_type(L, 2) == LUA_TNUMBER)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "cache .. %s: write cache:extend(%s) for the token, or a string for the text",
                   bind_describe(L, 2), bind_describe(L, 2));
    return cache_extend(L);
}

/* cache:truncate(n) --> its first n tokens */
static int cache_truncate(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1), *shorter;
    size_t n = (size_t)bind_integer_arg(L, 2, 0, (lua_Integer)node_length(c->node), "the length");
    pl_error e;
    shorter = new_beside(L);
    if (node_truncate(bind_node(L, c), n, &shorter->node, &e) != PL_OK) bind_fail(L, &e);
    return 1;
}

/* cache:fork() --> an independent handle on the same value */
static int cache_fork(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1), *twin = new_beside(L);
    twin->node = node_retain(bind_node(L, c));
    return 1;
}

/* cache:heal() --> cache, text: without its last tokens, when what they spell is the beginning of a
 * longer piece; and that text. The same cache and "" when it is not. */
static int cache_heal(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1), *shorter;
    const pieces *p;
    pl_error e;
    lua_settop(L, 1);
    shorter = new_beside(L); /* 2 */
    scratch *s = bind_scratch(L);
    if (tokenizer_pieces(engine_model(bind_engine(L, c->model))->tok, &p, &e) != PL_OK)
        bind_fail(L, &e);
    /* No run is as long as the longest piece: a token has a byte at least. One token stays. */
    size_t length = node_length(bind_node(L, c)), n = pieces_longest(p), run;
    if (n >= length) n = length != 0 ? length - 1 : 0;
    int32_t *ids = push_copy(L, c, length - n + 1, length);
    engine *g = bind_engine(L, c->model);
    run = pieces_unfinished(p, ids, n);
    if (tokenizer_decode(engine_model(g)->tok, ids + n - run, run, false,
                         engine_silent(g, c->node, length - run), &s->text, &e) != PL_OK ||
        (s->text.n != 0 && node_truncate(c->node, length - run, &shorter->node, &e) != PL_OK))
        bind_fail(L, &e);
    lua_pushvalue(L, s->text.n != 0 ? 2 : 1); /* a leading space alone is no text */
    lua_pushlstring(L, s->text.data, s->text.n);
    bind_scratch_clear(s);
    return 2;
}

static int ready_waited(lua_State *L, int status, lua_KContext idx) {
    (void)status;
    bind_close_request(bind_evaluated(L, (int)idx));
    lua_settop(L, 1);
    return 1;
}

/* cache:ready() --> the same handle, nothing pending */
static int cache_ready(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    lua_settop(L, 1);
    if (node_processed(c->node) == node_length(c->node)) return 1;
    push_model(L); /* 2 */
    bind_evaluate(L, 2, WANT_NOTHING, &c, &(bind_rows){0, 0}, 1);
    lua_toclose(L, 3);
    bind_wait(L, 3, ready_waited, 3);
    return ready_waited(L, LUA_OK, 3);
}

/* ---- numbers ---- */

/* The stack: cache, i, j, list or nil, model, request, number of rows. */
enum { ROWS_LIST = 4, ROWS_MODEL, ROWS_REQUEST, ROWS_COUNT };

static int push_rows(lua_State *L, void (*push)(lua_State *L, request *r, size_t i)) {
    request *r = bind_evaluated(L, ROWS_REQUEST);
    lua_Integer n = lua_tointeger(L, ROWS_COUNT);
    for (lua_Integer i = 0; i < n; i++) {
        push(L, r, (size_t)i);
        if (lua_istable(L, ROWS_LIST)) lua_rawseti(L, ROWS_LIST, i + 1);
    }
    bind_close_request(r);
    if (lua_istable(L, ROWS_LIST)) lua_pushvalue(L, ROWS_LIST);
    return 1;
}

static int logits_waited(lua_State *L, int status, lua_KContext ctx) {
    (void)status, (void)ctx;
    return push_rows(L, bind_push_logits);
}

static int hidden_waited(lua_State *L, int status, lua_KContext ctx) {
    (void)status, (void)ctx;
    return push_rows(L, bind_push_hidden);
}

void bind_fill_logprobs(lua_State *L, request *r, int list, lua_Integer n) {
    bind_job(L, r); /* making the list, or telling the collector, may have closed it */
    for (lua_Integer i = 0; i < n; i++) { /* nothing in this loop runs a finalizer */
        lua_pushnumber(L, (lua_Number)*job_row(r->job, (size_t)i));
        lua_rawseti(L, list, i + 1);
    }
    bind_close_request(r);
}

static int logprobs_waited(lua_State *L, int status, lua_KContext ctx) {
    request *r = bind_evaluated(L, ROWS_REQUEST);
    (void)status, (void)ctx;
    bind_fill_logprobs(L, r, ROWS_LIST, lua_tointeger(L, ROWS_COUNT));
    lua_pushvalue(L, ROWS_LIST);
    return 1;
}

/* n rows after the position `first`, from 0, into the list, if there is one. */
static int evaluate_rows(lua_State *L, job_want want, cache_handle *c, size_t first, size_t n,
                         bool list, lua_KFunction k) {
    lua_settop(L, 3);
    if (list) lua_createtable(L, n < INT_MAX ? (int)n : INT_MAX, 0);
    else lua_pushnil(L);
    if (n == 0) return 1;
    push_model(L);
    bind_evaluate(L, ROWS_MODEL, want, &c, &(bind_rows){first, n}, 1);
    lua_toclose(L, ROWS_REQUEST);
    lua_pushinteger(L, (lua_Integer)n);
    bind_wait(L, ROWS_REQUEST, k, 0);
    return k(L, LUA_OK, 0);
}

/* After the last token, or, with positions, a list: after each of those. */
static int rows_after(lua_State *L, job_want want, const char *what, lua_KFunction k) {
    cache_handle *c = bind_check_cache(L, 1);
    size_t first, last, n = node_length(c->node);
    bool list = !lua_isnoneornil(L, 2);
    if (list) {
        lua_settop(L, 3);
        bind_range_args(L, 2, n, 1, false, &first, &last);
    } else if (n == 0) {
        return bind_raise(L, PL_ERR_ARGUMENT,
                          "the cache is empty: there is no token to have %s after", what);
    } else {
        first = last = n;
    }
    return evaluate_rows(L, want, c, first - 1, last >= first ? last - first + 1 : 0, list, k);
}

/* cache:logits() --> after the last token
 * cache:logits(i [, j]) --> list: after each of those positions */
static int cache_logits(lua_State *L) {
    return rows_after(L, WANT_LOGITS, "logits", logits_waited);
}

/* cache:hidden() and cache:hidden(i [, j]), likewise: final hidden states */
static int cache_hidden(lua_State *L) {
    return rows_after(L, WANT_HIDDEN, "a hidden state", hidden_waited);
}

/* cache:logprobs([i [, j]]) --> list: of its own tokens given those before, from the second on */
static int cache_logprobs(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    size_t first, last;
    lua_settop(L, 3);
    bind_range_args(L, 2, node_length(c->node), 2, false, &first, &last);
    return evaluate_rows(L, WANT_LOGPROBS, c, first - 2, last >= first ? last - first + 1 : 0, true,
                         logprobs_waited);
}

/* ---- files ---- */

/* cache:save(path) --> true | nil, message, code */
static int cache_save_file(lua_State *L) {
    cache_handle *c = bind_check_cache(L, 1);
    const char *path = bind_path_arg(L, 2);
    engine *g = bind_computing(L, c->model);
    char build[BIND_BUILD_MAX];
    cache_identity id;
    pl_error e;
    if (bind_identity(g, build, &id, &e) != PL_OK || cache_save(c->node, &id, path, &e) != PL_OK)
        return bind_refused(L, &e);
    lua_pushboolean(L, true);
    return 1;
}

void bind_open_cache(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"tokens", cache_tokens}, {"text", cache_text}, {"find", cache_find},
        {"common_prefix", cache_common_prefix}, {"extend", cache_extend},
        {"truncate", cache_truncate}, {"fork", cache_fork}, {"heal", cache_heal},
        {"ready", cache_ready}, {"logits", cache_logits}, {"logprobs", cache_logprobs},
        {"hidden", cache_hidden}, {"save", cache_save_file}, {"close", cache_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", cache_close}, {"__close", cache_close}, {"__len", cache_len}, {"__eq", cache_eq},
        {"__concat", cache_concat}, {"__tostring", cache_tostring}, {NULL, NULL}};
    bind_open_type(L, CACHE_TYPE, meta, methods, NULL, NULL);
}
