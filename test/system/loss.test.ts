/** An underlay that loses 1 % of the datagrams, swaps some and doubles some: what goes over it arrives whole. */
import type { Lab } from '../../src/cli/lab/lab.js';
import { kernelPeer } from './world/kernel-peer.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { awaitWord, spawnProgram, stopProgram } from './world/programs.js';
import { blue, CABLE, type Family, OVERHEAD, PORT, type Site, workload } from './world/sites.js';
import { bodiesBothWays, reaches } from './world/traffic.js';
import { segmentWire } from './world/wire.js';

const RELAY = 9;
const at = (family: Family, side: number, number: number) =>
  family === 4 ? `10.${side}.0.${number}` : `fd0${side}::${number}`;

/** Two hosts that see of each other only the relay between them, as if it were the other's VTEP. */
async function apart(lab: Lab, family: Family, mtu: number): Promise<[Site, Site, relay: Site]> {
  const prefix = family === 4 ? 24 : 64;
  const hosts: Site[] = [];
  const relay = await lab.host('relay');
  for (const side of [1, 2]) {
    const host = await lab.host(`h${side}`);
    hosts.push({ host, number: side });
    await lab.link(
      { host, name: CABLE, addresses: [`${at(family, side, 1)}/${prefix}`] },
      { host: relay, name: `to${side}`, addresses: [`${at(family, side, RELAY)}/${prefix}`] },
      mtu,
    );
  }
  return [hosts[0]!, hosts[1]!, { host: relay, number: RELAY }];
}

const rows: { family: Family; peer: 'a data plane' | 'the kernel'; device: 'tunnel' | 'udp' }[] = [
  { family: 4, peer: 'a data plane', device: 'udp' },
  { family: 6, peer: 'a data plane', device: 'tunnel' },
  { family: 4, peer: 'the kernel', device: 'tunnel' },
  { family: 6, peer: 'the kernel', device: 'udp' },
];

for (const [seed, { family, peer, device }] of rows.entries()) {
  labTest(
    `over a lossy, reordering IPv${family} underlay bodies in both directions at once arrive whole, ${device} device to ${peer}`,
    ['bridge', 'ping', 'ethtool'],
    async (t, lab) => {
      const mtu = 1500 + OVERHEAD[family];
      const [a, b, { host }] = await apart(lab, family, mtu);
      const [near, far] = [at(family, 1, RELAY), at(family, 2, RELAY)];
      const relay = spawnProgram(host, 'relay', [
        ...[String(PORT), String(seed + 1)],
        ...[near, at(family, 1, 1), far, at(family, 2, 1)],
      ]);
      await awaitWord(relay, 'ready');
      const [wa, wb] = [await workload(lab, 2), await workload(lab, 3)];
      const plane = new Plane(a.host);
      await plane.start({
        underlay: { address: at(family, 1, 1), device },
        networks: [blue([wa], [{ workload: wb, vtep: near }])],
      });
      if (peer === 'the kernel') {
        const ends = { local: at(family, 2, 1), remote: far };
        await kernelPeer(lab, { site: b, workload: wb, remotes: [wa.mac], family, mtu, ...ends });
      } else {
        await new Plane(b.host).start({
          underlay: { address: at(family, 2, 1), device: 'udp' },
          networks: [blue([wb], [{ workload: wa, vtep: far }])],
        });
      }
      // The relay is a program, to which a veth pair hands inner checksums that a real wire never carries unfinished:
      // a data plane at the other end copes with them, the kernel doesn't.
      if (peer === 'the kernel' && device === 'tunnel') await segmentWire([a.host, b.host]);
      t.true(await reaches(wa, wb, { family: 6, count: 3 }));
      t.deepEqual(await bodiesBothWays(wa, wb, 16, { family: 4 }), [true, true], 'SHA-256');
      t.deepEqual(await bodiesBothWays(wa, wb, 16, { family: 6 }), [true, true], 'SHA-256');
      const counts = JSON.parse(await stopProgram(relay, 'SIGTERM')) as Record<string, number>;
      t.log(JSON.stringify(counts));
      for (const misfortune of ['lost', 'reordered', 'doubled']) t.true(counts[misfortune]! > 0, misfortune);
    },
  );
}
