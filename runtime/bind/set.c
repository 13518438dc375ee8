/* set.c: sets of token ids, one bit each, in the userdata itself. They are values: nothing changes
 * one. */
#include "bind/bind.h"

#include <limits.h>
#include <string.h>

#include <lualib.h>

static size_t words_of(size_t n) { return (n + 63) / 64; }

static id_set *check_set(lua_State *L, int arg) {
    id_set *s = luaL_testudata(L, arg, SET_TYPE);
    if (s == NULL) bind_arg_error(L, arg, "a set expected, got %s", bind_describe(L, arg));
    return s;
}

id_set *bind_new_set(lua_State *L, size_t n) {
    id_set *s = lua_newuserdatauv(L, sizeof *s + words_of(n) * sizeof *s->bits, 0);
    s->n = n;
    s->count = 0;
    memset(s->bits, 0, words_of(n) * sizeof *s->bits);
    luaL_setmetatable(L, SET_TYPE);
    return s;
}

void bind_count_set(id_set *s) {
    s->count = 0;
    for (size_t w = 0; w < words_of(s->n); w++)
        s->count += (size_t)__builtin_popcountll(s->bits[w]);
}

/* The first id from i on; n: there is none. */
static size_t next_id(const id_set *s, size_t i) {
    for (size_t w = i / 64; i < s->n; w++, i = 64 * w) {
        uint64_t left = s->bits[w] >> i % 64;
        if (left != 0) return i + (size_t)__builtin_ctzll(left);
    }
    return s->n;
}

/* ---- from ids, and from a pattern ---- */

/* Sets the id on the top, item `at` (0: not of a list) of what `name` names. */
static void add_id(lua_State *L, id_set *s, const char *name, lua_Integer at) {
    int whole;
    lua_Integer id = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : (whole = 0);
    if (!whole || id < 0 || (lua_Unsigned)id >= s->n) {
        const char *found = bind_describe(L, -1);
        const char *place = at != 0 ? lua_pushfstring(L, "%s[%I]", name, at) : name;
        bind_raise(L, PL_ERR_ARGUMENT, "%s is %s: token ids are whole numbers from 0 to %I", place,
                   found, (lua_Integer)s->n - 1);
    }
    s->bits[(size_t)id / 64] |= (uint64_t)1 << (size_t)id % 64;
}

/* Pushes the set of the id or the list at idx. */
static id_set *push_listed(lua_State *L, int idx, const char *name, size_t n) {
    idx = lua_absindex(L, idx);
    id_set *s = bind_new_set(L, n);
    if (lua_type(L, idx) == LUA_TNUMBER) {
        lua_pushvalue(L, idx);
        add_id(L, s, name, 0);
        lua_pop(L, 1);
    } else if (lua_istable(L, idx)) {
        lua_Integer length = luaL_len(L, idx);
        for (lua_Integer i = 1; i <= length; i++) {
            lua_geti(L, idx, i);
            add_id(L, s, name, i);
            lua_pop(L, 1);
        }
    } else {
        bind_raise(L, PL_ERR_ARGUMENT, "%s is %s: a set, a token id, or a list of them is allowed",
                   name, bind_describe(L, idx));
    }
    bind_count_set(s);
    return s;
}

const uint64_t *bind_bits(lua_State *L, int arg, const char *name, size_t n) {
    id_set *s = luaL_testudata(L, arg, SET_TYPE), *fitting;
    if (s == NULL) return push_listed(L, arg, name, n)->bits;
    if (s->n > n) {
        size_t beyond = next_id(s, n);
        if (beyond < s->n)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "%s has the id %I: token ids are whole numbers from 0 to %I", name,
                       (lua_Integer)beyond, (lua_Integer)n - 1);
    }
    if (words_of(s->n) >= words_of(n)) return s->bits;
    fitting = bind_new_set(L, n);
    memcpy(fitting->bits, s->bits, words_of(s->n) * sizeof *s->bits);
    return fitting->bits;
}

/* Is there a match of the pattern at 2 in the piece of id? The function is string.find. */
static bool matches(lua_State *L, model_handle *m, int32_t id, int find) {
    gguf_string piece = tokenizer_piece(engine_model(bind_engine(L, m))->tok, id);
    bool found;
    lua_pushvalue(L, find);
    lua_pushlstring(L, piece.data, piece.size);
    lua_pushvalue(L, 2);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
        const char *why = luaL_tolstring(L, -1, NULL);
        bind_raise(L, PL_ERR_ARGUMENT, "the pattern %s: %s", bind_describe(L, 2), why);
    }
    found = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return found;
}

/* model:set(ids | pattern) --> set: a Lua pattern is looked for in the texts of tokens; control
 * tokens have none */
int bind_set(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    size_t n = bind_vocab(L, m), n_pieces;
    lua_settop(L, 2);
    if (luaL_testudata(L, 2, SET_TYPE) != NULL) return 1;
    if (lua_type(L, 2) != LUA_TSTRING) {
        if (lua_type(L, 2) != LUA_TNUMBER && !lua_istable(L, 2))
            bind_arg_error(L, 2, "ids or a pattern expected, got %s", bind_describe(L, 2));
        push_listed(L, 2, "ids", n);
        return 1;
    }
    id_set *s = bind_new_set(L, n); /* 3 */
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    lua_getfield(L, -1, "find"); /* 5 */
    n_pieces = tokenizer_size(engine_model(bind_engine(L, m))->tok);
    for (size_t i = 0; i < n_pieces && i < n; i++) {
        const tokenizer *t = engine_model(bind_engine(L, m))->tok;
        if (tokenizer_type(t, (int32_t)i) == TOKEN_CONTROL || !matches(L, m, (int32_t)i, 5))
            continue;
        s->bits[i / 64] |= (uint64_t)1 << i % 64;
    }
    bind_count_set(s);
    lua_settop(L, 3);
    return 1;
}

