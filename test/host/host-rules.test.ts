/** The rules that lead packets to the director: asked of a plain model of the kernel's walk through them. */
import test from 'ava';
import { type Catch, fromTun, ownAddresses, rulesOf } from '../../src/dataplane/host/host-rules.js';
import type { Ports, Rule } from '../../src/dataplane/io/rtnetlink/rule.js';

const TABLE = 0x5644_0007;
const TCP = 6;
const UDP = 17;

interface Routed {
  protocol: number;
  from: string;
  to: string;
  incoming?: string;
  sourcePort?: number;
  /** of ICMP that the host sends: type << 8 | code */
  destinationPort?: number;
}

const inRange = (range: number | Ports | undefined, port: number) => {
  if (range === undefined) return true;
  const [first, last] = typeof range === 'number' ? [range, range] : range;
  return first <= port && port <= last;
};

/** Where the packet goes, by fib_rules_lookup: 'here' to the TUN, 'local' to the host, 'on' to the main table. */
function route(rules: readonly Rule[], own: readonly string[], packet: Routed): 'here' | 'local' | 'on' {
  const { sourcePort = 0, destinationPort = 0, incoming = 'eth0' } = packet;
  const family = packet.to.includes(':') ? 6 : 4;
  const all = [...rules, fromTun(family, 'viaduct0'), ownAddresses(family)]
    .filter((rule) => rule.family === family)
    .sort((a, b) => a.priority - b.priority);
  let least = 0;
  for (const rule of all) {
    if (rule.priority < least) continue;
    if (rule.from !== undefined && rule.from !== packet.from) continue;
    if (rule.to !== undefined && rule.to !== packet.to) continue;
    if (rule.incoming !== undefined && rule.incoming !== incoming) continue;
    if (rule.protocol !== undefined && rule.protocol !== packet.protocol) continue;
    if (!inRange(rule.sourcePort, sourcePort) || !inRange(rule.destinationPort, destinationPort)) continue;
    if ('goto' in rule.action) least = rule.action.goto;
    else if ('table' in rule.action && rule.action.table === TABLE) return 'here';
    else if (own.includes(packet.to)) return 'local';
  }
  return 'on';
}

const end = (protocol: number, address: string, port: number): Catch => ({
  ...{ family: address.includes(':') ? 6 : 4, protocol, address, port },
});
const CASES = [
  { virtual: '203.0.113.80', server: '10.1.0.2', client: '192.0.2.7', own: '10.0.0.1', icmp: 1 },
  { virtual: '2001:db8::80', server: 'fd01::2', client: '2001:db8:7::7', own: 'fd00::1', icmp: 58 },
];

test('packets of services and their answers are led here, others of the same ends are not', (t) => {
  for (const { virtual, server, client, own } of CASES) {
    const rules = rulesOf([end(UDP, virtual, 53)], [end(UDP, server, 5353)], TABLE);
    const to = (packet: Omit<Routed, 'protocol'>, protocol = UDP) =>
      route(rules, [own], { protocol, ...packet });
    t.is(to({ from: client, to: virtual, sourcePort: 4000, destinationPort: 53 }), 'here');
    t.is(to({ from: client, to: virtual, sourcePort: 4000, destinationPort: 54 }), 'on');
    t.is(to({ from: client, to: virtual, sourcePort: 4000, destinationPort: 53 }, TCP), 'on');
    t.is(to({ from: server, to: client, sourcePort: 5353, destinationPort: 4000 }), 'here');
    t.is(to({ from: server, to: client, sourcePort: 5354, destinationPort: 4000 }), 'on');
    t.is(to({ from: client, to: own, sourcePort: 4000, destinationPort: 53 }), 'local');
    // The TUN's own.
    const incoming = 'viaduct0';
    t.is(to({ from: client, to: virtual, sourcePort: 4000, destinationPort: 53, incoming }), 'on');
  }
});

test('fragments, whose ports the rules do not see, are led here by their address alone', (t) => {
  for (const { virtual, server, client, own } of CASES) {
    const rules = rulesOf([end(UDP, virtual, 53)], [end(UDP, server, 5353)], TABLE);
    const to = (from: string, target: string, protocol = UDP) =>
      route(rules, [own], { protocol, from, to: target });
    t.is(to(client, virtual), 'here');
    t.is(to(server, client), 'here');
    t.is(to(client, virtual, TCP), 'on');
    t.is(to(client, server), 'on');
    t.is(to(client, own), 'local');
  }
});

test('ICMP that passes through is led here, and of what the host sends its errors; what is for the host is not', (t) => {
  for (const { virtual, server, client, own, icmp } of CASES) {
    const rules = rulesOf([end(UDP, virtual, 53)], [end(UDP, server, 5353)], TABLE);
    const to = (from: string, target: string, more: Partial<Routed> = {}, owns = [own]) =>
      route(rules, owns, { protocol: icmp, from, to: target, ...more });
    t.is(to('198.51.100.1', client), icmp === 1 ? 'here' : to(server, client));
    t.is(to(server, client), 'here');
    t.is(to(client, virtual), 'here');
    t.is(to(client, own), 'local');
    // Neighbour discovery of an address that is the host's and a service's stays the host's.
    t.is(to(client, virtual, {}, [virtual]), icmp === 1 ? 'here' : 'local');
    for (const type of icmp === 1 ? [3, 11, 12] : [1, 2, 3, 4]) {
      t.is(to(own, client, { incoming: 'lo', destinationPort: (type << 8) | 4 }), 'here');
    }
    for (const type of icmp === 1 ? [0, 8, 5] : [128, 129, 133, 135, 136]) {
      t.is(to(own, client, { incoming: 'lo', destinationPort: type << 8 }), 'on');
    }
  }
});

test('every port, and the one that no rule takes, are led here without a port', (t) => {
  for (const port of [0, 65_535]) {
    const rules = rulesOf([end(TCP, '203.0.113.80', port)], [end(TCP, '10.1.0.2', port)], TABLE);
    const packet = { protocol: TCP, from: '192.0.2.7', to: '203.0.113.80', sourcePort: 4000 };
    t.is(route(rules, [], { ...packet, destinationPort: 65_535 }), 'here');
    t.true(rules.every((rule) => rule.priority > 102 || rule.sourcePort === undefined));
  }
  t.deepEqual(rulesOf([], [], TABLE), []);
});
