// loop CASE [N] [SECONDS]: runs one case of the in-memory reference, prints its rate as a line of JSON.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include "loop.h"

struct pool pool;
volatile unsigned long sunk;

static const struct loop_case cases[] = {
  {"table", table_prepare, table_pass},   {"hash", encap_prepare, hash_pass},
  {"checksum", checksum_prepare, checksum_pass}, {"encap", encap_prepare, encap_pass},
  {"decap", decap_prepare, decap_pass},   {"segment", segment_prepare, segment_pass},
  {"coalesce", coalesce_prepare, coalesce_pass}, {"nat", nat_prepare, nat_pass},
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  unsigned n = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
  double seconds = argc > 3 ? atof(argv[3]) : 0.5;
  if (argc < 2 || n == 0) return fprintf(stderr, "usage: loop CASE [N] [SECONDS]\n"), 2;
  pool.slab = mmap(NULL, (size_t)BATCH * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (pool.slab == MAP_FAILED) return perror("mmap"), 1;

  for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) {
    if (strcmp(cases[c].name, argv[1]) != 0) continue;
    cases[c].prepare(n);
    // The rate is the median of slices of 10 ms, so that an interruption doesn't count.
    static double rates[10000];
    unsigned slices = 0;
    cases[c].pass();
    for (double end = now() + seconds; now() < end && slices < 10000;) {
      double start = now(), time;
      unsigned long units = 0;
      do {
        for (int i = 0; i < 8; i++) units += cases[c].pass();
      } while ((time = now()) - start < 0.01);
      rates[slices++] = units / (time - start);
    }
    qsort(rates, slices, sizeof *rates, by_value);
    double rate = slices ? rates[slices / 2] : 0;
    printf("{\"case\":\"%s\",\"n\":%u,\"mpps\":%.3f,\"ns\":%.3f}\n", argv[1], n, rate / 1e6, rate ? 1e9 / rate : 0);
    return 0;
  }
  return fprintf(stderr, "loop: no case %s\n", argv[1]), 2;
}
