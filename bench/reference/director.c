// c-director PROTOCOL,VIRTUAL,PORT,SERVER[,SERVER…] …
//
// Viaduct's director in C: the same TUN with super-packets, the same rules of policy routing, the same work a packet
// (table of connections, state, NAT with the checksums), for TCP and UDP over IPv4 and round robin alone. Started in
// the director's namespace; prints "ready".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SERVICES = 16, SERVERS = 16, CONNECTIONS = 1 << 20, BATCH = 64, ROOM = 68 << 10, TCP = 6, UDP = 17 };
enum { NEEDS_CHECKSUM = 1, LARGE = 8192, LARGE_BATCH = 8 };

struct virtio { uint8_t flags, type; uint16_t header, segment, start, offset, buffers; };
struct packet { struct virtio virtio; uint32_t length; uint8_t *at; };
struct service { uint32_t address; uint16_t port; uint8_t protocol; unsigned count, next; uint32_t servers[SERVERS]; };
struct connection {
  uint32_t client, virtual, server, ports, server_port, state, packets;
  uint64_t expires;
  uint8_t protocol;
};

static struct service services[SERVICES];
static unsigned service_count;
static struct connection connections[CONNECTIONS];
static unsigned used = 1;
static uint32_t heads[2 * CONNECTIONS][2]; // hash, reference: connection × 2 + reply

static uint32_t load32(const uint8_t *p) { uint32_t w; memcpy(&w, p, 4); return ntohl(w); }
static uint16_t load16(const uint8_t *p) { return p[0] << 8 | p[1]; }
static void store32(uint8_t *p, uint32_t w) { w = htonl(w), memcpy(p, &w, 4); }
static void store16(uint8_t *p, uint16_t w) { p[0] = w >> 8, p[1] = w; }
static void check(bool ok, const char *what) { if (!ok) perror(what), exit(1); }

static uint32_t hash(uint32_t source, uint32_t target, uint32_t ports, uint8_t protocol) {
  uint32_t h = (source ^ protocol * 0x27d4eb2fu ^ target) * 0x9e3779b1u;
  h = (h ^ h >> 15 ^ ports) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  h ^= h >> 16;
  return h ? h : 1;
}

static bool matches(uint32_t reference, uint32_t source, uint32_t target, uint32_t ports, uint8_t protocol) {
  const struct connection *c = &connections[reference >> 1];
  if (c->protocol != protocol) return false;
  if ((reference & 1) == 0) return c->client == source && c->virtual == target && c->ports == ports;
  return c->server == source && c->client == target && (c->server_port << 16 | c->ports >> 16) == ports;
}

static uint32_t find(uint32_t h, uint32_t source, uint32_t target, uint32_t ports, uint8_t protocol) {
  for (uint32_t cell = h % (2 * CONNECTIONS);; cell = (cell + 1) % (2 * CONNECTIONS)) {
    if (heads[cell][0] == 0) return 0;
    if (heads[cell][0] == h && matches(heads[cell][1], source, target, ports, protocol)) return heads[cell][1];
  }
}

static void enter(uint32_t h, uint32_t reference) {
  uint32_t cell = h % (2 * CONNECTIONS);
  while (heads[cell][0] != 0) cell = (cell + 1) % (2 * CONNECTIONS);
  heads[cell][0] = h, heads[cell][1] = reference;
}

/// A connection for the packet; 0 when it belongs to no service.
static uint32_t begin(uint32_t source, uint32_t target, uint32_t ports, uint8_t protocol, uint8_t flags) {
  for (unsigned i = 0; i < service_count; i++) {
    struct service *s = &services[i];
    if (s->address != target || s->port != (ports & 0xffff) || s->protocol != protocol) continue;
    if ((protocol == TCP && (flags & 0x16) != 0x02) || used == CONNECTIONS) return 0;
    struct connection *c = &connections[used];
    *c = (struct connection){.client = source, .virtual = target, .ports = ports, .server_port = s->port, .protocol = protocol};
    c->server = s->servers[s->next++ % s->count];
    enter(hash(source, target, ports, protocol), used * 2);
    enter(hash(c->server, source, c->server_port << 16 | ports >> 16, protocol), used * 2 + 1);
    return used++ * 2;
  }
  return 0;
}

/// RFC 1624, of 16-bit words summed.
static void adjust(uint8_t *field, uint32_t before, uint32_t after, bool unfinished) {
  uint32_t sum = unfinished ? load16(field) : (uint16_t)~load16(field);
  sum += (uint16_t)~(before >> 16) + (uint16_t)~before + (after >> 16) + (after & 0xffff);
  sum = (sum & 0xffff) + (sum >> 16), sum = (sum & 0xffff) + (sum >> 16);
  store16(field, unfinished ? sum : ~sum);
}

