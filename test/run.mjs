// npm test: lint, unit tests, system tests, one after the other, and one closing line with the sum of it all.
// Arguments name steps (lint unit system sanitize fuzz smoke); none: the first three. Expects that all is built.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

const node = process.execPath;
const ava = ['node_modules/ava/entrypoints/cli.mjs'];

/** libasan has to be in the process before Node is; the leaks of Node itself are not our business. */
function sanitizer() {
  const find = (name) => spawnSync('gcc', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
  return {
    LD_PRELOAD: `${find('libasan.so')} ${find('libubsan.so')}`,
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:halt_on_error=1:handle_segv=1',
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    VIADUCT_ADDON: `${process.cwd()}/native/build/viaduct-asan.node`,
  };
}

const STEPS = {
  lint: () => check('lint', node, ['node_modules/@biomejs/biome/bin/biome', 'check', '.']),
  unit: () => (existsSync('native/build/viaduct.node') ? tests('unit', []) : unitWithoutAddon()),
  system: () => tests('system', ['--config', 'test/system.ava.js']),
  sanitize: async () => {
    const built = await check('sanitizer build', 'make', ['-s', '-C', 'native', 'asan']);
    return built.failed > 0 ? built : tests('sanitize', ['--config', 'test/sanitize.ava.js'], sanitizer());
  },
  fuzz: () =>
    tests('fuzz', ['dist/test/fuzz/**', '--timeout=2h'], {
      VIADUCT_FUZZ: process.env.VIADUCT_FUZZ ?? '10000000',
    }),
  smoke: () => tests(`smoke, Node ${process.version}`, ['dist/test/smoke/**']),
};

async function unitWithoutAddon() {
  const result = await tests('unit', ['dist/test/**', '!dist/test/native/**']);
  console.log('  skipped: all of dist/test/native, for the addon is not built');
  return { ...result, skipped: result.skipped + 1 };
}

/** Runs to the end, showing and returning what it prints. */
function show(command, args, env) {
  return new Promise((resolve) => {
    const colour = process.stdout.isTTY && !process.env.NO_COLOR ? { FORCE_COLOR: '1' } : {};
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...colour, ...env },
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      process.stdout.write(chunk);
    });
    child.on('error', (error) => {
      console.log(error.message);
      resolve({ code: 127, text });
    });
    child.on('close', (code) => resolve({ code: code ?? 1, text }));
  });
}

/** A step that counts as one test. */
async function check(name, command, args) {
  console.log(`\n── ${name}`);
  const { code } = await show(command, args);
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
}

/** Figures read off AVA's output: its marks and closing lines. A run that failed without saying so counts as one failure. */
async function tests(name, args, env) {
  console.log(`\n── ${name}`);
  const { code, text } = await show(node, [...ava, ...args], env);
  const plain = stripVTControlCharacters(text);
  const sum = (pattern) =>
    [...plain.matchAll(pattern)].reduce((total, [, count]) => total + Number(count), 0);
  const passed = plain.match(/^ *[✔√] /gm)?.length ?? 0;
  const skipped = sum(/^ {2}(\d+) tests? (?:skipped|todo)$/gm);
  const said = sum(
    /^ {2}(\d+) (?:tests? failed|tests? remained pending.*|uncaught exceptions?|unhandled rejections?)$/gm,
  );
  return { passed, skipped, failed: code === 0 ? 0 : Math.max(said, 1) };
}

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !Object.hasOwn(STEPS, name));
if (unknown !== undefined || !existsSync('dist')) {
  console.error(unknown === undefined ? 'Nothing is built; run: npm run build' : `no step "${unknown}"`);
  process.exit(2);
}
const total = { passed: 0, failed: 0, skipped: 0 };
for (const name of wanted.length > 0 ? wanted : ['lint', 'unit', 'system']) {
  const result = await STEPS[name]();
  for (const key of Object.keys(total)) total[key] += result[key];
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);
