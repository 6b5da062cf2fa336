/* Datagrams in batches: recvmmsg with UDP_GRO, sendmmsg with UDP_SEGMENT and gathered bundles. */
#include "addon.h"
#include "kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/** Bytes of a row of the address table; a sockaddr_in or sockaddr_in6 stands at its start. */
#define ADDRESS_ROW 32

/** ECN's bits in TOS and traffic class. */
#define ECN_MASK 3

/** Writes where a datagram came from to the start of its slot, port in host order (SENDER_* in core/pool.ts). */
static void put_sender(uint8_t *slot, const struct sockaddr_in6 *name) {
  uint16_t family = 0;
  uint16_t port = 0;
  if (name->sin6_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
    family = 4;
    port = ntohs(v4->sin_port);
    memcpy(slot + SENDER_ADDRESS, &v4->sin_addr, 4);
  } else if (name->sin6_family == AF_INET6) {
    family = 6;
    port = ntohs(name->sin6_port);
    memcpy(slot + SENDER_ADDRESS, &name->sin6_addr, 16);
  }
  memcpy(slot + SENDER_FAMILY, &family, 2);
  memcpy(slot + SENDER_PORT, &port, 2);
}

/** What the kernel says of a message: the size of the datagrams that it glued together, 0 when it didn't; their ECN field. */
static void read_control(struct msghdr *message, uint32_t length, int32_t *segment, int32_t *ecn) {
  *segment = 0;
  *ecn = 0;
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control)) {
    if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS && control->cmsg_len >= CMSG_LEN(1)) {
      *ecn = *CMSG_DATA(control) & ECN_MASK;
      continue;
    }
    int value;
    if (control->cmsg_len < CMSG_LEN(sizeof value)) continue;
    memcpy(&value, CMSG_DATA(control), sizeof value);
    if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == VIADUCT_UDP_GRO) {
      if (value > 0 && (uint32_t)value < length) *segment = value;
    } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_TCLASS) {
      *ecn = value & ECN_MASK;
    }
  }
}

/** Messages for list[0..want). Returns how many; fewer than wanted when the next packet is out of bounds. */
static int prepare_receive(struct scratch *scratch, const struct pool *pool, const int32_t *list, int want) {
  for (int n = 0; n < want; n++) {
    int32_t packet = load(list + n);
    struct room room;
    if (!packet_room(pool, packet, &room)) return n;
    scratch->packets[n] = packet;
    scratch->slots[n] = room.slot;
    scratch->iov[n] = (struct iovec){room.at, room.bytes};
    scratch->names[n].sin6_family = AF_UNSPEC;
    scratch->messages[n].msg_hdr = (struct msghdr){
        .msg_name = &scratch->names[n],
        .msg_namelen = sizeof scratch->names[n],
        .msg_iov = &scratch->iov[n],
        .msg_iovlen = 1,
        .msg_control = scratch->control[n].bytes,
        .msg_controllen = sizeof scratch->control[n].bytes,
    };
  }
  return want;
}

napi_value call_udpReceive(napi_env env, napi_callback_info info) {
  napi_value argv[4];
  int32_t fd, count;
  int32_t *list;
  size_t listed;
  struct addon *addon = arguments(env, info, 4, argv);
  if (addon == NULL) return NULL;
  struct pool *pool = pool_argument(env, addon, argv[0]);
  if (pool == NULL || !int_argument(env, argv[1], "fd", &fd) ||
      !int32s_argument(env, argv[2], "list", &list, &listed) || !int_argument(env, argv[3], "count", &count)) {
    return NULL;
  }
  pool->status[1] = 0;
  if (count < 0 || (size_t)count > listed) {
    pool->status[1] = EFAULT;
    return number(env, 0);
  }
  struct scratch *scratch = &addon->scratch;
  int32_t received = 0;
  while (received < count) {
    int want = count - received < BATCH ? count - received : BATCH;
    int ready = prepare_receive(scratch, pool, list + received, want);
    int got = ready == 0 ? 0 : recvmmsg(fd, scratch->messages, (unsigned)ready, MSG_DONTWAIT, NULL);
    if (got < 0) {
      pool->status[1] = errno == EAGAIN ? 0 : errno;
      break;
    }
    for (int n = 0; n < got; n++) {
      struct mmsghdr *message = &scratch->messages[n];
      /* A datagram that its slot couldn't take whole is worth nothing: an empty one drops as too short. */
      uint32_t length = (message->msg_hdr.msg_flags & MSG_TRUNC) != 0 ? 0 : message->msg_len;
      store(cell(pool, LENGTH, scratch->packets[n]), (int32_t)length);
      int32_t segment, ecn;
      read_control(&message->msg_hdr, length, &segment, &ecn);
      store(cell(pool, SEGMENT, scratch->packets[n]), segment);
      store(cell(pool, ECN, scratch->packets[n]), ecn);
      put_sender(scratch->slots[n], &scratch->names[n]);
    }
    received += got;
    if (got < ready) break; /* the socket is empty; asking again would cost a call to hear it */
    if (ready < want) {
      pool->status[1] = EFAULT;
      break;
    }
  }
  return number(env, received);
}

