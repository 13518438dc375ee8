/* file.c: a whole file in, mapped or read, and a whole file out. It owns the mapping or the bytes
 * until file_view_close, and the unfinished file beside the target until commit or abort. The
 * invariant of writing: `path` names the old content or all of the new, never a part. A mapped file
 * that another process cuts short while it is open is beyond what this file can guard against;
 * reading it (map = false) is. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/mem.h"

#define BUFFER_SIZE ((size_t)64 << 10) /* of writing: many small pieces, few system calls */
#define TEMP_SUFFIX ".XXXXXX"          /* as mkstemp wants it */

static pl_code io_fail(pl_error *e, const char *path, const char *what, int number) {
    char text[128];
    return pl_fail(e, PL_ERR_IO, "%s: %s: %s", path, what, strerror_r(number, text, sizeof text));
}

static pl_code kind_fail(pl_error *e, const char *path, mode_t mode) {
    const char *kind = S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a pipe"
                     : S_ISSOCK(mode) ? "a socket" : "a device";
    return pl_fail(e, PL_ERR_IO, "%s: is %s, not a regular file", path, kind);
}

/* ---- reading ---- */

/* Fills data[0..size), however short the system's reads are. */
static pl_code read_all(int fd, const char *path, uint8_t *data, size_t size, pl_error *e) {
    for (size_t n = 0; n < size;) {
        ssize_t got = read(fd, data + n, size - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return io_fail(e, path, "cannot read", errno);
        if (got == 0)
            return pl_fail(e, PL_ERR_IO, "%s: ended after %zu of %zu bytes: something cut it short",
                           path, n, size);
        n += (size_t)got;
    }
    return PL_OK;
}

pl_code file_view_open(const char *path, bool map, file_view *out, pl_error *e) {
    pl_code code = PL_OK;
    uint8_t *block = NULL;
    struct stat st;
    int fd;

    *out = (file_view){NULL, 0, false};
    /* O_NONBLOCK: opening a pipe must not wait for its writer. Regular files know nothing of it. */
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return io_fail(e, path, "cannot open", errno);
    if (fstat(fd, &st) != 0) {
        code = io_fail(e, path, "cannot open", errno);
        goto done;
    }
    if (!S_ISREG(st.st_mode)) {
        code = kind_fail(e, path, st.st_mode);
        goto done;
    }
    if (st.st_size == 0) goto done;
    if (st.st_size < 0 || (uintmax_t)st.st_size > SIZE_MAX) {
        code = pl_fail(e, PL_ERR_IO, "%s: its %jd bytes are more than this machine can address",
                       path, (intmax_t)st.st_size);
        goto done;
    }
    out->size = (size_t)st.st_size;

    if (map) {
        void *p = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p != MAP_FAILED) {
            out->data = p;
            out->mapped = true;
            goto done;
        }
        if (errno != ENODEV) { /* a file system without mappings: its files are read */
            code = io_fail(e, path, "cannot map into memory", errno);
            goto done;
        }
    }
    block = mem_aligned(out->size);
    if (block == NULL) {
        code = pl_fail(e, PL_ERR_MEMORY, "%s: no memory for its %zu bytes", path, out->size);
        goto done;
    }
    code = read_all(fd, path, block, out->size, e);
    if (code != PL_OK) goto done;
    out->data = block;
    block = NULL;

done:
    mem_free(block);
    close(fd);
    if (code != PL_OK) *out = (file_view){NULL, 0, false};
    return code;
}

void file_view_forget(const file_view *view, const void *p, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
              begin = ((uintptr_t)p + page - 1) & ~(page - 1),
              end = ((uintptr_t)p + size) & ~(page - 1);
    if (view->mapped && begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void file_view_close(file_view *view) {
    /* munmap cannot fail on what mmap returned, and no caller could do anything about it. */
    if (view->mapped) munmap((void *)(uintptr_t)view->data, view->size);
    else mem_free((void *)(uintptr_t)view->data);
    *view = (file_view){NULL, 0, false};
}

bool file_same(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* ---- writing ---- */

struct file_out {
    int fd;
    int error;  /* errno of the first write that failed; 0: none */
    char *path; /* where it will be */
    char *temp; /* where it is */
    size_t n;   /* bytes waiting in buffer */
    uint8_t buffer[BUFFER_SIZE];
};

/* Frees `out`, and removes the unfinished file unless it was renamed. */
static void release(file_out *out, bool renamed) {
    if (out->fd >= 0) close(out->fd);
    if (out->fd >= 0 && !renamed) unlink(out->temp);
    mem_free(out->temp);
    mem_free(out->path);
    mem_free(out);
}

pl_code file_out_open(const char *path, file_out **result, pl_error *e) {
    size_t length = strlen(path), temp_size;
    pl_code code;
    mode_t mode = 0644;
    struct stat st;
    file_out *out;

    *result = NULL;
    if (stat(path, &st) == 0) {
        /* Renaming over a directory fails late, and over a device succeeds. */
        if (!S_ISREG(st.st_mode)) return kind_fail(e, path, st.st_mode);
        mode = st.st_mode & 0777; /* a private file stays private */
    }
    out = mem_alloc(sizeof *out);
    if (out == NULL) return pl_fail(e, PL_ERR_MEMORY, "%s: no memory to write it", path);
    out->fd = -1;
    out->error = 0;
    out->n = 0;
    out->path = mem_string(path, length);
    out->temp = checked_add(length, sizeof TEMP_SUFFIX, &temp_size) ? mem_alloc(temp_size) : NULL;
    if (out->path == NULL || out->temp == NULL) {
        code = pl_fail(e, PL_ERR_MEMORY, "%s: no memory to write it", path);
        goto fail;
    }
    snprintf(out->temp, temp_size, "%s" TEMP_SUFFIX, path);
    out->fd = mkostemp(out->temp, O_CLOEXEC);
    if (out->fd < 0) {
        code = io_fail(e, path, "cannot create", errno);
        goto fail;
    }
    if (fchmod(out->fd, mode) != 0) { /* mkostemp makes it readable for its owner only */
        code = io_fail(e, path, "cannot set its permissions", errno);
        goto fail;
    }
    *result = out;
    return PL_OK;

fail:
    release(out, false);
    return code;
}

/* Hands `size` bytes to the system; sets out->error when it does not take them. */
static void write_all(file_out *out, const uint8_t *data, size_t size) {
    while (size > 0 && out->error == 0) {
        ssize_t put = write(out->fd, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            out->error = put < 0 ? errno : EIO;
            return;
        }
        data += put;
        size -= (size_t)put;
    }
}

static void flush(file_out *out) {
    write_all(out, out->buffer, out->n);
    out->n = 0;
}

pl_code file_out_write(file_out *out, const void *data, size_t size, pl_error *e) {
    if (size > BUFFER_SIZE - out->n) flush(out);
    if (size > BUFFER_SIZE) {
        write_all(out, data, size);
    } else if (size > 0) {
        memcpy(out->buffer + out->n, data, size);
        out->n += size;
    }
    return out->error == 0 ? PL_OK : io_fail(e, out->path, "cannot write", out->error);
}

pl_code file_out_commit(file_out *out, pl_error *e) {
    pl_code code = PL_OK;
    flush(out);
    if (out->error == 0 && fsync(out->fd) != 0) out->error = errno;
    if (out->error != 0)
        code = io_fail(e, out->path, "cannot write", out->error);
    else if (rename(out->temp, out->path) != 0)
        code = io_fail(e, out->path, "cannot replace", errno);
    release(out, code == PL_OK);
    return code;
}

void file_out_abort(file_out *out) {
    if (out != NULL) release(out, false);
}
