/* fuzz.c: see fuzz.h. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void fuzz_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

void fuzz_check_error(pl_code code, const pl_error *e) {
    CHECK(e->code == code);
    CHECK(memchr(e->message, '\0', sizeof e->message) != NULL && e->message[0] != '\0');
    CHECK(strpbrk(e->message, "\n\r\x1B") == NULL);
}

/* ---- files ---- */

static void put(int fd, const void *data, size_t size) {
    for (size_t n = 0; n < size;) {
        ssize_t put = write(fd, (const char *)data + n, size - n);
        CHECK(put > 0);
        n += (size_t)put;
    }
}

const char *fuzz_file(const void *data, size_t size, size_t more) {
    static char path[64];
    static int fd = -1;
    static const float one = 1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        CHECK(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    put(fd, data, size);
    if (more != 0) {
        float ones[1024];
        for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) ones[i] = one;
        put(fd, (const char *)ones + size % sizeof one, sizeof one - size % sizeof one);
        for (size_t n = 0; n < more; n += sizeof ones) put(fd, ones, sizeof ones);
    }
    return path;
}

static char folder[64];

static void remove_folder(void) {
    DIR *d = opendir(folder);
    CHECK(d != NULL);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
    rmdir(folder);
}

const char *fuzz_folder(void) {
    struct stat st;
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/perilune-fuzz-XXXXXX",
                 stat("/dev/shm", &st) == 0 ? "/dev/shm" : "/tmp");
        CHECK(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    return folder;
}

void fuzz_named_file(const char *name, const void *data, size_t size) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    CHECK(size == 0 || fwrite(data, 1, size, f) == size);
    CHECK(fclose(f) == 0);
}

/* ---- inputs ---- */

uint8_t fuzz_u8(fuzz_bytes *b) {
    if (b->size == 0) return 0;
    b->size--;
    return *b->data++;
}

fuzz_bytes fuzz_until(fuzz_bytes *b, const char *end) {
    size_t n = strlen(end);
    const uint8_t *at = b->size >= n ? memmem(b->data, b->size, end, n) : NULL;
    fuzz_bytes front = *b;
    if (at == NULL) {
        *b = (fuzz_bytes){b->data + b->size, 0};
        return front;
    }
    front.size = (size_t)(at - b->data);
    b->size -= front.size + n;
    b->data = at + n;
    return front;
}
