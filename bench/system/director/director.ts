/** `npm run bench -- director`: the virtual server beside nftables, HAProxy, nginx and its C reference. */
import type { Options } from '../../options.js';
import { sideBySide } from '../side-by-side.js';
import { SIDES } from './sides.js';

export const benchDirector = (options: Options) => {
  const sides = new Map([...SIDES].filter(([name]) => !options.without.includes(name)));
  return sideBySide(options, sides, ['director']);
};
