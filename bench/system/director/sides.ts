/** Those who direct: Viaduct, the kernel's nftables, HAProxy and nginx as TCP proxies, and nobody. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import { ask } from '../../../src/cli/socket/client.js';
import { scratchDirectory, waitFor } from '../../labs.js';
import { has } from '../../machine.js';
import { reference } from '../../reference/tools.js';
import { awaitWord } from '../load.js';
import type { Side } from '../side.js';
import { type Running, startDataplane } from '../viaduct.js';
import { addressOf, buildPlace, FAMILIES, type Place, PORTS, sideOf, socketOf, VIRTUAL } from './place.js';

/** The client reaches the servers through the director's host, which only routes. */
async function buildNone(lab: Lab): Promise<Side> {
  return sideOf('no director', await buildPlace(lab), true);
}

/** Services of Viaduct's on these addresses, each with what is asked for besides. */
export async function directViaduct(place: Place, extra: object = {}, whole: object = {}): Promise<Running> {
  const services = FAMILIES.flatMap((family) =>
    PORTS.map(({ protocol, port, servers }) => ({
      listen: `${protocol}://${socketOf(VIRTUAL[family], port)}`,
      scheduler: 'rr',
      ...(protocol === 'tcp' && extra),
      destinations: servers.map((server) => ({ address: socketOf(addressOf(server, family), port) })),
    })),
  );
  const running = await startDataplane(place.director, { networks: [], services, ...whole });
  await waitFor(running.socket);
  // It answers once the services are in force.
  await ask(running.socket, '/v1/stats');
  return running;
}

async function buildViaduct(lab: Lab): Promise<Side> {
  const place = await buildPlace(lab);
  const running = await directViaduct(place);
  return { ...sideOf('viaduct', place), processes: [running.pid], log: running.log };
}

/** Destination NAT, round robin by connection. */
async function buildNftables(lab: Lab): Promise<Side> {
  const place = await buildPlace(lab);
  await directNftables(place);
  return sideOf('nftables', place);
}

export async function directNftables(place: Place): Promise<void> {
  const rules = FAMILIES.flatMap((family) =>
    PORTS.map(({ protocol, port, servers }) => {
      const ip = family === 4 ? 'ip' : 'ip6';
      const match = `${ip} daddr ${VIRTUAL[family]} ${protocol} dport ${port}`;
      const [only, ...others] = servers.map((server) => addressOf(server, family));
      if (others.length === 0) return `${match} dnat to ${only}`;
      const turns = [only, ...others].map((address, i) => `${i} : ${address}`).join(', ');
      return `${match} dnat to numgen inc mod ${servers.length} map { ${turns} }`;
    }).map((rule) => `  ${rule.replace('dnat to', `dnat ${family === 4 ? 'ip' : 'ip6'} to`)}`),
  );
  const table = `table inet director { chain pre { type nat hook prerouting priority -100; policy accept;\n${rules.join('\n')}\n}\n}\n`;
  await place.director.run('nft', ['-f', '-'], { input: table });
}

const TCP = PORTS.filter(({ protocol }) => protocol === 'tcp');

async function writeConfig(director: Host, program: string, text: string): Promise<string> {
  const file = join(await scratchDirectory(), `${director.netns}-${program}.conf`);
  await writeFile(file, text);
  return file;
}

async function buildHaproxy(lab: Lab): Promise<Side> {
  const place = await buildPlace(lab);
  const listeners = TCP.flatMap(({ port, servers }) =>
    FAMILIES.map((family) => {
      const lines = servers.map((server) => `  server s${server} ${addressOf(server, family)}:${port}`);
      return `listen p${port}v${family}\n  bind ${VIRTUAL[family]}:${port}\n${lines.join('\n')}\n`;
    }),
  );
  const text = `global\n  maxconn 8000\n  nbthread 1\ndefaults\n  mode tcp\n  balance roundrobin\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n${listeners.join('')}`;
  const child = place.director.spawn('haproxy', [
    '-db',
    '-f',
    await writeConfig(place.director, 'haproxy', text),
  ]);
  return { ...sideOf('haproxy', place), processes: [child.pid!], without: ['udp', 'udp-flows', 'rtt'] };
}

async function buildNginx(lab: Lab): Promise<Side> {
  const place = await buildPlace(lab);
  const servers = PORTS.flatMap(({ protocol, port, servers: all }) =>
    FAMILIES.map((family) => {
      const name = `p${protocol}${port}v${family}`;
      const members = all.map((server) => `server ${socketOf(addressOf(server, family), port)};`).join(' ');
      const listen = `${socketOf(VIRTUAL[family], port)}${protocol === 'udp' ? ' udp' : ''} backlog=4096`;
      return `upstream ${name} { ${members} } server { listen ${listen.replace(/ udp backlog=4096/, ' udp')}; proxy_pass ${name}; }`;
    }),
  );
  const base = join(await scratchDirectory(), `${place.director.netns}-stream`);
  const text = `load_module /usr/lib/nginx/modules/ngx_stream_module.so; daemon off; worker_processes 1; pid ${base}.pid; error_log ${base}.log;\nevents { worker_connections 16384; }\nstream { ${servers.join('\n')} }\n`;
  const file = await writeConfig(place.director, 'nginx', text);
  const child = place.director.spawn('nginx', ['-c', file, '-e', `${base}.log`]);
  await waitFor(`${base}.pid`);
  return { ...sideOf('nginx stream', place), processes: [child.pid!] };
}

/** The same I/O and work as Viaduct's director in C, IPv4 alone (bench/reference/director.c). */
async function buildReference(lab: Lab): Promise<Side> {
  const place = await buildPlace(lab);
  const services = PORTS.map(({ protocol, port, servers }) =>
    [protocol, VIRTUAL[4], port, ...servers.map((server) => addressOf(server, 4))].join(','),
  );
  const child = place.director.spawn(await reference('c-director'), services);
  await awaitWord(child, 'ready');
  return { ...sideOf('C reference', place), processes: [child.pid!] };
}

/** name → how it is built; what is not installed throws, and is left out. */
export const SIDES = new Map<string, (lab: Lab) => Promise<Side>>([
  ['viaduct', buildViaduct],
  ['nftables', needing('nft', buildNftables)],
  ['haproxy', needing('haproxy', buildHaproxy)],
  ['nginx stream', needing('nginx', buildNginx)],
  ['C reference', buildReference],
  ['no director', buildNone],
]);

function needing(tool: string, build: (lab: Lab) => Promise<Side>): (lab: Lab) => Promise<Side> {
  return async (lab) => {
    if (!(await has(tool))) throw new Error(`needs ${tool} (apt-get install)`);
    return build(lab);
  };
}
