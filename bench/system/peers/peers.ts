/** Other user-space overlays, measured with --peers where they are installed. The names are those of the goals. */
import type { Lab } from '../../../src/cli/lab/lab.js';
import { has } from '../../machine.js';
import type { Side } from '../side.js';
import { buildNebula } from './nebula.js';
import { buildOpenVswitch } from './openvswitch.js';
import { buildWireguard } from './wireguard.js';

type Build = (lab: Lab) => Promise<Side>;

/** Says what to install where a program lacks. */
function needing(tools: string[], packages: string, build: Build): Build {
  return async (lab) => {
    for (const tool of tools)
      if (!(await has(tool)))
        throw new Error(`${tool} is not installed (Debian: apt-get install ${packages})`);
    return build(lab);
  };
}

const OVS = ['ovs-vswitchd', 'ovsdb-server', 'ovs-vsctl'];

export const PEERS: ReadonlyMap<string, Build> = new Map([
  ['open vswitch tap', needing(OVS, 'openvswitch-switch', (lab) => buildOpenVswitch(lab, 'system'))],
  ['open vswitch af_xdp', needing(OVS, 'openvswitch-switch', (lab) => buildOpenVswitch(lab, 'afxdp'))],
  ['nebula', needing(['nebula', 'nebula-cert'], 'nebula', buildNebula)],
  ['wireguard-go', needing(['wireguard-go', 'wg'], 'wireguard-go wireguard-tools', buildWireguard)],
]);
