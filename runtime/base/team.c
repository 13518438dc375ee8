/* team.c: worker threads that run one function together. A team owns its workers: team_open starts
 * them, team_close joins them, and in between they run or sleep.
 *
 * Everything rests on one barrier. Between two barriers lies a phase, and all members are in the
 * same one. A run is two barriers around a call: at the first the workers wait for the caller of
 * team_run, at the second the caller waits for the workers. The invariant: `arrived` counts the
 * members that have reached the end of the current phase; whoever makes it `size` is alone for a
 * moment, since all others wait, and resets what the next phase starts from before opening it. */
#include "base/team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/system.h"

#define SPIN_SECONDS 3e-5  /* for how long a member spins before it sleeps: a few wake-ups' cost */
#define SPINS_PER_LOOK 32 /* pauses between two looks at the clock */
#define MAX_CPUS 8192     /* the most that Linux can be built for */
#define MAX_LINE 4096     /* bytes of one line of /proc or /sys that are looked at */

struct team {
    /* What members write in every phase, each on its own cache line. */
    _Alignas(MEM_ALIGN) atomic_size_t next; /* the chunk that team_claim hands out next */
    _Alignas(MEM_ALIGN) atomic_size_t arrived;
    _Alignas(MEM_ALIGN) atomic_uint phase; /* compared for equality only: may wrap */

    _Alignas(MEM_ALIGN) pthread_mutex_t lock; /* taken to sleep, and to change the phase */
    pthread_cond_t opened;
    size_t sleepers;

    pthread_mutex_t runs; /* one run at a time, whoever asks */
    size_t size, n_started;
    bool spins; /* false when there is not a CPU for each member: spinning would delay others */
    bool stop;       /* this, f and arg are written by the caller, before a barrier */
    void (*f)(void *arg, team *t, size_t member);
    void *arg;
    struct worker {
        team *t;
        pthread_t thread;
        size_t member;
    } workers[];
};

/* ---- the barrier ---- */

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* True when the phase ended while this spun. */
static bool spin(team *t, unsigned phase) {
    double start;
    if (!t->spins) return false;
    start = system_seconds();
    do {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            if (atomic_load_explicit(&t->phase, memory_order_acquire) != phase) return true;
            pause_cpu();
        }
    } while (system_seconds() - start < SPIN_SECONDS);
    return false;
}

/* What makes writes visible: each arrival releases what its member wrote, the last one acquires all
 * of that (acq_rel on `arrived`), and the new phase releases it to whoever sees the new phase. No
 * wake-up is lost: a sleeper looks at the phase under the lock that changing it takes. */
void team_barrier(team *t) {
    unsigned phase = atomic_load_explicit(&t->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) + 1 == t->size) {
        bool wake;
        atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&t->next, 0, memory_order_relaxed);
        pthread_mutex_lock(&t->lock);
        atomic_store_explicit(&t->phase, phase + 1, memory_order_release);
        wake = t->sleepers > 0;
        pthread_mutex_unlock(&t->lock);
        if (wake) pthread_cond_broadcast(&t->opened);
    } else if (!spin(t, phase)) {
        pthread_mutex_lock(&t->lock);
        t->sleepers++;
        while (atomic_load_explicit(&t->phase, memory_order_acquire) == phase)
            pthread_cond_wait(&t->opened, &t->lock);
        t->sleepers--;
        pthread_mutex_unlock(&t->lock);
    }
}

size_t team_claim(team *t) { return atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed); }

/* ---- the team ---- */

static void *work(void *arg) {
    const struct worker *w = arg;
    team *t = w->t;
    /* Held by team_open until all workers are started, or one of them could not be. */
    pthread_mutex_lock(&t->lock);
    bool stop = t->n_started != t->size - 1;
    pthread_mutex_unlock(&t->lock);
    if (stop) return NULL;
    for (;;) {
        team_barrier(t);
        if (t->stop) return NULL;
        t->f(t->arg, t, w->member);
        team_barrier(t);
    }
}

void team_run(team *t, void (*f)(void *arg, team *t, size_t member), void *arg) {
    pthread_mutex_lock(&t->runs);
    t->f = f;
    t->arg = arg;
    team_barrier(t);
    f(arg, t, 0);
    team_barrier(t);
    pthread_mutex_unlock(&t->runs);
}

size_t team_size(const team *t) { return t->size; }

static size_t allowed_cpus(cpu_set_t *set, size_t bytes) {
    if (sched_getaffinity(0, bytes, set) != 0) return 0;
    return (size_t)CPU_COUNT_S(bytes, set);
}

