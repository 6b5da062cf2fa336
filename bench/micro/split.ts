/** Super-packets split, and runs of packets joined, in user space. */
import type { Case } from './case.js';

export function splitCases(): Case[] {
  return [];
}
