/**
 * Counts and rates of a director between a client and two servers: they are what was sent, to the packet and the byte.
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.1.0.1, 10.2.0.1 ─── 10.1.0.2, 10.2.0.2 servers
 */
import type { ExecutionContext } from 'ava';
import type { Host, Lab } from '../../src/cli/lab/lab.js';
import type { ServiceCounts, VirtualServerReport } from '../../src/dataplane/report.js';
import {
  addressOf,
  at,
  type Directed,
  directed,
  FAMILIES,
  type Family,
  type Services,
  VIRTUAL,
} from './world/directed.js';
import { labTest } from './world/needs.js';
import type { Plane } from './world/plane.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';

/** Bytes of the headers of IP and UDP. */
const UDP_HEADERS = { 4: 28, 6: 48 } as const;

const listenOf = (family: Family, protocol = 'udp', port = 7) => `${protocol}://${at(VIRTUAL[family], port)}`;

/** The servers answer at port 7 what they get. */
async function place(lab: Lab, services: Services): Promise<Directed> {
  const made = await directed(lab);
  for (const host of made.servers) await awaitWord(spawnProgram(host, 'ping-pong', ['serve', '7']), 'ready');
  await made.plane.start({ networks: [], services });
  return made;
}

const echo = (sites: readonly number[]): Services =>
  FAMILIES.map((family) => ({
    listen: listenOf(family),
    scheduler: 'rr',
    destinations: sites.map((site) => ({ address: at(addressOf(site, family), 7) })),
  }));

/** So many datagrams there and back, from one port. */
async function pingPong(client: Host, family: Family, count: number, bytes: number, intervalMs = 0) {
  const words = ['ask', VIRTUAL[family], '7', String(count), String(bytes), String(intervalMs)];
  const { stdout } = await client.run(process.execPath, [program('ping-pong'), ...words]);
  return Number(stdout);
}

async function counted(plane: Plane): Promise<Map<string, ServiceCounts>> {
  const { services } = await plane.ask<VirtualServerReport>('ipvs');
  const all = services.flatMap((service) => [
    [service.listen, service.stats] as const,
    ...service.destinations.map((each) => [`${service.listen} ${each.address}`, each.stats] as const),
  ]);
  return new Map(all);
}

/** What so many datagrams there and back count as. */
const both = (family: Family, conns: number, count: number, bytes: number): ServiceCounts => {
  const octets = count * (bytes + UDP_HEADERS[family]);
  return { conns, inPackets: count, outPackets: count, inBytes: octets, outBytes: octets };
};

const sum = (a: ServiceCounts, b: ServiceCounts): ServiceCounts => ({
  ...{ conns: a.conns + b.conns, inPackets: a.inPackets + b.inPackets },
  ...{ outPackets: a.outPackets + b.outPackets, inBytes: a.inBytes + b.inBytes },
  outBytes: a.outBytes + b.outBytes,
});

async function said(t: ExecutionContext, plane: Plane, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await plane.command('ipvsadm', ...words);
  t.is(code, 0, stderr);
  return stdout;
}

labTest(
  'counts are what was sent, to the packet and the byte; -Z sets them back, weights do not',
  [],
  async (t, lab) => {
    const { client, plane } = await place(lab, echo([1, 2]));
    for (const family of FAMILIES) {
      t.is(await pingPong(client, family, 50, 100), 50);
      t.is(await pingPong(client, family, 20, 33), 20);
      const counts = await counted(plane);
      const listen = listenOf(family);
      const [one, two] = [both(family, 1, 50, 100), both(family, 1, 20, 33)];
      // Round robin: one server each.
      const servers = [1, 2].map((site) => counts.get(`${listen} ${at(addressOf(site, family), 7)}`)!);
      t.deepEqual(
        servers.sort((a, b) => b.inPackets - a.inPackets),
        [one, two],
      );
      t.deepEqual(counts.get(listen), sum(one, two));
    }
    const six = await counted(plane);
    const socket = at(VIRTUAL[4], 7);
    const text = await said(t, plane, '-L', '-n', '--stats', '--exact', '-u', socket);
    const { inBytes } = six.get(listenOf(4))!;
    t.regex(text, new RegExp(`^UDP  ${socket} +2 +70 +70 +${inBytes} +${inBytes}$`, 'm'));

    await said(t, plane, '-e', '-u', socket, '-r', at(addressOf(1, 4), 7), '-m', '-w', '9');
    t.deepEqual(await counted(plane), six);

    await said(t, plane, '-Z', '-u', socket);
    const zeroed = await counted(plane);
    for (const [name, counts] of zeroed) {
      t.deepEqual(counts, name.includes(VIRTUAL[4]) ? both(4, 0, 0, 0) : six.get(name)!, name);
    }
    t.is(await pingPong(client, 4, 5, 1), 5);
    t.deepEqual((await counted(plane)).get(listenOf(4)), both(4, 1, 5, 1));
    await said(t, plane, '-Z');
    for (const counts of (await counted(plane)).values()) t.deepEqual(counts, both(4, 0, 0, 0));
  },
);

