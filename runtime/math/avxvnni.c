/* avxvnni.c: the kernels for x86 with AVX2, FMA, F16C and AVX-VNNI, compiled with those flags.
 * Nothing here runs before kernels.c has asked the processor. */
#if defined(__x86_64__)
#define SIMD_AVX2
#define SIMD_VNNI
#define TABLE kernels_avxvnni
#define TABLE_NAME "avxvnni"
#include "math/kernels_impl.h"
#endif
