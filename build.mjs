// npm run build: TypeScript, the addon, and the configuration's JSON schema.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const run = (command, ...args) => spawnSync(command, args, { stdio: 'inherit' }).status === 0;

/** Removes output whose source is gone, so that a deleted test doesn't run for ever. */
function prune() {
  for (const root of ['src', 'test', 'bench']) {
    const folder = join('dist', root);
    if (!existsSync(folder)) continue;
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const source = path.slice('dist/'.length).replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
      if (entry.isFile() && source.endsWith('.ts') && !existsSync(source)) rmSync(path);
    }
  }
}

if (!run('npx', '--no-install', 'tsc', '-p', '.')) process.exit(1);
prune();
chmodSync('dist/src/cli/main.js', 0o755);
if (!run('make', '-s', '-C', 'native')) {
  console.error(
    'viaduct: the native addon was not built; it needs make and a C compiler (Debian: apt-get install make gcc libc6-dev).',
  );
  console.error('viaduct: without it only the dgram underlay and the in-memory device work.');
}
const { jsonSchema } = await import('./dist/src/dataplane/config.js');
writeFileSync('dist/config.schema.json', `${JSON.stringify(jsonSchema(), null, 2)}\n`);
writeFileSync('dist/.built', '');
