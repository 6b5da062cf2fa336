/** A director between a client and servers, without any overlay: where its system tests take place. */
import type { Host, Lab } from '../../../src/cli/lab/lab.js';
import { at, type Directed, directed, FAMILIES, type Services, service, VIRTUAL } from './directed.js';
import { awaitWord, program, spawnProgram } from './programs.js';

/** Both families, TCP and UDP, to the servers. */
export const both = (servers: number[]): Services =>
  FAMILIES.flatMap((family) =>
    (['tcp', 'udp'] as const).map((protocol) =>
      service(`${protocol}://${at(VIRTUAL[family], 80)}`, family, servers, 8080),
    ),
  );

/** A director whose servers say at port 8080 who they are (who.ts), started with the services. */
export async function place(lab: Lab, services: Services): Promise<Directed> {
  const made = await directed(lab);
  for (const [i, host] of made.servers.entries()) {
    await awaitWord(spawnProgram(host, 'who', ['serve', `s${i + 1}`, '8080']), 'ready');
  }
  await made.plane.start({ networks: [], services });
  return made;
}

/** What one of the servers answers: its name and whom it sees. */
export async function ask(from: Host, protocol: 'tcp' | 'udp', address: string, port = 80): Promise<string> {
  const { stdout } = await from.run(process.execPath, [
    program('who'),
    'ask',
    protocol,
    address,
    String(port),
  ]);
  return stdout.trim();
}

/** So many answers in a row, sorted. */
export async function answers(
  from: Host,
  protocol: 'tcp' | 'udp',
  address: string,
  count: number,
): Promise<string[]> {
  const all: string[] = [];
  for (let i = 0; i < count; i++) all.push(await ask(from, protocol, address));
  return all.sort();
}
