/* logits.c: see logits.h. A vocabulary is gone through in blocks: a block whose largest entry (by
 * the vector kernels) is too small is not looked into. */
#include "decode/logits.h"

#define CHUNK 1024      /* entries whose exponentials are summed at once */
#define BLOCK 128       /* entries that share a maximum, */
/* for vocabularies of up to BLOCK times so many; larger ones have larger blocks */
#define BLOCKS_MAX 4096
#define SELECT_MAX 1024 /* most candidates that are chosen by maxima of blocks */

static size_t part(size_t n, size_t i, size_t size) { return n - i < size ? n - i : size; }

/* ---- reductions ---- */

int32_t logits_argmax(const kernels *math, const float *l, size_t n) {
    float max = math->max(l, n);
    for (size_t i = 0; i < n; i++)
        if (l[i] == max) return (int32_t)i;
    return 0; /* nothing but NaN */
}

double logits_logsumexp(const kernels *math, const float *l, size_t n) {
    float max = math->max(l, n);
    if (isinf(max)) return (double)max;
    return (double)max + log(math->sum_exp(l, n, max));
}

/* With S = sum exp(l - max): log S - sum exp(l - max) (l - max) / S. */
double logits_entropy(const kernels *math, const float *l, size_t n) {
    float max = math->max(l, n), e[CHUNK];
    double sum[4] = {0}, weighted[4] = {0};
    if (isinf(max)) return 0;
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t m = part(n, i, CHUNK);
        math->exp(l + i, m, max, e);
        for (size_t k = 0; k < m; k++) {
            sum[k % 4] += (double)e[k];
            if (l[i + k] > -INFINITY)
                weighted[k % 4] += (double)e[k] * ((double)l[i + k] - (double)max);
        }
    }
    double s = sum[0] + sum[1] + sum[2] + sum[3],
           w = weighted[0] + weighted[1] + weighted[2] + weighted[3];
    double h = log(s) - w / s;
    return h > 0 ? h : 0;
}

double logits_kl(const kernels *math, const float *l, size_t n, const float *m, size_t n_m) {
    float max = math->max(l, n), e[CHUNK];
    double sum = 0, zl = logits_logsumexp(math, l, n), zm = logits_logsumexp(math, m, n_m);
    if (isinf(max)) return 0;
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t c = part(n, i, CHUNK);
        math->exp(l + i, c, max, e);
        for (size_t k = 0; k < c; k++) {
            if (!(e[k] > 0)) continue;
            double q = i + k < n_m ? (double)m[i + k] - zm : -INFINITY;
            sum += (double)e[k] * ((double)l[i + k] - zl - q);
        }
    }
    sum *= exp((double)max - zl);
    return sum > 0 ? sum : 0;
}

/* ---- the best ---- */

void logits_sift(const float *l, int32_t *heap, size_t n, size_t i, bool worst) {
    int32_t x = heap[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && logits_before(l, heap[c + 1], heap[c]) != worst) c++;
        if (logits_before(l, x, heap[c]) != worst) break;
        heap[i] = heap[c];
    }
    heap[i] = x;
}

void logits_heapify(const float *l, int32_t *heap, size_t n, bool worst) {
    for (size_t i = n / 2; i-- > 0;) logits_sift(l, heap, n, i, worst);
}

/* A number that at least k entries reach, near the kth largest: the kth largest of the maxima of
 * blocks, which it writes to tops [n / block, rounded up]. */
static float reached_by(const kernels *math, const float *l, size_t n, size_t block, size_t k,
                        float *tops) {
    int32_t best[SELECT_MAX];
    size_t n_blocks = 0;
    for (size_t i = 0; i < n; i += block) tops[n_blocks++] = math->max(l + i, part(n, i, block));
    for (size_t i = 0; i < k; i++) best[i] = (int32_t)i;
    logits_heapify(tops, best, k, true);
    for (size_t i = k; i < n_blocks; i++) {
        if (!logits_before(tops, (int32_t)i, best[0])) continue;
        best[0] = (int32_t)i;
        logits_sift(tops, best, k, 0, true);
    }
    return tops[best[0]];
}

/* Puts id into the heap of the k best so far, *m of them. */
static void offer(const float *l, int32_t *heap, size_t *m, size_t k, int32_t id) {
    if (*m < k) {
        heap[(*m)++] = id;
        if (*m == k) logits_heapify(l, heap, k, true);
    } else if (logits_before(l, id, heap[0])) {
        heap[0] = id;
        logits_sift(l, heap, k, 0, true);
    }
}

