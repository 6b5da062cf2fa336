/** Congestion marks through the tunnel, beside the kernel's vxlan device: the same frames, the same outcome. */
import type { Host } from '../../src/cli/lab/lab.js';
import { parse as parse4 } from '../../src/dataplane/wire/ipv4.js';
import { parse as parse6 } from '../../src/dataplane/wire/ipv6.js';
import { build, frame } from '../io/frames.js';
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { sendFrames } from './world/programs.js';
import { blue, CABLE, type Family, PORT, sites, VNI, vtep, type Workload, workload } from './world/sites.js';
import { bodiesBothWays, reaches } from './world/traffic.js';
import { Capture, digits, inspect, Listener, segmentWire, tshark } from './world/wire.js';

const PROGRAMS = ['bridge', 'ping', 'python3', 'tcpdump', 'tshark', 'ethtool'];
const FIELDS = [0, 1, 2, 3];
/** Expedited forwarding: what must not be copied. */
const DSCP = 46 << 2;
const CE = 3;
const ECT_0 = 2;
const DISCARD = 9;

const octets = (hex: string) => [...Buffer.from(digits(hex), 'hex')];
const words = (address: string) => (address.includes(':') ? [...parse6(address)] : [parse4(address)]);
const bytesOf = (address: string) =>
  words(address).flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A datagram of a workload to another whose payload says which of the cases it is. */
const inner = (from: Workload, to: Workload, ip: Family, tos: number, id: number): Uint8Array =>
  build(
    frame({
      ip,
      tos,
      macs: [...octets(to.mac), ...octets(from.mac)],
      source: bytesOf(ip === 4 ? from.ipv4 : from.ipv6),
      destination: bytesOf(ip === 4 ? to.ipv4 : to.ipv6),
      l4: 'udp',
      // A flow each, so that nobody glues them.
      sourcePort: 20_000 + id,
      destinationPort: DISCARD,
      payload: [id, ...Array<number>(31).fill(0)],
    }),
  );

const macOf = async (host: Host) => /link\/ether (\S+)/.exec(await host.ip(`link show ${CABLE}`))![1]!;

