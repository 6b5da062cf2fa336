/** `npm run bench -- system`: Viaduct side by side with the kernel's vxlan and, with --peers, with others. */
import type { Options } from '../options.js';
import { buildReference } from './peers/c-reference.js';
import { PEERS } from './peers/peers.js';
import type { Plan } from './run.js';
import { buildKernel, buildPlain } from './side.js';
import { sideBySide } from './side-by-side.js';
import { buildViaduct, DEVICES } from './viaduct.js';
import { WIRES } from './wire.js';

function sides(options: Options): Plan['sides'] {
  const chosen: Plan['sides'] = new Map();
  for (const device of DEVICES) {
    if (options.device.length === 0 || options.device.includes(device))
      chosen.set(`viaduct ${device}`, (lab) => buildViaduct(lab, device));
  }
  chosen.set('kernel vxlan', buildKernel);
  if (!options.quick) chosen.set('C reference', buildReference).set('bridge and veth', buildPlain);
  if (options.peers) for (const [name, build] of PEERS) chosen.set(name, build);
  for (const name of options.without) chosen.delete(name);
  return chosen;
}

export const benchSystem = (options: Options) => {
  const wires = WIRES.filter((wire) =>
    options.wire.length === 0 ? wire === 'whole' || wire === 'segmented' : options.wire.includes(wire),
  );
  return sideBySide(options, sides(options), wires);
};
