/* avx2.c: the kernels for x86 with AVX2, FMA and F16C, compiled with those flags. Nothing here runs
 * before kernels.c has asked the processor. */
#if defined(__x86_64__)
#define SIMD_AVX2
#define TABLE kernels_avx2
#define TABLE_NAME "avx2"
#include "math/kernels_impl.h"
#endif
