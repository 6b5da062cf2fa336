import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { RX_PACKETS } from '../../src/dataplane/core/counters.js';
import { Path } from '../../src/dataplane/core/path.js';
import { DATAGRAM_AT, Pool } from '../../src/dataplane/core/pool.js';
import { Ageing } from '../../src/dataplane/host/ageing.js';
import { writeSender } from '../../src/dataplane/io/sockaddr.js';
import { Decap } from '../../src/dataplane/overlay/decap.js';
import { remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { Networks } from '../../src/dataplane/overlay/network.js';
import { mac, plain } from '../overlay/overlay.js';
import { Control, config } from './fake-carrier.js';

const AGE = 300;

/** Network blue (VNI 10), which learns; its configuration names 10.0.0.2 and 10.0.0.3. */
const BLUE = {
  underlay: { address: '10.0.0.1' },
  networks: [
    {
      name: 'blue',
      vni: 10,
      learning: true,
      ageingSeconds: AGE,
      vteps: ['10.0.0.2'],
      remotes: [{ mac: '02:42:00:00:00:03', addresses: [], vtep: '10.0.0.3' }],
    },
  ],
};

async function setUp(vteps = 64) {
  const control = new Control({ vteps });
  const wanted = config(BLUE);
  await control.applier.apply(wanted);
  const ageing = new Ageing(control.carrier, control.shared);
  const { tables } = control.shared;
  return {
    control,
    ageing,
    ...tables,
    network: control.applier.networks.get('blue')!.network,
    tick: (second: number) => ageing.tick(wanted, control.applier.networks, second),
    used: () =>
      [...tables.vteps.used()].map((vtep) => tables.vteps.addressWords(vtep)[0] - 0x0a000000).sort(),
    /** an engine learns of it */
    stranger: (n: number) => tables.vteps.add(4, 0x0a000000 + n, 0, 0, 0, false),
  };
}

test('a VTEP that was learned goes when no entry has led to it for the ageing time, one that was named stays', async (t) => {
  const { tick, used, stranger, fdb, network, control } = await setUp();
  const vtep = stranger(77);
  control.shared.counters[0]!.count(control.shared.counters[0]!.vtepRow(vtep), RX_PACKETS, 5, 500);
  t.true(fdb.learn(network.index, 0x0242, 99, remoteTarget(vtep), 1000));
  for (const second of [1000, 1200, 1300, 1301]) {
    await tick(second);
    t.deepEqual(used(), [2, 3, 77], `second ${second}`);
  }
  t.is(fdb.find(network.index, 0x0242, 99), -1, 'the entry itself went after 300 seconds');
  for (const second of [1400, 1600]) {
    await tick(second);
    t.deepEqual(used(), [2, 3, 77], 'an entry led there until second 1300');
  }
  await tick(1601);
  t.deepEqual(used(), [2, 3]);
  t.is(control.shared.counters[0]!.cells[control.shared.counters[0]!.vtepRow(vtep)], 0);
  await tick(5000);
  t.deepEqual(used(), [2, 3]);
});

test('what is heard of again stays, and what a configuration names meanwhile is no longer learned', async (t) => {
  const { tick, used, stranger, fdb, network, control, ageing } = await setUp();
  const [heard, silent, named] = [stranger(70), stranger(71), stranger(72)];
  await tick(0);
  const more = config({
    ...BLUE,
    networks: [{ ...BLUE.networks[0], vteps: ['10.0.0.2', '10.0.0.72'] }],
  });
  await control.applier.apply(more);
  t.deepEqual(control.applier.networks.get('blue')!.network.vteps.includes(named), true);
  t.true(fdb.learn(network.index, 0x0242, 99, remoteTarget(heard), 1));
  for (let second = 1; second < 3000; second += 100) {
    fdb.learn(network.index, 0x0242, 99, remoteTarget(heard), second);
    await ageing.tick(more, control.applier.networks, second);
  }
  t.deepEqual(used(), [2, 3, 70, 72]);
  t.is(fdb.find(network.index, 0x0242, 99), remoteTarget(heard));
  t.not(silent, heard);
  await tick(3000);
});

test('when no network learns any more, nothing that was learned stays', async (t) => {
  const { used, stranger, control, ageing } = await setUp();
  stranger(80);
  const deaf = config({ ...BLUE, networks: [{ ...BLUE.networks[0], learning: false }] });
  await control.applier.apply(deaf);
  await ageing.tick(deaf, control.applier.networks, 10);
  await ageing.tick(deaf, control.applier.networks, 11);
  t.deepEqual(used(), [2, 3]);
});

test('a row is given out again only when no engine can still hold its number', async (t) => {
  const { tick, used, stranger, fdb, network, control, vteps } = await setUp(4);
  const vtep = stranger(90);
  await tick(0);
  /** All rows that are free. */
  const everyRow = () => {
    const rows: number[] = [];
    for (let n = 1; vteps.size < vteps.capacity; n++) {
      const row = vteps.add(4, 0x0b000000 + n, 0, 0, 0);
      if (row < 0) break;
      rows.push(row);
    }
    return rows;
  };
  const { perform } = control.carrier;
  let performed = 0;
  control.carrier.perform = async (change) => {
    // The batch that an engine was at: it had found the row before, learns of it now, and others take the rest.
    if (performed++ === 0) t.true(fdb.learn(network.index, 0x0242, 99, remoteTarget(vtep), 301));
    t.deepEqual(used(), [2, 3], 'nobody finds it');
    t.deepEqual(vteps.addressWords(vtep)[0], 0x0a00005a, 'but it leads where it did');
    for (const other of everyRow()) {
      t.not(other, vtep);
      vteps.remove(other);
    }
    return perform.call(control.carrier, change);
  };
  await tick(301);
  t.is(performed, 2, 'once for the row, once for the entry');
  t.is(fdb.find(network.index, 0x0242, 99), -1);
  t.true(everyRow().includes(vtep));
});

test('a million spoofed senders take the rows there are, are counted, and in the end leave nothing behind', async (t) => {
  const ROWS = 256;
  const { tick, used, stranger, control, vteps, network } = await setUp(ROWS);
  const [counters] = control.shared.counters;
  const path = new Path(new Pool(4), counters!);
  const { pool } = path;
  const networks = new Networks();
  networks.set(network);
  const decap = new Decap(path, networks, vteps);
  const [batch, frames] = [new Batch(1), new Batch(1)];
  const datagram = Uint8Array.of(8, 0, 0, 0, 0, 0, 10, 0, ...plain(mac(1), mac(2)));
  const address = new Uint8Array(4);
  let arrived = 0;
  const receive = () => {
    const packet = pool.take(DATAGRAM_AT);
    pool.bytes.set(datagram, pool.offset[packet]);
    pool.length[packet] = datagram.length;
    writeSender(pool.view, pool.slotStart(packet), address, 50_000);
    batch.push(packet);
    decap.decap(batch, frames);
    arrived += frames.count;
    frames.release(pool);
  };
  await tick(0);
  for (let i = 0; i < 1_000_000; i++) {
    address.set([11, i >> 16, i >> 8, i]);
    receive();
    if (i % 100_000 === 0) await tick(i / 100_000);
  }
  t.is(arrived, 1_000_000, 'their frames are the bridge’s to judge');
  t.is(vteps.size, ROWS);
  t.is([...vteps.used()].length, ROWS);
  t.is(counters!.engine().vtepsRefused, 1_000_000 - (ROWS - 2));
  t.is(pool.allocated, 0);
  await tick(1 + AGE);
  t.is(vteps.size, ROWS - 1, 'the first was noticed a second before the others');
  await tick(2 + AGE);
  t.deepEqual(used(), [2, 3]);
  t.true(stranger(5) >= 0);
  await tick(1000);
  for (let n = 0; n < ROWS - 3; n++) t.true(stranger(1000 + n) >= 0);
  t.is(stranger(9999), -1);
});