static void balance(struct packet *packet, uint64_t now) {
  uint8_t *ip = packet->at;
  if (packet->length < 28 || ip[0] != 0x45 || (load16(ip + 6) & 0x3fff) != 0) return;
  uint8_t protocol = ip[9];
  if ((protocol != TCP && protocol != UDP) || (protocol == TCP && packet->length < 40)) return;
  uint8_t *transport = ip + 20;
  uint32_t source = load32(ip + 12), target = load32(ip + 16), ports = load32(transport);
  uint8_t flags = protocol == TCP ? transport[13] : 0;
  uint32_t found = find(hash(source, target, ports, protocol), source, target, ports, protocol);
  if (found == 0 && (found = begin(source, target, ports, protocol, flags)) == 0) return;
  struct connection *c = &connections[found >> 1];
  c->expires = now + (protocol == TCP ? 900 : 300), c->state |= flags, c->packets++;
  bool reply = found & 1, unfinished = packet->virtio.flags & NEEDS_CHECKSUM;
  uint32_t after = reply ? c->virtual : c->server, before = reply ? source : target;
  uint16_t port = reply ? c->ports : c->server_port;
  uint8_t *address = ip + (reply ? 12 : 16), *port_at = transport + (reply ? 0 : 2);
  uint8_t *sum = transport + (protocol == TCP ? 16 : 6);
  store32(address, after);
  adjust(ip + 10, before, after, false);
  if (protocol == TCP || load16(sum) != 0 || unfinished) {
    adjust(sum, before, after, unfinished);
    if (!unfinished) adjust(sum, load16(port_at), port, false);
  }
  store16(port_at, port);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
#include <stdarg.h>
static void shell(const char *format, ...) {
  char command[300];
  va_list arguments;
  va_start(arguments, format), vsnprintf(command, sizeof command, format, arguments), va_end(arguments);
  if (system(command) != 0) fprintf(stderr, "c-director: %s\n", command), exit(1);
}

static int open_tun(char *name) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), one = 1, bytes = sizeof(struct virtio), buffer = 16 << 20;
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
  memcpy(request.ifr_name, name, IFNAMSIZ);
  check(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "TUNSETIFF");
  check(ioctl(fd, TUNSETVNETHDRSZ, &bytes) == 0 && ioctl(fd, TUNSETVNETLE, &one) == 0, "TUNSETVNETHDRSZ");
  check(ioctl(fd, TUNSETOFFLOAD, 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40) == 0, "TUNSETOFFLOAD");
  check(ioctl(fd, TUNSETSNDBUF, &buffer) == 0, "TUNSETSNDBUF");
  strcpy(name, request.ifr_name);
  return fd;
}

/// Rules as in src/dataplane/host/host-side.ts.
static void lead(const char *protocol, const char *address, const char *port, char *servers) {
  shell("ip rule add pref 101 to %s ipproto %s dport %s lookup 4242", address, protocol, port);
  struct service *s = &services[service_count++];
  *s = (struct service){.address = ntohl(inet_addr(address)), .port = atoi(port), .protocol = strcmp(protocol, "tcp") ? UDP : TCP};
  for (char *server = strtok(servers, ","); server != NULL && s->count < SERVERS; server = strtok(NULL, ",")) {
    shell("ip rule add pref 102 from %s ipproto %s sport %s lookup 4242", server, protocol, port);
    s->servers[s->count++] = ntohl(inet_addr(server));
  }
}

int main(int argc, char **argv) {
  char name[IFNAMSIZ] = "cdirector%d";
  int tun = open_tun(name);
  shell("sysctl -qw net.ipv4.conf.%s.rp_filter=2 net.ipv4.conf.%s.accept_local=1", name, name);
  shell("ip addr add 192.0.0.8/32 dev %s scope host; ip link set %s up; ip route add default dev %s table 4242", name, name, name);
  shell("ip rule add pref 200 lookup local; ip rule del pref 0 lookup local; ip rule add pref 100 iif %s goto 200", name);
  for (int i = 1; i < argc && service_count < SERVICES; i++) {
    char protocol[8], address[32], port[8], servers[300];
    if (sscanf(argv[i], "%7[^,],%31[^,],%7[^,],%299s", protocol, address, port, servers) != 4) return 2;
    lead(protocol, address, port, servers);
  }
  puts("ready"), fflush(stdout);

  static uint8_t slab[BATCH][ROOM];
  static struct packet packets[BATCH];
  struct pollfd wait = {.fd = tun, .events = POLLIN};
  for (;;) {
    if (poll(&wait, 1, -1) < 0) continue;
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    int count = 0, large = 0;
    for (; count < BATCH && large < LARGE_BATCH; count++) {
      struct packet *packet = &packets[count];
      packet->at = slab[count] + 2;
      struct iovec parts[2] = {{&packet->virtio, sizeof packet->virtio}, {packet->at, ROOM - 2}};
      ssize_t got = readv(tun, parts, 2);
      if (got < (ssize_t)sizeof packet->virtio) break;
      packet->length = got - sizeof packet->virtio;
      large += packet->length >= LARGE;
    }
    for (int i = 0; i < count; i++) balance(&packets[i], time.tv_sec);
    for (int i = 0; i < count; i++) {
      struct iovec parts[2] = {{&packets[i].virtio, sizeof packets[i].virtio}, {packets[i].at, packets[i].length}};
      if (writev(tun, parts, 2) < 0) continue; // the kernel drops what it can't take
    }
  }
}
