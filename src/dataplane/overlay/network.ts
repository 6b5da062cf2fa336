/**
 * The networks as one engine knows them: plain values that control sends whole, kept by index and found by VNI.
 * An index is never 0, so that a table key that begins with one is never empty.
 */

/** What control says of a network. Cloned into each engine; an engine never writes it. */
export interface Network {
  /** 1 … 65535, stable while the network exists */
  index: number;
  vni: number;
  /** bytes of IP packet */
  mtu: number;
  learning: boolean;
  floodUnknown: boolean;
  mssClamp: boolean;
  /** VXLAN-GBP group to set on the way out; -1: none */
  groupPolicy: number;
  /** local endpoints */
  ports: number[];
  /** who gets flooded frames */
  vteps: number[];
}

export class Networks {
  readonly #byIndex: (Network | undefined)[] = [];
  readonly #byVni = new Map<number, Network>();
  /** Network of each port; undefined while the port is not attached. */
  readonly #byPort: (Network | undefined)[] = [];

  set(network: Network): void {
    this.remove(network.index);
    this.#byIndex[network.index] = network;
    this.#byVni.set(network.vni, network);
    for (const port of network.ports) this.#byPort[port] = network;
  }

  remove(index: number): void {
    const old = this.#byIndex[index];
    if (old === undefined) return;
    this.#byIndex[index] = undefined;
    if (this.#byVni.get(old.vni) === old) this.#byVni.delete(old.vni);
    for (const port of old.ports) if (this.#byPort[port] === old) this.#byPort[port] = undefined;
  }

  at(index: number): Network | undefined {
    return this.#byIndex[index];
  }

  ofVni(vni: number): Network | undefined {
    return this.#byVni.get(vni);
  }

  ofPort(port: number): Network | undefined {
    return this.#byPort[port];
  }
}
