/** Services inside a network, two hosts in memory: what the tests of the director in networks share. */

import type { DestinationSpec } from '../src/dataplane/ipvs/destination.js';
import type { ServiceSpec } from '../src/dataplane/ipvs/service.js';
import { virtualMac } from '../src/dataplane/virtual-mac.js';
import * as ipv4 from '../src/dataplane/wire/ipv4.js';
import * as ipv6 from '../src/dataplane/wire/ipv6.js';
import { type Host, send, type Workload, World } from './engine-world.js';
import { build, parsedOf, sound, type Wanted } from './ipvs/packets.js';
import * as specs from './ipvs/specs.js';
import { HIGH, mac } from './overlay/overlay.js';

export const [SYN, ACK, SYN_ACK, RST] = [0x02, 0x10, 0x12, 0x04];
export const NETWORK = 1;

export const VIRTUAL = { 4: '10.10.0.100', 6: 'fd00:10::100' } as const;
export const FAMILIES = [4, 6] as const;
export type Family = (typeof FAMILIES)[number];
/** Addresses of workload `n`, whose MAC is 02:42:00:00:00:n. */
export const address = (n: number, family: Family) => (family === 4 ? `10.10.0.${n}` : `fd00:10::${n}`);

export const neighbourOf = (text: string): ipv6.Words =>
  text.includes(':') ? ipv6.parse(text) : ipv6.mapped(ipv4.parse(text));

export const virtualBytes = (text: string): number[] => {
  const { high, low } = virtualMac(text.includes(':') ? 6 : 4, specs.wordsOf(text));
  return [high >> 8, high & 255, low >>> 24, (low >> 16) & 255, (low >> 8) & 255, low & 255];
};

export const destination = (row: number, n: number, family: Family, port: number): DestinationSpec =>
  specs.destination(row, address(n, family), port);

/** On every host, as control would have it: the service, its address among the neighbours, and its network looked at. */
export function serve(
  hosts: readonly Host[],
  index: number,
  family: Family,
  to: number[],
  change: Partial<ServiceSpec> = {},
) {
  const destinations = to.map((n, i) => destination(8 * index + i, n, family, 8080));
  const spec = specs.serviceAt(VIRTUAL[family], destinations, { index, network: NETWORK, ...change });
  const { high, low } = virtualMac(family, spec.address);
  for (const { engine, neighbours } of hosts) {
    engine.virtualServer!.services.set(spec, 0);
    engine.virtualServer!.inNetworks.direct([NETWORK]);
    neighbours.set(NETWORK, neighbourOf(VIRTUAL[family]), high, low);
  }
}

export interface Place {
  world: World;
  hosts: readonly [Host, Host];
  /** 1 and 2 on the first host, 3 on the second */
  workloads: readonly Workload[];
}

/** Workloads 1 and 2 on the first host, 3 on the second; all known everywhere. */
export function place(part: { learning?: boolean } = {}, known: readonly number[] = [1, 2, 3]): Place {
  const world = new World();
  const hosts = [world.host(1), world.host(2)] as const;
  world.join(...hosts);
  const workloads: Workload[] = [];
  for (const [i, host] of hosts.entries()) {
    const ports = new Map<number, number>();
    for (const n of i === 0 ? [1, 2] : [3]) {
      const { port, workload } = host.workload();
      ports.set(n, port);
      workloads.push(workload);
    }
    const vtep = host.vtep(2 - i);
    host.network({ index: NETWORK, ports: [...ports.values()], vteps: [vtep], ...part });
    for (const n of [1, 2, 3]) {
      const port = ports.get(n);
      if (part.learning !== true) host.at(NETWORK, n, port === undefined ? { vtep } : { port });
      if (!known.includes(n)) continue;
      for (const family of FAMILIES) host.neighbours.set(NETWORK, neighbourOf(address(n, family)), HIGH, n);
    }
  }
  return { world, hosts, workloads };
}

export const frame = (to: readonly number[], from: number, packet: Uint8Array): Uint8Array =>
  Uint8Array.from([...to, ...mac(from), ...(packet[0]! >>> 4 === 4 ? [8, 0] : [0x86, 0xdd]), ...packet]);

/** What a workload has heard, as ends and MACs. */
export function heard({ inbox }: Workload) {
  return inbox.splice(0).map((bytes) => {
    const packet = bytes.slice(14);
    const parsed = parsedOf(packet);
    const text = (a: number, b: number, c: number, d: number) =>
      parsed.family === 4 ? ipv4.format(a) : ipv6.format(a, b, c, d);
    return {
      macs: [[...bytes.slice(0, 6)], [...bytes.slice(6, 12)]],
      from: `${text(parsed.source0, parsed.source1, parsed.source2, parsed.source3)} ${parsed.sourcePort}`,
      to: `${text(parsed.destination0, parsed.destination1, parsed.destination2, parsed.destination3)} ${parsed.destinationPort}`,
      protocol: parsed.protocol,
      flags: parsed.flags,
      sound: sound(packet.slice(0, parsed.end)),
      packet,
    };
  });
}

export function tell({ world, workloads }: Place, from: number, to: readonly number[], wanted: Wanted): void {
  send(workloads[from - 1]!, frame(to, from, build(wanted)));
  world.step(4);
}
