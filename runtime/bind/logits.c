/* logits.c: one row of logits as a Lua value. The floats lie in the userdata itself: Lua's
 * collector counts them, and they need no closing. They are indexed by token id, from 0; reductions
 * over the vocabulary run in C. */
#include "bind/bind.h"

#include <limits.h>
#include <string.h>

typedef struct {
    const kernels *math;    /* a static table */
    size_t n;               /* vocabulary */
    double logsumexp;
    bool summed;            /* logsumexp is known */
    float l[];              /* [n] */
} logits;

static logits *check_logits(lua_State *L, int arg) {
    logits *l = luaL_testudata(L, arg, LOGITS_TYPE);
    if (l == NULL) bind_arg_error(L, arg, "logits expected, got %s", bind_describe(L, arg));
    return l;
}

void bind_push_logits(lua_State *L, request *r, size_t i) {
    size_t n = bind_vocab(L, r->model);
    logits *l = lua_newuserdatauv(L, sizeof *l + n * sizeof(float), 0);
    const float *row = job_row(bind_job(L, r), i);
    l->math = engine_model(bind_engine(L, r->model))->math;
    l->n = n;
    l->summed = false;
    memcpy(l->l, row, n * sizeof(float));
    luaL_setmetatable(L, LOGITS_TYPE);
}

/* The stack: the list, the caches, their handles, rows, results, model, request. */
enum { OF_RESULTS = 5, OF_MODEL, OF_REQUEST };

static int logits_of_waited(lua_State *L, int status, lua_KContext n) {
    request *r = bind_evaluated(L, OF_REQUEST);
    (void)status;
    for (lua_Integer i = 1; i <= (lua_Integer)n; i++) {
        bind_push_logits(L, r, (size_t)i - 1);
        lua_rawseti(L, OF_RESULTS, i);
    }
    bind_close_request(r);
    lua_settop(L, OF_RESULTS);
    return 1;
}

/* perilune.logits { c1, c2, ... } --> list: after the last token of each, in one step */
int bind_logits_of(lua_State *L) {
    lua_Integer n;
    if (!lua_istable(L, 1))
        bind_arg_error(L, 1, "a list of caches expected, got %s", bind_describe(L, 1));
    lua_settop(L, 1);
    n = luaL_len(L, 1);
    if (n < 0 || n > INT_MAX / 2) bind_arg_error(L, 1, "a list of %I caches is too long", n);
    lua_createtable(L, (int)n, 0); /* 2: the caches, held here, whatever becomes of the list */
    cache_handle **caches = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *caches, 0);      /* 3 */
    bind_rows *rows = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *rows, 0);              /* 4 */
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, 1, i);
        caches[i - 1] = bind_test_cache(L, -1);
        if (caches[i - 1] == NULL)
            bind_raise(L, PL_ERR_ARGUMENT, "item %I of the list is %s: a cache is expected", i,
                       bind_describe(L, -1));
        lua_rawseti(L, 2, i);
    }
    for (lua_Integer i = 1; i <= n; i++) {
        cache_handle *c = caches[i - 1];
        if (c->node == NULL) bind_raise(L, PL_ERR_CLOSED, "cache %I of the list is closed", i);
        if (node_length(c->node) == 0)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "cache %I of the list is empty: there is no token to have logits after", i);
        if (c->model != caches[0]->model)
            bind_raise(L, PL_ERR_MISMATCH,
                       "cache %I of the list is of another model than the first", i);
        rows[i - 1] = (bind_rows){node_length(c->node) - 1, 1};
    }
    lua_createtable(L, (int)n, 0); /* 5 */
    if (n == 0) return 1;
    lua_rawgeti(L, 2, 1);
    lua_getiuservalue(L, -1, 1);
    lua_replace(L, -2); /* 6: the model */
    bind_evaluate(L, OF_MODEL, WANT_LOGITS, caches, rows, (size_t)n);
    bind_wait(L, OF_REQUEST, logits_of_waited, (lua_KContext)n);
    return logits_of_waited(L, LUA_OK, (lua_KContext)n);
}

/* l[id], and the methods */
static int logits_index(lua_State *L) {
    logits *l = check_logits(L, 1);
    if (lua_type(L, 2) == LUA_TNUMBER) {
        lua_pushnumber(L, (lua_Number)l->l[bind_id_arg(L, 2, l->n)]);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int logits_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_logits(L, 1)->n);
    return 1;
}

static int logits_tostring(lua_State *L) {
    lua_pushfstring(L, "logits (%I tokens)", (lua_Integer)check_logits(L, 1)->n);
    return 1;
}

/* l:argmax() --> id */
static int method_argmax(lua_State *L) {
    logits *l = check_logits(L, 1);
    lua_pushinteger(L, logits_argmax(l->l, l->n));
    return 1;
}

/* l:top(k) --> ids, logprobs: the k most likely, sorted */
static int method_top(lua_State *L) {
    logits *l = check_logits(L, 1);
    size_t k = (size_t)bind_integer_arg(L, 2, 0, LUA_MAXINTEGER, "k");
    if (k > l->n) k = l->n;
    int32_t *ids = lua_newuserdatauv(L, (k + 1) * sizeof *ids, 0);
    float *logprobs = lua_newuserdatauv(L, (k + 1) * sizeof *logprobs, 0);
    if (k != 0) k = logits_top(l->math, l->l, l->n, k, ids, logprobs);
    lua_createtable(L, k < INT_MAX ? (int)k : INT_MAX, 0);
    bind_push_ids(L, ids, k);
    lua_createtable(L, k < INT_MAX ? (int)k : INT_MAX, 0);
    for (size_t i = 0; i < k; i++) {
        lua_pushnumber(L, (lua_Number)logprobs[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* l:logprob(id) --> log-probability */
static int method_logprob(lua_State *L) {
    logits *l = check_logits(L, 1);
    int32_t id = bind_id_arg(L, 2, l->n);
    if (!l->summed) {
        l->logsumexp = logits_logsumexp(l->math, l->l, l->n);
        l->summed = true;
    }
    lua_pushnumber(L, (lua_Number)l->l[id] - l->logsumexp);
    return 1;
}

/* l:entropy() --> nats */
static int method_entropy(lua_State *L) {
    logits *l = check_logits(L, 1);
    lua_pushnumber(L, logits_entropy(l->math, l->l, l->n));
    return 1;
}

void bind_open_logits(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"argmax", method_argmax}, {"top", method_top}, {"logprob", method_logprob},
        {"entropy", method_entropy}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__len", logits_len}, {"__tostring", logits_tostring}, {NULL, NULL}};
    luaL_newmetatable(L, LOGITS_TYPE);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, logits_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
