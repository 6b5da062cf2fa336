/** Offloads are reported as they are in use, and the wish apart from that. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { OFFLOADS, type Offload, parseConfig } from '../../src/dataplane/config.js';
import type { Dataplane, Logger } from '../../src/dataplane/face.js';
import { offloadsInUse } from '../../src/dataplane/host/reports.js';

/** The addon on a kernel of Linux 4.18: it knows neither USO on TAPs nor UDP_GRO. */
const OLDER = `
const real = require(process.env.VIADUCT_REAL_ADDON);
const refuse = (code) => { throw Object.assign(new Error(code), { code }); };
for (const name of Object.getOwnPropertyNames(real)) module.exports[name] = real[name];
module.exports.openUdp = (options) => (options.gro ? refuse('ENOPROTOOPT') : real.openUdp(options));
module.exports.openTap = (options) => (options.offloads & 0x60 ? refuse('EINVAL') : real.openTap(options));
`;
const folder = mkdtempSync(join(tmpdir(), 'viaduct-test-'));
writeFileSync(join(folder, 'older.cjs'), OLDER);
process.env.VIADUCT_REAL_ADDON =
  process.env.VIADUCT_ADDON ?? join(process.cwd(), 'native/build/viaduct.node');
process.env.VIADUCT_ADDON = join(folder, 'older.cjs');
// Loaded only now, for the addon is chosen when it is loaded.
const { createDataplane } = await import('../../src/dataplane/dataplane.js');
const { openUnderlay } = await import('../../src/dataplane/host/underlay.js');
const { addon } = await import('../../src/dataplane/io/native.js');

test.after.always(() => rmSync(folder, { recursive: true }));
const withAddon = addon === undefined ? test.skip : test;
const asRoot = addon === undefined || process.getuid?.() !== 0 ? test.skip : test;

const QUIET: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const ALL = Object.fromEntries(OFFLOADS.map((name) => [name, true])) as Offload;
const TAP = { checksum: true, tso: true, uso: true, coalesce: true };
const had = { kind: 'tunnel', segment: true, gro: true, taps: [TAP] } as const;

/** What is off though it is wanted. */
const off = (wanted: Offload, more: Partial<Parameters<typeof offloadsInUse>[1]> = {}): string[] =>
  OFFLOADS.filter((name) => !offloadsInUse(wanted, { ...had, ...more })[name] && wanted[name]);

test('what the kernel refused is off, and what builds on it', (t) => {
  t.deepEqual(offloadsInUse(ALL, had), ALL);
  t.deepEqual(off(ALL, { taps: [] }), []);
  t.deepEqual(off(ALL, { taps: [TAP, { ...TAP, uso: false }] }), ['uso']);
  t.deepEqual(off(ALL, { kind: 'udp' }), ['tunnel']);
  t.deepEqual(off(ALL, { segment: false }), ['segment']);
  t.deepEqual(off(ALL, { kind: 'udp', segment: false }), ['tunnel', 'segment', 'bundle']);
  t.deepEqual(off(ALL, { gro: false }), ['gro']);
  t.deepEqual(off({ ...ALL, checksum: false }, { kind: 'udp' }), ['tso', 'uso', 'tunnel', 'coalesce']);
  t.deepEqual(off({ ...ALL, tso: false, uso: false }), ['coalesce']);
  t.deepEqual(
    Object.values(
      offloadsInUse(Object.fromEntries(OFFLOADS.map((name) => [name, false])) as Offload, {
        ...had,
        kind: 'udp',
      }),
    ),
    OFFLOADS.map(() => false),
  );
});

async function planeOf(t: ExecutionContext, config: object): Promise<Dataplane> {
  const plane = createDataplane({ logger: QUIET });
  t.teardown(() => plane.stop());
  await plane.apply(parseConfig(config, 'the test'));
  return plane;
}

test('the portable underlay uses none, whatever is wanted', async (t) => {
  const plane = await planeOf(t, { underlay: { address: '127.0.0.1', port: 34_795, device: 'dgram' } });
  const { offloads, offloadsWanted } = plane.stats().underlay;
  t.true(Object.values(offloads).every((used) => !used));
  t.deepEqual(Object.keys(offloads), [...OFFLOADS]);
  t.deepEqual(offloadsWanted, ALL);
});

withAddon('a kernel without UDP_GRO is done without it, and it says so', (t) => {
  const config = parseConfig({ underlay: { address: '127.0.0.1', port: 34_797, device: 'udp' } }, 'the test');
  const said: string[] = [];
  const underlay = openUnderlay(config, 1, { ...QUIET, info: (_, message) => void said.push(message) });
  underlay.close();
  t.false(underlay.gro);
  t.regex(said[0]!, /UDP_GRO, and it is off/);
});

asRoot('what the kernel refuses is not in use, though it is wanted', async (t) => {
  const netns = `viaduct-offloads-${process.pid}`;
  const ip = (word: string) => spawnSync('ip', ['netns', word, netns]).status;
  t.is(ip('add'), 0);
  t.teardown(() => void ip('del'));
  const plane = await planeOf(t, {
    underlay: { address: '127.0.0.1', port: 34_799, device: 'udp' },
    networks: [{ name: 'blue', vni: 1, endpoints: [{ netns, interface: 'eth0' }] }],
  });
  const { offloads, offloadsWanted } = plane.stats().underlay;
  t.deepEqual(
    OFFLOADS.filter((name) => !offloads[name]),
    ['uso', 'tunnel', 'gro'],
  );
  t.deepEqual(offloadsWanted, ALL);
});
