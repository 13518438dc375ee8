/* error.c: errors as a script sees them. What is raised is a table with the metatable ERROR_TYPE:
 * `code` (base/error.h's names), `message`, `where` ("script.lua:12: " or ""), and, where a call
 * had come some way, `tokens` and `cache`; an error of on_token has its `cause` and the `traceback`
 * of that place. tostring gives where and message, so that print, assert, error and pcall treat it
 * like Lua's own. */
#include "bind/bind.h"

#include <string.h>

void bind_error_object(lua_State *L, pl_code code) {
    lua_createtable(L, 0, 5);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, pl_code_name(code));
    lua_setfield(L, -2, "code");
    luaL_where(L, 1);
    lua_setfield(L, -2, "where");
    luaL_setmetatable(L, ERROR_TYPE);
}

int bind_raise(lua_State *L, pl_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    bind_error_object(L, code);
    return lua_error(L);
}

/* Pushes where the script called the library: the innermost place outside of the folder that the
 * function at level 1 was loaded from. */
static void push_where(lua_State *L) {
    lua_Debug ar;
    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "S", &ar)) {
        const char *name = ar.source, *end = name, *found;
        while ((found = strstr(end, "/perilune/")) != NULL) end = found + 1;
        size_t folder = end > name ? (size_t)(end - name) + sizeof "perilune" : 0;
        for (int level = 1; folder > 0 && lua_getstack(L, level, &ar); level++) {
            lua_getinfo(L, "Sl", &ar);
            if (ar.currentline <= 0 || strncmp(ar.source, name, folder) == 0) continue;
            lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
    lua_pushliteral(L, "");
}

/* core.raise(code, message [, fields]): an error of what is said in Lua; it says where the script
 * called that. `fields` go into the error: tokens and cache. */
int bind_raise_from_lua(lua_State *L) {
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    bind_error_object(L, PL_ERR_ARGUMENT); /* 4 */
    lua_pushvalue(L, 1);
    lua_setfield(L, 4, "code");
    push_where(L);
    lua_setfield(L, 4, "where");
    if (lua_istable(L, 3))
        for (lua_pushnil(L); lua_next(L, 3) != 0;) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_settable(L, 4);
        }
    return lua_error(L);
}

int bind_fail(lua_State *L, const pl_error *e) { return bind_raise(L, e->code, "%s", e->message); }

/* Raises the message on the top about an argument. */
static int raise_about(lua_State *L, pl_code code, int arg) {
    lua_Debug ar;
    if (!lua_getstack(L, 0, &ar)) ar.name = NULL, ar.namewhat = "";
    else lua_getinfo(L, "n", &ar);
    if (strcmp(ar.namewhat, "method") == 0 && --arg == 0) /* the object before the colon */
        lua_pushfstring(L, "calling '%s' on a bad object (%s)", ar.name, lua_tostring(L, -1));
    else
        lua_pushfstring(L, "bad argument #%d to '%s' (%s)", arg, ar.name ? ar.name : "?",
                        lua_tostring(L, -1));
    bind_error_object(L, code);
    return lua_error(L);
}

int bind_arg_error(lua_State *L, int arg, const char *format, ...) {
    va_list args;
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    return raise_about(L, PL_ERR_ARGUMENT, arg);
}

int bind_closed_arg(lua_State *L, int arg, const char *what) {
    if (arg == 1) return bind_raise(L, PL_ERR_CLOSED, "the %s is closed", what);
    lua_pushfstring(L, "the %s is closed", what);
    return raise_about(L, PL_ERR_CLOSED, arg);
}

int bind_refused(lua_State *L, const pl_error *e) {
    luaL_pushfail(L);
    lua_pushstring(L, e->message);
    lua_pushstring(L, pl_code_name(e->code));
    return 3;
}

/* Pushes field `key` of the error at 1 as a string: "" when it is not one. Raw, so that an altered
 * object is fine. */
static void push_string_field(lua_State *L, const char *key) {
    lua_pushstring(L, key);
    if (lua_type(L, 1) != LUA_TTABLE || lua_rawget(L, 1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushliteral(L, "");
    }
}

static int error_tostring(lua_State *L) {
    push_string_field(L, "where");
    push_string_field(L, "message");
    lua_concat(L, 2);
    return 1;
}

/* "loading failed: " .. e */
static int error_concat(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

void bind_open_error(lua_State *L) {
    static const luaL_Reg meta[] = {
        {"__tostring", error_tostring}, {"__concat", error_concat}, {NULL, NULL}};
    luaL_newmetatable(L, ERROR_TYPE);
    luaL_setfuncs(L, meta, 0);
    lua_pop(L, 1);
}
