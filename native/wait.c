/* Descriptors and waiting: epoll, eventfd. */
#include "addon.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static napi_value throw_errno(napi_env env, const char *syscall) {
  struct failure failure = {.error = errno, .syscall = syscall};
  return throw_failure(env, &failure, NULL);
}

static bool fd_argument(napi_env env, napi_callback_info info, int32_t *fd) {
  napi_value argv[1];
  return arguments(env, info, 1, argv) != NULL && int_argument(env, argv[0], "fd", fd);
}

napi_value call_close(napi_env env, napi_callback_info info) {
  int32_t fd;
  if (!fd_argument(env, info, &fd)) return NULL;
  /* After EINTR Linux has closed it all the same. */
  return close(fd) == 0 || errno == EINTR ? NULL : throw_errno(env, "close");
}

napi_value call_epollCreate(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return fd < 0 ? throw_errno(env, "epoll_create1") : number(env, fd);
}

napi_value call_epollAdd(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  int32_t epoll, fd, tag;
  if (arguments(env, info, 3, argv) == NULL || !int_argument(env, argv[0], "epoll", &epoll) ||
      !int_argument(env, argv[1], "fd", &fd) || !int_argument(env, argv[2], "tag", &tag)) {
    return NULL;
  }
  struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = (uint32_t)tag}};
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? NULL : throw_errno(env, "epoll_ctl");
}

napi_value call_epollDelete(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int32_t epoll, fd;
  if (arguments(env, info, 2, argv) == NULL || !int_argument(env, argv[0], "epoll", &epoll) ||
      !int_argument(env, argv[1], "fd", &fd)) {
    return NULL;
  }
  return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) == 0 ? NULL : throw_errno(env, "epoll_ctl");
}

static int64_t now_micros(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/** epoll_wait that polls for `spin_micros` before it sleeps; both together take `timeout_ms`, a negative one is for ever. */
static int spin_and_wait(int epoll, struct epoll_event *events, int most, int timeout_ms, int64_t spin_micros) {
  if (timeout_ms >= 0 && spin_micros > (int64_t)timeout_ms * 1000) spin_micros = (int64_t)timeout_ms * 1000;
  if (spin_micros <= 0) return epoll_wait(epoll, events, most, timeout_ms);
  int64_t start = now_micros();
  int64_t spun;
  do {
    int got = epoll_wait(epoll, events, most, 0);
    if (got != 0) return got;
    sched_yield(); /* whoever else is runnable here goes first: a spinning engine takes no core from a workload */
    spun = now_micros() - start;
  } while (spun < spin_micros);
  if (timeout_ms < 0) return epoll_wait(epoll, events, most, -1);
  int64_t rest = (int64_t)timeout_ms * 1000 - spun;
  return epoll_wait(epoll, events, most, rest <= 0 ? 0 : (int)((rest + 999) / 1000));
}

napi_value call_wait(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  int32_t epoll, timeout_ms, spin_micros;
  int32_t *tags;
  size_t length;
  if (arguments(env, info, 4, argv) == NULL || !int_argument(env, argv[0], "epoll", &epoll) ||
      !int32s_argument(env, argv[1], "tags", &tags, &length) || !int_argument(env, argv[2], "timeoutMs", &timeout_ms) ||
      !int_argument(env, argv[3], "spinMicros", &spin_micros)) {
    return NULL;
  }
  struct epoll_event events[64];
  int most = length < 64 ? (int)length : 64;
  int got = spin_and_wait(epoll, events, most, timeout_ms < 0 ? -1 : timeout_ms, spin_micros);
  if (got < 0) return errno == EINTR ? number(env, 0) : throw_errno(env, "epoll_wait");
  for (int i = 0; i < got; i++) store(tags + i, (int32_t)events[i].data.u64);
  return number(env, got);
}

napi_value call_eventCreate(napi_env env, napi_callback_info info) {
  (void)info;
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? throw_errno(env, "eventfd") : number(env, fd);
}

napi_value call_eventSignal(napi_env env, napi_callback_info info) {
  int32_t fd;
  uint64_t one = 1;
  if (!fd_argument(env, info, &fd)) return NULL;
  /* EAGAIN: the counter is full, so it is readable. */
  return write(fd, &one, sizeof one) >= 0 || errno == EAGAIN ? NULL : throw_errno(env, "write");
}

napi_value call_eventClear(napi_env env, napi_callback_info info) {
  int32_t fd;
  uint64_t count;
  if (!fd_argument(env, info, &fd)) return NULL;
  return read(fd, &count, sizeof count) >= 0 || errno == EAGAIN ? NULL : throw_errno(env, "read");
}
