/** How the health of destinations comes into force: the change that carriers get, and what becomes of one that fails. */
import test from 'ava';
import type { Written } from '../../src/dataplane/config/schema.js';
import { settle } from '../../src/dataplane/config/settled.js';
import { parseConfig } from '../../src/dataplane/config.js';
import { ApplyError } from '../../src/dataplane/face.js';
import { HealthKeeper } from '../../src/dataplane/host/health/health-keeper.js';
import { shown, withHealth } from '../../src/dataplane/host/health/rows.js';
import { type ServiceChange, ServiceKeeper } from '../../src/dataplane/host/service-keeper.js';
import { Serving } from '../../src/dataplane/host/serving.js';
import { virtualServerRows } from '../../src/dataplane/host/virtual-server.js';
import { DestinationCounts } from '../../src/dataplane/ipvs/destination.js';
import { QUIET } from './fake-carrier.js';
import { VirtualClock } from './health/virtual-clock.js';

type WrittenService = NonNullable<Written['services']>[number];

const WEB = 'tcp://203.0.113.80:80';
const ADDRESSES = ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'];

const web = (more: Partial<WrittenService> = {}): WrittenService => ({
  listen: WEB,
  destinations: ADDRESSES.map((address) => ({ address })),
  health: { kind: 'tcp', intervalMs: 1000, fall: 2, rise: 2 },
  ...more,
});

const wanted = (...services: WrittenService[]) =>
  settle(parseConfig({ networks: [], services }, 'the test'), null);

function world() {
  const clock = new VirtualClock();
  const bad = new Set<string>();
  const memory = DestinationCounts.allocate(8);
  const changes: ServiceChange[] = [];
  const errors: string[] = [];
  let fail = 0;
  let turn: Promise<unknown> = Promise.resolve();
  const logger = { ...QUIET, error: (_: object, message: string) => void errors.push(message) };
  const health: HealthKeeper = new HealthKeeper({
    ...{ logger, clock, random: () => 0 },
    changed: () => serving.healthChanged(),
    failures: (service, address) => services.failures(service, address),
    checkFor: () => async (target) => {
      if (bad.has(`${target.address}:${target.port}`)) throw new Error('no');
      return {};
    },
  });
  const services = new ServiceKeeper(memory, health.inForce);
  const serving = new Serving({
    ...{ services, health, logger },
    carrier: {
      serve: async (change) => {
        if (fail > 0 && fail-- > 0) throw new Error('no engine');
        changes.push(change);
      },
    },
    virtualAddresses: { answer() {} },
    indexOf: () => undefined,
    inTurn: (task) => {
      const done = turn.then(task);
      turn = done.catch(() => {});
      return done;
    },
  });
  return {
    ...{ clock, bad, changes, errors, health, services, serving },
    counts: new DestinationCounts(memory),
    /** Another change is under way, until what this returns is called. */
    hold: () => {
      let release = () => {};
      turn = new Promise<void>((resolve) => {
        release = resolve;
      });
      return release;
    },
    /** so many calls of the carrier fail */
    failNext: (times: number) => {
      fail = times;
    },
    /** last bytes of the destinations that the engines were told of last, with their rows */
    told: () =>
      changes
        .at(-1)
        ?.set.map(({ destinations }) =>
          destinations.map((each) => `${each.address[0] & 255}@${each.row}`).join(' '),
        )
        .join('; '),
    rows: () => {
      const all = services.wanted.services;
      const rows = virtualServerRows(all.map((each) => shown(each, health)));
      return rows.map((row, i) => withHealth(row, all[i]!, health));
    },
  };
}

