/**
 * The overlay's way in: datagrams take the express path as long as they can, and decapsulation and the bridge where they
 * can't, in the order in which they came.
 */
import { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';
import type { Bridge } from './bridge.js';
import { Decap } from './decap.js';
import { type ExpressIn, expressIn } from './express/in.js';
import { STRETCH, type WayParts } from './outbound.js';

export class Inbound {
  readonly #path: Path;
  readonly #bridge: Bridge;
  readonly #decap: Decap;
  readonly #express: ExpressIn | undefined;
  readonly #datagrams: Batch;
  readonly #local: Batch;
  readonly #strays: Batch;
  readonly #frames: Batch;

  /** `datagrams` are taken from, each beginning at its VXLAN header; `local` is added to, as Bridge.deliver does. */
  constructor({ path, networks, fdb, vteps, bridge, express }: WayParts, datagrams: Batch, local: Batch) {
    this.#path = path;
    this.#bridge = bridge;
    this.#decap = new Decap(path, networks, vteps);
    this.#express = express ? expressIn(path, networks, fdb, vteps, datagrams, local) : undefined;
    this.#datagrams = datagrams;
    this.#local = local;
    this.#strays = new Batch(path.pool.packets);
    this.#frames = new Batch(path.pool.packets);
  }

  /** False when some are left: they wait until others have left, for a flood needs room. */
  deliver(): boolean {
    const datagrams = this.#datagrams;
    const frames = this.#frames;
    const express = this.#path.tracer.active ? undefined : this.#express;
    if (frames.count > 0) this.#bridge.deliver(frames, this.#local);
    let done = 0;
    while (done < datagrams.count && frames.count === 0) {
      let end = datagrams.count;
      if (express !== undefined) {
        done = express(done, this.#bridge.nowSeconds);
        end = Math.min(end, done + STRETCH);
      }
      for (; done < end; done++) this.#strays.push(datagrams.packets[done]);
      if (this.#strays.count === 0) break;
      this.#decap.decap(this.#strays, frames);
      this.#bridge.deliver(frames, this.#local);
    }
    datagrams.keepFrom(done);
    return datagrams.count === 0 && frames.count === 0;
  }
}
