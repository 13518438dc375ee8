/* system.h: what the machine has to give: memory, time, threads. */
#ifndef PERILUNE_BASE_SYSTEM_H
#define PERILUNE_BASE_SYSTEM_H

#include <pthread.h>
#include <stddef.h>

/* Bytes of memory that can be had without swapping, as the kernel estimates them (MemAvailable);
 * half the physical memory where it does not say. */
size_t system_memory_available(void);

/* Seconds of a clock that only goes forward (CLOCK_MONOTONIC). */
double system_seconds(void);

/* Starts a thread that blocks all signals: they belong to the host's own threads. 0, or an
 * errno. */
int system_thread(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
