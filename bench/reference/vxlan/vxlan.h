// The C peer: what src/dataplane does with the tunnel device, the same I/O and the same work, for one network and one VTEP.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "../table.h"

enum { SLOTS = 64, TAP_HEADER = 12, TUNNEL_HEADER = 24, ETHER = 14, OUTER = 42, HEAD = OUTER + 8 };
enum { NEEDS_CSUM = 1, DATA_VALID = 2, GSO_TCP4 = 1, GSO_UDP = 5, GSO_TUNNEL4 = 0x20, GSO_TUNNEL6 = 0x40, GSO_ECN = 0x80 };

/// virtio_net_hdr_v1_hash_tunnel; a plain TAP uses the first 12 bytes.
struct virtio {
  uint8_t flags, gso;
  uint16_t header_length, gso_size, csum_start, csum_offset, buffers;
  uint32_t hash;
  uint16_t report, padding, outer_th, inner_nh;
};
_Static_assert(sizeof(struct virtio) == TUNNEL_HEADER, "as in linux/virtio_net.h");

/// A frame or datagram that was read, or a part of a glued one.
struct packet {
  uint8_t *at;
  uint32_t length;
  struct virtio virtio;
};

struct ends {
  uint32_t local, remote; // host order
  uint8_t outer[OUTER];   // Ethernet, IPv4 and UDP headers; lengths and source port 0
};

extern struct ends ends;

/// Where a frame is to go.
static inline int32_t find_target(const uint8_t *frame) { return find(NETWORK << 16 | load16(frame), load32(frame + 2)); }

/// Opens a TAP in a network namespace ('' for ours); returns its descriptor.
int open_tap(const char *netns, char *name, int header_bytes, unsigned offloads);
/// Sends what comes out of the TAP to the interface, and the tunnel's super-packets that arrive there to the TAP.
void steer(unsigned tap, unsigned real, uint32_t local, uint16_t port);
/// A UDP socket with UDP_GRO for single datagrams.
int open_socket(uint32_t local, uint16_t port);
/// Reads frames into slots, as many as there are; `offset` is where they begin in a slot.
int read_tap(int fd, int header_bytes, uint32_t offset, struct packet *packets, int count);
/// recvmmsg with UDP_GRO; the datagram size of glued ones is left in virtio.gso_size.
int read_socket(int fd, uint32_t offset, struct packet *packets, int count);

/// Sum of the pseudo-header for `length` bytes behind an IPv4 header without options.
uint32_t pseudo_header(const uint8_t *ip, uint32_t length);
bool finish_checksum(struct packet *packet);
void send_out(int tunnel, struct packet *packets, int count);
/// `outer`: packets begin at their outer Ethernet header, otherwise at the VXLAN header.
void send_in(int tap, struct packet *packets, int count, bool outer);
