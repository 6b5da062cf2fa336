/** What a director counts of each packet: as many as a link carries, and the bytes of IP. */
import test from 'ava';
import {
  CONNS,
  FIELDS,
  IN_BYTES,
  IN_PACKETS,
  OUT_BYTES,
  OUT_PACKETS,
  Traffic,
} from '../../src/dataplane/ipvs/traffic.js';
import { build, CLIENT, CLIENT6, stage, TCP, UDP, VIRTUAL, VIRTUAL6, type Wanted } from './packets.js';

function world() {
  const { pool, put, parsed } = stage();
  const memory = Traffic.allocate(4);
  const traffic = new Traffic(memory);
  /** What counting the packet adds to its row. */
  const count = (wanted: Wanted, way: 'in' | 'out', options: { segment?: number } = {}) => {
    const packet = put(build(wanted), options);
    const before = sums();
    if (way === 'in') traffic.countIn(2, pool, packet, parsed(packet));
    else traffic.countOut(2, pool, packet, parsed(packet));
    pool.free(packet);
    return [...sums()].map((value, field) => value - before[field]!);
  };
  const sums = () => {
    const all = new Float64Array(FIELDS);
    new Traffic(memory).addTo(all, 2);
    return all;
  };
  return { traffic, count, sums };
}

/** The counts that the fields have, of which the others are 0. */
function only(fields: Partial<Record<number, number>>): number[] {
  return Array.from({ length: FIELDS }, (_, field) => fields[field] ?? 0);
}

test('a packet is one, its bytes those of IP; each row and field is by itself', (t) => {
  const { traffic, count, sums } = world();
  const v4 = { protocol: UDP, source: CLIENT, destination: VIRTUAL };
  const v6 = { protocol: UDP, source: CLIENT6, destination: VIRTUAL6 };
  t.deepEqual(
    count({ ...v4, payload: new Uint8Array(72) }, 'in'),
    only({ [IN_PACKETS]: 1, [IN_BYTES]: 100 }),
  );
  t.deepEqual(
    count({ ...v6, payload: new Uint8Array(52) }, 'in'),
    only({ [IN_PACKETS]: 1, [IN_BYTES]: 100 }),
  );
  t.deepEqual(
    count({ ...v4, payload: new Uint8Array(1) }, 'out'),
    only({ [OUT_PACKETS]: 1, [OUT_BYTES]: 29 }),
  );
  traffic.countConnection(2);
  traffic.countConnection(1);
  t.deepEqual(
    [...sums()],
    only({ [CONNS]: 1, [IN_PACKETS]: 2, [IN_BYTES]: 200, [OUT_PACKETS]: 1, [OUT_BYTES]: 29 }),
  );
});

test('a super-packet is what it is cut into, each with its headers', (t) => {
  const { count } = world();
  for (const [source, destination, ip] of [
    [CLIENT, VIRTUAL, 20],
    [CLIENT6, VIRTUAL6, 40],
  ] as const) {
    const segment = 1000;
    for (const payload of [1001, 2000, 2001, 12_345]) {
      const packets = Math.ceil(payload / segment);
      const tcp = {
        protocol: TCP,
        source,
        destination,
        payload: new Uint8Array(payload),
        options: new Uint8Array(12),
      };
      t.deepEqual(
        count(tcp, 'out', { segment }),
        only({ [OUT_PACKETS]: packets, [OUT_BYTES]: payload + packets * (ip + 32) }),
      );
      const udp = { protocol: UDP, source, destination, payload: new Uint8Array(payload) };
      t.deepEqual(
        count(udp, 'in', { segment }),
        only({ [IN_PACKETS]: packets, [IN_BYTES]: payload + packets * (ip + 8) }),
      );
    }
  }
});

test('counts stay whole numbers beyond 2^32 packets and 2^40 bytes', (t) => {
  const memory = Traffic.allocate(1);
  const traffic = new Traffic(memory);
  const { pool, put, parsed } = stage();
  const packet = put(build({ protocol: UDP, payload: new Uint8Array(73) }));
  traffic.cells[IN_PACKETS] = 2 ** 32 + 7;
  traffic.cells[IN_BYTES] = 2 ** 52 + 1;
  traffic.countIn(0, pool, packet, parsed(packet));
  const sums = new Float64Array(FIELDS);
  traffic.addTo(sums, 0);
  t.deepEqual([sums[IN_PACKETS], sums[IN_BYTES]], [2 ** 32 + 8, 2 ** 52 + 102]);
  pool.free(packet);
});
