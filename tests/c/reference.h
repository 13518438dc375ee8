/* reference.h: a forward pass in double precision, straight down the page, from the definitions of
 * the architectures: what the runtime is compared with where no reference logits are at hand. It
 * shares nothing with the runtime but the reader. */
#ifndef PERILUNE_TESTS_REFERENCE_H
#define PERILUNE_TESTS_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

/* Logits after each of tokens[0..n), [n][vocabulary], to be freed; context: the one the model is
 * loaded with, for models that choose RoPE factors by it. */
float *reference_logits(const char *path, const int32_t *tokens, size_t n, uint32_t context);

#endif
