// The devices of the C peer: TAPs, a UDP socket, and the two programs that steer datagrams.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vxlan.h"

static void check(bool ok, const char *what) {
  if (!ok) perror(what), exit(1);
}

int open_tap(const char *netns, char *name, int header_bytes, unsigned offloads) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (*netns) {
    int there = open(netns, O_RDONLY | O_CLOEXEC);
    check(there >= 0 && setns(there, CLONE_NEWNET) == 0, netns);
    close(there);
  }
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), one = 1, send_buffer = 16 << 20;
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  check(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "TUNSETIFF");
  check(ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) == 0 && ioctl(fd, TUNSETVNETLE, &one) == 0, "TUNSETVNETHDRSZ");
  check(ioctl(fd, TUNSETOFFLOAD, offloads) == 0, "TUNSETOFFLOAD");
  check(ioctl(fd, TUNSETSNDBUF, &send_buffer) == 0, "TUNSETSNDBUF");
  strcpy(name, request.ifr_name);
  check(setns(home, CLONE_NEWNET) == 0, "setns");
  close(home);
  return fd;
}

int open_socket(uint32_t local, uint16_t port) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, room = 8 << 20;
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(local)};
  check(bind(fd, (struct sockaddr *)&here, sizeof here) == 0, "bind");
  check(setsockopt(fd, IPPROTO_UDP, 104 /* UDP_GRO */, &one, sizeof one) == 0, "UDP_GRO");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  return fd;
}

int read_tap(int fd, int header_bytes, uint32_t offset, struct packet *packets, int count) {
  int read = 0;
  for (; read < count; read++) {
    struct packet *packet = &packets[read];
    packet->at = pool.slab + read * SLOT_BYTES + offset;
    struct iovec parts[2] = {{&packet->virtio, header_bytes}, {packet->at, SLOT_BYTES - offset}};
    ssize_t got = readv(fd, parts, 2);
    if (got < header_bytes + ETHER) break;
    packet->length = got - header_bytes;
    // Large ones are few to a turn, so that they are still in the cache when they are sent.
    if (packet->length >= 8192 && read == 7) return read + 1;
  }
  return read;
}

int read_socket(int fd, uint32_t offset, struct packet *packets, int count) {
  static struct mmsghdr messages[SLOTS];
  static struct iovec parts[SLOTS];
  static char control[SLOTS][CMSG_SPACE(sizeof(int))];
  for (int i = 0; i < count; i++) {
    packets[i].at = pool.slab + i * SLOT_BYTES + offset;
    parts[i] = (struct iovec){packets[i].at, SLOT_BYTES - offset};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
  }
  int got = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL);
  for (int i = 0; i < got; i++) {
    packets[i].length = messages[i].msg_len;
    packets[i].virtio = (struct virtio){0};
    struct cmsghdr *note = CMSG_FIRSTHDR(&messages[i].msg_hdr);
    if (note != NULL) packets[i].virtio.gso_size = *(int *)CMSG_DATA(note);
  }
  return got < 0 ? 0 : got;
}

static int bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }

static void attach(const struct bpf_insn *code, unsigned count, unsigned interface) {
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SCHED_CLS, .insns = (uintptr_t)code, .insn_cnt = count, .license = (uintptr_t)"GPL"};
  load.expected_attach_type = 46; // BPF_TCX_INGRESS
  int program = bpf(BPF_PROG_LOAD, &load);
  check(program >= 0, "BPF_PROG_LOAD");
  union bpf_attr link = {.link_create = {.prog_fd = program, .target_ifindex = interface, .attach_type = 46}};
  check(bpf(BPF_LINK_CREATE, &link) >= 0, "BPF_LINK_CREATE"); // stays attached while this process lives
}

#define OP(operation, to, from, skip, value) {.code = operation, .dst_reg = to, .src_reg = from, .off = skip, .imm = value}
#define REDIRECT(interface) OP(BPF_ALU64 | BPF_MOV, 1, 0, 0, interface), OP(BPF_ALU64 | BPF_MOV, 2, 0, 0, 0), \
  OP(BPF_JMP | BPF_CALL, 0, 0, 0, 23), OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define PACKET(width, at) OP(BPF_LD | BPF_ABS | width, 0, 0, 0, at)

void steer(unsigned tap, unsigned real, uint32_t local, uint16_t port) {
  const struct bpf_insn out[] = {REDIRECT(real)};
  attach(out, sizeof out / sizeof *out, tap);
  const struct bpf_insn in[] = {
    OP(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
    OP(BPF_LDX | BPF_MEM | BPF_W, 0, 6, 176, 0), OP(BPF_JMP32 | BPF_JEQ, 0, 0, 14, 0), // gso_size: a super-packet
    PACKET(BPF_H, 12), OP(BPF_JMP32 | BPF_JNE, 0, 0, 12, 0x0800),
    PACKET(BPF_B, 14), OP(BPF_JMP32 | BPF_JNE, 0, 0, 10, 0x45),
    PACKET(BPF_B, 23), OP(BPF_JMP32 | BPF_JNE, 0, 0, 8, IPPROTO_UDP),
    PACKET(BPF_W, 30), OP(BPF_JMP32 | BPF_JNE, 0, 0, 6, (int)local),
    PACKET(BPF_H, 36), OP(BPF_JMP32 | BPF_JNE, 0, 0, 4, port),
    REDIRECT(tap),
    OP(BPF_ALU64 | BPF_MOV, 0, 0, 0, -1), OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0), // TCX_NEXT
  };
  attach(in, sizeof in / sizeof *in, real);
}
