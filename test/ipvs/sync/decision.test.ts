import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { isNeeded } from '../../../src/dataplane/ipvs/sync/decision.js';
import { SyncWindow } from '../../../src/dataplane/ipvs/sync/window.js';

/** What ip_vs_sync_conn_needed says at each packet, with sync_threshold "3 50" and the other sysctls at 0. */
class Kernel {
  #oldState = 0;

  needed(protocol: number, state: number, packets: number): boolean {
    let force = false;
    if (protocol === 6) {
      // ESTABLISHED, FIN_WAIT, CLOSE, CLOSE_WAIT, TIME_WAIT
      if (![1, 4, 6, 7, 5].includes(state)) return false;
      force = state !== this.#oldState && state !== 1;
    } else if (protocol === 132) {
      // ESTABLISHED, SHUTDOWN_SENT, SHUTDOWN_RECEIVED, SHUTDOWN_ACK_SENT, CLOSED
      if (![8, 9, 10, 11, 13].includes(state)) return false;
      force = state !== this.#oldState && state !== 8;
    }
    if (!force && packets % 50 !== 3) return false;
    this.#oldState = state;
    return true;
  }
}

test('looked at after each packet, the decision is the kernel’s', (t) => {
  const random = new Random(11);
  for (const [protocol, states] of [
    [6, 11],
    [17, 1],
    [132, 14],
  ] as const) {
    for (let run = 0; run < 50; run++) {
      const kernel = new Kernel();
      let [told, state] = [0, 0];
      let told_ = 0;
      for (let packets = 1; packets < 400; packets++) {
        if (random.below(20) === 0) state = random.below(states);
        const needed = isNeeded(protocol, state, told, packets, packets - 1);
        t.is(needed, kernel.needed(protocol, state, packets), `${protocol} ${state} ${packets}`);
        if (!needed) continue;
        told = state;
        told_++;
      }
      t.true(told_ > 0);
    }
  }
});

test('looked at seldom, nothing is missed that one of the packets in between would have told', (t) => {
  t.true(isNeeded(6, 1, 0, 3, 0));
  t.true(isNeeded(6, 1, 0, 40, 1), 'the third passed between two looks');
  t.false(isNeeded(6, 1, 1, 52, 3));
  t.true(isNeeded(6, 1, 1, 60, 3));
  t.true(isNeeded(6, 1, 1, 503, 3));
  t.false(isNeeded(6, 3, 0, 3, 0), 'SYN_RECV');
  t.true(isNeeded(6, 4, 1, 10, 9), 'FIN_WAIT at once');
  t.false(isNeeded(6, 4, 4, 11, 10), 'and once');
});

test('the window takes each number once and knows what lacks, as a set does', (t) => {
  const random = new Random(5);
  for (let run = 0; run < 40; run++) {
    const size = 64;
    const window = new SyncWindow(1000, size);
    const come = new Set<number>();
    let next = 1000;
    for (let step = 0; step < 500; step++) {
      const number = Math.max(0, next - 80 + random.below(84));
      const fits = number >= 1000 && number >= next - size;
      const { fresh, lost } = window.take(number);
      t.is(fresh, fits && !come.has(number));
      const before = next;
      if (fits) {
        come.add(number);
        next = Math.max(next, number + 1);
      }
      let gone = false;
      for (let old = Math.max(1000, before - size); old < next - size; old++) if (!come.has(old)) gone = true;
      t.is(lost, gone);
      const expected = [];
      for (let old = Math.max(1000, next - size); old < next; old++) if (!come.has(old)) expected.push(old);
      t.deepEqual(window.missing(next, 1000), expected);
    }
    t.deepEqual(window.take(next + 10 * size), { fresh: true, lost: true });
    t.deepEqual(window.missing(Infinity, 1000), []);
  }
});
