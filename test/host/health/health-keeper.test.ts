/** Health of the destinations of whole configurations, in virtual time, with checks that answer what the test says. */
import test from 'ava';
import type { Written } from '../../../src/dataplane/config/schema.js';
import type { Service } from '../../../src/dataplane/config/service-types.js';
import { parseConfig } from '../../../src/dataplane/config.js';
import { ApplyError, type Logger } from '../../../src/dataplane/face.js';
import type { Check } from '../../../src/dataplane/host/health/check.js';
import { HealthKeeper } from '../../../src/dataplane/host/health/health-keeper.js';
import { Pinger } from '../../../src/dataplane/host/health/kinds/icmp.js';
import { VirtualClock } from './virtual-clock.js';

type WrittenService = NonNullable<Written['services']>[number];

const WEB = 'tcp://203.0.113.80:80';
const BASE: WrittenService = {
  listen: WEB,
  health: { kind: 'tcp', intervalMs: 1000, timeoutMs: 500, fall: 3, rise: 2 },
  destinations: [{ address: '10.0.0.1:80' }, { address: '10.0.0.2:80' }],
};

const servicesOf = (...written: WrittenService[]): readonly Service[] =>
  parseConfig({ networks: [], services: written }, 'the test').services!;

/** What a destination's next checks come to: well, an error, a weight, or no answer at all. */
type Say = 'well' | 'silent' | Error | number;

function world(random = 0) {
  const clock = new VirtualClock();
  const says = new Map<string, Say>();
  const failures = new Map<string, number>();
  const log: string[] = [];
  const calls: { address: string; at: number }[] = [];
  let changes = 0;
  let running = 0;
  let most = 0;
  const note = (fields: object, message: string) => {
    const { destination = '' } = fields as { destination?: string };
    log.push(`${destination} ${message}`.trim());
  };
  const logger: Logger = { debug() {}, info: note, warn: note, error: note };
  const check: Check = async ({ address, port }, signal) => {
    calls.push({ address: `${address}:${port}`, at: clock.now() });
    most = Math.max(most, ++running);
    try {
      const say = says.get(address) ?? 'well';
      if (say === 'silent') {
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      }
      if (say instanceof Error) throw say;
      return typeof say === 'number' ? { weight: say } : {};
    } finally {
      running--;
    }
  };
  const keeper = new HealthKeeper({
    ...{ logger, clock, random: () => random },
    changed: () => void changes++,
    failures: (_, address) => failures.get(address) ?? 0,
    checkFor: () => check,
  });
  const inForce = (service: Service) =>
    keeper.inForce(service).destinations.map(({ address, weight }) => `${address}×${weight}`);
  const counts = () => ({ changes, running, most });
  return { clock, says, failures, log, calls, keeper, inForce, counts };
}

test('a destination that fails leaves after `fall` checks, and is back after `rise`', async (t) => {
  const { clock, says, log, keeper, inForce, counts } = world();
  const services = servicesOf(BASE);
  const [web] = services as [Service];
  keeper.follow(services);
  await clock.pass(1500);
  says.set('10.0.0.2', new Error('connect ECONNREFUSED'));
  await clock.pass(2000);
  t.deepEqual(inForce(web), ['10.0.0.1:80×1', '10.0.0.2:80×1']);
  t.like(keeper.destination(web, '10.0.0.2:80'), { up: true, error: 'connect ECONNREFUSED' });
  await clock.pass(1000);
  t.deepEqual(inForce(web), ['10.0.0.1:80×1']);
  t.like(keeper.destination(web, '10.0.0.2:80'), { up: false, error: 'connect ECONNREFUSED' });
  t.deepEqual(keeper.service(web), { quorum: true, weight: 1, sorry: false });
  t.deepEqual(log, ['10.0.0.2:80 a destination is down']);
  t.is(counts().changes, 1);
  says.set('10.0.0.2', 'well');
  await clock.pass(1000);
  t.is(inForce(web).length, 1);
  await clock.pass(1000);
  t.is(inForce(web).length, 2);
  t.like(keeper.destination(web, '10.0.0.2:80'), { up: true, error: null });
  t.is(counts().changes, 2);
  keeper.stop();
  t.is(clock.pending, 0);
});

test('what is silent is given up when its time is over, and never asked twice at once', async (t) => {
  const { clock, says, calls, keeper, counts } = world();
  const services = servicesOf({ ...BASE, health: { kind: 'tcp', intervalMs: 100, timeoutMs: 250, fall: 2 } });
  says.set('10.0.0.1', 'silent');
  keeper.follow(services);
  await clock.pass(990);
  const slow = calls.filter(({ address }) => address === '10.0.0.1:80').map(({ at }) => at);
  t.deepEqual(slow, [0, 250, 500, 750]);
  t.is(calls.length - slow.length, 10);
  t.is(counts().most, 2);
  t.is(keeper.destination(services[0]!, '10.0.0.1:80')!.error, 'no answer within 250 ms');
  keeper.stop();
  await clock.pass(0);
  t.is(counts().running, 0);
  t.is(clock.pending, 0);
});

test('the first check is somewhere within the interval', async (t) => {
  const { clock, calls, keeper } = world(0.25);
  keeper.follow(servicesOf(BASE));
  await clock.pass(2300);
  t.deepEqual(
    calls.map(({ at }) => at),
    [250, 250, 1250, 1250, 2250, 2250],
  );
  keeper.stop();
});

