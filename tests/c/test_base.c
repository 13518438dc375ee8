/* test_base.c: errors, checked arithmetic, the allocator, files, hashing, and teams of threads. */
#include "live.h"
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/team.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

/* ---- errors ---- */

TEST(an_error_holds_its_code_and_message) {
    pl_error e;
    assert_int_equal(pl_fail(&e, PL_ERR_FORMAT, "found %d, expected %d", 3, 4), PL_ERR_FORMAT);
    assert_int_equal(e.code, PL_ERR_FORMAT);
    assert_string_equal(e.message, "found 3, expected 4");
    assert_int_equal(pl_error_prefix(&e, "key '%s'", "k"), PL_ERR_FORMAT);
    assert_string_equal(e.message, "key 'k': found 3, expected 4");
    pl_fail(&e, PL_ERR_IO, "again: %s", e.message); /* its own message among the arguments */
    assert_string_equal(e.message, "again: key 'k': found 3, expected 4");
    assert_int_equal(pl_fail(NULL, PL_ERR_POOL, "unseen"), PL_ERR_POOL);
    assert_int_not_equal(pl_error_prefix(NULL, "unseen"), PL_OK);
}

TEST(a_message_is_one_line_of_valid_utf8) {
    static const struct { const char *in, *out; } cases[] = {
        {"caf\xC3\xA9 \xE6\x97\xA5 \xF0\x9F\x8C\x99", "caf\xC3\xA9 \xE6\x97\xA5 \xF0\x9F\x8C\x99"},
        {"a\nb\tc\x7F", "a b c "},
        {"\xFF\xC0\xAF\x80 \xED\xA0\x80", "???? ???"}, /* no lead, overlong, stray, surrogate */
        {"\xF4\x90\x80\x80\xE0\x80\x80", "???????"},   /* past U+10FFFF, overlong */
        {"\xC3", "?"},
    };
    pl_error e;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pl_fail(&e, PL_ERR_IO, "%s", cases[i].in);
        assert_string_equal(e.message, cases[i].out);
    }
}

TEST(a_message_that_is_too_long_is_cut_between_characters) {
    char text[2 * PL_ERROR_MESSAGE_MAX + 1];
    pl_error e;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) memcpy(text + i, "\xF0\x9F\x8C\x99", 5);
        pl_fail(&e, PL_ERR_IO, "%s", text);
        size_t n = strlen(e.message);
        assert_int_equal((n - shift) % 4, 0);
        assert_true(n > PL_ERROR_MESSAGE_MAX - 5);
        assert_memory_equal(e.message, text, n);
    }
}

TEST(every_code_has_its_own_name) {
    for (int i = PL_OK; i <= PL_ERR_CALLBACK; i++) {
        assert_string_not_equal(pl_code_name((pl_code)i), "?");
        for (int j = PL_OK; j < i; j++)
            assert_string_not_equal(pl_code_name((pl_code)i), pl_code_name((pl_code)j));
    }
}

/* ---- memory ---- */

TEST(checked_arithmetic_says_when_it_overflows) {
    size_t x;
    assert_true(checked_add(SIZE_MAX - 1, 1, &x) && x == SIZE_MAX);
    assert_false(checked_add(SIZE_MAX, 1, &x));
    assert_true(checked_mul(SIZE_MAX / 3, 3, &x));
    assert_false(checked_mul(SIZE_MAX / 2 + 1, 2, &x));
    assert_true(checked_round_up(0, 32, &x) && x == 0);
    assert_true(checked_round_up(33, 32, &x) && x == 64);
    assert_false(checked_round_up(SIZE_MAX - 30, 32, &x));
}