/* ---- operators ---- */

/* The two operands, of which one may be an id or a list, as sets at 3 and 4; pushes an empty set of
 * that size. */
static id_set *operands(lua_State *L, const char *operation, const id_set **a, const id_set **b) {
    const id_set *one = luaL_testudata(L, 1, SET_TYPE), *other = luaL_testudata(L, 2, SET_TYPE);
    size_t n = one != NULL ? one->n : other->n;
    lua_settop(L, 2);
    for (int i = 1; i <= 2; i++) {
        if (luaL_testudata(L, i, SET_TYPE) != NULL)
            lua_pushvalue(L, i);
        else
            push_listed(L, i, i == 1 ? "the left side" : "the right side", n);
    }
    *a = lua_touserdata(L, 3);
    *b = lua_touserdata(L, 4);
    if ((*a)->n != (*b)->n)
        bind_raise(L, PL_ERR_MISMATCH, "%s of a set over %I ids and one over %I", operation,
                   (lua_Integer)(*a)->n, (lua_Integer)(*b)->n);
    return bind_new_set(L, n);
}

static int set_and(lua_State *L) {
    const id_set *a, *b;
    id_set *s = operands(L, "&", &a, &b);
    for (size_t w = 0; w < words_of(s->n); w++) s->bits[w] = a->bits[w] & b->bits[w];
    bind_count_set(s);
    return 1;
}

static int set_or(lua_State *L) {
    const id_set *a, *b;
    id_set *s = operands(L, "|", &a, &b);
    for (size_t w = 0; w < words_of(s->n); w++) s->bits[w] = a->bits[w] | b->bits[w];
    bind_count_set(s);
    return 1;
}

static int set_xor(lua_State *L) {
    const id_set *a, *b;
    id_set *s = operands(L, "~", &a, &b);
    for (size_t w = 0; w < words_of(s->n); w++) s->bits[w] = a->bits[w] ^ b->bits[w];
    bind_count_set(s);
    return 1;
}

static int set_not(lua_State *L) {
    const id_set *a = check_set(L, 1);
    id_set *s = bind_new_set(L, a->n);
    for (size_t w = 0; w < words_of(s->n); w++) s->bits[w] = ~a->bits[w];
    if (s->n % 64 != 0) s->bits[words_of(s->n) - 1] &= ((uint64_t)1 << s->n % 64) - 1;
    bind_count_set(s);
    return 1;
}

static int set_eq(lua_State *L) {
    const id_set *a = luaL_testudata(L, 1, SET_TYPE), *b = luaL_testudata(L, 2, SET_TYPE);
    lua_pushboolean(L, a != NULL && b != NULL && a->n == b->n &&
                           memcmp(a->bits, b->bits, words_of(a->n) * sizeof *a->bits) == 0);
    return 1;
}

/* ---- what is in it ---- */

static int set_contains(lua_State *L) {
    const id_set *s = check_set(L, 1);
    lua_pushboolean(L, bit_at(s->bits, (size_t)bind_id_arg(L, 2, s->n)));
    return 1;
}

/* s[id], and the methods */
static int set_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER) return set_contains(L);
    check_set(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int set_newindex(lua_State *L) {
    return bind_raise(L, PL_ERR_ARGUMENT, "a set cannot be changed: & | ~ make new ones (%s)",
                      bind_describe(L, 2));
}

static int set_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_set(L, 1)->count);
    return 1;
}

/* s:ids() --> list, ascending */
static int set_ids(lua_State *L) {
    const id_set *s = check_set(L, 1);
    lua_Integer at = 0;
    lua_createtable(L, s->count < INT_MAX ? (int)s->count : INT_MAX, 0);
    for (size_t i = next_id(s, 0); i < s->n; i = next_id(s, i + 1)) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_rawseti(L, -2, ++at);
    }
    return 1;
}

/* for id in s do */
static int set_call(lua_State *L) {
    const id_set *s = check_set(L, 1);
    size_t from = lua_isnoneornil(L, 3)
                      ? 0
                      : (size_t)bind_integer_arg(L, 3, 0, (lua_Integer)s->n - 1, "the id") + 1;
    size_t id = next_id(s, from);
    if (id < s->n)
        lua_pushinteger(L, (lua_Integer)id);
    else
        lua_pushnil(L);
    return 1;
}

static int set_tostring(lua_State *L) {
    const id_set *s = check_set(L, 1);
    lua_pushfstring(L, "set (%I of %I ids)", (lua_Integer)s->count, (lua_Integer)s->n);
    return 1;
}

void bind_open_set(lua_State *L) {
    static const luaL_Reg methods[] = {{"contains", set_contains}, {"ids", set_ids}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__band", set_and}, {"__bor", set_or}, {"__bxor", set_xor}, {"__bnot", set_not},
        {"__eq", set_eq}, {"__len", set_len}, {"__call", set_call}, {"__newindex", set_newindex},
        {"__tostring", set_tostring}, {NULL, NULL}};
    bind_open_type(L, SET_TYPE, meta, methods, set_index, NULL);
}
