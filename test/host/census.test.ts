import test from 'ava';
import { census } from '../../src/dataplane/host/census.js';
import { Connections } from '../../src/dataplane/ipvs/connections.js';
import { noFlow } from '../../src/dataplane/ipvs/flow.js';
import { FLAG_ACTIVE, STATE } from '../../src/dataplane/ipvs/record.js';
import { TEMPLATE_OF } from '../../src/dataplane/ipvs/tuple.js';

test('connections are counted by protocol and state, templates apart, and those that ended no longer', (t) => {
  const table = new Connections(Connections.allocate(32));
  const add = (protocol: number, state: number, port: number): number => {
    const flow = { ...noFlow(), protocol, ports: port };
    const connection = table.take(flow, 0);
    table.records[table.at(connection) + STATE] = state;
    table.publish(connection, flow, 100);
    return connection;
  };
  add(6, 1 | FLAG_ACTIVE, 1);
  add(6, 1, 2);
  add(6, 6, 3);
  add(17, 0, 4);
  add(6 | TEMPLATE_OF, 0, 5);
  table.remove(add(6, 1, 6));
  const there = census(table).filter(({ count }) => count > 0);
  t.deepEqual(there, [
    { protocol: 'tcp', template: false, state: 'ESTABLISHED', count: 2 },
    { protocol: 'tcp', template: false, state: 'CLOSE', count: 1 },
    { protocol: 'tcp', template: true, state: 'NONE', count: 1 },
    { protocol: 'udp', template: false, state: 'UDP', count: 1 },
  ]);
  const empty = census(new Connections(Connections.allocate(1)));
  t.true(empty.length > 20 && empty.every(({ count }) => count === 0));
  t.false(empty.some(({ state }) => state === 'ERR!'));
});