test('checks wait for their turn when there are more than may run at once', async (t) => {
  const { clock, says, calls, keeper, counts } = world();
  const addresses = Array.from({ length: 300 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  for (const address of addresses) says.set(address, 'silent');
  const destinations = addresses.map((address) => ({ address: `${address}:80` }));
  keeper.follow(servicesOf({ ...BASE, destinations }));
  await clock.pass(499);
  t.is(calls.length, 256);
  await clock.pass(1);
  t.is(calls.length, 300);
  t.is(counts().most, 256);
  keeper.stop();
  await clock.pass(0);
  t.is(clock.pending, 0);
});

test('a new configuration keeps what is known of destinations that stay, and checks only those that are there', async (t) => {
  const { clock, says, calls, keeper, inForce } = world();
  says.set('10.0.0.1', new Error('no'));
  keeper.follow(servicesOf(BASE));
  await clock.pass(2500);
  const [, other] = BASE.destinations!;
  const next = servicesOf({
    ...BASE,
    destinations: [{ address: '10.0.0.1:80', weight: 9 }, { address: '10.0.0.3:80' }],
  });
  t.deepEqual(inForce(next[0]!), ['10.0.0.3:80×1']);
  keeper.follow(next);
  calls.length = 0;
  await clock.pass(900);
  t.deepEqual(
    calls.map(({ address }) => address),
    ['10.0.0.3:80', '10.0.0.1:80'],
  );
  // Checked in another way, it is down still.
  const slower = servicesOf({ ...BASE, health: { ...BASE.health!, intervalMs: 5000 } as never });
  keeper.follow(slower);
  t.deepEqual(inForce(slower[0]!), [`${other!.address}×1`]);
  calls.length = 0;
  await clock.pass(4900);
  t.is(calls.length, 2);
  keeper.follow(servicesOf({ ...BASE, health: null }));
  t.is(clock.pending, 0);
  t.is(keeper.destination(slower[0]!, '10.0.0.1:80'), undefined);
});

test('the sorry server serves when the quorum is lost, until it is back', async (t) => {
  const { clock, says, log, keeper, inForce } = world();
  const services = servicesOf({ ...BASE, quorum: 2, sorryServer: { address: '10.0.0.9:80' } });
  const [web] = services as [Service];
  keeper.follow(services);
  says.set('10.0.0.1', new Error('no'));
  await clock.pass(2500);
  t.deepEqual(inForce(web), ['10.0.0.9:80×1']);
  t.deepEqual(keeper.service(web), { quorum: false, weight: 1, sorry: true });
  t.deepEqual(log, [
    '10.0.0.1:80 a destination is down',
    'a service has lost its quorum: the sorry server answers',
  ]);
  says.set('10.0.0.1', 'well');
  await clock.pass(2000);
  t.is(inForce(web).length, 2);
  t.deepEqual(log.slice(2), ['10.0.0.1:80 a destination is up again', 'a service has its quorum again']);
  keeper.stop();
});

test('a check that sets the weight changes it once, and the configured one is back with another check', async (t) => {
  const { clock, says, keeper, inForce, counts } = world();
  const script: WrittenService['health'] = {
    ...{ kind: 'script', command: ['/bin/true'], dynamicWeight: true, intervalMs: 1000 },
  };
  const services = servicesOf({ ...BASE, health: script });
  says.set('10.0.0.1', 7);
  keeper.follow(services);
  await clock.pass(3500);
  t.deepEqual(inForce(services[0]!), ['10.0.0.1:80×7', '10.0.0.2:80×1']);
  t.is(counts().changes, 1);
  says.set('10.0.0.1', 'well');
  await clock.pass(1000);
  t.is(inForce(services[0]!)[0], '10.0.0.1:80×7');
  keeper.follow(servicesOf(BASE));
  t.is(inForce(servicesOf(BASE)[0]!)[0], '10.0.0.1:80×1');
  keeper.stop();
});

test('faults of the data path are failed checks when there are enough of them between two', async (t) => {
  const { clock, failures, keeper, inForce } = world();
  const health = { kind: 'tcp', intervalMs: 1000, fall: 2, passiveFailures: 5 } as const;
  const services = servicesOf({ ...BASE, health });
  const [web] = services as [Service];
  keeper.follow(services);
  for (const count of [4, 8, 13, 17]) {
    failures.set('10.0.0.1:80', count);
    await clock.pass(1000);
  }
  t.is(inForce(web).length, 2);
  for (const count of [22, 27]) {
    failures.set('10.0.0.1:80', count);
    await clock.pass(1000);
  }
  t.deepEqual(inForce(web), ['10.0.0.2:80×1']);
  t.regex(keeper.destination(web, '10.0.0.1:80')!.error!, /^5 resets and timeouts/);
  // Its row is new when it comes back.
  failures.set('10.0.0.1:80', 0);
  await clock.pass(2000);
  t.is(inForce(web).length, 2);
  keeper.stop();
});

test('a check that can not be had on this host is refused by name', (t) => {
  const logger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
  const pinger = new Pinger(logger, () => ({
    listener: undefined,
    open: (family) => (family === 6 ? "Cannot find module 'raw-socket'" : undefined),
    send() {},
    close() {},
  }));
  const keeper = new HealthKeeper({ logger, pinger, changed() {}, failures: () => 0 });
  const icmp = { kind: 'icmp' } as const;
  t.notThrows(() => keeper.allow(servicesOf({ ...BASE, health: icmp })));
  const six = { listen: 'tcp://[2001:db8::80]:80', destinations: [{ address: '[fd00::1]:80' }] };
  t.notThrows(() => keeper.allow(servicesOf({ ...six, health: { kind: 'tcp' } })));
  t.throws(() => keeper.allow(servicesOf({ ...six, health: icmp })), {
    instanceOf: ApplyError,
    message:
      /2001:db8::80.*health\.kind icmp needs the package raw-socket and CAP_NET_RAW: Cannot find module/,
  });
});
