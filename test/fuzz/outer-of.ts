import * as outer from '../../src/dataplane/io/outer.js';

/** The outer headers of a datagram to 10.0.0.1 (fd00::1) from a VTEP there, complete. */
export function outerOf(family: 4 | 6, payload: number): Uint8Array {
  const none = [0, 0, 0] as const;
  const bytes = outer.template({
    family,
    sourceMac: { high: 2, low: 2 },
    nextHopMac: { high: 2, low: 1 },
    source: family === 4 ? [0x0a000002, ...none] : [0xfd000000 | 0, 0, 0, 3],
    destination: family === 4 ? [0x0a000001, ...none] : [0xfd000000 | 0, 0, 0, 1],
    port: 4789,
  });
  const view = new DataView(bytes.buffer);
  const udp = bytes.length - 8;
  view.setUint16(udp, 50_000);
  view.setUint16(udp + 4, 8 + payload);
  if (family === 6) view.setUint16(18, 8 + payload);
  else {
    view.setUint16(16, 28 + payload);
    view.setUint16(24, 0);
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
    view.setUint16(24, ~((sum & 0xffff) + (sum >> 16)));
  }
  return bytes;
}
