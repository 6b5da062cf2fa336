/** The prober on real paths: a router between two hosts that says what is too big, and a switch that doesn't. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { type Host, Lab } from '../../src/cli/lab/lab.js';
import { addon } from '../../src/dataplane/io/native.js';

const asRoot = addon !== undefined && process.getuid?.() === 0 ? test : test.skip;

interface Line {
  watching?: boolean;
  warning?: object;
  address?: string;
  mtu?: number;
  learned?: boolean;
}

/** The lines of a prober in `host`, each awaited for some seconds at most. */
function prober(host: Host, addresses: string[]) {
  const script = fileURLToPath(new URL('path-mtu-prober.js', import.meta.url));
  const child: ChildProcess = host.spawn(process.execPath, [script, ...addresses]);
  child.stderr?.pipe(process.stderr);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async (): Promise<Line> => {
    const late = new Promise<Line>((resolve) => setTimeout(resolve, 20_000, { address: 'nothing' }).unref());
    const next = lines.next().then(({ value }): Line => JSON.parse(value ?? '{"address":"ended"}'));
    return Promise.race([next, late]);
  };
}

/** The next change of each of two addresses, in the order of addresses. */
async function both(next: () => Promise<Line>): Promise<Line[]> {
  const found = [await next(), await next()];
  return found.sort((a, b) => (a.address!.length < b.address!.length ? 1 : -1));
}

asRoot(
  'a router whose far link shrinks is noticed in both families, and when it is wide again',
  async (t) => {
    const lab = new Lab();
    try {
      const [a, router, b] = [await lab.host('a'), await lab.host('r'), await lab.host('b')];
      await lab.link(
        { host: a, name: 'cable', addresses: ['10.1.0.1/24', 'fd01::1/64'] },
        { host: router, name: 'near', addresses: ['10.1.0.9/24', 'fd01::9/64'] },
      );
      await lab.link(
        { host: router, name: 'far', addresses: ['10.2.0.9/24', 'fd02::9/64'] },
        { host: b, name: 'cable', addresses: ['10.2.0.1/24', 'fd02::1/64'] },
      );
      await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
      for (const [host, via4, via6] of [
        [a, '10.1.0.9', 'fd01::9'],
        [b, '10.2.0.9', 'fd02::9'],
      ] as const) {
        await host.ip(`route add default via ${via4}`);
        await host.ip(`route add default via ${via6}`);
      }
      const [six, four] = ['fd02::1', '10.2.0.1'];
      const next = prober(a, [four, six]);
      t.deepEqual(await next(), { watching: true });

      for (const mtu of [1400, 1500, 1380]) {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        await router.ip(`link set far mtu ${mtu}`);
        await b.ip(`link set cable mtu ${mtu}`);
        const learned = mtu < 1500;
        const changes = await both(next);
        t.like(changes[0], { address: four, mtu });
        t.like(changes[1], { address: six, mtu });
        if (learned)
          t.deepEqual(
            changes.map((change) => change.learned),
            [true, true],
          );
      }
    } finally {
      await lab.remove();
    }
  },
);

asRoot('a switch that swallows what is too big is noticed in both families', async (t) => {
  const lab = new Lab();
  try {
    const [a, middle, b] = [await lab.host('a'), await lab.host('s'), await lab.host('b')];
    await lab.link(
      { host: a, name: 'cable', addresses: ['10.1.0.1/24', 'fd01::1/64'] },
      { host: middle, name: 'near' },
    );
    await lab.link(
      { host: middle, name: 'far' },
      { host: b, name: 'cable', addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    );
    await middle.ip('link add name switch type bridge');
    for (const port of ['near', 'far']) await middle.ip(`link set ${port} master switch`);
    await middle.ip('link set switch up');
    const [six, four] = ['fd01::2', '10.1.0.2'];
    const next = prober(a, [four, six]);
    t.deepEqual(await next(), { watching: true });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await middle.ip('link set far mtu 1433');
    const changes = await both(next);
    t.deepEqual(
      changes.map(({ address }) => address),
      [four, six],
    );
    for (const { mtu = 0 } of changes) t.true(mtu <= 1433 && mtu > 1425, `found ${mtu}`);
  } finally {
    await lab.remove();
  }
});
