/**
 * Bad packets: every truncation and random mutations of valid ones, through the whole engine and the code of its
 * devices. VIADUCT_FUZZ says how many mutations (npm run fuzz: ten million), VIADUCT_FUZZ_SEED where to begin.
 */
import test, { type ExecutionContext } from 'ava';
import { Random } from '../../src/dataplane/core/random.js';
import { MOST_BYTES, mutate, mutateVirtio } from './mutate.js';
import { outerOf } from './outer-of.js';
import { PLAIN, SEEDS, type Seed, type Virtio } from './seeds.js';
import { ENTRANCES, type Input, SOCKETS, Target, TUNNEL } from './target.js';

const MUTATIONS = Number(process.env.VIADUCT_FUZZ ?? 200_000);
const SEED = Number(process.env.VIADUCT_FUZZ_SEED ?? 1);

/** The frame as it comes by an entrance: with VXLAN and outer headers before it where there are such. */
function enter(seed: Seed, entrance: number, vni: number, family: 4 | 6) {
  if (entrance < SOCKETS) return { bytes: seed.bytes, virtio: seed.virtio, headers: 0 };
  const inner = Uint8Array.from([8, 0, 0, 0, 0, 0, vni, 0, ...seed.bytes]);
  if (entrance === SOCKETS) return { bytes: inner, virtio: PLAIN, headers: 8 };
  const headers = outerOf(family, inner.length);
  const moved = headers.length + 8;
  const tunnel = family === 4 ? 0x20 : 0x40;
  const virtio: Virtio =
    seed.virtio.flags === 0
      ? PLAIN
      : {
          ...seed.virtio,
          gso: seed.virtio.gso === 0 ? 0 : seed.virtio.gso | tunnel,
          start: seed.virtio.start + moved,
          headerLength: seed.virtio.headerLength + moved,
        };
  return { bytes: Uint8Array.from([...headers, ...inner]), virtio, headers: moved };
}

/** Mutates all of it, or only what is within the headers, which stay right; the length that it has then. */
function spoil(
  random: Random,
  bytes: Uint8Array,
  entrance: number,
  headers: number,
  family: 4 | 6,
  length: number,
): number {
  if (headers === 0 || random.chance(0.4)) return mutate(random, bytes, 0, length);
  const inner = mutate(random, bytes, headers, length - headers);
  if (entrance === TUNNEL) bytes.set(outerOf(family, 8 + inner));
  return headers + inner;
}

class Twins {
  readonly #t: ExecutionContext;
  readonly one = new Target(0);
  readonly other = new Target(0xff);
  #runs = 0;

  constructor(t: ExecutionContext) {
    this.#t = t;
  }

  /** Both must do the same with it, account for all, and touch nothing else. */
  run(inputs: readonly Input[], what: () => string): void {
    const { one, other } = this;
    one.now = other.now = this.#runs * 10;
    let fault: string;
    try {
      fault = one.run(inputs) || other.run(inputs);
    } catch (error) {
      fault = (error as Error).stack ?? '';
    }
    if (fault === '' && (one.logged !== other.logged || differ(one, other)))
      fault = 'what is not the packet’s matters';
    if (fault === '' && ++this.#runs % 64 === 0) {
      fault = one.refill() || other.refill();
      if (this.#runs % 4096 === 0) {
        one.forget();
        other.forget();
      }
    }
    if (fault === '') return;
    const shown = inputs.map(
      ({ bytes, length, virtio }) =>
        `${Buffer.from(bytes.subarray(0, Math.min(length, 200))).toString('hex')} (${length} bytes) ${JSON.stringify(virtio)}`,
    );
    this.#t.fail(`${fault}\n${what()}\n${shown.join('\n')}`);
    throw new Error(fault);
  }
}

const differ = (one: Target, other: Target): boolean =>
  one.log.compare(other.log, 0, one.logged, 0, one.logged) !== 0;

