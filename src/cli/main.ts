#!/usr/bin/env node
/** The command `viaduct`: what there is, and which file does it. Each is loaded only when it is asked for. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { UNDERLAY_DEVICES } from '../dataplane/config/types.js';
import { IPVSADM_NAMES, LOG_LEVELS, TABLES } from './choices.js';
import { FAILED, Failure, USAGE } from './failure.js';

const SOCKET = [
  '--socket <path>',
  'control socket (or VIADUCT_SOCKET; /run/viaduct/dataplane.sock otherwise)',
] as const;

const program = new Command('viaduct')
  .description('A user-space network data plane: VXLAN overlays between hosts.')
  .version(version())
  .showHelpAfterError("(try 'viaduct --help')")
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : USAGE));

program
  .command('dataplane')
  .description('run a data plane in the foreground; SIGHUP reads FILE again, SIGTERM drains and ends it')
  .requiredOption('--config <file>', 'configuration, YAML or JSON')
  .option(...SOCKET)
  .addOption(new Option('--log-level <level>', 'least level to log').choices(LOG_LEVELS).default('info'))
  .option('--offload <list>', 'switch offloads, whatever the configuration says: tso=off,uso=off,…')
  .addOption(new Option('--underlay-device <device>', 'underlay to use').choices(UNDERLAY_DEVICES))
  .action(async (options) => finish((await import('./dataplane.js')).dataplane(options)));

program
  .command('show')
  .description('a table of the running data plane')
  .addArgument(new Argument('<table>', 'what to show').choices(TABLES))
  .option(...SOCKET)
  .option('--json', 'as JSON')
  .option('--watch [seconds]', 'again and again, with rates')
  .option('--all', 'also what is zero')
  .action(async (table, options) => finish((await import('./show.js')).show(table, options)));

program
  .command('trace')
  .description('which way each matching packet goes, and why it is dropped')
  .argument('[filter...]', 'pcap filter; everything otherwise')
  .option(...SOCKET)
  .option('--json', 'a JSON object for each hop, and {"lost": N} at the end if some were lost')
  .option('--count <n>', 'end after so many packets', whole)
  .action(async (filter, options) => finish((await import('./trace.js')).trace(filter, options)));

program
  .command('capture')
  .description("the workloads' frames as a pcap file")
  .argument('[filter...]', 'pcap filter; everything otherwise')
  .requiredOption('-w, --write <file>', "file to write, '-' for stdout")
  .option(...SOCKET)
  .option('--count <n>', 'end after so many frames', whole)
  .option('--snaplen <bytes>', 'bytes to keep of each frame', whole)
  .option('--json', 'at the end: frames captured and lost as JSON')
  .action(async (filter, options) => finish((await import('./capture.js')).capture(filter, options)));

program
  .command('apply')
  .description('give the running data plane another configuration')
  .argument('<file>', "configuration, YAML or JSON; '-' for stdin")
  .option(...SOCKET)
  .action(async (file, options) => finish((await import('./apply.js')).apply(file, options)));

program
  .command('reload')
  .description('have the running data plane read its file again')
  .option(...SOCKET)
  .action(async (options) => finish((await import('./apply.js')).reload(options)));

program
  .command('check')
  .description('whether a configuration file is valid')
  .argument('<file>', "configuration, YAML or JSON; '-' for stdin")
  .action(async (file) => finish((await import('./check.js')).check(file)));

// Only for the help: its line goes to it as it is (below).
program
  .command('ipvsadm')
  .description("the virtual server, by ipvsadm's commands and options")
  .argument('[arguments...]', "as ipvsadm's; -h lists them");

program
  .command('doctor')
  .description('what this host has and lacks, and how to get it')
  .option('--json', 'as JSON')
  .action(async (options) => finish((await import('./doctor.js')).doctor(options)));

program
  .command('demo')
  .description("two hosts in network namespaces, measured beside the kernel's vxlan")
  .option('--json', 'figures as JSON, without the view')
  .option('--seconds <n>', 'of each throughput measurement, 4 otherwise', whole)
  .action(async (options) => finish((await import('./demo/demo.js')).demo(options)));

program
  .command('schema')
  .description('the JSON schema of the configuration file')
  .action(async () => finish((await import('./schema.js')).schema()));

program
  .command('version')
  .description('the version of viaduct')
  .action(() => console.log(version()));

async function ipvsadmAs(name: string, words: readonly string[]): Promise<number> {
  return (await import('./ipvsadm/ipvsadm.js')).ipvsadm(name, words, version());
}

/** The version in package.json, three folders above dist/src/cli. */
function version(): string {
  const file = new URL('../../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function whole(text: string): string {
  if (/^[1-9]\d{0,8}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be a whole number, 1 to 999999999.');
}

/** Ends the process with the command's exit code; what it throws is for the user when it has a code, for us when not. */
async function finish(command: Promise<number>): Promise<void> {
  try {
    process.exitCode = await command;
  } catch (error) {
    const known = error instanceof Error && 'code' in error;
    console.error(`viaduct: ${known ? error.message : ((error as Error).stack ?? error)}`);
    process.exitCode = error instanceof Failure ? error.exitCode : FAILED;
  }
}

// A reader that has had enough (`viaduct show fdb | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const called = basename(process.argv[1] ?? '');
const [command, ...words] = process.argv.slice(2);
if (Object.hasOwn(IPVSADM_NAMES, called)) await finish(ipvsadmAs(called, process.argv.slice(2)));
else if (command === 'ipvsadm') await finish(ipvsadmAs('viaduct ipvsadm', words));
else await program.parseAsync();
