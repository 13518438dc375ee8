/* support.c: the helpers that several test programs share. It uses libc's own allocator and files,
 * not the runtime's: a test that makes the runtime's allocations fail, or counts them, does not see
 * these. */
#include "support.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Paths handed out, kept reachable so that a leak checker stays quiet. */
static char **kept;
static size_t n_kept;

static char *keep(char *s) {
    char **grown = realloc(kept, (n_kept + 1) * sizeof *kept);
    if (s == NULL || grown == NULL) abort();
    kept = grown;
    kept[n_kept++] = s;
    return s;
}

static char *joined(const char *a, const char *separator, const char *b) {
    size_t size = strlen(a) + strlen(separator) + strlen(b) + 1;
    char *s = malloc(size);
    if (s == NULL) abort();
    snprintf(s, size, "%s%s%s", a, separator, b);
    return s;
}

const char *shared_path(const char *relative) {
    const char *folder = getenv("PERILUNE_SHARED");
    const char *ci = getenv("CI");
    struct stat st;
    if (folder == NULL || folder[0] == '\0') folder = "../shared";
    if (stat(folder, &st) == 0 && S_ISDIR(st.st_mode)) return keep(joined(folder, "/", relative));
    if (ci != NULL && strcmp(ci, "true") == 0)
        fail_msg("CI=true, and there is no folder %s (PERILUNE_SHARED names it)", folder);
    print_message("skipped: needs %s/%s, which is not there\n", folder, relative);
    return NULL;
}

static char folder_name[4096];

static void remove_temp_folder(void) {
    DIR *d = opendir(folder_name);
    if (d != NULL) {
        for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
            char *path = joined(folder_name, "/", entry->d_name);
            bool child = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
            if (child && unlink(path) != 0) rmdir(path);
            free(path);
        }
        closedir(d);
    }
    rmdir(folder_name);
}

const char *temp_folder(void) {
    if (folder_name[0] == '\0') {
        const char *base = getenv("TMPDIR");
        if (base == NULL || base[0] == '\0') base = "/tmp";
        snprintf(folder_name, sizeof folder_name, "%s/perilune-test-XXXXXX", base);
        if (mkdtemp(folder_name) == NULL) abort();
        atexit(remove_temp_folder);
    }
    return folder_name;
}

char *temp_path(const char *suffix) {
    static unsigned count;
    char name[32];
    snprintf(name, sizeof name, "/%u", count++);
    char *stem = joined(temp_folder(), "", name);
    char *path = joined(stem, "", suffix);
    free(stem);
    return keep(path);
}

char *read_whole(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    size_t n = 0, capacity = 0;
    if (f == NULL) fail_msg("cannot open %s", path);
    for (;;) {
        if (capacity - n < 2) {
            capacity = capacity ? capacity * 2 : 65536;
            data = realloc(data, capacity);
            if (data == NULL) abort();
        }
        size_t got = fread(data + n, 1, capacity - n - 1, f);
        if (got == 0) break;
        n += got;
    }
    if (ferror(f)) fail_msg("cannot read %s", path);
    fclose(f);
    data[n] = '\0';
    if (size != NULL) *size = n;
    return data;
}

void write_whole(const char *path, const void *data, size_t size) {
    unlink(path); /* a new file: some file systems flush one that is cut to nothing and refilled */
    FILE *f = fopen(path, "wb");
    if (f == NULL) fail_msg("cannot create %s", path);
    size_t put = size ? fwrite(data, 1, size, f) : 0;
    if (fclose(f) != 0 || put != size) fail_msg("cannot write %s", path);
}
