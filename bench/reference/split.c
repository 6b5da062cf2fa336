// Checksums and the splitting of a super-packet, as src/dataplane/wire/checksum.ts and io/segment.ts with the addon.
#include "loop.h"

// Eight bytes at a time.
uint32_t sum_bytes(const uint8_t *bytes, uint32_t length, uint32_t initial) {
  uint64_t sum = 0;
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    sum += word;
    sum += sum < word;
  }
  sum = (sum & 0xffffffff) + (sum >> 32);
  if (length & 4) {
    uint32_t word;
    memcpy(&word, bytes, 4);
    sum += word, bytes += 4;
  }
  if (length & 2) sum += bytes[0] | bytes[1] << 8, bytes += 2;
  if (length & 1) sum += bytes[0];
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  return fold(__builtin_bswap16(fold(sum)) + initial);
}

static unsigned range;
void checksum_prepare(unsigned n) { range = n; }
unsigned checksum_pass(void) {
  uint32_t sums = 0;
  for (int i = 0; i < BATCH; i++) sums += sum_bytes(pool.slab + i * SLOT_BYTES + FRAME_AT, range, 0);
  sunk += sums;
  return BATCH;
}

enum { HEADERS = 14 + 20 + 32, MSS = 1448, SEGMENTS = 44 };

/// A TCP super-packet of 44 segments in slot 0, to be split into slots 1 … 44.
void segment_prepare(unsigned n) {
  (void)n;
  uint8_t *frame = pool.slab + FRAME_AT;
  memset(frame, 0, HEADERS);
  for (int i = 0; i < SEGMENTS * MSS; i++) frame[HEADERS + i] = i * 31;
  store16(frame + 12, 0x0800);
  frame[14] = 0x45, store16(frame + 16, HEADERS - 14 + SEGMENTS * MSS), frame[22] = 64, frame[23] = 6;
  store32(frame + 26, 0x0a0a0002), store32(frame + 30, 0x0a0a0003);
  frame[34 + 12] = 0x80, frame[34 + 13] = 0x18;
}

/// Headers repeated and mended, payload copied, both checksums made.
unsigned segment_pass(void) {
  const uint8_t *frame = pool.slab + FRAME_AT, *payload = frame + HEADERS;
  uint32_t sequence = load32(frame + 38), id = load16(frame + 18);
  uint32_t pseudo = fold((load32(frame + 26) >> 16) + (load32(frame + 26) & 0xffff) + (load32(frame + 30) >> 16) +
                         (load32(frame + 30) & 0xffff) + 6 + 32 + MSS);
  for (int i = 0; i < SEGMENTS; i++) {
    uint8_t *to = pool.slab + (i + 1) * SLOT_BYTES + FRAME_AT;
    memcpy(to, frame, HEADERS);
    memcpy(to + HEADERS, payload + i * MSS, MSS);
    store16(to + 16, HEADERS - 14 + MSS), store16(to + 18, id + i), store16(to + 24, 0);
    store16(to + 24, ~sum_header(to + 14));
    store32(to + 38, sequence + i * MSS);
    if (i < SEGMENTS - 1) to[34 + 13] &= ~0x09; // FIN and PSH belong to the last
    store16(to + 50, 0);
    store16(to + 50, ~sum_bytes(to + 34, 32 + MSS, pseudo));
    pool.offset[i + 1] = (i + 1) * SLOT_BYTES + FRAME_AT, pool.length[i + 1] = HEADERS + MSS;
  }
  return SEGMENTS;
}

/// The 44 segments in slots 1 … 44, with right checksums, as they come from the wire.
void coalesce_prepare(unsigned n) {
  segment_prepare(n);
  segment_pass();
  range = n;
}

/// Whether two frames of one TCP flow differ in nothing but id, lengths, checksums, sequence number, PSH and FIN.
static inline int same_headers(const uint8_t *first, const uint8_t *frame) {
  uint32_t diff = 0;
  for (int i = 0; i < 16; i += 4) diff |= load32(first + i) ^ load32(frame + i); // Ethernet, version, type of service
  diff |= load32(first + 20) ^ load32(frame + 20);                              // fragment, TTL, protocol
  for (int i = 26; i < 38; i += 4) diff |= load32(first + i) ^ load32(frame + i); // addresses, ports
  diff |= load32(first + 42) ^ load32(frame + 42);
  diff |= (load32(first + 46) ^ load32(frame + 46)) & ~0x00090000u;
  for (int i = 54; i < HEADERS; i += 4) diff |= load32(first + i) ^ load32(frame + i); // options
  return diff == 0;
}

/// Found to be one run, checksums verified when n is 1, and the first header made that of the super-packet.
unsigned coalesce_pass(void) {
  uint8_t *first = pool.slab + SLOT_BYTES + FRAME_AT;
  uint8_t kept[HEADERS];
  memcpy(kept, first, HEADERS);
  uint32_t sequence = load32(first + 38), id = load16(first + 18), total = HEADERS - 14, joined = 0;
  uint32_t addresses = fold((load32(first + 26) >> 16) + (load32(first + 26) & 0xffff) + (load32(first + 30) >> 16) +
                            (load32(first + 30) & 0xffff) + 6);
  for (int i = 1; i <= SEGMENTS; i++) {
    const uint8_t *frame = pool.slab + pool.offset[i];
    uint32_t length = pool.length[i], payload = length - HEADERS;
    if (load16(frame + 12) != 0x0800 || frame[14] != 0x45 || load16(frame + 16) != length - 14) break;
    if (sum_header(frame + 14) != 0xffff || frame[23] != 6 || frame[46] != 0x80 || (frame[47] & 0xb6) != 0x10) break;
    if (load32(frame + 38) != sequence || load16(frame + 18) != ((id + joined) & 0xffff)) break;
    if (!same_headers(first, frame)) break;
    if (range == 1 && sum_bytes(frame + 34, length - 34, fold(addresses + length - 34)) != 0xffff) break;
    if (joined > 0 && i < SEGMENTS && (frame[47] & 9) != 0) break;
    sequence += payload, total += payload, joined++;
  }
  store16(first + 16, total), store16(first + 24, 0), store16(first + 24, ~sum_header(first + 14));
  first[47] |= pool.slab[pool.offset[joined] + 47] & 9;
  store16(first + 50, fold(addresses + total - 20));
  sunk += joined;
  memcpy(first, kept, HEADERS); // as it was, for the next pass
  return joined;
}
