/*
 * The packet pool as src/dataplane/core/pool.ts lays it out, and the checks that every packet number, offset and
 * length passes before memory is touched. Another thread may write the columns at any time: each cell is loaded
 * once, and what was loaded is checked and used.
 */
#ifndef VIADUCT_POOL_H
#define VIADUCT_POOL_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/** In the order of COLUMNS in core/pool.ts. */
enum column {
  OFFSET,
  LENGTH,
  SEGMENT,
  OFFLOAD,
  CHECKSUM_START,
  CHECKSUM_OFFSET,
  HEADER_LENGTH,
  BUNDLE,
  BUNDLE_SKIP,
  SLOT,
  PORT,
  NETWORK,
  VTEP,
  FLOW,
  TRACE,
  ECN,
  COLUMN_COUNT,
};

#define VIRTIO_BYTES 32

/** The sender of a datagram stands in the first bytes of its slot: family, port, address. */
#define SENDER_FAMILY 0
#define SENDER_PORT 2
#define SENDER_ADDRESS 4
#define SENDER_BYTES 20

struct region;

/** What keeps one piece of attached memory valid (attach.c). */
struct anchor {
  struct region *region; /* memory of allocate(): pinned, however the ArrayBuffer fares */
  napi_ref buffer;       /* other memory: its ArrayBuffer or SharedArrayBuffer */
  bool detachable;       /* an ArrayBuffer that JavaScript can detach or shrink: looked at in each call */
  void *data;            /* of the whole buffer, when it was attached */
  size_t bytes;
};

struct pool {
  bool used;
  bool detachable; /* one of the anchors is */
  uint8_t *slab;
  size_t slab_bytes;
  uint32_t slots;
  uint32_t slot_bytes;
  uint32_t packets;
  int32_t *columns;
  uint8_t *virtio;
  int32_t *status; /* [1]: errno of the call that stopped early */
  struct anchor anchors[3];
};

static inline int32_t load(const int32_t *cell) { return __atomic_load_n(cell, __ATOMIC_RELAXED); }

static inline void store(int32_t *cell, int32_t value) { __atomic_store_n(cell, value, __ATOMIC_RELAXED); }

/** `packet` must have been checked against pool->packets. */
static inline int32_t *cell(const struct pool *pool, enum column column, int32_t packet) {
  return pool->columns + (size_t)column * pool->packets + packet;
}

static inline uint8_t *virtio_record(const struct pool *pool, int32_t packet) {
  return pool->virtio + (size_t)packet * VIRTIO_BYTES;
}

static inline bool is_packet(const struct pool *pool, int32_t packet) { return (uint32_t)packet < pool->packets; }

/** Where a packet begins, and the bytes from there to its slot's end. */
struct room {
  uint8_t *slot;
  uint8_t *at;
  size_t bytes;
};

static inline bool packet_room(const struct pool *pool, int32_t packet, struct room *room) {
  if (!is_packet(pool, packet)) return false;
  uint32_t slot = (uint32_t)load(cell(pool, SLOT, packet));
  if (slot >= pool->slots) return false;
  size_t start = (size_t)slot * pool->slot_bytes;
  int64_t into = (int64_t)load(cell(pool, OFFSET, packet)) - (int64_t)start;
  if (into < 0 || into > (int64_t)pool->slot_bytes) return false;
  room->slot = pool->slab + start;
  room->at = room->slot + into;
  room->bytes = pool->slot_bytes - (size_t)into;
  return true;
}

/** The packet's bytes behind its first `skip`. */
static inline bool packet_bytes(const struct pool *pool, int32_t packet, int32_t skip, struct iovec *iov) {
  struct room room;
  if (!packet_room(pool, packet, &room)) return false;
  int32_t length = load(cell(pool, LENGTH, packet));
  if (length < 0 || (size_t)length > room.bytes || skip < 0 || skip > length) return false;
  iov->iov_base = room.at + skip;
  iov->iov_len = (size_t)(length - skip);
  return true;
}

/** How many packets leave together from list[i] on, at most `most`; 0 when that can't be. */
static inline int32_t bundle_size(const struct pool *pool, const int32_t *list, int32_t i, int32_t count, int32_t most) {
  int32_t packet = load(list + i);
  if (!is_packet(pool, packet)) return 0;
  int32_t size = load(cell(pool, BUNDLE, packet));
  if (size == 0) return 1;
  return size < 0 || size > count - i || size > most ? 0 : size;
}

/** The pieces of a bundle of `size`: the first packet whole, its followers without what every one repeats. */
static inline bool bundle_bytes(
    const struct pool *pool, const int32_t *list, int32_t i, int32_t size, int32_t first, struct iovec *iov) {
  if (!packet_bytes(pool, first, 0, iov)) return false;
  if (size == 1) return true;
  int32_t skip = load(cell(pool, BUNDLE_SKIP, first));
  for (int32_t k = 1; k < size; k++) {
    if (!packet_bytes(pool, load(list + i + k), skip, iov + k)) return false;
  }
  return true;
}

#endif
