// UDP load: a sender as fast as sendmmsg goes (or at a rate), and a sink that counts what arrives. IPv4 and IPv6.
//
//   blast sink -a ADDRESS -p PORT [-w SECONDS]        prints "ready", then one JSON line after 300 ms of silence
//   blast send -a ADDRESS -p PORT [-t SECONDS] [-s BYTES] [-f FLOWS] [-r PACKETS_PER_SECOND]
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>
#include "udp.h"

enum { BATCH = 64, MAX_BYTES = 65000, MAX_FLOWS = 4096, SILENCE_MS = 300 };

static struct {
  const char *address, *port;
  double seconds, wait;
  int bytes, flows;
  double rate;
} options = {"127.0.0.1", "7000", 2, 10, 64, 1, 0};

static char payload[BATCH][MAX_BYTES];

static double seconds(void) { return nanoseconds() / 1e9; }

static void point_messages(struct mmsghdr *messages, struct iovec *parts, int bytes) {
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){payload[i], bytes};
    messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
  }
}

static int sink(void) {
  int fd = open_udp(options.address, options.port, bind);
  int room = 8 << 20;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  be_patient(fd, SILENCE_MS);
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  point_messages(messages, parts, MAX_BYTES);
  puts("ready"), fflush(stdout);

  unsigned long packets = 0, bytes = 0, reads = 0;
  double started = seconds(), first = 0, last = 0;
  for (;;) {
    int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    if (got <= 0) {
      if (packets || seconds() - started > options.wait) break;
      continue;
    }
    last = seconds();
    if (packets == 0) first = last;
    packets += got;
    reads++;
    for (int i = 0; i < got; i++) bytes += messages[i].msg_len;
  }
  double lasted = last - first;
  printf("{\"packets\":%lu,\"bytes\":%lu,\"reads\":%lu,\"seconds\":%.4f,\"pps\":%.0f}\n", packets, bytes, reads,
         lasted, lasted > 0 ? packets / lasted : 0);
  return 0;
}

static int blast(void) {
  static int sockets[MAX_FLOWS];
  if (options.flows > MAX_FLOWS) options.flows = MAX_FLOWS;
  for (int i = 0; i < options.flows; i++) sockets[i] = open_udp(options.address, options.port, connect);
  struct mmsghdr messages[BATCH];
  struct iovec parts[BATCH];
  point_messages(messages, parts, options.bytes);

  unsigned long sent = 0, refused = 0;
  double started = seconds(), end = started + options.seconds, time = started;
  for (int flow = 0; time < end; flow = (flow + 1) % options.flows) {
    int done = sendmmsg(sockets[flow], messages, BATCH, 0);
    if (done < 0) refused++; // ICMP errors and full queues: the sink's count is what matters
    else sent += done;
    time = seconds();
    if (options.rate > 0) {
      double ahead = sent / options.rate - (time - started);
      if (ahead > 50e-6) usleep(ahead * 1e6), time = seconds();
    }
  }
  printf("{\"sent\":%lu,\"refused\":%lu,\"seconds\":%.4f,\"pps\":%.0f}\n", sent, refused, time - started,
         sent / (time - started));
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: blast sink|send -a ADDRESS -p PORT …\n"), 2;
  for (int option; (option = getopt(argc - 1, argv + 1, "a:p:t:w:s:f:r:")) != -1;) {
    if (option == 'a') options.address = optarg;
    else if (option == 'p') options.port = optarg;
    else if (option == 't') options.seconds = atof(optarg);
    else if (option == 'w') options.wait = atof(optarg);
    else if (option == 's') options.bytes = atoi(optarg);
    else if (option == 'f') options.flows = atoi(optarg);
    else if (option == 'r') options.rate = atof(optarg);
    else return 2;
  }
  if (options.bytes < 0 || options.bytes > MAX_BYTES || options.flows < 1) return 2;
  return strcmp(argv[1], "sink") == 0 ? sink() : blast();
}