test('checks that turn while another change is under way are one more change, and the configuration stays what it is', async (t) => {
  const { serving, clock, bad, changes, told, services, rows, hold } = world();
  t.true(await serving.want(wanted(web())));
  t.is(told(), '1@0 2@1 3@2');
  bad.add('10.0.0.1:80').add('10.0.0.3:80');
  const release = hold();
  await clock.pass(1500);
  t.is(changes.length, 1);
  release();
  await clock.pass(0);
  t.is(changes.length, 2);
  t.is(told(), '2@1');
  t.deepEqual(
    services.wanted.services[0]!.destinations.map(({ address }) => address),
    ADDRESSES,
  );
  const [row] = rows();
  t.deepEqual(
    row!.destinations.map(({ address, out = false, health }) => [address, out, health?.up]),
    [
      ['10.0.0.1:80', true, false],
      ['10.0.0.2:80', false, true],
      ['10.0.0.3:80', true, false],
    ],
  );
  t.deepEqual(row!.health, { quorum: true, weight: 1, sorry: false });
  serving.stop();
  t.is(clock.pending, 0);
});

test('a destination that comes back while it has connections has its row again', async (t) => {
  const { serving, clock, bad, told, counts, changes } = world();
  await serving.want(wanted(web()));
  counts.addActive(1, 3);
  bad.add('10.0.0.1:80').add('10.0.0.2:80');
  await clock.pass(1500);
  t.is(told(), '3@2');
  // Who left with connections is led here still; who left without is not.
  await serving.tick();
  t.deepEqual(
    changes.at(-1)!.destinations.map(({ address }) => address),
    ['10.0.0.3', '10.0.0.2'],
  );
  bad.clear();
  await clock.pass(2000);
  t.is(told(), '1@0 2@1 3@2');
  t.is(counts.active(1), 3);
  serving.stop();
});

test('the sorry server has a row while it serves', async (t) => {
  const { serving, clock, bad, told, rows } = world();
  await serving.want(wanted(web({ quorum: 3, sorryServer: { address: '10.0.0.9:80' } })));
  bad.add('10.0.0.1:80');
  await clock.pass(1500);
  t.is(told(), '9@3');
  t.deepEqual(
    rows()[0]!.destinations.map(({ address, out = false }) => [address, out]),
    [...ADDRESSES.map((address) => [address, true]), ['10.0.0.9:80', false]],
  );
  t.deepEqual(rows()[0]!.health, { quorum: false, weight: 2, sorry: true });
  bad.clear();
  await clock.pass(2000);
  t.is(told(), '1@0 2@1 3@2');
  t.is(rows()[0]!.destinations.length, 3);
  serving.stop();
});

test('what the engines could not be told is told whole at the next tick', async (t) => {
  const { serving, clock, bad, changes, told, failNext, errors } = world();
  await serving.want(wanted(web(), web({ listen: 'tcp://203.0.113.81:80', health: null })));
  bad.add('10.0.0.2:80');
  failNext(2);
  await clock.pass(1500);
  t.is(changes.length, 1);
  await serving.tick();
  t.deepEqual([changes.length, errors.length], [1, 2]);
  await serving.tick();
  t.is(told(), '1@0 3@2; 1@3 2@4 3@5');
  await serving.tick();
  t.is(changes.length, 2);
  serving.stop();
});

test('a configuration that fails changes neither what is in force nor what is checked', async (t) => {
  const { serving, clock, bad, failNext, services, health, changes } = world();
  await serving.want(wanted(web()));
  bad.add('10.0.0.1:80');
  await clock.pass(1500);
  const before = services.wanted;
  failNext(1);
  await t.throwsAsync(serving.want(wanted(web({ destinations: [{ address: '10.0.0.7:80' }] }))));
  t.deepEqual(services.wanted, before);
  t.false(health.destination(before.services[0]!, '10.0.0.1:80')!.up);
  t.is(changes.at(-1)!.set[0]!.destinations.length, 2);
  await t.throwsAsync(
    serving.want(wanted(web({ listen: 'mark://7', onePacket: true, health: null, destinations: [] }))),
    {
      instanceOf: ApplyError,
      message: /not supported yet: onePacket with a mark/,
    },
  );
  // Another check alone is nothing to the engines, but it is a change.
  t.true(await serving.want(wanted(web({ health: { kind: 'tcp', intervalMs: 50, fall: 2 } }))));
  t.deepEqual(changes.at(-1)!.set, []);
  t.false(await serving.want(wanted(web({ health: { kind: 'tcp', intervalMs: 50, fall: 2 } }))));
  serving.stop();
});
