/** The demo from outside, as root: what it prints, and that nothing of it stays. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { run } from '../../src/cli/lab/lab.js';

const rootTest = process.getuid?.() === 0 ? test.serial : test.serial.skip;

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function start(...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, ['dist/src/cli/main.js', 'demo', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => (said[name] += text));
    }
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...said }));
  });
  return { child, ended };
}

/** Namespaces and folders of the demo with that process id. */
async function traces(pid: number): Promise<string[]> {
  const { stdout } = await run('ip', ['netns', 'list']);
  const names = [...stdout.split('\n').map((line) => line.split(' ')[0]!), ...readdirSync(tmpdir())];
  return names.filter((name) => name.startsWith(`viaduct-demo-${pid}-`));
}

/** Command lines that name the demo's folder or namespaces: its data planes. */
function processes(pid: number): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => {
      try {
        return readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // ended meanwhile
      }
    })
    .filter((line) => line.includes(`viaduct-demo-${pid}-`));
}

async function nothingLeft(t: ExecutionContext, pid: number): Promise<void> {
  t.deepEqual(await traces(pid), []);
  t.deepEqual(processes(pid), []);
}

/** Waits until the demo has built its namespaces and gone on for a while. */
async function underWay(pid: number, milliseconds: number): Promise<void> {
  for (let i = 0; i < 200 && (await traces(pid)).length === 0; i++) await sleep(50);
  await sleep(milliseconds);
}

rootTest(
  'the demo prints one JSON document with all its figures, and removes all that it made',
  async (t) => {
    t.timeout(120_000);
    const { child, ended } = start('--json', '--seconds', '1');
    await underWay(child.pid!, 3000);
    t.is(processes(child.pid!).length, 2, 'a data plane a host');
    const { code, stdout, stderr } = await ended;
    t.is(code, 0, stderr);
    const document = JSON.parse(stdout);
    t.deepEqual(
      document.measurements.map(({ name }: { name: string }) => name),
      ['ping4', 'ping6', 'http', 'tcp', 'udp'],
    );
    for (const { name, viaduct, kernel, ratio } of document.measurements) {
      t.true(viaduct > 0 && kernel > 0 && Math.abs(ratio - viaduct / kernel) < 1e-9, name);
    }
    t.true(document.transfers.viaduct.matches && document.transfers.kernel.matches);
    t.deepEqual(document.faults, []);
    t.true(document.stats.a.vteps[0].txPackets > 0, 'what was measured crossed the data plane');
    await nothingLeft(t, child.pid!);
  },
);

for (const [signal, code, after] of [
  ['SIGINT', 130, 0],
  ['SIGTERM', 143, 400],
  ['SIGINT', 130, 2500],
  ['SIGTERM', 143, 6000],
] as const) {
  rootTest(`the demo removes all that it made when ${signal} comes after ${after} ms`, async (t) => {
    const { child, ended } = start('--seconds', '2');
    await underWay(child.pid!, after);
    child.kill(signal);
    // As a terminal and npm do: the same signal again.
    await sleep(20);
    child.kill(signal);
    const { code: got, stderr } = await ended;
    t.is(got, code, stderr);
    await nothingLeft(t, child.pid!);
  });
}

rootTest(
  'what a killed demo left behind is removed by the next one, while a running one is left alone',
  async (t) => {
    t.timeout(120_000);
    const killed = start('--seconds', '2');
    await underWay(killed.child.pid!, 3000);
    killed.child.kill('SIGKILL');
    // Its children hold its pipes open until the next demo ends them.
    await new Promise((resolve) => killed.child.once('exit', resolve));
    t.true((await traces(killed.child.pid!)).length > 1);

    const running = start('--seconds', '2');
    await underWay(running.child.pid!, 2500);
    t.deepEqual(await traces(killed.child.pid!), []);
    const next = start('--seconds', '2');
    await underWay(next.child.pid!, 500);
    t.true((await traces(running.child.pid!)).length > 1);
    next.child.kill('SIGTERM');
    running.child.kill('SIGTERM');
    await Promise.all([killed.ended, next.ended, running.ended]);
    await nothingLeft(t, running.child.pid!);
    await nothingLeft(t, next.child.pid!);
  },
);
