/** The examples do what they say, with the package as its users import it. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import test from 'ava';
import { Batch, type Device, MemoryWorkload, pair, parseConfig } from 'viaduct';
import { Counters } from '../src/dataplane/core/counters.js';
import { Path } from '../src/dataplane/core/path.js';
import { Pool } from '../src/dataplane/core/pool.js';

const run = promisify(execFile);

test('the example that embeds a data plane gets its answer, and ends', async (t) => {
  const { stdout } = await run(process.execPath, ['examples/embed.mjs'], { timeout: 30_000 });
  t.regex(stdout, /^10\.10\.0\.3 is at 02420a0a0003$/m);
});

test('the example files are valid configurations', (t) => {
  for (const name of ['minimal', 'every-field']) {
    t.notThrows(() => parseConfig(readFileSync(`examples/${name}.yaml`, 'utf8'), name));
  }
});

test('a workload in memory sends and receives frames as bytes, and says when it can not', (t) => {
  const engine = new Path(new Pool(4), new Counters(1, 1));
  const workload = new MemoryWorkload(2);
  t.false(workload.send(new Uint8Array(60)), 'nothing is connected');
  t.is(workload.receive(), undefined);
  const device: Device = workload.connect(engine);
  const frame = Uint8Array.from({ length: 60 }, (_, i) => i);
  t.true(workload.send(frame));
  const batch = new Batch(4);
  device.receive(batch);
  t.is(batch.count, 1);
  device.transmit(batch);
  t.deepEqual(workload.receive(), frame);
  t.is(workload.receive(), undefined);
  t.throws(() => workload.send(new Uint8Array(1 << 20)), {
    instanceOf: RangeError,
    message: /this one 1048576/,
  });
  t.is(engine.pool.allocated + workload.path.pool.allocated, 0);
});

test('the pair of the package joins two pools', (t) => {
  const paths = [
    new Path(new Pool(2), new Counters(1, 1)),
    new Path(new Pool(2), new Counters(1, 1)),
  ] as const;
  const [a, b] = pair({ paths });
  const batch = new Batch(2);
  const packet = paths[0].pool.take();
  paths[0].pool.length[packet] = 60;
  batch.push(packet);
  a.transmit(batch);
  t.is(batch.count, 0);
  b.receive(batch);
  t.is(batch.count, 1);
  batch.release(paths[1].pool);
});

test('port 0 of the underlay is refused: every host of an overlay has to know it', (t) => {
  t.throws(() => parseConfig({ underlay: { address: '10.0.0.1', port: 0 } }, 'here'), {
    message: 'here is not a valid configuration:\n  underlay.port: must be 1..65535, got 0',
  });
});