pl_code team_open(size_t n, team **out, pl_error *e) {
    unsigned long set[MAX_CPUS / (8 * sizeof(unsigned long))];
    int error = 0;
    team *t;

    *out = NULL;
    if (n < 1 || n > TEAM_MAX)
        return pl_fail(e, PL_ERR_ARGUMENT, "threads: %zu is not between 1 and %d", n, TEAM_MAX);
    t = mem_aligned(sizeof *t + (n - 1) * sizeof t->workers[0]);
    if (t == NULL) return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu threads", n);
    memset(t, 0, sizeof *t);
    t->size = n;
    t->spins = n <= allowed_cpus((cpu_set_t *)set, sizeof set);
    atomic_init(&t->next, 0);
    atomic_init(&t->arrived, 0);
    atomic_init(&t->phase, 0);
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->runs, NULL);
    pthread_cond_init(&t->opened, NULL);

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < n - 1 && error == 0; i++) {
        struct worker *w = &t->workers[i];
        w->t = t;
        w->member = i + 1;
        error = system_thread(&w->thread, work, w);
        if (error == 0) t->n_started++;
    }
    pthread_mutex_unlock(&t->lock);
    if (error != 0) {
        char text[128];
        pl_fail(e, PL_ERR_IO, "cannot start thread %zu of %zu: %s", t->n_started + 2, n,
                strerror_r(error, text, sizeof text));
        team_close(t);
        return PL_ERR_IO;
    }
    *out = t;
    return PL_OK;
}

void team_close(team *t) {
    if (t == NULL) return;
    t->stop = true;
    if (t->n_started == t->size - 1) team_barrier(t); /* otherwise they left on their own */
    for (size_t i = 0; i < t->n_started; i++) pthread_join(t->workers[i].thread, NULL);
    pthread_cond_destroy(&t->opened);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->runs);
    mem_free(t);
}

/* ---- how many threads are worth having ---- */

/* The first line of folder/name, "" when there is none. */
static void read_line(const char *folder, const char *name, char line[MAX_LINE]) {
    char path[2 * MAX_LINE];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = n < (int)sizeof path ? fopen(path, "re") : NULL;
    if (f == NULL || fgets(line, MAX_LINE, f) == NULL) line[0] = '\0';
    if (f != NULL) fclose(f);
}

/* CPUs that a cgroup may use by its quota file (v2: "quota period"; v1: two files); 0: no limit.
 * Rounded down: members wait for one another, so a throttled one would stall all. */
static size_t quota_at(const char *folder, bool v2) {
    char line[MAX_LINE];
    long long quota = 0, period = 0;
    if (v2) {
        read_line(folder, "cpu.max", line);
        if (sscanf(line, "%lld %lld", &quota, &period) != 2) return 0; /* "max 100000", no file */
    } else {
        read_line(folder, "cpu.cfs_quota_us", line);
        if (sscanf(line, "%lld", &quota) != 1) return 0;
        read_line(folder, "cpu.cfs_period_us", line);
        if (sscanf(line, "%lld", &period) != 1) return 0;
    }
    if (quota <= 0 || period <= 0) return 0;
    return quota < period ? 1 : (size_t)(quota / period);
}

/* The least of n and the quotas of a cgroup and its ancestors, whose folders lie below `mount`. In
 * a container the name may be the host's, whose folders are not there: those levels say nothing. */
static size_t least_quota(const char *mount, const char *name, bool v2, size_t n) {
    char folder[2 * MAX_LINE];
    size_t top = strlen(mount);
    snprintf(folder, sizeof folder, "%s%s", mount, name);
    for (;;) {
        size_t quota = quota_at(folder, v2);
        char *slash = strrchr(folder, '/');
        if (quota != 0 && quota < n) n = quota;
        if (strlen(folder) <= top || slash == NULL) return n;
        *slash = '\0';
    }
}

/* n, or fewer when this process's cgroups (cgroups(7), /proc/self/cgroup) may not use as many. */
static size_t within_quota(size_t n) {
    char line[MAX_LINE];
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (f == NULL) return n;
    while (fgets(line, sizeof line, f) != NULL) { /* "id:controllers:/name" */
        char *controllers = strchr(line, ':'), *name;
        if (controllers == NULL || (name = strchr(++controllers, ':')) == NULL) continue;
        *name++ = '\0';
        name[strcspn(name, "\n")] = '\0';
        if (*controllers == '\0') {
            n = least_quota("/sys/fs/cgroup", name, true, n);
        } else {
            char *state = NULL;
            char *c = strtok_r(controllers, ",", &state);
            for (; c != NULL; c = strtok_r(NULL, ",", &state))
                if (strcmp(c, "cpu") == 0) n = least_quota("/sys/fs/cgroup/cpu", name, false, n);
        }
    }
    fclose(f);
    return n;
}

/* A core is named by the lowest of the CPUs that share it, as the kernel lists them. */
static size_t core_of(size_t cpu) {
    char folder[128], line[MAX_LINE];
    size_t first;
    snprintf(folder, sizeof folder, "/sys/devices/system/cpu/cpu%zu/topology", cpu);
    read_line(folder, "thread_siblings_list", line);
    return sscanf(line, "%zu", &first) == 1 && first < MAX_CPUS ? first : cpu;
}

size_t team_default_size(void) {
    unsigned long set[MAX_CPUS / (8 * sizeof(unsigned long))];
    bool seen[MAX_CPUS] = {false};
    size_t n = 0;
    if (allowed_cpus((cpu_set_t *)set, sizeof set) == 0) return 1;
    for (size_t cpu = 0; cpu < MAX_CPUS; cpu++) {
        if (!CPU_ISSET_S(cpu, sizeof set, (cpu_set_t *)set)) continue;
        size_t core = core_of(cpu);
        if (!seen[core]) n++;
        seen[core] = true;
    }
    n = within_quota(n);
    return n < 1 ? 1 : n > TEAM_MAX ? TEAM_MAX : n;
}