/** The address table of one call. */
struct addresses {
  const uint8_t *rows;
  size_t count;
};

static bool set_destination(struct msghdr *message, const struct addresses *addresses, int32_t vtep) {
  if ((uint32_t)vtep >= addresses->count) return false;
  const uint8_t *row = addresses->rows + (size_t)vtep * ADDRESS_ROW;
  sa_family_t family;
  memcpy(&family, row, sizeof family);
  if (family != AF_INET && family != AF_INET6) return false;
  message->msg_name = (void *)row;
  message->msg_namelen = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
  return true;
}

/** Appends a control message; `control` has room for two of an int. */
static void put_control(
    struct msghdr *message, union control *control, int level, int type, const void *value, size_t bytes) {
  struct cmsghdr *header = (struct cmsghdr *)(control->bytes + message->msg_controllen);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(bytes);
  memcpy(CMSG_DATA(header), value, bytes);
  message->msg_control = control->bytes;
  message->msg_controllen += CMSG_SPACE(bytes);
}

static bool set_segment(struct msghdr *message, union control *control, size_t segment) {
  if (segment == 0 || segment > UINT16_MAX) return false;
  uint16_t size = (uint16_t)segment;
  put_control(message, control, IPPROTO_UDP, VIADUCT_UDP_SEGMENT, &size, sizeof size);
  return true;
}

/** Not-ECT is what a socket sends of its own accord. */
static void set_ecn(struct msghdr *message, union control *control, int32_t ecn) {
  int value = ecn & ECN_MASK;
  if (value == 0) return;
  bool six = message->msg_namelen == sizeof(struct sockaddr_in6);
  put_control(message, control, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TCLASS : IP_TOS, &value, sizeof value);
}

/**
 * Messages for list[i..count), as many as a batch and its pieces hold. Returns how many; `*bad` when the packet after
 * them is out of bounds.
 */
static int prepare_transmit(
    struct scratch *scratch, const struct pool *pool, const struct addresses *addresses, const int32_t *list, int32_t i,
    int32_t count, bool *bad) {
  int n = 0;
  int pieces = 0;
  *bad = true;
  while (n < BATCH && i < count) {
    int32_t size = bundle_size(pool, list, i, count, IOV_LIMIT);
    if (size > IOV_LIMIT - pieces) break;
    struct iovec *iov = scratch->iov + pieces;
    struct msghdr *message = &scratch->messages[n].msg_hdr;
    int32_t first = load(list + i);
    if (size == 0 || !bundle_bytes(pool, list, i, size, first, iov)) return n;
    *message = (struct msghdr){.msg_iov = iov, .msg_iovlen = (size_t)size};
    if (!set_destination(message, addresses, load(cell(pool, VTEP, first)))) return n;
    int32_t segment = size > 1 ? (int32_t)iov->iov_len : load(cell(pool, SEGMENT, first));
    if ((size > 1 || segment != 0) && !set_segment(message, &scratch->control[n], (size_t)segment)) return n;
    set_ecn(message, &scratch->control[n], load(cell(pool, ECN, first)));
    scratch->packets[n++] = size;
    pieces += size;
    i += size;
  }
  *bad = false;
  return n;
}

napi_value call_udpTransmit(napi_env env, napi_callback_info info) {
  napi_value argv[6];
  int32_t fd, from, count;
  int32_t *list;
  uint8_t *table;
  size_t listed, table_bytes;
  struct addon *addon = arguments(env, info, 6, argv);
  if (addon == NULL) return NULL;
  struct pool *pool = pool_argument(env, addon, argv[0]);
  if (pool == NULL || !int_argument(env, argv[1], "fd", &fd) ||
      !bytes_argument(env, argv[2], "addresses", &table, &table_bytes) ||
      !int32s_argument(env, argv[3], "list", &list, &listed) || !int_argument(env, argv[4], "from", &from) ||
      !int_argument(env, argv[5], "count", &count)) {
    return NULL;
  }
  pool->status[1] = 0;
  if (from < 0 || count < from || (size_t)count > listed) {
    pool->status[1] = EFAULT;
    return number(env, from);
  }
  struct addresses addresses = {table, table_bytes / ADDRESS_ROW};
  struct scratch *scratch = &addon->scratch;
  int32_t i = from;
  while (i < count) {
    bool bad;
    int ready = prepare_transmit(scratch, pool, &addresses, list, i, count, &bad);
    int sent = ready == 0 ? 0 : sendmmsg(fd, scratch->messages, (unsigned)ready, MSG_DONTWAIT);
    if (sent < 0) {
      pool->status[1] = errno;
      break;
    }
    for (int n = 0; n < sent; n++) i += scratch->packets[n];
    /* Of a message that failed behind others sendmmsg tells nothing: the next turn begins with it and hears why. */
    if (sent == ready && bad) {
      pool->status[1] = EFAULT;
      break;
    }
  }
  return number(env, i);
}