TEST(blocks_of_every_kind_are_counted_and_given_back) {
    long before = mem_live();
    void *p[] = {mem_alloc(10),     mem_alloc(0),   mem_zalloc(7),   mem_array(3, 5),
                 mem_zarray(3, 5),  mem_aligned(1), mem_aligned(65), mem_string("abc", 2),
                 mem_resize(NULL, 4, 4)};
    size_t n = sizeof p / sizeof p[0];
    for (size_t i = 0; i < n; i++) assert_non_null(p[i]);
    assert_int_equal(mem_live(), before + (long)n);
    assert_memory_equal(p[2], "\0\0\0\0\0\0\0", 7);
    assert_int_equal((uintptr_t)p[5] % MEM_ALIGN, 0);
    assert_int_equal((uintptr_t)p[6] % MEM_ALIGN, 0);
    memset(p[6], 1, 65);
    assert_string_equal(p[7], "ab");
    p[7] = mem_resize(p[7], 1000, 10);
    assert_memory_equal(p[7], "ab", 3);
    for (size_t i = 0; i < n; i++) mem_free(p[i]);
    mem_free(NULL);
    assert_int_equal(mem_live(), before);
}

TEST(a_large_aligned_block_begins_on_a_large_page) {
    const size_t page = (size_t)2 << 20, sizes[] = {page, page + 1, 3 * page - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        long before = mem_live();
        uint8_t *p = mem_aligned(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % page, 0);
        memset(p, 1, sizes[i]);
        mem_free(p);
        assert_int_equal(mem_live(), before);
    }
}

TEST(sizes_that_overflow_are_refused) {
    void *p = mem_alloc(1);
    assert_null(mem_array(SIZE_MAX / 2, 3));
    assert_null(mem_zarray(SIZE_MAX / 2, 3));
    assert_null(mem_aligned(SIZE_MAX - 5));
    assert_null(mem_aligned(SIZE_MAX - ((size_t)1 << 20)));
    assert_null(mem_string("", SIZE_MAX));
    assert_null(mem_resize(p, SIZE_MAX / 2, 3)); /* p stays */
    mem_free(p);
}

TEST(the_nth_allocation_fails_once) {
    void *p, *q = mem_alloc(4);
    mem_fail_at(2);
    p = mem_alloc(1);
    assert_non_null(p);
    assert_null(mem_resize(q, 2, 4));
    mem_free(p);
    p = mem_aligned(1);
    assert_non_null(p);
    assert_int_equal(mem_asked(), 3);
    mem_fail_at(0);
    mem_free(p);
    mem_free(q);
}

TEST(reserve_grows_to_at_least_double) {
    uint16_t *p = NULL;
    size_t capacity = 0;
    assert_int_equal(mem_reserve(&p, &capacity, 100, sizeof *p), 0);
    assert_true(capacity >= 100);
    p[99] = 7;
    size_t before = capacity;
    assert_int_equal(mem_reserve(&p, &capacity, before, sizeof *p), 0);
    assert_int_equal(capacity, before);
    assert_int_equal(mem_reserve(&p, &capacity, before + 1, sizeof *p), 0);
    assert_true(capacity >= 2 * before);
    assert_int_equal(p[99], 7);
    uint16_t *old = p;
    before = capacity;
    mem_fail_at(1);
    assert_int_equal(mem_reserve(&p, &capacity, before + 1, sizeof *p), -1);
    assert_int_equal(mem_reserve(&p, &capacity, SIZE_MAX, sizeof *p), -1);
    assert_ptr_equal(p, old);
    assert_int_equal(capacity, before);
    mem_free(p);
}

/* ---- files ---- */

/* Files in the temporary folder, to see that nothing is left behind. */
static size_t n_files(void) {
    size_t n = 0;
    DIR *d = opendir(temp_folder());
    assert_non_null(d);
    while (readdir(d) != NULL) n++;
    closedir(d);
    return n;
}

TEST(a_file_is_the_same_mapped_and_read) {
    const char *path = temp_path(".bin");
    size_t size = 1000003;
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++) data[i] = (char)(i * 7919 >> 3);
    write_whole(path, data, size);
    for (int map = 0; map < 2; map++) {
        file_view v;
        pl_error e;
        assert_int_equal(file_view_open(path, map, &v, &e), PL_OK);
        assert_int_equal(v.size, size);
        assert_int_equal(v.mapped, map);
        assert_memory_equal(v.data, data, size);
        file_view_close(&v);
        assert_null(v.data);
    }
    free(data);
}

