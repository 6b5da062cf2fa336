// UDP round trips, one in flight: percentiles in microseconds. IPv4 and IPv6.
//
//   pingpong serve -a ADDRESS -p PORT                 prints "ready", echoes until it is ended
//   pingpong ask -a ADDRESS -p PORT [-t SECONDS] [-s BYTES] [-i PAUSE_MICROS]     prints one JSON line
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>
#include "udp.h"

enum { MAX_BYTES = 65000, MAX_SAMPLES = 4 << 20, WARM_UP = 200, WARM_UP_MS = 200 };

static struct {
  const char *address, *port;
  double seconds;
  int bytes, pause;
} options = {"127.0.0.1", "7001", 2, 64, 0};

static char payload[MAX_BYTES];
static unsigned samples[MAX_SAMPLES]; // nanoseconds

static _Noreturn void serve(void) {
  int fd = open_udp(options.address, options.port, bind);
  puts("ready"), fflush(stdout);
  for (;;) {
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(fd, payload, sizeof payload, 0, (struct sockaddr *)&from, &size);
    if (got >= 0) sendto(fd, payload, got, 0, (struct sockaddr *)&from, size);
  }
}

static int by_value(const void *a, const void *b) {
  unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
  return (x > y) - (x < y);
}

static int ask(void) {
  int fd = open_udp(options.address, options.port, connect);
  be_patient(fd, 100);

  unsigned long count = 0, lost = 0, number = 0, asked = 0;
  unsigned long started = nanoseconds(), end = started + options.seconds * 1e9;
  for (unsigned long before; (before = nanoseconds()) < end && count < MAX_SAMPLES; asked++) {
    number++;
    memcpy(payload, &number, sizeof number);
    if (send(fd, payload, options.bytes, 0) < 0) { lost++; continue; }
    unsigned long echoed = 0;
    ssize_t got;
    while ((got = recv(fd, payload, sizeof payload, 0)) >= 0) {
      memcpy(&echoed, payload, sizeof echoed);
      if (echoed == number) break; // an older one is an answer that came too late
    }
    if (got < 0) lost++;
    else if (asked >= WARM_UP || before - started > WARM_UP_MS * 1000000ul) samples[count++] = nanoseconds() - before;
    if (options.pause) usleep(options.pause);
  }
  qsort(samples, count, sizeof *samples, by_value);
#define AT(share) (count ? samples[(unsigned long)((count - 1) * share)] / 1e3 : 0)
  printf("{\"count\":%lu,\"lost\":%lu,\"min\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n", count,
         lost, AT(0), AT(0.5), AT(0.9), AT(0.99), AT(1));
  return count == 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: pingpong serve|ask -a ADDRESS -p PORT …\n"), 2;
  for (int option; (option = getopt(argc - 1, argv + 1, "a:p:t:s:i:")) != -1;) {
    if (option == 'a') options.address = optarg;
    else if (option == 'p') options.port = optarg;
    else if (option == 't') options.seconds = atof(optarg);
    else if (option == 's') options.bytes = atoi(optarg);
    else if (option == 'i') options.pause = atoi(optarg);
    else return 2;
  }
  if (options.bytes < 8 || options.bytes > MAX_BYTES) return 2;
  if (strcmp(argv[1], "serve") == 0) serve();
  return ask();
}
