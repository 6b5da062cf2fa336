/** Bad packets through the sockets, the tunnel device and a workload's interface, while good ones pass beside them. */

import { Hostile } from './world/hostile.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { program, sendFrames } from './world/programs.js';
import { blue, CABLE, type Family, PORT, sites, VNI, vtep, workload } from './world/sites.js';
import { bodiesBothWays, reaches } from './world/traffic.js';

const DATAGRAMS = 200_000;
const FRAMES = 15_000;

const rows: { family: Family; device: 'tunnel' | 'udp'; gro: boolean; learning: boolean }[] = [
  { family: 4, device: 'udp', gro: true, learning: false },
  // Without GRO every datagram comes by the tunnel device, and with it only those that are glued.
  { family: 4, device: 'tunnel', gro: false, learning: false },
  { family: 6, device: 'tunnel', gro: false, learning: true },
];

for (const [seed, { family, device, gro, learning }] of rows.entries()) {
  labTest(
    `${DATAGRAMS / 1000},000 mutated datagrams and thousands of bad frames are dropped with their reasons or passed on, and good traffic is undisturbed (${device} device, IPv${family}${learning ? ', learning' : ''})`,
    ['ping', 'python3'],
    async (t, lab) => {
      const [a, b] = await sites(lab, 2);
      const [wa, wb, rogue] = [await workload(lab, 2), await workload(lab, 3), await workload(lab, 4)];
      const planes = [new Plane(a!.host), new Plane(b!.host)] as const;
      const [atA, atB] = [vtep(a!, family), vtep(b!, family)];
      await planes[0].start({
        underlay: { address: atA, device },
        offload: { gro },
        networks: [blue([wa, rogue], [{ workload: wb, vtep: atB }], { learning })],
      });
      await planes[1].start({
        underlay: { address: atB },
        networks: [blue([wb], [{ workload: wa, vtep: atA }], { learning })],
      });
      t.true(await reaches(wa, wb));
      const macs = [wa.mac, rogue.mac, wb.mac];
      const hostile = new Hostile(seed + 100, macs);
      const mac = async (host: { ip: (line: string) => Promise<string> }) =>
        Buffer.from(
          /link\/ether (\S+)/.exec(await host.ip(`link show ${CABLE}`))![1]!.replaceAll(':', ''),
          'hex',
        );
      const outer = outerHeaders(family, await mac(a!.host), await mac(b!.host));
      const many = (make: () => string) => Array.from({ length: FRAMES }, make);
      const args = [seed + 1, DATAGRAMS, VNI, atA, PORT, ...macs].map(String);

      const [good, left, ...taken] = await Promise.all([
        bodiesBothWays(wa, wb, 32, { timeoutMs: 240_000 }),
        b!.host.run(process.execPath, [program('attacker'), ...args], { timeoutMs: 240_000 }),
        sendFrames(
          b!.host,
          CABLE,
          many(() => hostile.outerFrame(outer, VNI)),
        ),
        sendFrames(
          rogue.host,
          'eth0',
          many(() => hostile.frame()),
        ),
        sendFrames(
          rogue.host,
          'eth0',
          many(() => hostile.superFrame()),
          true,
        ),
      ]);
      t.deepEqual(good, [true, true], 'SHA-256 of what passed meanwhile');
      t.log(`sent: ${left.stdout.trim()} datagrams, ${taken.join(', ')} frames`);
      t.true(Number(left.stdout) > DATAGRAMS / 2 && taken.every((count) => count > FRAMES / 10));

      const { drops, underlay } = await planes[0].stats();
      t.is(underlay.kind, device);
      t.log(JSON.stringify(Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0))));
      for (const reason of ['vxlan-short', 'vxlan-flags', 'vxlan-unknown-vni', 'bad-source-mac'] as const) {
        t.true(drops[reason] > 0, reason);
      }
      if (device === 'tunnel') {
        for (const reason of ['outer-malformed', 'outer-checksum'] as const)
          t.true(drops[reason] > 0, reason);
      }
      t.true(drops['no-packet'] < DATAGRAMS / 10, 'no packet is lost for good');
      t.true(await reaches(wa, wb));
      t.deepEqual(await bodiesBothWays(wa, wb, 8, { family: 6 }), [true, true]);
      for (const plane of planes) {
        t.false(plane.log.includes('"level":"error"'), plane.log);
        t.is(await plane.end(), 0);
      }
    },
  );
}

/** Valid headers of the underlay before a datagram from host 2 to host 1; lengths and checksums are the sender's to fill. */
function outerHeaders(family: Family, to: Uint8Array, from: Uint8Array): Uint8Array {
  const ports = [0xc0, 0x01, PORT >> 8, PORT & 255, 0, 0, 0, 0];
  const ip4 = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1];
  const host = (number: number) => [0xfd, ...Array<number>(14).fill(0), number];
  const ip6 = [0x60, 0, 0, 0, 0, 0, 17, 64, ...host(2), ...host(1)];
  return Uint8Array.from([
    ...to,
    ...from,
    ...(family === 4 ? [8, 0, ...ip4] : [0x86, 0xdd, ...ip6]),
    ...ports,
  ]);
}