TEST(an_empty_file_is_empty) {
    const char *path = temp_path(".bin");
    write_whole(path, "", 0);
    for (int map = 0; map < 2; map++) {
        file_view v;
        assert_int_equal(file_view_open(path, map, &v, NULL), PL_OK);
        assert_null(v.data);
        assert_int_equal(v.size, 0);
        file_view_close(&v);
    }
}

TEST(what_is_no_regular_file_is_refused) {
    const char *pipe = temp_path(".fifo"), *missing = temp_path(".missing");
    file_view v;
    file_out *out;
    pl_error e;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(file_view_open(missing, true, &v, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, missing));
    assert_non_null(strstr(e.message, strerror(ENOENT)));
    assert_int_equal(file_view_open(temp_folder(), true, &v, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, "a directory"));
    assert_int_equal(file_view_open(pipe, true, &v, &e), PL_ERR_IO); /* and does not wait */
    assert_non_null(strstr(e.message, "a pipe"));
    assert_int_equal(file_view_open("/dev/null", false, &v, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, "a device"));
    assert_int_equal(file_out_open("/dev/null", &out, &e), PL_ERR_IO);
    assert_int_equal(file_out_open(temp_folder(), &out, &e), PL_ERR_IO);
    assert_int_equal(file_out_open("/nonexistent/folder/file", &out, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, "/nonexistent/folder/file"));
}

TEST(a_file_appears_whole_when_it_is_committed) {
    const char *path = temp_path(".out");
    char *back, *big = malloc(300000);
    file_out *out;
    pl_error e;
    struct stat st;
    size_t size;

    memset(big, 'b', 300000);
    write_whole(path, "old", 3);
    assert_int_equal(chmod(path, 0600), 0);
    size_t files = n_files();
    assert_int_equal(file_out_open(path, &out, &e), PL_OK);
    for (int i = 0; i < 100000; i++) assert_int_equal(file_out_write(out, "abc", 3, &e), PL_OK);
    assert_int_equal(file_out_write(out, big, 300000, &e), PL_OK);
    assert_int_equal(file_out_write(out, NULL, 0, &e), PL_OK);
    back = read_whole(path, &size);
    assert_string_equal(back, "old");
    free(back);
    assert_int_equal(file_out_commit(out, &e), PL_OK);
    back = read_whole(path, &size);
    assert_int_equal(size, 600000);
    for (size_t i = 0; i < 300000; i++) assert_int_equal(back[i], "abc"[i % 3]);
    assert_memory_equal(back + 300000, big, 300000);
    assert_int_equal(n_files(), files);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600); /* as the file it replaced */
    free(back);
    free(big);

    path = temp_path(".out");
    assert_int_equal(file_out_open(path, &out, &e), PL_OK);
    assert_int_equal(file_out_commit(out, &e), PL_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(st.st_size, 0);
}

TEST(an_aborted_file_leaves_the_old_one_and_nothing_else) {
    const char *path = temp_path(".out");
    file_out *out;
    write_whole(path, "old", 3);
    size_t files = n_files();
    assert_int_equal(file_out_open(path, &out, NULL), PL_OK);
    assert_int_equal(file_out_write(out, "new", 3, NULL), PL_OK);
    file_out_abort(out);
    file_out_abort(NULL);
    char *back = read_whole(path, NULL);
    assert_string_equal(back, "old");
    assert_int_equal(n_files(), files);
    free(back);
}

