// c-vxlan NETNS LOCAL REMOTE INTERFACE NEXT_HOP_MAC PEER_MAC
//
// A user-space VXLAN data plane for one workload, in C: the reference of the tunnel device, with the same I/O and the
// same work. Started in the host's namespace; makes eth0 in the workload's, whose addresses are others' business.
// Prints "ready".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vxlan.h"

struct pool pool;
struct ends ends;
volatile unsigned long sunk;

static void read_mac(uint8_t *to, const char *text) {
  if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4, to + 5) != 6)
    fprintf(stderr, "c-vxlan: %s is no MAC address\n", text), exit(2);
}

/// Ethernet, IPv4 with DF, UDP.
static void write_template(const char *interface, const char *next_hop) {
  struct ifreq request = {0};
  strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) perror(interface), exit(1);
  uint8_t *outer = ends.outer;
  read_mac(outer, next_hop);
  memcpy(outer + 6, request.ifr_hwaddr.sa_data, 6);
  store16(outer + 12, 0x0800), store16(outer + 14, 0x4500), store16(outer + 20, 0x4000), store16(outer + 22, 64 << 8 | 17);
  store32(outer + 26, ends.local), store32(outer + 30, ends.remote);
  store16(outer + 24, ~sum_header(outer + 14));
  store16(outer + 36, PORT);
}

/// The tunnel TAP is up, as large as it gets, and silent.
static void raise_tap(const char *name) {
  char command[200];
  snprintf(command, sizeof command, "sysctl -qw net.ipv6.conf.%s.disable_ipv6=1; ip link set %s mtu 9216 up", name, name);
  if (system(command) != 0) exit(1);
}

int main(int argc, char **argv) {
  if (argc != 7) return fprintf(stderr, "usage: c-vxlan NETNS LOCAL REMOTE INTERFACE NEXT_HOP_MAC PEER_MAC\n"), 2;
  ends.local = ntohl(inet_addr(argv[2])), ends.remote = ntohl(inet_addr(argv[3]));
  uint8_t peer[6];
  read_mac(peer, argv[6]);
  pool.slab = mmap(NULL, (size_t)SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  write_template(argv[4], argv[5]);
  fill_table(1000, 1);
  insert(NETWORK << 16 | load16(peer), load32(peer + 2), 0);

  char own[IFNAMSIZ] = "eth0", tunnel_name[IFNAMSIZ] = "cvx%d";
  const unsigned offloads = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40; // CSUM, TSO4, TSO6, TSO_ECN, USO4, USO6
  int tap = open_tap(argv[1], own, TAP_HEADER, offloads);
  int tunnel = open_tap("", tunnel_name, TUNNEL_HEADER, offloads | 0x80 | 0x100); // UDP_TUNNEL_GSO, …_CSUM
  int socket = open_socket(ends.local, PORT);
  raise_tap(tunnel_name);
  steer(if_nametoindex(tunnel_name), if_nametoindex(argv[4]), ends.local, PORT);
  puts("ready"), fflush(stdout);

  static struct packet packets[SLOTS];
  struct pollfd waits[] = {{.fd = tap, .events = POLLIN}, {.fd = tunnel, .events = POLLIN}, {.fd = socket, .events = POLLIN}};
  for (;;) {
    if (poll(waits, 3, -1) < 0) continue;
    if (waits[0].revents) send_out(tunnel, packets, read_tap(tap, TAP_HEADER, FRAME_AT, packets, SLOTS));
    if (waits[1].revents) send_in(tap, packets, read_tap(tunnel, TUNNEL_HEADER, FRAME_AT - HEAD, packets, SLOTS), true);
    if (waits[2].revents) send_in(tap, packets, read_socket(socket, FRAME_AT - 8, packets, SLOTS), false);
  }
}
