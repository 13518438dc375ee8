/* args.c: what scripts pass in: option tables, numbers, positions, token ids, texts and lists of
 * both. Every value is checked here; a message names the argument or option, what it was and what
 * is allowed. It owns the scratch type: memory of one call that the core hands out and that must
 * survive an error. */
#include "bind/bind.h"

#include <math.h>
#include <string.h>

#define DESCRIBED_MAX 40 /* bytes of a string in a message */

void bind_open_type(lua_State *L, const char *type, const luaL_Reg *meta, const luaL_Reg *methods,
                    lua_CFunction index, const char *const *fields) {
    luaL_newmetatable(L, type);
    luaL_setfuncs(L, meta, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    for (; fields != NULL && *fields != NULL; fields++) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, *fields);
    }
    if (index != NULL) lua_pushcclosure(L, index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

const char *bind_describe(lua_State *L, int idx) {
    idx = lua_absindex(L, idx);
    switch (lua_type(L, idx)) {
    case LUA_TNONE: return lua_pushliteral(L, "nothing");
    case LUA_TNUMBER:
        if (!lua_isinteger(L, idx) && isnan(lua_tonumber(L, idx))) return lua_pushliteral(L, "NaN");
        lua_pushvalue(L, idx); /* a copy: lua_tolstring changes what it converts */
        return lua_tostring(L, -1);
    case LUA_TSTRING: {
        size_t n;
        const char *s = lua_tolstring(L, idx, &n);
        if (n <= DESCRIBED_MAX) return lua_pushfstring(L, "'%s'", s);
        lua_pushlstring(L, s, DESCRIBED_MAX);
        lua_pushfstring(L, "'%s...'", lua_tostring(L, -1));
        lua_remove(L, -2);
        return lua_tostring(L, -1);
    }
    case LUA_TBOOLEAN: return lua_pushstring(L, lua_toboolean(L, idx) ? "true" : "false");
    default: {
        const char *name;
        if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING) { /* perilune.cache: a cache */
            name = lua_tostring(L, -1);
            lua_pushfstring(L, "a %s", strncmp(name, "perilune.", 9) == 0 ? name + 9 : name);
            lua_remove(L, -2);
            return lua_tostring(L, -1);
        }
        if (lua_isnil(L, idx)) return lua_pushliteral(L, "nil");
        return lua_pushfstring(L, "a %s", luaL_typename(L, idx));
    }
    }
}

/* ---- option tables ---- */

void bind_check_options(lua_State *L, int t, const char *what, const char *const *allowed) {
    t = lua_absindex(L, t);
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        const char *const *name = allowed;
        if (lua_type(L, -2) == LUA_TSTRING) {
            const char *key = lua_tostring(L, -2);
            while (*name != NULL && strcmp(*name, key) != 0) name++;
            if (*name != NULL) continue;
        }
        luaL_Buffer b;
        const char *key = bind_describe(L, -2);
        luaL_buffinit(L, &b);
        for (name = allowed; *name != NULL; name++) {
            if (name != allowed) luaL_addstring(&b, ", ");
            luaL_addstring(&b, *name);
        }
        luaL_pushresult(&b);
        bind_raise(L, PL_ERR_ARGUMENT, "%s: unknown option %s (allowed: %s)", what, key,
                   lua_tostring(L, -1));
    }
}

bool bind_options_at(lua_State *L, int idx, const char *what, const char *const *allowed) {
    if (lua_isnoneornil(L, idx)) return false;
    if (!lua_istable(L, idx))
        bind_arg_error(L, idx, "a table of options expected, got %s", bind_describe(L, idx));
    bind_check_options(L, idx, what, allowed);
    return true;
}

/* "option 'top_p' is 1.5: a number above 0, up to 1, is allowed" */
static void bad_option(lua_State *L, const char *key, int idx, const char *allowed) {
    bind_raise(L, PL_ERR_ARGUMENT, "option '%s' is %s: %s is allowed", key, bind_describe(L, idx),
               allowed);
}

/* Pushes "a whole number from 0 to 10", without a limit that no script would reach. */
static const char *whole_number(lua_State *L, lua_Integer min, lua_Integer max) {
    if (min == LUA_MININTEGER && max == LUA_MAXINTEGER) return lua_pushliteral(L, "a whole number");
    if (max == LUA_MAXINTEGER) return lua_pushfstring(L, "a whole number of at least %I", min);
    return lua_pushfstring(L, "a whole number from %I to %I", min, max);
}

