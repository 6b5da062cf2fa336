import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test from 'ava';

/** A worker thread is one of the places where raw-socket can't be used. */
const script = (echo: string) => `
  import { parentPort } from 'node:worker_threads';
  const { IcmpEcho } = await import(${JSON.stringify(echo)});
  const warnings = [];
  const echo = new IcmpEcho({ debug() {}, info() {}, warn: (fields, text) => warnings.push({ fields, text }) });
  for (let sequence = 0; sequence < 5; sequence++) {
    echo.send('192.0.2.1', 1500, sequence);
    echo.send('2001:db8::1', 1500, sequence);
  }
  echo.close();
  parentPort.postMessage(warnings);`;

test('where raw sockets can’t be had, the log says so once and nothing is sent', async (t) => {
  const echo = new URL('../../../src/dataplane/io/path-mtu/icmp-echo.js', import.meta.url).href;
  const source = `data:text/javascript,${encodeURIComponent(script(echo))}`;
  const worker = new Worker(new URL(source));
  const [warnings] = await once(worker, 'message');
  t.is(warnings.length, 1);
  t.regex(warnings[0].text, /path MTU isn't probed/);
  t.is(warnings[0].fields.reason, 'raw sockets need the main thread');
});
