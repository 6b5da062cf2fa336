/** The connection table against a Map: what was added is found from both sides, what was removed isn't, and no more. */
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { Connections, NO_CONNECTION } from '../../src/dataplane/ipvs/connections.js';
import {
  CLIENT,
  DESTINATION,
  FLAG_REPLIES,
  KIND,
  KIND_DESTINATION_IPV6,
  STATE,
  TIMEOUT,
} from '../../src/dataplane/ipvs/record.js';
import { TEMPLATE_OF, type Tuple } from '../../src/dataplane/ipvs/tuple.js';

const PROTOCOLS = [6, 17, 132, 6 + TEMPLATE_OF];

function tuple(client: number, port: number, protocol = 6, family: 4 | 6 = 4): Tuple {
  const wide = family === 6;
  return {
    ...{ source0: client | 0, source1: wide ? 1 : 0, source2: wide ? 2 : 0, source3: wide ? port : 0 },
    ...{ target0: 0x0a000064, target1: wide ? 7 : 0, target2: 0, target3: wide ? 9 : 0 },
    ...{ ports: (port << 16) | 80 | 0, protocol, network: 3, family },
    engine: protocol > TEMPLATE_OF ? 0x5eed : 0,
  };
}

/** A connection to 10.0.0.<host>:8080, or its IPv6 twin. */
function add(table: Connections, from: Tuple, host: number): number {
  return table.locked(() => {
    const connection = table.take(from, from.family === 6 ? KIND_DESTINATION_IPV6 : 0);
    if (connection === NO_CONNECTION) return connection;
    const at = table.at(connection);
    table.records[at + DESTINATION] = 0x0a000000 | host;
    table.records[at + KIND]! |= 8080 << 16;
    table.records[at + STATE]! |= FLAG_REPLIES;
    table.records[at + TIMEOUT] = 100;
    table.publish(connection, from, 1000);
    return connection;
  });
}

function reply(from: Tuple, host: number): Tuple {
  return {
    ...{ source0: 0x0a000000 | host, source1: 0, source2: 0, source3: 0 },
    ...{ target0: from.source0, target1: from.source1, target2: from.source2, target3: from.source3 },
    ...{
      ports: (8080 << 16) | (from.ports >>> 16) | 0,
      protocol: from.protocol,
      network: 3,
      engine: from.engine,
      family: from.family,
    },
  };
}

test('a connection is found from the client and from its destination, and nothing like it is', (t) => {
  for (const protocol of PROTOCOLS) {
    for (const family of [4, 6] as const) {
      const table = new Connections(Connections.allocate(64));
      const from = tuple(0xc0a80001, 40000, protocol, family);
      const connection = add(table, from, 3);
      t.is(table.find(from), connection * 2);
      t.is(table.find(reply(from, 3)), connection * 2 + 1);
      for (const [key, value] of Object.entries(from)) {
        const other = { ...from, [key]: key === 'family' ? 10 - value : key === 'protocol' ? 50 : value ^ 1 };
        t.is(table.find(other as Tuple), NO_CONNECTION, key);
      }
      t.is(table.find({ ...from, protocol: from.protocol ^ TEMPLATE_OF }), NO_CONNECTION);
      table.locked(() => table.remove(connection));
      t.is(table.find(from), NO_CONNECTION);
      t.is(table.find(reply(from, 3)), NO_CONNECTION);
      t.is(table.size, 0);
    }
  }
});

test('random additions and removals leave what a Map has, up to the last record', (t) => {
  const random = new Random(7);
  const table = new Connections(Connections.allocate(500));
  const model = new Map<string, { from: Tuple; host: number; connection: number }>();
  let full = 0;
  for (let turn = 0; turn < 20_000; turn++) {
    const from = tuple(
      random.below(40),
      random.below(40),
      PROTOCOLS[random.below(3)],
      random.below(2) ? 4 : 6,
    );
    const key = JSON.stringify(from);
    const known = model.get(key);
    // More comes than goes, then the other way round.
    const grow = turn % 6000 < 4000 ? 4 : 1;
    if (known === undefined && random.below(5) < grow) {
      const host = random.below(200);
      const connection = add(table, from, host);
      if (connection === NO_CONNECTION) {
        full++;
        t.is(model.size, 500);
      } else model.set(key, { from, host, connection });
    } else if (known !== undefined && random.below(5) >= grow - 1) {
      table.locked(() => table.remove(known.connection));
      model.delete(key);
    }
    if (turn % 500 === 0) {
      t.is(table.size, model.size);
      for (const each of model.values()) {
        t.is(table.find(each.from), each.connection * 2);
        t.is(table.records[table.at(each.connection) + CLIENT], each.from.source0);
        // Two connections of one client port to one destination have the same replies; either may be meant.
        t.not(table.find(reply(each.from, each.host)), NO_CONNECTION);
      }
    }
  }
  t.true(full > 0);
});

test('a record that was freed is used again only after others', (t) => {
  const table = new Connections(Connections.allocate(4096));
  const gone = add(table, tuple(1, 1), 1);
  table.locked(() => table.remove(gone));
  for (let i = 0; i < 1000; i++) t.not(add(table, tuple(2, i), 1), gone);
});

test('what has run out is found in one pass, and a packet puts it off', (t) => {
  const table = new Connections(Connections.allocate(64));
  const first = add(table, tuple(1, 1), 1);
  const second = add(table, tuple(1, 2), 1);
  t.is(table.nextExpired(0, 999), -1);
  t.is(table.nextExpired(0, 1000), first);
  table.touch(first, 950);
  t.is(table.nextExpired(0, 1000), second);
  t.is(table.nextExpired(0, 1050), first);
  // The clock's ticks go round.
  table.expires[first] = 0x80000005 | 0;
  table.expires[second] = 0x80000006 | 0;
  t.is(table.nextExpired(0, 0x7ffffff0), -1);
  t.is(table.nextExpired(0, 0x80000005 | 0), first);
});

test('a million connections take at most 128 bytes each', (t) => {
  t.true(Connections.allocate(1_000_000).byteLength <= 128_000_000);
});
