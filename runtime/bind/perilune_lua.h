/* perilune_lua.h: Perilune inside a Lua state.
 *
 * A host that embeds Lua 5.4 and links libperilune makes `require "perilune.core"` work with
 * pl_open_lua, or, when it has no pl_engine, with
 *
 *     luaL_requiref(L, "perilune.core", luaopen_perilune_core, 0);
 *     lua_pop(L, 1);
 *
 * and puts the folder lua/ of the project on package.path for `require "perilune"`. A Lua state is
 * used by one thread at a time, as ever. States on several threads that load the same file with the
 * same options share its weights; caches belong to one state. */
#ifndef PERILUNE_LUA_H
#define PERILUNE_LUA_H

#include <lua.h>

#include "perilune.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the core: pushes its table. */
PL_API int luaopen_perilune_core(lua_State *L);

/* A host may put a function into the registry under this name: perilune.load calls it with a
 * fraction from 0 to 1 while a model is loading for which the script gave no `progress`, and with
 * nothing when the loading has ended. */
#define PERILUNE_PROGRESS "perilune.progress"

/* Opens the core in L on the host's engine, on whose thread L runs: models that scripts load are
 * computed with the host's, and pl_poll moves their tasks along. Leaves nothing on the stack.
 * Before L loads a model; PL_ERR_ARGUMENT: it has one. Once the engine is freed, L goes on by
 * itself. Raises a Lua error when there is no memory. */
PL_API pl_code pl_open_lua(lua_State *L, pl_engine *engine);

/* Push a value as a script sees it; it holds a reference of its own. A cache's model becomes known
 * to L. Return 1; raise a Lua error when there is no memory. */
PL_API int pl_push_model(lua_State *L, pl_model *model);
PL_API int pl_push_cache(lua_State *L, const pl_cache *cache);

/* What a script has at index arg: a reference for the caller. NULL: it is something else, closed, L
 * is on no engine, or there is no memory. */
PL_API pl_model *pl_to_model(lua_State *L, int arg);
PL_API const pl_cache *pl_to_cache(lua_State *L, int arg);

#ifdef __cplusplus
}
#endif

#endif
