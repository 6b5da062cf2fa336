/** The whole walk without a kernel: a frame from one workload to another, through two engines joined in memory. */
import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { Counters } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { DATAGRAM_AT, Pool } from '../../src/dataplane/core/pool.js';
import { Vteps } from '../../src/dataplane/core/vteps.js';
import { Engine } from '../../src/dataplane/engine.js';
import { pair } from '../../src/dataplane/io/memory/pair.js';
import { Fdb } from '../../src/dataplane/overlay/fdb.js';
import { Neighbours } from '../../src/dataplane/overlay/neighbour.js';
import * as ethernet from '../../src/dataplane/wire/ethernet.js';

const PORT = 0;
const MAC_HIGH = 0x0242;

/** A host with one workload, whose MAC ends in `own`, and one VTEP to flood to. */
function host(own: number, other: number) {
  const vteps = new Vteps(Vteps.allocate(4));
  vteps.setDefaults(4789, 1550);
  const vtep = vteps.add(4, 0x0a000000 | other, 0, 0, 0);
  const engine = new Engine({
    pool: new Pool(16),
    counters: new Counters(1, 4),
    fdb: new Fdb(Fdb.allocate(16)),
    neighbours: new Neighbours(Neighbours.allocate(16)),
    vteps,
    clock: () => 0,
  });
  engine.networks.set({
    ...{
      index: 1,
      vni: 4097,
      mtu: 1500,
      learning: false,
      floodUnknown: true,
      mssClamp: false,
      groupPolicy: -1,
    },
    ...{ ports: [PORT], vteps: [vtep] },
  });
  const workload = new Path(new Pool(16), new Counters(1, 0));
  const [inside, outside] = pair({ paths: [workload, engine.path] });
  engine.attach(PORT, outside);
  return { engine, workload, link: inside, sender: { address: Uint8Array.of(10, 0, 0, own), port: 50_000 } };
}

test('a frame crosses two engines that are joined in memory, and no packet is left', (t) => {
  const a = host(1, 2);
  const b = host(2, 1);
  const paths = [a.engine.path, b.engine.path] as const;
  const [left, right] = pair({ paths, at: DATAGRAM_AT, senders: [a.sender, b.sender] });
  a.engine.setUnderlay(left);
  b.engine.setUnderlay(right);

  const { pool } = a.workload;
  const packet = pool.take();
  const at = pool.offset[packet]!;
  pool.length[packet] = 100;
  pool.bytes.fill(0xa5, at, at + 100);
  ethernet.writeMac(pool.bytes, at + ethernet.DESTINATION, MAC_HIGH, 2);
  ethernet.writeMac(pool.bytes, at + ethernet.SOURCE, MAC_HIGH, 1);
  ethernet.writeEtherType(pool.bytes, at, 0x88b5); // for local experiments
  const sent = pool.bytes.slice(at, at + 100);

  const batch = new Batch(16);
  batch.push(packet);
  a.link.transmit(batch);
  a.engine.turn();
  b.engine.turn();
  b.link.receive(batch);
  t.is(batch.count, 1);
  const arrived = b.workload.pool;
  const to = arrived.offset[batch.packets[0]!]!;
  t.deepEqual(arrived.bytes.slice(to, to + 100), sent);
  t.is(arrived.length[batch.packets[0]!], 100);

  batch.release(arrived);
  for (const each of [pool, arrived, a.engine.path.pool, b.engine.path.pool]) t.is(each.allocated, 0);
});
