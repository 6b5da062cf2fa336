/** Services by where their destinations answer from: network, protocol, address, port. Made anew after services changed. */
import type { Destination } from './destination.js';
import type { PacketFlow } from './flow.js';
import type { Service, Services } from './service.js';

export interface Origin {
  service: Service;
  destination: Destination;
}

const NONE: readonly Origin[] = [];

export class OriginIndex {
  readonly #services: Services;
  #version = -1;
  #byKey = new Map<number, Origin[]>();
  #hasOnePacket = false;

  constructor(services: Services) {
    this.#services = services;
  }

  /** Whether there are services of which no connections are kept. */
  get hasOnePacket(): boolean {
    this.#refresh();
    return this.#hasOnePacket;
  }

  /** All that may have sent the packet. */
  find(flow: PacketFlow): readonly Origin[] {
    this.#refresh();
    const { network, protocol, source0, source3, sourcePort } = flow;
    const byPort = this.#matching(keyOf(network, protocol, source0, source3, sourcePort), flow, sourcePort);
    return byPort.length > 0
      ? byPort
      : this.#matching(keyOf(network, protocol, source0, source3, 0), flow, 0);
  }

  #matching(key: number, flow: PacketFlow, port: number): readonly Origin[] {
    const list = this.#byKey.get(key);
    if (list === undefined) return NONE;
    // Nearly always all of them are: others with the same key are by chance.
    for (const origin of list) {
      if (!isFrom(origin, flow, port)) return list.filter((each) => isFrom(each, flow, port));
    }
    return list;
  }

  #refresh(): void {
    const { version } = this.#services;
    if (version === this.#version) return;
    this.#version = version;
    this.#byKey = new Map();
    this.#hasOnePacket = false;
    for (const service of this.#services.all()) {
      const { network, protocol, onePacket, mark } = service.spec;
      // Which address its clients sent to isn't known without a connection.
      if (mark !== undefined) continue;
      if (onePacket === true) this.#hasOnePacket = true;
      for (const destination of service.destinations) {
        const { address, port, forward } = destination.spec;
        if (forward !== 'nat') continue;
        const key = keyOf(network, protocol, address[0], address[3], port);
        const list = this.#byKey.get(key);
        if (list === undefined) this.#byKey.set(key, [{ service, destination }]);
        else list.push({ service, destination });
      }
    }
  }
}

function isFrom({ service, destination }: Origin, flow: PacketFlow, port: number): boolean {
  const { address, family, port: own } = destination.spec;
  return (
    own === port &&
    family === flow.family &&
    service.spec.protocol === flow.protocol &&
    service.spec.network === flow.network &&
    address[0] === flow.source0 &&
    address[1] === flow.source1 &&
    address[2] === flow.source2 &&
    address[3] === flow.source3
  );
}

const keyOf = (network: number, protocol: number, first: number, last: number, port: number): number =>
  Math.imul(first ^ Math.imul(last ^ network, 0x9e3779b1), 0x85ebca6b) ^ ((protocol << 16) | port);
