/* mem.c: the runtime's allocator: libc's, counted. It owns three counters and no memory; every
 * block but whole pages is one that libc's free() takes, so all kinds go back the same way. The
 * invariant: `live` is the number of blocks handed out and not yet freed. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#define CLANG_HAS(feature) __has_feature(feature)
#else
#define CLANG_HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || CLANG_HAS(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#include "base/checked.h"

/* Relaxed: they count, and order nothing. */
static atomic_long asked;   /* allocations since mem_fail_at */
static atomic_long fail_at; /* which of them fails; 0: none */
static atomic_long live;

#define LARGE_PAGE ((size_t)2 << 20)

/* Counts one request; true when it is the one that a test wants to fail. */
static bool refused(void) {
    long nth = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    return nth == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

static void *counted(void *p) {
    if (p != NULL) atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return p;
}

/* libc may answer NULL to a request for nothing; ours is a block. */
static size_t at_least_one(size_t bytes) { return bytes ? bytes : 1; }

void *mem_alloc(size_t bytes) {
    if (refused()) return NULL;
    return counted(malloc(at_least_one(bytes)));
}

void *mem_zalloc(size_t bytes) {
    if (refused()) return NULL;
    return counted(calloc(1, at_least_one(bytes)));
}

void *mem_array(size_t n, size_t size) {
    size_t bytes;
    return checked_mul(n, size, &bytes) ? mem_alloc(bytes) : NULL;
}

void *mem_zarray(size_t n, size_t size) {
    size_t bytes;
    return checked_mul(n, size, &bytes) ? mem_zalloc(bytes) : NULL;
}

void *mem_resize(void *p, size_t n, size_t size) {
    size_t bytes;
    if (!checked_mul(n, size, &bytes) || refused()) return NULL;
    if (p == NULL) return counted(malloc(at_least_one(bytes)));
    return realloc(p, at_least_one(bytes));
}

void *mem_aligned(size_t bytes) {
    bool large = bytes >= LARGE_PAGE;
    size_t align = large ? LARGE_PAGE : MEM_ALIGN, rounded; /* to what aligned_alloc wants */
    if (!checked_round_up(at_least_one(bytes), align, &rounded) || refused()) return NULL;
    void *p = aligned_alloc(align, rounded);
    if (p && large) madvise(p, rounded, MADV_HUGEPAGE); /* where there are none, ordinary ones do */
    return counted(p);
}

char *mem_string(const char *s, size_t n) {
    size_t bytes;
    char *copy = checked_add(n, 1, &bytes) ? mem_alloc(bytes) : NULL;
    if (copy == NULL) return NULL;
    if (n != 0) memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p) {
    if (p == NULL) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    free(p);
}

/* Room for a whole number of large pages is taken, and what lies before the first one is given
 * back. */
void *mem_pages(size_t bytes) {
    size_t whole, room;
    if (!checked_round_up(at_least_one(bytes), LARGE_PAGE, &whole) ||
        !checked_add(whole, LARGE_PAGE, &room) || refused())
        return NULL;
    char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    size_t before = (LARGE_PAGE - (uintptr_t)p % LARGE_PAGE) % LARGE_PAGE;
    if (before) munmap(p, before);
    munmap(p + before + whole, LARGE_PAGE - before);
    madvise(p + before, whole, MADV_HUGEPAGE); /* where there are none, ordinary ones do */
    return counted(p + before);
}

void mem_pages_free(void *p, size_t bytes) {
    if (p == NULL) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    munmap(p, (at_least_one(bytes) + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1));
}

void mem_forbid(void *p, size_t bytes) { ASAN_POISON_MEMORY_REGION(p, bytes); }
void mem_allow(void *p, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(p, bytes); }

int mem_reserve(void *p_to_pointer, size_t *capacity, size_t need, size_t size) {
    size_t grown;
    void *p, *q;
    if (need <= *capacity) return 0;
    if (!checked_mul(*capacity, 2, &grown) || grown < need) grown = need;
    if (grown < 8 && need <= 8) grown = 8;
    memcpy(&p, p_to_pointer, sizeof p); /* a T** seen through void*: copied, not cast */
    q = mem_resize(p, grown, size);
    if (q == NULL) return -1;
    memcpy(p_to_pointer, &q, sizeof q);
    *capacity = grown;
    return 0;
}

void mem_fail_at(long nth) {
    atomic_store_explicit(&fail_at, nth, memory_order_relaxed);
    atomic_store_explicit(&asked, 0, memory_order_relaxed);
}

long mem_asked(void) { return atomic_load_explicit(&asked, memory_order_relaxed); }
long mem_live(void) { return atomic_load_explicit(&live, memory_order_relaxed); }
