// npm run build: TypeScript, the addon, and the configuration's JSON schema.
import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';

const run = (command, ...args) => spawnSync(command, args, { stdio: 'inherit' }).status === 0;

if (!run('npx', '--no-install', 'tsc', '-p', '.')) process.exit(1);
chmodSync('dist/src/cli/main.js', 0o755);
if (!run('make', '-s', '-C', 'native')) {
  console.error(
    'viaduct: the native addon was not built; it needs make and a C compiler (Debian: apt-get install make gcc libc6-dev).',
  );
  console.error('viaduct: without it only the dgram underlay and the in-memory device work.');
}
