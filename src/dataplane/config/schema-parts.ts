/** What the schema's files are made of: numbers in a range, checked text, lists that may be left out. */
import { z } from 'zod';
import { canonicalAddress, unicastFault } from './address.js';

/** A whole number from `from` to `to`, both included. */
export function whole(from: number, to: number) {
  const error = (issue: { input?: unknown }) =>
    issue.input === undefined ? 'is required' : `must be ${from}..${to}`;
  return z.number({ error }).int({ error }).min(from, { error }).max(to, { error });
}

/** Text for which `fault` finds none; `pattern` and the like go into the JSON schema only. */
export function text(fault: (value: string) => string | undefined, meta: Record<string, unknown>) {
  return z
    .string()
    .check((context) => {
      const message = fault(context.value);
      if (message !== undefined) context.issues.push({ code: 'custom', message, input: context.value });
    })
    .meta(meta);
}

export const flag = (preset: boolean) => z.boolean().default(preset);

/** A list that may be left out, or empty in YAML's way (`vteps:`). */
export const list = <T extends z.ZodType>(item: T) => z.array(item).nullable().default([]);

export const name = text(
  (value) =>
    value.trim() === value && value.length >= 1 && value.length <= 128 && !/\p{Cc}/u.test(value)
      ? undefined
      : 'must be 1..128 printable characters without space around them',
  { minLength: 1, maxLength: 128 },
);

export const address = text(
  (value) => {
    const canonical = canonicalAddress(value);
    return canonical === undefined ? 'must be an IPv4 or IPv6 address' : unicastFault(canonical);
  },
  { examples: ['10.0.0.1', 'fd00::1'] },
);
