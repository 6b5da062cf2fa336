/** Runs a check once, as a checker does. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { type Check, type Healthy, TimeOver } from '../../../../src/dataplane/host/health/check.js';

/** What it comes to: 'well', 'weight N', or what is wrong. */
export async function ask(
  check: Check,
  port: number,
  address = '127.0.0.1',
  timeoutMs = 2000,
): Promise<string> {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(new TimeOver(timeoutMs)), timeoutMs);
  try {
    return words(await check({ service: 'tcp://203.0.113.80:80', address, port }, control.signal));
  } catch (error) {
    return (error as Error).message;
  } finally {
    clearTimeout(timer);
  }
}

const words = ({ weight }: Healthy): string => (weight === undefined ? 'well' : `weight ${weight}`);

/** The port that it listens on, of the loopback address. */
export async function listening(server: Server, address = '127.0.0.1'): Promise<number> {
  server.listen(0, address);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
