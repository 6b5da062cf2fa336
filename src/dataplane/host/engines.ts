/** The engines' threads as control sees them: starts them, gives them orders, and replaces one that fails. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Logger } from '../face.js';
import { need } from '../io/native.js';
import type { EngineBirth, Notice, Order, Orders } from '../orders.js';

/** An engine that fails at once each time is given up after so many tries in a row. */
const FAILURES_MAX = 5;
const FAILURES_WINDOW_MS = 60_000;

export interface EnginesOptions {
  count: number;
  birth: (index: number) => Omit<EngineBirth, 'index' | 'wake' | 'orders'>;
  logger: Logger;
  onNotice: (engine: number, notice: Notice) => void;
  /** everything that a new engine must be told to take the place of one that failed */
  rebuild: (engine: number) => Order[];
}

interface Running {
  worker: Worker;
  orders: MessagePort;
  wake: number;
  waiting: Map<number, () => void>;
  failures: number[];
}

export class Engines {
  readonly count: number;
  readonly #options: EnginesOptions;
  readonly #running: Running[] = [];
  #lastId = 0;
  #stopping = false;

  constructor(options: EnginesOptions) {
    this.#options = options;
    this.count = options.count;
    for (let i = 0; i < options.count; i++) this.#running.push(this.#start(i, []));
  }

  /** Resolves when every engine has performed its orders, and with that finished what it was at before. An engine that fails meanwhile is rebuilt with what holds then. */
  async order(listOf: (engine: number) => Order[]): Promise<void> {
    await Promise.all(this.#running.map((running, i) => this.#send(running, listOf(i))));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#running.map(async (running) => {
        const ended = new Promise((resolve) => running.worker.once('exit', resolve));
        await this.#send(running, [{ kind: 'stop' }]);
        await ended;
        running.orders.close();
        need().close(running.wake);
      }),
    );
  }

  #send(running: Running, list: Order[]): Promise<void> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      running.waiting.set(id, resolve);
      running.orders.postMessage({ id, list } satisfies Orders);
      need().eventSignal(running.wake);
    });
  }

  #start(index: number, failures: number[]): Running {
    const { port1, port2 } = new MessageChannel();
    const wake = need().eventCreate();
    const birth: EngineBirth = { ...this.#options.birth(index), index, wake, orders: port2 };
    const worker = new Worker(new URL('../engine-thread.js', import.meta.url), {
      workerData: birth,
      transferList: [port2],
      name: `viaduct engine ${index}`,
    });
    const running: Running = { worker, orders: port1, wake, waiting: new Map(), failures };
    port1.on('message', (notice: Notice) => {
      if (notice.kind === 'done') {
        running.waiting.get(notice.id)?.();
        running.waiting.delete(notice.id);
      } else this.#options.onNotice(index, notice);
    });
    worker.once('error', (error) => this.#failed(index, running, error));
    return running;
  }

  #failed(index: number, running: Running, error: Error): void {
    const { logger } = this.#options;
    if (this.#stopping) return;
    running.orders.close();
    need().close(running.wake);
    const now = performance.now();
    const failures = [...running.failures.filter((at) => now - at < FAILURES_WINDOW_MS), now];
    if (failures.length > FAILURES_MAX) {
      logger.error({ engine: index, error: error.stack }, 'engine failed again and again; giving up');
      throw error;
    }
    logger.error({ engine: index, error: error.stack }, 'engine failed; another takes its devices over');
    const next = this.#start(index, failures);
    this.#running[index] = next;
    void this.#send(next, this.#options.rebuild(index)).then(() => {
      for (const resolve of running.waiting.values()) resolve();
    });
  }
}
