/* live.h: a test's setup and teardown by which it fails when it leaves a block of memory behind. */
#ifndef PERILUNE_TESTS_LIVE_H
#define PERILUNE_TESTS_LIVE_H

extern long live_before;        /* blocks at the last note_live */
int note_live(void **state);
int check_live(void **state);   /* also ends what mem_fail_at has begun */

#endif
