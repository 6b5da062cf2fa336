/* Another network namespace, for this thread alone and for the length of one call. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#define HOME "/proc/thread-self/ns/net"

int netns_enter(struct netns *netns, const char *path, struct failure *failure) {
  netns->home = -1;
  failure->netns = path;
  if (path[0] == 0) return 0;

  int target = open(path, O_RDONLY | O_CLOEXEC);
  if (target < 0) {
    failure->netns = NULL;
    return fail(failure, "open", path);
  }
  int home = open(HOME, O_RDONLY | O_CLOEXEC);
  if (home < 0) {
    fail(failure, "open", HOME);
    close(target);
    return -1;
  }
  /* In a user namespace one may be allowed to go but not to come back; so come back before going. */
  if (setns(home, CLONE_NEWNET) != 0) {
    fail(failure, "setns", HOME);
  } else if (setns(target, CLONE_NEWNET) != 0) {
    failure->netns = NULL;
    fail(failure, "setns", path);
  } else {
    netns->home = home;
  }
  close(target);
  if (netns->home >= 0) return 0;
  close(home);
  return -1;
}

void netns_leave(const struct netns *netns) {
  if (netns->home < 0) return;
  int error = errno;
  /* A thread that stays in a foreign namespace would open everything after it in the wrong place. */
  if (setns(netns->home, CLONE_NEWNET) != 0) {
    napi_fatal_error("netns_leave", NAPI_AUTO_LENGTH, "The thread can't return to its network namespace", NAPI_AUTO_LENGTH);
  }
  close(netns->home);
  errno = error;
}
