// npm start and npm test on a fresh machine: finds what is missing, installs it, builds, and goes.
// No dependencies: this runs before anything is installed. All that it says goes to stderr.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const home = dirname(fileURLToPath(import.meta.url));
process.chdir(home);
process.env.PATH = [process.env.PATH, '/usr/sbin', '/sbin', '/usr/local/sbin']
  .filter(Boolean)
  .join(delimiter);

/** [file that shows it is there, Debian package]; a name without a slash is looked for on the PATH. */
const BUILD = [
  ['gcc', 'gcc'],
  ['make', 'make'],
  ['/usr/include/stdio.h', 'libc6-dev'],
];
const RUN = [
  ['ip', 'iproute2'],
  ['iperf3', 'iperf3'],
  ['ping', 'iputils-ping'],
  ['sysctl', 'procps'],
  ['curl', 'curl'],
];
const TEST = [
  ['tcpdump', 'tcpdump'],
  ['tshark', 'tshark'],
  ['ethtool', 'ethtool'],
  ['ipvsadm', 'ipvsadm'],
  ['nginx', 'nginx-light'],
  ['wrk', 'wrk'],
  ['ps', 'procps'],
  ['redis-server', 'redis-server'],
  ['redis-cli', 'redis-tools'],
  ['psql', 'postgresql'],
  ['openssl', 'openssl'],
  ['dnsmasq', 'dnsmasq-base'],
  ['dig', 'bind9-dnsutils'],
  ['sipp', 'sip-tester'],
  ['/usr/sbin/nft', 'nftables'],
  ['vsftpd', 'vsftpd'],
];
/** For node-gyp, which compiles the optional raw-socket while npm installs it. */
const GYP = [
  ['g++', 'g++'],
  ['python3', 'python3'],
];
/** Per verb: what to have, and without which of it there is no point in going on. */
const VERBS = {
  build: { want: BUILD, must: [], run: [] },
  start: { want: [...BUILD, ...RUN], must: ['ip', 'iperf3', 'ping'], run: ['dist/src/cli/main.js', 'demo'] },
  test: { want: [...BUILD, ...RUN, ...TEST], must: [], run: ['test/run.mjs'] },
};

const say = (text) => console.error(`viaduct: ${text}`);
const fail = (text) => {
  say(text);
  process.exit(1);
};
const root = process.getuid?.() === 0;

function present(file) {
  if (file.includes('/')) return existsSync(file);
  return process.env.PATH.split(delimiter).some((folder) => existsSync(join(folder, file)));
}

/** Modification time in ms, 0 when there is none; of a folder: the newest in it, itself included (a deletion shows there). */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  const names = readdirSync(path).filter((name) => name !== 'build' && name !== 'history');
  return Math.max(stat.mtimeMs, ...names.map((name) => newest(join(path, name))));
}

/** Runs a command with its stdout on our stderr. True when it went well. */
const run = (command, args, env = {}) =>
  spawnSync(command, args, { stdio: ['ignore', 2, 2], env: { ...process.env, ...env } }).status === 0;

/** The same for a command that talks much: what it said is shown only when it fails. */
function runQuietly(command, args, env) {
  const options = { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env }, encoding: 'utf8' };
  const { status, stdout, stderr } = spawnSync(command, args, { ...options, maxBuffer: 64 << 20 });
  if (status !== 0) console.error(`${stdout ?? ''}${stderr ?? ''}`.trim().split('\n').slice(-20).join('\n'));
  return status === 0;
}

function installDebian(missing, must) {
  const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
  const vital = missing.some(([file]) => must.includes(file));
  const install = `apt-get install -y --no-install-recommends ${packages}`;
  if (!root || !present('apt-get')) {
    const advice = present('apt-get') ? `sudo ${install}` : `your system's packages for ${packages}`;
    if (vital) fail(`some programs are missing. Please run: ${advice}`);
    return say(`going on, though not everything is there. To have it all: ${advice}`);
  }
  say(`installing Debian packages: ${packages}`);
  // RUNLEVEL=1 keeps a freshly installed nginx from being started as a service.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const apt = (...args) => runQuietly('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=400', ...args], env);
  const get = () => apt('-o', 'Dpkg::Use-Pty=0', ...install.split(' ').slice(1));
  const listed = present('/var/lib/apt/lists') && readdirSync('/var/lib/apt/lists').some(isPackageList);
  if ((listed && get()) || (apt('update') && get())) return;
  const text = `apt-get could not install ${packages} (see above; is there a network, is the disk writable?)`;
  if (missing.some(([file]) => must.includes(file) && !present(file))) fail(text);
  say(`${text}; going on without`);
}

const isPackageList = (name) => name.includes('_Packages');

function npmIsStale() {
  const installed = newest('node_modules/.package-lock.json');
  return installed === 0 || installed < newest('package-lock.json');
}

function installNpm() {
  say('installing npm packages');
  const prefix = dirname(dirname(process.execPath));
  // Node's own headers, where they came with it, spare node-gyp a download.
  const headers = existsSync(join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {};
  const flags = ['--loglevel=error', '--no-audit', '--no-fund'];
  if (run('npm', ['ci', ...flags], headers)) return;
  const text = 'npm ci failed (see above). It needs the npm registry and a writable folder';
  if (!existsSync('node_modules/typescript')) fail(`${text}.`);
  say(`${text}; going on with the packages that are there.`);
}

/** Whether something is newer than the last build (dist/.built, written by build.mjs), or can be built now and isn't. */
function buildIsStale() {
  const sources = ['src', 'test', 'bench', 'native', 'build.mjs', 'package.json', 'tsconfig.json'];
  if (newest('dist/.built') < Math.max(...sources.map(newest))) return true;
  return !existsSync('native/build/viaduct.node') && BUILD.every(([file]) => present(file));
}

function build() {
  say('building');
  if (run(process.execPath, ['build.mjs'])) return;
  fail('the build failed (see above).');
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Hands over to the program: its exit code is ours, and signals reach it. */
function go(command, args) {
  const child = spawn(process.execPath, [...command, ...args], { stdio: 'inherit' });
  // A terminal sends SIGINT to the whole group, so the program may get it twice.
  for (const signal of SIGNALS) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(error.message));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    for (const each of SIGNALS) process.removeAllListeners(each);
    process.kill(process.pid, signal);
  });
}

const [verb, ...args] = process.argv.slice(2);
const plan = VERBS[verb];
if (plan === undefined) fail(`usage: node bootstrap.mjs ${Object.keys(VERBS).join('|')} [arguments]`);
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`Node 20.19 or later is needed, this is ${process.version}.`);

const staleNpm = npmIsStale();
const want = staleNpm && root ? [...plan.want, ...GYP] : plan.want;
const missing = want.filter(([file]) => !present(file));
if (missing.length > 0) installDebian(missing, plan.must);
if (staleNpm) installNpm();
if (buildIsStale()) build();
if (plan.run.length > 0) go(plan.run, args);
