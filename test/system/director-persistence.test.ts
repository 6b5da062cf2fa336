/** Clients that stay at their server, by address, by mask, by mark and by SIP's Call-ID, through a director of the host. */
import type { Host } from '../../src/cli/lab/lab.js';
import type { ConnectionRow, VirtualServerReport } from '../../src/dataplane/report.js';
import {
  addressOf,
  at,
  directed,
  FAMILIES,
  type Family,
  nothingDropped,
  type Services,
  service,
  VIRTUAL,
} from './world/directed.js';
import { labTest } from './world/needs.js';
import { awaitWord, program, spawnProgram } from './world/programs.js';
import { until } from './world/until.js';

type Persistence = NonNullable<Services[number]['persistence']>;

const sticky = (
  listen: string,
  family: Family,
  port: number,
  persistence: Persistence,
): Services[number] => ({
  ...service(listen, family, [1, 2], port),
  persistence,
});

async function ask(
  from: Host,
  protocol: 'tcp' | 'udp',
  address: string,
  port: number,
  own: string[] = [],
): Promise<string> {
  const words = [program('who'), 'ask', protocol, address, String(port), ...own];
  return (await from.run(process.execPath, words)).stdout.trim().split(' ')[0]!;
}

async function serve(servers: readonly Host[], ports: readonly number[]): Promise<void> {
  for (const [i, host] of servers.entries()) {
    for (const port of ports) {
      await awaitWord(spawnProgram(host, 'who', ['serve', `s${i + 1}`, String(port)]), 'ready');
    }
  }
}

/** Three more addresses of the client, of which two are another network's. */
async function moreClients(client: Host, director: Host): Promise<void> {
  for (const address of ['10.0.0.3/24', '10.9.0.2/32', '10.9.0.99/32'])
    await client.ip(`addr add ${address} dev eth0`);
  await director.ip('route add 10.9.0.0/24 via 10.0.0.2');
  for (const address of ['fd00::3/64', 'fd09::2/128', 'fd09::99/128']) {
    await client.ip(`addr add ${address} dev eth0 nodad`);
  }
  await director.ip('-6 route add fd09::/64 via fd00::2');
}

labTest('a client stays at its server, and a mask makes many one client', [], async (t, lab) => {
  const { client, director, servers, plane } = await directed(lab);
  await serve(servers, [8080]);
  await moreClients(client, director);
  await plane.start({
    networks: [],
    services: FAMILIES.flatMap((family) => [
      sticky(`tcp://${at(VIRTUAL[family], 80)}`, family, 8080, { timeoutSeconds: 30 }),
      sticky(`udp://${at(VIRTUAL[family], 80)}`, family, 8080, { mask: family === 4 ? 24 : 64 }),
    ]),
  });
  for (const family of FAMILIES) {
    const own =
      family === 4
        ? ['10.0.0.2', '10.0.0.3', '10.9.0.2', '10.9.0.99']
        : ['fd00::2', 'fd00::3', 'fd09::2', 'fd09::99'];
    const homes: string[] = [];
    for (const address of own) {
      const home = await ask(client, 'tcp', VIRTUAL[family], 80, [address]);
      homes.push(home);
      for (let i = 0; i < 3; i++) t.is(await ask(client, 'tcp', VIRTUAL[family], 80, [address]), home);
    }
    // Round robin over clients.
    t.deepEqual([...homes].sort(), ['s1', 's1', 's2', 's2']);
    const nets: string[] = [];
    for (const address of own) nets.push(await ask(client, 'udp', VIRTUAL[family], 80, [address]));
    t.is(nets[0], nets[1]);
    t.is(nets[2], nets[3]);
    t.not(nets[0], nets[2]);
  }
  const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
  const template = rows.find(({ protocol, source }) => protocol === 'udp' && source === '10.9.0.0:0');
  t.like(template, { virtual: '203.0.113.80:80', state: 'ASSURED', engine: null });
  const { services } = await plane.ask<VirtualServerReport>('ipvs');
  t.deepEqual(
    services[0]!.destinations.map(({ persistent }) => persistent),
    [2, 2],
  );
  const listed = await plane.command('ipvsadm', '-Ln', '--persistent-conn');
  t.regex(
    listed.stdout,
    /UDP {2}203\.0\.113\.80:80 rr persistent 300 mask 255\.255\.255\.0\n/,
    listed.stderr,
  );
  await nothingDropped(t, plane);
  t.is(await plane.end(), 0);
});

