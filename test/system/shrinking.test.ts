/** Path MTU: a router between the hosts whose far link becomes narrower while traffic passes. */
import type { VtepRow } from '../../src/dataplane/report.js';
import { labTest } from './world/needs.js';
import { Plane } from './world/plane.js';
import { blue, CABLE, type Family, OVERHEAD, workload } from './world/sites.js';
import { bodiesBothWays, reaches, refusedWithMtu } from './world/traffic.js';
import { until } from './world/until.js';

const rows: { family: Family; device: 'tunnel' | 'udp' }[] = [
  { family: 4, device: 'tunnel' },
  { family: 6, device: 'tunnel' },
  { family: 4, device: 'udp' },
  { family: 6, device: 'udp' },
];

for (const { family, device } of rows) {
  labTest(
    `when the path shrinks under a transfer over IPv${family} with the ${device} device, it arrives whole, the new MTU is used, and senders are told`,
    ['ping'],
    async (t, lab) => {
      const at = (side: number, number: number) =>
        family === 4 ? `10.${side}.0.${number}` : `fd0${side}::${number}`;
      const prefix = family === 4 ? 24 : 64;
      const router = await lab.host('router');
      await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
      const planes: Plane[] = [];
      const workloads = [await workload(lab, 2), await workload(lab, 3)];
      for (const side of [1, 2]) {
        const host = await lab.host(`h${side}`);
        await lab.link(
          { host, name: CABLE, addresses: [`${at(side, 1)}/${prefix}`] },
          { host: router, name: `to${side}`, addresses: [`${at(side, 9)}/${prefix}`] },
          1550,
        );
        await host.ip(`route add default via ${at(side, 9)}`);
        planes.push(new Plane(host));
      }
      for (const [i, plane] of planes.entries()) {
        await plane.start({
          underlay: { address: at(i + 1, 1), device },
          networks: [blue([workloads[i]!], [{ workload: workloads[1 - i]!, vtep: at(2 - i, 1) }])],
        });
      }
      const [a, b] = workloads as [(typeof workloads)[0], (typeof workloads)[0]];
      const largest = 1550 - OVERHEAD[family];
      for (const inner of [4, 6] as const) t.true(await reaches(a, b, { family: inner, size: largest }));
      const pathMtu = async (plane: Plane) => (await plane.ask<VtepRow[]>('vteps'))[0]!.pathMtu;
      t.is(await pathMtu(planes[0]!), 1550);

      const transfer = bodiesBothWays(a, b, 256, { timeoutMs: 240_000 });
      await until(
        'the transfer is under way',
        async () => (await planes[0]!.stats()).counters.rxPackets > 1000,
      );
      await router.ip('link set to2 mtu 1400');
      await planes[1]!.host.ip(`link set ${CABLE} mtu 1400`);
      t.deepEqual(await transfer, [true, true], 'the transfer survives');
      await until(
        'the first host uses the new path MTU',
        async () => (await pathMtu(planes[0]!)) === 1400,
        60,
      );

      const narrow = 1400 - OVERHEAD[family];
      for (const inner of [4, 6] as const) {
        t.is(await refusedWithMtu(a, b, narrow + 1, inner), narrow, `IPv${inner} is told`);
        t.true(await reaches(a, b, { family: inner, size: narrow }), `${narrow} bytes pass in IPv${inner}`);
      }
      t.true((await planes[0]!.stats()).counters.tooBigAnswered >= 2);
      t.deepEqual(await bodiesBothWays(a, b, 16), [true, true]);
      t.deepEqual(await bodiesBothWays(a, b, 16, { family: 6 }), [true, true]);
    },
  );
}
