/* reference_parts.h: what the reference's forward passes are put together from: a model file's
 * numbers, and the operations, each as its paper defines it, over n rows. Arrays belong to the
 * source and are freed with it. */
#ifndef PERILUNE_TESTS_REFERENCE_PARTS_H
#define PERILUNE_TESTS_REFERENCE_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "gguf/gguf.h"

typedef struct {
    gguf *g;
    char arch[32];
    void **owned;   /* freed at the end */
    size_t n_owned;
} source;

double *numbers(source *s, size_t n); /* zeros */
bool is(const source *s, const char *arch);
/* `archs`: names with a space between them. */
bool is_any(const source *s, const char *archs);

/* A tensor's values; NULL when the file has none of that name. */
double *tensor(source *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Its dimension i; 0 when there is none of that name. */
size_t extent(const source *s, size_t i, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Keys "ARCH.name". */
const gguf_value *key(const source *s, const char *name);
double number(const source *s, const char *name, double otherwise);
size_t whole(const source *s, const char *name, size_t otherwise);
/* Of layer l: one number for all, or an array. */
size_t whole_at(const source *s, const char *name, size_t l, size_t otherwise);

/* y[n][n_out] = x[n][n_in] W^T + b; b may be NULL */
double *linear(source *s, const double *x, size_t n, size_t n_in, const double *w, const double *b,
               size_t n_out);
/* RMSNorm of n rows (Zhang & Sennrich 2019), or LayerNorm (Ba et al. 2016); w has w_rows rows,
 * taken in turn; NULL: ones. */
double *norm(source *s, bool layer_norm, const double *x, size_t n, size_t d, const double *w,
             size_t w_rows, const double *b, double eps);
double silu(double x);
double gelu(double x); /* the tanh form */
double sigmoid(double x);
double softplus(double x);
/* Rotates heads of d at position p in place. */
void rope(const source *s, double *x, size_t n_head, size_t d, size_t n_rot, size_t p, double base,
          bool scaled, const double *factors, bool interleaved);
/* Softmax attention: q [n][H D], k and v [n][K D]; window 0: none; sinks [H] (NULL: none): a score
 * more for each head, whose value is zero. */
double *attention(source *s, const double *q, const double *k, const double *v, size_t n, size_t H,
                  size_t K, size_t D, double scale, double softcap, size_t window,
                  const double *sinks);
/* Columns [first, first + width) of [n][d]: a part of a fused result. */
double *columns(source *s, const double *x, size_t n, size_t d, size_t first, size_t width);
void add_to(double *x, const double *y, size_t n, double scale);

/* ---- reference_experts.c ---- */

/* The experts of layer l, and the shared one where there is one: [n][E]. They read u; the router
 * reads r (the same, but for Gemma 4). */
double *experts(source *s, size_t l, const double *r, const double *u, size_t n, size_t E);

/* ---- reference_recurrent.c ---- */

/* Whether layer l has one of these in place of attention. */
bool is_recurrent(const source *s, size_t l);
/* Its result for the rows u: [n][E]. */
double *recurrent(source *s, size_t l, const double *u, size_t n, size_t E);

#endif
