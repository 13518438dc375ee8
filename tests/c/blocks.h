/* blocks.h: the quantized weight formats once more, as the tests understand them: a block as its
 * parts in the plain, what each of its weights is worth, and how the parts are packed. It shares
 * nothing with the runtime's own readers but the conversion of halves. */
#ifndef PERILUNE_TESTS_BLOCKS_H
#define PERILUNE_TESTS_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "gguf/types.h"

typedef struct {
    weight_type type;
    const char *name;
    size_t block, bytes, group; /* weights in a block; bytes; weights that share a scale */
    int zero, top;              /* codes go from 0 to top and stand for code - zero; IQ4: a level */
    int scale_low, scale_high;  /* both 1 where d is the only scale */
    int min_low, min_high;      /* both 0 without minima; both -1 where m is added as it is */
} block_kind;

#define BLOCK_KINDS 13
extern const block_kind block_kinds[BLOCK_KINDS];
const block_kind *block_kind_of(weight_type type); /* NULL: not a quantized one */

/* Weight i is d * scale[i / group] * (code[i] - zero) - m * min[i / group]. MXFP4's scale is the
 * power of two that d's exponent is. */
typedef struct {
    uint16_t d, m; /* halves */
    int scale[16], min[16];
    uint8_t code[256];
} block_parts;

void block_pack(const block_kind *k, const block_parts *p, uint8_t *out);
double block_weight(const block_kind *k, const block_parts *p, size_t i);
/* The magnitudes of the two terms added up: what rounding errors are relative to. */
double block_magnitude(const block_kind *k, const block_parts *p, size_t i);

#endif
