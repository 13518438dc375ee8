/* checked.h: size arithmetic that says when it overflows. Every size that a file or a script
 * supplies goes through these before it reaches an allocator or a pointer. */
#ifndef PERILUNE_BASE_CHECKED_H
#define PERILUNE_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns false, and leaves *out undefined, when the result does not fit. */
static inline bool checked_add(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}
static inline bool checked_mul(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}

/* The least multiple of `to` (a power of two) that is at least a. */
static inline bool checked_round_up(size_t a, size_t to, size_t *out) {
    size_t t;
    if (!checked_add(a, to - 1, &t)) return false;
    *out = t & ~(to - 1);
    return true;
}

#endif
