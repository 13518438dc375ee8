/* gguf.c: a GGUF file as a Lua value: its metadata and tensors as tables, and converted copies of
 * it. A handle owns the open file. Nothing here knows what a key means, but for those of a split
 * file, which a copy that is whole must not have. */
#include "bind/bind.h"

#include <limits.h>
#include <string.h>

#include "gguf/convert.h"
#include "gguf/gguf.h"

typedef struct {
    gguf *file;     /* NULL: closed */
    bool busy;      /* a copy is being written: its progress function must not close it */
} file_handle;

/* ---- the handle ---- */

static file_handle *test_file(lua_State *L, int arg) {
    file_handle *f = luaL_testudata(L, arg, FILE_TYPE);
    if (f == NULL) bind_arg_error(L, arg, "a GGUF file expected, got %s", bind_describe(L, arg));
    return f;
}

/* The file of a handle that has been checked; raises when it is closed. */
static gguf *opened(lua_State *L, const file_handle *f) {
    if (f->file == NULL) bind_raise(L, PL_ERR_CLOSED, "the GGUF file is closed");
    return f->file;
}

static file_handle *check_file(lua_State *L, int arg) {
    file_handle *f = test_file(L, arg);
    opened(L, f);
    return f;
}

static int file_close(lua_State *L) {
    file_handle *f = test_file(L, 1);
    gguf *file = f->file;
    if (f->busy)
        bind_raise(L, PL_ERR_ARGUMENT, "the GGUF file cannot be closed while it is converted");
    f->file = NULL;
    gguf_close(file);
    return 0;
}

/* perilune.gguf(path [, {mmap = true}]) --> file | nil, message, code */
int bind_gguf(lua_State *L) {
    static const char *const allowed[] = {"mmap", NULL};
    const char *path = bind_path_arg(L, 1);
    gguf_options o = {.map = true};
    pl_error e;
    pl_code code;
    if (bind_options_at(L, 2, "gguf", allowed)) o.map = bind_boolean_option(L, 2, "mmap", true);
    int refused = bind_model_path(L, &path);
    if (refused != 0) return refused;
    file_handle *f = lua_newuserdatauv(L, sizeof *f, 0);
    *f = (file_handle){0};
    luaL_setmetatable(L, FILE_TYPE);
    code = gguf_open(path, &o, &f->file, &e);
    return code == PL_OK ? 1 : bind_refused(L, &e);
}

/* ---- metadata ---- */

/* Pushes element i. *cursor is that of gguf_string_next. */
static void push_element(lua_State *L, const gguf_value *v, uint64_t i, size_t *cursor) {
    switch (v->type) {
    case GGUF_STRING: {
        gguf_string s = gguf_string_next(v, cursor);
        lua_pushlstring(L, s.data, s.size);
        return;
    }
    case GGUF_BOOL: lua_pushboolean(L, v->data[i] != 0); return;
    case GGUF_F32: case GGUF_F64: lua_pushnumber(L, gguf_float_at(v, i)); return;
    case GGUF_U64: {
        uint64_t u;
        memcpy(&u, v->data + i * sizeof u, sizeof u);
        if (u > INT64_MAX) lua_pushnumber(L, (lua_Number)u);
        else lua_pushinteger(L, (lua_Integer)u);
        return;
    }
    case GGUF_U8: case GGUF_I8: case GGUF_U16: case GGUF_I16: case GGUF_U32: case GGUF_I32:
    case GGUF_I64: case GGUF_ARRAY: case GGUF_VALUE_TYPES:
        lua_pushinteger(L, (lua_Integer)gguf_int_at(v, i));
    }
}

/* Pushes the value: of an array, a list of its first `limit` elements. The file that v points into
 * is held by `f`, which a finalizer may close: looked at again for every element that allocates. */