for (const family of [4, 6] as const) {
  for (const device of ['udp', 'tunnel'] as const) {
    labTest(
      `${device} over IPv${family}: the outer header says what the frame does, and a mark on the way comes out as it does of the kernel`,
      PROGRAMS,
      async (t, lab) => {
        const [a, b, c] = await sites(lab, 3);
        const [ours, theirs, sender] = [
          await workload(lab, 2),
          await workload(lab, 3),
          await workload(lab, 4),
        ];
        const kernel = { site: c!, workload: theirs, family, mtu: 1550 };
        await kernelPeer(lab, { ...kernel, peer: a!, remotes: [ours.mac] });
        const plane = new Plane(a!.host);
        await plane.start({
          underlay: { address: vtep(a!, family), device },
          // Without it every datagram comes by the tunnel device.
          offload: { gro: false },
          networks: [
            blue(
              [ours],
              [
                { workload: theirs, vtep: vtep(c!, family) },
                { workload: sender, vtep: vtep(b!, family) },
              ],
            ),
          ],
        });
        t.is((await plane.stats()).underlay.kind, device);
        t.true(await reaches(ours, theirs));

        // 1. In: each outer with each inner field, to both; a host in the middle of neither sends them.
        const listeners = await Promise.all(
          [ours, theirs].map((to) => Listener.start(to, `udp dst port ${DISCARD} or (ip6 and udp)`)),
        );
        const from = await macOf(b!.host);
        const macs = [await macOf(a!.host), await macOf(c!.host)];
        const cases = ([4, 6] as const).flatMap((ip) =>
          FIELDS.flatMap((within) => FIELDS.map((outside) => ({ ip, within, outside }))),
        );
        const datagrams = [ours, theirs].flatMap((to, end) =>
          cases.map(({ ip, within, outside }, id) =>
            build(
              frame({
                ip: family,
                tos: DSCP | outside,
                macs: [...octets(macs[end]!), ...octets(from)],
                source: bytesOf(vtep(b!, family)),
                destination: bytesOf(vtep([a!, c!][end]!, family)),
                l4: 'udp',
                sourcePort: 50_000,
                destinationPort: PORT,
                payload: [
                  ...[8, 0, 0, 0, VNI >> 16, VNI >> 8, VNI & 255, 0],
                  ...inner(sender, to, ip, within, id),
                ],
              }),
            ),
          ),
        );
        t.is(await sendFrames(b!.host, CABLE, datagrams.map(hex)), datagrams.length);
        t.true(await reaches(ours, theirs), 'what was sent before has arrived');
        const came = await Promise.all(
          listeners.map(async (listener) => {
            await new Promise((resolve) => setTimeout(resolve, 300));
            await listener.stop();
            return listener.frames.map((text) => {
              const bytes = Buffer.from(text, 'hex');
              const ip6 = bytes[12] === 0x86;
              const field = ip6 ? (bytes[15]! >> 4) & 3 : bytes[15]! & 3;
              return `case ${bytes[ip6 ? 62 : 42]}: ${field}`;
            });
          }),
        );
        t.is(came[1]!.length, cases.length - 2);
        t.deepEqual(came[0]!.sort(), came[1]!.sort());
        t.is(await plane.drops('ecn-marked'), 2);

        // 2. Out: the kernel does the same, but for CE (RFC 6040 §4.1 against RFC 3168 §9.1.1).
        const capture = await Capture.start(a!.host, `udp port ${PORT}`);
        const out = (near: Workload, far: Workload) =>
          FIELDS.flatMap((field) => [
            inner(near, far, 4, DSCP | field, field),
            inner(near, far, 6, DSCP | field, field),
          ]);
        await sendFrames(ours.host, 'eth0', out(ours, theirs).map(hex));
        await sendFrames(theirs.host, 'eth0', out(theirs, ours).map(hex));
        t.true(await reaches(ours, theirs));
        await capture.stop();
        const classes = await tshark(capture.file, `vxlan && udp.dstport == ${DISCARD} && !icmp && !icmpv6`, [
          'eth.src',
          'ip.dsfield',
          'ipv6.tclass',
        ]);
        const seen = classes.map((line) => {
          const [ends, v4, v6] = line.split('\t').map((column) => column.split(','));
          const [outside, within] =
            family === 4 ? [v4!.shift(), v4![0] || v6![0]] : [v6!.shift(), v6![0] || v4![0]];
          return `${ends!.includes(ours.mac) ? 'ours' : 'theirs'} ${Number(within)} in ${Number(outside)}`;
        });
        const expected = FIELDS.flatMap((field) => [
          ...[4, 6].map(() => `ours ${DSCP | field} in ${field}`),
          ...[4, 6].map(() => `theirs ${DSCP | field} in ${field === CE ? ECT_0 : field}`),
        ]);
        t.deepEqual(seen.sort(), expected.sort());

        // 3. Connections that use it: their super-packets, split on the wire, have it on every segment.
        for (const { host } of [ours, theirs]) await host.run('sysctl', ['-qw', 'net.ipv4.tcp_ecn=1']);
        await segmentWire([a!.host, c!.host]);
        const wire = await Capture.start(a!.host, `udp port ${PORT}`);
        t.deepEqual(await bodiesBothWays(ours, theirs, 2, { family }), [true, true], 'SHA-256');
        await wire.stop();
        t.deepEqual((await inspect(wire.file)).faults, []);
        const name = family === 4 ? 'ip.dsfield.ecn' : 'ipv6.tclass.ecn';
        const pairs = await tshark(wire.file, `vxlan && tcp.len > 0 && eth.src == ${ours.mac}`, [name]);
        // Both the same; what is sent again is not ECN-capable (RFC 3168 §6.1.5).
        const capable = pairs.filter((pair) => pair === '2,2').length;
        const plain = pairs.filter((pair) => pair === '0,0').length;
        t.is(capable + plain, pairs.length, `${[...new Set(pairs)]}`);
        t.true(capable > 100, `${capable} of ${pairs.length}`);
        t.false(plane.log.includes('"level":"error"'), plane.log);
      },
    );
  }
}
