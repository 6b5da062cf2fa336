/**
 * The overlay's way out: frames of a port take the express path as long as they can, and the bridge and encapsulation
 * where they can't, in the order in which they came.
 */
import { Batch } from '../core/batch.js';
import type { Path } from '../core/path.js';
import type { Vteps } from '../core/vteps.js';
import type { Bridge } from './bridge.js';
import { encap } from './encap.js';
import { type ExpressOut, expressOut } from './express/out.js';
import type { Fdb } from './fdb.js';
import type { Networks } from './network.js';

/** How many frames go the general way at a time: what follows one that had to is often of its kind. */
export const STRETCH = 8;

/** What a way of the overlay is made of. */
export interface WayParts {
  path: Path;
  networks: Networks;
  fdb: Fdb;
  vteps: Vteps;
  bridge: Bridge;
  /** V8 makes the express path fast only if it is the only one on its thread; who isn't that one does without. */
  express: boolean;
}

export class Outbound {
  readonly #path: Path;
  readonly #networks: Networks;
  readonly #bridge: Bridge;
  readonly #express: ExpressOut | undefined;
  readonly #frames: Batch;
  readonly #local: Batch;
  readonly #remote: Batch;
  readonly #strays: Batch;

  /** `frames` are taken from; `local` and `remote` are added to, as Bridge.forward does, the remote ones encapsulated. */
  constructor(
    { path, networks, fdb, vteps, bridge, express }: WayParts,
    frames: Batch,
    local: Batch,
    remote: Batch,
  ) {
    this.#path = path;
    this.#networks = networks;
    this.#bridge = bridge;
    this.#express = express ? expressOut(path.pool, fdb, vteps, frames, remote) : undefined;
    this.#frames = frames;
    this.#local = local;
    this.#remote = remote;
    this.#strays = new Batch(path.pool.packets);
  }

  /** Frames of `port`. Those that are still there afterwards wait until others have left, for a flood needs room. */
  forward(port: number): void {
    const frames = this.#frames;
    const remote = this.#remote;
    const strays = this.#strays;
    const network = this.#networks.ofPort(port);
    const express = this.#path.tracer.active ? undefined : this.#express;
    let done = 0;
    while (done < frames.count) {
      let end = frames.count;
      if (express !== undefined && network !== undefined) {
        done = express(done, network, port, this.#bridge.nowSeconds);
        end = Math.min(end, done + STRETCH);
      }
      if (done === end) break;
      for (; done < end; done++) strays.push(frames.packets[done]);
      const before = remote.count;
      this.#bridge.forward(strays, this.#local, remote);
      encap(this.#path, this.#networks, remote, before);
      if (strays.count > 0) {
        done -= strays.count;
        strays.count = 0;
        break;
      }
    }
    frames.keepFrom(done);
  }
}