static void push_value(lua_State *L, const file_handle *f, const gguf_value *v, uint64_t limit) {
    uint64_t n = v->n < limit ? v->n : limit;
    size_t cursor = 0;
    if (!v->is_array) {
        push_element(L, v, 0, &cursor);
        return;
    }
    lua_createtable(L, n < INT_MAX ? (int)n : INT_MAX, 0);
    for (uint64_t i = 0; i < n; i++) {
        opened(L, f);
        push_element(L, v, i, &cursor);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* file:metadata([{limit = n}]) --> list of {key, type, value [, of, n]}, in the file's order */
static int file_metadata(lua_State *L) {
    static const char *const allowed[] = {"limit", NULL};
    file_handle *f = check_file(L, 1);
    lua_Integer limit = LUA_MAXINTEGER;
    if (bind_options_at(L, 2, "metadata", allowed))
        bind_integer_option(L, 2, "limit", 0, LUA_MAXINTEGER, &limit);
    lua_createtable(L, (int)gguf_n_values(opened(L, f)), 0); /* few, by GGUF_MAX_VALUES */
    for (size_t i = 0; i < gguf_n_values(opened(L, f)); i++) {
        lua_createtable(L, 0, 5);
        const gguf_value *v = gguf_value_at(opened(L, f), i);
        bool is_array = v->is_array;
        const char *type = gguf_value_type_name((uint32_t)v->type); /* a static string */
        lua_Integer n = (lua_Integer)v->n;
        lua_pushstring(L, v->key);
        lua_setfield(L, -2, "key");
        lua_pushstring(L, is_array ? "array" : type);
        lua_setfield(L, -2, "type");
        if (is_array) {
            lua_pushstring(L, type);
            lua_setfield(L, -2, "of");
            lua_pushinteger(L, n);
            lua_setfield(L, -2, "n");
        }
        push_value(L, f, gguf_value_at(opened(L, f), i), (uint64_t)limit);
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* file:get(key) --> value | nil */
static int file_get(lua_State *L) {
    file_handle *f = check_file(L, 1);
    const gguf_value *v;
    if (lua_type(L, 2) != LUA_TSTRING)
        bind_arg_error(L, 2, "a key expected, got %s", bind_describe(L, 2));
    v = gguf_find(opened(L, f), lua_tostring(L, 2));
    if (v == NULL) lua_pushnil(L);
    else push_value(L, f, v, UINT64_MAX);
    return 1;
}

/* ---- tensors ---- */

static void set_integer(lua_State *L, const char *key, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

static uint64_t n_params(const gguf_tensor *t) { /* the reader has checked the product */
    return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
}

/* file:tensors() --> list of {name, type, shape, n_params, n_bytes}, in the file's order */
static int file_tensors(lua_State *L) {
    file_handle *f = check_file(L, 1);
    lua_createtable(L, (int)gguf_n_tensors(opened(L, f)), 0); /* by GGUF_MAX_TENSORS */
    for (size_t i = 0; i < gguf_n_tensors(opened(L, f)); i++) {
        lua_createtable(L, 0, 5);
        gguf_tensor t = *gguf_tensor_at(opened(L, f), i); /* numbers; the name is gone by now, */
        lua_pushstring(L, t.name);                        /* or copied at once */
        lua_setfield(L, -2, "name");
        lua_pushstring(L, weight_format_of(t.type)->name);
        lua_setfield(L, -2, "type");
        lua_createtable(L, (int)t.n_dims, 0);
        for (uint32_t d = 0; d < t.n_dims; d++) {
            lua_pushinteger(L, (lua_Integer)t.ne[d]);
            lua_rawseti(L, -2, (lua_Integer)d + 1);
        }
        lua_setfield(L, -2, "shape");
        set_integer(L, "n_params", n_params(&t));
        set_integer(L, "n_bytes", t.n_bytes);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* file:info() --> {path, parts, version, n_bytes, n_values, n_tensors, n_params} */
static int file_info(lua_State *L) {
    file_handle *f = check_file(L, 1);
    uint64_t params = 0;
    lua_createtable(L, 0, 7);
    lua_pushstring(L, gguf_path(opened(L, f)));
    lua_setfield(L, -2, "path");
    lua_newtable(L);
    for (size_t i = 0; i < gguf_n_parts(opened(L, f)); i++) {
        lua_pushstring(L, gguf_part_path(f->file, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "parts");
    for (size_t i = 0; i < gguf_n_tensors(opened(L, f)); i++)
        params += n_params(gguf_tensor_at(f->file, i));
    set_integer(L, "n_params", params);
    set_integer(L, "version", gguf_version(opened(L, f)));
    set_integer(L, "n_bytes", gguf_file_size(opened(L, f)));
    set_integer(L, "n_values", gguf_n_values(opened(L, f)));
    set_integer(L, "n_tensors", gguf_n_tensors(opened(L, f)));
    return 1;
}

/* ---- a converted copy ---- */

static int writer_gc(lua_State *L) {
    gguf_writer **w = luaL_testudata(L, 1, WRITER_TYPE);
    if (w != NULL) {
        gguf_writer_free(*w);
        *w = NULL;
    }
    return 0;
}

/* Appends the bytes of a value of the given type, which is at idx; `key` is for the message. */
static void put_element(lua_State *L, text_buffer *b, const char *key, gguf_value_type type,
                        int idx) {
    static const struct { int64_t min, max; } ranges[GGUF_VALUE_TYPES] = {
        [GGUF_U8] = {0, UINT8_MAX}, [GGUF_I8] = {INT8_MIN, INT8_MAX}, [GGUF_U16] = {0, UINT16_MAX},
        [GGUF_I16] = {INT16_MIN, INT16_MAX}, [GGUF_U32] = {0, UINT32_MAX},
        [GGUF_I32] = {INT32_MIN, INT32_MAX}, [GGUF_U64] = {0, INT64_MAX},
        [GGUF_I64] = {INT64_MIN, INT64_MAX}};
    int is_number = 0;
    lua_Integer i = 0;
    bool fits;
    pl_error e;
    pl_code code;
    if (type == GGUF_STRING) {
        size_t n = 0;
        const char *s = lua_type(L, idx) == LUA_TSTRING ? lua_tolstring(L, idx, &n) : NULL;
        uint64_t size = n;
        fits = s != NULL && n <= GGUF_MAX_STRING;
        code = fits ? text_append(b, (const char *)&size, sizeof size, &e) : PL_OK;
        if (fits && code == PL_OK) code = text_append(b, s, n, &e);
    } else if (type == GGUF_F32 || type == GGUF_F64) {
        double d = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumberx(L, idx, &is_number) : 0;
        float single = (float)d;
        fits = is_number;
        code = type == GGUF_F32 ? text_append(b, (const char *)&single, sizeof single, &e)
                                : text_append(b, (const char *)&d, sizeof d, &e);
    } else if (type == GGUF_BOOL) {
        uint8_t byte = (uint8_t)lua_toboolean(L, idx);
        fits = lua_isboolean(L, idx);
        code = text_append(b, (const char *)&byte, 1, &e);
    } else { /* the low bytes of a little-endian number */
        if (lua_type(L, idx) == LUA_TNUMBER) i = lua_tointegerx(L, idx, &is_number);
        fits = is_number && i >= ranges[type].min && i <= ranges[type].max;
        code = text_append(b, (const char *)&i, gguf_element_size((uint32_t)type), &e);
    }
    if (code != PL_OK) bind_fail(L, &e);
    if (!fits)
        bind_raise(L, PL_ERR_ARGUMENT, "option 'metadata' gives the key '%s' %s: a value of type "
                   "%s is allowed", key, bind_describe(L, idx),
                   gguf_value_type_name((uint32_t)type));
}

/* The type that a key which is new in the file gets. */
static gguf_value_type natural_type(lua_State *L, int idx) {
    lua_Integer i;
    switch (lua_type(L, idx)) {
    case LUA_TSTRING: return GGUF_STRING;
    case LUA_TBOOLEAN: return GGUF_BOOL;
    case LUA_TNUMBER:
        if (!lua_isinteger(L, idx)) return GGUF_F32;
        i = lua_tointeger(L, idx);
        return i >= 0 && i <= UINT32_MAX ? GGUF_U32 : i >= INT32_MIN && i < 0 ? GGUF_I32 : GGUF_I64;
    default: return GGUF_VALUE_TYPES;
    }
}

/* Adds the value at idx under `key`, of the type that `old` has if there is one. */
static void add_value(lua_State *L, gguf_writer *w, const char *key, const gguf_value *old,
                      int idx) {
    gguf_value v = {.key = key, .n = 1, .is_array = lua_istable(L, idx)};
    bool as_before = old != NULL && old->is_array == v.is_array;
    v.type = old != NULL ? old->type : GGUF_VALUE_TYPES; /* `old` may go in what follows */
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    if (v.is_array) {
        v.n = lua_rawlen(L, idx);
        lua_rawgeti(L, idx, 1);
        if (old == NULL) v.type = natural_type(L, -1);
        lua_pop(L, 1);
    } else if (old == NULL) {
        v.type = natural_type(L, idx);
    }
    if (v.type == GGUF_VALUE_TYPES || (old != NULL && !as_before))
        bind_raise(L, PL_ERR_ARGUMENT, "option 'metadata' gives the key '%s' %s: %s is allowed",
                   key, bind_describe(L, idx),
                   old == NULL ? "a text, a number, true or false, or a list of one of these kinds"
                   : v.is_array ? "a single value, as in the file," : "a list, as in the file,");
    scratch *s = bind_scratch(L);
    for (uint64_t i = 1; i <= v.n; i++) {
        if (v.is_array) lua_rawgeti(L, idx, (lua_Integer)i);
        else lua_pushvalue(L, idx);
        put_element(L, &s->text, key, v.type, lua_gettop(L));
        lua_pop(L, 1);
    }
    v.data = (const uint8_t *)s->text.data;
    gguf_add_value(w, &v);
    bind_scratch_clear(s);
    lua_pop(L, 1);
}

/* Pushes a field of the table at t without its metamethods; false, and nothing, when it is nil. */
static bool push_raw(lua_State *L, int t, const char *key) {
    lua_pushstring(L, key);
    if (lua_rawget(L, t) != LUA_TNIL) return true;
    lua_pop(L, 1);
    return false;
}

/* Adds the keys of the file but for those that are dropped, then the new ones in alphabetical
 * order, so that the same call always writes the same bytes. set, drop: tables */
static void add_keys(lua_State *L, file_handle *f, gguf_writer *w, int set, int drop) {
    static const char *const of_parts[] = {"split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < gguf_n_values(opened(L, f)); i++) {
        bool dropped = false;
        const gguf_value *v = gguf_value_at(opened(L, f), i);
        for (size_t k = 0; k < sizeof of_parts / sizeof *of_parts; k++)
            dropped |= strcmp(v->key, of_parts[k]) == 0;
        const char *key = lua_pushstring(L, v->key);
        dropped = push_raw(L, drop, key) || dropped;
        if (dropped) {
            lua_settop(L, drop);
            continue;
        }
        if (push_raw(L, set, key))
            add_value(L, w, key, gguf_value_at(opened(L, f), i), lua_gettop(L));
        else
            gguf_add_value(w, gguf_value_at(opened(L, f), i));
        lua_settop(L, drop);
    }
    for (const char *last = "";;) { /* the next key in order that the file does not have */
        const char *next = NULL;
        for (lua_pushnil(L); lua_next(L, set) != 0; lua_pop(L, 1)) {
            const char *key = lua_tostring(L, -2);
            if (gguf_find(opened(L, f), key) != NULL || strcmp(key, last) <= 0) continue;
            if (next == NULL || strcmp(key, next) < 0) next = key;
        }
        if (next == NULL) return;
        push_raw(L, set, next);
        add_value(L, w, next, NULL, lua_gettop(L));
        lua_settop(L, drop);
        last = next;
    }
}

/* Pushes option `key`, a table, or an empty one. */
static void push_table_option(lua_State *L, int t, const char *key, const char *allowed) {
    int type = t != 0 ? lua_getfield(L, t, key) : (lua_pushnil(L), LUA_TNIL);
    if (type == LUA_TTABLE) return;
    if (type != LUA_TNIL)
        bind_raise(L, PL_ERR_ARGUMENT, "option '%s' is %s: %s is allowed", key,
                   bind_describe(L, -1), allowed);
    lua_pop(L, 1);
    lua_newtable(L);
}

/* Replaces the list of names on the top by a table with them as keys; raises for those that are no
 * key of the file. */
static void index_drops(lua_State *L, file_handle *f) {
    int list = lua_gettop(L);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    lua_newtable(L);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, list, i) != LUA_TSTRING ||
            gguf_find(opened(L, f), lua_tostring(L, -1)) == NULL)
            bind_raise(L, PL_ERR_ARGUMENT, "option 'drop' has %s at %I: a key of the file is "
                       "allowed", bind_describe(L, -1), i);
        lua_pushboolean(L, true);
        lua_rawset(L, list + 1);
    }
    lua_replace(L, list);
}

/* Sets the types that the table at t gives for tensors by name. types: [gguf_n_tensors] */
static void read_types(lua_State *L, file_handle *f, int t, uint32_t *types) {
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        const gguf_tensor *tensor = name != NULL ? gguf_find_tensor(opened(L, f), name) : NULL;
        if (tensor == NULL)
            bind_raise(L, PL_ERR_ARGUMENT, "option 'types' has the key %s: the name of a tensor is "
                       "allowed", bind_describe(L, -2));
        if (lua_type(L, -1) != LUA_TSTRING ||
            !weight_type_named(lua_tostring(L, -1), &types[tensor - gguf_tensor_at(f->file, 0)]))
            bind_raise(L, PL_ERR_ARGUMENT, "option 'types' gives the tensor '%s' %s: the name of a "
                       "weight type is allowed", name, bind_describe(L, -1));
    }
}

/* Raises when the table at t has a key that no GGUF file can have. */
static void check_keys(lua_State *L, int t) {
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        size_t n = lua_type(L, -2) == LUA_TSTRING ? lua_rawlen(L, -2) : 0;
        if (n == 0 || n > GGUF_MAX_KEY || strlen(lua_tostring(L, -2)) != n)
            bind_raise(L, PL_ERR_ARGUMENT, "option 'metadata' has the key %s: a text of 1 to %d "
                       "bytes without a NUL is allowed", bind_describe(L, -2), GGUF_MAX_KEY);
    }
}

/* What stands in for a progress function: a call in which a pending interrupt is noticed. */
static int no_progress(lua_State *L) {
    (void)L;
    return 0;
}

/* file:convert(path [, options]) --> true | nil, message, code */
static int file_convert(lua_State *L) {
    static const char *const allowed[] = {"types", "metadata", "drop", "threads", "progress", NULL};
    enum { PROGRESS = 3, WRITER, TYPES, SET, DROP };
    file_handle *f = check_file(L, 1);
    const char *path = bind_path_arg(L, 2);
    bind_progress progress = {.L = L, .function = PROGRESS};
    gguf_conversion how = {.progress = bind_call_progress, .user = &progress};
    lua_Integer threads = 0;
    size_t n;
    pl_error e;
    pl_code code;

    if (f->busy) bind_raise(L, PL_ERR_ARGUMENT, "the GGUF file is being converted already");
    lua_settop(L, 3);
    int options = bind_options_at(L, 3, "convert", allowed) ? 8 : 0;
    lua_settop(L, 7);
    lua_pushvalue(L, 3);            /* 8: the options, out of the way */
    lua_pushcfunction(L, no_progress);
    lua_replace(L, PROGRESS);
    gguf_writer **w = lua_newuserdatauv(L, sizeof *w, 0);
    *w = NULL;
    luaL_setmetatable(L, WRITER_TYPE);
    lua_replace(L, WRITER);
    n = gguf_n_tensors(opened(L, f));
    uint32_t *types = lua_newuserdatauv(L, (n + 1) * sizeof *types, 0);
    lua_replace(L, TYPES);
    for (size_t i = 0; i < n; i++) types[i] = gguf_tensor_at(opened(L, f), i)->type;

    if (options != 0) {
        bind_progress_option(L, options, PROGRESS);
        if (bind_integer_option(L, options, "threads", 1, TEAM_MAX, &threads))
            how.threads = (size_t)threads;
    }
    push_table_option(L, options, "types", "a table of types by the names of tensors");
    read_types(L, f, lua_gettop(L), types);
    push_table_option(L, options, "metadata", "a table of values by keys");
    check_keys(L, lua_gettop(L));
    lua_replace(L, SET);
    push_table_option(L, options, "drop", "a list of keys");
    index_drops(L, f);
    lua_replace(L, DROP);
    lua_settop(L, DROP);

    *w = gguf_writer_new();
    if (*w == NULL) {
        pl_fail(&e, PL_ERR_MEMORY, "%s: no memory to write it", path);
        return bind_refused(L, &e);
    }
    add_keys(L, f, *w, SET, DROP);
    how.types = types;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    f->busy = true;
    code = gguf_convert(opened(L, f), &how, *w, path, &e);
    f->busy = false;
    gguf_writer_free(*w);
    *w = NULL;
    if (progress.raised) return lua_error(L); /* the script's own value */
    if (code == PL_ERR_ARGUMENT) return bind_fail(L, &e);
    if (code != PL_OK) return bind_refused(L, &e);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- the type ---- */

void bind_push_weight_types(lua_State *L) {
    lua_newtable(L);
    for (uint32_t i = 0; i < TYPE_COUNT; i++) {
        const weight_format *w = weight_format_of(i);
        if (w == NULL) continue;
        lua_createtable(L, 0, 5);
        set_integer(L, "block", w->block);
        set_integer(L, "bytes", w->bytes);
        lua_pushnumber(L, 8 * (lua_Number)w->bytes / (lua_Number)w->block);
        lua_setfield(L, -2, "bits");
        lua_pushboolean(L, w->to_float != NULL);
        lua_setfield(L, -2, "reads");
        lua_pushboolean(L, w->from_float != NULL);
        lua_setfield(L, -2, "writes");
        lua_setfield(L, -2, w->name);
    }
}

static int file_tostring(lua_State *L) {
    file_handle *f = test_file(L, 1);
    if (f->file == NULL) {
        lua_pushliteral(L, "GGUF file (closed)");
        return 1;
    }
    const char *path = gguf_path(f->file), *slash = strrchr(path, '/');
    lua_pushfstring(L, "GGUF file (%s, %d tensors)", slash != NULL ? slash + 1 : path,
                    (int)gguf_n_tensors(f->file));
    return 1;
}

void bind_open_gguf(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"info", file_info}, {"metadata", file_metadata}, {"get", file_get},
        {"tensors", file_tensors}, {"convert", file_convert}, {"close", file_close},
        {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", file_close}, {"__close", file_close}, {"__tostring", file_tostring},
        {NULL, NULL}};
    bind_open_type(L, FILE_TYPE, meta, methods, NULL, NULL);
    luaL_newmetatable(L, WRITER_TYPE);
    lua_pushcfunction(L, writer_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