TEST(a_file_that_does_not_fit_is_not_committed) {
    const char *path = temp_path(".out");
    static const char block[200000];
    struct rlimit before, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    file_out *out;
    pl_error e;
    write_whole(path, "old", 3);
    size_t files = n_files();
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 100000;
    for (int large = 0; large < 2; large++) { /* fails in write, fails in commit */
        assert_int_equal(file_out_open(path, &out, &e), PL_OK);
        setrlimit(RLIMIT_FSIZE, &small);
        pl_code wrote = PL_OK;
        for (int i = 0; i < 5; i++) wrote = file_out_write(out, block, large ? 200000 : 25000, &e);
        if (large) assert_int_equal(wrote, PL_ERR_IO);
        pl_code committed = file_out_commit(out, &e);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_int_equal(committed, PL_ERR_IO);
        assert_non_null(strstr(e.message, path));
        assert_non_null(strstr(e.message, strerror(EFBIG)));
        char *back = read_whole(path, NULL);
        assert_string_equal(back, "old");
        free(back);
        assert_int_equal(n_files(), files);
    }
    signal(SIGXFSZ, handler);
}

TEST(files_survive_failing_allocations) {
    const char *path = temp_path(".out");
    file_view v;
    file_out *out;
    pl_error e;
    write_whole(path, "old", 3);
    size_t files = n_files();
    for (long n = 1;; n++) {
        mem_fail_at(n);
        pl_code code = file_out_open(path, &out, &e);
        if (code == PL_OK) {
            file_out_abort(out);
            assert_true(n > 3);
            break;
        }
        assert_int_equal(code, PL_ERR_MEMORY);
        assert_null(out);
        assert_int_equal(n_files(), files);
    }
    mem_fail_at(1);
    assert_int_equal(file_view_open(path, false, &v, &e), PL_ERR_MEMORY);
    assert_null(v.data);
}

/* ---- hashing ---- */

