/**
 * A workload in memory: the far end of an endpoint's device, where frames are bytes. For programs that embed a data
 * plane, and for tests; it copies each frame, and isn't fast.
 */
import { Batch } from '../../core/batch.js';
import { Counters } from '../../core/counters.js';
import { Path } from '../../core/path.js';
import { FRAME_MAX, NO_PACKET, Pool } from '../../core/pool.js';
import type { Device } from '../device.js';
import { pair } from './pair.js';

export class MemoryWorkload {
  /** its own pool: packets that the data plane sent it, until they are received */
  readonly path: Path;
  readonly #one = new Batch(1);
  #device: Device | undefined;

  /** @param slots frames that may wait to be received; further ones are dropped as no-packet */
  constructor(slots = 64) {
    this.path = new Path(new Pool(slots), new Counters(1, 1));
  }

  /** The device for `deviceFor` to give, on the pool of the data plane's engine. Connecting again leaves the first. */
  connect(path: Path): Device {
    const [inside, outside] = pair({ paths: [path, this.path], ports: [0, 0] });
    this.#device = outside;
    return inside;
  }

  /** Sends a frame, from its destination MAC on; false where nothing is connected or no slot is free. Throws RangeError when it is too long. */
  send(frame: Uint8Array): boolean {
    if (frame.length > FRAME_MAX) {
      throw new RangeError(`a frame has at most ${FRAME_MAX} bytes, this one ${frame.length}`);
    }
    const { pool } = this.path;
    const packet = this.#device === undefined ? NO_PACKET : pool.take();
    if (packet === NO_PACKET) return false;
    pool.bytes.set(frame, pool.offset[packet]!);
    pool.length[packet] = frame.length;
    this.#one.push(packet);
    this.#device!.transmit(this.#one);
    return true;
  }

  /** The next frame that came, a copy; undefined when there is none. */
  receive(): Uint8Array | undefined {
    const { pool } = this.path;
    this.#device?.receive(this.#one);
    if (this.#one.count === 0) return undefined;
    const packet = this.#one.packets[0]!;
    const at = pool.offset[packet]!;
    const frame = pool.bytes.slice(at, at + pool.length[packet]!);
    this.#one.release(pool);
    return frame;
  }
}
