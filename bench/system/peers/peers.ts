/** Other user-space overlays, where they are installed: Open vSwitch, nebula, wireguard-go. */
import type { Lab } from '../../src/cli/lab/lab.js';
import type { Side } from './side.js';

export const PEERS: ReadonlyMap<string, (lab: Lab) => Promise<Side>> = new Map();