size_t logits_best(const kernels *math, const float *l, size_t n, size_t k, int32_t *ids) {
    float tops[BLOCKS_MAX], least = -INFINITY;
    size_t block = n / BLOCK < BLOCKS_MAX ? BLOCK : n / BLOCKS_MAX + 1,
           n_blocks = (n + block - 1) / block, m = 0;
    if (k > n) k = n;
    if (k == 0) return 0;
    if (k <= SELECT_MAX && 2 * k <= n_blocks) least = reached_by(math, l, n, block, k, tops);
    if (least > -INFINITY) {
        for (size_t b = 0; b < n_blocks; b++) {
            if (!(tops[b] >= least)) continue;
            for (size_t i = b * block, end = i + part(n, i, block); i < end; i++)
                if (l[i] >= least) offer(l, ids, &m, k, (int32_t)i);
        }
    } else {
        for (size_t i = 0; i < n; i++) offer(l, ids, &m, k, (int32_t)i);
    }
    for (size_t left = k; left-- > 1;) { /* the worst goes to the end */
        int32_t worst = ids[0];
        ids[0] = ids[left];
        ids[left] = worst;
        logits_sift(l, ids, left, 0, true);
    }
    return k;
}

size_t logits_top(const kernels *math, const float *l, size_t n, size_t k, int32_t *ids,
                  float *logprobs) {
    double z = logits_logsumexp(math, l, n);
    k = logits_best(math, l, n, k, ids);
    for (size_t i = 0; i < k; i++) logprobs[i] = (float)((double)l[ids[i]] - z);
    return k;
}

/* ---- drawing ---- */

/* The first chunk from `at` on that has one of the ids, of which *next is the next to look at; n:
 * there is none. */
static size_t chunk_from(size_t at, size_t n, const int32_t *ids, size_t n_ids, size_t *next) {
    if (!ids) return at;
    while (*next < n_ids && (size_t)ids[*next] < at) (*next)++;
    return *next < n_ids ? (size_t)ids[*next] / CHUNK * CHUNK : n;
}

/* Walks sums of chunks, then the entries of one. A chunk that is masked would add 0: leaving it out
 * changes no bit. */
int32_t logits_draw(const kernels *math, const float *l, size_t n, const int32_t *ids, size_t n_ids,
                    double u) {
    float max = math->max(l, n);
    double total = 0, sum = 0;
    size_t at = n, last = 0, next = 0;
    if (!isfinite(max)) return logits_argmax(math, l, n);
    for (size_t i = 0; (i = chunk_from(i, n, ids, n_ids, &next)) < n; i += CHUNK)
        total += math->sum_exp(l + i, part(n, i, CHUNK), max);
    if (!(total > 0)) return logits_argmax(math, l, n); /* a NaN among them */
    double goal = u * total, before = 0;
    next = 0;
    for (size_t i = 0; (i = chunk_from(i, n, ids, n_ids, &next)) < n; i += CHUNK) {
        before = sum, at = i;
        sum += math->sum_exp(l + i, part(n, i, CHUNK), max);
        if (sum > goal) break;
    }
    sum = before;
    for (size_t i = at; i < n; i++) {
        if (!(l[i] > -INFINITY)) continue;
        last = i;
        sum += math->sum_exp(l + i, 1, max);
        if (sum > goal) return (int32_t)i;
        if (i - at >= CHUNK) break; /* rounding: the chunk's sum said it ends in here */
    }
    if (l[last] > -INFINITY) return (int32_t)last;
    return logits_argmax(math, l, n);
}

/* ---- probabilities ---- */

void logits_probs(const kernels *math, const float *l, size_t n, float *p) {
    float max = math->max(l, n);
    if (isinf(max)) {
        for (size_t i = 0; i < n; i++) p[i] = max > 0 && l[i] == max ? 1 : 0;
        return;
    }
    math->exp(l, n, max, p);
    math->scale(p, n, (float)(1 / math->sum_exp(l, n, max)));
}

/* Of one chunk: four sums side by side. */
static double chunk_sum(const float *p, size_t n) {
    double sum[4] = {0};
    for (size_t i = 0; i < n; i++) sum[i % 4] += (double)p[i];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double probs_sum(const float *p, size_t n, int32_t *negative) {
    double sum = 0;
    *negative = -1;
    for (size_t i = 0; i < n; i += CHUNK) sum += chunk_sum(p + i, part(n, i, CHUNK));
    for (size_t i = 0; i < n && *negative < 0; i++)
        if (p[i] < 0) *negative = (int32_t)i;
    return sum;
}

int32_t probs_draw(const float *p, size_t n, double sum, double u) {
    double goal = u * sum, before = 0;
    size_t at = 0, last = 0;
    for (; at + CHUNK < n; at += CHUNK) {
        double next = before + chunk_sum(p + at, CHUNK);
        if (next > goal) break;
        before = next;
    }
    for (size_t i = at; i < n; i++) {
        if (!(p[i] > 0)) continue;
        last = i;
        before += (double)p[i];
        if (before > goal) return (int32_t)i;
    }
    while (last > 0 && !(p[last] > 0)) last--;
    for (size_t i = at; i-- > 0 && !(p[last] > 0);)
        last = i; /* rounding: the last one that there is */
    return (int32_t)last;
}
