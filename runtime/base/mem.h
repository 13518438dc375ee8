/* mem.h: the one allocator interface of the runtime. All memory that the core takes comes through
 * here, so that a test can make the Nth allocation fail and count what was not given back. */
#ifndef PERILUNE_BASE_MEM_H
#define PERILUNE_BASE_MEM_H

#include <stddef.h>

#define MEM_ALIGN 64 /* of mem_aligned: a cache line, and the widest vector */

/* NULL when there is no memory, or n * size overflows. Zero bytes are a valid, freeable block. */
void *mem_alloc(size_t bytes);
void *mem_zalloc(size_t bytes);
void *mem_array(size_t n, size_t size);                /* n * size bytes, not cleared */
void *mem_zarray(size_t n, size_t size);
void *mem_resize(void *p, size_t n, size_t size);      /* p stays valid on failure */
/* MEM_ALIGN-aligned, not cleared; from 2 MiB up on large pages where the system has them */
void *mem_aligned(size_t bytes);
char *mem_string(const char *s, size_t n);             /* copy of n bytes, NUL-terminated */
void mem_free(void *p);                                /* of any of the above; NULL is fine */

/* Whole pages, zeroed, which the system may make large ones: for what is read from end to end again
 * and again. */
void *mem_pages(size_t bytes);
void mem_pages_free(void *p, size_t bytes);            /* NULL is fine */

/* Says to the address sanitizer, where there is one, that nobody may touch these bytes, or that one
 * may again. */
void mem_forbid(void *p, size_t bytes);
void mem_allow(void *p, size_t bytes);

/* Grows *p, an array of *capacity elements, to hold at least `need`, at least doubling. Returns 0,
 * or -1 with *p and *capacity unchanged. */
int mem_reserve(void *p_to_pointer, size_t *capacity, size_t need, size_t size);

/* For tests. The nth allocation from now on fails, once (0: none). */
void mem_fail_at(long nth);
/* Allocations asked for since the last mem_fail_at; blocks that are live now. */
long mem_asked(void);
long mem_live(void);

#endif
