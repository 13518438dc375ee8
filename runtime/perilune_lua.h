/* perilune_lua.h: Perilune inside a Lua state.
 *
 * A host that embeds Lua 5.4 and links libperilune makes `require "perilune.core"` work with
 *
 *     luaL_requiref(L, "perilune.core", luaopen_perilune_core, 0);
 *     lua_pop(L, 1);
 *
 * and puts the folder lua/ of the project on package.path for `require "perilune"`. A Lua state is
 * used by one thread at a time, as ever; models are not shared between states. */
#ifndef PERILUNE_LUA_H
#define PERILUNE_LUA_H

#include <lua.h>

/* Opens the core: pushes its table. */
int luaopen_perilune_core(lua_State *L);

/* A host may put a function into the registry under this name: perilune.load calls it with a
 * fraction from 0 to 1 while a model is loading for which the script gave no `progress`, and with
 * nothing when the loading has ended. */
#define PERILUNE_PROGRESS "perilune.progress"

#endif
