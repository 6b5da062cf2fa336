import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { PathMtuProber, type RouteMtu } from '../../../src/dataplane/io/path-mtu/prober.js';
import { SimulatedNetwork, type SimulatedPath, VirtualTime } from './simulated-path.js';

const V4 = '192.0.2.2';
const V6 = '2001:db8::2';

interface Bench {
  time: VirtualTime;
  network: SimulatedNetwork;
  prober: PathMtuProber;
  routes: Map<string, RouteMtu>;
  /** what onChange was told */
  told: [address: string, mtu: number][];
}

function bench(seed = 1): Bench {
  const time = new VirtualTime();
  const network = new SimulatedNetwork(time, new Random(seed));
  const told: [string, number][] = [];
  const routes = new Map<string, RouteMtu>();
  const silent = { debug() {}, info() {}, warn() {} };
  const prober = new PathMtuProber({
    logger: silent,
    now: () => time.now,
    later: time.later,
    transport: network,
    routeMtu: (address) => routes.get(address),
    onChange: (address, mtu) => told.push([address, mtu]),
  });
  return { time, network, prober, routes, told };
}

/** One path, watched at the interface's MTU, and verified once. */
function watched(path: Partial<SimulatedPath>, interfaceMtu = 1500, address = V4) {
  const made = bench();
  const simulated = made.network.path(address, path);
  made.prober.watch(address, interfaceMtu);
  made.time.advance(5000);
  return { ...made, path: simulated };
}

test('a path that takes the full size is verified at the start and each interval with one echo, and nothing is told', (t) => {
  const { time, network, told } = watched({ mtu: 9000 }, 9000);
  t.deepEqual(network.sent, [{ at: 0, address: V4, size: 9000 }]);
  time.advance(600_000);
  t.is(network.sent.length, 61);
  t.true(network.sent.every(({ size }) => size === 9000));
  t.deepEqual(told, []);
});

test('a smaller path is found at the start', (t) => {
  t.deepEqual(watched({ mtu: 1400, says: true }).told, [[V4, 1400]]);
  t.deepEqual(watched({ mtu: 1400, says: true }, 1500, V6).told, [[V6, 1400]]);
});

test('a path that shrinks is noticed within an interval and a second when a router says so', (t) => {
  const { time, path, told } = watched({ says: true });
  path.mtu = 1411;
  time.advance(11_000);
  t.deepEqual(told, [[V4, 1411]]);
});

test('a router’s word about other traffic makes the path be looked at right away', (t) => {
  const { time, network, path, told } = watched({ says: true });
  path.mtu = 1300;
  network.listener?.tooBig(V4, 1300);
  time.advance(1000);
  t.deepEqual(told, [[V4, 1300]]);
});

for (const [address, lowest] of [
  [V4, 576],
  [V6, 1280],
] as const) {
  test(`a path that shrinks in silence is noticed, to eight bytes, and never taken for larger than it is: ${address}`, (t) => {
    for (let mtu = lowest; mtu < 9000; mtu += mtu < 1600 ? 3 : 61) {
      const { time, path, told } = watched({ mtu: 9000 }, 9000, address);
      path.mtu = mtu;
      time.advance(25_000);
      t.is(told.length, 1, `told once of ${mtu}`);
      t.true(told[0][1] <= mtu && told[0][1] > mtu - 8, `${mtu} was found as ${told[0][1]}`);
    }
  });

  test(`a path that takes next to nothing is used at the minimum of its family: ${address}`, (t) => {
    const { time, path, told } = watched({}, 1500, address);
    path.mtu = lowest - 100;
    time.advance(120_000);
    t.deepEqual(told, [[address, lowest]]);
  });
}

test('the sizes that tunnels and providers leave are found exactly', (t) => {
  for (const mtu of [8950, 4470, 1500, 1492, 1450, 1400, 1280]) {
    const { time, path, told } = watched({ mtu: 9000 }, 9000);
    path.mtu = mtu;
    time.advance(25_000);
    t.deepEqual(told, [[V4, mtu]]);
  }
});

test('a lowered path goes up again within a minute and a bit, all the way or as far as it can', (t) => {
  const { time, path, told } = watched({ mtu: 1400 });
  path.mtu = 1492;
  time.advance(75_000);
  path.mtu = 1500;
  time.advance(75_000);
  t.deepEqual(told, [
    [V4, 1400],
    [V4, 1492],
    [V4, 1500],
  ]);
});

test('a VTEP that answers nothing stays at the interface’s MTU, and is asked less often', (t) => {
  const { time, network, told } = watched({ answers: false });
  time.advance(3_600_000);
  t.deepEqual(told, []);
  const last = network.sent.filter(({ at }) => at > 3_000_000);
  t.true(last.length <= 5 * 10, `${last.length} echoes in ten minutes`);
});

test('a VTEP that answers nothing is lowered by what routers say, for as long as that is believed', (t) => {
  const { time, network, told } = watched({ answers: false });
  network.listener?.tooBig(V4, 1400);
  time.advance(5000);
  t.deepEqual(told, [[V4, 1400]]);
  time.advance(500_000);
  t.is(told.length, 1);
  time.advance(200_000);
  t.deepEqual(told.at(-1), [V4, 1500]);
});

test('what the kernel has learned counts like a router’s word, for as long as the kernel believes it', (t) => {
  const { time, routes, told } = watched({ answers: false });
  routes.set(V4, { mtu: 1400, mtuLearned: true });
  time.advance(3_600_000);
  t.deepEqual(told, [[V4, 1400]]);
  routes.delete(V4);
  time.advance(700_000);
  t.deepEqual(told.at(-1), [V4, 1500]);
});

