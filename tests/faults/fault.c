// Write-side calls below the folder $FAULT_BELOW, numbered from 1 and noted in the file $FAULT_LOG as "number call path".  Call $FAULT_AT
// fails, once, as $FAULT_KIND says: with an errno by its name (ENOSPC, EIO, EMFILE, EACCES), "short" (half is written), "kill" (the
// process dies before the call) or "stall" (the call takes 75 s and does not fail).  Without $FAULT_AT all are only noted.  For LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name)                      \
  static __typeof__(&name) real = NULL; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

enum Fault { NONE, FAIL, SHORT };

static atomic_int calls;

static int is_below(const char *path) {
  const char *below = getenv("FAULT_BELOW");
  return below != NULL && path != NULL && strncmp(path, below, strlen(below)) == 0 && path[strlen(below)] == '/';
}

// A file that was removed while it is open has " (deleted)" behind its name, which does no harm here.
static const char *path_of(int descriptor) {
  static __thread char path[PATH_MAX];
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  path[size < 0 ? 0 : size] = '\0';
  return path;
}

// Calls of a path that is not absolute begin at the folder of `descriptor`.
static const char *path_at(int descriptor, const char *path) {
  static __thread char joined[2 * PATH_MAX];
  if (path == NULL || path[0] == '/') return path;
  char folder[PATH_MAX];
  if (descriptor == AT_FDCWD) {
    if (getcwd(folder, sizeof folder) == NULL) return path;
  } else {
    snprintf(folder, sizeof folder, "%s", path_of(descriptor));
  }
  snprintf(joined, sizeof joined, "%s/%s", folder, path);
  return joined;
}

static void note(int number, const char *call, const char *path) {
  const char *log = getenv("FAULT_LOG");
  static int (*real_open)(const char *, int, ...) = NULL;
  static ssize_t (*real_write)(int, const void *, size_t) = NULL;
  static int (*real_close)(int) = NULL;
  if (real_open == NULL) real_open = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
  if (real_write == NULL) real_write = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  if (real_close == NULL) real_close = (int (*)(int))dlsym(RTLD_NEXT, "close");
  char line[PATH_MAX + 64];
  const int size = snprintf(line, sizeof line, "%d %s %s\n", number, call, path);
  const int file = log == NULL ? -1 : real_open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return;
  if (real_write(file, line, (size_t)size) != size) abort();
  real_close(file);
}

static enum Fault fault_of(const char *call, const char *path) {
  if (!is_below(path)) return NONE;
  const int before = errno, number = ++calls;
  note(number, call, path);
  errno = before;
  const char *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
  if (at == NULL || kind == NULL || number != atoi(at)) return NONE;
  if (strcmp(kind, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(kind, "stall") == 0) return sleep(75), NONE;
  if (strcmp(kind, "short") == 0) return SHORT;
  errno = strcmp(kind, "EIO") == 0 ? EIO : strcmp(kind, "EMFILE") == 0 ? EMFILE : strcmp(kind, "EACCES") == 0 ? EACCES : ENOSPC;
  return FAIL;
}

// ---- writing

ssize_t write(int descriptor, const void *bytes, size_t size) {
  REAL(write);
  const enum Fault fault = fault_of("write", path_of(descriptor));
  if (fault == FAIL) return -1;
  return real(descriptor, bytes, fault == SHORT ? size / 2 : size);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
  REAL(pwrite64);
  const enum Fault fault = fault_of("pwrite", path_of(descriptor));
  if (fault == FAIL) return -1;
  return real(descriptor, bytes, fault == SHORT ? size / 2 : size, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
  REAL(writev);
  const enum Fault fault = fault_of("writev", path_of(descriptor));
  if (fault == FAIL) return -1;
  return real(descriptor, parts, fault == SHORT ? 1 : count);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *file) {
  REAL(fwrite);
  const enum Fault fault = fault_of("fwrite", path_of(fileno(file)));
  if (fault == FAIL) return 0;
  return real(bytes, size, fault == SHORT ? count / 2 : count, file);
}

int fflush(FILE *file) {
  REAL(fflush);
  return file != NULL && fault_of("fflush", path_of(fileno(file))) == FAIL ? EOF : real(file);
}

int fsync(int descriptor) {
  REAL(fsync);
  return fault_of("fsync", path_of(descriptor)) == FAIL ? -1 : real(descriptor);
}

int ftruncate64(int descriptor, off64_t size) {
  REAL(ftruncate64);
  return fault_of("ftruncate", path_of(descriptor)) == FAIL ? -1 : real(descriptor, size);
}

int ftruncate(int descriptor, off_t size) {
  REAL(ftruncate);
  return fault_of("ftruncate", path_of(descriptor)) == FAIL ? -1 : real(descriptor, size);
}

// What was written may be lost, but the descriptor is free.
int close(int descriptor) {
  REAL(close);
  const int flags = fcntl(descriptor, F_GETFL);
  const int writes = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
  const enum Fault fault = writes ? fault_of("close", path_of(descriptor)) : NONE;
  const int error = errno, closed = real(descriptor);
  if (fault != FAIL) return closed;
  errno = error;
  return -1;
}

int fclose(FILE *file) {
  REAL(fclose);
  const int flags = fcntl(fileno(file), F_GETFL);
  const int writes = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
  const enum Fault fault = writes ? fault_of("fclose", path_of(fileno(file))) : NONE;
  const int error = errno, closed = real(file);
  if (fault != FAIL) return closed;
  errno = error;
  return EOF;
}

// ---- opening for writing

static int opens_to_write(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0; }

#define OPEN(name)                                                                                       \
  int name(const char *path, int flags, ...) {                                                           \
    REAL(name);                                                                                          \
    va_list rest;                                                                                        \
    va_start(rest, flags);                                                                               \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;                 \
    va_end(rest);                                                                                        \
    if (opens_to_write(flags) && fault_of("open", path_at(AT_FDCWD, path)) == FAIL) return -1;           \
    return real(path, flags, mode);                                                                      \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                     \
  int name(int folder, const char *path, int flags, ...) {                                               \
    REAL(name);                                                                                          \
    va_list rest;                                                                                        \
    va_start(rest, flags);                                                                               \
    const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;                 \
    va_end(rest);                                                                                        \
    if (opens_to_write(flags) && fault_of("open", path_at(folder, path)) == FAIL) return -1;             \
    return real(folder, path, flags, mode);                                                              \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                        \
  FILE *name(const char *path, const char *mode) {                                                         \
    REAL(name);                                                                                            \
    const int writes = strpbrk(mode, "wa+") != NULL;                                                       \
    return writes && fault_of("fopen", path_at(AT_FDCWD, path)) == FAIL ? NULL : real(path, mode);         \
  }
FOPEN(fopen)
FOPEN(fopen64)

// ---- folders and names

int rename(const char *from, const char *to) {
  REAL(rename);
  return fault_of("rename", path_at(AT_FDCWD, to)) == FAIL ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  return fault_of("mkdir", path_at(AT_FDCWD, path)) == FAIL ? -1 : real(path, mode);
}

#define REMOVE(name)                                                                      \
  int name(const char *path) {                                                            \
    REAL(name);                                                                           \
    return fault_of(#name, path_at(AT_FDCWD, path)) == FAIL ? -1 : real(path);            \
  }
REMOVE(unlink)
REMOVE(rmdir)
REMOVE(remove)

int unlinkat(int folder, const char *path, int flags) {
  REAL(unlinkat);
  return fault_of("unlink", path_at(folder, path)) == FAIL ? -1 : real(folder, path, flags);
}
