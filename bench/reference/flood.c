// flood udp|syn -i INTERFACE -m MAC -a ADDRESS -p PORT [-n SOURCES] [-r PER_SECOND] [-t SECONDS]
//
// Packets from ever other sources (100.64.0.0/10, ports 1024 and up) by a packet socket: with -n as many as that, each
// once; otherwise random ones until the time is over. IPv4. Prints {"sent":N,"seconds":S,"pps":R}.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, FRAME = 14 + 20 + 20, PORTS = 60000, FIRST_PORT = 1024, TCP = 6, UDP = 17 };

static uint8_t frames[BATCH][FRAME];

static void store16(uint8_t *p, uint32_t w) { p[0] = w >> 8, p[1] = w; }
static void store32(uint8_t *p, uint32_t w) { store16(p, w >> 16), store16(p + 2, w); }
static uint32_t sum(const uint8_t *p, unsigned length, uint32_t s) {
  for (unsigned i = 0; i < length; i += 2) s += p[i] << 8 | p[i + 1];
  return s;
}
static uint16_t folded(uint32_t s) { s = (s & 0xffff) + (s >> 16), s = (s & 0xffff) + (s >> 16); return ~s; }
static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}
static uint32_t random32(void) {
  static uint64_t state = 0x9e3779b97f4a7c15;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state >> 16;
}

static void write_from(uint8_t *frame, uint32_t source, uint16_t port, bool syn) {
  uint8_t *ip = frame + 14, *transport = ip + 20;
  store32(ip + 12, source), store16(ip + 10, 0), store16(ip + 10, folded(sum(ip, 20, 0)));
  store16(transport, port);
  if (!syn) return;
  store32(transport + 4, random32()), store16(transport + 16, 0);
  store16(transport + 16, folded(sum(transport, 20, sum(ip + 12, 8, TCP + 20))));
}

int main(int argc, char **argv) {
  const char *interface = NULL, *mac = NULL, *address = NULL;
  unsigned port = 0;
  unsigned long sources = 0;
  double rate = 0, seconds = 10;
  bool syn = argc > 1 && strcmp(argv[1], "syn") == 0;
  optind = 2;
  for (int option; (option = getopt(argc, argv, "i:m:a:p:n:r:t:")) >= 0;)
    switch (option) {
      case 'i': interface = optarg; break;
      case 'm': mac = optarg; break;
      case 'a': address = optarg; break;
      case 'p': port = atoi(optarg); break;
      case 'n': sources = strtoul(optarg, NULL, 10); break;
      case 'r': rate = atof(optarg); break;
      case 't': seconds = atof(optarg); break;
      default: return 2;
    }
  if (interface == NULL || mac == NULL || address == NULL || port == 0)
    return fprintf(stderr, "usage: flood udp|syn -i INTERFACE -m MAC -a ADDRESS -p PORT [-n SOURCES] [-r PER_SECOND] [-t SECONDS]\n"), 2;

  int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex(interface)};
  if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof to) != 0) return perror(interface), 1;
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
  struct ifreq request = {0};
  strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) return perror(interface), 1;
  unsigned length = syn ? FRAME : FRAME - 20 + 8 + 4;
  static struct mmsghdr messages[BATCH];
  static struct iovec parts[BATCH];
  for (int i = 0; i < BATCH; i++) {
    uint8_t *frame = frames[i], *ip = frame + 14, *transport = ip + 20;
    if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", frame, frame + 1, frame + 2, frame + 3, frame + 4, frame + 5) != 6) return 2;
    memcpy(frame + 6, request.ifr_hwaddr.sa_data, 6);
    store16(frame + 12, ETH_P_IP), store16(ip, 0x4500), store16(ip + 2, length - 14), store16(ip + 8, 64 << 8 | (syn ? TCP : UDP));
    store32(ip + 16, ntohl(inet_addr(address))), store16(transport + 2, port);
    if (syn) store16(transport + 12, 5 << 12 | 2), store16(transport + 14, 64240);
    else store16(transport + 4, 12);
    parts[i] = (struct iovec){frame, length}, messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }

  unsigned long sent = 0;
  double start = now();
  while ((sources == 0 || sent < sources) && now() - start < seconds) {
    if (rate > 0 && sent > rate * (now() - start)) { usleep(200); continue; }
    int count = sources != 0 && sources - sent < BATCH ? (int)(sources - sent) : BATCH;
    for (int i = 0; i < count; i++) {
      uint32_t n = sources != 0 ? sent + i : random32();
      write_from(frames[i], 0x64400000 + n / PORTS % (1 << 22), FIRST_PORT + n % PORTS, syn);
    }
    int done = sendmmsg(fd, messages, count, 0);
    if (done > 0) sent += done;
  }
  double took = now() - start;
  printf("{\"sent\":%lu,\"seconds\":%.3f,\"pps\":%.0f}\n", sent, took, sent / took);
}
