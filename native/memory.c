/*
 * allocate(): memory outside of V8's heap, between two pages that can't be touched. It is counted: the ArrayBuffer
 * is one user, every pool made of it another, and the last one to leave unmaps it.
 */
#include "addon.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct region {
  uint8_t *data;
  size_t bytes; /* whole pages */
  size_t page;  /* one that can't be touched lies before, one behind */
  uint32_t users;
  struct region *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions;

static struct region *region_map(size_t bytes) {
  struct region *region = calloc(1, sizeof *region);
  if (region == NULL) return NULL;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t whole = (bytes + page - 1) / page * page;
  uint8_t *base = mmap(NULL, whole + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) goto failed;
  if (mprotect(base + page, whole, PROT_READ | PROT_WRITE) != 0) {
    munmap(base, whole + 2 * page);
    goto failed;
  }
  region->data = base + page;
  region->bytes = whole;
  region->page = page;
  region->users = 1;
  pthread_mutex_lock(&lock);
  region->next = regions;
  regions = region;
  pthread_mutex_unlock(&lock);
  return region;
failed:
  free(region);
  errno = ENOMEM;
  return NULL;
}

void region_leave(struct region *region) {
  pthread_mutex_lock(&lock);
  bool last = --region->users == 0;
  if (last) {
    struct region **at = &regions;
    while (*at != region) at = &(*at)->next;
    *at = region->next;
  }
  pthread_mutex_unlock(&lock);
  if (!last) return;
  munmap(region->data - region->page, region->bytes + 2 * region->page);
  free(region);
}

struct region *region_join(const void *data) {
  const uint8_t *at = data;
  pthread_mutex_lock(&lock);
  struct region *region = regions;
  while (region != NULL && (at < region->data || at >= region->data + region->bytes)) region = region->next;
  if (region != NULL) region->users++;
  pthread_mutex_unlock(&lock);
  return region;
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  region_leave(hint);
}

napi_value call_allocate(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  if (arguments(env, info, 1, argv) == NULL) return NULL;
  double bytes;
  if (napi_get_value_double(env, argv[0], &bytes) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "bytes must be a number");
    return NULL;
  }
  /* 4 GB is the longest ArrayBuffer that Node 20 makes of foreign memory. */
  if (!(bytes >= 1 && bytes <= 4294967296.0) || bytes != (double)(uint64_t)bytes) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "bytes must be an integer from 1 to 4294967296");
    return NULL;
  }
  struct region *region = region_map((size_t)bytes);
  if (region == NULL) {
    struct failure failure = {.error = errno, .syscall = "mmap"};
    return throw_failure(env, &failure, NULL);
  }
  napi_value buffer;
  napi_status status = napi_create_external_arraybuffer(env, region->data, (size_t)bytes, finalize, region, &buffer);
  if (status == napi_ok) return buffer;
  /* Whether Node has called the finalizer by now depends on where it failed: rather leak than free twice. */
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, "ENOMEM", "This runtime makes no ArrayBuffer of native memory");
  return NULL;
}