TEST(xxh64_gives_the_published_values) {
    /* Strings: documentation of the python binding. Buffers: sanity checks of xxHash itself. */
    static const struct { const char *text; uint64_t seed, hash; } strings[] = {
        {"", 0, 0xEF46DB3751D8E999}, {"a", 0, 0xD24EC4F1A98C6E5B}, {"abc", 0, 0x44BC2CF5AD770999},
        {"xxhash", 20141025, 0xB559B98D844E0635},
        {"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1},
    };
    static const struct { size_t n; uint64_t seed, hash; } buffers[] = {
        {0, 2654435761, 0xAC75FDA2929B17EF},  {1, 0, 0xE934A84ADB052768},
        {1, 2654435761, 0x5014607643A9B4C3},  {4, 0, 0x9136A0DCA57457EE},
        {14, 0, 0x8282DCC4994E35C8},          {14, 2654435761, 0xC3BD6BF63DEB6DF0},
        {222, 0, 0xB641AE8CB691C174},         {222, 2654435761, 0x20CB8AB7AE10C14A},
    };
    uint8_t buffer[222 + 1];
    uint64_t x = 2654435761;
    for (size_t i = 0; i < 222; i++, x *= 11400714785074694797U) buffer[i] = (uint8_t)(x >> 56);
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        assert_true(hash_bytes(strings[i].text, strlen(strings[i].text), strings[i].seed) ==
                    strings[i].hash);
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        assert_true(hash_bytes(buffer, buffers[i].n, buffers[i].seed) == buffers[i].hash);
    uint64_t here = hash_bytes(buffer, 222, 1);
    memmove(buffer + 1, buffer, 222); /* at any address */
    assert_true(hash_bytes(buffer + 1, 222, 1) == here);
}

/* ---- the team ---- */

#define MEMBERS 8
#define PHASES 40
#define MOST_CHUNKS 64

/* Work of a known shape: each phase has its own number of chunks, and each chunk looks at what all
 * chunks of the phase before have written. Nothing but the barrier orders that. */
typedef struct {
    atomic_uint claims[PHASES][MOST_CHUNKS];
    unsigned written[PHASES][MOST_CHUNKS]; /* plain: one writer, then many readers */
    atomic_uint members, wrong;
} phases_work;

static size_t chunks_of(size_t phase) { return phase * 37 % MOST_CHUNKS; } /* sometimes none */

static void work_in_phases(void *arg, team *t, size_t member) {
    phases_work *w = arg;
    atomic_fetch_or(&w->members, 1u << member);
    for (size_t phase = 0; phase < PHASES; phase++) {
        for (size_t i; (i = team_claim(t)) < chunks_of(phase);) {
            unsigned sum = 1;
            atomic_fetch_add(&w->claims[phase][i], 1);
            for (size_t j = 0; phase > 0 && j < chunks_of(phase - 1); j++)
                sum += w->written[phase - 1][j] != 0;
            w->written[phase][i] = sum;
            if (phase > 0 && sum != chunks_of(phase - 1) + 1) atomic_fetch_add(&w->wrong, 1);
        }
        team_barrier(t);
    }
}

TEST(each_chunk_is_claimed_once_and_seen_by_all_after_the_barrier) {
    for (size_t n = 1; n <= MEMBERS; n++) {
        team *t;
        pl_error e;
        assert_int_equal(team_open(n, &t, &e), PL_OK);
        assert_int_equal(team_size(t), n);
        for (int run = 0; run < 50; run++) {
            static phases_work w;
            memset(&w, 0, sizeof w);
            team_run(t, work_in_phases, &w);
            assert_int_equal(w.wrong, 0);
            assert_int_equal(w.members, (1u << n) - 1);
            for (size_t phase = 0; phase < PHASES; phase++)
                for (size_t i = 0; i < MOST_CHUNKS; i++)
                    assert_int_equal(w.claims[phase][i], i < chunks_of(phase));
        }
        team_close(t);
    }
}

#define CLAIMS 20000

typedef struct {
    atomic_size_t ready;
    unsigned char claimed[MEMBERS][CLAIMS];
} claims_work;

/* Nothing but claims, and not before all members are awake to take them. */
static void only_claims(void *arg, team *t, size_t member) {
    claims_work *w = arg;
    atomic_fetch_add(&w->ready, 1);
    while (atomic_load(&w->ready) < team_size(t)) sched_yield();
    for (size_t i; (i = team_claim(t)) < CLAIMS;) w->claimed[member][i]++;
}

TEST(members_that_claim_at_once_get_different_chunks) {
    for (size_t n = 2; n <= MEMBERS; n *= 2) {
        team *t;
        assert_int_equal(team_open(n, &t, NULL), PL_OK);
        for (int run = 0; run < 20; run++) {
            static claims_work w;
            memset(&w, 0, sizeof w);
            team_run(t, only_claims, &w);
            for (size_t i = 0; i < CLAIMS; i++) {
                unsigned times = 0;
                for (size_t member = 0; member < n; member++) times += w.claimed[member][i];
                assert_int_equal(times, 1);
            }
        }
        team_close(t);
    }
}

/* No claims and no work: barriers follow each other as fast as they can. */
static void only_barriers(void *arg, team *t, size_t member) {
    unsigned *count = arg; /* [members] */
    for (unsigned i = 0; i < 3000; i++) {
        count[member]++;
        team_barrier(t);
        if (count[(member + 1) % team_size(t)] < i + 1) count[member] += 1000000;
        team_barrier(t);
    }
}

TEST(thousands_of_barriers_lose_no_member) {
    for (size_t n = 2; n <= MEMBERS; n += 3) {
        unsigned count[MEMBERS] = {0};
        team *t;
        assert_int_equal(team_open(n, &t, NULL), PL_OK);
        team_run(t, only_barriers, count);
        team_close(t);
        for (size_t i = 0; i < n; i++) assert_int_equal(count[i], 3000);
    }
}

static void nothing(void *arg, team *t, size_t member) {
    (void)t;
    if (member > 0) atomic_fetch_add((atomic_uint *)arg, 1);
}

TEST(sleeping_workers_wake_for_the_next_run) {
    atomic_uint count = 0;
    team *t;
    assert_int_equal(team_open(3, &t, NULL), PL_OK);
    for (unsigned run = 1; run <= 200; run++) {
        if (run % 20 == 0) usleep(2000); /* beyond the spinning */
        team_run(t, nothing, &count);
        assert_int_equal(count, 2 * run);
    }
    team_close(t);
    assert_int_equal(team_open(4, &t, NULL), PL_OK); /* never run */
    team_close(t);
    team_close(NULL);
}

static void look_at_signals(void *arg, team *t, size_t member) {
    int *blocked = arg; /* [members][2] */
    sigset_t set;
    (void)t;
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    blocked[2 * member] = sigismember(&set, SIGINT);
    blocked[2 * member + 1] = sigismember(&set, SIGUSR1);
}

TEST(workers_leave_signals_to_the_caller) {
    int blocked[6];
    team *t;
    assert_int_equal(team_open(3, &t, NULL), PL_OK);
    team_run(t, look_at_signals, blocked);
    team_close(t);
    for (int i = 0; i < 6; i++) assert_int_equal(blocked[i], i >= 2);
}

TEST(a_team_that_cannot_be_is_refused) {
    team *t;
    pl_error e;
    assert_int_equal(team_open(0, &t, &e), PL_ERR_ARGUMENT);
    assert_int_equal(team_open(TEAM_MAX + 1, &t, &e), PL_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "257"));
    mem_fail_at(1);
    assert_int_equal(team_open(2, &t, &e), PL_ERR_MEMORY);
    assert_null(t);
}

