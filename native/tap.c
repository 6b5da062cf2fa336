/* TAP and TUN devices: opened with the virtio-net header, read and written a frame (or super-packet) a call. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct tap {
  char name[IFNAMSIZ];
  bool tun;
  bool multi_queue;
  int32_t header_bytes;
  int32_t offloads;
  int32_t send_buffer;
  unsigned index;
};

/** Opens in the namespace of the thread. Returns the descriptor, or -1 with `failure` filled; `tap->name` becomes the real one. */
static int open_tap(struct tap *tap, struct failure *failure) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fail(failure, "open", "/dev/net/tun");

  struct ifreq request = {0};
  memcpy(request.ifr_name, tap->name, IFNAMSIZ);
  request.ifr_flags = (short)((tap->tun ? IFF_TUN : IFF_TAP) | IFF_NO_PI | IFF_VNET_HDR | (tap->multi_queue ? IFF_MULTI_QUEUE : 0));
  int header_bytes = tap->header_bytes;
  int little_endian = 1;
  int send_buffer = tap->send_buffer;
  if (ioctl(fd, TUNSETIFF, &request) != 0) {
    fail(failure, "TUNSETIFF", tap->name);
  } else if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) {
    fail(failure, "TUNSETVNETHDRSZ", tap->name);
  } else if (ioctl(fd, TUNSETVNETLE, &little_endian) != 0) {
    fail(failure, "TUNSETVNETLE", tap->name);
  } else if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)(uint32_t)tap->offloads) != 0) {
    fail(failure, "TUNSETOFFLOAD", tap->name);
  } else if (send_buffer > 0 && ioctl(fd, TUNSETSNDBUF, &send_buffer) != 0) {
    fail(failure, "TUNSETSNDBUF", tap->name);
  } else if ((tap->index = if_nametoindex(request.ifr_name)) == 0) {
    fail(failure, "if_nametoindex", tap->name);
  } else {
    memcpy(tap->name, request.ifr_name, IFNAMSIZ);
    return fd;
  }
  close(fd);
  return -1;
}

napi_value call_openTap(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  if (arguments(env, info, 1, argv) == NULL) return NULL;
  struct tap tap = {0};
  char netns[NETNS_PATH_BYTES];
  if (!string_option(env, argv[0], "name", tap.name, sizeof tap.name) ||
      !string_option(env, argv[0], "netns", netns, sizeof netns) || !bool_option(env, argv[0], "tun", &tap.tun) ||
      !bool_option(env, argv[0], "multiQueue", &tap.multi_queue) ||
      !int_option(env, argv[0], "headerBytes", &tap.header_bytes) ||
      !int_option(env, argv[0], "offloads", &tap.offloads) ||
      !int_option(env, argv[0], "sendBuffer", &tap.send_buffer)) {
    return NULL;
  }
  struct failure failure = {0};
  struct netns place;
  int fd = -1;
  if (netns_enter(&place, netns, &failure) == 0) {
    fd = open_tap(&tap, &failure);
    netns_leave(&place);
  }
  if (fd < 0) return throw_failure(env, &failure, NULL);

  napi_value result;
  napi_value name;
  if (napi_create_object(env, &result) != napi_ok ||
      napi_create_string_utf8(env, tap.name, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_set_named_property(env, result, "fd", number(env, fd)) != napi_ok ||
      napi_set_named_property(env, result, "name", name) != napi_ok ||
      napi_set_named_property(env, result, "index", number(env, tap.index)) != napi_ok) {
    close(fd);
    return NULL;
  }
  return result;
}

napi_value call_setTapOffloads(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  int32_t fd, bits;
  if (arguments(env, info, 2, argv) == NULL || !int_argument(env, argv[0], "fd", &fd) ||
      !int_argument(env, argv[1], "bits", &bits)) {
    return NULL;
  }
  return number(env, ioctl(fd, TUNSETOFFLOAD, (unsigned long)(uint32_t)bits) == 0 ? 0 : errno);
}

napi_value call_tapReceive(napi_env env, napi_callback_info info) {
  napi_value argv[5];
  int32_t fd, header_bytes, count;
  int32_t *list;
  size_t listed;
  struct addon *addon = arguments(env, info, 5, argv);
  if (addon == NULL) return NULL;
  struct pool *pool = pool_argument(env, addon, argv[0]);
  if (pool == NULL || !int_argument(env, argv[1], "fd", &fd) ||
      !int_argument(env, argv[2], "headerBytes", &header_bytes) ||
      !int32s_argument(env, argv[3], "list", &list, &listed) || !int_argument(env, argv[4], "count", &count)) {
    return NULL;
  }
  pool->status[1] = 0;
  if (header_bytes < 0 || header_bytes > VIRTIO_BYTES || count < 0 || (size_t)count > listed) {
    pool->status[1] = EFAULT;
    return number(env, 0);
  }
  int32_t i = 0;
  for (; i < count; i++) {
    int32_t packet = load(list + i);
    struct room room;
    if (!packet_room(pool, packet, &room)) {
      pool->status[1] = EFAULT;
      break;
    }
    struct iovec iov[2] = {{virtio_record(pool, packet), (size_t)header_bytes}, {room.at, room.bytes}};
    ssize_t got = readv(fd, iov, 2);
    if (got < header_bytes) {
      /* A TAP gives the header or nothing; whatever gives less isn't one. */
      pool->status[1] = got >= 0 ? EIO : errno == EAGAIN ? 0 : errno;
      break;
    }
    store(cell(pool, LENGTH, packet), (int32_t)(got - header_bytes));
  }
  return number(env, i);
}

napi_value call_tapTransmit(napi_env env, napi_callback_info info) {
  napi_value argv[6];
  int32_t fd, header_bytes, from, count;
  int32_t *list;
  size_t listed;
  struct addon *addon = arguments(env, info, 6, argv);
  if (addon == NULL) return NULL;
  struct pool *pool = pool_argument(env, addon, argv[0]);
  if (pool == NULL || !int_argument(env, argv[1], "fd", &fd) ||
      !int_argument(env, argv[2], "headerBytes", &header_bytes) ||
      !int32s_argument(env, argv[3], "list", &list, &listed) || !int_argument(env, argv[4], "from", &from) ||
      !int_argument(env, argv[5], "count", &count)) {
    return NULL;
  }
  pool->status[1] = 0;
  if (header_bytes < 0 || header_bytes > VIRTIO_BYTES || from < 0 || count < from || (size_t)count > listed) {
    pool->status[1] = EFAULT;
    return number(env, from);
  }
  struct iovec *iov = addon->scratch.iov;
  int32_t i = from;
  while (i < count) {
    int32_t size = bundle_size(pool, list, i, count, IOV_LIMIT - 1);
    int32_t first = load(list + i);
    if (size == 0 || !bundle_bytes(pool, list, i, size, first, iov + 1)) {
      pool->status[1] = EFAULT;
      break;
    }
    iov[0] = (struct iovec){virtio_record(pool, first), (size_t)header_bytes};
    if (writev(fd, iov, size + 1) < 0) {
      pool->status[1] = errno;
      break;
    }
    i += size;
  }
  return number(env, i);
}
