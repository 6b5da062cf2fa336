/** When a destination is taken for down or up, and what that makes of its service. */
import test from 'ava';
import type { Service } from '../../../src/dataplane/config/service-types.js';
import { parseConfig } from '../../../src/dataplane/config.js';
import { Judge } from '../../../src/dataplane/host/health/judge.js';
import { standing, type Vitals } from '../../../src/dataplane/host/health/standing.js';

test('so many bad results in a row take it down, so many good ones bring it back', (t) => {
  const judge = new Judge();
  const limits = { fall: 3, rise: 2 };
  const turns = (results: string) =>
    [...results]
      .map((each) => (judge.take(each === '+', limits) ? (judge.up ? 'up' : 'down') : '.'))
      .join(' ');
  t.is(turns('+--+--'), '. . . . . .');
  t.is(turns('-'), 'down');
  t.is(turns('--+-+-'), '. . . . . .');
  t.is(turns('++'), '. up');
  t.is(turns('---'), '. . down');
});

type Written = Record<string, unknown>;

function service(written: Written, weights: number[] = [1, 1, 1]): Service {
  const destinations = weights.map((weight, i) => ({ address: `10.0.0.${i + 1}:80`, weight }));
  const whole = { listen: 'tcp://203.0.113.80:80', health: { kind: 'tcp' }, destinations, ...written };
  return parseConfig({ networks: [], services: [whole] }, 'the test').services![0]!;
}

/** Last digit of each destination in force with its weight; `!` when the quorum is lost. */
function inForce(of: Service, states: string, reached = true, weight: number | null = null): string {
  const vitals = new Map<string, Vitals>(
    [...states].map((state, i) => [`10.0.0.${i + 1}:80`, { up: state === '+', weight }]),
  );
  const found = standing(of, (address) => vitals.get(address), reached);
  const list = found.service.destinations.map((each) => `${/(\d+):/.exec(each.address)![1]}×${each.weight}`);
  return `${list.join(' ')}${found.reached ? '' : '!'}`;
}

test('who is down leaves the service, or has weight 0', (t) => {
  t.is(inForce(service({}), '+-+'), '1×1 3×1');
  t.is(inForce(service({ health: { kind: 'tcp', inhibitOnFailure: true } }), '+-+'), '1×1 2×0 3×1');
  t.is(inForce(service({}), '---'), '!');
  t.is(inForce(service({ health: null }), ''), '1×1 2×1 3×1');
});

test('a weight that a check has set takes the place of the configured one', (t) => {
  t.is(inForce(service({}, [5, 5]), '++', true, 7), '1×7 2×7');
  t.is(inForce(service({}, [5, 5]), '+-', true, 0), '1×0!');
  // Who was drained by hand stays drained.
  t.is(inForce(service({}, [5, 0]), '++', true, 7), '1×7 2×0');
});

test('the quorum is lost below it and has a hysteresis; the sorry server then serves alone', (t) => {
  const sorryServer = { address: '10.0.0.9:80' };
  const four = [2, 2, 2, 2];
  const three = service({ quorum: 4, quorumHysteresis: 2, sorryServer }, four);
  t.is(inForce(three, '++++'), '1×2 2×2 3×2 4×2');
  t.is(inForce(three, '+---'), '1×2');
  t.is(inForce(three, '----'), '9×1!');
  t.is(inForce(three, '++--', false), '9×1!');
  t.is(inForce(three, '+++-', false), '1×2 2×2 3×2');
  t.is(inForce(service({ quorum: 4, sorryServer }, four), '+---'), '9×1!');
  // Without a sorry server whoever is up goes on.
  t.is(inForce(service({ quorum: 4 }, four), '+---'), '1×2!');
  t.is(inForce(service({ sorryServer, health: null }, [0, 0]), ''), '9×1!');
  const inhibited = { kind: 'tcp', inhibitOnFailure: true };
  t.is(inForce(service({ quorum: 2, sorryServer, health: inhibited }), '+--'), '1×0 2×0 3×0 9×1!');
});
