/** FTP through the director, vsftpd behind it and curl before it: active and passive, in both families, up and down, several files in one session. */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Host } from '../../src/cli/lab/lab.js';
import type { ConnectionRow } from '../../src/dataplane/report.js';
import {
  addressOf,
  at,
  type Directed,
  directed,
  type Family,
  nothingDropped,
  service,
  VIRTUAL,
} from './world/directed.js';
import { spawnServer } from './world/ftp-server.js';
import { labTest } from './world/needs.js';

const BYTES = 3 << 20;
const NEEDS = ['vsftpd', 'curl'];

/** How curl is told to open data connections. */
const MODES: Record<string, { options: string[]; families: Family[] }> = {
  EPSV: { options: [], families: [4, 6] },
  PASV: { options: ['--disable-epsv', '--no-ftp-skip-pasv-ip'], families: [4] },
  EPRT: { options: ['--ftp-port', '-'], families: [4, 6] },
  PORT: { options: ['--ftp-port', '-', '--disable-eprt'], families: [4] },
};

const digest = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const urlOf = (family: Family, path: string, port = 21) => `ftp://${at(VIRTUAL[family], port)}/${path}`;

interface World extends Directed {
  folder: string;
  files: Buffer[];
}

/** Two servers with the same files, and a folder of theirs each that takes files. */
async function world(made: Directed, folder: string): Promise<World> {
  const files = [randomBytes(BYTES), randomBytes(1000)];
  for (const [i, server] of made.servers.entries()) {
    const root = join(folder, `s${i + 1}`);
    await mkdir(join(root, 'up'), { recursive: true });
    await chmod(join(root, 'up'), 0o777);
    for (const [k, file] of files.entries()) await writeFile(join(root, `file${k}`), file);
    await spawnServer(server, root);
  }
  return { ...made, folder, files };
}

const curl = (from: Host, ...args: string[]) =>
  from.run('curl', ['-sS', '--max-time', '40', '--globoff', ...args]);

/** One session: two files down, one file up, the list of the folder. */
async function session(
  t: ExecutionContext,
  w: World,
  mode: string,
  family: Family,
  name: string,
): Promise<void> {
  const { options } = MODES[mode]!;
  const title = `${mode}, IPv${family}`;
  const [one, two] = [join(w.folder, 'one'), join(w.folder, 'two')];
  await curl(w.client, ...options, urlOf(family, 'file0'), '-o', one, urlOf(family, 'file1'), '-o', two);
  t.is(digest(await readFile(one)), digest(w.files[0]!), title);
  t.is(digest(await readFile(two)), digest(w.files[1]!), title);
  await curl(w.client, ...options, '-T', one, urlOf(family, `up/${name}`));
  const stored = await Promise.all(
    ['s1', 's2'].map((server) => readFile(join(w.folder, server, 'up', name)).catch(() => undefined)),
  );
  const [there, ...others] = stored.filter((file) => file !== undefined);
  t.is(others.length, 0);
  t.is(digest(there!), digest(w.files[0]!), `${title}, up`);
  t.regex((await curl(w.client, ...options, urlOf(family, ''))).stdout, /file0/, `${title}, list`);
}

labTest(
  'files go up and down in every mode, as they are, to and from one server a session',
  NEEDS,
  async (t, lab) => {
    const folder = await mkdtemp(join(tmpdir(), 'viaduct-ftp-'));
    try {
      await chmod(folder, 0o755);
      const w = await world(await directed(lab), folder);
      await w.plane.start({
        networks: [],
        services: ([4, 6] as const).map((family) =>
          service(`tcp://${at(VIRTUAL[family], 21)}`, family, [1, 2], 21),
        ),
      });
      // Nobody gets round the director.
      for (const site of [1, 2]) {
        await w.client.ip(`route add unreachable 10.${site}.0.0/24`);
        await w.client.ip(`-6 route add unreachable fd0${site}::/64`);
      }
      for (const [mode, { families }] of Object.entries(MODES)) {
        for (const family of families) {
          for (const round of [1, 2]) await session(t, w, mode, family, `${mode}-${family}-${round}`);
        }
      }
      await nothingDropped(t, w.plane);
      const rows = await w.plane.ask<ConnectionRow[]>('ipvs/connections');
      const from = (port: number, family: Family) =>
        rows
          .filter(({ virtual }) => virtual === at(VIRTUAL[family], port))
          .map(({ destination }) => destination);
      for (const family of [4, 6] as const) {
        // Active: from the server's port 20, and to the client from the virtual one.
        const active = from(20, family);
        t.true(active.length > 0);
        t.true(active.every((end) => [1, 2].some((site) => end === at(addressOf(site, family), 20))));
      }
      // Nobody waits for what has come.
      t.deepEqual(
        rows.filter(({ state }) => state === 'LISTEN'),
        [],
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
