// The in-memory reference: the same work as src/dataplane does in TypeScript, over the same memory layout, in C.
#pragma once
#include <stdint.h>
#include <string.h>

enum {
  BATCH = 256,            // packets in a batch
  SLOT_BYTES = 17 * 4096, // as src/dataplane/core/pool.ts
  FRAME_AT = 130,
  FRAME_BYTES = 114, // Ethernet, IPv4, UDP and 72 bytes
  OUTER_BYTES = 50,  // Ethernet, IPv4, UDP, VXLAN
  VNI = 4097,
  PORT = 4789,
};

/// What a pass works on. Offsets are from the slab's start.
struct pool {
  uint8_t *slab;
  int32_t offset[BATCH], length[BATCH], network[BATCH], vtep[BATCH], port[BATCH], flow[BATCH];
};

extern struct pool pool;
extern volatile unsigned long sunk; // results go here, so that no work is left out

static inline uint32_t load16(const uint8_t *p) { return p[0] << 8 | p[1]; }
static inline uint32_t load32(const uint8_t *p) {
  uint32_t word;
  memcpy(&word, p, 4);
  return __builtin_bswap32(word);
}
static inline void store16(uint8_t *p, uint32_t value) {
  p[0] = value >> 8;
  p[1] = value;
}
static inline void store32(uint8_t *p, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(p, &value, 4);
}
static inline uint32_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

/// Of an IPv4 header without options.
static inline uint32_t sum_header(const uint8_t *ip) {
  uint64_t sum = 0;
  for (int i = 0; i < 20; i += 4) sum += load32(ip + i);
  sum = (sum & 0xffffffff) + (sum >> 32);
  return fold((sum & 0xffff) + (sum >> 16));
}

/// One's complement sum of 16-bit words, folded, not complemented.
uint32_t sum_bytes(const uint8_t *bytes, uint32_t length, uint32_t initial);

/// One case: `prepare(n)` once, then `pass()` again and again; it returns how many units it has done.
struct loop_case {
  const char *name;
  void (*prepare)(unsigned n);
  unsigned (*pass)(void);
};

void table_prepare(unsigned n);
unsigned table_pass(void);
void encap_prepare(unsigned n);
unsigned encap_pass(void);
void decap_prepare(unsigned n);
unsigned decap_pass(void);
unsigned hash_pass(void);
void checksum_prepare(unsigned n);
unsigned checksum_pass(void);
void segment_prepare(unsigned n);
unsigned segment_pass(void);
void coalesce_prepare(unsigned n);
unsigned coalesce_pass(void);
void nat_prepare(unsigned n);
unsigned nat_pass(void);
