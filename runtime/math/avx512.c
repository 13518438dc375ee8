/* avx512.c: the kernels for x86 with AVX-512 F, BW, VL, DQ and VNNI, compiled with those flags.
 * Nothing here runs before kernels.c has asked the processor. */
#if defined(__x86_64__)
#define SIMD_AVX512
#define TABLE kernels_avx512
#define TABLE_NAME "avx512"
#include "math/kernels_impl.h"
#endif
