/* amx.c: the kernels for x86 with what avx512.c wants and AMX's int8 tiles, compiled with those
 * flags. Nothing here runs before kernels.c has asked the processor and the system. */
#if defined(__x86_64__)
#define SIMD_AVX512
#define SIMD_AMX
#define TABLE kernels_amx
#define TABLE_NAME "amx"
#include "math/kernels_impl.h"
#endif
