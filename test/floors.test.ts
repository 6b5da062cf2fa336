/** The house's floors: an import points down, never up or sideways. The table is DESIGN's order of the tree. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';

/** Floor → the floors that it may import besides itself. A file belongs to the longest prefix that fits. */
const FLOORS: Record<string, readonly string[]> = {
  'src/dataplane/wire/': [],
  'src/dataplane/core/': ['src/dataplane/wire/'],
  'src/dataplane/io/': ['src/dataplane/core/', 'src/dataplane/wire/'],
  'src/dataplane/overlay/': ['src/dataplane/core/', 'src/dataplane/wire/'],
  'src/dataplane/ipvs/': ['src/dataplane/core/', 'src/dataplane/wire/'],
  'src/dataplane/gateway/': ['src/dataplane/core/', 'src/dataplane/wire/'],
  'src/dataplane/channel/': ['src/dataplane/core/', 'src/dataplane/wire/'],
  // The engine, the configuration and the face know all of the data plane.
  'src/dataplane/': [
    ...['wire', 'core', 'io', 'overlay', 'ipvs', 'gateway', 'channel'].map(
      (name) => `src/dataplane/${name}/`,
    ),
  ],
  'src/control/': ['src/dataplane/'],
  'src/cli/': ['src/control/', 'src/dataplane/'],
};

/** What the floors above the data plane may see of it: its files that are no folder's, and its configuration. */
const FACE = /^src\/dataplane\/([^/]+|config\/.+)$/;

const ADDON = /\.node['"`]/;

const floorOf = (file: string) =>
  Object.keys(FLOORS)
    .filter((prefix) => file.startsWith(prefix))
    .sort((a, b) => b.length - a.length)[0];

const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\(\s*)(['"])(\.{1,2}\/[^'"]+\.js)\1/g;
/** Names a thread's or program's file: a dependency for the floors, but no import that could be circular. */
const LOCATED = /\bnew URL\(\s*(['"])(\.{1,2}\/[^'"]+\.js)\1/g;

/** Paths of the files that a source imports: static and dynamic imports, re-exports; or what another pattern finds. */
function imports(file: string, source: string, pattern = IMPORT): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const found = code.matchAll(pattern);
  return [...found].map(([, , path]) => normalize(join(dirname(file), path!)).replace(/\.js$/, '.ts'));
}

/** Every breach of the rules in a set of sources, one sentence each. */
function faults(sources: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [file, source] of sources) {
    const floor = floorOf(file);
    if (floor === undefined) found.push(`${file} stands on no floor`);
    if (ADDON.test(source) && file !== 'src/dataplane/io/native.ts') found.push(`${file} loads the addon`);
    for (const target of [...imports(file, source), ...imports(file, source, LOCATED)]) {
      const below = floorOf(target);
      if (floor === undefined || below === floor) continue;
      const allowed = below !== undefined && FLOORS[floor]!.includes(below);
      const seesInside =
        !floor.startsWith('src/dataplane/') && below === 'src/dataplane/' && !FACE.test(target);
      if (!allowed || seesInside) found.push(`${file} must not import ${target}`);
    }
  }
  return [...found, ...cycles(sources)];
}

/** Files that import one another in a circle, each circle once. */
function cycles(sources: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, way: string[]): void => {
    if (way.includes(file)) {
      found.push(`a cycle: ${[...way.slice(way.indexOf(file)), file].join(' → ')}`);
      return;
    }
    if (done.has(file)) return;
    for (const target of imports(file, sources.get(file) ?? '')) visit(target, [...way, file]);
    done.add(file);
  };
  for (const file of sources.keys()) visit(file, []);
  return found;
}

function sourcesOf(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Map(
    files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => [join(folder, file), readFileSync(join(folder, file), 'utf8')]),
  );
}

test('every import in src points down, and no two files import one another', (t) => {
  const sources = sourcesOf('src');
  t.true(sources.size > 5, 'the sources were found');
  t.deepEqual(faults(sources), []);
});

const breaches: [title: string, file: string, source: string, fault: RegExp][] = [
  [
    'wire imports core',
    'wire/a.ts',
    "import { b } from '../core/b.js';",
    /must not import src\/dataplane\/core\/b\.ts/,
  ],
  ['core imports io', 'core/a.ts', "import type { B } from '../io/b.js';", /must not import .*io\/b\.ts/],
  ['overlay imports io', 'overlay/a.ts', "export * from '../io/b.js';", /must not import .*io\/b\.ts/],
  ['overlay imports ipvs', 'overlay/a.ts', "await import('../ipvs/b.js');", /must not import .*ipvs\/b\.ts/],
  [
    'io imports the engine',
    'io/a.ts',
    "new URL('../engine.js', import.meta.url)",
    /must not import .*engine\.ts/,
  ],
  ['io imports config', 'io/a.ts', "import '../config/types.js';", /must not import .*config\/types\.ts/],
  [
    'the face imports control',
    'face.ts',
    "import { b } from '../control/b.js';",
    /must not import src\/control/,
  ],
  ['control imports cli', '../control/a.ts', "import { b } from '../cli/b.js';", /must not import src\/cli/],
  [
    'control imports core',
    '../control/a.ts',
    "import { b } from '../dataplane/core/b.js';",
    /must not import .*core/,
  ],
  [
    'cli imports wire',
    '../cli/a.ts',
    "import * as b from '../dataplane/wire/b.js';",
    /must not import .*wire/,
  ],
  [
    'core imports a test',
    'core/a.ts',
    "import { b } from '../../../test/b.js';",
    /must not import test\/b\.ts/,
  ],
  [
    'cli imports a bench',
    '../cli/a.ts',
    "import { b } from '../../bench/b.js';",
    /must not import bench\/b\.ts/,
  ],
  [
    'overlay loads the addon',
    'overlay/a.ts',
    "require('../../../native/build/viaduct.node')",
    /loads the addon/,
  ],
  ['a file stands outside', '../other/a.ts', '', /no floor/],
];

for (const [title, file, source, fault] of breaches) {
  test(`it is noticed when ${title}`, (t) => {
    const found = faults(new Map([[normalize(join('src/dataplane', file)), source]]));
    t.is(found.length, 1, found.join('\n'));
    t.regex(found[0]!, fault);
  });
}

test('it is noticed when two files import one another, and named once', (t) => {
  const sources = new Map([
    ['src/dataplane/core/a.ts', "import { b } from './b.js';"],
    ['src/dataplane/core/b.ts', "import { a } from './a.js';"],
  ]);
  t.deepEqual(faults(sources), [
    'a cycle: src/dataplane/core/a.ts → src/dataplane/core/b.ts → src/dataplane/core/a.ts',
  ]);
});

test('imports that point down, and imports in comments, are no fault', (t) => {
  const sources = new Map([
    ['src/dataplane/engine.ts', "import { a } from './io/a.js';\nimport { b } from './overlay/b.js';"],
    ['src/dataplane/io/a.ts', "// import { c } from '../engine.js';\n/* from '../overlay/b.js' */"],
    ['src/dataplane/overlay/b.ts', "import { c } from '../core/c.js';\nimport { join } from 'node:path';"],
    ['src/cli/main.ts', "import { d } from '../dataplane/dataplane.js';"],
  ]);
  t.deepEqual(faults(sources), []);
});
