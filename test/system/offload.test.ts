/**
 * Each offload off by itself, and all of them: what one side doesn't do, the other or the kernel must. One lab for
 * all of these tests: the data plane of the first host is started anew for each, the other two hosts stay.
 */
import test from 'ava';
import { Lab } from '../../src/cli/lab/lab.js';
import { OFFLOADS, type OffloadName } from '../../src/dataplane/config/types.js';
import { kernelPeer } from './world/kernel-peer.js';
import { missing } from './world/needs.js';
import { Plane } from './world/plane.js';
import { blue, type Family, OVERHEAD, sites, vtep, type Workload, workload } from './world/sites.js';
import { bodiesBothWays, ping, reaches, udp } from './world/traffic.js';

const lacking = missing(['ip', 'bridge', 'ping', 'iperf3']);

interface World {
  plane: (off: readonly OffloadName[]) => Plane;
  config: Parameters<Plane['write']>[0];
  wa: Workload;
  /** behind a data plane with everything on, and behind the kernel */
  peers: [Workload, Workload];
}

/** By family of the underlay; made when first needed. */
const worlds = new Map<Family, World>();
const labs: Lab[] = [];

async function world(family: Family): Promise<World> {
  const made = worlds.get(family);
  if (made !== undefined) return made;
  const lab = new Lab();
  labs.push(lab);
  const mtu = 1500 + OVERHEAD[family];
  const [a, b, c] = await sites(lab, 3, mtu);
  const [wa, wb, wc] = [await workload(lab, 2), await workload(lab, 3), await workload(lab, 4)];
  const [atA, atB, atC] = [vtep(a!, family), vtep(b!, family), vtep(c!, family)];
  await kernelPeer(lab, { site: c!, workload: wc, peer: a!, remotes: [wa.mac], family, mtu });
  const peer = new Plane(b!.host);
  await peer.start({ underlay: { address: atB }, networks: [blue([wb], [{ workload: wa, vtep: atA }])] });
  const there = [
    { workload: wb, vtep: atB },
    { workload: wc, vtep: atC },
  ];
  const next: World = {
    plane: (off) => new Plane(a!.host, ['--offload', off.map((name) => `${name}=off`).join(',')]),
    config: { underlay: { address: atA }, networks: [blue([wa], there)] },
    wa,
    peers: [wb, wc],
  };
  worlds.set(family, next);
  return next;
}

test.after.always(async () => {
  for (const lab of labs) await lab.remove();
});

const sets: [title: string, off: readonly OffloadName[]][] = [
  ...OFFLOADS.map((name): [string, OffloadName[]] => [`${name} off`, [name]]),
  ['all offloads off', OFFLOADS],
];

for (const [i, [title, off]] of sets.entries()) {
  for (const device of ['tunnel', 'udp'] as const) {
    // The tunnel device is only to be had with these two.
    if (device === 'tunnel' && (off.includes('tunnel') || off.includes('checksum'))) continue;
    const sentence = `${title}, ${device} device: what goes to another data plane and to the kernel, and back, is whole`;
    if (lacking.length > 0) {
      test.serial.skip(`${sentence} (needs ${lacking.join(', ')})`, () => {});
      continue;
    }
    test.serial(sentence, async (t) => {
      t.timeout(300_000);
      const family: Family = (i + (device === 'udp' ? 1 : 0)) % 2 === 0 ? 4 : 6;
      const { plane: planeWith, config, wa, peers } = await world(family);
      const plane = planeWith(off);
      await plane.start({ ...config, underlay: { ...config.underlay!, device } });
      try {
        const { offloads, kind } = (await plane.stats()).underlay;
        t.is(kind, device);
        for (const name of off) t.false(offloads[name], name);
        for (const peer of peers) {
          t.true(await reaches(wa, peer, { size: 1500 }));
          t.true(await reaches(peer, wa, { size: 1500, family: 6 }));
          t.is((await ping(wa, peer, { size: 9000, whole: false })).code, 0, 'fragments');
          t.deepEqual(await bodiesBothWays(wa, peer, 16, { family: peer === peers[0] ? 6 : 4 }), [
            true,
            true,
          ]);
        }
        for (const [from, to] of [
          [wa, peers[1]],
          [peers[0], wa],
        ] as const) {
          const { sent, lost } = await udp(from, to, from === wa ? 4 : 6, { bytes: 64 });
          t.true(sent > 1000 && lost < sent / 2, `UDP: ${lost} of ${sent} lost`);
        }
        t.false(plane.log.includes('"level":"error"'), plane.log);
      } finally {
        t.is(await plane.end(), 0);
      }
    });
  }
}