bool bind_integer_option(lua_State *L, int t, const char *key, lua_Integer min, lua_Integer max,
                         lua_Integer *out) {
    int whole;
    lua_Integer value;
    if (lua_getfield(L, t, key) == LUA_TNIL) return lua_pop(L, 1), false;
    value = lua_tointegerx(L, -1, &whole);
    if (!whole || value < min || value > max) {
        int at = lua_gettop(L);
        bad_option(L, key, at, whole_number(L, min, max));
    }
    *out = value;
    lua_pop(L, 1);
    return true;
}

bool bind_number_option(lua_State *L, int t, const char *key, double min, double max,
                        const char *allowed, double *out) {
    int number;
    double value;
    if (lua_getfield(L, t, key) == LUA_TNIL) return lua_pop(L, 1), false;
    value = lua_tonumberx(L, -1, &number);
    if (!number || !(value >= min && value <= max)) bad_option(L, key, -1, allowed);
    *out = value;
    lua_pop(L, 1);
    return true;
}

bool bind_boolean_option(lua_State *L, int t, const char *key, bool absent) {
    int type = lua_getfield(L, t, key);
    bool value = type == LUA_TNIL ? absent : lua_toboolean(L, -1);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN) bad_option(L, key, -1, "true or false");
    lua_pop(L, 1);
    return value;
}

/* ---- arguments ---- */

lua_Integer bind_integer_arg(lua_State *L, int arg, lua_Integer min, lua_Integer max,
                             const char *what) {
    int whole;
    lua_Integer value = lua_tointegerx(L, arg, &whole);
    if (!whole || value < min || value > max) {
        /* First: an argument that is missing lies where the next value is pushed. */
        const char *found = bind_describe(L, arg);
        bind_arg_error(L, arg, "%s is %s: %s is allowed", what, found, whole_number(L, min, max));
    }
    return value;
}

double bind_number_arg(lua_State *L, int arg, double min, double max, const char *allowed,
                       const char *what) {
    int number;
    double value = lua_tonumberx(L, arg, &number);
    if (!number || !(value >= min && value <= max)) {
        const char *found = bind_describe(L, arg);
        bind_arg_error(L, arg, "%s is %s: %s is allowed", what, found, allowed);
    }
    return value;
}

int32_t bind_id_arg(lua_State *L, int arg, size_t n_vocab) {
    return (int32_t)bind_integer_arg(L, arg, 0, (lua_Integer)n_vocab - 1, "the token id");
}

/* One end of a range, with negative ones counted from the end: -1 is n. */
static lua_Integer position_arg(lua_State *L, int arg, size_t n, lua_Integer absent) {
    int whole;
    lua_Integer i;
    if (lua_isnoneornil(L, arg)) return absent;
    i = lua_tointegerx(L, arg, &whole);
    if (!whole)
        bind_arg_error(L, arg, "the position is %s: a whole number is allowed",
                       bind_describe(L, arg));
    if (i >= 0) return i;
    return i < -(lua_Integer)n ? -1 : i + (lua_Integer)n + 1; /* -1: before the first */
}

void bind_range_args(lua_State *L, int arg, size_t n, size_t min, bool clip, size_t *first,
                     size_t *last) {
    lua_Integer least = (lua_Integer)min, most = (lua_Integer)n;
    lua_Integer i = position_arg(L, arg, n, least), j = position_arg(L, arg + 1, n, most);
    if (clip) {
        if (i < least) i = least;
        if (j > most) j = most;
        if (i > most) i = most + 1;
        if (j < least) j = least - 1;
    } else if (i < least || (i > most && !lua_isnoneornil(L, arg))) {
        bind_arg_error(L, arg, "position %s: %I to %I are allowed in a cache of %I tokens",
                       bind_describe(L, arg), least, most, most);
    } else if (j > most || j < 0) {
        bind_arg_error(L, arg + 1, "position %s: %I to %I are allowed in a cache of %I tokens",
                       bind_describe(L, arg + 1), least, most, most);
    }
    *first = (size_t)i;
    *last = (size_t)j;
}

const char *bind_path_arg(lua_State *L, int arg) {
    size_t n;
    const char *path;
    if (lua_type(L, arg) != LUA_TSTRING)
        bind_arg_error(L, arg, "a path expected, got %s", bind_describe(L, arg));
    path = lua_tolstring(L, arg, &n);
    if (strlen(path) != n) bind_arg_error(L, arg, "the path '%s...' has a NUL in it", path);
    return path;
}

/* ---- progress ---- */

