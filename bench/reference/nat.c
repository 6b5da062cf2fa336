// The director's work on a packet of a known connection, as src/dataplane/ipvs: read, find, state and time, rewrite.
#include <stdlib.h>
#include "loop.h"

enum { VIRTUAL_IP = 0x0a0a0003, VIRTUAL_PORT = 7000, SERVER_IP = 0x0a010203, SERVER_PORT = 8080, UDP = 17, TICKS = 4800 };

// As ipvs/connections.ts: 24 words a record, three entries a connection, a column of expiries.
struct record {
  uint32_t client[4], virtual[4], server[4], ports, kind, state, owner, network, timeout, packets, rest[5];
};
struct entry { uint32_t hash, reference; };

static struct record *records;
static struct entry *entries;
static uint32_t *expires, count, entry_count, at_client, now;

static inline uint32_t step(uint32_t h, uint32_t word) {
  h = (h ^ word) * 0x9e3779b1u;
  return (h ^ h >> 15) * 0x85ebca6bu;
}
static inline uint32_t hash(uint32_t source, uint32_t target, uint32_t ports, uint32_t kind) {
  uint32_t h = step(step(source ^ kind * 0x27d4eb2fu, target), ports);
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  h ^= h >> 16;
  return h ? h : 1;
}
static inline uint32_t home(uint32_t h) { return (uint64_t)h * entry_count >> 32; }

static inline int matches(uint32_t reference, uint32_t source, uint32_t target, uint32_t ports) {
  const struct record *r = &records[reference >> 1];
  if ((r->kind & 0xff04) != UDP << 8 || r->network != 0) return 0;
  if (reference & 1) return r->server[0] == source && r->client[0] == target && ((r->kind & 0xffff0000) | r->ports >> 16) == ports;
  return r->client[0] == source && r->virtual[0] == target && r->ports == ports;
}
static inline int64_t find_connection(uint32_t source, uint32_t target, uint32_t ports) {
  uint32_t h = hash(source, target, ports, UDP << 8);
  for (uint32_t at = home(h);; at = at + 1 == entry_count ? 0 : at + 1) {
    if (entries[at].hash == 0) return -1;
    if (entries[at].hash == h && matches(entries[at].reference, source, target, ports)) return entries[at].reference;
  }
}
static void enter(uint32_t h, uint32_t reference) {
  uint32_t at = home(h);
  while (entries[at].hash != 0) at = at + 1 == entry_count ? 0 : at + 1;
  entries[at] = (struct entry){h, reference};
}

static inline uint32_t client_ip(uint32_t i) { return 0x64400000 + i / 50000; }
static inline uint32_t client_port(uint32_t i) { return 10000 + i % 50000; }

void nat_prepare(unsigned n) {
  count = n, entry_count = 3 * n;
  free(records), free(entries), free(expires);
  records = calloc(n, sizeof *records), entries = calloc(entry_count, sizeof *entries), expires = calloc(n, sizeof *expires);
  for (uint32_t i = 0; i < n; i++) {
    struct record *r = &records[i];
    r->client[0] = client_ip(i), r->virtual[0] = VIRTUAL_IP, r->server[0] = SERVER_IP, r->timeout = TICKS;
    r->ports = client_port(i) << 16 | VIRTUAL_PORT, r->kind = (uint32_t)SERVER_PORT << 16 | UDP << 8;
    enter(hash(r->client[0], VIRTUAL_IP, r->ports, UDP << 8), i * 2);
    enter(hash(SERVER_IP, r->client[0], (uint32_t)SERVER_PORT << 16 | client_port(i), UDP << 8), i * 2 + 1);
  }
  for (int i = 0; i < BATCH; i++) {
    uint8_t *frame = pool.slab + i * SLOT_BYTES + FRAME_AT, *ip = frame + 14;
    memset(frame, 0, FRAME_BYTES);
    store16(frame + 12, 0x0800);
    ip[0] = 0x45, store16(ip + 2, FRAME_BYTES - 14), ip[8] = 64, ip[9] = UDP, store16(ip + 24, FRAME_BYTES - 34), store16(ip + 26, 0x1234);
    pool.offset[i] = i * SLOT_BYTES + FRAME_AT, pool.length[i] = FRAME_BYTES;
  }
}

/// RFC 1624: what a field's sum changes by when one 32-bit word becomes another.
static inline uint32_t replaced(uint32_t before, uint32_t after) {
  return (~before >> 16) + (~before & 0xffff) + (after >> 16) + (after & 0xffff);
}
static inline uint32_t adjusted(uint32_t sum, uint32_t change) { return ~fold((~sum & 0xffff) + fold(change)) & 0xffff; }

unsigned nat_pass(void) {
  unsigned lost = 0;
  now++;
  for (int i = 0; i < BATCH; i++) {
    uint8_t *frame = pool.slab + pool.offset[i], *ip = frame + 14, *udp = ip + 20;
    store32(ip + 12, client_ip(at_client)), store32(ip + 16, VIRTUAL_IP);
    store32(udp, client_port(at_client) << 16 | VIRTUAL_PORT);
    at_client = at_client + 7919 < count ? at_client + 7919 : (at_client + 7919) % count; // the next is far away

    uint32_t length = pool.length[i] - 14, total = load16(ip + 2);
    if (length < 20 || ip[0] != 0x45 || total > length || (load16(ip + 6) & 0x3fff) != 0) { lost++; continue; }
    if (ip[9] != UDP || total < 28) { lost++; continue; }
    uint32_t source = load32(ip + 12), target = load32(ip + 16), ports = load32(udp);
    int64_t found = find_connection(source, target, ports);
    if (found < 0) { lost++; continue; }
    struct record *r = &records[found >> 1];
    uint32_t due = now + r->timeout;
    if (expires[found >> 1] != due) expires[found >> 1] = due;
    r->packets++;
    uint32_t change = replaced(target, r->server[0]), port = r->kind >> 16;
    store32(ip + 16, r->server[0]);
    store16(ip + 10, adjusted(load16(ip + 10), change));
    store16(udp + 6, adjusted(load16(udp + 6), change + (~(ports & 0xffff) & 0xffff) + port));
    store16(udp + 2, port);
  }
  sunk += lost;
  return BATCH - lost;
}
