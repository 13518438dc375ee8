/* live.c: see live.h. */
#include "live.h"

#include "base/mem.h"

long live_before;

int note_live(void **state) {
    (void)state;
    live_before = mem_live();
    return 0;
}

int check_live(void **state) {
    (void)state;
    mem_fail_at(0);
    return mem_live() == live_before ? 0 : -1;
}