void bind_progress_option(lua_State *L, int t, int idx) {
    if (lua_getfield(L, t, "progress") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    if (lua_type(L, -1) != LUA_TFUNCTION)
        bind_raise(L, PL_ERR_ARGUMENT, "option 'progress' is %s: a function is allowed",
                   bind_describe(L, -1));
    lua_replace(L, idx);
}

bool bind_call_progress(void *user, double fraction) {
    bind_progress *p = user;
    bool go_on;
    if (p->raised) return false;
    lua_pushvalue(p->L, p->function);
    lua_pushnumber(p->L, fraction);
    if (lua_pcall(p->L, 1, 1, 0) != LUA_OK) return p->raised = true, false;
    go_on = !lua_isboolean(p->L, -1) || lua_toboolean(p->L, -1);
    lua_pop(p->L, 1);
    return go_on;
}

/* ---- scratch ---- */

scratch *bind_scratch(lua_State *L) {
    scratch *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (scratch){0};
    luaL_setmetatable(L, SCRATCH_TYPE);
    return s;
}

void bind_scratch_clear(scratch *s) {
    id_list_free(&s->ids);
    text_free(&s->text);
    *s = (scratch){0};
}

static int scratch_gc(lua_State *L) {
    scratch *s = luaL_testudata(L, 1, SCRATCH_TYPE);
    if (s != NULL) bind_scratch_clear(s);
    return 0;
}

void bind_open_args(lua_State *L) {
    luaL_newmetatable(L, SCRATCH_TYPE);
    lua_pushcfunction(L, scratch_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

/* ---- ids and texts ---- */

/* The id at idx, which is a number; `name` and `at` (0: not in a list) are for the message. */
static int32_t checked_id(lua_State *L, int idx, const char *name, lua_Integer at, size_t n_vocab) {
    int whole;
    lua_Integer id = lua_tointegerx(L, idx, &whole);
    if (!whole || id < 0 || (lua_Unsigned)id >= n_vocab) {
        const char *found = bind_describe(L, idx);
        const char *place = at != 0 ? lua_pushfstring(L, "%s[%I]", name, at) : name;
        bind_raise(L, PL_ERR_ARGUMENT, "%s is %s: token ids are whole numbers from 0 to %I", place,
                   found, (lua_Integer)n_vocab - 1);
    }
    return (int32_t)id;
}

/* Appends the ids of the text at idx. An empty text adds nothing, BOS neither: it is no input. */
static void add_text(lua_State *L, int idx, model_handle *m, bool start, scratch *s) {
    size_t n;
    const char *text = lua_tolstring(L, idx, &n);
    encode_options o = {.bos = start, .start = start};
    pl_error e;
    if (n == 0) return;
    if (tokenizer_encode(engine_model(bind_engine(L, m))->tok, text, n, o, &s->ids, &e) != PL_OK)
        bind_fail(L, &e);
}

void bind_ids(lua_State *L, int idx, const char *name, model_handle *m, bool texts, bool empty,
              scratch *s) {
    size_t n_vocab = bind_vocab(L, m);
    pl_error e;
    idx = lua_absindex(L, idx);
    switch (lua_type(L, idx)) {
    case LUA_TNUMBER:
        if (id_list_push(&s->ids, checked_id(L, idx, name, 0, n_vocab), &e) != PL_OK)
            bind_fail(L, &e);
        return;
    case LUA_TSTRING:
        if (!texts) break;
        add_text(L, idx, m, empty, s);
        return;
    case LUA_TTABLE: {
        lua_Integer n = luaL_len(L, idx);
        for (lua_Integer i = 1; i <= n; i++) {
            int type = lua_geti(L, idx, i);
            if (type == LUA_TNUMBER) {
                if (id_list_push(&s->ids, checked_id(L, -1, name, i, n_vocab), &e) != PL_OK)
                    bind_fail(L, &e);
            } else if (type == LUA_TSTRING && texts) {
                add_text(L, lua_gettop(L), m, empty && s->ids.n == 0, s);
            } else {
                bind_raise(L, PL_ERR_ARGUMENT, "%s[%I] is %s: %s is allowed", name, i,
                           bind_describe(L, -1), texts ? "a token id or a text" : "a token id");
            }
            lua_pop(L, 1);
        }
        return;
    }
    default: break;
    }
    bind_raise(L, PL_ERR_ARGUMENT, "%s is %s: %s is allowed", name, bind_describe(L, idx),
               texts ? "a text, a token id, or a list of them" : "a token id or a list of them");
}

void bind_push_ids(lua_State *L, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) { /* into the table on the top: nothing here runs a finalizer */
        lua_pushinteger(L, ids[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}
