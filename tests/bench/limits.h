/* limits.h: what this machine can do at most, measured in the same run as what is compared with
 * it. */
#ifndef PERILUNE_BENCH_LIMITS_H
#define PERILUNE_BENCH_LIMITS_H

#include <stddef.h>

typedef struct {
    size_t threads;
    double read;    /* bytes per second, from memory on large pages, all threads */
    /* multiply-adds per second of the best integer instruction on vectors here; 0: none is known */
    double int8;
    double fp32;
    double tiles;   /* of int8 tiles, which sum 64 inputs at once; 0: there are none */
} limits;

/* Medians of several passes, with so many threads. */
limits measure_limits(size_t threads);

double bench_now(void); /* seconds */
double bench_median(double *x, size_t n); /* sorts x */

#endif
