// Out: workload's frames → table look-up, flow hash, VXLAN and outer headers → tunnel TAP, same-size frames in bundles.
#include <unistd.h>
#include "vxlan.h"

enum { MAX_BUNDLE = 64, MAX_BYTES = 65507 };

uint32_t pseudo_header(const uint8_t *ip, uint32_t length) {
  return fold((load32(ip + 12) >> 16) + (load32(ip + 12) & 0xffff) + (load32(ip + 16) >> 16) + (load32(ip + 16) & 0xffff) + ip[9] + length);
}

/// Completes a checksum of which only the pseudo-header's sum stands in its field.
bool finish_checksum(struct packet *packet) {
  struct virtio *virtio = &packet->virtio;
  if ((virtio->flags & NEEDS_CSUM) == 0) return true;
  uint32_t start = virtio->csum_start;
  if (start + virtio->csum_offset + 2 > packet->length) return false;
  uint32_t sum = ~sum_bytes(packet->at + start, packet->length - start, 0) & 0xffff;
  store16(packet->at + start + virtio->csum_offset, sum == 0 && virtio->csum_offset == 6 ? 0xffff : sum);
  virtio->flags = 0;
  return true;
}

static void write_outer(struct packet *packet, uint32_t flow, uint32_t total) {
  uint8_t *start = packet->at - HEAD;
  store32(packet->at - 8, 0x08000000), store32(packet->at - 4, VNI << 8);
  memcpy(start, ends.outer, OUTER);
  store16(start + 16, total + 28);
  store16(start + 24, ~fold((~load16(ends.outer + 24) & 0xffff) + total + 28));
  store16(start + 34, 0xc000 | (flow & 0x3fff));
  store32(start + 38, (total + 8) << 16);
}

static void write_virtio(struct packet *packet) {
  struct virtio *virtio = &packet->virtio;
  bool super = virtio->gso != 0;
  if ((virtio->flags & NEEDS_CSUM) == 0) { *virtio = (struct virtio){.flags = virtio->flags & DATA_VALID}; return; }
  virtio->csum_start += HEAD;
  if (super) virtio->gso |= GSO_TUNNEL4, virtio->header_length += HEAD;
  virtio->buffers = 0, virtio->hash = 0, virtio->report = 0, virtio->padding = 0;
  virtio->outer_th = super ? 34 : 0;
  virtio->inner_nh = super ? HEAD + ETHER : 0;
}

void send_out(int tunnel, struct packet *packets, int count) {
  static uint32_t flows[SLOTS];
  for (int i = 0; i < count; i++) {
    uint8_t *frame = packets[i].at;
    // What the table doesn't know is flooded, and there is one VTEP; a frame with a bad source is dropped.
    if ((frame[6] & 1) != 0) packets[i].length = 0;
    else sunk += find_target(frame), flows[i] = hash_flow(frame, packets[i].length);
  }
  for (int i = 0; i < count;) {
    struct packet *first = &packets[i];
    if (first->length == 0) { i++; continue; }
    int run = 1;
    uint32_t size = first->length, total = size + 8;
    if (first->virtio.gso == 0)
      while (i + run < count && run < MAX_BUNDLE && packets[i + run].length == size && packets[i + run].virtio.gso == 0 &&
             flows[i + run] == flows[i] && total + size + 8 <= MAX_BYTES)
        run++, total += size + 8;

    struct iovec parts[1 + MAX_BUNDLE];
    for (int k = 0; k < run; k++) {
      struct packet *packet = &packets[i + k];
      if (run > 1) finish_checksum(packet);
      store32(packet->at - 8, 0x08000000), store32(packet->at - 4, VNI << 8);
      parts[1 + k] = (struct iovec){packet->at - 8, packet->length + 8};
    }
    write_outer(first, flows[i], total);
    parts[1] = (struct iovec){first->at - HEAD, size + HEAD};
    if (run > 1) {
      uint8_t *start = first->at - HEAD;
      store16(start + 40, pseudo_header(start + 14, total + 8));
      first->virtio = (struct virtio){.flags = NEEDS_CSUM, .gso = GSO_UDP, .header_length = OUTER, .gso_size = size + 8, .csum_start = 34, .csum_offset = 6};
    } else write_virtio(first);
    parts[0] = (struct iovec){&first->virtio, TUNNEL_HEADER};
    if (writev(tunnel, parts, 1 + run) < 0) sunk++;
    i += run;
  }
}
