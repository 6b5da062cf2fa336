/*
 * Stands between the real ipvsadm and a kernel without IPVS (LD_PRELOAD): the socket options of the old interface,
 * IPv4 only, with the table in the file $IPVS_TABLE. Counts are made up from the position in the table, in the same
 * way as in ipvsadm-real.test.ts.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BASE = 64 + 1024 + 64 };
enum { ADD = BASE + 2, EDIT, DEL, FLUSH, ADDDEST = BASE + 7, DELDEST, EDITDEST, TIMEOUT, START, STOP, ZERO = BASE + 15 };
enum { INFO = BASE + 1, SERVICES, SERVICE, DESTS, GET_TIMEOUT = BASE + 6 };

struct service {
  uint16_t protocol;
  uint32_t address;
  uint16_t port;
  uint32_t mark;
  char scheduler[16];
  uint32_t flags, timeout, netmask;
};
struct dest {
  uint32_t address;
  uint16_t port;
  uint32_t forward;
  int32_t weight;
  uint32_t upper, lower;
};
struct stats {
  uint32_t conns, inpkts, outpkts;
  uint64_t inbytes, outbytes;
  uint32_t cps, inpps, outpps, inbps, outbps;
};
struct service_entry {
  struct service service;
  uint32_t dests;
  struct stats stats;
};
struct dest_entry {
  struct dest dest;
  uint32_t active, inactive, persistent;
  struct stats stats;
};

#define MOST 64
static struct {
  uint32_t services, timeouts[3], daemons;
  struct {
    struct service service;
    uint32_t dests;
    struct dest dest[MOST];
  } at[MOST];
} table;

static void load(void) {
  FILE *file = fopen(getenv("IPVS_TABLE"), "rb");
  memset(&table, 0, sizeof table);
  table.timeouts[0] = 900, table.timeouts[1] = 120, table.timeouts[2] = 300;
  if (file == NULL) return;
  if (fread(&table, sizeof table, 1, file) != 1) memset(&table, 0, sizeof table);
  fclose(file);
}

static void save(void) {
  FILE *file = fopen(getenv("IPVS_TABLE"), "wb");
  fwrite(&table, sizeof table, 1, file);
  fclose(file);
}

static struct stats stats(uint64_t n) {
  uint64_t bytes = n == 0 ? 7 : n % 2 ? 123456789ull * n : 12345678901234ull * n * n;
  struct stats s = {1000 * n, 99999999 + n, 1000000000 + n, bytes, 99999999999 + n, n, 2 * n, 3 * n, 100000000 + n, 999999999 + n};
  return s;
}

static int find(const struct service *wanted) {
  for (uint32_t i = 0; i < table.services; i++) {
    const struct service *s = &table.at[i].service;
    if (wanted->mark != 0 ? s->mark == wanted->mark
                          : s->mark == 0 && s->protocol == wanted->protocol && s->address == wanted->address &&
                                s->port == wanted->port)
      return i;
  }
  return -1;
}

static int no(int error) {
  errno = error;
  return -1;
}

static int set(int option, const void *value) {
  const struct service *service = value;
  const struct dest *dest = (const void *)(service + 1);
  if (option == FLUSH) return table.services = 0;
  if (option == TIMEOUT) {
    for (int i = 0; i < 3; i++)
      if (((const uint32_t *)value)[i] != 0) table.timeouts[i] = ((const uint32_t *)value)[i];
    return 0;
  }
  if (option == START || option == STOP) {
    uint32_t role = *(const uint32_t *)value;
    if (option == START && table.daemons & role) return no(EEXIST);
    if (option == STOP && !(table.daemons & role)) return no(ESRCH);
    table.daemons ^= role;
    return 0;
  }
  if (option == ZERO && service->mark == 0 && service->address == 0 && service->port == 0) return 0;
  int i = find(service);
  if (option == ADD) {
    if (i >= 0) return no(EEXIST);
    if (strcmp(service->scheduler, "none") == 0) return no(ENOENT);
    table.at[table.services].dests = 0;
    table.at[table.services++].service = *service;
    return 0;
  }
  if (i < 0) return no(ESRCH);
  if (option == ZERO) return 0;
  if (option == EDIT) {
    if (strcmp(service->scheduler, "none") == 0) return no(ENOENT);
    table.at[i].service = *service;
    return 0;
  }
  if (option == DEL) {
    memmove(&table.at[i], &table.at[i + 1], (--table.services - i) * sizeof table.at[0]);
    return 0;
  }
  struct dest *dests = table.at[i].dest;
  uint32_t j = 0;
  while (j < table.at[i].dests && (dests[j].address != dest->address || dests[j].port != dest->port)) j++;
  if (option == ADDDEST ? j < table.at[i].dests : j == table.at[i].dests) return no(option == ADDDEST ? EEXIST : ENOENT);
  if (option == DELDEST) {
    memmove(&dests[j], &dests[j + 1], (--table.at[i].dests - j) * sizeof *dests);
    return 0;
  }
  if (dest->lower > dest->upper) return no(ERANGE);
  if (option == ADDDEST) table.at[i].dests++;
  dests[j] = *dest;
  return 0;
}

static void entry(int i, struct service_entry *to) {
  to->service = table.at[i].service;
  to->dests = table.at[i].dests;
  to->stats = stats(i);
}

static int get(int option, void *value) {
  if (option == INFO) {
    uint32_t info[3] = {0x010201, 4096, table.services};
    memcpy(value, info, sizeof info);
    return 0;
  }
  if (option == GET_TIMEOUT) {
    memcpy(value, table.timeouts, sizeof table.timeouts);
    return 0;
  }
  if (option == SERVICES) {
    struct { uint32_t count; struct service_entry at[]; } *to = value;
    char *first = (char *)value + 8; /* the entries hold 64-bit counts */
    to->count = table.services;
    for (uint32_t i = 0; i < table.services; i++) entry(i, (struct service_entry *)first + i);
    return 0;
  }
  int i = find(value);
  if (i < 0) return no(ESRCH);
  if (option == SERVICE) {
    entry(i, value);
    return 0;
  }
  char *first = (char *)value + 24;
  for (uint32_t j = 0; j < table.at[i].dests; j++) {
    struct dest_entry *to = (struct dest_entry *)first + j;
    memset(to, 0, sizeof *to);
    to->dest = table.at[i].dest[j];
    to->active = 10 * j, to->inactive = 10 * j + 1, to->persistent = 10 * j + 2;
    to->stats = stats(i + j);
  }
  return 0;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t size) {
  (void)fd, (void)level, (void)size;
  load();
  int result = set(option, value);
  save();
  return result;
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *size) {
  (void)fd, (void)level, (void)size;
  load();
  return get(option, value);
}

/* So that netlink isn't tried where the kernel has IPVS after all. */
int genl_ctrl_resolve(void *socket, const char *name) {
  (void)socket, (void)name;
  return -12;
}

/* A raw socket needs root, which this doesn't. */
int socket(int domain, int type, int protocol) {
  (void)domain, (void)type, (void)protocol;
  return 1000;
}
