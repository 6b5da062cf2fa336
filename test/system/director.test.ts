/**
 * The virtual server as a director between a client and two servers, without any overlay: it catches what is for its
 * services by itself, and the servers see the client's address.
 *
 *     client 10.0.0.2 ─── 10.0.0.1 director 10.1.0.1, 10.2.0.1 ─── 10.1.0.2, 10.2.0.2 servers
 */
import type { ConnectionRow } from '../../src/dataplane/report.js';
import { addressOf, FAMILIES, nothingDropped, service, VIRTUAL } from './world/directed.js';
import { answers, ask, both, place } from './world/director-place.js';
import { labTest } from './world/needs.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';

labTest(
  'TCP and UDP of both families are spread over the servers, which see the client',
  [],
  async (t, lab) => {
    const { client, director, plane } = await place(lab, both([1, 2]));
    for (const family of FAMILIES) {
      const from = addressOf(0, family);
      for (const protocol of ['tcp', 'udp'] as const) {
        const got = await answers(client, protocol, VIRTUAL[family], 4);
        t.deepEqual(
          got,
          [`s1 ${from}`, `s1 ${from}`, `s2 ${from}`, `s2 ${from}`],
          `${protocol} IPv${family}`,
        );
      }
      // What is for no service goes its way.
      t.is(await ask(client, 'tcp', addressOf(1, family), 8080), `s1 ${from}`);
      await client.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', addressOf(1, family)]);
    }
    await nothingDropped(t, plane);
    const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
    t.is(rows.length, 16);
    const tcp = rows.find(({ protocol, source }) => protocol === 'tcp' && source.startsWith('10.'));
    t.like(tcp, { virtual: '203.0.113.80:80', state: 'TIME_WAIT', network: null });
    t.regex(await director.ip('rule'), /iif viaduct0 goto/);
    t.is(await plane.end(), 0);
    t.notRegex(await director.ip('rule'), /viaduct0|203\.0\.113\.80|10\.1\.0\.2/);
    t.notRegex(await director.ip('-6 rule'), /viaduct0|2001:db8::80/);
  },
);

labTest(
  'a service may have an address of the host, and clients on the host itself are served',
  [],
  async (t, lab) => {
    const { client, director, plane } = await place(lab, [
      ...both([1, 2]),
      service('tcp://10.0.0.1:80', 4, [1]),
      service('tcp://[fd00::1]:80', 6, [2]),
    ]);
    t.is(await ask(client, 'tcp', '10.0.0.1'), 's1 10.0.0.2');
    t.is(await ask(client, 'tcp', 'fd00::1'), 's2 fd00::2');
    for (const family of FAMILIES) {
      t.regex((await answers(director, 'tcp', VIRTUAL[family], 2)).join(), /^s1 .*,s2 /);
      t.regex((await answers(director, 'udp', VIRTUAL[family], 2)).join(), /^s1 .*,s2 /);
    }
    t.regex(await ask(director, 'tcp', '10.0.0.1'), /^s1 /);
    // Ports of the address that no service has are the host's own.
    t.is(await ask(client, 'tcp', '10.0.0.1', 81), 'ECONNREFUSED');
    await client.run('ping', ['-c', '2', '-i', '0.2', '-W', '2', '10.0.0.1']);
    await nothingDropped(t, plane);
  },
);

labTest(
  'a transfer goes on while its server leaves the service; new connections go elsewhere',
  [],
  async (t, lab) => {
    const bulk = (servers: number[]) => service(`tcp://${VIRTUAL[4]}:5201`, 4, servers, 5201);
    const { client, servers, plane } = await place(lab, [...both([1]), bulk([1])]);
    await awaitWord(spawnProgram(servers[0]!, 'body', ['serve', addressOf(1, 4), '5201']), 'ready');
    const fetch = (address: string, seed: number, mebibytes: number) =>
      client.run(process.execPath, [program('body'), 'fetch', `http://${address}:5201/${seed}/${mebibytes}`]);
    const long = fetch(VIRTUAL[4], 1, 1024);
    await until('the transfer is under way', async () => (await plane.stats()).counters.rxPackets > 2000);
    t.true(await plane.reload({ networks: [], services: [...both([2]), bulk([2])] }));
    t.is(await ask(client, 'tcp', VIRTUAL[4]), 's2 10.0.0.2');
    const through = (await long).stdout.trim();
    t.is(through, (await fetch(addressOf(1, 4), 1, 1024)).stdout.trim());
    t.regex(through, /^[0-9a-f]{64}$/);
    const { counters } = await plane.stats();
    // A gibibyte of 1,500 bytes each would be 740,000 packets one way.
    t.true(counters.rxPackets < 300_000, `super-packets do not stay whole: ${counters.rxPackets} packets`);
    await nothingDropped(t, plane);
  },
);

labTest(
  'where nobody serves the client is told, and what the director can not do is refused',
  [],
  async (t, lab) => {
    const { client, plane } = await place(lab, both([]));
    for (const family of FAMILIES) {
      t.is(await ask(client, 'udp', VIRTUAL[family]), 'ECONNREFUSED');
      t.is(await ask(client, 'tcp', VIRTUAL[family]), 'ECONNREFUSED');
    }
    t.true((await plane.stats()).drops['service-empty'] >= 4);
    t.false(
      await plane.reload({ networks: [], services: [{ listen: 'tcp://10.7.0.1:80', network: 'blue' }] }),
    );
    t.regex(plane.log, /there is no network blue/);
    t.true(await plane.reload({ networks: [], services: both([1]) }));
    t.is(await ask(client, 'tcp', VIRTUAL[6]), `s1 ${addressOf(0, 6)}`);
  },
);
