/* neon.c: the kernels for 64-bit ARM with NEON and its dot products of int8 (ARMv8.2 and newer),
 * compiled with those flags. Nothing here runs before kernels.c has asked the processor. */
#if defined(__aarch64__)
#define SIMD_NEON
#define TABLE kernels_neon
#define TABLE_NAME "neon"
#include "math/kernels_impl.h"
#endif