labTest('a service of every port keeps the ports of a client together', [], async (t, lab) => {
  const { client, servers, plane } = await directed(lab);
  await serve(servers, [8081, 8082]);
  const all = (family: Family) => sticky(`tcp://${at(VIRTUAL[family], 0)}`, family, 0, {});
  await plane.start({ networks: [], services: FAMILIES.map(all) });
  for (const family of FAMILIES) {
    const home = await ask(client, 'tcp', VIRTUAL[family], 8081);
    t.regex(home, /^s[12]$/);
    for (const port of [8082, 8081, 8082]) t.is(await ask(client, 'tcp', VIRTUAL[family], port), home);
    t.is(await ask(client, 'tcp', VIRTUAL[family], 9), 'ECONNREFUSED');
  }
  await nothingDropped(t, plane);
});

labTest(
  'sip: calls of one client go each to its server, also those that servers begin',
  [],
  async (t, lab) => {
    const { client, servers, plane } = await directed(lab);
    for (const [i, host] of servers.entries()) {
      await awaitWord(spawnProgram(host, 'sip', ['serve', `s${i + 1}`, '5060']), 'ready');
    }
    const calls = (family: Family) =>
      sticky(`udp://${at(VIRTUAL[family], 5060)}`, family, 5060, { engine: 'sip', timeoutSeconds: 60 });
    await plane.start({ networks: [], services: FAMILIES.map(calls) });
    for (const family of FAMILIES) {
      const sip = async (verb: string, ...ids: string[]) =>
        (await client.run(process.execPath, [program('sip'), verb, VIRTUAL[family], '5060', ...ids])).stdout
          .trim()
          .split('\n');
      const [one, two, ...more] = await sip('ask', 'a@x', 'b@x', 'a@x', 'b@x', 'a@x', 'b@x');
      t.deepEqual([one, two].sort(), ['s1', 's2']);
      t.deepEqual(more, [one, two, one, two]);
      const [invite, answer] = await sip('register');
      t.regex(invite!, family === 4 ? /^203\.0\.113\.80 5060 s[12]$/ : /^2001:db8::80 5060 s[12]$/);
      t.is(answer, invite!.split(' ')[2]);
    }
    const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
    t.deepEqual(rows.find(({ engine }) => engine?.data === 'a@x')?.engine, { name: 'sip', data: 'a@x' });
    const listed = await plane.command('ipvsadm', '-Lcn', '--persistent-conn');
    t.regex(listed.stdout, /^UDP 0[01]:\d\d {2}ASSURED .* 10\.[12]\.0\.2:5060 +sip +b@x$/m, listed.stderr);
    t.regex(
      (await plane.command('ipvsadm', '-Ln')).stdout,
      /UDP {2}203\.0\.113\.80:5060 rr persistent 60 pe sip\n/,
    );
    await nothingDropped(t, plane);
    // What is no SIP goes nowhere.
    t.is(await ask(client, 'udp', VIRTUAL[4], 5060), 'ETIMEDOUT');
    t.is(await plane.drops('no-call-id'), 1);
  },
);

/** npx has another program of that name on the PATH. */
const NFT = '/usr/sbin/nft';

const MARKS = (extra: string): string => `
table inet marks {
  chain arriving {
    type filter hook prerouting priority mangle
    ip daddr ${VIRTUAL[4]} meta l4proto { tcp, udp } th dport { 8081, 8082 } meta mark set 7
    ip6 daddr ${VIRTUAL[6]} meta l4proto { tcp, udp } th dport { 8081, 8082 } meta mark set 7
    ${extra}
  }
  chain own {
    type route hook output priority mangle
    ip daddr ${VIRTUAL[4]} tcp dport { 8081, 8082 } meta mark set 7
    ip6 daddr ${VIRTUAL[6]} tcp dport { 8081, 8082 } meta mark set 7
  }
}
`;

const marked = (persistence?: Persistence): Services =>
  FAMILIES.map((family) => ({
    ...service(`mark${family === 6 ? '6' : ''}://7`, family, [1, 2], 0),
    ...(persistence && { persistence }),
  }));

async function webServers(servers: readonly Host[], ports: readonly number[]): Promise<void> {
  for (const [i, host] of servers.entries()) {
    for (const port of ports) {
      const answer = `(q, r) => r.end('s${i + 1} ' + q.socket.remoteAddress)`;
      const script = `require('http').createServer(${answer}).listen(${port}, '::', () => console.log('ready'))`;
      await awaitWord(host.spawn(process.execPath, ['-e', script]), 'ready');
    }
  }
}

const curl = async (from: Host, address: string, port: number): Promise<string> =>
  (await from.run('curl', ['-s', '-m', '5', `http://${at(address, port)}/`], { check: false })).stdout;

const devices = async (host: Host): Promise<string> => host.ip('-o link show type tun');

