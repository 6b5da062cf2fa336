/*
 * What every file of the addon shares: the state of one environment (the main thread or a worker), argument
 * helpers and errors. The addon has no state outside of it but the list of mapped regions (memory.c).
 */
#ifndef VIADUCT_ADDON_H
#define VIADUCT_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <netinet/in.h>

#include "pool.h"

#define POOLS 64

/** Datagrams handed to the kernel by one recvmmsg or sendmmsg. */
#define BATCH 64

/** The kernel's limit of pieces in one readv, writev or message (UIO_MAXIOV). */
#define IOV_LIMIT 1024

/** Room for two control messages of an int: the size of segments, and the ECN field. */
union control {
  struct cmsghdr align;
  char bytes[2 * CMSG_SPACE(sizeof(int))];
};

/** Buffers of the packet calls, allocated once: a packet call allocates nothing. */
struct scratch {
  struct mmsghdr messages[BATCH];
  struct iovec iov[IOV_LIMIT];
  union control control[BATCH];
  struct sockaddr_in6 names[BATCH];
  int32_t packets[BATCH]; /* receive: the packet of each message; transmit: how many packets it carries */
  uint8_t *slots[BATCH];  /* receive: where the slot of each begins */
};

struct addon {
  struct pool pools[POOLS];
  struct scratch scratch;
};

/* ---- arguments.c: each helper throws (TypeError, RangeError) and returns false when the value won't do ---- */

/** Fills `argv` with `count` arguments, undefined where the caller gave fewer. */
struct addon *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argv);

bool int_argument(napi_env env, napi_value value, const char *name, int32_t *out);
/** 32 bits, given as a signed or an unsigned number. */
bool mask_argument(napi_env env, napi_value value, const char *name, uint32_t *out);
bool int32s_argument(napi_env env, napi_value value, const char *name, int32_t **data, size_t *length);
bool bytes_argument(napi_env env, napi_value value, const char *name, uint8_t **data, size_t *length);
/** A string without NUL that fits into `size` bytes with its terminator. */
bool string_argument(napi_env env, napi_value value, const char *name, char *out, size_t size);
/** A pool of this environment whose memory is still there. */
struct pool *pool_argument(napi_env env, struct addon *addon, napi_value value);

bool int_option(napi_env env, napi_value options, const char *name, int32_t *out);
bool bool_option(napi_env env, napi_value options, const char *name, bool *out);
bool string_option(napi_env env, napi_value options, const char *name, char *out, size_t size);

napi_value number(napi_env env, double value);
napi_value new_bytes(napi_env env, const void *data, size_t length);

/* ---- errors.c ---- */

/** Which call failed, on what, and why; filled where no JavaScript may run, thrown later. */
struct failure {
  int error; /* errno; 0 for none */
  const char *syscall;
  const char *subject; /* what it was about, or NULL */
  const char *netns;   /* where, or NULL or "" for the caller's */
};

/** Fills `failure` with the errno of now, and returns -1. */
int fail(struct failure *failure, const char *syscall, const char *subject);

/** Throws an Error with `code`, `errno` (negative, as Node has it) and `syscall`; `detail`, or NULL, ends the message. */
napi_value throw_failure(napi_env env, const struct failure *failure, const char *detail);

/* ---- netns.c ---- */

#define NETNS_PATH_BYTES 4096

struct netns {
  int home; /* -1: nowhere else entered */
};

/**
 * Brings this thread into the namespace at `path` ('' stays). No JavaScript may run, and no thread be started, until
 * netns_leave. 0, or -1 with `failure` filled and the thread where it was.
 */
int netns_enter(struct netns *netns, const char *path, struct failure *failure);
/** Brings it back. Keeps errno. */
void netns_leave(const struct netns *netns);

/* ---- memory.c ---- */

/** The region that holds `data`, with one more user; NULL when it isn't memory of allocate(). */
struct region *region_join(const void *data);
void region_leave(struct region *region);

/* ---- attach.c ---- */

/** Whether the memory is still where it was when the pool was attached. */
bool pool_check_memory(napi_env env, const struct pool *pool);
void pool_release(napi_env env, struct pool *pool);

/* ---- the calls, as `interface Addon` in src/dataplane/io/native.ts describes them ---- */

#define CALLS(X)                                                                                          \
  X(allocate) X(attach) X(detach)                                                                         \
  X(openTap) X(setTapOffloads) X(openUdp) X(close)                                                        \
  X(tapReceive) X(tapTransmit) X(udpReceive) X(udpTransmit)                                               \
  X(sums) X(copySegments) X(joinSegments)                                                                                 \
  X(epollCreate) X(epollAdd) X(epollDelete) X(wait) X(eventCreate) X(eventSignal) X(eventClear)           \
  X(netlink) X(netlinkSubscribe) X(netlinkRead)                                                           \
  X(bpfLoad) X(bpfAttach) X(ethtool)

#define DECLARE(name) napi_value call_##name(napi_env env, napi_callback_info info);
CALLS(DECLARE)
#undef DECLARE

#endif