/* The address space has room for some stacks only: the workers that did start leave again. */
TEST(a_team_whose_threads_do_not_all_start_is_given_back) {
#ifdef SANITIZED
    skip(); /* a sanitizer's shadow is most of the address space */
#else
    enum { ROOM = 64 << 20 };
    struct rlimit before, small;
    long pages;
    team *t;
    pl_error e;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld", &pages), 1);
    fclose(f);
    getrlimit(RLIMIT_AS, &before);
    small = before;
    small.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM;
    setrlimit(RLIMIT_AS, &small);
    void *beyond = mmap(NULL, 2 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pl_code code = beyond == MAP_FAILED ? team_open(TEAM_MAX, &t, &e) : PL_OK;
    setrlimit(RLIMIT_AS, &before);
    if (beyond != MAP_FAILED) {
        munmap(beyond, 2 * ROOM);
        print_message(
            "skipped: the limit on address space is not kept here (an emulator's is its own)\n");
        skip();
        return;
    }
    assert_int_equal(code, PL_ERR_IO);
    assert_null(t);
    assert_non_null(strstr(e.message, "of 256"));
#endif
}

TEST(the_default_size_stays_within_the_allowed_cpus) {
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    size_t n = team_default_size();
    assert_true(n >= 1 && n <= (size_t)CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all)) continue;
        CPU_SET(cpu, &one);
        break;
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    n = team_default_size();
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(n, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, note_live, check_live)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(an_error_holds_its_code_and_message),
        CASE(a_message_is_one_line_of_valid_utf8),
        CASE(a_message_that_is_too_long_is_cut_between_characters),
        CASE(every_code_has_its_own_name),
        CASE(checked_arithmetic_says_when_it_overflows),
        CASE(blocks_of_every_kind_are_counted_and_given_back),
        CASE(a_large_aligned_block_begins_on_a_large_page),
        CASE(sizes_that_overflow_are_refused),
        CASE(the_nth_allocation_fails_once),
        CASE(reserve_grows_to_at_least_double),
        CASE(a_file_is_the_same_mapped_and_read),
        CASE(an_empty_file_is_empty),
        CASE(what_is_no_regular_file_is_refused),
        CASE(a_file_appears_whole_when_it_is_committed),
        CASE(an_aborted_file_leaves_the_old_one_and_nothing_else),
        CASE(a_file_that_does_not_fit_is_not_committed),
        CASE(files_survive_failing_allocations),
        CASE(xxh64_gives_the_published_values),
        CASE(each_chunk_is_claimed_once_and_seen_by_all_after_the_barrier),
        CASE(members_that_claim_at_once_get_different_chunks),
        CASE(thousands_of_barriers_lose_no_member),
        CASE(sleeping_workers_wake_for_the_next_run),
        CASE(workers_leave_signals_to_the_caller),
        CASE(a_team_that_cannot_be_is_refused),
        CASE(a_team_whose_threads_do_not_all_start_is_given_back),
        CASE(the_default_size_stays_within_the_allowed_cpus),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