test('every truncation of every kind of packet, by every entrance', (t) => {
  const twins = new Twins(t);
  const [whole, cut] = [new Map<string, number>(), new Map<string, number>()];
  for (const seed of SEEDS) {
    for (const [entrance, name] of ENTRANCES.entries()) {
      const family = entrance % 2 === 0 ? 4 : 6;
      const { bytes, virtio } = enter(seed, entrance, 5 + (seed.bytes.length % 2), family);
      const step = bytes.length > 400 ? 7 : 1;
      for (let length = 0; length <= bytes.length; length += length < 200 ? 1 : step) {
        const input = { entrance, bytes, length, virtio, sender: 0, glued: 0 };
        twins.run([input], () => `${seed.name}, ${length} bytes, ${name}`);
        const counted = length === bytes.length ? whole : cut;
        counted.set(name, (counted.get(name) ?? 0) + (twins.one.left > 0 ? 1 : 0));
        if (entrance !== TUNNEL || length >= seed.bytes.length) continue;
        // The outer headers know that it is shorter.
        const shorter = enter({ ...seed, bytes: seed.bytes.slice(0, length) }, entrance, 5, family);
        twins.run(
          [{ ...input, ...shorter, length: shorter.bytes.length }],
          () => `${seed.name}, ${length} bytes`,
        );
        counted.set(name, counted.get(name)! + (twins.one.left > 0 ? 1 : 0));
      }
    }
  }
  t.log(Object.fromEntries(whole), Object.fromEntries(cut));
  for (const name of ENTRANCES) t.true(whole.get(name)! + cut.get(name)! > 10, `${name} lets something pass`);
});

test(`${MUTATIONS.toLocaleString('en')} random mutations`, (t) => {
  t.timeout(3_600_000);
  const random = new Random(SEED);
  const twins = new Twins(t);
  const rooms = Array.from({ length: 4 }, () => new Uint8Array(MOST_BYTES + 8));
  const destinations = [[0x0a, 0, 0, 3], [0x0a, 0, 0, 2], undefined, undefined];
  let left = 0;
  for (let done = 0; done < MUTATIONS; ) {
    // Now and then a few that follow one another, so that they could be merged or glued.
    const several = random.chance(0.1) ? 2 + random.below(3) : 1;
    const seed = SEEDS[random.below(SEEDS.length)]!;
    const entrance = random.below(ENTRANCES.length);
    const family = random.chance(0.5) ? 4 : 6;
    const entered = enter(seed, entrance, random.chance(0.5) ? 5 : 6, family);
    const destination = destinations[random.below(destinations.length)];
    const inputs: Input[] = [];
    for (let i = 0; i < several; i++) {
      const bytes = rooms[i]!;
      bytes.set(entered.bytes.subarray(0, MOST_BYTES));
      if (destination !== undefined) bytes.set(destination, entered.headers + 2);
      let length = Math.min(entered.bytes.length, MOST_BYTES);
      if (i === 0 || random.chance(0.5))
        length = spoil(random, bytes, entrance, entered.headers, family, length);
      const virtio = random.chance(0.3) ? mutateVirtio(random, entered.virtio) : entered.virtio;
      const glued = entrance === SOCKETS && random.chance(0.1) ? 1 + random.below(300) : 0;
      inputs.push({ entrance, bytes, length, virtio, sender: random.below(3), glued });
    }
    const at = done;
    twins.run(inputs, () => `mutation ${at} of seed ${SEED}: ${seed.name}, ${ENTRANCES[entrance]}`);
    left += twins.one.left;
    done += several;
  }
  const drops = Object.entries(twins.one.counters.drops()).filter(([, count]) => count > 0);
  t.log(`${left} packets left`, Object.fromEntries(drops));
  t.true(left > MUTATIONS / 10);
  t.true(drops.length > 10 || MUTATIONS < 10_000, 'many reasons are met');
});
