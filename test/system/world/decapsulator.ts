/**
 * The tunnel's end on a real server whose kernel has no device for it: takes what arrives of IP in IP, GRE and GUE apart, and
 * gives what was within to the kernel through a TUN, which checks it as any packet. It shares no code with who encapsulates.
 */
import type { ChildProcess } from 'node:child_process';
import type { Host } from '../../../src/cli/lab/lab.js';
import { awaitWord } from './programs.js';

/** argv: UDP port of GUE. Prints "ready", and each fault that it finds. */
const DECAPSULATE = `
import fcntl, os, select, socket, struct, sys

def total(data):
    if len(data) % 2: data += b'\\0'
    s = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return s

def fault(*words):
    print('fault', *words, flush=True)

tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH', b'inner', 0x1001))
for line in ('addr add 192.0.0.8/32 dev inner', 'link set inner mtu 9000 up'):
    assert os.system('ip ' + line) == 0
for name in ('all', 'inner'):
    open('/proc/sys/net/ipv4/conf/%s/rp_filter' % name, 'w').write('0')

port = int(sys.argv[1])
sockets = {}
for family in (socket.AF_INET, socket.AF_INET6):
    for protocol in (4, 41, 47):
        sockets[socket.socket(family, socket.SOCK_RAW, protocol)] = protocol
    gue = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        gue.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        gue.setsockopt(socket.IPPROTO_UDP, 102, 1)
    gue.bind(('', port))
    sockets[gue] = 17
for each in sockets: each.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)

def inner(protocol, data):
    if protocol in (4, 41): return protocol, data
    if protocol == 47:
        flags, kind = struct.unpack('!HH', data[:4])
        if flags & 0x7fff: return fault('gre flags', hex(flags))
        if flags and total(data) != 0xffff: return fault('gre checksum')
        return {0x0800: 4, 0x86dd: 41}.get(kind), data[8 if flags else 4:]
    first, kind, flags = struct.unpack('!BBH', data[:4])
    if first >> 5: return fault('gue version or control', first)
    head = 4 + 4 * (first & 31)
    packet = bytearray(data[head:])
    if flags & 1:
        private, start, at = struct.unpack('!IHH', data[4:12])
        if private != 0x80000000: return fault('gue private flags', hex(private))
        packet[at:at + 2] = struct.pack('!H', 0xffff & ~total(bytes(packet[start:])))
    elif flags: return fault('gue flags', hex(flags))
    return kind, bytes(packet)

print('ready', flush=True)
while True:
    for each in select.select(list(sockets), [], [])[0]:
        data = each.recv(65536)
        protocol = sockets[each]
        if each.family == socket.AF_INET and protocol != 17: data = data[4 * (data[0] & 15):]
        found = inner(protocol, data)
        if found is None: continue
        kind, packet = found
        if packet[0] >> 4 != {4: 4, 41: 6}.get(kind): fault('says', kind, 'is', packet[0] >> 4)
        else: os.write(tun, packet)
`;

export async function decapsulate(host: Host, guePort: number): Promise<ChildProcess> {
  const child = host.spawn('python3', ['-c', DECAPSULATE, String(guePort)]);
  await awaitWord(child, 'ready');
  return child;
}
