// A file system below $NO_RENAME_BELOW whose rename() does not do ("files", "folders": EPERM), or does it and says it did not
// ("lies"), by $NO_RENAME.  For LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
  const char *below = getenv("NO_RENAME_BELOW"), *mode = getenv("NO_RENAME");
  struct stat status;
  const int folder = stat(from, &status) == 0 && S_ISDIR(status.st_mode);
  if (below == NULL || mode == NULL || strncmp(to, below, strlen(below)) != 0) return real(from, to);
  if (folder != (strcmp(mode, "files") != 0)) return real(from, to);
  if (strcmp(mode, "lies") == 0) real(from, to);
  errno = EPERM;
  return -1;
}
