/** The configuration: text or object in, a validated passive value out, or a ConfigError that lists every fault. */
import { loadAll, YAMLException } from 'js-yaml';
import { z } from 'zod';
import { ConfigError } from './config/error.js';
import { schemaFaults } from './config/faults.js';
import { normalise } from './config/normalise.js';
import { relationFaults } from './config/relations.js';
import { schema } from './config/schema.js';
import type { Config } from './config/types.js';

export { netnsPath } from './config/netns.js';
export type * from './config/service-types.js';
export type * from './config/types.js';
export { OFFLOADS, UNDERLAY_DEVICES } from './config/types.js';
export { ConfigError };

/** `input`: JSON or YAML text, or what was read from such; `where` names its source in the error. Throws ConfigError. */
export function parseConfig(input: string | object, where: string): Config {
  const written = typeof input === 'string' ? parseText(input, where) : input;
  const result = schema.safeParse(written, { reportInput: true });
  const faults = [...(result.success ? [] : schemaFaults(result.error.issues)), ...relationFaults(written)];
  if (faults.length > 0 || !result.success) throw new ConfigError(where, faults);
  return normalise(result.data);
}

/** JSON first: it is the faster reader, and what programs write. */
function parseText(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return parseYaml(text, where);
  }
}

/** An empty file is an empty mapping. */
function parseYaml(text: string, where: string): unknown {
  let documents: unknown[];
  try {
    documents = loadAll(text, { maxAliases: 10_000 });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const at =
      error.mark === undefined ? '' : `line ${error.mark.line + 1}, column ${error.mark.column + 1}: `;
    throw new ConfigError(where, [`${at}${error.reason}`]);
  }
  if (documents.length > 1) throw new ConfigError(where, ['holds several YAML documents, and must be one']);
  return documents[0] ?? {};
}

/** JSON Schema (2020-12) of the file, for editors and generators. */
export function jsonSchema(): object {
  return {
    title: 'Viaduct data plane configuration',
    ...z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' }),
  };
}
