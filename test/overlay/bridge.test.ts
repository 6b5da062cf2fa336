import test from 'ava';
import { Batch } from '../../src/dataplane/core/batch.js';
import { isLocal, localTarget, NOWHERE, remoteTarget } from '../../src/dataplane/overlay/fdb.js';
import { BROADCAST, HIGH, mac, Overlay, plain, whither } from './overlay.js';

/** Ports 0 to 2 in network 1, with two VTEPs; port 3 in network 2. Workload n has MAC n and is at port n. */
function setUp(part: { learning?: boolean; floodUnknown?: boolean } = {}) {
  const overlay = new Overlay();
  const [near, far] = [overlay.vtep(2), overlay.vtep(3, 6)];
  overlay.network({ index: 1, ports: [0, 1, 2], vteps: [near, far], ...part });
  overlay.network({ index: 2, ports: [3], vteps: [], ...part });
  return { overlay, near, far };
}

const NOTHING = { local: [], remote: [], drops: {} };

test('a frame to a workload at another port leaves there, byte for byte', (t) => {
  const { overlay } = setUp();
  overlay.at(1, 1, { port: 1 });
  const frame = plain(mac(1), mac(0));
  t.deepEqual(overlay.forward(0, frame), { ...NOTHING, local: [{ to: 1, bytes: frame }] });
  t.is(overlay.pool.allocated, 0);
});

test('a frame to a workload elsewhere goes to its VTEP alone', (t) => {
  const { overlay, far } = setUp();
  overlay.at(1, 9, { vtep: far });
  const frame = plain(mac(9), mac(0));
  t.deepEqual(overlay.forward(0, frame), { ...NOTHING, remote: [{ to: far, bytes: frame }] });
  t.is(overlay.pool.allocated, 0);
});

test('a frame to an unknown MAC is flooded to every VTEP and every other port of its network once', (t) => {
  const { overlay, near, far } = setUp();
  const frame = plain(mac(9), mac(0));
  const outcome = overlay.forward(0, frame);
  t.deepEqual(whither(outcome), { local: [1, 2], remote: [near, far], drops: {} });
  for (const { bytes } of [...outcome.local, ...outcome.remote]) t.deepEqual(bytes, frame);
  t.is(overlay.pool.allocated, 0);
});

test('broadcast and multicast are flooded likewise', (t) => {
  const { overlay, near, far } = setUp();
  for (const to of [BROADCAST, [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0, 0, 0, 1]]) {
    const outcome = overlay.forward(2, plain(to, mac(2)));
    t.deepEqual(whither(outcome), { local: [0, 1], remote: [near, far], drops: {} });
  }
  t.is(overlay.pool.allocated, 0);
});

test('where unknown frames are not flooded they are dropped, and broadcasts still flooded', (t) => {
  const { overlay, near, far } = setUp({ floodUnknown: false });
  t.deepEqual(overlay.forward(0, plain(mac(9), mac(0))), { ...NOTHING, drops: { 'unknown-unicast': 1 } });
  t.deepEqual(whither(overlay.forward(0, plain(BROADCAST, mac(0)))).remote, [near, far]);
  t.is(overlay.pool.allocated, 0);
});

test('a frame to the port that it came from is dropped', (t) => {
  const { overlay } = setUp();
  overlay.at(1, 0, { port: 0 });
  t.deepEqual(overlay.forward(0, plain(mac(0), mac(7))), { ...NOTHING, drops: { 'same-port': 1 } });
  t.is(overlay.pool.allocated, 0);
});

test('frames that have no whole header, no port, or no source that can be one are dropped', (t) => {
  const { overlay, near, far } = setUp();
  for (let length = 0; length < 14; length++) {
    const outcome = overlay.forward(0, plain(mac(1), mac(0)).slice(0, length));
    t.deepEqual(outcome, { ...NOTHING, drops: { 'runt-frame': 1 } });
  }
  t.deepEqual(overlay.forward(7, plain(mac(1), mac(0))), { ...NOTHING, drops: { 'port-not-attached': 1 } });
  for (const source of [BROADCAST, [1, 0, 0x5e, 0, 0, 1], [0, 0, 0, 0, 0, 0]]) {
    t.deepEqual(overlay.forward(0, plain(mac(1), source)), { ...NOTHING, drops: { 'bad-source-mac': 1 } });
    t.deepEqual(overlay.deliver(1, near, plain(mac(1), source)).drops, { 'bad-source-mac': 1 });
  }
  const bare = plain(mac(9), mac(0), 14);
  t.deepEqual(whither(overlay.forward(0, bare)).remote, [near, far], '14 bytes are a frame');
  t.is(overlay.pool.allocated, 0);
});

test('networks with the same MACs keep to themselves', (t) => {
  const { overlay, near } = setUp();
  overlay.at(1, 5, { port: 1 });
  overlay.at(2, 5, { vtep: near });
  const frame = plain(mac(5), mac(6));
  t.deepEqual(whither(overlay.forward(0, frame)), { ...NOTHING, local: [1] });
  t.deepEqual(whither(overlay.forward(3, frame)), { ...NOTHING, remote: [near] });
  t.deepEqual(overlay.forward(3, plain(BROADCAST, mac(6))).drops, { 'flood-nowhere': 1 });
  t.deepEqual(whither(overlay.deliver(2, near, plain(BROADCAST, mac(6)))), { ...NOTHING, local: [3] });
  t.is(overlay.pool.allocated, 0);
});

