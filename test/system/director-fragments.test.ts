/** Datagrams that are too big for the links, through the director, in fragments both ways: no host puts them together in between. */
import type { Host } from '../../src/cli/lab/lab.js';
import {
  addressOf,
  at,
  directed,
  FAMILIES,
  type Family,
  nothingDropped,
  service,
  VIRTUAL,
} from './world/directed.js';
import { labTest } from './world/needs.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';

const PORT = 9000;

async function exchange(from: Host, address: string, bytes: number, count: number): Promise<string> {
  const args = ['exchange', address, String(PORT), String(bytes), String(count)];
  const { stdout } = await from.run(process.execPath, [program('datagrams'), ...args]);
  return stdout.trim();
}

/** Packets of the family that the host has put together out of fragments, and those that it gave up. */
async function assembled(host: Host, family: Family): Promise<{ whole: number; failed: number }> {
  const { stdout } = await host.run('cat', [`/proc/net/${family === 4 ? 'snmp' : 'snmp6'}`]);
  const count = (name: string) => {
    if (family === 6) return Number(new RegExp(`^Ip6${name}\\s+(\\d+)`, 'm').exec(stdout)?.[1]);
    const [names = '', values = ''] = stdout.split('\n');
    return Number(values.split(' ')[names.split(' ').indexOf(name)]);
  };
  return { whole: count('ReasmOKs'), failed: count('ReasmFails') };
}

const services = (servers: number[]) =>
  FAMILIES.map((family) => service(`udp://${at(VIRTUAL[family], PORT)}`, family, servers, PORT));

labTest(
  'datagrams of 8 and 60 KB cross links of 1,500 bytes in fragments, both ways, in IPv4 and IPv6',
  [],
  async (t, lab) => {
    const { client, director, servers, plane } = await directed(lab);
    for (const server of servers)
      await awaitWord(spawnProgram(server, 'datagrams', ['serve', String(PORT)]), 'ready');
    await plane.start({ networks: [], services: services([1, 2]) });
    for (const family of FAMILIES) {
      for (const bytes of [8192, 60_000]) {
        t.is(await exchange(client, VIRTUAL[family], bytes, 20), '20 of 20', `IPv${family}, ${bytes} bytes`);
      }
      const all = await Promise.all(servers.map((server) => assembled(server, family)));
      t.is(all[0]!.whole + all[1]!.whole, 40);
      t.deepEqual(await assembled(client, family), { whole: 40, failed: 0 });
      t.deepEqual(await assembled(director, family), { whole: 0, failed: 0 });
    }
    await nothingDropped(t, plane);
  },
);

labTest(
  'several engines: what many programs exchange at a time in fragments arrives as well',
  [],
  async (t, lab) => {
    const { client, director, servers, plane } = await directed(lab);
    for (const server of servers) {
      await awaitWord(spawnProgram(server, 'datagrams', ['serve', String(PORT)]), 'ready');
    }
    await plane.start({ engine: { count: 3 }, networks: [], services: services([1, 2]) });
    for (const family of FAMILIES) {
      const all = await Promise.all(
        Array.from({ length: 6 }, () => exchange(client, VIRTUAL[family], 8192, 50)),
      );
      t.deepEqual(all, Array(6).fill('50 of 50'), `IPv${family}`);
      t.deepEqual(await assembled(director, family), { whole: 0, failed: 0 });
    }
    await nothingDropped(t, plane);
  },
);

labTest('fragments that are for no service go their way', [], async (t, lab) => {
  const { client, director, servers, plane } = await directed(lab);
  const own = FAMILIES.map((family) =>
    service(`udp://${at(family === 4 ? '10.0.0.1' : 'fd00::1', PORT + 1)}`, family, [1], PORT),
  );
  for (const host of [director, ...servers]) {
    await awaitWord(spawnProgram(host, 'datagrams', ['serve', String(PORT)]), 'ready');
  }
  await plane.start({ networks: [], services: [...services([1]), ...own] });
  for (const family of FAMILIES) {
    // To a destination itself, and to the host at an address that a service has as well.
    t.is(await exchange(client, addressOf(1, family), 8192, 5), '5 of 5');
    t.is(await exchange(client, family === 4 ? '10.0.0.1' : 'fd00::1', 8192, 5), '5 of 5');
    t.is(await exchange(client, addressOf(2, family), 8192, 5), '5 of 5');
    const big = ['-c', '3', '-i', '0.2', '-W', '2', '-s', '8000'];
    await client.run('ping', [...big, addressOf(1, family)]);
    await client.run('ping', [...big, family === 4 ? '10.0.0.1' : 'fd00::1']);
  }
  await nothingDropped(t, plane);
});

/** Sends what it is given, IPv4 packets in hexadecimal digits, one a line, in that order. */
const SEND_RAW = `
import socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for line in sys.stdin:
    out.sendto(bytes.fromhex(line.strip()), ('${VIRTUAL[4]}', 0))
`;

/** A UDP datagram without checksum of the client, in fragments of `part` bytes. */
function fragmentsOf(id: number, payload: Buffer, part: number): Buffer[] {
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(40_000, 0);
  udp.writeUInt16BE(PORT, 2);
  udp.writeUInt16BE(8 + payload.length, 4);
  const data = Buffer.concat([udp, payload]);
  const all: Buffer[] = [];
  for (let from = 0; from < data.length; from += part) {
    const piece = data.subarray(from, from + part);
    const header = Buffer.from('4500000000000000401100000a000002cb007150', 'hex');
    header.writeUInt16BE(20 + piece.length, 2);
    header.writeUInt16BE(id, 4);
    header.writeUInt16BE((from + part < data.length ? 0x2000 : 0) | (from / 8), 6);
    all.push(Buffer.concat([header, piece]));
  }
  return all;
}

labTest(
  'fragments that come before the first one wait for it; without it they are dropped',
  ['python3', 'tcpdump'],
  async (t, lab) => {
    const { client, servers, plane } = await directed(lab);
    const [server] = servers as [Host];
    await awaitWord(spawnProgram(server, 'datagrams', ['serve', String(PORT)]), 'ready');
    await plane.start({ networks: [], services: services([1]) });
    const send = (packets: Buffer[]) =>
      client.run('python3', ['-c', SEND_RAW], {
        input: packets.map((packet) => `${packet.toString('hex')}\n`).join(''),
      });
    const pieces = fragmentsOf(1, Buffer.alloc(5000, 7), 1000);
    await send([...pieces].reverse());
    await until('the server has the datagram', async () => (await assembled(server, 4)).whole === 1);
    await nothingDropped(t, plane);
    await send(fragmentsOf(2, Buffer.alloc(5000, 7), 1000).slice(1));
    // Any packet moves the engine's clock on.
    await until('they are given up', async () => {
      await client.run('ping', ['-c', '1', '-W', '1', VIRTUAL[4]], { check: false });
      return (await plane.drops('fragment-lost')) === pieces.length - 1;
    });
    t.is((await assembled(server, 4)).whole, 1);
    t.is(await exchange(client, VIRTUAL[4], 8192, 3), '3 of 3');
  },
);
