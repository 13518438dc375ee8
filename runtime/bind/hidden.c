/* hidden.c: final hidden states as Lua values: what the model makes of a token and all before it,
 * after the output norm: n_embd numbers. Sums are in double, in order. */
#include "bind/bind.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static row_handle *check_hidden(lua_State *L, int arg) {
    return bind_check_row(L, arg, HIDDEN_TYPE);
}

void bind_push_hidden(lua_State *L, request *r, size_t i) {
    const model *m = engine_model(bind_engine(L, r->model));
    size_t n = m->hp.n_embd;
    row_handle *h = bind_new_row(L, HIDDEN_TYPE, m->math, n);
    memcpy(h->row.l, job_row(bind_job(L, r), i), n * sizeof(float));
}

static double dot(const logits_row *a, const logits_row *b) {
    double sum = 0;
    for (size_t i = 0; i < a->n; i++) sum += (double)a->l[i] * (double)b->l[i];
    return sum;
}

/* The one at idx, of as many numbers as a. */
static const logits_row *other(lua_State *L, const logits_row *a, int idx) {
    row_handle *h = bind_test_row(L, idx, HIDDEN_TYPE);
    if (h == NULL)
        bind_raise(L, PL_ERR_ARGUMENT, "a hidden state, or a list of them, expected, got %s",
                   bind_describe(L, idx));
    bind_row_open(L, h);
    if (h->row.n != a->n)
        bind_raise(L, PL_ERR_MISMATCH, "hidden states of %I and %I numbers: of different models",
                   (lua_Integer)a->n, (lua_Integer)h->row.n);
    return &h->row;
}

/* h:dot(g), h:cosine(g) --> number; of a list: a list */
static int compare(lua_State *L, double (*by)(const logits_row *a, const logits_row *b)) {
    row_handle *h = check_hidden(L, 1);
    lua_settop(L, 2);
    if (!lua_istable(L, 2)) {
        lua_pushnumber(L, by(&h->row, other(L, &h->row, 2)));
        return 1;
    }
    lua_Integer n = luaL_len(L, 2);
    lua_createtable(L, n < 0 || n > INT_MAX ? 0 : (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, 2, i);
        const logits_row *g = other(L, &h->row, -1);
        bind_row_open(L, h); /* what was indexed may have closed it */
        lua_pushnumber(L, by(&h->row, g));
        lua_rawseti(L, 3, i);
        lua_settop(L, 3);
    }
    return 1;
}

static double cosine(const logits_row *a, const logits_row *b) {
    double norms = sqrt(dot(a, a)) * sqrt(dot(b, b));
    return norms > 0 ? dot(a, b) / norms : 0;
}

static int method_dot(lua_State *L) { return compare(L, dot); }
static int method_cosine(lua_State *L) { return compare(L, cosine); }

/* h:norm() --> Euclidean */
static int method_norm(lua_State *L) {
    const logits_row *a = &check_hidden(L, 1)->row;
    lua_pushnumber(L, sqrt(dot(a, a)));
    return 1;
}

/* h[i], from 1, and the methods, which a closed one has, too */
static int hidden_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER || bind_test_row(L, 1, HIDDEN_TYPE) == NULL) {
        const logits_row *a = &check_hidden(L, 1)->row;
        lua_Integer i = bind_integer_arg(L, 2, 1, (lua_Integer)a->n, "the index");
        lua_pushnumber(L, (lua_Number)a->l[i - 1]);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int hidden_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_hidden(L, 1)->row.n);
    return 1;
}

static int hidden_tostring(lua_State *L) {
    const row_handle *h = bind_test_row(L, 1, HIDDEN_TYPE);
    if (h == NULL || h->row.l == NULL) lua_pushliteral(L, "hidden state (closed)");
    else lua_pushfstring(L, "hidden state (%I numbers)", (lua_Integer)h->row.n);
    return 1;
}

void bind_open_hidden(lua_State *L) {
    static const luaL_Reg methods[] = {{"dot", method_dot}, {"cosine", method_cosine},
                                       {"norm", method_norm}, {"close", bind_close_row},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", bind_close_row}, {"__close", bind_close_row}, {"__len", hidden_len},
        {"__tostring", hidden_tostring}, {NULL, NULL}};
    bind_open_type(L, HIDDEN_TYPE, meta, methods, hidden_index, NULL);
}
