// In: tunnel TAP or socket → outer and VXLAN headers checked and taken off, glued datagrams parted → runs of a flow joined → workload.
#include <unistd.h>
#include "vxlan.h"

enum { MAX_FRAMES = SLOTS * 64, MAX_RUN = 64, MAX_IP = 65535 };

static struct packet frames[MAX_FRAMES];
static int count;

/// Bytes of outer headers, 0 when they are none of ours.
static uint32_t check_outer(const uint8_t *start, uint32_t length) {
  const uint8_t *ip = start + ETHER, *udp = ip + 20;
  if (length < HEAD + ETHER || load16(start + 12) != 0x0800 || ip[0] != 0x45 || (load16(ip + 6) & 0x3fff) != 0) return 0;
  if (sum_header(ip) != 0xffff || ip[9] != 17 || load32(ip + 16) != ends.local || load16(udp + 2) != PORT) return 0;
  return load16(udp + 4) >= 8 + 8 + ETHER ? OUTER : 0;
}

/// One datagram: its VXLAN header is checked and taken off, its frame becomes one of `frames`.
static void take(uint8_t *at, uint32_t length, const struct virtio *virtio) {
  if (length < 8 + ETHER || (at[0] & 8) == 0 || load32(at + 4) >> 8 != VNI || count == MAX_FRAMES) return;
  if ((at[8 + 6] & 1) != 0) return;
  sunk += find_target(at + 8);
  frames[count++] = (struct packet){at + 8, length - 8, *virtio};
}

static void part(uint8_t *at, uint32_t length, uint32_t size) {
  const struct virtio none = {0};
  for (; length > size; at += size, length -= size) take(at, size, &none);
  take(at, length, &none);
}

/// Whether a frame is one of IPv4 without options, whole, of TCP or UDP; gives the bytes of its headers.
static uint32_t headers_of(const struct packet *packet) {
  const uint8_t *frame = packet->at;
  if (packet->virtio.gso != 0 || packet->length < 42 || load16(frame + 12) != 0x0800 || frame[14] != 0x45) return 0;
  if ((load16(frame + 20) & 0x3fff) != 0 || load16(frame + 16) != packet->length - ETHER) return 0;
  if (frame[23] == 17) return 42;
  if (frame[23] != 6 || packet->length < 54 || (frame[47] & 0xb6) != 0x10) return 0;
  uint32_t headers = 34 + (frame[46] >> 4) * 4;
  return headers < packet->length ? headers : 0;
}

/// A datagram that never left the machine may have just the sum of its pseudo-header where the checksum goes.
static void mark_unfinished(struct packet *packet) {
  const uint8_t *frame = packet->at;
  if (packet->length < 42 || load16(frame + 12) != 0x0800 || frame[14] != 0x45 || (load16(frame + 20) & 0x3fff) != 0) return;
  if (frame[23] != 17 && (frame[23] != 6 || packet->length < 54)) return;
  uint32_t field = frame[23] == 17 ? 6 : 16;
  if (load16(packet->at + 34 + field) == pseudo_header(packet->at + 14, packet->length - 34))
    packet->virtio = (struct virtio){.flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = field};
}

static bool verify(struct packet *packet) {
  if ((packet->virtio.flags & (NEEDS_CSUM | DATA_VALID)) != 0) return true;
  const uint8_t *frame = packet->at;
  uint32_t length = packet->length - 34;
  return sum_bytes(frame + 34, length, pseudo_header(frame + 14, length)) == 0xffff;
}

/// Whether `next`, the k-th after it, continues the run that `first` began.
static bool continues(const struct packet *first, const struct packet *next, uint32_t headers, int k) {
  const uint8_t *a = first->at, *b = next->at;
  if (next->length > first->length || headers_of(next) != headers || memcmp(a, b, 16) != 0) return false;
  if (memcmp(a + 20, b + 20, 4) != 0 || memcmp(a + 26, b + 26, 12) != 0) return false;
  if (((load16(b + 18) - load16(a + 18)) & 0xffff) != (uint32_t)k && load16(b + 18) != load16(a + 18)) return false;
  if (headers == 42) return true;
  uint32_t payload = first->length - headers;
  return load32(b + 38) == load32(a + 38) + k * payload && memcmp(a + 42, b + 42, 5) == 0 && memcmp(a + 48, b + 48, 2) == 0 &&
         memcmp(a + 54, b + 54, headers - 54) == 0;
}

static void join(struct packet *first, int run, uint32_t headers) {
  uint8_t *frame = first->at;
  uint32_t total = first->length, size = first->length - headers;
  for (int k = 1; k < run; k++) total += first[k].length - headers;
  store16(frame + 16, total - ETHER), store16(frame + 24, 0), store16(frame + 24, ~sum_header(frame + 14));
  uint32_t seed = pseudo_header(frame + 14, total - 34);
  bool udp = frame[23] == 17;
  if (udp) store16(frame + 38, total - 34), store16(frame + 40, seed);
  else frame[47] |= first[run - 1].at[47] & 9, store16(frame + 50, seed);
  first->virtio = (struct virtio){.flags = NEEDS_CSUM, .gso = udp ? GSO_UDP : GSO_TCP4, .header_length = headers, .gso_size = size, .csum_start = 34, .csum_offset = udp ? 6 : 16};
}

static void deliver(int tap) {
  for (int i = 0; i < count;) {
    struct packet *first = &frames[i];
    uint32_t headers = headers_of(first), total = first->length;
    int run = 1;
    bool ended = headers == 0 || (headers > 42 && (first->at[47] & 9) != 0) || i + 1 == count;
    while (!ended && i + run < count && run < MAX_RUN && total + first[run].length - headers < MAX_IP &&
           continues(first, &first[run], headers, run) && (run > 1 || verify(first)) && verify(&first[run])) {
      total += first[run].length - headers;
      ended = first[run].length < first->length || (headers > 42 && (first[run].at[47] & 9) != 0);
      run++;
    }
    if (run > 1) join(first, run, headers);
    struct iovec parts[1 + MAX_RUN] = {{&first->virtio, TAP_HEADER}, {first->at, first->length}};
    for (int k = 1; k < run; k++) parts[1 + k] = (struct iovec){first[k].at + headers, first[k].length - headers};
    if (writev(tap, parts, 1 + run) < 0) sunk++;
    i += run;
  }
  count = 0;
}

void send_in(int tap, struct packet *packets, int number, bool outer) {
  for (int i = 0; i < number; i++) {
    struct packet *packet = &packets[i];
    struct virtio *virtio = &packet->virtio;
    if (!outer) {
      int before = count;
      part(packet->at, packet->length, virtio->gso_size ? virtio->gso_size : packet->length);
      for (int k = before; k < count; k++) mark_unfinished(&frames[k]);
      continue;
    }
    uint32_t skip = check_outer(packet->at, packet->length);
    if (skip == 0) continue;
    uint8_t *at = packet->at + skip;
    uint32_t length = packet->length - skip;
    if (virtio->gso == GSO_UDP && virtio->csum_start == 34) {
      part(at, length, virtio->gso_size);
      continue;
    }
    if ((virtio->flags & NEEDS_CSUM) == 0 || virtio->csum_start == 34) *virtio = (struct virtio){0};
    else virtio->csum_start -= HEAD, virtio->header_length -= virtio->gso ? HEAD : 0, virtio->gso &= ~(GSO_TUNNEL4 | GSO_TUNNEL6);
    take(at, length, virtio);
  }
  deliver(tap);
}
