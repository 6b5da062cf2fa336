/** Whose socket it is: fresh, stale, live, or no socket at all. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import { Failure } from '../../src/cli/failure.js';
import { answers, listen, socketPath } from '../../src/cli/socket/place.js';
import { inTurn } from '../../src/cli/socket/turn.js';
import { scratchFolder } from './fake-dataplane.js';

/** A socket file whose process was killed. */
async function stale(path: string): Promise<void> {
  const code = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', code]), 'exit');
}

test('the directory is made, and the socket goes with the server', async (t) => {
  const path = join(await scratchFolder(t), 'a', 'b', 'dataplane.sock');
  const server = createServer();
  await listen(server, path);
  t.true(await answers(path));
  server.close();
  await once(server, 'close');
  t.false(existsSync(path));
});

test('a socket that a dead process left is taken over', async (t) => {
  const path = join(await scratchFolder(t), 'dataplane.sock');
  await stale(path);
  t.true(existsSync(path));
  t.false(await answers(path));

  const server = createServer();
  await listen(server, path);
  t.true(await answers(path));
  server.close();
});

test('of many that start at once at a stale socket one gets it, and keeps it', async (t) => {
  const folder = await scratchFolder(t);
  for (let round = 0; round < 5; round++) {
    const path = join(folder, `${round}.sock`);
    await stale(path);
    const servers = Array.from({ length: 6 }, () => createServer());
    const outcomes = await Promise.allSettled(servers.map((server) => listen(server, path)));
    const winners = servers.filter((_, i) => outcomes[i]!.status === 'fulfilled');
    t.is(winners.length, 1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') t.regex(String(outcome.reason), /Another data plane answers at/);
    }
    t.true(await answers(path));
    winners[0]!.close();
    await once(winners[0]!, 'close');
  }
  t.deepEqual(readdirSync(folder), [], 'nothing is left of their turns');
});

test('processes that start at once at a stale socket: one gets it', async (t) => {
  const path = join(await scratchFolder(t), 'dataplane.sock');
  await stale(path);
  const place = new URL('../../src/cli/socket/place.js', import.meta.url).href;
  const code = `import { createServer } from 'node:http';
    const { listen } = await import(${JSON.stringify(place)});
    listen(createServer(), ${JSON.stringify(path)}).then(() => console.log('mine'), () => process.exit(1));
    process.stdin.resume().on('end', () => process.exit(0));`;
  const children = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const won = await Promise.all(
    children.map(async (child) =>
      (await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')])).join(),
    ),
  );
  t.is(won.filter((said) => said.startsWith('mine')).length, 1, won.join(' '));
  t.true(await answers(path));
  for (const child of children) child.stdin!.end();
});

test('a starter that was killed in its turn blocks nobody', async (t) => {
  const folder = await scratchFolder(t);
  const path = join(folder, 'dataplane.sock');
  let turn = '';
  await inTurn(path, async () => {
    turn = readdirSync(folder)[0]!;
  });
  await stale(join(folder, turn));
  const server = createServer();
  await listen(server, path);
  t.deepEqual(readdirSync(folder), ['dataplane.sock']);
  server.close();
});

test('a path that is only just short enough for a socket can be listened at', async (t) => {
  const folder = await scratchFolder(t);
  const path = join(folder, 'x'.repeat(107 - folder.length - 1));
  const server = createServer();
  await listen(server, path);
  t.true(await answers(path));
  server.close();
});

test('a socket at which somebody answers is left alone', async (t) => {
  const path = join(await scratchFolder(t), 'dataplane.sock');
  const first = createServer();
  await listen(first, path);
  const error = await t.throwsAsync(listen(createServer(), path), { instanceOf: Failure });
  t.regex(
    error.message,
    /Another data plane answers at .*dataplane\.sock; stop it, or give this one its own/,
  );
  t.true(await answers(path));
  first.close();
});

test('a file that is no socket is not removed', async (t) => {
  const path = join(await scratchFolder(t), 'precious');
  await writeFile(path, 'x');
  await t.throwsAsync(listen(createServer(), path), { message: /is not a socket/ });
  t.true(existsSync(path));
});

test('a path too long for a socket is refused with its limit', async (t) => {
  await t.throwsAsync(listen(createServer(), `/tmp/${'x'.repeat(120)}`), {
    message: /longer than 107 bytes/,
  });
});

test.serial('the socket is the option, else VIADUCT_SOCKET, else the usual place', (t) => {
  t.is(socketPath('/a/b.sock'), '/a/b.sock');
  const before = process.env.VIADUCT_SOCKET;
  delete process.env.VIADUCT_SOCKET;
  t.is(socketPath(undefined), '/run/viaduct/dataplane.sock');
  process.env.VIADUCT_SOCKET = '/c/d.sock';
  t.is(socketPath(undefined), '/c/d.sock');
  process.env.VIADUCT_SOCKET = '';
  t.is(socketPath(undefined), '/run/viaduct/dataplane.sock');
  if (before === undefined) delete process.env.VIADUCT_SOCKET;
  else process.env.VIADUCT_SOCKET = before;
});
