/** The packet in hand as the table of connections and the schedulers see it: one object, read anew for each packet. */

import type { Ends } from './packet.js';
import type { Flow } from './schedulers/scheduler.js';
import type { Tuple } from './tuple.js';

export type PacketFlow = Tuple & Flow;

export const noFlow = (): PacketFlow => ({
  ...{ family: 4, protocol: 0, network: 0, engine: 0, ports: 0, sourcePort: 0, targetPort: 0 },
  ...{ source0: 0, source1: 0, source2: 0, source3: 0 },
  ...{ target0: 0, target1: 0, target2: 0, target3: 0 },
});

/** @param network index of the overlay network that the packet is in; 0: the host's own side */
export function readFlow(flow: PacketFlow, protocol: number, ends: Ends, network: number): void {
  flow.source0 = ends.source0;
  flow.source1 = ends.source1;
  flow.source2 = ends.source2;
  flow.source3 = ends.source3;
  flow.target0 = ends.destination0;
  flow.target1 = ends.destination1;
  flow.target2 = ends.destination2;
  flow.target3 = ends.destination3;
  flow.sourcePort = ends.sourcePort;
  flow.targetPort = ends.destinationPort;
  flow.ports = (ends.sourcePort << 16) | ends.destinationPort;
  flow.protocol = protocol;
  flow.network = network;
  flow.family = ends.family;
}