labTest(
  'a destination that leaves takes its counts along and its service keeps them; a new one starts from 0',
  [],
  async (t, lab) => {
    const { client, plane } = await place(lab, echo([1]));
    t.is(await pingPong(client, 4, 10, 10), 10);
    const had = both(4, 1, 10, 10);
    t.true(await plane.reload({ networks: [], services: echo([2]) }));
    t.deepEqual((await counted(plane)).get(listenOf(4)), had);
    t.is(await pingPong(client, 4, 10, 10), 10);
    t.true(await plane.reload({ networks: [], services: echo([2, 1]) }));
    const counts = await counted(plane);
    t.deepEqual(counts.get(`${listenOf(4)} ${at(addressOf(2, 4), 7)}`), had);
    t.deepEqual(counts.get(`${listenOf(4)} ${at(addressOf(1, 4), 7)}`), both(4, 0, 0, 0));
    t.deepEqual(counts.get(listenOf(4)), sum(had, had));
  },
);

labTest(
  'rates come near what is sent while it is, and leave it afterwards; -Z sets them to 0',
  [],
  async (t, lab) => {
    const { client, plane } = await place(lab, echo([1]));
    for (const family of FAMILIES) {
      const began = performance.now();
      const running = pingPong(client, family, 500, 100, 20);
      let most = 0;
      let line = '';
      let finished = false;
      void running.then(() => {
        finished = true;
      });
      while (!finished && performance.now() - began < 60_000) {
        const text = await said(t, plane, '-L', '-n', '--rate', '-u', at(VIRTUAL[family], 7));
        const found = /^UDP .*$/m.exec(text)![0];
        const rate = Number(found.trim().split(/ +/)[3]);
        if (rate > most) [most, line] = [rate, found];
      }
      t.is(await running, 500);
      const sent = 500 / ((performance.now() - began) / 1000);
      t.true(most > sent * 0.5 && most < sent * 1.6, `${line}; ${sent.toFixed(1)} a second were sent`);
      await said(t, plane, '-Z');
      const { services } = await plane.ask<VirtualServerReport>('ipvs');
      for (const { rates } of services) {
        t.deepEqual(rates, { cps: 0, inPps: 0, outPps: 0, inBps: 0, outBps: 0 });
      }
    }
  },
);

labTest('super-packets count as the packets that links carry', [], async (t, lab) => {
  const bulk = FAMILIES.map((family) => ({
    listen: listenOf(family, 'tcp', 80),
    destinations: [{ address: at(addressOf(1, family), 5201) }],
  }));
  const { client, servers, plane } = await place(lab, bulk);
  const bytes = 64 << 20;
  for (const family of FAMILIES) {
    const serve = spawnProgram(servers[0]!, 'body', ['serve', addressOf(1, family), '5201']);
    await awaitWord(serve, 'ready');
    const before = (await plane.stats()).counters.rxPackets;
    await client.run(process.execPath, [
      ...[program('body'), 'fetch', `http://${at(VIRTUAL[family], 80)}/1/64`],
    ]);
    const passed = (await plane.stats()).counters.rxPackets - before;
    const { conns, inPackets, outPackets, inBytes, outBytes } = (await counted(plane)).get(
      listenOf(family, 'tcp', 80),
    )!;
    const headers = (family === 4 ? 20 : 40) + 32;
    t.is(conns, 1);
    t.true(
      passed < outPackets / 4,
      `${passed} packets passed, ${outPackets} of a link: they do not stay whole`,
    );
    // Full packets of 1,500 bytes, but for a few: HTTP's headers, and where a write ends.
    const least = Math.ceil(bytes / (1500 - headers));
    t.true(outPackets >= least && outPackets < least * 1.2, `${outPackets} of at least ${least}`);
    t.true(outBytes > bytes + least * headers && outBytes <= outPackets * 1500, `${outBytes} bytes`);
    // Acknowledgements, and one request.
    t.true(
      inPackets > 0 && inBytes < inPackets * (headers + 40) + 500,
      `${inPackets} packets, ${inBytes} bytes`,
    );
  }
});
