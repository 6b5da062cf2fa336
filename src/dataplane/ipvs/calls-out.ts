/**
 * Calls that a server begins: a service with the persistence engine "sip" lets its servers' own messages out under its
 * address, and the connection that they make keeps the call at the server (ip_vs_new_conn_out). Of masqueraded
 * destinations only, and of services with a port.
 */
import * as udp from '../wire/udp.js';
import type { Destination } from './destination.js';
import { noFlow, type PacketFlow } from './flow.js';
import type { Parsed } from './packet.js';
import type { Service, Services } from './service.js';

export class CallsOut {
  /** what `find` found: whose server sent the packet, which one, and the connection as its client would begin it */
  service: Service | undefined;
  destination: Destination | undefined;
  readonly flow: PacketFlow = noFlow();

  readonly #services: Services;

  constructor(services: Services) {
    this.#services = services;
  }

  /** Whether the packet, which is of no connection and for no service, is such a message. */
  find(parsed: Parsed, network: number): boolean {
    if (parsed.protocol !== udp.PROTOCOL) return false;
    for (const service of this.#services.calling) {
      if (service.spec.network !== network) continue;
      for (const destination of service.destinations) {
        if (!sent(destination, parsed)) continue;
        this.service = service;
        this.destination = destination;
        this.#turn(service, parsed);
        return true;
      }
    }
    return false;
  }

  /** From the packet's target to the service. */
  #turn({ spec }: Service, parsed: Parsed): void {
    const { flow } = this;
    flow.family = parsed.family;
    flow.protocol = parsed.protocol;
    flow.network = spec.network;
    flow.source0 = parsed.destination0;
    flow.source1 = parsed.destination1;
    flow.source2 = parsed.destination2;
    flow.source3 = parsed.destination3;
    flow.sourcePort = parsed.destinationPort;
    flow.target0 = spec.address[0];
    flow.target1 = spec.address[1];
    flow.target2 = spec.address[2];
    flow.target3 = spec.address[3];
    flow.targetPort = spec.port;
    flow.ports = (parsed.destinationPort << 16) | spec.port;
  }
}

function sent({ spec }: Destination, parsed: Parsed): boolean {
  return (
    spec.forward === 'nat' &&
    spec.family === parsed.family &&
    spec.port === parsed.sourcePort &&
    spec.address[0] === parsed.source0 &&
    spec.address[1] === parsed.source1 &&
    spec.address[2] === parsed.source2 &&
    spec.address[3] === parsed.source3
  );
}
