/* Netlink: bytes out, bytes in. The messages are made and understood in TypeScript; only their framing is looked at here. */
#include "addon.h"
#include "kernel.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/** Free room before each read; the kernel makes messages of at most 32 KB in dumps, and of a few times that in replies. */
#define READ_BYTES (256 * 1024)

/** At most this much is collected: a dump that is longer has gone astray. */
#define REPLY_LIMIT (256 * 1024 * 1024)

/** About what netlinkRead() takes at a time; the socket stays readable when there is more. */
#define READ_LIMIT (1024 * 1024)

struct reply {
  uint8_t *bytes;
  size_t length;
  size_t size;
};

static ssize_t read_more(int fd, int flags, struct reply *reply) {
  if (reply->size - reply->length < READ_BYTES) {
    size_t size = 2 * reply->size + READ_BYTES;
    uint8_t *bytes = size > REPLY_LIMIT ? NULL : realloc(reply->bytes, size);
    if (bytes == NULL) {
      errno = ENOMEM;
      return -1;
    }
    reply->bytes = bytes;
    reply->size = size;
  }
  struct sockaddr_nl from = {0};
  ssize_t got;
  do {
    struct iovec iov = {reply->bytes + reply->length, READ_BYTES};
    struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1};
    got = recvmsg(fd, &message, flags);
    if (got >= 0 && (message.msg_flags & MSG_TRUNC) != 0) {
      errno = EMSGSIZE;
      return -1;
    }
    /* Any process may send to a netlink socket; only the kernel is port 0. */
  } while ((got < 0 && errno == EINTR) || (got >= 0 && from.nl_pid != 0));
  if (got > 0) reply->length += (size_t)got;
  return got;
}

/** Whether what came last ends the exchange: an ack, an error, a dump's end, or a single message that isn't part of many. */
static bool is_last(const uint8_t *bytes, size_t length, bool acked) {
  struct nlmsghdr header;
  while (length >= sizeof header) {
    memcpy(&header, bytes, sizeof header);
    if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) return true;
    if (!acked && (header.nlmsg_flags & NLM_F_MULTI) == 0) return true;
    size_t whole = NLMSG_ALIGN((size_t)header.nlmsg_len);
    if (header.nlmsg_len < sizeof header || whole >= length) return false;
    bytes += whole;
    length -= whole;
  }
  return false;
}

static int exchange(int32_t protocol, const uint8_t *request, size_t length, struct reply *reply, struct failure *failure) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) return fail(failure, "socket", NULL);
  int one = 1;
  /* Errors come with the kernel's sentence where it has one. */
  setsockopt(fd, SOL_NETLINK, VIADUCT_NETLINK_EXT_ACK, &one, sizeof one);
  /* The kernel answers within the call; a request that it answers not at all shall not hang the thread. */
  struct timeval patience = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

  struct nlmsghdr header;
  memcpy(&header, request, sizeof header);
  bool acked = (header.nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP)) != 0;
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  int result = 0;
  if (sendto(fd, request, length, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
    result = fail(failure, "sendto", NULL);
  } else {
    for (;;) {
      ssize_t got = read_more(fd, 0, reply);
      if (got < 0) {
        if (errno == EAGAIN) errno = ETIMEDOUT;
        result = fail(failure, "recvmsg", NULL);
        break;
      }
      if (got == 0 || is_last(reply->bytes + reply->length - got, (size_t)got, acked)) break;
    }
  }
  close(fd);
  return result;
}

napi_value call_netlink(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  char netns[NETNS_PATH_BYTES];
  int32_t protocol;
  uint8_t *request;
  size_t length;
  if (arguments(env, info, 3, argv) == NULL || !string_argument(env, argv[0], "netns", netns, sizeof netns) ||
      !int_argument(env, argv[1], "protocol", &protocol) ||
      !bytes_argument(env, argv[2], "request", &request, &length)) {
    return NULL;
  }
  if (length < sizeof(struct nlmsghdr)) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "request must hold a netlink message");
    return NULL;
  }
  struct failure failure = {0};
  struct netns place;
  struct reply reply = {0};
  int result = -1;
  if (netns_enter(&place, netns, &failure) == 0) {
    result = exchange(protocol, request, length, &reply, &failure);
    netns_leave(&place);
  }
  napi_value bytes = result == 0 ? new_bytes(env, reply.bytes, reply.length) : throw_failure(env, &failure, NULL);
  free(reply.bytes);
  return bytes;
}

static int subscribe(int32_t protocol, uint32_t groups, struct failure *failure) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) return fail(failure, "socket", NULL);
  /* A burst of changes shall not overrun it; without the right to, the default has to do. */
  int bytes = 4 * 1024 * 1024;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = groups};
  if (bind(fd, (struct sockaddr *)&name, sizeof name) == 0) return fd;
  fail(failure, "bind", NULL);
  close(fd);
  return -1;
}

napi_value call_netlinkSubscribe(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  char netns[NETNS_PATH_BYTES];
  int32_t protocol;
  uint32_t groups;
  if (arguments(env, info, 3, argv) == NULL || !string_argument(env, argv[0], "netns", netns, sizeof netns) ||
      !int_argument(env, argv[1], "protocol", &protocol) || !mask_argument(env, argv[2], "groups", &groups)) {
    return NULL;
  }
  struct failure failure = {0};
  struct netns place;
  int fd = -1;
  if (netns_enter(&place, netns, &failure) == 0) {
    fd = subscribe(protocol, groups, &failure);
    netns_leave(&place);
  }
  return fd < 0 ? throw_failure(env, &failure, NULL) : number(env, fd);
}

napi_value call_netlinkRead(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  int32_t fd;
  if (arguments(env, info, 1, argv) == NULL || !int_argument(env, argv[0], "fd", &fd)) return NULL;
  struct reply reply = {0};
  ssize_t got;
  do {
    got = read_more(fd, MSG_DONTWAIT, &reply);
  } while (got > 0 && reply.length < READ_LIMIT);
  napi_value bytes;
  if (got < 0 && errno != EAGAIN) {
    /* ENOBUFS: messages were lost. Those already read go too, for the caller has to take everything anew. */
    struct failure failure = {.error = errno, .syscall = "recvmsg"};
    bytes = throw_failure(env, &failure, NULL);
  } else {
    bytes = new_bytes(env, reply.bytes, reply.length);
  }
  free(reply.bytes);
  return bytes;
}
