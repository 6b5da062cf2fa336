/** Whose socket it is: fresh, stale, live, or no socket at all. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import { Failure } from '../../src/cli/failure.js';
import { answers, listen, socketPath } from '../../src/cli/socket/place.js';
import { scratchFolder } from './fake-dataplane.js';

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
  const code = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', code]), 'exit');
  t.true(existsSync(path));
  t.false(await answers(path));

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
