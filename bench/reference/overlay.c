// Look-ups, encapsulation and decapsulation, as src/dataplane/{overlay/*,io/outer}.ts.
#include "table.h"

enum { LARGEST = 1514 };

static unsigned entries;
static unsigned at_key;
void table_prepare(unsigned n) { entries = n, fill_table(n, STATIC | 1); }
unsigned table_pass(void) {
  unsigned long found = 0;
  for (int i = 0; i < BATCH; i++) {
    found += find(NETWORK << 16 | 0x0242, mac_low(at_key));
    at_key = at_key + 7919 < entries ? at_key + 7919 : (at_key + 7919) % entries; // the next key is far away
  }
  sunk += found;
  return BATCH;
}

unsigned hash_pass(void) {
  for (int i = 0; i < BATCH; i++) pool.flow[i] = hash_flow(pool.slab + i * SLOT_BYTES + FRAME_AT, FRAME_BYTES);
  return BATCH;
}

// -- out: bridge, encapsulation, outer headers

static uint8_t outer[42];

static void write_frame(uint8_t *frame, uint32_t i) {
  memset(frame, 0, FRAME_BYTES);
  store16(frame, 0x0242), store32(frame + 2, mac_low(entries ? i * 7919u % entries : i));
  store16(frame + 6, 0x0242), store32(frame + 8, 0x0a0a0002);
  store16(frame + 12, 0x0800);
  frame[14] = 0x45, store16(frame + 16, FRAME_BYTES - 14), frame[22] = 64, frame[23] = 17;
  store32(frame + 26, 0x0a0a0002), store32(frame + 30, 0x0a0a0003);
  store16(frame + 34, 40000 + i % 16), store16(frame + 36, 7000), store16(frame + 38, FRAME_BYTES - 34);
}

void encap_prepare(unsigned n) {
  entries = n, fill_table(n, STATIC | 0);
  memcpy(outer, "\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0\x45\0\0\0\0\0\x40\0\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2", 34);
  store16(outer + 36, PORT);
  store16(outer + 24, ~sum_header(outer + 14));
  for (int i = 0; i < BATCH; i++) write_frame(pool.slab + i * SLOT_BYTES + FRAME_AT, i), pool.port[i] = 0;
}

unsigned encap_pass(void) {
  static const int32_t network_of_port[4] = {NETWORK};
  unsigned dropped = 0;
  for (int i = 0; i < BATCH; i++) {
    pool.offset[i] = i * SLOT_BYTES + FRAME_AT, pool.length[i] = FRAME_BYTES;

    uint8_t *frame = pool.slab + pool.offset[i];
    uint32_t length = pool.length[i];
    if (length < 14) { dropped++; continue; }
    int32_t network = network_of_port[pool.port[i] & 3];
    if (network == 0) { dropped++; continue; }
    if ((frame[6] & 1) != 0 || (load16(frame + 6) | load32(frame + 8)) == 0) { dropped++; continue; }
    pool.network[i] = network;
    if ((frame[0] & 1) != 0) { dropped++; continue; } // flooding is not part of these loops
    int32_t target = find(network << 16 | load16(frame), load32(frame + 2));
    if (target == -1 || (target & LOCAL) != 0 || length > LARGEST) { dropped++; continue; }
    pool.vtep[i] = target & INDEX;

    uint32_t flow = pool.flow[i] = hash_flow(frame, length);
    store32(frame - 8, 0x08000000), store32(frame - 4, VNI << 8);

    uint8_t *start = frame - OUTER_BYTES;
    uint32_t udp_length = length + 16, total = udp_length + 20;
    memcpy(start, outer, sizeof outer);
    store16(start + 16, total);
    store16(start + 24, ~fold((~load16(outer + 24) & 0xffff) + total));
    store16(start + 34, 0xc000 | (flow & 0x3fff));
    store32(start + 38, udp_length << 16);
    pool.offset[i] -= OUTER_BYTES, pool.length[i] += OUTER_BYTES;
  }
  sunk += dropped;
  return BATCH - dropped;
}

// -- in: outer headers, VXLAN header, bridge

void decap_prepare(unsigned n) {
  encap_prepare(n);
  encap_pass();
  fill_table(n, STATIC | LOCAL | 1);
}

unsigned decap_pass(void) {
  unsigned dropped = 0;
  int32_t last_vni = -1, network = 0;
  uint32_t last_sender = 0;
  int32_t vtep = -1;
  for (int i = 0; i < BATCH; i++) {
    pool.offset[i] = i * SLOT_BYTES + FRAME_AT - OUTER_BYTES, pool.length[i] = FRAME_BYTES + OUTER_BYTES;

    uint8_t *start = pool.slab + pool.offset[i], *ip = start + 14, *udp = ip + 20;
    uint32_t length = pool.length[i];
    if (length < 42 || load16(start + 12) != 0x0800 || ip[0] != 0x45) { dropped++; continue; }
    uint32_t total = load16(ip + 2);
    if (total < 28 || total > length - 14 || (load16(ip + 6) & 0x3fff) != 0) { dropped++; continue; }
    if (sum_header(ip) != 0xffff || ip[9] != 17 || load32(ip + 16) != 0x0a000002) { dropped++; continue; }
    uint32_t udp_length = load16(udp + 4);
    if (load16(udp + 2) != PORT || udp_length < 8 || udp_length > total - 20) { dropped++; continue; }
    if (load16(udp + 6) != 0) { dropped++; continue; } // a checksum is not part of these loops

    uint8_t *vxlan = udp + 8;
    if (udp_length < 8 + 8 + 14 || (vxlan[0] & 8) == 0) { dropped++; continue; }
    int32_t vni = load32(vxlan + 4) >> 8;
    if (vni != last_vni) last_vni = vni, network = vni == VNI ? NETWORK : 0;
    if (network == 0) { dropped++; continue; }
    uint32_t sender = load32(ip + 12);
    if (sender != last_sender) last_sender = sender, vtep = sender == 0x0a000001 ? 0 : -1;
    pool.network[i] = network, pool.vtep[i] = vtep;
    pool.offset[i] += OUTER_BYTES, pool.length[i] = udp_length - 16;

    uint8_t *frame = vxlan + 8;
    if ((frame[6] & 1) != 0 || (load16(frame + 6) | load32(frame + 8)) == 0 || (frame[0] & 1) != 0) { dropped++; continue; }
    int32_t target = find(network << 16 | load16(frame), load32(frame + 2));
    if (target == -1 || (target & LOCAL) == 0) { dropped++; continue; }
    pool.port[i] = target & INDEX;
  }
  sunk += dropped;
  return BATCH - dropped;
}