test('a lie about a path that answers changes nothing', (t) => {
  const { time, network, routes, told } = watched({});
  routes.set(V4, { mtu: 600, mtuLearned: true });
  for (let second = 0; second < 120; second++) {
    network.listener?.tooBig(V4, 576);
    network.listener?.tooBig(V4, 0);
    network.listener?.tooBig('192.0.2.99', 576);
    time.advance(1000);
  }
  t.deepEqual(told, []);
});

test('a lie that coincides with the loss of a full-size echo is mended in the next round', (t) => {
  const { time, network, path, told } = watched({});
  path.mtu = 1400;
  network.listener?.tooBig(V4, 1000);
  time.advance(200);
  path.mtu = 1500;
  time.advance(11_000);
  t.deepEqual(told, [
    [V4, 1000],
    [V4, 1500],
  ]);
});

test('a lie in the middle of a search changes nothing', (t) => {
  const { time, network, path, told } = watched({});
  path.mtu = 1450;
  time.advance(5000 + 1600); // full size lost three times
  for (let tenth = 0; tenth < 300; tenth++) {
    network.listener?.tooBig(V4, 1000);
    time.advance(100);
  }
  t.deepEqual(told, [[V4, 1450]]);
});

test('the MTU that the administrator gave a route is the most that is used and tried', (t) => {
  const { time, network, routes, told } = watched({});
  routes.set(V4, { mtu: 1420, mtuLearned: false });
  time.advance(20_000);
  t.deepEqual(told, [[V4, 1420]]);
  t.true(network.sent.filter(({ at }) => at > 10_500).every(({ size }) => size <= 1420));
  routes.delete(V4);
  time.advance(20_000);
  t.deepEqual(told.at(-1), [V4, 1500]);
});

test('chance losses lower no path, and keep none from being measured', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const { time, network, prober, told } = bench(seed);
    network.path(V4, { mtu: 1500, loss: 0.1 });
    network.path(V6, { mtu: 1400, loss: 0.1 });
    prober.watch(V4, 1500);
    prober.watch(V6, 1500);
    time.advance(600_000);
    const [full, small] = [V4, V6].map((address) => told.filter(([about]) => about === address));
    t.true(full.length <= 2, `${full.length} changes with seed ${seed}`); // three lost in a row: one round in a thousand
    t.true(small.length >= 1 && small.every(([, mtu]) => mtu <= 1400));
    t.is(prober.mtu(V6), 1400);
  }
});

test('a path that goes dead in the middle of a search stays as it was, and is measured when it is back', (t) => {
  const { time, path, told } = watched({});
  path.mtu = 1400;
  time.advance(5000 + 1600); // full size lost three times
  path.answers = false;
  time.advance(60_000);
  t.deepEqual(told, []);
  path.answers = true;
  time.advance(90_000);
  t.deepEqual(told, [[V4, 1400]]);
});

test('answers that take longer than a timeout still count', (t) => {
  const { time, told } = watched({ rttMs: 1200 });
  time.advance(600_000);
  t.deepEqual(told, []);
});

test('few echoes are on their way at a time, to one VTEP and in all', (t) => {
  const { time, network, prober } = bench();
  for (let host = 0; host < 1000; host++) {
    const address = `10.1.${host >> 8}.${host & 255}`;
    network.path(address, { mtu: host % 3 === 0 ? 1400 : 1500, answers: host % 5 !== 0, rttMs: 20 });
    prober.watch(address, 1500);
  }
  time.advance(120_000);
  for (let from = 0; from < 120_000; from += 250) {
    const sent = network.sent.filter(({ at }) => at >= from && at < from + 250);
    t.true(sent.length <= 32 * 4 * 8, `${sent.length} echoes at ${from} ms`);
    const each = new Map<string, number>();
    for (const { address } of sent) each.set(address, (each.get(address) ?? 0) + 1);
    t.true(Math.max(0, ...each.values()) <= 8);
  }
  for (let host = 0; host < 1000; host++) {
    const expected = host % 3 === 0 && host % 5 !== 0 ? 1400 : 1500;
    t.is(prober.mtu(`10.1.${host >> 8}.${host & 255}`), expected);
  }
});

test('another MTU of the interface holds at once, and is verified at once', (t) => {
  const { time, network, prober, path, told } = watched({});
  prober.watch(V4, 1500);
  t.is(network.sent.length, 1, 'the same again changes nothing');
  prober.watch(V4, 1400);
  t.deepEqual(told, [[V4, 1400]]);
  path.mtu = 9000;
  prober.watch(V4, 9000);
  t.deepEqual(told.at(-1), [V4, 9000]);
  time.advance(100);
  t.is(network.sent.at(-1)?.size, 9000);
});

test('a path that was lowered isn’t taken for larger because the interface is', (t) => {
  const { time, prober, told } = watched({ mtu: 1400 });
  prober.watch(V4, 9000);
  time.advance(100);
  t.deepEqual(told, [[V4, 1400]]);
  prober.watch(V4, 1300);
  t.deepEqual(told.at(-1), [V4, 1300]);
});

test('who isn’t watched any more gets no echo, and a closed prober leaves no timer', (t) => {
  const { time, network, prober, told } = watched({});
  prober.unwatch(V4);
  t.is(prober.mtu(V4), undefined);
  network.listener?.tooBig(V4, 1400);
  time.advance(60_000);
  t.is(network.sent.length, 1);
  prober.watch(V4, 1500);
  prober.close();
  t.true(network.closed);
  time.advance(60_000);
  t.true(time.idle);
  t.is(network.sent.length, 1);
  t.deepEqual(told, []);
});
