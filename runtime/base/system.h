/* system.h: what the machine has to give. */
#ifndef PERILUNE_BASE_SYSTEM_H
#define PERILUNE_BASE_SYSTEM_H

#include <stddef.h>

/* Bytes of memory that can be had without swapping, as the kernel estimates them (MemAvailable); half the physical
 * memory where it does not say. */
size_t system_memory_available(void);

#endif
