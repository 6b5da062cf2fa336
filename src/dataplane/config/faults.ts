/** What the schema found, as sentences with the path of each fault: `networks[0].vni: must be 1..16777215, got 99999999`. */
import type { z } from 'zod';
import { record } from './loose.js';

type Issue = z.core.$ZodIssue;

const KINDS: Readonly<Record<string, string>> = {
  string: 'must be text',
  number: 'must be a number',
  boolean: 'must be true or false',
  array: 'must be a list',
  object: 'must be a mapping',
};

/** `['networks', 0, 'vni']` → `networks[0].vni`. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}

/** The value as it stood in the file, short. */
export function got(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return `got ${text.length > 60 ? `${text.slice(0, 57)}…` : text}`;
}

/** One sentence a fault; several faults of one value count as one. */
export function schemaFaults(issues: readonly Issue[], base: readonly PropertyKey[] = []): string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  for (const issue of issues) {
    const path = [...base, ...issue.path];
    if (issue.code === 'unrecognized_keys') {
      faults.push(...issue.keys.map((key) => `${pathText([...path, key])}: unknown key`));
      continue;
    }
    const at = pathText(path);
    if (seen.has(at)) continue;
    seen.add(at);
    if (issue.code === 'invalid_union' && issue.errors.length > 0 && !issue.message.startsWith('must')) {
      faults.push(...schemaFaults(issue.errors[Array.isArray(issue.input) ? 1 : 0] ?? [], path));
    } else faults.push(`${at === '' ? '' : `${at}: `}${sentence(issue)}`);
  }
  return faults;
}

function sentence(issue: Issue): string {
  // Of a union that a key decides, the fault is that key's value.
  const key = issue.code === 'invalid_union' && 'discriminator' in issue ? issue.discriminator : undefined;
  const value = typeof key === 'string' ? record(issue.input)[key] : issue.input;
  if (value === undefined) return 'is required';
  return `${rule(issue)}, ${got(value)}`;
}

function rule(issue: Issue): string {
  if (issue.message.startsWith('must')) return issue.message; // the schema's own words
  switch (issue.code) {
    case 'invalid_type':
      return KINDS[issue.expected] ?? issue.message;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return issue.origin === 'array' ? 'must not be empty' : issue.message;
    case 'too_big':
      return issue.origin === 'array' ? `must have at most ${issue.maximum} items` : issue.message;
    default:
      return issue.message;
  }
}
