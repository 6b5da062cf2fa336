import { randomBytes } from 'node:crypto';
import test from 'ava';
import { Random } from '../../../src/dataplane/core/random.js';
import { Channel } from '../../../src/dataplane/host/sync/channel.js';
import { DATA, ENVELOPE, Opener, Sealer } from '../../../src/dataplane/host/sync/envelope.js';

const KEY = Buffer.alloc(32, 7);

test('an envelope is opened with the key as it was sealed, and no byte of it may differ', (t) => {
  const sealer = new Sealer(KEY);
  const sealed = sealer.seal(DATA, Buffer.from('told'));
  t.is(sealed.length, ENVELOPE + 4);
  t.like(new Opener(KEY).open(sealed), { number: 0, kind: DATA, contents: Buffer.from('told') });
  t.is(new Opener(KEY).open(sealer.seal(DATA, Buffer.from('told')))!.number, 1);
  t.is(new Opener(Buffer.alloc(32, 8)).open(sealed), undefined);
  for (let at = 0; at < sealed.length; at++) {
    const other = Buffer.from(sealed);
    other[at]! ^= 1 << (at & 7);
    t.is(new Opener(KEY).open(other), undefined, `byte ${at}`);
  }
  for (let end = 0; end < sealed.length; end++)
    t.is(new Opener(KEY).open(sealed.subarray(0, end)), undefined);
  // An IPVS receiver takes bytes 2 and 3 for the size.
  t.not(sealed.readUInt16BE(2), sealed.length);
});

type Name = 'master' | 'backup';

/** A master and a backup, and the datagrams between them. */
class Wire {
  nowMs = 0;
  readonly way: { to: Name; bytes: Buffer }[] = [];
  readonly seen: { to: Name; bytes: Buffer }[] = [];
  readonly got: { text: string; order: number }[] = [];
  readonly refused: Record<string, number> = {};
  resyncs = 0;
  readonly #refuse = (reason: string): void => {
    this.refused[reason] = (this.refused[reason] ?? 0) + 1;
  };
  master = this.#master();
  readonly backup = this.#backup();

  #master(): Channel<Name> {
    return new Channel<Name>(KEY, false, {
      send: (bytes, to) => this.send(to, bytes),
      resync: () => {
        this.resyncs++;
      },
      refused: this.#refuse,
    });
  }

  #backup(): Channel<Name> {
    return new Channel<Name>(KEY, true, {
      send: (bytes, to) => this.send(to, bytes),
      message: (bytes, order) => this.got.push({ text: Buffer.from(bytes).toString(), order }),
      refused: this.#refuse,
    });
  }

  restartMaster(): void {
    this.master = this.#master();
  }

  send(to: Name, bytes: Uint8Array): void {
    const datagram = { to, bytes: Buffer.from(bytes) };
    this.way.push(datagram);
    this.seen.push(datagram);
  }

  tell(text: string): void {
    this.send('backup', this.master.data(Buffer.from(text)));
  }

  /** What is under way arrives, each where `arrives` says so, and what comes of it. */
  carry(arrives: () => boolean = () => true): void {
    for (let datagram = this.way.shift(); datagram !== undefined; datagram = this.way.shift()) {
      if (arrives()) this.deliver(datagram);
    }
  }

  deliver({ to, bytes }: { to: Name; bytes: Buffer }): void {
    if (to === 'master') this.master.receive(bytes, 'backup', this.nowMs);
    else this.backup.receive(bytes, 'master', this.nowMs);
  }

  /** A tenth of a second. */
  tick(arrives: () => boolean = () => true): void {
    this.nowMs += 100;
    this.backup.tick(this.nowMs);
    this.carry(arrives);
  }

  /** Both know each other, and all has been told once. */
  meet(): this {
    this.send('backup', this.master.beat());
    for (let i = 0; i < 20; i++) {
      this.carry();
      this.tick();
    }
    return this;
  }
}

test('a backup that meets a master asks for all there is, and then takes each message once', (t) => {
  const wire = new Wire().meet();
  t.is(wire.resyncs, 1);
  wire.tell('one');
  wire.tell('two');
  wire.carry();
  t.deepEqual(
    wire.got.map(({ text }) => text),
    ['one', 'two'],
  );
  for (const each of [...wire.seen]) wire.deliver(each);
  wire.carry();
  t.is(wire.got.length, 2, 'replayed');
  t.true(wire.refused.replayed! > 0);
  t.is(wire.resyncs, 1);
});

test('strangers’ datagrams and what was recorded of an earlier session change nothing', (t) => {
  const wire = new Wire().meet();
  wire.tell('of the first session');
  wire.carry();
  const recorded = wire.seen.filter(({ to }) => to === 'backup');
  wire.restartMaster();
  const later = new Wire();
  later.master = wire.master;
  for (const each of recorded) later.deliver(each);
  later.carry();
  for (const each of recorded) later.deliver(each);
  t.deepEqual(later.got, []);
  t.true(later.refused.unproven! > 0);
  for (let i = 0; i < 200; i++) later.deliver({ to: 'backup', bytes: randomBytes(i) });
  t.is(later.refused.forged, 200);
  t.deepEqual(later.got, []);
});

test('a master that starts anew is believed after its proof, and is asked for all again', (t) => {
  const wire = new Wire().meet();
  wire.tell('before');
  wire.carry();
  wire.restartMaster();
  wire.meet();
  wire.tell('after');
  wire.carry();
  t.is(wire.resyncs, 2);
  t.deepEqual(
    wire.got.map(({ text }) => text),
    ['before', 'after'],
  );
  t.true(wire.got[1]!.order > wire.got[0]!.order);
});

for (const loss of [0.2, 0.5]) {
  test(`every message comes once and in an order that is known, though ${loss * 100} % are lost both ways`, (t) => {
    const random = new Random(17);
    const arrives = () => random.below(1000) >= loss * 1000;
    const wire = new Wire();
    for (let i = 0; i < 300 && wire.resyncs === 0; i++) {
      wire.send('backup', wire.master.beat());
      wire.tick(arrives);
    }
    t.is(wire.resyncs, 1);
    wire.got.length = 0;
    for (let i = 0; i < 500; i++) {
      wire.tell(String(i));
      if (i % 10 === 0) wire.tick(arrives);
    }
    for (let i = 0; i < 200; i++) {
      wire.send('backup', wire.master.beat());
      wire.tick(arrives);
    }
    const sorted = [...wire.got].sort((a, b) => a.order - b.order).map(({ text }) => Number(text));
    t.deepEqual(sorted, [...Array(500).keys()]);
  });
}

test('after a loss too long to be made good, all is asked for again', (t) => {
  const wire = new Wire().meet();
  for (let i = 0; i < 9000; i++) wire.tell('lost');
  wire.carry(() => false);
  wire.nowMs += 5000;
  wire.tell('heard');
  wire.carry();
  for (let i = 0; i < 5; i++) wire.tick();
  t.is(wire.resyncs, 2);
  t.true(wire.got.some(({ text }) => text === 'heard'));
});
