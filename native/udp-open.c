/* UDP sockets of the underlay. */
#include "addon.h"
#include "kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

struct udp {
  int32_t family;
  char address[INET6_ADDRSTRLEN];
  int32_t port;
  bool reuse_port;
  bool gro;
  int32_t mtu_discover;
  int32_t receive_buffer;
  int32_t send_buffer;
};

static int set(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value); }

/** More than the system's limit where we may (CAP_NET_ADMIN), else as much as it allows. */
static int set_buffer(int fd, int force, int plain, int bytes) {
  return bytes <= 0 || set(fd, SOL_SOCKET, force, bytes) == 0 ? 0 : set(fd, SOL_SOCKET, plain, bytes);
}

/** Binds, and returns the port that it became; -1 with `failure` filled. */
static int bind_udp(int fd, const struct udp *udp, struct failure *failure) {
  struct sockaddr_storage storage = {0};
  struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
  socklen_t length = udp->family == 4 ? sizeof *v4 : sizeof *v6;
  int known = 1;
  if (udp->family == 4) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)udp->port);
    if (udp->address[0] != 0) known = inet_pton(AF_INET, udp->address, &v4->sin_addr);
  } else {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)udp->port);
    if (udp->address[0] != 0) known = inet_pton(AF_INET6, udp->address, &v6->sin6_addr);
  }
  if (known != 1) {
    errno = EINVAL;
    return fail(failure, "inet_pton", udp->address);
  }
  if (bind(fd, (struct sockaddr *)&storage, length) != 0) return fail(failure, "bind", udp->address);
  if (getsockname(fd, (struct sockaddr *)&storage, &length) != 0) return fail(failure, "getsockname", udp->address);
  return ntohs(udp->family == 4 ? v4->sin_port : v6->sin6_port);
}

/** Opens in the namespace of the thread. Returns the descriptor, or -1 with `failure` filled. */
static int open_udp(const struct udp *udp, int *port, struct failure *failure) {
  bool six = udp->family == 6;
  int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(failure, "socket", NULL);
  if (six && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) {
    fail(failure, "setsockopt", "IPV6_V6ONLY");
  } else if (set(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVTCLASS : IP_RECVTOS, 1) != 0) {
    fail(failure, "setsockopt", six ? "IPV6_RECVTCLASS" : "IP_RECVTOS");
  } else if (six && set(fd, IPPROTO_UDP, VIADUCT_UDP_NO_CHECK6_RX, 1) != 0) {
    /* RFC 7348, 4.1: a datagram whose UDP checksum is zero MUST be accepted; over IPv6 that has to be asked for. */
    fail(failure, "setsockopt", "UDP_NO_CHECK6_RX");
  } else if (udp->reuse_port && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0) {
    fail(failure, "setsockopt", "SO_REUSEPORT");
  } else if (udp->gro && set(fd, IPPROTO_UDP, VIADUCT_UDP_GRO, 1) != 0) {
    fail(failure, "setsockopt", "UDP_GRO");
  } else if (
      set(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, udp->mtu_discover) != 0) {
    fail(failure, "setsockopt", six ? "IPV6_MTU_DISCOVER" : "IP_MTU_DISCOVER");
  } else if (set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, udp->receive_buffer) != 0) {
    fail(failure, "setsockopt", "SO_RCVBUF");
  } else if (set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, udp->send_buffer) != 0) {
    fail(failure, "setsockopt", "SO_SNDBUF");
  } else if ((*port = bind_udp(fd, udp, failure)) >= 0) {
    return fd;
  }
  close(fd);
  return -1;
}

napi_value call_openUdp(napi_env env, napi_callback_info info) {
  napi_value argv[1];
  if (arguments(env, info, 1, argv) == NULL) return NULL;
  struct udp udp = {0};
  char netns[NETNS_PATH_BYTES];
  if (!int_option(env, argv[0], "family", &udp.family) ||
      !string_option(env, argv[0], "address", udp.address, sizeof udp.address) ||
      !int_option(env, argv[0], "port", &udp.port) || !string_option(env, argv[0], "netns", netns, sizeof netns) ||
      !bool_option(env, argv[0], "reusePort", &udp.reuse_port) || !bool_option(env, argv[0], "gro", &udp.gro) ||
      !int_option(env, argv[0], "mtuDiscover", &udp.mtu_discover) ||
      !int_option(env, argv[0], "receiveBuffer", &udp.receive_buffer) ||
      !int_option(env, argv[0], "sendBuffer", &udp.send_buffer)) {
    return NULL;
  }
  if ((udp.family != 4 && udp.family != 6) || udp.port < 0 || udp.port > 65535) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "family must be 4 or 6, port from 0 to 65535");
    return NULL;
  }
  struct failure failure = {0};
  struct netns place;
  int fd = -1;
  int port = 0;
  if (netns_enter(&place, netns, &failure) == 0) {
    fd = open_udp(&udp, &port, &failure);
    netns_leave(&place);
  }
  if (fd < 0) return throw_failure(env, &failure, NULL);

  napi_value result;
  if (napi_create_object(env, &result) != napi_ok ||
      napi_set_named_property(env, result, "fd", number(env, fd)) != napi_ok ||
      napi_set_named_property(env, result, "port", number(env, port)) != napi_ok) {
    close(fd);
    return NULL;
  }
  return result;
}
