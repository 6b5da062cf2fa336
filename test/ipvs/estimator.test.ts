/** Rates against the kernel's arithmetic, written down once more with 64-bit words. */
import test from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { Estimator } from '../../src/dataplane/ipvs/estimator.js';
import {
  CONNS,
  FIELDS,
  IN_BYTES,
  IN_PACKETS,
  OUT_BYTES,
  OUT_PACKETS,
} from '../../src/dataplane/ipvs/traffic.js';

const PACKET_FIELDS = [CONNS, IN_PACKETS, OUT_PACKETS];
const BYTE_FIELDS = [IN_BYTES, OUT_BYTES];

/** One field as struct ip_vs_estimator has it: u64 words, an arithmetic shift of their signed difference. */
class Model {
  #last = 0n;
  #average = 0n;
  readonly #shift: bigint;

  constructor(field: number) {
    this.#shift = BYTE_FIELDS.includes(field) ? 4n : 9n;
  }

  estimate(count: bigint): void {
    const rate = BigInt.asUintN(64, (count - this.#last) << this.#shift);
    this.#last = count;
    const step = (BigInt.asIntN(64, rate) - BigInt.asIntN(64, this.#average)) >> 2n;
    this.#average = BigInt.asUintN(64, this.#average + step);
  }

  zero(count: bigint): void {
    this.#last = count;
    this.#average = 0n;
  }

  get rate(): bigint {
    return this.#shift === 4n ? (this.#average + 0xfn) >> 5n : (this.#average + 0x1ffn) >> 10n;
  }
}

test('rates are those of the kernel, step by step, from one packet to hundreds of gigabits a second', (t) => {
  const random = new Random(7);
  for (let run = 0; run < 40; run++) {
    const estimator = new Estimator();
    const models = Array.from({ length: FIELDS }, (_, field) => new Model(field));
    const counts = new Float64Array(FIELDS);
    const most = 2 ** (run % 38);
    for (let step = 0; step < 60; step++) {
      // Pauses among the traffic, so that averages also fall.
      const pause = random.below(4) === 0;
      for (let field = 0; field < FIELDS; field++) {
        if (!pause) counts[field]! += Math.floor((random.below(2 ** 30) / 2 ** 30) * most);
      }
      estimator.estimate(counts);
      models.forEach((model, field) => {
        model.estimate(BigInt(counts[field]!));
      });
      if (step === 40) {
        estimator.zero(counts);
        models.forEach((model, field) => {
          model.zero(BigInt(counts[field]!));
        });
      }
      for (let field = 0; field < FIELDS; field++) {
        t.is(BigInt(estimator.rate(field)), models[field]!.rate, `run ${run}, step ${step}, field ${field}`);
      }
    }
  }
});

test('steady traffic comes near its rate within four estimates, and leaves it after its end', (t) => {
  const estimator = new Estimator();
  const counts = new Float64Array(FIELDS);
  const seen: number[] = [];
  for (let step = 0; step < 60; step++) {
    for (const field of PACKET_FIELDS) counts[field]! += 2000;
    for (const field of BYTE_FIELDS) counts[field]! += 3_000_000;
    estimator.estimate(counts);
    seen.push(estimator.rate(IN_PACKETS));
  }
  t.deepEqual(seen.slice(0, 4), [250, 437, 578, 684]);
  t.deepEqual([estimator.rate(CONNS), estimator.rate(OUT_BYTES)], [1000, 1_500_000]);
  for (let step = 0; step < 60; step++) estimator.estimate(counts);
  for (let field = 0; field < FIELDS; field++) t.is(estimator.rate(field), 0);
});