labTest('a mark that the host sets has a service, whatever the port', [NFT, 'curl'], async (t, lab) => {
  const { client, director, servers, plane } = await directed(lab);
  await webServers(servers, [8081, 8082]);
  await director.run(NFT, [MARKS('')]);
  // A socket of the host's own looks for a route before its packet gets a mark.
  await director.ip(`route add ${VIRTUAL[4]} via 10.0.0.2`);
  await director.ip(`-6 route add ${VIRTUAL[6]} via fd00::2`);
  await plane.start({ networks: [], services: marked() });
  for (const family of FAMILIES) {
    const own = family === 4 ? '::ffff:10.0.0.2' : 'fd00::2';
    const got = [];
    for (const port of [8081, 8082, 8081, 8082, 8081, 8081])
      got.push(await curl(client, VIRTUAL[family], port));
    t.deepEqual(
      got.sort(),
      [1, 1, 1, 2, 2, 2].map((n) => `s${n} ${own}`),
    );
    // What has no mark goes its way, and clients on the host itself are served.
    t.is(await curl(client, addressOf(1, family), 8081), `s1 ${own}`);
    t.regex(await curl(director, VIRTUAL[family], 8082), /^s[12] /);
  }
  t.true(await plane.reload({ networks: [], services: marked({ timeoutSeconds: 120 }) }));
  for (const family of FAMILIES) {
    const home = await curl(client, VIRTUAL[family], 8081);
    t.regex(home, /^s[12] /);
    for (const port of [8082, 8081, 8082, 8081]) t.is(await curl(client, VIRTUAL[family], port), home);
  }
  const { stdout } = await plane.command('ipvsadm', '-Ln');
  t.regex(stdout, /^FWM {2}7 rr persistent 120\n {2}-> 10\.1\.0\.2:0 +Masq/m);
  t.regex(stdout, /^FWM {2}7 IPv6 rr persistent 120\n {2}-> \[fd01::2\]:0 +Masq/m);
  const rows = await plane.ask<ConnectionRow[]>('ipvs/connections');
  t.like(
    rows.find(({ protocol }) => protocol === 'ip'),
    { source: '10.0.0.2:0', virtual: '0.0.0.7:0', state: 'ASSURED' },
  );
  t.true(rows.some(({ virtual }) => virtual === '203.0.113.80:8082'));
  await nothingDropped(t, plane);
  t.regex(await director.ip('rule'), /fwmark 0x7 lookup/);
  t.is((await devices(director)).trim().split('\n').length, 2);
  t.is(await plane.end(), 0);
  t.notRegex(await director.ip('rule'), /fwmark|viaduct/);
  t.notRegex(await director.ip('-6 rule'), /fwmark|viaduct/);
  t.is((await devices(director)).trim(), '');
});

labTest('marks come and go while traffic runs, beside services by address', [NFT, 'curl'], async (t, lab) => {
  const { client, director, servers, plane } = await directed(lab);
  await serve(servers, [8080]);
  await webServers(servers, [8081, 8082]);
  await awaitWord(spawnProgram(servers[0]!, 'body', ['serve', addressOf(1, 4), '5201']), 'ready');
  await director.run(NFT, [MARKS(`ip daddr ${VIRTUAL[4]} tcp dport 5201 meta mark set 9`)]);
  const plain = service(`tcp://${at(VIRTUAL[4], 80)}`, 4, [2], 8080);
  const nine: Services[number] = service('mark://9', 4, [1], 0);
  await plane.start({ networks: [], services: [plain] });
  // A mark without a service is none; an address's service goes before nothing.
  t.is(await curl(client, VIRTUAL[4], 8081), '');
  t.true(await plane.reload({ networks: [], services: [plain, nine, ...marked()] }));
  t.is((await devices(director)).trim().split('\n').length, 3);
  const fetch = (address: string) =>
    client.run(process.execPath, [program('body'), 'fetch', `http://${address}:5201/1/512`]);
  const before = (await plane.stats()).counters.rxPackets;
  const long = fetch(VIRTUAL[4]);
  await until(
    'the transfer is under way',
    async () => (await plane.stats()).counters.rxPackets > before + 2000,
  );
  // The mark's service goes, and what is under way goes on.
  t.true(await plane.reload({ networks: [], services: [plain] }));
  t.is(await ask(client, 'tcp', VIRTUAL[4], 80), 's2');
  t.is(await curl(client, VIRTUAL[4], 8082), '');
  t.is((await long).stdout.trim(), (await fetch(addressOf(1, 4))).stdout.trim());
  t.true(await plane.reload({ networks: [], services: [plain, ...marked()] }));
  t.regex(await curl(client, VIRTUAL[4], 8082), /^s[12] /);
  t.regex(await curl(client, VIRTUAL[6], 8081), /^s[12] /);
  await nothingDropped(t, plane);
  t.true(await plane.reload({ networks: [], services: [plain] }));
  t.is(await plane.end(), 0);
  t.notRegex(await director.ip('rule'), /fwmark|viaduct/);
});
