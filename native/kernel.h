/* Constants that the kernel knows and the headers of an older distribution don't. */
#ifndef VIADUCT_KERNEL_H
#define VIADUCT_KERNEL_H

/* linux/udp.h */
#define VIADUCT_UDP_NO_CHECK6_RX 102
#define VIADUCT_UDP_SEGMENT 103
#define VIADUCT_UDP_GRO 104

/* linux/bpf.h, 6.6 */
#define VIADUCT_BPF_TCX_INGRESS 46

/* linux/netlink.h */
#define VIADUCT_NETLINK_EXT_ACK 11

#endif
