// The forwarding database and the flow's hash, as src/dataplane/{core/table,overlay/fdb,wire/flow}.ts.
#pragma once
#include "loop.h"

enum { STATIC = 1 << 30, LOCAL = 1 << 29, INDEX = (1 << 24) - 1, NETWORK = 1 };

// -- open addressing, (network << 16 | upper MAC, lower MAC) → target, at a load of one half

struct entry { int32_t k0, k1, value, second; };
extern struct entry *table;
extern uint32_t table_mask;

static inline uint32_t mix_key(uint32_t k0, uint32_t k1) {
  uint32_t h = k1 * 0x9e3779b1u;
  h = (k0 ^ h ^ h >> 15) * 0x85ebca6bu;
  h ^= h >> 15;
  h *= 0x2c1b3c6du;
  return h ^ h >> 13;
}

static inline int32_t find(int32_t k0, int32_t k1) {
  for (uint32_t cell = mix_key(k0, k1) & table_mask;; cell = (cell + 1) & table_mask) {
    const struct entry *entry = &table[cell];
    if (entry->k0 == 0) return -1;
    if (entry->k0 == k0 && entry->k1 == k1) return entry->value;
  }
}

/// MAC number i is 02:42: and these four bytes.
static inline uint32_t mac_low(uint32_t i) { return i * 0x9e3779b1u; }

/// A new table of these n MACs, with room for a few more.
void fill_table(unsigned n, int32_t target);
void insert(int32_t k0, int32_t k1, int32_t value);

// -- the flow's hash

/// Words as they lie in memory, as in TypeScript.
static inline uint32_t native32(const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return word;
}
static inline uint32_t mix(uint32_t state, uint32_t word) {
  uint32_t product = (state ^ word) * 0x9e3779b1u;
  return product ^ product >> 15;
}
static inline uint32_t finish(uint32_t state) {
  uint32_t h = (state ^ state >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return (h ^ h >> 16) & 0xffff;
}

static inline uint32_t hash_macs(const uint8_t *frame) {
  return finish(mix(mix(mix(0x2545f491, native32(frame)), native32(frame + 4)), native32(frame + 8)));
}

static inline uint32_t hash_flow(const uint8_t *frame, uint32_t length) {
  uint32_t ip = 14;
  for (int tags = 0; tags < 2 && ip <= length; tags++, ip += 4) {
    uint32_t type = load16(frame + ip - 2);
    if (type != 0x8100 && type != 0x88a8) break;
  }
  if (ip + 20 > length || load16(frame + ip - 2) != 0x0800 || frame[ip] < 0x45 || frame[ip] > 0x4f)
    return hash_macs(frame); // IPv6 is not part of these loops
  const uint8_t *header = frame + ip;
  uint32_t protocol = header[9];
  uint32_t state = mix(mix(0x2545f491 ^ protocol, native32(header + 12)), native32(header + 16));
  if ((load16(header + 6) & 0x3fff) == 0 && (protocol == 6 || protocol == 17 || protocol == 132)) {
    uint32_t upper = ip + (header[0] & 15) * 4;
    if (upper + 4 <= length) state = mix(state, native32(frame + upper));
  }
  return finish(state);
}
