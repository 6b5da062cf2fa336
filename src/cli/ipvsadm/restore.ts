/** Rules from a file, as `ipvsadm -S` writes them, or a document of `ipvsadm -S --json`: the edits that they are. */
import type { Edit } from '../../dataplane/config/service-edit-types.js';
import type { Names } from './names.js';
import { parse } from './parse/command-line.js';
import { UsageFault } from './parse/usage-fault.js';

export interface Rules {
  readonly edits: readonly Edit[];
  /** which line each edit came from; empty for a document */
  readonly lines: readonly number[];
}

/**
 * @param network of rules that name none
 * @throws UsageFault, which names the line
 */
export async function readRules(
  text: string,
  program: string,
  names: Names,
  network: string | undefined,
): Promise<Rules> {
  if (text.trimStart().startsWith('{')) return { edits: documentEdits(text), lines: [] };
  const edits: Edit[] = [];
  const lines: number[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    const words = wordsOf(line);
    if (words.length === 0) continue;
    const given =
      network === undefined || words.includes('--network') ? words : [...words, '--network', network];
    const fault = (message: string, exitCode?: number) =>
      new UsageFault(`line ${i + 1}: ${message}`, exitCode);
    const wanted = await parse(program, given, names).catch((error: unknown) => {
      throw error instanceof UsageFault ? fault(error.message, error.exitCode) : error;
    });
    if (wanted.kind !== 'edits') throw fault('only what changes something can be restored');
    edits.push(...wanted.edits);
    lines.push(...wanted.edits.map(() => i + 1));
  }
  return { edits, lines };
}

/** Words between blanks, up to a comment; `ipvsadm` itself may stand before them. */
function wordsOf(line: string): string[] {
  const words = line.split(/[ \t\r]+/).filter((word) => word !== '' && word !== 'ipvsadm');
  const comment = words.findIndex((word) => word.startsWith('#'));
  return comment < 0 ? words : words.slice(0, comment);
}

/** The control socket checks what it holds. */
function documentEdits(text: string): Edit[] {
  let document: { services?: unknown; virtualServer?: unknown };
  try {
    document = JSON.parse(text) as typeof document;
  } catch (error) {
    throw new UsageFault(`the document is no JSON: ${(error as Error).message}`);
  }
  const { services = [], virtualServer, ...more } = document;
  const unknown = Object.keys(more)[0];
  if (unknown !== undefined)
    throw new UsageFault(`${unknown}: unknown key; there are services and virtualServer`);
  if (!Array.isArray(services)) throw new UsageFault('services: must be a list');
  const puts = services.map((service: unknown) => ({ do: 'put-service', service }) as Edit);
  return virtualServer === undefined ? puts : [...puts, { do: 'put-virtual-server', virtualServer } as Edit];
}