test('what comes out of the tunnel never goes back into it', (t) => {
  const { overlay, near, far } = setUp();
  overlay.at(1, 1, { port: 1 });
  overlay.at(1, 9, { vtep: far });
  t.deepEqual(whither(overlay.deliver(1, near, plain(mac(1), mac(8)))), { ...NOTHING, local: [1] });
  t.deepEqual(overlay.deliver(1, near, plain(mac(9), mac(8))), { ...NOTHING, drops: { 'not-here': 1 } });
  for (const to of [BROADCAST, mac(99)]) {
    const outcome = overlay.deliver(1, near, plain(to, mac(8)));
    t.deepEqual(whither(outcome), { ...NOTHING, local: [0, 1, 2] });
  }
  t.is(overlay.pool.allocated, 0);
});

test('unknown frames from the tunnel reach the ports also where sending such is off', (t) => {
  const { overlay, near } = setUp({ floodUnknown: false });
  t.deepEqual(whither(overlay.deliver(1, near, plain(mac(9), mac(8)))).local, [0, 1, 2]);
  t.is(overlay.pool.allocated, 0);
});

test('a network without ports drops what would be flooded there', (t) => {
  const { overlay, near } = setUp();
  overlay.network({ index: 3, ports: [], vteps: [near] });
  t.deepEqual(overlay.deliver(3, near, plain(BROADCAST, mac(8))).drops, { 'flood-nowhere': 1 });
  t.is(overlay.pool.allocated, 0);
});

test('a network that learns learns from both sides, and from nobody unknown', (t) => {
  const { overlay, near, far } = setUp({ learning: true });
  overlay.bridge.nowSeconds = 77;
  overlay.forward(0, plain(BROADCAST, mac(10)));
  overlay.deliver(1, far, plain(BROADCAST, mac(11)));
  overlay.deliver(1, -1, plain(BROADCAST, mac(12)));
  t.is(overlay.fdb.find(1, HIGH, 10), localTarget(0));
  t.is(overlay.fdb.find(1, HIGH, 11), remoteTarget(far));
  t.is(overlay.fdb.find(1, HIGH, 12), NOWHERE);
  t.is(overlay.fdb.find(2, HIGH, 10), NOWHERE);
  t.deepEqual(new Set([...overlay.fdb.entries()].map(({ seenSeconds }) => seenSeconds)), new Set([77]));
  t.is(overlay.path.counters.engine().learned, 2);

  t.deepEqual(whither(overlay.forward(1, plain(mac(10), mac(13)))), { ...NOTHING, local: [0] });
  t.deepEqual(whither(overlay.forward(1, plain(mac(11), mac(13)))), { ...NOTHING, remote: [far] });
  overlay.deliver(1, near, plain(BROADCAST, mac(10)));
  t.is(overlay.fdb.find(1, HIGH, 10), remoteTarget(near), 'it moved to another host');
  overlay.forward(2, plain(BROADCAST, mac(10)));
  t.true(isLocal(overlay.fdb.find(1, HIGH, 10)), 'and back');
  t.is(overlay.pool.allocated, 0);
});

test('a network that does not learn learns nothing', (t) => {
  const { overlay, far } = setUp();
  overlay.forward(0, plain(BROADCAST, mac(10)));
  overlay.deliver(1, far, plain(BROADCAST, mac(11)));
  t.is(overlay.fdb.table.size, 0);
  t.is(overlay.pool.allocated, 0);
});

test('when packets run out, the copies that cannot be made are counted and the frame itself goes on', (t) => {
  const overlay = new Overlay(2);
  const vteps = [overlay.vtep(2), overlay.vtep(3), overlay.vtep(4)];
  overlay.network({ index: 1, ports: [0, 1], vteps });
  const outcome = overlay.forward(0, plain(BROADCAST, mac(0)));
  t.deepEqual(whither(outcome), { local: [1], remote: [vteps[2]!], drops: { 'no-packet': 2 } });
  t.is(overlay.pool.allocated, 0);
});

test('each packet of a batch goes its own way', (t) => {
  const { overlay, near } = setUp();
  overlay.at(1, 1, { port: 1 });
  overlay.at(1, 9, { vtep: near });
  const { pool, local, remote } = overlay;
  const batch = new Batch(4);
  for (const [to, from] of [
    [mac(1), mac(0)],
    [mac(9), mac(0)],
    [mac(1), BROADCAST],
    [mac(1), mac(2)],
  ] as const) {
    const packet = overlay.put(plain(to, from));
    pool.port[packet] = 0;
    batch.push(packet);
  }
  overlay.bridge.forward(batch, local, remote);
  t.is(batch.count, 0, 'the batch is left empty');
  t.deepEqual(whither(overlay.outcome()), { local: [1, 1], remote: [near], drops: { 'bad-source-mac': 1 } });
  t.is(overlay.pool.allocated, 0);
});

test('a flood that finds too few packets waits until those before it have left, and then goes to everybody', (t) => {
  const overlay = new Overlay(8);
  const vteps = [overlay.vtep(2), overlay.vtep(3), overlay.vtep(4)];
  overlay.network({ index: 1, ports: [0, 1], vteps });
  const { pool, local, remote } = overlay;
  const batch = new Batch(4);
  for (let i = 0; i < 4; i++) {
    const packet = overlay.put(plain(BROADCAST, mac(0)));
    pool.port[packet] = 0;
    batch.push(packet);
  }
  const everybody = { local: [1], remote: vteps, drops: {} };
  for (const left of [3, 2, 1, 0]) {
    overlay.bridge.forward(batch, local, remote);
    t.is(batch.count, left);
    t.deepEqual(whither(overlay.outcome()), everybody);
  }
  t.is(pool.allocated, 0);
});
