/** Redirects datagrams between the real interface and the tunnel TAP, past bridges, routes and filters. */
import { need } from '../native.js';
import { redirectAll, steerDatagrams } from './programs.js';

export interface Steering {
  /** detaches, as the end of the process does; a child that is just being started may hold on to it until its exec */
  close(): void;
}

export interface SteeringOptions {
  /** the data plane's network namespace, '' for our own */
  netns: string;
  /** indexes of the two interfaces */
  tap: number;
  real: number;
  /** the tunnel's UDP port */
  port: number;
  /** our VTEP address of each family */
  address4?: string;
  address6?: string;
  /** leave single datagrams to the UDP socket */
  onlySuperPackets: boolean;
}

const BPF_TCX_INGRESS = 46;

/** Loads and attaches both programs. Throws when the kernel refuses one; then neither is attached. */
export function steer(options: SteeringOptions): Steering {
  const out = attach(options.netns, options.tap, redirectAll(options.real), 'viaduct_out');
  try {
    const back = attach(
      options.netns,
      options.real,
      steerDatagrams({ ...options, ifindex: options.tap }),
      'viaduct_in',
    );
    return {
      close() {
        back.close();
        out.close();
      },
    };
  } catch (error) {
    out.close();
    throw error;
  }
}

/** Attaches a program to an interface's tcx ingress, until the handle is closed or the process ends. */
export function attach(netns: string, ifindex: number, program: Uint8Array, name: string): Steering {
  const native = need();
  const loaded = native.bpfLoad(program, name);
  try {
    const link = native.bpfAttach(loaded, netns, ifindex, BPF_TCX_INGRESS);
    return { close: () => native.close(link) };
  } finally {
    native.close(loaded); // the link holds it
  }
}
