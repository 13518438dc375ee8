/* compiler.h: what the compilers spell in their own ways. */
#ifndef PERILUNE_BASE_COMPILER_H
#define PERILUNE_BASE_COMPILER_H

#define INLINE static inline __attribute__((always_inline))

/* Before a loop of a constant number of rounds. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#endif
