/** Accounts against a plain ledger, and what a service keeps when destinations come and go. */
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { Accounts } from '../../src/dataplane/host/accounts.js';
import { Traffic } from '../../src/dataplane/ipvs/traffic.js';

const ROWS = 6;

function world(engines = 2) {
  const blocks = Array.from({ length: engines }, () => new Traffic(Traffic.allocate(ROWS)));
  const accounts = new Accounts(blocks);
  return { blocks, accounts };
}

test('the blocks of all engines are added up: destinations, their service, and the whole', (t) => {
  const { blocks, accounts } = world();
  accounts.enter(0, 0);
  accounts.enter(0, 1);
  accounts.enter(1, 2);
  for (const [row, times] of [
    [0, 1],
    [1, 2],
    [2, 4],
  ] as const) {
    for (const block of blocks) for (let i = 0; i < times; i++) block.countConnection(row);
  }
  t.deepEqual(
    [0, 1, 2].map((row) => accounts.destination(row)!.stats.conns),
    [2, 4, 8],
  );
  t.deepEqual([accounts.service(0).stats.conns, accounts.service(1).stats.conns], [6, 8]);
  t.is(accounts.total.stats.conns, 14);
});

test('a row that is given anew starts from 0; the service keeps what the one before had, and later packets of that count nowhere', (t) => {
  const { blocks, accounts } = world();
  accounts.enter(0, 0);
  blocks[0]!.countConnection(0);
  blocks[1]!.countConnection(0);
  accounts.leave(0, 0);
  blocks[0]!.countConnection(0);
  t.is(accounts.destination(0), undefined);
  t.is(accounts.service(0).stats.conns, 2);
  accounts.enter(1, 0);
  t.is(accounts.destination(0)!.stats.conns, 0);
  blocks[1]!.countConnection(0);
  t.deepEqual([accounts.service(0).stats.conns, accounts.service(1).stats.conns], [2, 1]);
  // A service that is gone leaves what it had to the whole; one that takes its number starts from 0.
  accounts.close(0);
  t.is(accounts.service(0).stats.conns, 0);
  t.is(accounts.total.stats.conns, 3);
});

test('zeroing a service zeroes its destinations, counts and rates, and nothing else', (t) => {
  const { blocks, accounts } = world();
  accounts.enter(0, 0);
  accounts.enter(1, 1);
  const both = () => {
    for (let i = 0; i < 1000; i++) for (const row of [0, 1]) blocks[i & 1]!.countConnection(row);
  };
  both();
  accounts.estimate();
  t.is(accounts.service(0).rates.cps, 125);
  accounts.zero(0, [0]);
  for (const statement of [accounts.service(0), accounts.destination(0)!]) {
    t.deepEqual([statement.stats.conns, statement.rates.cps], [0, 0]);
  }
  for (const statement of [accounts.service(1), accounts.destination(1)!]) {
    t.deepEqual([statement.stats.conns, statement.rates.cps], [1000, 125]);
  }
  t.is(accounts.total.stats.conns, 2000);
  both();
  accounts.estimate();
  t.deepEqual([accounts.service(0).stats.conns, accounts.service(0).rates.cps], [1000, 125]);
  t.deepEqual([accounts.service(1).stats.conns, accounts.service(1).rates.cps], [2000, 219]);
  accounts.zeroAll();
  t.deepEqual(
    [accounts.total.stats.conns, accounts.total.rates.cps, accounts.service(1).rates.cps],
    [0, 0, 0],
  );
});

test('whatever comes and goes, every account is what a ledger has', (t) => {
  const random = new Random(3);
  const { blocks, accounts } = world(3);
  /** of each row: its service, and what it had; of each service and the whole what they had */
  const rows = new Map<number, { service: number; had: number }>();
  const services = [0, 0];
  let whole = 0;
  for (let step = 0; step < 5000; step++) {
    const row = random.below(ROWS);
    const known = rows.get(row);
    const dice = random.below(20);
    if (dice === 0 && known === undefined) {
      const service = random.below(2);
      accounts.enter(service, row);
      rows.set(row, { service, had: 0 });
    } else if (dice === 1 && known !== undefined) {
      accounts.leave(known.service, row);
      rows.delete(row);
    } else if (dice === 2 && known !== undefined) {
      const { service } = known;
      const own = [...rows].filter(([, each]) => each.service === service);
      accounts.zero(
        service,
        own.map(([number]) => number),
      );
      services[service] = 0;
      for (const [, each] of own) each.had = 0;
    } else {
      blocks[random.below(3)]!.countConnection(row);
      if (known === undefined) continue;
      known.had++;
      services[known.service]!++;
      whole++;
    }
    for (const [number, { had }] of rows) t.is(accounts.destination(number)!.stats.conns, had);
    t.deepEqual(
      [0, 1].map((service) => accounts.service(service).stats.conns),
      services,
    );
    t.is(accounts.total.stats.conns, whole);
  }
});
